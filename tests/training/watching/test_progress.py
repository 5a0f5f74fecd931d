"""What is said of a training while it runs: of times that a clock of the test's own gives."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest

import kvae
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.saying import clear, duration, say, silence
from kvae.training.watching.progress import Progress, figure

FIGURES = {"elbo": -3.0, "distortion": 2.0, "rate": 1.0, "loss": 3.0}
LOGS = FIGURES | {f"val_{name}": value - 0.5 for name, value in FIGURES.items()}


class Terminal(io.StringIO):
    """What was written, and what one sees of it."""

    def isatty(self):
        return True

    def seen(self):
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines


class Run:
    """Epochs of a run as Keras tells a callback of them, without a model."""

    def __init__(self, calls=1, *, left=float("inf"), compiling=0.0, first_call=0, **given):
        self.config = resolve({"dataset": "gmm", **given})
        self.kept = SimpleNamespace(record=None)
        self.now, self.calls, self.compiling = 0.0, calls, compiling
        ending = SimpleNamespace(seconds_left=lambda: left)
        self.progress = Progress(
            self.config, self.kept, ending, 40, calls, lambda: self.now, first_call=first_call
        )
        self.progress.set_model(SimpleNamespace(stop_training=False))

    def epoch(self, number, *, call=1.0, valid=0.0, is_best=False, logs=LOGS):
        self.progress.on_epoch_begin(number - 1)
        for batch in range(self.calls):
            self.now += call + self.compiling
            self.compiling = 0.0
            self.progress.on_train_batch_end(batch)
        self.progress.on_test_begin()
        self.now += valid
        self.progress.on_test_end()
        if is_best:
            self.kept.record = SimpleNamespace(epoch=number)
        self.progress.on_epoch_end(number - 1, logs)

    def begin(self, number, calls):
        self.progress.on_epoch_begin(number - 1)
        for batch in range(calls):
            self.now += 1.0
            self.progress.on_train_batch_end(batch)

    def stop(self):
        self.progress.model.stop_training = True


def _cells(text):
    """The lines but headings, in words."""
    return [line.split() for line in text.splitlines() if "epoch" not in line]


def test_a_line_says_the_figures_of_an_epoch_once_and_marks_the_best(capsys):
    run = Run(epochs=3)
    run.epoch(1, is_best=True)
    run.epoch(2, is_best=True)
    run.epoch(3)
    headings, *lines = capsys.readouterr().out.splitlines()
    assert headings.split() == ["epoch", "elbo", "distortion", "rate", "train", "elbo", "left"]
    figures = ["-3.500", "1.500", "0.5000", "-3.000"]
    assert [line.split() for line in lines] == [
        ["1/3", *figures, "best"], ["2/3", *figures, "1", "s", "best"], ["3/3", *figures],
    ]  # fmt: skip


def test_with_another_goal_than_the_elbo_the_loss_has_a_column(capsys):
    run = Run(epochs=99, beta=2.0)
    run.epoch(1, logs={**LOGS, "val_stddev": 0.1, "loss": 1e9, "val_elbo": -745973.12})
    headings, line = capsys.readouterr().out.splitlines()
    assert "loss train loss" in headings
    assert "-745973.1" in line and "1.00e+09" in line
    assert "stddev" not in headings  # there is no room
    Run(epochs=99).epoch(1, logs={**LOGS, "val_stddev": 0.1})
    assert "train elbo    stddev" in capsys.readouterr().out


@pytest.mark.parametrize("given", [{}, {"beta": 2.0}, {"epochs": 10**6}])
def test_lines_fit_into_80_columns_and_into_ascii(given, capsys):
    run = Run(**{"epochs": 9999, "patience": 3, **given})
    logs = dict.fromkeys([*LOGS, "val_stddev", "val_total_correlation"], -999999.9)
    for number in (1, 2):
        run.epoch(number, logs=logs, call=5000.0, is_best=True)
    text = capsys.readouterr().out
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80


def test_headings_come_again_after_twenty_lines(capsys):
    run = Run(epochs=50)
    for number in range(1, 42):
        run.epoch(number)
    lines = capsys.readouterr().out.splitlines()
    assert [place for place, line in enumerate(lines) if "elbo" in line] == [0, 21, 42]


def test_of_short_epochs_some_have_a_line_the_last_and_the_best_are_told(capsys):
    run = Run(epochs=1000)
    for number in range(1, 1001):
        run.epoch(number, call=0.01, is_best=number in (1, 55, 998))
    lines = _cells(capsys.readouterr().out)
    told = [int(line[0].split("/")[0]) for line in lines]
    assert told == [1, *range(50, 1001, 50)]
    marks = {line[0]: line[-1] for line in lines if "best" in line}
    assert marks == {"1/1000": "best", "100/1000": "55", "1000/1000": "998"}


def test_the_epoch_in_which_somebody_ends_training_has_its_line(capsys):
    run = Run(epochs=1000)
    for number in range(1, 8):
        run.epoch(number, call=0.01)
    run.progress.on_train_end()
    run.progress.on_train_end()
    assert [line[0] for line in _cells(capsys.readouterr().out)] == ["1/1000", "7/1000"]
    run = Run(epochs=1000)
    run.epoch(1, call=0.01)
    run.stop()
    run.epoch(2, call=0.01)
    assert [line[0] for line in _cells(capsys.readouterr().out)] == ["1/1000", "2/1000"]


def _left(capsys):
    return [" ".join(line[5:]) for line in _cells(capsys.readouterr().out)]


def test_the_time_left_is_that_of_the_epochs_to_come(capsys):
    run = Run(calls=4, compiling=60.0, epochs=5)
    for number in (1, 2):
        run.epoch(number, call=1.0, valid=2.0)
    assert _left(capsys) == ["24 s", "18 s"]  # what compiled does not come again
    run.epoch(3, call=10.0, valid=2.0)
    assert _left(capsys) == [duration(2 * (6 + 42) / 2)]


def test_an_epoch_of_one_call_tells_nothing_of_the_next_but_for_a_long_one(capsys):
    for compiling in (5.0, 60.0):
        run = Run(compiling=compiling, epochs=5)
        run.epoch(1)
        run.epoch(2)
    assert _left(capsys) == ["", "3 s", "4 min", "3 s"]


def test_a_resumed_run_counts_what_it_has_not_made(capsys):
    run = Run(calls=10, epochs=8)
    run.calls = 4  # the rest of an epoch that was cut
    run.epoch(6)
    run.progress.on_train_end()
    run.calls = 10
    run.progress.on_train_begin()
    run.epoch(7)
    assert _left(capsys) == ["20 s", "10 s"]


def test_max_minutes_and_patience_bound_the_time_left(capsys):
    run = Run(calls=4, epochs=1000, left=100.0, patience=3)
    run.epoch(1)
    assert _left(capsys) == ["< 2 min"]


def test_within_an_epoch_a_terminal_alone_is_told(monkeypatch, capsys):
    Run(calls=10, epochs=2).epoch(1)
    assert len(capsys.readouterr().out.splitlines()) == 2
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    run = Run(calls=10, epochs=2)
    run.begin(1, calls=4)
    assert terminal.seen() == ["epoch 1/2: step 16 of 40, 6 s left in this epoch"]
    clear()
    run = Run(calls=10, epochs=2, first_call=6)
    run.begin(2, calls=2)
    assert terminal.seen() == ["epoch 2/2: step 32 of 40, 2 s left in this epoch"]
    clear()
    run.progress.on_epoch_end(0, LOGS)
    terminal.seek(0)
    terminal.truncate()
    run.progress.on_epoch_begin(1)
    for batch, seconds in enumerate((0.4, 0.4, 0.4)):
        assert terminal.seen() == [""]  # for the first second
        run.now += seconds
        run.progress.on_train_batch_end(batch)
    assert terminal.seen() == ["epoch 2/2: step 12 of 40, 3 s left in this epoch"]
    clear()  # as what ends a run by an error does
    say("next")
    assert terminal.seen() == ["next", ""]


def test_figures_and_times_are_short():
    shown = [figure(value) for value in (0.14159, -5.4321, 1234.567, -745973.12, 1e7, float("nan"))]
    assert shown == ["0.1416", "-5.432", "1234.57", "-745973.1", "1.00e+07", "nan"]
    shown = [duration(seconds) for seconds in (-1, 89, 120, 7200, 864000)]
    assert shown == ["0 s", "89 s", "2 min", "2.0 h", "10 d"]


def test_silence_is_that_of_the_context(capsys):
    with silence():
        say("a")
        with silence(False):
            say("b")
    say("c")
    assert capsys.readouterr().out == "c\n"


def test_a_silent_training_prints_nothing_and_a_loud_one_a_table(capsys):
    x = np.random.default_rng(0).normal(size=(120, 2)).astype("float32")
    data = kvae.Dataset.from_arrays(x)
    capsys.readouterr()
    quick = {"epochs": 2, "hidden_units": (4,), "sampler": "mixture", "jit_compile": False}
    kvae.train(data, verbose=0, **quick)
    assert capsys.readouterr() == ("", "")
    kvae.train(data, **{**quick, "sampler": "none"})
    out = capsys.readouterr().out
    assert re.search(r"^epoch +elbo", out, re.MULTILINE)
    assert re.search(r"^ +2/2 ", out, re.MULTILINE)
    assert "Epoch" not in out


@pytest.mark.parametrize("verbose", [2, "auto", None, -1, 0.0])
def test_another_verbosity_is_refused(verbose):
    with pytest.raises(UsageError, match=r"verbose: 0 .* or 1 .* received"):
        kvae.train("gmm", verbose=verbose)
