"""What a run says on standard output, unless its caller wants silence."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IS_SILENT = ContextVar("_IS_SILENT", default=False)
_WIDTH = 79
_SECONDS = 15.0  # between two lines of progress in a log
_drawn = 0  # characters of what stands in the last line of the terminal
_goes_on: Callable[[], bool] = bool  # without a reader


def say(*words: Any, **options: Any) -> None:
    """As `print`; nothing within `silence`."""
    if _IS_SILENT.get():
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
    if not _IS_SILENT.get() and sys.stdout.isatty():
        text = text[:_WIDTH]
        print(f"\r{text:{_drawn}}", end="", flush=True)
        _drawn = max(_drawn, len(text))


def clear() -> None:
    """Take away what `draw` wrote, for others to write there."""
    global _drawn
    if _drawn:
        print(f"\r{'':{_drawn}}\r", end="", flush=True)
        _drawn = 0


def is_silent() -> bool:
    """Whether nothing is said here."""
    return _IS_SILENT.get()


def progress_bar(total: int, what: str, unit: str, *, done: int = 0) -> Any:
    """A bar of tqdm on standard error; where that is no terminal a line every 15 s.

    Args:
        total: units of the whole work.
        what: stands before the bar.
        unit: in the plural.
        done: units that are done already.
    """
    from tqdm import tqdm

    options: dict[str, Any] = {}
    if sys.stderr is None or not sys.stderr.isatty():
        options = {"file": _Lines(sys.stderr), "mininterval": _SECONDS, "delay": _SECONDS}
    return tqdm(
        total=total, initial=done, desc=what, unit=f" {unit}", disable=is_silent(), **options
    )


class _Lines:
    """A stream for tqdm, which writes over its line, in which each state is a line of its own."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        if self._stream is not None and (text := text.strip()):
            self._stream.write(f"{text}\n")

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()


@contextmanager
def silence(is_wanted: bool = True) -> Iterator[None]:
    """Within this context, and no other thread, nothing is said.

    Args:
        is_wanted: False: all is as it was.
    """
    before = _IS_SILENT.set(_IS_SILENT.get() or is_wanted)
    try:
        yield
    finally:
        _IS_SILENT.reset(before)
