"""The same models, rows and noise on every backend: the same numbers, without TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import backend_numbers
import numpy as np
import pytest
from kvae_testing import make_vae

import kvae

HERE = Path(__file__).parent
CLOSE = {"full": 1e-4, "vamp": 1e-4}  # of full covariances


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, (shape, options) in backend_numbers.DENSITIES.items():
        make_vae(shape, **options).save(folder / f"{name}.keras")
    for name, options in backend_numbers.OBJECTIVES.items():
        make_vae((3,), **options).save(folder / f"{name}.keras")
    return folder


@pytest.fixture(scope="module")
def expected(models):
    """What TensorFlow computes."""
    return backend_numbers.numbers(models)


@pytest.fixture(scope="module", params=["jax", pytest.param("torch", marks=pytest.mark.slow)])
def found(request, models):
    backend = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # What XLA would gain by optimising it loses by compiling, many times over.
    xla = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    flags = {"KERAS_BACKEND": backend, "XLA_FLAGS": xla}
    subprocess.run(
        [sys.executable, HERE / "backend_numbers.py", models], cwd=HERE.parents[1], check=True,
        env=os.environ | flags | {"PYTHONPATH": str(HERE.parents[1])}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return json.loads((models / f"{backend}.json").read_text())


def _assert_equal_densities(found, expected, close):
    size = np.array(expected["distortion"]) + np.abs(expected["rate"]) + 1.0
    for name, values in expected.items():
        scale = size if np.shape(values) == size.shape else 1.0
        np.testing.assert_array_less(np.abs(np.subtract(found[name], values)) / scale, close, name)


@pytest.mark.parametrize("name", backend_numbers.DENSITIES)
def test_terms_of_each_row_and_samples_are_equal(found, expected, name):
    found, expected = found["densities"][name], expected["densities"][name]
    _assert_equal_densities(found, expected, CLOSE.get(name, 1e-5))


def test_every_objective_has_the_same_figures(found, expected):
    for name, figures in expected["figures"].items():
        assert found["figures"][name] == pytest.approx(figures, rel=1e-5, abs=1e-5), name


def test_the_noise_of_validation_is_of_the_place_in_the_pass(found):
    whole, halves = (found["figures"][f"in {size}"] for size in (8, 4))
    assert halves == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", backend_numbers.TRAINED)
def test_steps_lead_to_the_same_weights(found, expected, name):
    found, expected = found["trained"][name], expected["trained"][name]
    steps = {"sgd": 3, "adam": 10}[backend_numbers.TRAINED[name]]
    assert found["steps"] == expected["steps"] == len(found["losses"]) == steps
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-3)
    if steps == 3:
        for ours, theirs in zip(found["weights"], expected["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_block_of_steps_is_single_steps(found):
    for ours, theirs in zip(
        found["in_a_block"], found["trained"]["optimal"]["weights"], strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_one_backend_saves_another_reads(found, models):
    vae = kvae.load_model(models / found["backend"] / "optimal.keras")
    _assert_equal_densities(backend_numbers.densities(vae), found["saved"], 1e-4)


def test_calibration_and_the_doctors_numbers_are_equal(found, expected):
    assert found["calibrated"] == pytest.approx(expected["calibrated"], rel=1e-5)
    assert expected["doctor"].keys() >= {
        "elbo_nats_prior",
        "rate_nats_prior",
        "variance_ratio_draw",
    }
    assert found["doctor"] == pytest.approx(expected["doctor"], rel=1e-4)


def test_weights_and_given_metrics_are_equal(found, expected):
    names = {"loss", "val_loss", "mae", "val_mae", "mse", "val_mse", "val_elbo", "variance"}
    assert expected["weighed"].keys() >= names
    assert found["weighed"] == pytest.approx(expected["weighed"], rel=1e-4)


def test_a_flow_is_fitted_and_draws(found):
    assert found["sampler"] is True
