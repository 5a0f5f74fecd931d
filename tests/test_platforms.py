"""Nothing that Linux alone has is needed to import kvae, to train, to publish and to evaluate."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

from kvae import files
from kvae.command import training_command
from kvae.config import resolve
from kvae.data import CACHE_FOLDERS
from kvae.data.cache import default_cache_dir

ROOT = Path(__file__).parents[1]
#: Files that are not imported: programs that run where they stand, what needs other packages.
RUN = {"kvae.encode.beam", "kvae.explore.page", "kvae.steps.jax", "kvae.steps.torch"}

IMPORTS = """
import pkgutil, sys
import windows_testing
windows_testing.hide()
import kvae
names = [module.name for module in pkgutil.walk_packages(kvae.__path__, "kvae.")]
for name in names:
    if name not in sys.argv[1].split():
        __import__(name)
        print("imported", name, flush=True)
"""

WORK = """
import shutil
from pathlib import Path
from unittest import mock
from kvae.encode import parts
from kvae.evaluation import drawing, measurements, program as evaluation
from kvae.publish import program as publishing
from kvae.training import program as training
from kvae_testing import few_signatures, small_mixtures
from kvae import cli, data
windows_testing.forbid()

signatures, save, name = sys.argv[2].split(), sys.argv[3], "d\\u00e9j\\u00e0"
small = "--batch-size 500 --hidden-units 8 --no-jit-compile --sampler none --variance shared"
small += " --prior standard_normal --posterior diagonal"

def told(main, words):
    sys.argv[1:] = [*words.split(), "--debug"]
    assert cli.run(main) == 0, words

def draw(folder, *_, **__):
    (folder / "latent_tsne.png").write_bytes(b"")

with few_signatures(*signatures), small_mixtures():
    told(training.main, f"--dataset gmm --save {save} --name {name} --epochs 1 {small}")
    # The way of the files matters here, not what is in them.
    measured = mock.patch.object(measurements, "measure", lambda *_, **__: ({}, {}))
    with measured, mock.patch.object(drawing, "draw", draw):
        told(evaluation.main, f"--model {save}/{name} --num-draws 1")
shutil.copytree(f"{save}/{name}/1", f"{save}/{name}/2")
told(publishing.main, f"rollback {save}/{name} --to 1")
told(publishing.main, f"prune {save}/{name} --keep 2")
told(publishing.main, f"config {save}")
options = dict(faces_count=20, image_size=32, cache_dir=f"{save}/cache")
first, second = data.load("faces", **options), data.load("faces", **options)
assert (first.train.x == second.train.x).all()
with parts.Parts(Path(save) / "o.parquet", {"rows": 1}, {"z": ()}, 1) as job:
    with job.writer(0) as write:
        write(["key"], {"z": first.train.x[:1, 0, 0, 0]}, [None])
    assert job.merge() == 0
assert not [*Path(save).glob("*.parts")]
told(publishing.main, f"list {save}/{name}")
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a process said and left that had nothing but what Windows has, and its old console."""
    save = tmp_path_factory.mktemp("saved")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + WORK, " ".join(RUN), "encode decode", str(save)],
        capture_output=True, cwd=ROOT, timeout=600,
        env=os.environ
        | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "PYTHONIOENCODING": "ascii",
            "KERAS_BACKEND": "tensorflow",
        },
    )  # fmt: skip
    output, errors = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    return SimpleNamespace(status=done.returncode, output=output, errors=errors, save=save)


def test_all_of_kvae_is_imported_without_what_windows_lacks(elsewhere):
    lines = [line.split() for line in elsewhere.output.splitlines()]
    imported = {line[1] for line in lines if line[:1] == ["imported"]}
    assert imported == _modules() - RUN, elsewhere.errors


def _modules():
    paths = [path.relative_to(ROOT) for path in (ROOT / "kvae").rglob("*.py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return names - {"kvae"}


def test_training_publishing_and_evaluation_need_nothing_that_windows_forbids(elsewhere):
    assert elsewhere.status == 0, elsewhere.errors
    # The console has no letter é.
    listed = [line.split()[:2] for line in elsewhere.output.splitlines()[-2:]]
    assert listed == [["d?j?", "2"], ["d?j?", "3"]]
    model = elsewhere.save / "déjà"
    assert (model / "evaluation" / "1" / "latent_tsne.png").is_file()
    assert not [*model.glob(".p*"), *(model / "training").glob("*.h5")]
    assert 'name: "déjà"'.encode() in (elsewhere.save / "models.config").read_bytes()


def test_text_is_read_and_written_as_utf_8():
    """Else it would be in the code page of a Windows machine."""
    lacking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*(ROOT / "kvae").rglob("*.py"), ROOT / "train.py", ROOT / "evaluate.py"]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_of_text(node)
        if not any(keyword.arg == "encoding" for keyword in node.keywords)
    ]
    assert not lacking


def _is_of_text(call):
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    words = [one.value for one in call.args if isinstance(one, ast.Constant)]
    modes = [word for word in words if isinstance(word, str) and set(word) <= set("rwxab+t")]
    if name in ("read_text", "write_text"):
        return True
    return name == "open" and bool(modes) and not any("b" in mode for mode in modes)


@pytest.mark.parametrize(
    ("system", "folder"),
    [
        (platformdirs.unix.Unix, "~/.cache/kvae"),
        (platformdirs.macos.MacOS, "~/Library/Caches/kvae"),
        (platformdirs.windows.Windows, "%LOCALAPPDATA%\\kvae\\Cache"),
    ],
)
def test_help_names_the_cache_folder_of_each_system(system, folder, monkeypatch):
    for name in ("KVAE_CACHE_DIR", "XDG_CACHE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", lambda _: "%LOCALAPPDATA%")
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)
    found = str(default_cache_dir()).replace(str(Path.home()), "~")
    assert found.replace("/", "\\") == folder.replace("/", "\\")
    assert folder in CACHE_FOLDERS


def test_commands_are_quoted_as_the_system_wants_it():
    config = resolve({"dataset": "gmm", "name": "b c"})
    assert training_command(config).endswith("--name 'b c'")
    with mock.patch.object(files, "WINDOWS", True):
        assert training_command(config).endswith('--name "b c"')
