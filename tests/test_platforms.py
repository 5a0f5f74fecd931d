"""Nothing that Linux alone has is needed to import kvae, to train, to publish and to evaluate."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvae_testing import EVALUATED

from kvae import files

ROOT = Path(__file__).parents[1]

IMPORTS = """
import pkgutil, sys
import windows_testing
windows_testing.hide()
import kvae
count = 0
for module in pkgutil.walk_packages(kvae.__path__, "kvae."):
    if module.name == "kvae.encode.beam":  # a program, of an extra
        continue
    if module.name in ("kvae.steps.jax", "kvae.steps.torch"):  # of another backend each
        continue
    __import__(module.name)
    count += 1
print("imported", count)
"""

RUN = """
import shutil, sys
from unittest import mock
import windows_testing
windows_testing.hide()
from kvae.evaluation import drawing, program as evaluation
from kvae.publish import program as publishing
from kvae.training import kept_weights, program as training, run
from kvae_testing import few_signatures, small_mixtures
from kvae import cli, data
windows_testing.forbid()

save, name = sys.argv[1], "d\u00e9j\u00e0"
small = "--batch-size 500 --hidden-units 8 --prior-components 3 --no-jit-compile --sampler none"

def told(main, words):
    sys.argv[1:] = [*words.split(), "--debug"]
    assert cli.run(main) == 0, words

def draw(folder, *_, **__):
    (folder / "latent_tsne.png").write_bytes(b"")

with few_signatures(*sys.argv[2].split()), small_mixtures():
    told(training.main, f"--dataset gmm --save {save} --name {name} --epochs 1 {small}")
    with mock.patch.object(drawing, "draw", draw):  # of its files the way matters here
        for _ in range(2):
            told(evaluation.main, f"--model {save}/{name} --num-draws 1")
shutil.copytree(f"{save}/{name}/1", f"{save}/{name}/2")
told(publishing.main, f"rollback {save}/{name} --to 1")
told(publishing.main, f"prune {save}/{name} --keep 2")
told(publishing.main, f"config {save}")
told(publishing.main, f"list {save}/{name}")
options = dict(faces_count=20, image_size=32, cache_dir=f"{save}/cache")
first, second = data.load("faces", **options), data.load("faces", **options)
assert (first.train.x == second.train.x).all()
"""


def _run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, cwd=ROOT, timeout=600,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"} | environment,
    )  # fmt: skip


def test_all_of_kvae_is_imported_without_what_windows_lacks():
    done = _run(IMPORTS)
    assert done.returncode == 0, done.stderr.decode()
    count = len([*(ROOT / "kvae").rglob("*.py")])
    assert done.stdout.decode().split() == ["imported", str(count - 4)]


def test_training_publishing_and_evaluation_need_nothing_that_windows_forbids(tmp_path):
    """On a console whose code page lacks the letters of the model's name."""
    done = _run(RUN, str(tmp_path), " ".join(EVALUATED), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode()
    listed = done.stdout.decode().splitlines()[-2:]
    assert [line.split()[:2] for line in listed] == [["d?j?", "2"], ["d?j?", "3"]]
    model = tmp_path / "déjà"
    assert (model / "evaluation" / "1" / "latent_tsne.png").is_file()
    assert [path.name for path in (model / "training").glob("*.h5")] == []
    assert not [*model.glob(".p*")]
