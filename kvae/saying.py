"""What a run says on standard output, unless its caller wants less; and how far it is."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

ALL, RESULTS, NOTHING = 2, 1, 0
_LOUDNESS = ContextVar("_LOUDNESS", default=ALL)
_WIDTH, _HEIGHT = 79, 24  # of terminals that do not say theirs
_LONG = 2.0  # seconds of work after which is said how long it took
_BAR = "{desc:10} {percentage:3.0f}%|{bar}| {n:,}/{total:,}{unit} [{elapsed}<{remaining}]"
_SECONDS = 15.0  # between two lines of progress in a log
_drawn = 0  # characters of what stands in the last line of the terminal
_bar: Any = None  # what `progress` draws
_goes_on: Callable[[], bool] = bool  # without a reader


def say(*words: Any, is_result: bool = False, **options: Any) -> None:
    """As `print`; nothing within `silence`.

    Args:
        *words: as `print` takes them.
        is_result: whether it is said within `quiet` too.
        **options: as `print` takes them.
    """
    if _LOUDNESS.get() < (RESULTS if is_result else ALL):
        return
    try:
        clear()
        print(*words, **options)
    except BrokenPipeError:
        if not _goes_on():
            raise
        let_reader_go()


@contextmanager
def without_reader(goes_on: Callable[[], bool]) -> Iterator[None]:
    """Within this context a reader that has gone ends nothing, as `tee` goes that Ctrl-C ends too.

    Args:
        goes_on: whether that is so by now.
    """
    global _goes_on
    before, _goes_on = _goes_on, goes_on
    try:
        yield
    finally:
        _goes_on = before


def let_reader_go() -> None:
    """Have what is said from now on go nowhere, for a reader that has gone, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def draw(text: str) -> None:
    """Write over the last line of a terminal, until something else is said; in a pipe nothing."""
    global _drawn
    if _LOUDNESS.get() == ALL and sys.stdout.isatty():
        text = text[:_WIDTH]
        print(f"\r{text:{_drawn}}", end="", flush=True)
        _drawn = max(_drawn, len(text))


def clear() -> None:
    """Take away what `draw` and `progress` wrote, for others to write there."""
    global _drawn
    if (bar := _bar) is not None:  # another thread may end it
        bar.clear()
    if _drawn:
        print(f"\r{'':{_drawn}}\r", end="", flush=True)
        _drawn = 0


@contextmanager
def progress(what: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Say how far work is, and how long it will take: a bar on a terminal's standard error.

    Where that is no terminal it is a line every 15 s. When the work is done the bar goes, and a
    line on standard output says how long it took, if that is over two seconds.

    Args:
        what: the work in a word, as "decoding".
        total: units of the whole work.
        unit: in the plural, as "images".
        done: units that are done already.

    Yields:
        What is told of each number of units that is done.
    """
    global _bar
    from tqdm import tqdm  # not for --help

    start, made = time.monotonic(), 0
    width, height = shutil.get_terminal_size((_WIDTH + 1, _HEIGHT))
    options: dict[str, Any] = {"ncols": min(_WIDTH, width - 1), "nrows": height}
    if sys.stderr is None or not sys.stderr.isatty():
        # Of steps that are counted by themselves tqdm's monitor would print again in between.
        options |= {"file": _Lines(sys.stderr), "mininterval": _SECONDS, "delay": _SECONDS,
                    "miniters": 0}  # fmt: skip
    clear()
    is_drawn = _LOUDNESS.get() == ALL and _bar is None
    bar = tqdm(
        total=total, initial=done, desc=what, unit=f" {unit}", disable=not is_drawn, leave=False,
        bar_format=_BAR, **options,
    )  # fmt: skip

    def advance(count: int) -> None:
        nonlocal made
        made += count
        bar.total = max(bar.total or 0, done + made)  # no wrong total may end the work
        bar.update(count)

    try:
        if is_drawn:
            _bar = bar
        yield advance
    finally:
        if is_drawn:
            _bar = None
        bar.close()
    seconds = time.monotonic() - start
    if seconds > _LONG:
        say(f"{what:10} {made:,} {unit} in {duration(seconds)}", flush=True)


class _Lines:
    """A stream for tqdm, which writes over its line, in which each state is a line of its own."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        if self._stream is not None and (text := text.strip()):
            try:
                self._stream.write(f"{text}\n")
            except OSError:  # its reader has gone; the work goes on
                self._stream = None

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError:
                self._stream = None


def duration(seconds: float) -> str:
    """Seconds in words: "12 s", "3 min", "1.7 h", "5 d"."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes, days = seconds / 60, seconds / 86400
    if days >= 4:
        return f"{days:.0f} d"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def is_silent() -> bool:
    """Whether nothing but results is said here, if that."""
    return _LOUDNESS.get() < ALL


@contextmanager
def silence(is_wanted: bool = True) -> Iterator[None]:
    """Within this context, and no other thread, nothing is said.

    Args:
        is_wanted: False: all is as it was.
    """
    with _at_most(NOTHING if is_wanted else ALL):
        yield


@contextmanager
def quiet(is_wanted: bool = True) -> Iterator[None]:
    """Within this context, and no other thread, results alone are said.

    Args:
        is_wanted: False: all is as it was.
    """
    with _at_most(RESULTS if is_wanted else ALL):
        yield


@contextmanager
def _at_most(loudness: int) -> Iterator[None]:
    before = _LOUDNESS.set(min(_LOUDNESS.get(), loudness))
    try:
        yield
    finally:
        _LOUDNESS.reset(before)
