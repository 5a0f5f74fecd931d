"""A table of vectors of the user's own: .npy, .npz or .csv."""

import hashlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.data import MIN_SPLIT_ROWS, Dataset, Split
from kvae.data.splits import RULE, SPLITS, random_split, random_tenth
from kvae.data.tables.csv import read_csv, to_number
from kvae.data.tables.table import Table, read_numpy
from kvae.errors import DataError, UsageError

MAX_CLASSES = 1000
READERS = {".npy": read_numpy, ".npz": read_numpy, ".csv": read_csv}
_LARGEST = float(np.finfo(np.float32).max)
_SPREAD_IN_ROUNDINGS = 100


def load(*, data_dir: str | None = None, label_column: str = "", split_seed: int = 0) -> Dataset:
    """Load a table of numbers, one row an example, in its own splits or in a drawn one.

    A file without splits is divided 80/10/10 at random; of one with train and test alone, a tenth
    of the train rows becomes valid. Every split needs 10 rows at least, and keeps the file's order.

    Args:
        data_dir: the file. `.npy`: a 2-D array. `.npz`: one 2-D array, or one each of train, valid
            (or val) and test, or x_train, ...; labels in y or labels, or y_train, .... `.csv`: see
            `kvae.data.tables.csv.read_csv`; a column "split" holds train, valid or test.
        label_column: name, or number from 1, of the column of labels, which is left out of x.
        split_seed: of the division, 0 or more; not used where the file has all three splits.

    Returns:
        float32 vectors; the labels, where there are any, as int64 numbers of
        `card["label_names"]` of their name.

    Raises:
        UsageError: no file given, or a seed that is none.
        DataError: the file is not such a table; the message names the place of the first fault.
    """
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for arrays: a file, {' or '.join(READERS)}")
    if not isinstance(split_seed, int | np.integer) or split_seed < 0:
        raise UsageError(f"split_seed must be a whole number of 0 or more: received {split_seed!r}")
    table = _read(Path(data_dir).expanduser(), label_column)
    x = float32(table)
    for note in (*table.notes, *counting(table)):
        print(f"arrays: {note}", file=sys.stderr)
    rows, rule = split_rows(table, split_seed)
    check_spread(table, rows["train"])
    labels = None if table.labels is None else encode(table, table.labels)
    splits = {
        name: Split(x[own], {table.label: labels.codes[own]} if labels else {})
        for name, own in rows.items()
    }
    card: dict[str, Any] = {
        "name": "arrays",
        "source": table.file,
        "sha256": fingerprint(splits),
        "counts": {name: len(own) for name, own in rows.items()},
        "split": rule,
    }
    if rule != "own":
        card["split_seed"] = int(split_seed)
    if isinstance(table.columns[0], str):
        card["columns"] = table.columns
    if labels:
        card["label_names"] = {table.label: labels.names}
    return Dataset("vectors", **splits, card=card, color_by=table.label)


def _read(path: Path, label_column: str) -> Table:
    if path.is_dir():
        raise DataError(f"{path} is a folder: wanted a file, {' or '.join(READERS)}")
    if not path.exists():
        raise DataError(f"no such file: {path}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path.name}: wanted {' or '.join(READERS)}, found {path.suffix!r}")
    try:
        if not path.stat().st_size:
            raise DataError(f"{path.name} is empty")
        return reader(path, label_column)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def float32(table: Table) -> np.ndarray:
    """Give x as float32.

    Raises:
        DataError: a number is not finite in it.
    """
    with np.errstate(over="ignore"):
        x = table.x.astype(np.float32, copy=False)
    finite = np.isfinite(x)
    if finite.all():
        return x
    row, column = divmod(int(np.argmin(finite)), x.shape[1])
    value = table.x[row, column]
    if table.text is not None and table.text[:2] == (row, column):
        fault = _text_fault(table)
    elif np.isfinite(value):
        fault = f"{value:g} is too large for float32, whose largest number is {_LARGEST:.3g}"
    else:
        fault = f"{value:g} is not finite"
    raise DataError(
        f"{table.file}, {table.place(row)}, column {table.columns[column]!r}: {fault} "
        f"({finite.size - np.count_nonzero(finite):,} cells of {finite.size:,} hold no number "
        "that can be used)"
    )


