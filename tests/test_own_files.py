import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kvae_testing import few_signatures

import kvae
from kvae import own_files
from kvae.errors import UsageError
from kvae.evaluation.program import main as evaluate
from kvae.priors import PRIORS
from kvae.publish.program import main as publish
from kvae.serving import versions
from kvae.training.program import main as train

PARTS = """
import keras
from keras import ops

from kvae.options import POSITIVE, Option
from kvae.priors import PRIORS, Prior
from kvae.registry import Member


@keras.saving.register_keras_serializable("{name}")
class Wide(Prior):
    kind = "wide"

    def __init__(self, width=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.width = float(width)

    def build(self, shape):
        self.dim = shape[-1]

    def log_prob(self, z):
        return ops.sum(-0.5 * ops.square(z / self.width) - ops.log(2.5066 * self.width), axis=-1)

    def sample(self, noise):
        return self.width * noise.normal("latent", self.dim)

    def get_config(self):
        return {{"width": self.width}}


width = Option("wide_width", 2.0, "its standard deviation", POSITIVE, argument="width")
PRIORS["wide"] = Member("a wide normal", lambda: Wide, (width,))
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A file of parts, forgotten afterwards."""
    monkeypatch.setattr(own_files, "_run", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "parts_of_mine.py"
    path.write_text(PARTS.format(name="mine"))
    yield path
    sys.modules.pop("parts_of_mine", None)
    PRIORS.pop("wide", None)


def test_own_parts_are_trained_evaluated_and_published_again(parts, tmp_path, capsys, monkeypatch):
    table, saved = tmp_path / "t.npy", tmp_path / "saved"
    np.save(table, np.random.default_rng(0).normal(size=(120, 2)))
    with few_signatures("encode", "generate"):
        train([
            "--dataset", "arrays", "--data-dir", str(table), "--save", str(saved),
            "--prior", "wide", "--wide-width", "1.5", "--hidden-units", "4", "--epochs", "1",
            "--sampler", "none", "--no-jit-compile", f"--import={parts}",
        ])  # fmt: skip
        assert f"--import {parts}" in capsys.readouterr().out
        version = versions.find_version(saved)
        config = versions.read_metadata(version)["config"]
        assert (config["prior"], config["wide_width"]) == ("wide", 1.5)
        file = str(version.path / versions.KERAS_MODEL)
        again = ["from-keras", file, "--name", "again", "--save", str(saved)]
        publish([*again, "--import", str(parts)])
    assert versions.find_version(saved / "again").number == 1
    monkeypatch.setattr("kvae.evaluation.evaluate.evaluate", lambda job, **_: None)
    evaluate(["--model", str(version.path), "--import", str(parts)])
    path = version.path / versions.METADATA
    path.write_text(json.dumps({**json.loads(path.read_text()), "config": {"dataset": "mine"}}))
    with pytest.raises(UsageError, match="dataset 'mine' is not known: pass --import FILE"):
        evaluate(["--model", str(version.path)])


def test_a_class_that_nobody_imported_is_named(parts, tmp_path):
    own_files.run(parts)
    kvae.build_vae((2,), prior="wide", hidden_units=(4,)).save(tmp_path / "m.keras")
    import keras

    keras.saving.get_custom_objects().pop("mine>Wide")
    with pytest.raises(UsageError, match=r"the class Wide is not known: .* --import FILE"):
        kvae.load_model(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nraise ValueError('no')", r"parts_of_mine.py, line 2: ValueError: no"),
        ("import kvae\n\nx = (", r"parts_of_mine.py, line 3: SyntaxError"),
        ("import json\njson.loads('{')", r"parts_of_mine.py, line 2: JSONDecodeError"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(parts, text, words):
    parts.write_text(text)
    with pytest.raises(UsageError, match=words):
        train(["--dataset", "gmm", "--import", str(parts), "--dry-run"])


@pytest.mark.parametrize("words", [["--import"], ["--import", "--dry-run"], ["--import=no.py"]])
def test_no_file_is_refused(parts, words):
    with pytest.raises(UsageError, match=r"--import.* Python file"):
        train(["--dataset", "gmm", *words])


def test_what_a_file_of_an_own_part_still_holds_is_written_at_the_end(tmp_path):
    """Objects that refer to each other are closed by the collector alone."""
    own, log = tmp_path / "part_with_log.py", tmp_path / "log.txt"
    own.write_text(f"""
class Log:
    def __init__(self):
        self.file = open({str(log)!r}, "w")
        self.say = self.file_it
    def file_it(self, text):
        self.file.write(text)

LOG = Log()
LOG.say("all of it")
""")
    done = subprocess.run(
        [sys.executable, "-m", "kvae.audit", "--import", str(own), str(tmp_path / "none")],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert (done.returncode, log.read_text()) == (2, "all of it"), done.stderr
