"""Tables in comma-separated text."""

import csv
import io
import re
from array import array
from collections.abc import Callable, Iterator
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.data.tables.table import SPLIT_OF, Table
from kvae.data.text import utf8
from kvae.errors import DataError

_SPLIT_COLUMN = "split"
NUMBERS_ROWS = "{}, column {} has no name and numbers the rows: it is left out"
# What pandas calls a column without a name that it reads; written again, it has that name.
_NO_NAME = re.compile(r"(Unnamed: \d+(\.\d+)*)?")


def indices_of(names: list[str]) -> list[int]:
    """The columns at the left that have no name: those where pandas writes its index."""
    return list(takewhile(lambda i: _NO_NAME.fullmatch(names[i]), range(len(names))))


def is_index(cells: list[str]) -> bool:
    """Whether a column holds a different whole number in each row, as pandas' index does."""
    return all(map(str.isdecimal, cells)) and len(set(cells)) == len(cells)


class _Columns(NamedTuple):
    """Which column is what.

    Args:
        width: how many there are.
        names: of all of them; empty without a header.
        label: index of the labels; None without.
        split: index of the splits; None without.
        unnamed: indices of those at the left that have no name in the header.
    """

    width: int
    names: list[str]
    label: int | None
    split: int | None
    unnamed: list[int]

    @property
    def apart(self) -> list[int]:
        """Indices of the columns that are not features, the last one first."""
        named = {i for i in (self.label, self.split) if i is not None}
        return sorted({*named, *self.unnamed}, reverse=True)

    @property
    def features(self) -> list[str] | list[int]:
        """Names, or numbers from 1."""
        kept = [i for i in range(self.width) if i not in self.apart]
        return [self.names[i] for i in kept] if self.names else [i + 1 for i in kept]


def read_csv(path: Path, label_column: str) -> Table:
    """Read UTF-8 text with commas between cells, which may be quoted (RFC 4180).

    The first line is a header if one of its cells is not a number. A column with the name "split"
    holds train, valid or test. Columns at the left without a name are left out if they hold
    pandas' index. Empty lines are skipped.

    Args:
        path: of the file.
        label_column: name, or number from 1, of the column of labels; "" for none.

    Raises:
        DataError: lines of different lengths, no such column, an unknown split, not such a file.
    """
    file, text = path.name, utf8(path.read_bytes(), path.name)
    records = _records(file, text)
    line, cells = next(records, (0, []))
    if not cells:
        raise DataError(f"{file} has no rows")
    columns = _columns(file, line, cells, label_column)
    if not columns.names:
        records = chain([(line, cells)], records)
    body = _body(file, records, columns, _parser(text))
    if not body.lines:
        raise DataError(f"{file} has no rows below its header")
    for i in columns.unnamed:
        if not is_index([*map(str.strip, body.apart[i])]):
            raise _nameless(f"{file}, line {line}, column", i + 1)
    return Table(
        file,
        np.frombuffer(body.values).reshape(len(body.lines), -1),
        columns.features,
        lambda row: f"line {body.lines[row]}",
        None if columns.split is None else _splits(file, body, columns.split),
        None if columns.label is None else np.array([*map(str.strip, body.apart[columns.label])]),
        "" if columns.label is None else columns.names[columns.label] if columns.names else "label",
        body.text,
        tuple(NUMBERS_ROWS.format(file, i + 1) for i in columns.unnamed),
    )


