"""A table of vectors of the user's own: .npy, .npz or .csv."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import MIN_SPLIT_ROWS, NO_BINARIZE, THRESHOLD, Dataset, Split
from kvae.data.classes import encode
from kvae.data.images.binarization import Binarization
from kvae.data.images.files import given_path
from kvae.data.rows import about_rounding, in_parts, rows_at_once, slices
from kvae.data.splits import RULE, SPLITS, random_split, random_tenth
from kvae.data.tables.bounds import bound_of
from kvae.data.tables.csv import read_csv
from kvae.data.tables.numbers import LARGEST, Wrong, fits, to_number
from kvae.data.tables.parquet import read_parquet
from kvae.data.tables.table import Table, read_numpy
from kvae.errors import DataError, UsageError

_OF_TEXT = (".csv", ".tsv", ".txt", ".data")
READERS = {
    ".npy": read_numpy, ".npz": read_numpy, ".parquet": read_parquet,
    **dict.fromkeys(_OF_TEXT, read_csv),
}  # fmt: skip
_HALF, _LEVELS = 0.5, 255  # of which 128 is the first beyond one half
_FEATURE = "leave the column among the features, or out of the table"
_FILL_IN = "fill it in, or take the row or the column out"
_SHOWN = 5  # columns in a message
_MISSING = ("", "?", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", ".", "..")


def load(
    *, data_dir: str | Path | None = None, label_column: str = "", binarize: str = NO_BINARIZE,
    binarize_seed: int = 0, drop_constant: bool = False, max_unpacked: float | None = None,
    split_seed: int = 0,
) -> Dataset:  # fmt: skip
    """Load a table of numbers, one row an example, in its own splits or in a drawn one.

    A file without splits is divided 80/10/10 at random; of one with train and test alone, a tenth
    of the train rows becomes valid. Every split needs 10 rows at least, and keeps the file's order.

    Args:
        data_dir: the file. `.npy`: a 2-D array. `.npz`: one 2-D array, or one each of train, valid
            (or val) and test, or x_train, ...; labels in y or labels, or y_train, .... `.csv`,
            `.tsv`, `.txt`, `.data`, also with `.gz` behind: see `kvae.data.tables.csv.read_csv`;
            `.parquet`: columns of numbers or of true and false. A column "split" of either holds
            train, valid or test.
        label_column: name, or number from 1, of the column of labels, which is left out of x.
        binarize: make every number 0 or 1, see `kvae.data.images.binarization`: of numbers that all
            lie in [0, 1] a threshold makes those of 0.5 and more 1, of whole numbers from 0 to 255
            those of 128 and more.
        binarize_seed: of what is drawn once.
        drop_constant: leave out the columns that have one value in all train rows, or in what is
            drawn of them once.
        max_unpacked: GB that the file may take in memory; None: the larger of 1 and 20 times its
            size.
        split_seed: of the division, 0 or more; not used where the file has all three splits.

    Returns:
        float32 vectors; the labels, where there are any, as int64 numbers of
        `card["label_names"]` of their name.

    Raises:
        UsageError: no file given, or none that is there, or a seed that is none.
        DataError: the file is not such a table; the message names the place of the first fault.
    """
    how = Binarization.of(binarize, binarize_seed)
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for arrays: a file, {' or '.join(READERS)}")
    if not isinstance(split_seed, int | np.integer) or split_seed < 0:
        raise UsageError(f"split_seed must be a whole number of 0 or more: received {split_seed!r}")
    path = given_path(data_dir, f"a file, {' or '.join(READERS)}")
    table = _read(path, label_column, max_unpacked)
    x = float32(table)
    for note in (*table.notes, *counting(table), *about_rounding(x, table.columns)):
        print(f"arrays: {note}", file=sys.stderr)
    table = table._replace(x=x)  # what has twice the size goes
    if how.mode != NO_BINARIZE:
        x = _shares(table, x)
    if how.mode == THRESHOLD:
        x = (x >= _HALF).astype(np.float32)
    rows, rule = split_rows(table, split_seed)
    fixed = how.fixed({name: x[own] for name, own in rows.items()}) if how.is_drawn else {}
    dropped: list[Any] = []
    if drop_constant:
        # What is drawn counts, not the shares: a small one may have drawn nothing but 0.
        kept = np.ptp(fixed["train"] if fixed else x[rows["train"]], axis=0) > 0
        dropped = [name for name, keep in zip(table.columns, kept, strict=True) if not keep]
        table, x = _without(table, x, kept, ", or in what is drawn of them," if fixed else "")
        fixed = {name: own[:, kept] for name, own in fixed.items()}
    labels = None if table.labels is None else encode(table, table.labels, _FEATURE)
    parts = _divided(x, rows)
    splits = {
        name: Split(parts[name], {table.label: labels.codes[own]} if labels else {})
        for name, own in rows.items()
    }
    if fixed:
        splits = how.of_draws(splits, fixed)
    card: dict[str, Any] = {
        "name": "arrays",
        "source": table.file,
        "sha256": fingerprint(splits),
        "counts": {name: len(own) for name, own in rows.items()},
        "split": rule,
    }
    if rule != "own":
        card["split_seed"] = int(split_seed)
    if isinstance(table.columns[0], str) or dropped:
        card["columns"] = table.columns
    if dropped:
        card["dropped_columns"] = dropped
    card |= how.card
    if labels:
        card["label_names"] = {table.label: labels.names}
    return Dataset("vectors", **splits, card=card, color_by=table.label)


def _read(path: Path, label_column: str, max_unpacked: float | None) -> Table:
    if path.is_dir():
        raise UsageError(f"--data-dir {path} is a folder: wanted a file, {' or '.join(READERS)}")
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    ending = plain.suffix.lower()
    if ending not in READERS or (plain != path and ending not in _OF_TEXT):
        raise UsageError(
            f"--data-dir {path.name}: wanted {' or '.join(READERS)}, found {path.suffix!r}"
        )
    try:
        if not path.stat().st_size:
            raise DataError(f"{path.name} is empty")
        return READERS[ending](path, label_column, bound_of(path, max_unpacked))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def float32(table: Table) -> np.ndarray:
    """Give x as float32.

    Raises:
        DataError: a number is not finite, or its square is not in float32.
    """
    wrong, x = table.wrong, table.x
    if wrong is None:
        if all(fits(part).all() for part in in_parts(x, rows_at_once(x))):
            return x.astype(np.float32, copy=False)
        usable = fits(x)
        row, column = divmod(int(np.argmin(usable)), x.shape[1])
        counts = len(x) - np.count_nonzero(usable, axis=0)
        wrong = Wrong(row, column, int(counts.sum()), tuple(counts.tolist()))
    text, value = table.cell(wrong.row, wrong.column), float(x[wrong.row, wrong.column])
    fault = _fault(text, value, is_of_text=wrong.by_column[wrong.column] == len(x))
    raise DataError(
        f"{_place(table, wrong.row, wrong.column)}: {fault} ({wrong.cells:,} cells of {x.size:,} "
        f"hold no number that can be used{_by_column(table, wrong)})"
    )


def _by_column(table: Table, wrong: Wrong) -> str:
    """Which columns such cells are of, where they are of several: most first."""
    order = np.argsort(np.negative(wrong.by_column), kind="stable")
    some = [(table.columns[i], wrong.by_column[i]) for i in order if wrong.by_column[i]]
    if len(some) < 2:
        return ""
    told = ", ".join(f"{count:,} of {name!r}" for name, count in some[:_SHOWN])
    more = len(some) - _SHOWN
    return f": {told}" + (f", and those of {more:,} more columns" if more > 0 else "")


def _place(table: Table, row: int, column: int) -> str:
    return f"{table.file}, {table.place(row)}, column {table.columns[column]!r}"


def _fault(text: str | None, value: float, *, is_of_text: bool) -> str:
    """What is wrong with a cell.

    Args:
        text: what the file has there; None: the number itself.
        value: as which it was read; NaN of text.
        is_of_text: whether no cell of its column is a number.
    """
    if text is not None:
        text = text.strip()
        if not text:
            return f"an empty cell: {_FILL_IN}"
        number = to_number(text, commas=True)
        if number is None or np.isnan(number) != np.isnan(value):
            fault = f"{text[:40]!r} is not a number"
            if text.lower() in _MISSING:
                return f"{fault}; it stands for a missing value: {_FILL_IN}"
            of_text = "take such a column out, code it as numbers, or name it with --label-column"
            return f"{fault}; {of_text}" if is_of_text else fault
        value = number
    if np.isfinite(value):
        shown = f"{value:g}" if abs(float(f"{value:g}")) > LARGEST else f"{value:.17g}"
        return (
            f"{shown} is too large for float32, in which its square must be finite: numbers up "
            f"to {LARGEST:g} are allowed; scale the column"
        )
    return f"{value:g} is not finite" + (f": {_FILL_IN}" if np.isnan(value) else "")


def counting(table: Table) -> list[str]:
    """A word about a first column that counts the rows, which says nothing about a row."""
    first = table.x[:, 0]
    if first[0] not in (0, 1) or (np.diff(first) != 1).any():
        return []
    return [
        f"{table.file}, column {table.columns[0]!r} counts the rows and is used as a feature: take "
        "it out of the table if it is a number of the row"
    ]


def _shares(table: Table, x: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1, levels divided by 255.

    Raises:
        DataError: they lie neither in [0, 1] nor are they levels.
    """
    outside = (x < 0) | (x > 1)
    if not outside.any():
        return x
    no_level = (x < 0) | (x > 255) | (x != np.rint(x))
    if not no_level.any():
        return x / np.float32(_LEVELS)
    places = []
    for wrong, what in ((outside, "outside [0, 1]"), (no_level, "no whole number up to 255")):
        row, column = divmod(int(np.argmax(wrong)), x.shape[1])
        places.append(f"{_place(table, row, column)}: {x[row, column]:g} is {what}")
    raise DataError(
        f"{places[0]}, and {places[1].removeprefix(f'{table.file}, ')}; --binarize takes numbers "
        "from 0 to 1, or whole numbers from 0 to 255"
    )


