"""Ctrl-C and SIGTERM while a model trains."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

from kvae import saying
from kvae.errors import Terminated
from kvae.training import program
from kvae.training.keeping import checkpoints, resume
from kvae.training.keeping.interruption import Interruption

ROOT = Path(__file__).parents[3]
# Signals


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """What runs in the background of a shell ignores Ctrl-C, and Python keeps it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_a_call_and_a_second_one_does_not(number, error):
    before = signal.getsignal(number)
    found = Interruption()
    with found.heard():
        assert not found
        os.kill(os.getpid(), number)
        assert found
        with pytest.raises(error):
            os.kill(os.getpid(), number)
        with pytest.raises(error):
            found.end()
    assert signal.getsignal(number) == before


def test_a_thread_and_a_program_with_handlers_of_its_own_hear_nothing():
    own = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with Interruption().heard():
            assert signal.getsignal(signal.SIGTERM) is not Interruption._hear
            assert signal.getsignal(signal.SIGTERM).__name__ == "<lambda>"
    finally:
        signal.signal(signal.SIGTERM, own)
    heard = []

    def within():
        with Interruption().heard():
            heard.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGINT)]


def test_a_reader_that_ends_by_the_same_signal_costs_no_checkpoint(monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    let_go = mock.Mock()
    monkeypatch.setattr(saying, "let_reader_go", let_go)
    monkeypatch.setattr(sys, "stdout", mock.Mock(write=gone))
    found = Interruption()
    with found.heard():
        with pytest.raises(BrokenPipeError):
            saying.say("epoch 1")
        os.kill(os.getpid(), signal.SIGINT)
        saying.say("epoch 2")
        let_go.assert_called_once()
    with pytest.raises(BrokenPipeError):
        saying.say("published")


@pytest.mark.parametrize(("saves", "what"), [(True, "saving"), (False, "ending")])
def test_an_interruption_is_told_on_standard_error(saves, what, capsys):
    with Interruption(saves).heard():
        os.kill(os.getpid(), signal.SIGINT)
    told = capsys.readouterr()
    assert not told.out and f"interrupted: {what} after this step" in told.err


def _started(words, seen):
    """Start train.py; once it prints a line, the process."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    while seen not in (line := process.stdout.readline()):
        assert line or process.poll() is None, process.stderr.read()
    return process


def test_sigterm_saves_and_prints_the_line_to_type(tmp_path):
    words = ["--save", str(tmp_path), "--no-jit-compile", "--batch-size", "5000"]
    words += ["--hidden-units", "8", "--prior", "standard_normal", "--posterior", "diagonal"]
    words += ["--sampler", "none", "--epochs", "100000"]
    process = _started(words, "figures are nats")
    folder = tmp_path / "gmm" / "training"
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 143
    assert errors.strip().endswith("interrupted: nothing is left half-made")
    (path,) = checkpoints.unfinished(folder)
    assert f"saved: {path} (best: epoch " in errors
    (line,) = re.findall(r"go on: +python train\.py (.*)", errors)
    config, _, going_on = program.arguments(shlex.split(line))
    assert going_on and resume.find(config, going_on).checkpoint is not None
    (line,) = re.findall(r"or publish: python -m kvae\.publish (.*)", errors)
    assert shlex.split(line) == ["from-checkpoint", str(path)]
