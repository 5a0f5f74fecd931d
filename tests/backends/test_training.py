"""train.py on JAX, whole, and what it published, under TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_training

import kvae
from kvae.publish.verification import verify
from kvae.serving import versions
from kvae.serving.served import ServedModel

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow  # the numbers of JAX, in steps of training too, are quick


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder, what the process answered, and what it printed."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    folder = tmp_path_factory.mktemp("trained")
    here = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    child = subprocess.run(
        [sys.executable, HERE / "small_training.py", "jax", folder], cwd=HERE.parents[1],
        env=here | {
            "PYTHONPATH": str(HERE.parents[1]), "XLA_FLAGS": "--xla_backend_optimization_level=0"
        },
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder, json.loads((folder / "answer.json").read_text()), child.stdout


def test_the_option_chooses_the_backend(trained):
    _, answer, printed = trained
    assert answer["backend"] == "jax"
    assert "an epoch of 4 steps takes about" in printed  # of the dry run


def test_what_jax_trained_answers_the_same_by_signatures(trained):
    folder, answer, _ = trained
    first = answer["models"][0]
    version = versions.find_version(folder / "saved" / "gmm")
    metadata = versions.read_metadata(version)
    assert metadata["config"]["backend"] == "jax"
    assert metadata["sampler"] == "mixture"
    assert metadata["condition"]["names"] == ["component=0", "component=1"]
    assert metadata["history"] == first["history"]
    assert len(first["history"]["val_elbo"]) == 2 and first["step"] == 8
    served = ServedModel(version)
    x, condition = (np.array(part, "float32") for part in small_training.x_of(2))
    mean = served.call("encode", x=x, condition=condition)["mean"]
    np.testing.assert_allclose(mean, first["mean"], rtol=1e-4, atol=1e-5)
    seed = np.array(small_training.SEEDS)
    sample = served.call("generate", seed=seed, condition=condition)["sample"]
    np.testing.assert_allclose(sample, first["generated"], rtol=1e-4, atol=1e-5)
    assert verify(version) == []
    assert int(kvae.load_model(version.path).step) == 8


def test_weights_go_on_from_a_version_and_averages_are_kept(trained):
    _, answer, _ = trained
    first, again, *_ = answer["models"]
    assert again["step"] == 8 and again["history"] == {}
    np.testing.assert_allclose(again["mean"], first["mean"], atol=1e-6)


def test_images_are_trained_on_mirrored(trained):
    _, answer, _ = trained
    images = answer["models"][2]
    assert images["step"] == 2
    assert np.isfinite(images["history"]["val_elbo"]).all()


def test_a_run_that_was_cut_in_its_epoch_ends_where_it_would_have(trained):
    _, answer, printed = trained
    *_, whole, cut = answer["models"]
    assert printed.count("goes on ") == 1 and "in epoch 1 of 1, 1 steps made" in printed
    assert cut == whole
