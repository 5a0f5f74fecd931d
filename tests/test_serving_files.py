"""What users take from serving/ as it is."""

import re
from pathlib import Path

import pytest

from kvae.publish.repository import DEFAULT_ROOT

SERVING = Path(__file__).parents[1] / "serving"
DEPLOYMENTS = ("docker-compose.yml", "kubernetes.yaml")


def _flags(name):
    return dict(re.findall(r"- --(\w+)=(\S+)", (SERVING / name).read_text()))


def test_both_start_the_same_server():
    compose, kubernetes = map(_flags, DEPLOYMENTS)
    assert compose == kubernetes
    images = {
        image
        for name in DEPLOYMENTS
        for image in re.findall(r"image: tensorflow/serving:([\d.]+)", (SERVING / name).read_text())
    }
    assert len(images) == 1


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_server_finds_what_it_is_told(name):
    flags, text = _flags(name), (SERVING / name).read_text()
    assert flags["model_config_file"] == f"{DEFAULT_ROOT}/models.config"
    assert f"{DEFAULT_ROOT}:ro" in text or f"mountPath: {DEFAULT_ROOT}," in text
    for flag in ("batching_parameters_file", "monitoring_config_file"):
        folder, _, file = flags[flag].rpartition("/")
        assert folder in text
        assert (SERVING / file).is_file()
    path = re.search(r'path: "(.+)"', (SERVING / "monitoring.config").read_text())[1]
    assert path in text
