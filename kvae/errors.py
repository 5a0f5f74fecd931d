"""Errors that a user can mend: shown as one line, without a traceback."""

from collections.abc import Iterable
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
        version: the published `kvae.serving.versions.Version`.
        missing: which parts, and why.
    """

    exit_status = 3

    def __init__(self, version: Any, missing: Iterable[str]):
        super().__init__(f"{version.path} is published without {'; '.join(missing)}")
        self.version = version


class _Debugging:
    """Whether errors that cost a part, and not the whole, are raised all the same."""

    is_on = False


#: `kvae.cli.run` switches it on under --debug.
DEBUGGING = _Debugging()
