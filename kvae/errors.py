"""Errors that a user can mend: shown as one line, without a traceback."""


class KvaeError(Exception):
    """Something outside the program is wrong; the message says what, what is allowed, what came."""

    exit_status = 1


class UsageError(KvaeError, ValueError):
    """An argument or option is wrong."""

    exit_status = 2


class DataError(KvaeError):
    """A data set cannot be read or is not what it should be."""
