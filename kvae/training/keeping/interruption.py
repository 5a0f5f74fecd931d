"""Ctrl-C and SIGTERM while a model trains: what was done is saved first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kvae.errors import Terminated, terminate
from kvae.saying import say

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether a signal asked the run to end, which it does after the call of its graph."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._heard = 0.0

    def __bool__(self) -> bool:
        return self._signal is not None

    @property
    def seconds(self) -> float:
        """Since the signal; 0 without one."""
        return time.monotonic() - self._heard if self else 0.0

    def end(self) -> None:
        """End the run as the signal would have.

        Raises:
            KeyboardInterrupt: always.
        """
        raise Terminated if self._signal == signal.SIGTERM else KeyboardInterrupt

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take signals down instead of ending at once; a second one ends at once.

        Only the main thread of a program hears signals; a program that has handlers of its own
        for them keeps those.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        ours = [number for number, handler in before.items() if _ends_program(handler)]
        try:
            for number in ours:
                signal.signal(number, self._hear)
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])

    def _hear(self, number: int, frame: Any) -> None:
        if self:
            self.end()
        self._signal, self._heard = number, time.monotonic()
        say("\ninterrupted: saving after this step; once more ends at once", flush=True)


def _ends_program(handler: Any) -> bool:
    """Whether a handler is Python's or that of kvae's programs."""
    return handler in (signal.SIG_DFL, signal.default_int_handler, terminate)