def _records(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the first line, from 1, and the cells of every record that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{file}, line {line}: not comma-separated text: {error}") from error
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield line, cells


def to_number(text: str) -> float:
    """Read a cell as other tools would: unlike `float`, without "1_000" and other digits than 0-9.

    Raises:
        ValueError: it is not a number.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def _parser(text: str) -> Callable[[str], float]:
    """Give `float` where it does what `to_number` does, because it is five times as fast."""
    body = text.find("\n") + 1
    return float if text.isascii() and text.find("_", body) < 0 else to_number


def _is_number(text: str) -> bool:
    try:
        to_number(text)
    except ValueError:
        return False
    return True


def _columns(file: str, line: int, cells: list[str], label_column: str) -> _Columns:
    # Labels may be text: where they are given by number, they say nothing about a header.
    numbered = int(label_column) - 1 if label_column.isdecimal() else None
    header = not all(_is_number(cell) for i, cell in enumerate(cells) if i != numbered)
    names = [cell.strip() for cell in cells] if header else []
    label = names.index(label_column) if label_column and label_column in names else numbered
    unnamed = [i for i in indices_of(names) if i != label]
    _check_names(file, line, names, unnamed)
    if label_column and (label is None or not 0 <= label < len(cells)):
        found = f"columns {', '.join(names)}" if names else f"{len(cells)} columns without names"
        raise DataError(f"{file} has no column {label_column!r} for the labels: found {found}")
    split = names.index(_SPLIT_COLUMN) if _SPLIT_COLUMN in names else None
    if split is not None and split == label:
        raise DataError(f"{file}: the column {_SPLIT_COLUMN!r} holds splits, it cannot be labels")
    columns = _Columns(len(cells), names, label, split, unnamed)
    if not columns.features:
        raise DataError(f"{file} has no columns of numbers beside labels and splits")
    return columns


def _nameless(place: str, number: int) -> DataError:
    return DataError(f"{place} {number}: no name in the header, or no number in the first row")


def _check_names(file: str, line: int, names: list[str], unnamed: list[int]) -> None:
    """Refuse a first line that may be a row with a fault, or would leave a column without name."""
    place = f"{file}, line {line}, column"
    named = [(i + 1, name) for i, name in enumerate(names) if i not in unnamed]
    for number, name in named:
        if not name:
            raise _nameless(place, number)
    for number, name in named:
        if name in names[: number - 1]:
            raise DataError(f"{place} {number}: the header has the name {name!r} twice")
        if _is_number(name) and not name.isdecimal():
            text = next(other for other in names if not _is_number(other))
            raise DataError(
                f"{place} {number}: it has {name} and {text!r}, so it is neither a header nor "
                "a row of numbers (--label-column takes the number of a column of labels)"
            )


class _Body(NamedTuple):
    """The rows of a file.

    Args:
        lines: of each row.
        values: of the features, row by row, NaN for text.
        apart: index of a column that is no feature -> its cells.
        text: row, feature and content of the first cell that is not a number.
    """

    lines: list[int]
    values: array
    apart: dict[int, list[str]]
    text: tuple[int, int, str] | None


def _body(
    file: str,
    records: Iterator[tuple[int, list[str]]],
    columns: _Columns,
    parse: Callable[[str], float],
) -> _Body:
    lines: list[int] = []
    values = array("d")
    apart: dict[int, list[str]] = {i: [] for i in columns.apart}
    text: tuple[int, int, str] | None = None
    ragged = []
    for line, cells in records:
        if len(cells) != columns.width:
            ragged.append((line, len(cells)))
            continue
        for i, column in apart.items():
            column.append(cells.pop(i))
        try:
            values.extend([*map(parse, cells)])
        except ValueError:
            numbers = [to_number(cell) if _is_number(cell) else None for cell in cells]
            at = numbers.index(None)
            text = text or (len(lines), at, cells[at])
            values.extend([np.nan if number is None else number for number in numbers])
        lines.append(line)
    if ragged:
        line, width = ragged[0]
        raise DataError(
            f"{file}, line {line}: {width} cells, the first line has {columns.width} "
            f"({len(ragged):,} such lines in all)"
        )
    return _Body(lines, values, apart, text)


def _splits(file: str, body: _Body, column: int) -> np.ndarray:
    cells = [cell.strip() for cell in body.apart[column]]
    wrong = [i for i, cell in enumerate(cells) if cell not in SPLIT_OF]
    if wrong:
        raise DataError(
            f"{file}, line {body.lines[wrong[0]]}, column {_SPLIT_COLUMN!r}: wanted "
            f"{', '.join(SPLIT_OF)}, found {cells[wrong[0]]!r} ({len(wrong):,} such cells in all)"
        )
    return np.array([SPLIT_OF[cell] for cell in cells])
