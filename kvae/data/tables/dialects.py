"""Text with a table in it: its lines, what stands between its cells, and where a record is."""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import NamedTuple

from kvae.data.tables.bounds import Bound
from kvae.data.tables.numbers import is_value
from kvae.data.text import utf8
from kvae.errors import DataError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BLANK = " "  # exactly one, beside cells in quotes
BLANKS = "  "  # any number of blanks and tabs; quotes are text
_BLOCK = 2**23
_SAMPLE_BYTES, _SAMPLE_LINES, _SAMPLE_CELLS = 2**16, 50, 1000
_LIST_LINE = 2**20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEP = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)  # Excel's first line


class Dialect(NamedTuple):
    """How a text is a table.

    Args:
        delimiter: a key of `DELIMITERS`, `BLANK` or `BLANKS`.
        skipped: lines before the first record: comments and blank ones.
    """

    delimiter: str
    skipped: int

    @property
    def decimal_commas(self) -> bool:
        """Whether a comma in a number can be its decimal point."""
        return self.delimiter != ","


def blocks(path: Path, bound: Bound) -> Iterator[bytes]:
    """The whole lines of a file, some megabytes at a time, each ended by a line feed.

    A mark before the text is taken off, lines that end in carriage returns alone are made to end
    in line feeds; a name that ends in .gz is unpacked.

    Raises:
        DataError: it is not UTF-8, has a line that is too long, is damaged, or is too large.
    """
    packed = path.suffix.lower() == ".gz"
    lines, size, rest, returns = 0, 0, b"", False
    with gzip.open(path) if packed else path.open("rb") as file:
        while chunk := _read(path.name, file, max(_BLOCK, len(rest))):
            if not size:
                chunk = _start(path.name, chunk)
                returns = b"\n" not in chunk and b"\r" in chunk
            size += len(chunk)
            if packed and size > bound.allowed:
                bound.refuse("it unpacks to more")
            if returns:
                chunk = chunk.replace(b"\r", b"\n")
            whole = rest + chunk
            end = whole.rfind(b"\n") + 1
            block, rest = whole[:end], whole[end:]
            for part, before in ((block, lines), (rest, lines + block.count(b"\n"))):
                if len(part) > bound.line:
                    _check_lines(part, before, bound)
            if block:
                yield _checked(path.name, block, lines)
                lines += block.count(b"\n")
        if rest:
            yield _checked(path.name, rest + b"\n", lines)


def _check_lines(part: bytes, before: int, bound: Bound) -> None:
    for number, line in enumerate(part.split(b"\n"), before + 1):
        if len(line) > bound.line:
            bound.refuse_line(number)


def _read(name: str, file, size: int) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is damaged: {error}") from error


def _start(name: str, chunk: bytes) -> bytes:
    if chunk.startswith(_UTF16):
        raise DataError(f"{name}, line 1: not UTF-8 text (it is UTF-16), save it as UTF-8")
    return chunk.removeprefix(codecs.BOM_UTF8)


def _checked(name: str, block: bytes, lines: int) -> bytes:
    at = block.find(b"\0")
    if at >= 0:
        line = lines + block.count(b"\n", 0, at) + 1
        raise DataError(f"{name}, line {line}: a zero byte, so it is no UTF-8 text of a table")
    if not block.isascii():
        utf8(block, name, lines)
    return block


class Head(NamedTuple):
    """The start of a text.

    Args:
        lines: the first ones, as text.
        whole: whether they are all.
        content: bytes of the blocks that were read for them.
    """

    lines: list[str]
    whole: bool
    content: bytes


def head_of(found: Iterator[bytes]) -> Head:
    """Enough of the start of a text to see how it is a table; the rest stays in the iterator."""
    content = next(found, b"")
    while content.count(b"\n") < 3 and (more := next(found, b"")):
        content += more
    end, start, count = 0, 0, 0
    while count < _SAMPLE_LINES and (end - start < _SAMPLE_BYTES or count < 3):
        after = content.find(b"\n", end) + 1
        if not after:
            break
        if count or not _is_comment(content[end:after]):
            count += 1
        else:
            start = after  # of the table
        end = after
    return Head(content[:end].decode().split("\n")[:-1], end == len(content), content)


def dialect_of(file: str, head: Head) -> Dialect:
    """See how a text is a table.

    Args:
        file: what to call it in a message.
        head: its first lines.

    Raises:
        DataError: there are no rows, or two delimiters fit.
    """
    comments = sum(1 for _ in takewhile(_is_comment, head.lines))
    if given := _SEP.fullmatch(head.lines[comments]) if comments < len(head.lines) else None:
        return Dialect(given[1], comments + 1)
    lines = head.lines[comments:]
    if not lines:
        raise DataError(f"{file} has no rows: each line is blank or a comment (#)")
    delimiter = _delimiter(file, lines, head.whole)
    dialect = Dialect(delimiter, comments)
    # A comment that names the columns, as NumPy's savetxt writes, is a header.
    above = comments - 1
    while above >= 0 and not head.lines[above].strip():
        above -= 1
    if above >= 0:
        named = Dialect(delimiter, above)
        first = [cells for _, cells in islice(records(file, head.lines, named), 2)]
        if len(first) == 2 and len(first[0]) == len(first[1]) and all(
            is_value(cell, dialect.decimal_commas) for cell in first[1]
        ):  # fmt: skip
            return named
    return dialect


