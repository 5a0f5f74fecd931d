"""What a table of numbers is, and how NumPy's files hold one."""

import math
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np

from kvae.data.splits import SPLITS
from kvae.data.tables.bounds import NUMBER_BYTES, Bound
from kvae.data.tables.numbers import Wrong
from kvae.data.text import check_names
from kvae.errors import DataError

SPLIT_COLUMN = "split"
SPLIT_OF = {
    "train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
}  # fmt: skip
_ROLE = re.compile(r"(?:(?P<labels>y|labels?)|x)?_?(?P<split>train|validation|valid|val|test)?")
_EXACT_BYTES = 2
_LAYOUTS = (
    "one 2-D array of any name, with or without labels (y or labels); or train, valid and test, "
    "or x_train, x_valid and x_test, with or without labels (y_train, ...); valid may be absent"
)


class Table(NamedTuple):
    """What a file holds, before its numbers are checked.

    Args:
        file: its name.
        x: `(rows, features)`, numeric; NaN where a cell is not a number.
        columns: of each feature the name or, where there are no names, the number from 1.
        place: index of a row -> where the file has it, as "line 7".
        split: `(rows,)`, of SPLITS; None where the file does not say.
        labels: `(rows,)`, text or numbers; None without.
        label: the name of the labels.
        wrong: cells that hold no number that can be used; None: nobody looked yet.
        cell: row and feature -> the text that the file has there; None: it has the number itself.
        notes: what was noticed, for people.
    """

    file: str
    x: np.ndarray
    columns: list[str] | list[int]
    place: Callable[[int], str]
    split: np.ndarray | None = None
    labels: np.ndarray | None = None
    label: str = ""
    wrong: Wrong | None = None
    cell: Callable[[int, int], str | None] = lambda row, feature: None
    notes: tuple[str, ...] = ()


def splits_of(table: Table, cells: Sequence[str], column: str) -> np.ndarray:
    """The split of each row, from a column that names them.

    Raises:
        DataError: a cell names none.
    """
    found = [cell.lower() for cell in cells]
    wrong = [i for i, cell in enumerate(found) if cell not in SPLIT_OF]
    if wrong:
        raise DataError(
            f"{table.file}, {table.place(wrong[0])}, column {column!r}: wanted "
            f"{', '.join(SPLIT_OF)}, found {cells[wrong[0]][:40]!r} ({len(wrong):,} such cells in "
            "all)"
        )
    return np.array([SPLIT_OF[cell] for cell in found])


def read_numpy(path: Path, label_column: str, bound: Bound) -> Table:
    """Read a .npy or .npz file; Python objects in it are refused, never unpickled.

    Args:
        path: of the file.
        label_column: number, from 1, of the column that holds labels; "" for none.
        bound: what it may take.

    Raises:
        DataError: the file is damaged, or its arrays are not laid out as a table.
    """
    arrays = _load(path, bound)
    check_names(arrays, path.name)
    x_names, y_names = _layout(path.name, arrays)
    xs = [_checked_x(path.name, name, arrays[name]) for name in x_names.values()]
    _check_widths(path.name, list(x_names.values()), xs)
    ys = [
        _checked_y(path.name, y_names[split], arrays[y_names[split]], len(x))
        for split, x in zip(x_names, xs, strict=True)
        if split in y_names
    ]
    counts = [len(x) for x in xs]
    x = xs[0] if len(xs) == 1 else np.concatenate(xs)
    table = Table(
        path.name,
        x,
        list(range(1, x.shape[1] + 1)),
        placer(list(x_names.values()), counts),
        np.repeat(list(x_names), counts) if len(xs) > 1 else None,
        np.concatenate(ys) if ys else None,
        "label" if ys else "",
    )
    return _with_label_column(table, label_column) if label_column else table


def _load(path: Path, bound: Bound) -> dict[str, np.ndarray]:
    """Name -> array; the array of a .npy has the name ""."""
    try:
        with path.open("rb") as file:
            _check_sizes(path, file, bound)
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {name: loaded[name] for name in loaded.files}
    except DataError:
        raise
    # Damaged bytes make zipfile, zlib and NumPy's parser raise whatever they stumble over.
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        if "allow_pickle" in reason or "pickled" in reason:
            reason = "it holds Python objects, which are never loaded; save plain numbers"
        raise DataError(f"cannot read {path.name} as a file of NumPy arrays: {reason}") from error


