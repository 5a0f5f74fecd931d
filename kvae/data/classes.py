"""Labels as classes: numbers of their sorted names, and what is none."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kvae.data.tables.table import Table
from kvae.data.text import check_names
from kvae.errors import DataError

MAX_CLASSES = 1000
#: Of a data card: column of labels that is not used -> why.
LEFT_OUT = "labels_left_out"
_FEW_CLASSES = 10  # so many are classes in however few rows
_MOST_OF_ROWS = 0.9  # with more values than that nearly every row has its own


class Labels(NamedTuple):
    """Labels as numbers of their names.

    Args:
        codes: `(rows,)` int64.
        names: of each number, sorted.
    """

    codes: np.ndarray
    names: list[str]


def encode(table: Table, values: np.ndarray, remedy: str) -> Labels:
    """Labels of all rows, numbers or text, as numbers of their names.

    Args:
        table: whose rows they are.
        values: `(rows,)`.
        remedy: what to do about values that are no classes.

    Raises:
        DataError: a row has none; there are more than 1,000 values, or nearly every row has its
            own; or a name cannot be shown.
    """
    if values.dtype.kind in "UO":
        values = _as_numbers(values.astype(object))
    is_text = values.dtype.kind == "O"
    missing = np.flatnonzero(values == "" if is_text else ~np.isfinite(values))
    if missing.size:
        raise DataError(
            f"{table.file}, {table.place(int(missing[0]))}: no label "
            f"({missing.size:,} such rows in all)"
        )
    classes, codes = coded(values)
    names = [_name(value) for value in classes]
    place = f"{table.file}, labels {table.label!r}"
    if fault := no_classes(len(names), len(values), "texts" if is_text else "numbers"):
        raise DataError(f"{place}: {fault}; {remedy}")
    check_names(names, place)
    return Labels(codes, names)


def coded(values: np.ndarray) -> tuple[Sequence[Any], np.ndarray]:
    """The different values, sorted, and the place of each row's among them."""
    if values.dtype.kind != "O":
        classes, codes = np.unique(values, return_inverse=True)
        return list(classes), codes.astype(np.int64)
    names = sorted(set(values))
    code_of = {name: code for code, name in enumerate(names)}
    return names, np.fromiter((code_of[value] for value in values), np.int64, len(values))


def no_classes(count: int, rows: int, kind: str) -> str:
    """Why values are no classes; nothing where they are.

    Args:
        count: of different values.
        rows: that have one of them.
        kind: what they are: numbers or texts.
    """
    if count <= MAX_CLASSES and (count <= _FEW_CLASSES or count <= _MOST_OF_ROWS * rows):
        return ""
    return (
        f"{count:,} different {kind} in {rows:,} rows are no classes, of which there are at most "
        f"{MAX_CLASSES:,}, and for at most {_MOST_OF_ROWS:.0%} of the rows a new one"
    )


def _as_numbers(text: np.ndarray) -> np.ndarray:
    """Give numbers where all labels are numbers, so that 10 stands behind 9; else the text."""
    try:
        return np.array([to_number(label) for label in text])
    except ValueError:
        return text


def to_number(text: str) -> float:
    """Read a cell as other tools would: unlike `float`, without "1_000" and other digits than 0-9.

    Raises:
        ValueError: it is not a number.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def _name(value: Any) -> str:
    whole = isinstance(value, np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)