def _is_comment(line: str | bytes) -> bool:
    own = line.strip()[:1]
    return own in ("", "#", b"", b"#")


def _delimiter(file: str, lines: list[str], whole: bool) -> str:
    rows: list[list[str]] = []
    fits: dict[str, float] = {}
    ragged: dict[str, int] = {}
    by_blanks = BLANK if any('"' in line for line in lines) else BLANKS
    for delimiter in (*DELIMITERS, by_blanks):
        if not any(delimiter in line for line in lines) and delimiter != BLANKS:
            continue
        try:
            rows = [cells for _, cells in records(file, lines, Dialect(delimiter, 0))]
        except DataError:  # a cell is too long for one
            rows = []
            continue
        if len(rows) > 2 and not whole:
            rows.pop()  # the sample may end inside it
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        ragged[delimiter] = sum(len(row) == width for row in rows)
        if ragged[delimiter] == len(rows):
            commas = Dialect(delimiter, 0).decimal_commas
            cells = [cell for row in rows[1:] or rows for cell in row[:_SAMPLE_CELLS]]
            fits[delimiter] = sum(is_value(cell, commas) for cell in cells) / len(cells)
    blanks, lines_by_blanks = fits.pop(by_blanks, 0.0), ragged.pop(by_blanks, 0)
    # Names have blanks too. Of 1,5 2,5 fewer cells are numbers where commas separate them.
    if by_blanks == BLANKS and blanks == 1 > max(fits.values(), default=0):
        return BLANKS
    if not ragged and (2 * lines_by_blanks > len(rows) or min(map(len, rows), default=0) > 1):
        return by_blanks
    if fits:
        best = [delimiter for delimiter, share in fits.items() if share == max(fits.values())]
        if len(best) > 1:
            raise DataError(
                f"{file}: its cells may be separated by "
                f"{' or by '.join(DELIMITERS[delimiter] for delimiter in best)}, both fit every "
                "line; a file has one of them"
            )
        return best[0]
    return max(ragged, key=lambda delimiter: ragged[delimiter], default=",")


def squeezed(block: bytes) -> bytes:
    """Lines whose cells stand between any blanks and tabs, with one blank between them."""
    block = re.sub(rb"[ \t\r]+", b" ", block)
    return re.sub(rb"^ | $", b"", block, flags=re.MULTILINE)


def is_blank(cells: list[str]) -> bool:
    """Whether a record counts for nothing: it is one cell, with nothing in it."""
    return not cells or (len(cells) == 1 and not cells[0].strip())


def records(
    file: str, lines: Iterable[str], dialect: Dialect, *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """The records of a text that are not blank: of its head, a list, a wide table, for a place.

    Args:
        file: what to call it in a message.
        lines: of the text, without the line feeds at their ends.
        dialect: how it is a table.
        strict: whether a quote that is not closed is an error.

    Yields:
        The first line of each, from 1, and its cells.

    Raises:
        DataError: see `strict`; a cell of more than 131,072 characters.
    """
    lines = islice(lines, dialect.skipped, None)
    if dialect.delimiter == BLANKS:
        lines = (squeezed(line.encode()).decode() for line in lines)
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=dialect.delimiter[0], strict=strict,
        quoting=csv.QUOTE_NONE if dialect.delimiter == BLANKS else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    while True:
        line = dialect.skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = (
                str(error).replace("new-line character seen", "a carriage return").split(" - ")[0]
            )
            hint = "; a quote that is not closed?" if strict else ""
            raise DataError(f"{file}, line {line}: {fault}{hint}") from error
        if not is_blank(cells):
            yield line, cells


def lines_of(found: Iterable[bytes]) -> Iterator[str]:
    """The lines of some blocks as text."""
    return chain.from_iterable(block.decode().split("\n")[:-1] for block in found)


def records_of(place: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a list, as labels of images are.

    Args:
        place: of the list, for messages.
        text: of it.

    Yields:
        The first line of each, from 1, and its cells, stripped.

    Raises:
        DataError: it is no table, or has no rows.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > _LIST_LINE:
            raise DataError(
                f"{place}, line {number}: {len(line):,} characters; a list has at most "
                f"{_LIST_LINE:,} in a line"
            )
    above = sum(1 for _ in takewhile(_is_comment, lines))
    sample = lines[: above + _SAMPLE_LINES]
    dialect = dialect_of(place, Head(sample, len(sample) == len(lines), b""))
    for first, cells in records(place, lines, dialect, strict=True):
        yield first, [cell.strip() for cell in cells]
