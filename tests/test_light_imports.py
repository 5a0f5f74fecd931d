"""What is imported with what: one fresh process, from the lightest program to the figures."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from kvae_testing import make_vae

import kvae
from kvae.priors.second_stage import SecondStage

ROOT = Path(__file__).parents[1]
FRESH = """
import contextlib, importlib, io, json, os, runpy, sys

found, saved = {}, sys.argv[-1]

def told(name):
    found[name] = {"modules": sorted({module.partition(".")[0] for module in sys.modules}
                                     | {"matplotlib.pyplot"} & set(sys.modules))}

import kvae
told("kvae")
found["kvae"]["names"] = dir(kvae)
found["kvae"]["onednn"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
for program in ("train.py", "evaluate.py"):
    text = io.StringIO()
    sys.argv = [program, "--help"]
    try:
        with contextlib.redirect_stdout(text):
            runpy.run_path(program, run_name="__main__")
    except SystemExit as done:
        told(program)
        found[program] |= {"status": done.code, "text": text.getvalue()}
importlib.import_module("kvae.features").FEATURES
told("kvae.features")
importlib.import_module("kvae.evaluation.doctor")
told("kvae.evaluation.doctor")
importlib.import_module("kvae.audit.run")
told("kvae.audit.run")
importlib.import_module("kvae.data.faces")
told("kvae.data.faces")
for name in ("bound", "calibration", "density", "images", "latent", "rates", "recall", "vectors"):
    importlib.import_module(f"kvae.figures.{name}")
told("kvae.figures")
# Keras comes quietly; no class of kvae but one is imported when Keras looks for others.
kvae.priors.Flow
import keras
found["keras"] = {"modules": [name for name in sys.modules if name.startswith("kvae.")]}
loaded = keras.saving.load_model(saved)
parts = loaded, loaded.prior, loaded.sampler, loaded.optimizer
found["loaded"] = [type(part).__name__ for part in parts]
kvae.build_vae((3,)).generate(1)
print(json.dumps(found))
"""
#: What may not have been imported by then.
HEAVY = {
    "kvae": {"tensorflow", "keras", "numpy"},
    "train.py": {"tensorflow", "keras", "numpy"},
    "evaluate.py": {"tensorflow", "keras", "numpy"},
    "kvae.features": {"tensorflow", "keras", "numpy", "sklearn"},
    "kvae.evaluation.doctor": {"tensorflow", "keras"},
    "kvae.audit.run": {"tensorflow", "keras"},
    "kvae.data.faces": {"tensorflow"},
    "kvae.figures": {"tensorflow", "matplotlib.pyplot"},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    vae = make_vae((2,), prior="mixture", prior_components=2)
    vae = vae.with_sampler(SecondStage(make_vae((2,))))
    vae.compile("adam")
    vae.optimizer.build(vae.trainable_variables)
    saved = tmp_path_factory.mktemp("saved") / "vae.keras"
    vae.save(saved)
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
    plain = {name: os.environ[name] for name in os.environ if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(saved)],
        capture_output=True, text=True, cwd=ROOT, check=True, env=plain,
    )  # fmt: skip
    return {**json.loads(done.stdout), "errors": done.stderr}


@pytest.mark.parametrize("name", HEAVY)
def test_nothing_heavy_is_imported(found, name):
    assert HEAVY[name] & {*found[name]["modules"]} == set()


def test_the_names_of_kvae_are_there_before_they_are_imported_and_no_others(found):
    names = [name for name in found["kvae"]["names"] if not name.startswith("__")]
    assert names == sorted(kvae.__all__)
    assert "VAE" in names


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="of x86")
def test_onednn_is_switched_on_before_tensorflow_is_imported(found):
    assert found["kvae"]["onednn"] == "1"


def test_nothing_is_printed_about_the_machine(found):
    assert found["errors"] == ""


def test_keras_loads_a_model_of_which_nothing_was_imported(found):
    assert "kvae.model" not in found["keras"]["modules"]
    assert "kvae.priors.mixture" not in found["keras"]["modules"]
    assert "kvae.priors.second_stage" not in found["keras"]["modules"]
    assert found["loaded"] == ["VAE", "Mixture", "SecondStage", "Adam"]


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_help_answers(found, program):
    assert found[program]["status"] == 0
    assert "--debug" in found[program]["text"]


def test_help_shows_zero_and_one_as_numbers(found):
    text = " ".join(found["train.py"]["text"].split())
    assert "(1: the ELBO); of the objective 'elbo' (default: 1.0)" in text
    assert "rises from 0; of the objective 'elbo' (default: the preset's, or 0)" in text
    assert "make all levels 0 or 1: 'threshold' at one half" in text
