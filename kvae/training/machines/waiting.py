"""Signals while a machine waits for others."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the process at SIGINT and SIGTERM, which TensorFlow keeps to itself while it waits."""
    numbers, is_done = {signal.SIGINT, signal.SIGTERM}, threading.Event()

    def end():
        while not is_done.is_set():
            heard = signal.sigtimedwait(numbers, 0.2)
            if heard is not None and not is_done.is_set():
                print("interrupted: nothing was trained", file=sys.stderr, flush=True)
                os._exit(128 + heard.si_signo)

    watch = threading.Thread(target=end, daemon=True)
    # Threads that are made from here on leave signals to this one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    handlers = {number: signal.getsignal(number) for number in numbers}
    watch.start()
    try:
        yield
    finally:
        is_done.set()
        watch.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
