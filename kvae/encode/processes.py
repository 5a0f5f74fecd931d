"""Bulk work in several processes, each of which makes some of the parts of the output.

A part is made of the same rows in the same batches whichever process does it, so that the output
does not depend on their number.
"""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from itertools import pairwise
from typing import IO, Any

from kvae import backend, children
from kvae.encode import Work, open_work
from kvae.errors import DataError, KvaeError, UsageError

Range = tuple[int, int]


def run(work: Work, missing: Sequence[Range], count: int, done: Callable[[int], None]) -> None:
    """Make parts in processes of their own, and wait for them.

    Args:
        work: what is to be done.
        missing: first row and the row after the last of each part to make; at least one.
        count: of processes; no more than there are parts.
        done: called with a number of rows whenever so many are done.

    Raises:
        UsageError, DataError: as a process says; DataError too for one that ends without a word.
    """
    said: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
    started: list[subprocess.Popen[str]] = []
    listeners: list[threading.Thread] = []
    try:
        for share in _shares(missing, count):
            child = _start({**work._asdict(), "missing": share})
            started.append(child)
            listener = threading.Thread(target=_listen, args=(child.stdout, len(started) - 1, said))
            listeners.append(listener)
            listener.start()
        left = len(started)
        while left:
            place, line = said.get()
            if line is None:
                _check_end(started[place].wait(), place, len(started))
                left -= 1
            else:
                done(_read(line))
    finally:
        for child in started:
            child.terminate()
        for child in started:
            child.wait()
        for listener in listeners:  # each ends with what it reads
            listener.join()


def _shares(missing: Sequence[Range], count: int) -> list[list[Range]]:
    """Parts that follow one another, as many for each process, or one more."""
    size, more = divmod(len(missing), count)
    ends = [number * size + min(number, more) for number in range(count + 1)]
    return [[*missing[start:stop]] for start, stop in pairwise(ends)]


def _start(task: dict[str, Any]) -> "subprocess.Popen[str]":
    # None of them may take all the memory of a GPU.
    here = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} | children.environment()
    child = subprocess.Popen(
        [sys.executable, "-m", "kvae.encode.processes"], env=here, text=True, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    try:
        with child.stdin as stdin:
            stdin.write(json.dumps(task))
    except BrokenPipeError:
        pass  # it has ended: how is said where it is waited for
    return child


def _listen(stdout: IO[str], place: int, said: "queue.SimpleQueue[Any]") -> None:
    try:
        with stdout:
            for line in stdout:
                said.put((place, line))
    finally:  # whoever waits for it would wait for ever
        said.put((place, None))


def _read(line: str) -> int:
    """How many rows are done; what is wrong is raised."""
    told = json.loads(line)
    if isinstance(told, int):
        return told
    raise (UsageError if told["is_usage"] else DataError)(told["error"])


def _check_end(status: int, place: int, count: int) -> None:
    if status == 0:
        return
    raise DataError(
        f"process {place + 1} of {count} ended early, {children.how_ended(status)}: the parts that "
        "are done are kept, the same call goes on; fewer processes need less memory"
    )


def _work(task: dict[str, Any], say: Callable[[Any], None]) -> None:
    """What a process does; says how many rows are done."""
    missing = [(start, stop) for start, stop in task.pop("missing")]
    with redirect_stderr(io.StringIO()):  # the parent has said what is to be said
        opened = open_work(Work(**task))
    for rows in opened.make(missing):
        say(rows)


def _main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent has it too, and ends this process
    backend.PROGRAM.is_on = True
    answers = children.only_answers()

    def say(words: Any) -> None:
        answers.write(json.dumps(words).encode() + b"\n")
        answers.flush()

    try:
        _work(json.loads(sys.stdin.read()), say)
        return 0
    except BrokenPipeError:  # the parent is gone, and its lock: another may do the work by now
        os._exit(1)
    except KvaeError as error:
        say({"is_usage": isinstance(error, UsageError), "error": str(error)})
    except Exception as error:
        say({"is_usage": False, "error": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(_main())
