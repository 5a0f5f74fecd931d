"""Text files of a user's data."""

import unicodedata

from kvae.errors import DataError

_CONTROLS = ("Cc", "Zl", "Zp")  # also what begins a line or a paragraph


def shown(name: str) -> str:
    """A name for a message: characters that would move the cursor are written as escapes."""
    if name.isprintable():
        return name
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in _CONTROLS
        else letter
        for letter in name
    )


def utf8(content: bytes, place: str) -> str:
    """A file's text, without the mark that some programs put before it.

    Args:
        content: of the file.
        place: what to call it in a message.

    Raises:
        DataError: it is not UTF-8; the message names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{place}, line {line}: not UTF-8 text, save it as UTF-8") from error
