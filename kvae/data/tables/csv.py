"""Tables in text: cells between commas, semicolons, tabs, bars or blanks."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.data.tables.bounds import NUMBER_BYTES, Bound
from kvae.data.tables.dialects import (
    DELIMITERS,
    Dialect,
    blocks,
    dialect_of,
    head_of,
    lines_of,
    records,
)
from kvae.data.tables.numbers import Commas, Numbers, is_value, is_word
from kvae.data.tables.parsing import MOST_FAULTS, as_columns, whole_records
from kvae.data.tables.table import SPLIT_COLUMN, SPLIT_OF, Table, splits_of
from kvae.data.text import check_names
from kvae.errors import DataError

NUMBERS_ROWS = "{}, column {} has no name and numbers the rows: it is left out"
_NAMES_ROWS = "{}, column {} has no name and names the rows: it is left out"
_EMPTY = "{}, column {} has neither name nor cells: it is left out"
# What pandas calls a column without a name that it reads; written again, it has that name.
_NO_NAME = re.compile(r"(Unnamed: \d+(\.\d+)*)?")
_SURE_COUNT = 4  # as many whole numbers that count up are no row by chance
# A column costs pyarrow some kilobytes: wider tables are read row by row.
_WIDE = 2000


def indices_of(names: list[str]) -> list[int]:
    """The columns at the left that have no name: those where pandas writes its index."""
    return list(takewhile(lambda i: _NO_NAME.fullmatch(names[i]), range(len(names))))


def is_index(cells: list[str]) -> bool:
    """Whether a column holds a different whole number in each row, as pandas' index does."""
    return all(map(str.isdecimal, cells)) and len(set(cells)) == len(cells)


def _names_rows(cells: list[str]) -> bool:
    """Whether a column holds a different text in each row, none a number, as R's row names do."""
    return len(set(cells)) == len(cells) and not any(not cell or is_value(cell) for cell in cells)


class _Columns(NamedTuple):
    """Which column is what.

    Args:
        width: how many there are.
        names: of all of them; empty without a header.
        label: index of the labels; None without.
        split: index of the splits; None without.
        unnamed: indices of those that have no name in the header.
    """

    width: int
    names: list[str]
    label: int | None
    split: int | None
    unnamed: list[int]

    @property
    def apart(self) -> list[int]:
        """Indices of the columns that are not features."""
        return sorted({i for i in (self.label, self.split) if i is not None} | {*self.unnamed})

    @property
    def kept(self) -> list[int]:
        """Indices of the features."""
        apart = {*self.apart}
        return [i for i in range(self.width) if i not in apart]

    @property
    def features(self) -> list[str] | list[int]:
        """Names, or numbers from 1."""
        return [self.names[i] if self.names else i + 1 for i in self.kept]  # type: ignore[return-value]


