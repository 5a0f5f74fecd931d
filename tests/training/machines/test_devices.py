"""--devices: several make the same of a run as one; what is refused."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from kvae import Dataset
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.training.machines import devices
from kvae.training.preflight import check

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("backend", "names"),
    [
        ("tensorflow", ("vectors",)),
        # JAX has a quick test in tests/backends.
        pytest.param("jax", ("vectors", "images"), marks=pytest.mark.slow),
        pytest.param("tensorflow", ("images",), marks=pytest.mark.slow),
    ],
)
def test_two_devices_train_and_measure_as_one(backend, names, tmp_path):
    """Vectors in blocks or not, a clipped norm, averages, and a batch of the valid split of one."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    child = subprocess.run(
        [sys.executable, HERE / "several_devices.py", tmp_path, *names], check=True,
        capture_output=True, text=True, env=os.environ | {
            "KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parents[2]),
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
    )  # fmt: skip
    found = json.loads(child.stdout.splitlines()[-1])
    assert "this process computes on 2 of CPU already" in found.pop("started")
    for name in names:
        assert found[name]["weights"] < 1e-5  # of the largest change
        assert found[name]["figures"] < 1e-6
        assert {"val_elbo", "val_stddev", "loss"} < {*found[name]["names"]}
        assert found[name]["steps"] == {"vectors": 10, "images": 3}[name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backend": "torch"}, "--devices must be 1 with --backend torch; .* received 2"),
        ({"batch_size": 255}, "a multiple of 2, such as 254 or 256; received 255"),
        ({"devices": 7}, "a multiple of 7, such as 252 or 259; received 256"),
        ({"free_bits": 0.5, "posterior": "diagonal", "prior": "standard_normal"}, "--free-bits"),
        ({"tc_weight": 2, "posterior": "diagonal", "prior": "standard_normal"}, "--tc-weight"),
        ({"devices": 0}, "at least 1"),
        ({"devices": 1.5}, "at least 1"),
    ],
)
def test_what_several_devices_do_not_compute_as_one_is_refused_at_once(tmp_path, given, words):
    with pytest.raises(UsageError, match=words):
        check(resolve({"save": str(tmp_path), "devices": 2, **given}))


def test_a_batch_of_fewer_rows_and_a_network_that_normalises_by_batch_are_refused(tmp_path, rng):
    dataset = Dataset.from_arrays(rng.random((100, 32, 32, 1)).astype("float32"))
    given = {"dataset": "arrays", "save": str(tmp_path), "latent_dim": 2, "standardize": False}
    given |= {"devices": 3, "prior": "standard_normal", "batch_size": 300, "variance": 0.1}
    given |= {"posterior": "diagonal"}
    with pytest.raises(UsageError, match="such as 78; received 300, with 80 train rows"):
        check(resolve({**given, "network": "conv"}), dataset)
    with pytest.raises(UsageError, match="--network conv-large compares the rows"):
        check(resolve({**given, "network": "conv-large"}), dataset)


def test_more_devices_than_there_are_are_refused(monkeypatch, tmp_path):
    config = resolve({"save": str(tmp_path), "devices": 3, "batch_size": 300})
    listed = devices.tf.config.list_physical_devices
    monkeypatch.setattr(
        devices.tf.config, "list_physical_devices",
        lambda kind: ["a", "b"] if kind == "GPU" else listed(kind),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"at most 2, the GPUs that TensorFlow sees.*received 3"):
        devices.chosen(config)
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"at most 16 where there are no GPUs.*received 20"):
        devices.chosen(config.replaced(devices=20, batch_size=20))


def test_an_objective_of_ones_own_that_compares_rows_is_refused(small_vae):
    several = devices.Mirrored(None, "2 logical CPUs")
    several.check(small_vae)
    with mock.patch.object(type(small_vae.objective), "compares_rows", new=True):
        devices.One().check(small_vae)
        with pytest.raises(UsageError, match=r"compares the rows.*received 2 logical CPUs"):
            several.check(small_vae)
