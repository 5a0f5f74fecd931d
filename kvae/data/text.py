"""Text files of a user's data, and the names in them."""

import unicodedata
from collections.abc import Iterable

from kvae.errors import DataError

# Control characters, breaks of lines and paragraphs.
_UNSHOWN = ("Cc", "Zl", "Zp")
# They turn the text behind them around.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def check_names(names: Iterable[str], place: str) -> None:
    """Refuse names that a terminal or a figure would not show as they are.

    Args:
        names: of columns, labels, classes or arrays.
        place: where they stand, for the message.

    Raises:
        DataError: one holds a control character; the message shows it escaped.
    """
    for name in names:
        if name.isascii() and name.isprintable():
            continue
        if any(unicodedata.category(one) in _UNSHOWN or one in _TURNING for one in name):
            raise DataError(
                f"{place}: the name {name[:60]!a} holds a control character; names are of "
                "characters that can be shown"
            )


def utf8(content: bytes, place: str, lines: int = 0) -> str:
    """A file's text, without the mark that some programs put before it.

    Args:
        content: of the file.
        place: what to call it in a message.
        lines: of the file that stand before it.

    Raises:
        DataError: it is not UTF-8; the message names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = lines + content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{place}, line {line}: not UTF-8 text, save it as UTF-8") from error
