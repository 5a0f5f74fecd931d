"""What a table of numbers is, and how NumPy's files hold one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.data.splits import SPLITS
from kvae.errors import DataError

SPLIT_OF = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_ROLE = re.compile(r"(?:(?P<labels>y|labels?)|x)?_?(?P<split>train|valid|val|test)?")
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
        text: row, feature and content of the first cell that is not a number; None: all are.
        notes: what was noticed, for people.
    """

    file: str
    x: np.ndarray
    columns: list[str] | list[int]
    place: Callable[[int], str]
    split: np.ndarray | None = None
    labels: np.ndarray | None = None
    label: str = ""
    text: tuple[int, int, str] | None = None
    notes: tuple[str, ...] = ()


def read_numpy(path: Path, label_column: str) -> Table:
    """Read a .npy or .npz file; Python objects in it are refused, never unpickled.

    Args:
        path: of the file.
        label_column: number, from 1, of the column that holds labels; "" for none.

    Raises:
        DataError: the file is damaged, or its arrays are not laid out as a table.
    """
    arrays = _load(path)
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


def _load(path: Path) -> dict[str, np.ndarray]:
    """Name -> array; the array of a .npy has the name ""."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {name: loaded[name] for name in loaded.files}
    # Damaged bytes make zipfile, zlib and NumPy's parser raise whatever they stumble over.
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        if "allow_pickle" in reason or "pickled" in reason:
            reason = "it holds Python objects, which are never loaded; save plain numbers"
        raise DataError(f"cannot read {path.name} as a file of NumPy arrays: {reason}") from error


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
    return x if x.dtype.kind == "f" else x.astype(np.float64)


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
