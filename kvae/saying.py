"""What a run says on standard output, unless its caller wants silence."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IS_SILENT = ContextVar("_IS_SILENT", default=False)
_WIDTH = 79
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
