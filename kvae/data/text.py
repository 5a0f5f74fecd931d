"""Text files of a user's data."""

from kvae.errors import DataError


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
