"""What is imported with what: one fresh process, from the lightest program to the figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRESH = """
import contextlib, importlib, io, json, runpy, sys

found = {}

def told(name):
    found[name] = {"modules": sorted({module.partition(".")[0] for module in sys.modules}
                                     | {"matplotlib.pyplot"} & set(sys.modules))}

import kvae
told("kvae")
found["kvae"]["names"] = dir(kvae)
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
importlib.import_module("kvae.data.faces")
told("kvae.data.faces")
for name in ("bound", "calibration", "density", "images", "latent", "rates", "recall", "vectors"):
    importlib.import_module(f"kvae.figures.{name}")
told("kvae.figures")
print(json.dumps(found))
"""
#: What may not have been imported by then.
HEAVY = {
    "kvae": {"tensorflow", "keras", "numpy"},
    "train.py": {"tensorflow", "keras", "numpy"},
    "evaluate.py": {"tensorflow", "keras", "numpy"},
    "kvae.features": {"tensorflow", "keras", "numpy", "sklearn"},
    "kvae.evaluation.doctor": {"tensorflow", "keras"},
    "kvae.data.faces": {"tensorflow"},
    "kvae.figures": {"tensorflow", "matplotlib.pyplot"},
}


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", HEAVY)
def test_nothing_heavy_is_imported(found, name):
    assert HEAVY[name] & {*found[name]["modules"]} == set()


def test_the_names_of_kvae_are_there_before_they_are_imported(found):
    assert "VAE" in found["kvae"]["names"]


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_help_answers(found, program):
    assert found[program]["status"] == 0
    assert "--debug" in found[program]["text"]


def test_help_shows_zero_and_one_as_numbers(found):
    text = " ".join(found["train.py"]["text"].split())
    assert "(1: the ELBO); of the objective 'elbo' (default: 1.0)" in text
    assert "rises from 0; of the objective 'elbo' (default: 0)" in text
    assert "pixels 0 or 1; of the dataset 'digits' (default: no)" in text
