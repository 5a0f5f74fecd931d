"""What users take from serving/ as it is."""

import re

import pytest
import yaml
from serving_testing import SERVING, server_flags

from kvae.publish.repository import DEFAULT_ROOT

COMPOSE, KUBERNETES = DEPLOYMENTS = ("docker-compose.yml", "kubernetes.yaml")
#: Fields of BatchingParameters in TF Serving's session_bundle_config.proto.
BATCHING = {
    "max_batch_size": int, "batch_timeout_micros": int, "max_enqueued_batches": int,
    "num_batch_threads": int, "max_execution_batch_size": int,
    "enable_large_batch_splitting": bool,
}  # fmt: skip


def _containers():
    """Of each file: the image, the flags, and what is mounted where."""
    compose = yaml.safe_load((SERVING / COMPOSE).read_text())
    for name, service in compose["services"].items():
        mounts = dict(volume.removesuffix(":ro").split(":") for volume in service["volumes"])
        gpu = "devices" in str(service.get("deploy"))
        assert gpu == name.endswith("gpu") == service["image"].endswith("-gpu")
        yield service["image"].removesuffix("-gpu"), service["command"], set(mounts.values())
    deployment, service = yaml.safe_load_all((SERVING / KUBERNETES).read_text())
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert (
        deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    )
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {
        container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe")
    } <= (ports)
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["spec"]["volumes"]}
    yield container["image"], container["args"], set(mounts.values())


def test_all_start_the_same_server_on_the_same_folders():
    first, *others = _containers()
    assert len(others) == 2
    assert all(other == first for other in others)


def test_batching_names_what_the_server_knows():
    text = re.sub("#.*", "", (SERVING / "batching.config").read_text())
    found = dict(re.findall(r"(\w+) \{ value: (\w+) \}", text))
    assert found.keys() == BATCHING.keys()
    assert not re.sub(r"\w+ \{ value: \w+ \}", "", text).split()
    for name, value in found.items():
        assert value in ("true", "false") if BATCHING[name] is bool else int(value) > 0
    assert int(found["max_execution_batch_size"]) <= int(found["max_batch_size"])


def _flags(name):
    return server_flags((SERVING / name).read_text())


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
