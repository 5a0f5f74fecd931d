"""Figures drawn by other processes are those that this one draws, and what goes wrong is told."""

import os
import time

import numpy as np
import pytest

from kvae.errors import DEBUGGING, KvaeError, UsageError
from kvae.figures import processes
from kvae.figures.processes import Painters
from kvae.figures.rates import draw_rates

RATES = (np.array([2.0, 0.1, 0.7]), np.array([True, False, True]), "a title", "nats")


def test_other_processes_draw_the_same_bytes(tmp_path):
    places = [tmp_path / name for name in ("here.png", "one.png", "two.png", "late.png")]
    draw_rates(*RATES, path=places[0])
    with Painters(2) as painters:
        for place in places[1:3]:
            painters(draw_rates, *RATES, path=place)
        # What a library prints there is no answer.
        painters(print, "a line")
        painters.finish()
        assert all(process.poll() is None for process in painters._processes)
    assert all(process.poll() is not None for process in painters._processes)
    with Painters(0) as painters:
        painters(draw_rates, *RATES, path=places[3])
        assert not places[3].exists()  # what is measured meanwhile comes first
        painters.finish()
    assert len({place.read_bytes() for place in places}) == 1


def test_errors_and_deaths_are_told_and_nothing_outlives_the_end(tmp_path):
    with Painters(1) as painters:
        painters(draw_rates, *RATES, path=tmp_path / "rates.png")
        painters(draw_rates, np.array([np.nan]), *RATES[1:], path=tmp_path / "wrong.png")
        painters.finish()
        told = painters.failed.pop("wrong.png")
        assert isinstance(told, ValueError) and "rates must be" in str(told)
        assert "draw_rates" in "".join(told.__notes__)  # where it was raised
        assert (tmp_path / "rates.png").exists()
        painters(os._exit, 7)
        painters.finish()
        told = painters.failed.pop("_exit")
        assert "_exit: the process that drew it ended with status 7" in str(told)
        painters(os.getpid)  # by a new one
        painters.finish()
        assert not painters.failed
        start = time.monotonic()
        painters(time.sleep, 600)
        painters(time.sleep, 600)
    assert time.monotonic() - start < 60
    assert len(painters._processes) == 2
    assert all(process.returncode is not None for process in painters._processes)


@pytest.mark.parametrize("cores_, wanted", [(1, 0), (2, 2), (64, 4)])
def test_as_many_processes_as_cores_at_most_four(monkeypatch, cores_, wanted):
    monkeypatch.setattr(processes, "MAX_PROCESSES", 4)
    monkeypatch.setattr(processes, "num_cores", lambda: cores_)
    assert processes.num_processes() == wanted
    monkeypatch.setattr(DEBUGGING, "is_on", True)
    assert processes.num_processes() == 0
    monkeypatch.setattr(DEBUGGING, "is_on", False)
    monkeypatch.setattr(processes.sys, "executable", "")
    assert processes.num_processes() == 0


def test_an_error_that_cannot_be_sent_is_told_in_words():
    class Own(Exception):
        pass

    sent = processes._sendable(Own("of a figure"))
    assert isinstance(sent, KvaeError) and str(sent) == "Own: of a figure"
    assert isinstance(processes._sendable(UsageError("an option")), UsageError)
