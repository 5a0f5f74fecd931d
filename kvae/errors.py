"""Errors that a user can mend: shown as one line, without a traceback."""

from typing import Any


class KvaeError(Exception):
    """Something outside the program is wrong; the message says what, what is allowed, what came."""

    exit_status = 1


class UsageError(KvaeError, ValueError):
    """An argument or option is wrong."""

    exit_status = 2


class DataError(KvaeError):
    """A data set cannot be read or is not what it should be."""


class IncompleteError(KvaeError):
    """A version was published without a part that could not be made.

    Args:
        message: which part, and why.
        version: the published `kvae.serving.versions.Version`.
    """

    exit_status = 3

    def __init__(self, message: str, version: Any):
        super().__init__(message)
        self.version = version


class _Debugging:
    """Whether errors that cost a part, and not the whole, are raised all the same."""

    is_on = False


#: `kvae.cli.run` switches it on under --debug.
DEBUGGING = _Debugging()