class _Text:
    """A file, to be read again where a message needs a place."""

    def __init__(self, path: Path, bound: Bound):
        self.file, self.path, self.bound = path.name, path, bound

    def records(self, dialect: Dialect, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """See `dialects.records`."""
        lines = lines_of(blocks(self.path, self.bound))
        return records(self.file, lines, dialect, strict=strict)

    def where(self, dialect: Dialect, row: int, width: int) -> tuple[int, list[str]]:
        """The line of a record, counted from 0, and its cells.

        Raises:
            DataError: it is not found.
        """
        line, cells = next(islice(self.records(dialect), row, None), (0, []))
        if len(cells) != width:
            raise DataError(
                f"{self.file}, record {row + 1}: a cell cannot be used, and its line is not found"
            )
        return line, cells


def read_csv(path: Path, label_column: str, bound: Bound) -> Table:
    """Read UTF-8 text, gzipped or not, with a table in it.

    Cells stand between commas, semicolons, tabs, bars or any blanks, whichever fits, and may be
    quoted (RFC 4180); comments above the table (#) and empty lines are skipped. Where commas do
    not separate, they may be decimal. Columns of true and false, or of yes and no, are 1 and 0.

    The first line is a header if one of its cells is not a number, or if it counts up from 0 or 1
    and the rows do not. A column with the name "split" holds train, valid or test. Columns at the
    left without a name are left out if they number or name the rows.

    Args:
        path: of the file.
        label_column: name, or number from 1, of the column of labels; "" for none.
        bound: what it may take.

    Raises:
        DataError: lines of different lengths, no such column, an unknown split, not such a file.
    """
    file = path.name
    found = blocks(path, bound)
    head = head_of(found)
    counts = (line.count(delimiter) for line in head.lines for delimiter in DELIMITERS)
    bound.check_columns(max(counts, default=0) + 1)
    dialect = dialect_of(file, head)
    top = [*records(file, head.lines, dialect)]
    if not top:
        raise DataError(f"{file} has no rows")
    columns, notes = _columns(file, dialect, top, label_column)
    text, before = _Text(path, bound), 1 if columns.names else 0
    skipped = top[0][0] - 1
    if before:
        skipped = top[1][0] - 1 if len(top) > 1 else len(head.lines)
    rest = chain([_after(head.content, skipped)], found)
    try:
        numbers, apart = _body(text, dialect, columns, rest)
    except ValueError as error:  # of pyarrow
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file} is no table that can be read: {reason}") from error
    if not numbers.rows:
        raise DataError(f"{file} has no rows below its header")

    def place(row: int) -> str:
        return f"line {text.where(dialect, row + before, columns.width)[0]}"

    def cell(row: int, feature: int) -> str:
        return text.where(dialect, row + before, columns.width)[1][columns.kept[feature]]

    table = Table(
        file, numbers.result(), columns.features, place,
        wrong=numbers.wrong(), cell=cell,
    )  # fmt: skip
    _check_commas(table, numbers.commas)
    if numbers.wordy.size:
        first = columns.features[numbers.wordy[0]]
        others = f" and {numbers.wordy.size - 1:,} others" * (numbers.wordy.size > 1)
        notes.append(f"{file}, column {first!r}{others}: true and false, yes and no are 1 and 0")
    for i in columns.unnamed:
        notes.append(_note_of_unnamed(file, top[0][0], columns, i, apart[i]))
    label, split = columns.label, columns.split
    return table._replace(
        split=None if split is None else splits_of(table, apart[split], columns.names[split]),
        labels=None if label is None else np.array(apart[label], object),
        label="" if label is None else columns.names[label] if columns.names else "label",
        notes=tuple(notes),
    )  # fmt: skip


def _after(content: bytes, lines: int) -> bytes:
    at = 0
    for _ in range(lines):
        at = content.index(b"\n", at) + 1
    return content[at:]


def _columns(
    file: str, dialect: Dialect, top: list[tuple[int, list[str]]], label_column: str
) -> tuple[_Columns, list[str]]:
    """Which column is what, and a note."""
    line, cells = top[0]
    commas = dialect.decimal_commas
    # Labels may be text: where they are given by number, they say nothing about a header.
    numbered = int(label_column) - 1 if label_column.isdecimal() else None
    below = [row for _, row in top[1:] if len(row) == len(cells)]
    texts = [i for i, cell in enumerate(cells) if not is_value(cell, commas)]
    notes = []
    # An empty cell is no text, but above an index.
    header = any(
        i != numbered and (cells[i].strip() or (at == i and below and below[0][i].strip()))
        for at, i in enumerate(texts)
    )
    by_number = not header and _counts(cells, below, texts)
    if by_number:
        header = True
        notes.append(
            f"{file}, line {line} counts its cells, and the rows do not: it is taken for a header"
        )
    names = [cell.strip() for cell in cells] if header else []
    is_name = label_column in names and not (by_number and numbered in texts)
    label = names.index(label_column) if label_column and is_name else numbered
    unnamed = [i for i in indices_of(names) if i != label]
    unnamed += [i for i, name in enumerate(names) if not name and i not in unnamed]
    last = len(cells) - 1
    if not header and last != numbered and not any(row[-1].strip() for row in (cells, *below)):
        unnamed = [last]  # all lines end in a delimiter
    place = f"{file}, line {line}, column"
    _check_header(place, names, {*unnamed}, commas)
    if label_column and (label is None or not 0 <= label < len(cells)):
        found = f"columns {_shown(names)}" if names else f"{len(cells)} columns without names"
        raise DataError(f"{file} has no column {label_column!r} for the labels: found {found}")
    split = _split_column(names, label, below)
    if split is not None and split == label:
        raise DataError(f"{file}: the column {names[split]!r} holds splits, it cannot be labels")
    columns = _Columns(len(cells), names, label, split, [i for i in unnamed if i != label])
    if not columns.kept:
        raise DataError(f"{file} has no columns of numbers beside labels and splits")
    return columns, notes


