"""Processes that kvae starts: each a Python of its own, which finds the same kvae."""

import os
import signal
from pathlib import Path
from typing import BinaryIO


def environment() -> dict[str, str]:
    """This process's environment, and where kvae is; modules of the current folder hide no others.

    For `sys.executable -m MODULE`.
    """
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def how_ended(status: int) -> str:
    """A `returncode` other than 0 in words, to stand behind "ended": with status 3."""
    if status >= 0:
        return f"with status {status}"
    how = f"with signal {-status}"
    if -status == getattr(signal, "SIGKILL", None):
        how += " (where memory is short, the system ends processes so)"
    return how


def only_answers() -> BinaryIO:
    """Standard output, for what the parent reads; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
