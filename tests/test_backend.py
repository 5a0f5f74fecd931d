import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import evaluate
import kvae
import train
from kvae import backend, cli
from kvae.command import training_command
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.publish import __main__ as publishing


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    for name in backend.BACKENDS:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [
        ("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("arm64", None, None),
        ("aarch64", None, None),
    ],
)  # fmt: skip
def test_onednn_is_used_on_x86_unless_the_variable_says_otherwise(
    monkeypatch, machine, given, expected
):
    monkeypatch.setattr(backend.platform, "machine", lambda: machine)
    name = "TF_ENABLE_ONEDNN_OPTS"
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    backend.prefer_onednn()
    assert backend.os.environ.get(name) == expected


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        ({}, None, "tensorflow"), ({}, "", "tensorflow"), ({}, "jax", "jax"),
        ({"backend": "torch"}, "jax", "torch"),
    ],
)  # fmt: skip
def test_the_command_line_beats_the_variable(monkeypatch, given, variable, expected):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    config = resolve({"dataset": "gmm", **given})
    assert config.backend == expected
    # Also where the variable says so here: it may not in the shell that the line is typed in.
    assert (f"--backend {expected}" in training_command(config)) == (expected != "tensorflow")


def test_other_backends_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="--backend: choose one of tensorflow, jax, torch"):
        resolve({"backend": "numpy"})
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    with pytest.raises(UsageError, match="KERAS_BACKEND: choose one of tensorflow, jax"):
        resolve({})


def test_one_that_is_not_installed_says_what_to_install(nothing_installed, monkeypatch):
    with pytest.raises(UsageError, match=r'jax is not installed: pip install -e "\.\[jax\]"'):
        backend.use("jax")
    with pytest.raises(UsageError, match=r'tensorflow is not installed: pip install -e "\."'):
        backend.use("tensorflow")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(UsageError, match=r'torch is not installed: pip install -e "\.\[torch\]"'):
        kvae.build_vae  # noqa: B018


def test_keras_keeps_to_the_backend_that_it_was_imported_with(monkeypatch):
    monkeypatch.setattr(backend, "check", lambda name: None)
    backend.use("tensorflow")
    with pytest.raises(UsageError, match="imported with the backend tensorflow: set KERAS_BACKEND"):
        backend.use("jax")


class _Used(Exception):
    """Stands for the rest of a program."""


@pytest.mark.parametrize(
    ("main", "argv", "expected"),
    [
        (train.main, ["--dataset", "gmm", "--backend", "jax"], "jax"),
        (train.main, ["--dataset", "gmm"], "torch"),
        (evaluate.main, [], "tensorflow"),
        (publishing.main, ["list"], "tensorflow"),
    ],
)
def test_programs_choose_before_they_do_anything(monkeypatch, main, argv, expected):
    def use(name):
        raise _Used(name)

    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(backend, "use", use)
    with pytest.raises(_Used, match=f"^{expected}$"):
        main(argv)


def test_a_program_without_a_console_imports_too(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert backend.quiet_import("kvae") is kvae


def test_a_training_does_not_import_what_others_need():
    """They are a second or two of its start; who wants them afterwards has them.

    Nor does the collector look at modules, within the import or later.
    """
    code = """
import gc, sys
from kvae import backend, cli

def main(argv):
    keras = backend.quiet_import("keras")
    import kvae.training.run
    unused = {"sklearn", "matplotlib", "scipy.stats"} & {*sys.modules}
    print(*sorted(unused), "|", keras.backend.backend())
    print(gc.isenabled(), gc.get_freeze_count() > 100_000)
    import matplotlib, sklearn.mixture

assert cli.run(main) == 0 and not backend.PROGRAM.is_on
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"}, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.split() == ["|", "tensorflow", "True", "True"], done.stderr


def test_an_import_leaves_the_collector_as_it_was(monkeypatch):
    """In a user's own Python it is as before: on or off, with nothing hidden from it."""
    hidden = []
    monkeypatch.setattr(backend.gc, "freeze", lambda: hidden.append(True))
    for was_on in (False, True):
        (gc.enable if was_on else gc.disable)()
        try:
            backend.quiet_import("kvae")
            assert gc.isenabled() is was_on
        finally:
            gc.enable()
    assert not hidden


@pytest.mark.parametrize(("words", "is_on"), [([], True), (["--import", "own.py"], False)])
def test_a_users_file_has_all_of_keras(monkeypatch, words, is_on):
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    seen = []
    assert cli.run(lambda argv: seen.append(backend.PROGRAM.is_on)) == 0
    assert seen == [is_on]