def _shown(names: list[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:20])
    return shown if len(names) <= 20 else f"{shown}, ... ({len(names):,} in all)"


def _counts(cells: list[str], below: list[list[str]], texts: list[int]) -> bool:
    """Whether a line of numbers is a header: it counts its cells, and the row below does not.

    pandas writes such names of columns that have none, from 0 or 1. Of few cells, and of other
    equal steps (years), the row below must show that whole numbers are no values here. Text (a
    label's name, empty cells) does not count, and is no name where it is there again below.
    """
    counted = [i for i in range(len(cells)) if i not in texts]
    names = [cells[i].strip() for i in counted]
    width = len(names)
    if width < 2 or not below or not all(name.isdecimal() for name in names):
        return False
    first, step = int(names[0]), int(names[1]) - int(names[0])
    if step < 1 or names != [str(first + step * i) for i in range(width)]:
        return False
    if any(cells[i].strip() and cells[i] == row[i] for row in below for i in texts):
        return False
    row = [below[0][i].strip() for i in counted]
    whole = [cell.isdecimal() for cell in row]
    if all(whole) and np.all(np.diff([int(cell) for cell in row]) == 1):
        return False
    if first in (0, 1) and step == 1:
        return width >= _SURE_COUNT or not any(whole)
    return width >= _SURE_COUNT and not any(whole)


def _split_column(names: list[str], label: int | None, below: list[list[str]]) -> int | None:
    if SPLIT_COLUMN in names:
        return names.index(SPLIT_COLUMN)
    found = [i for i, name in enumerate(names) if name.lower() == SPLIT_COLUMN and i != label]
    # A column with a capital may be one of numbers.
    return next((i for i in found if below and below[0][i].strip().lower() in SPLIT_OF), None)


def _nameless(place: str, number: int) -> DataError:
    return DataError(f"{place} {number}: no name in the header, or no number in the first row")


def _check_header(place: str, names: list[str], unnamed: set[int], commas: bool) -> None:
    """Refuse a first line that may be a row with a fault, or has a name twice."""
    numbers = [is_value(name, commas) and not is_word(name) for name in names]
    wrong = next((i for i, name in enumerate(names) if numbers[i] and not name.isdecimal()), None)
    left = {*indices_of(names)}
    if wrong is not None and (gaps := [i for i in unnamed if i not in left]):
        raise _nameless(place, min(gaps) + 1)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if number - 1 not in unnamed and name in seen:
            raise DataError(f"{place} {number}: the header has the name {name[:60]!r} twice")
        seen.add(name)
    if wrong is not None:
        text = next((name for i, name in enumerate(names) if not numbers[i]), "")
        raise DataError(
            f"{place} {wrong + 1}: it has {names[wrong][:60]} and {text[:60]!r}, so it is neither "
            "a header nor a row of numbers (--label-column takes the number of a column of labels)"
        )
    check_names(names, place.removesuffix(", column"))


