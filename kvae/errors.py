"""Errors that a user can mend: shown as one line, without a traceback."""

import signal
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

_LONGEST_VALUE = 100  # characters of what was received that a message shows
_LONGEST_NUMBER = 10_000  # bits of one that is written out
_LONGEST_NAME = 100  # that is compared with those that there are
_NEAR = 0.65  # of 1: how alike two names are whose owner may have meant the other


class KvaeError(Exception):
    """Something outside the program is wrong; the message says what, what is allowed, what came."""

    exit_status = 1


class UsageError(KvaeError, ValueError):
    """An argument or option is wrong."""

    exit_status = 2


class DataError(KvaeError):
    """A data set cannot be read or is not what it should be."""


class IncompleteError(KvaeError):
    """What was asked for is made, without a part that could not be made.

    Args:
        told: what is made, as in "saved/gmm/1 is published".
        missing: which parts, and why.
        made: the published `kvae.serving.versions.Version`, or what metrics.json holds.
    """

    exit_status = 3

    def __init__(self, told: str, missing: Iterable[str], made: Any):
        super().__init__(f"{told} without {'; '.join(missing)}")
        self.made = made


class Terminated(KeyboardInterrupt):
    """SIGTERM ends a program as Ctrl-C does: it cleans up and has its last words."""


def terminate(*_: Any) -> NoReturn:
    """The handler of SIGTERM in a program; a second SIGTERM ends it at once.

    Raises:
        Terminated: always.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def one_line(text: str, limit: int | None = None) -> str:
    """A text of somebody else's as one line that does nothing to a terminal.

    Args:
        text: any; white space becomes single spaces, and what is not printable (control
            characters, those that turn the direction of writing, halves of pairs) an escape.
        limit: characters at most; None: all of them.
    """
    if limit is None:
        return escaped(" ".join(text.split()))
    cut = escaped(" ".join(text[: 4 * limit].split()))
    is_whole = len(text) <= 4 * limit and len(cut) <= limit
    return cut if is_whole else f"{cut[: max(limit - 3, 0)]}..."


def escaped(text: str) -> str:
    """A text of somebody else's, as a path, with escapes for what is not printable."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def brief(value: Any) -> str:
    """A value that was received, for a message: as Python writes it, cut where it is long."""
    return one_line(_written(value, 2 * _LONGEST_VALUE), _LONGEST_VALUE)


def _written(value: Any, limit: int) -> str:
    """A value as Python writes it, or so much of it as is longer than a limit."""
    if isinstance(value, str | bytes):
        return repr(value[:limit])
    if type(value) is int and value.bit_length() > _LONGEST_NUMBER:
        return f"a whole number of {value.bit_length()} bits"  # Python refuses to write it
    brackets = {list: "[]", tuple: "()", dict: "{}"}.get(type(value))
    if brackets is None:
        return repr(value)
    text = brackets[0]
    for place, one in enumerate(value):
        if len(text) > limit:
            return text
        text += (", " if place else "") + _written(one, max(limit - len(text), 0))
        if type(value) is dict:
            text += f": {_written(value[one], max(limit - len(text), 0))}"
    return text + ("," if type(value) is tuple and len(value) == 1 else "") + brackets[1]


def did_you_mean(
    name: str, choices: Iterable[str], written: Callable[[str], str] = str, mark: str = "; "
) -> str:
    """The end of a message about an unknown name.

    Args:
        name: what was received.
        choices: the names that there are.
        written: a name as the user writes it.
        mark: what stands before the question.

    Returns:
        "; did you mean X?" of the nearest; "" where none is near.
    """
    import difflib  # not for --help

    plain = {_plain(choice): choice for choice in choices}
    found = difflib.get_close_matches(_plain(name[:_LONGEST_NAME]), plain, 1, _NEAR)
    return f"{mark}did you mean {written(plain[found[0]])}?" if found else ""


def _plain(name: str) -> str:
    """A name whose spelling does not tell it from others."""
    return name.casefold().replace("-", "_").strip("_ ")


class _Debugging:
    """Whether errors that cost a part, and not the whole, are raised all the same."""

    is_on = False


#: `kvae.cli.run` switches it on under --debug.
DEBUGGING = _Debugging()