def counting(table: Table) -> list[str]:
    """A word about a first column that counts the rows, which says nothing about a row."""
    first = table.x[:, 0]
    if first[0] not in (0, 1) or (np.diff(first) != 1).any():
        return []
    return [
        f"{table.file}, column {table.columns[0]!r} counts the rows and is used as a feature: take "
        "it out of the table if it is a number of the row"
    ]


def _text_fault(table: Table) -> str:
    text = table.text[2].strip() if table.text else ""
    if not text:
        return "an empty cell"
    if any(mark in text for mark in ";\t"):
        return f"{text[:40]!r} is not a number; cells are separated by commas"
    return f"{text[:40]!r} is not a number; --label-column names a column of labels"


def split_rows(table: Table, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """Split -> indices of its rows, rising; and the rule that made them.

    Raises:
        DataError: a split has fewer than 10 rows.
    """
    count = len(table.x)
    if table.split is None:
        if count < 10 * MIN_SPLIT_ROWS:
            raise DataError(
                f"{table.file}: {10 * MIN_SPLIT_ROWS} rows at least are needed for a random "
                f"80/10/10 split with {MIN_SPLIT_ROWS} rows a split, found {count}"
            )
        return random_split(count, seed), RULE
    rows = {name: np.flatnonzero(table.split == name) for name in SPLITS}
    rule = "own"
    if not rows["valid"].size:
        rows["train"], rows["valid"] = random_tenth(rows["train"], seed)
        rule = "own, valid a random tenth of train"
    for name, own in rows.items():
        if own.size < MIN_SPLIT_ROWS:
            origin = ", a tenth of train" if name == "valid" and rule != "own" else ""
            raise DataError(
                f"{table.file}: {MIN_SPLIT_ROWS} rows a split at least are needed, the split "
                f"{name!r}{origin} has {own.size}"
            )
    return rows, rule


def check_spread(table: Table, train: np.ndarray) -> None:
    """Refuse columns that are constant, or of which rounding to float32 leaves too little.

    Raises:
        DataError: there are such columns.
    """
    x = table.x[train].astype(np.float64)
    single = np.finfo(np.float32)
    rounding = np.maximum(np.abs(x).max(0) * single.eps / 2, single.tiny)
    narrow = np.flatnonzero(x.std(0) <= _SPREAD_IN_ROUNDINGS * rounding)
    if not narrow.size:
        return
    own = x[:, narrow[0]]
    fault = (
        f"the same value {own[0]:g} in every train row"
        if (own == own[0]).all()
        else f"values near {own[0]:.9g} differ by too little for float32; shift or scale the column"
    )
    raise DataError(
        f"{table.file}, column {table.columns[narrow[0]]!r}: {fault} "
        f"({narrow.size:,} such columns of {x.shape[1]:,})"
    )


class Labels(NamedTuple):
    """Labels as numbers of their names.

    Args:
        codes: `(rows,)` int64.
        names: of each number, sorted.
    """

    codes: np.ndarray
    names: list[str]


def encode(table: Table, values: np.ndarray) -> Labels:
    """Labels of all rows, numbers or text, as numbers of their names.

    Raises:
        DataError: a row has none, or there are more than 1,000 different ones.
    """
    if values.dtype.kind == "U":
        values = _as_numbers(values)
    missing = np.flatnonzero(values == "" if values.dtype.kind == "U" else ~np.isfinite(values))
    if missing.size:
        raise DataError(
            f"{table.file}, {table.place(int(missing[0]))}: no label "
            f"({missing.size:,} such rows in all)"
        )
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{table.file}: the labels have {len(classes):,} different values, "
            f"{MAX_CLASSES:,} classes at most are allowed"
        )
    return Labels(codes.astype(np.int64), [_name(value) for value in classes])


def _as_numbers(text: np.ndarray) -> np.ndarray:
    """Give numbers where all labels are numbers, so that 10 stands behind 9; else the text."""
    try:
        return np.array([to_number(label) for label in text.tolist()])
    except ValueError:
        return text


def _name(value: Any) -> str:
    whole = isinstance(value, np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def fingerprint(splits: dict[str, Split]) -> str:
    """Of the numbers themselves: the same table in another kind of file has the same one."""
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(f"{name} {split.x.shape}".encode())
        of_x = "u1" if split.x.dtype == np.uint8 else "<f4"
        for array, kind in ((split.x, of_x), *((y, "<i8") for y in split.labels.values())):
            digest.update(np.ascontiguousarray(array, kind).data)
    return digest.hexdigest()