def _note_of_unnamed(file: str, line: int, columns: _Columns, i: int, cells: list[str]) -> str:
    if not any(cells):
        return _EMPTY.format(file, i + 1)
    at_left = i in indices_of(columns.names)
    if at_left and is_index(cells):
        return NUMBERS_ROWS.format(file, i + 1)
    if at_left and _names_rows(cells):
        return _NAMES_ROWS.format(file, i + 1)
    raise _nameless(f"{file}, line {line}, column", i + 1)


def _body(
    text: _Text, dialect: Dialect, columns: _Columns, found: Iterable[bytes]
) -> tuple[Numbers, dict[int, list[str]]]:
    """The features; and index of a column that is none -> its cells, stripped."""
    width = len(columns.kept)
    numbers = Numbers(width, dialect.decimal_commas)
    apart: dict[int, list[str]] = {i: [] for i in columns.apart}
    ragged = 0
    read = _records if columns.width > _WIDE else _blocks
    for rows, others, parts, faults in read(text, dialect, columns, found):
        ragged += faults
        if ragged >= MOST_FAULTS:
            break
        if ragged or not rows:
            continue
        text.bound.check((numbers.rows + rows) * width * NUMBER_BYTES, "its numbers take more than")
        numbers.add(rows, parts)
        for i, own in others.items():
            apart[i] += map(str.strip, own)
    if ragged:
        raise _ragged(text, dialect, columns.width, ragged)
    return numbers, apart


#: Some rows: how many; index of a column that is no feature -> its cells; the features, see
#: `Numbers.add`; how many lines have another number of cells.
_Some = tuple[int, dict[int, list[str]], list[tuple[Any, Any]], int]


def _blocks(
    text: _Text, dialect: Dialect, columns: _Columns, found: Iterable[bytes]
) -> Iterator[_Some]:
    """A table by its columns."""
    for block, is_open in whole_records(found, dialect):
        if is_open:
            deque(text.records(dialect, strict=True), maxlen=0)  # names its line
        arrays, faults = as_columns(block, dialect, columns.width)
        others = {i: arrays[i].to_pylist() for i in columns.apart}
        parts = [(np.s_[:, at], arrays[i]) for at, i in enumerate(columns.kept)]
        yield len(arrays[0]), others, parts, faults


def _records(text: _Text, dialect: Dialect, columns: _Columns, _: Any) -> Iterator[_Some]:
    """A wide table row by row; from the start of its file, so that faults have their lines."""
    import pyarrow as pa

    apart = columns.apart
    for _, cells in islice(text.records(dialect, strict=True), bool(columns.names), None):
        if len(cells) == columns.width:
            others = {i: [cells.pop(i)] for i in reversed(apart)}
            yield 1, others, [(0, pa.array(cells, pa.string()))], 0
        else:
            yield 0, {}, [], 1


def _ragged(text: _Text, dialect: Dialect, width: int, count: int) -> DataError:
    found = text.records(dialect)
    line, own = next(((line, len(row)) for line, row in found if len(row) != width), (0, 0))
    more = "in all" if count < MOST_FAULTS else "or more"
    place = f"{text.file}, line {line}: {own} cells" if line else f"{text.file}: other cells"
    return DataError(f"{place}, the first line has {width} ({count:,} such lines {more})")


def _check_commas(table: Table, commas: Commas) -> None:
    """Refuse commas that may be decimal or between thousands."""
    if commas.comma is None:
        return
    row, column = commas.comma
    here = f"{table.file}, {table.place(row)}, column {table.columns[column]!r}"
    text = (table.cell(row, column) or "").strip()[:40]
    if commas.point is not None:
        other = (table.cell(*commas.point) or "").strip()[:40]
        raise DataError(
            f"{here}: {text!r} has a comma, and {table.place(commas.point[0])}, column "
            f"{table.columns[commas.point[1]]!r} has the point of {other!r}; a table has one of "
            "them for decimals, and nothing between thousands"
        )
    if not commas.sure:
        raise DataError(
            f"{here}: {text!r} may be a decimal or a thousand, as all commas of this table may; "
            "write points, or nothing between thousands"
        )