def _check_sizes(path: Path, file: BinaryIO, bound: Bound) -> None:
    """Refuse arrays that would take too much, by what their headers say, before any is loaded."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        said, size = _bytes_of(file)
        # What is not there is not set aside.
        if said > (there := path.stat().st_size - file.tell()):
            raise ValueError(f"its header says {said:,} bytes, it has {there:,}")
        bound.check(size, "its array takes")
        return
    total = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as one:
                total += max(member.file_size, _bytes_of(one)[1])
            bound.check(total, "its arrays take")


def _bytes_of(file: IO[bytes]) -> tuple[int, int]:
    """The bytes of the array of a .npy file, and those it takes where its numbers are float64."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        return 0, 0  # no array: loading says more
    of_version = {(1, 0): np.lib.format.read_array_header_1_0}
    shape, _, dtype = of_version.get(version, np.lib.format.read_array_header_2_0)(file)
    count = math.prod(shape)
    return count * dtype.itemsize, count * max(dtype.itemsize, NUMBER_BYTES)


def _layout(file: str, arrays: dict[str, np.ndarray]) -> tuple[dict[str, str], dict[str, str]]:
    """Split -> array of values, and of labels; the split "" is all rows."""
    roles: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for name in arrays:
        match = _ROLE.fullmatch(name.lower())
        split = SPLIT_OF[match["split"]] if match and match["split"] else ""
        role = roles[1] if match and match["labels"] else roles[0]
        if split in role:
            raise _unknown_layout(file, arrays)
        role[split] = name
    x_names, y_names = roles
    if len(x_names) == 1 and len(y_names) < 2 and y_names.keys() <= {"", *x_names}:
        # The only array is all rows, even if it is called train.
        (x_name,) = x_names.values()
        return {"": x_name}, ({"": y_names.popitem()[1]} if y_names else {})
    complete = {"train", "test"} <= x_names.keys() <= set(SPLITS)
    if not complete or (y_names and y_names.keys() != x_names.keys()):
        raise _unknown_layout(file, arrays)
    return roles


def _unknown_layout(file: str, arrays: dict[str, np.ndarray]) -> DataError:
    found = ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items()) or "none"
    return DataError(f"{file}: wanted {_LAYOUTS}; found {found}")


def _checked_x(file: str, name: str, x: np.ndarray) -> np.ndarray:
    what = f"{file}, array {name!r}" if name else file
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "biuf":
        raise DataError(f"{what}: wanted real numbers, found {_type_of(x)}")
    if x.ndim != 2 or x.shape[1] < 1:
        raise DataError(f"{what}: wanted shape (rows, features), found {x.shape}")
    if not len(x):
        raise DataError(f"{what}: there are no rows")
    # What float32 holds exactly needs no copy in twice its size.
    exact = x.dtype.kind == "b" or (x.dtype.kind in "iu" and x.dtype.itemsize <= _EXACT_BYTES)
    return x if x.dtype.kind == "f" else x.astype(np.float32 if exact else np.float64)


def _checked_y(file: str, name: str, y: np.ndarray, rows: int) -> np.ndarray:
    what = f"{file}, array {name!r}"
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "biufUS":
        raise DataError(f"{what}: labels are numbers or text, found {_type_of(y)}")
    if y.shape != (rows,):
        raise DataError(f"{what}: wanted a label for each of {rows} rows, found shape {y.shape}")
    return np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y


def _type_of(array: object) -> str:
    return f"type {array.dtype}" if isinstance(array, np.ndarray) else "no array"


def _check_widths(file: str, names: list[str], xs: list[np.ndarray]) -> None:
    for name, x in zip(names, xs, strict=True):
        if x.shape[1] != xs[0].shape[1]:
            raise DataError(
                f"{file}: array {name!r} has {x.shape[1]} features, "
                f"{names[0]!r} has {xs[0].shape[1]}"
            )


def placer(names: list[str], counts: list[int]) -> Callable[[int], str]:
    """Index of a row of several arrays, one after another -> its number in which of them."""
    ends = np.cumsum(counts)

    def place(row: int) -> str:
        part = int(np.searchsorted(ends, row, side="right"))
        number = row - int(ends[part]) + counts[part] + 1
        return f"row {number} of {names[part]!r}" if names[part] else f"row {number}"

    return place


def _with_label_column(table: Table, label_column: str) -> Table:
    width = table.x.shape[1]
    if table.labels is not None:
        raise DataError(f"{table.file} has arrays of labels: leave out --label-column")
    if not (label_column.isdecimal() and 1 <= int(label_column) <= width):
        raise DataError(
            f"{table.file} has no column {label_column!r}: its {width} columns have no names, "
            "--label-column takes a number from 1"
        )
    if width == 1:
        raise DataError(f"{table.file} has no column besides the labels")
    at = int(label_column) - 1
    return table._replace(
        x=np.delete(table.x, at, axis=1),
        columns=[number for number in range(1, width + 1) if number != at + 1],
        labels=table.x[:, at],
        label="label",
    )