def _without(table: Table, x: np.ndarray, kept: np.ndarray, drawn: str) -> tuple[Table, np.ndarray]:
    """The columns that are kept, and a note on stderr of those that are not.

    Args:
        table: its other columns.
        x: all rows.
        kept: of each column whether it is.
        drawn: what the note says of draws.
    """
    dropped = [name for name, keep in zip(table.columns, kept, strict=True) if not keep]
    if not dropped:
        return table, x
    if len(dropped) == len(kept):
        raise DataError(
            f"{table.file}: every column has one value in all train rows{drawn or ','} "
            "--drop-constant would leave none"
        )
    shown = ", ".join(map(str, dropped[:10])) + (", ..." if len(dropped) > 10 else "")
    print(
        f"arrays: {table.file}: {len(dropped):,} columns of {len(kept):,} have one float32 value "
        f"in all train rows{drawn} and are left out: {shown}",
        file=sys.stderr,
    )
    columns: Any = [name for name, keep in zip(table.columns, kept, strict=True) if keep]
    return table._replace(columns=columns), x[:, kept]


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


def _divided(x: np.ndarray, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Split -> its rows: of x, which is put in their order, as a copy of all may not fit beside it.

    Args:
        x: all rows; the caller's own, who needs them no more.
        rows: split -> indices of its rows, rising; none in two splits.
    """
    if not (x.flags.c_contiguous and x.flags.writeable):
        return {name: x[own] for name, own in rows.items()}
    first, *others = rows
    kept = {name: x[rows[name]] for name in others}  # the small ones
    for part in slices(len(rows[first]), rows_at_once(x)):
        x[part] = x[rows[first][part]]  # a row moves forward, if at all
    found, at = {first: x[: len(rows[first])]}, len(rows[first])
    for name, own in kept.items():
        found[name] = x[at : at + len(own)]
        found[name][:] = own
        at += len(own)
    return found


def fingerprint(splits: dict[str, Split]) -> str:
    """Of the numbers themselves: the same table in another kind of file has the same one."""
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(f"{name} {split.x.shape}".encode())
        of_x = "u1" if split.x.dtype == np.uint8 else "<f4"
        for array, kind in ((split.x, of_x), *((y, "<i8") for y in split.labels.values())):
            digest.update(np.ascontiguousarray(array, kind).data)
    return digest.hexdigest()
