"""Arrays that are given in Python, as a dataset: the rules of `kvae.data.arrays`, images too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.data import GIVEN_ARRAYS, Dataset, Split
from kvae.data.arrays import counting, fingerprint, float32, split_rows
from kvae.data.classes import encode
from kvae.data.images.pixels import ROUNDING, UNIT, read_range
from kvae.data.splits import SPLITS
from kvae.data.tables.numbers import LARGEST, fits
from kvae.data.tables.table import Table, placer
from kvae.data.text import check_names
from kvae.errors import DataError, UsageError
from kvae.options import read_seed

LABEL = "label"
_WANTED = "vectors (rows, features) or images (rows, height, width, channels): an array of numbers"
_PARTS_ROWS = 1000
_FILE = "the arrays"


def dataset_of(
    train: Any,
    valid: Any = None,
    test: Any = None,
    labels: Any = None,
    names: Sequence[str] | None = None,
    *,
    split_seed: int = 0,
    value_range: tuple[float, float] | None = UNIT,
) -> Dataset:
    """See `kvae.Dataset.from_arrays`."""
    seed, levels = read_seed(split_seed), read_range(value_range)
    given = {"train": train, "valid": valid, "test": test}
    arrays = {name: _array(name, x) for name, x in given.items() if x is not None}
    if "train" not in arrays:
        raise UsageError(f"train: wanted {_WANTED}; received None")
    shape = arrays["train"].shape[1:]
    for name, x in arrays.items():
        if x.shape[1:] != shape:
            raise UsageError(f"{name}: wanted rows of shape {shape}, as train has; found {x.shape}")
    if "valid" in arrays and "test" not in arrays:
        # As of images: what is reported on may not be what was chosen on.
        arrays["test"] = arrays.pop("valid")
    counts = {name: len(x) for name, x in arrays.items()}
    is_image = len(shape) == 3
    if is_image and len({x.dtype == np.uint8 for x in arrays.values()}) > 1:
        raise UsageError("the splits hold images of one type: uint8, or floats")
    # Each split by itself: joined they would be copies.
    tables = {
        name: Table(_FILE, x, _columns(names, shape), placer([name], [len(x)]))
        for name, x in arrays.items()
    }
    xs = {
        name: _images(table, levels) if is_image else float32(table)
        for name, table in tables.items()
    }
    # The first number of each row stands for it: where it is, and whether it counts.
    table = Table(
        _FILE,
        np.concatenate([_firsts(x) for x in arrays.values()]),
        _columns(names, shape),
        placer([*counts], [*counts.values()]),
        np.repeat([*counts], [*counts.values()]) if len(counts) > 1 else None,
    )
    for note in () if is_image else counting(table):
        print(f"arrays: {note}")
    rows, rule = split_rows(table, seed)
    if valid is not None and test is None:
        rule = f"own, its valid split for test{rule.removeprefix('own')}"
    found, label_names = _labels(table, labels, counts)
    splits = {
        name: Split(_rows_of(xs, name, own), {label: all_[own] for label, all_ in found.items()})
        for name, own in rows.items()
    }
    card: dict[str, Any] = {
        "name": "arrays",
        "source": GIVEN_ARRAYS,
        "sha256": fingerprint(splits),
        "counts": {name: len(own) for name, own in rows.items()},
        "split": rule,
    }
    if rule != "own":
        card["split_seed"] = seed
    if is_image:
        card |= {"crop": "none", "image_size": list(shape)}
        if not levels and xs["train"].dtype != np.uint8:
            card["value_range"] = None
    if names is not None:
        card["columns"] = table.columns
    if label_names:
        card["label_names"] = label_names
    return Dataset(
        "images" if is_image else "vectors", **splits, card=card, color_by=next(iter(found), ""),
        origin={"dataset": "arrays", "split_seed": seed},
    )  # fmt: skip


def _array(name: str, x: Any) -> np.ndarray:
    """An array of numbers, as it is, but vectors of whole numbers as floats."""
    try:
        found = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: wanted {_WANTED}; {error}") from error
    if found.dtype.kind not in "biuf":
        raise UsageError(f"{name}: wanted {_WANTED}; received type {found.dtype}")
    if found.ndim not in (2, 4):
        hint = "; grey images have an axis of one channel: x[..., None]" if found.ndim == 3 else ""
        raise UsageError(f"{name}: wanted {_WANTED}; received shape {found.shape}{hint}")
    if 0 in found.shape:
        raise UsageError(f"{name}: nothing is in an array of shape {found.shape}")
    if found.ndim == 4 and found.dtype.kind in "iu" and found.dtype != np.uint8:
        raise UsageError(
            f"{name}: images are uint8, or floats in [0, 1]; received {found.dtype}: "
            "x.astype('uint8') if they are levels 0 to 255"
        )
    return found if found.dtype.kind == "f" or found.ndim == 4 else found.astype(np.float64)


def _firsts(x: np.ndarray) -> np.ndarray:
    """The first number of each row, `(rows, 1)`."""
    return (x[:, :1] if x.ndim == 2 else x[:, 0, 0, :1]).astype(np.float64)


def _rows_of(xs: Mapping[str, np.ndarray], name: str, own: np.ndarray) -> np.ndarray:
    """The rows of a split: its array as it is, or some of train's, which come first."""
    x = xs.get(name)
    return x if x is not None and len(x) == len(own) else xs["train"][own]


def _columns(names: Sequence[str] | None, shape: tuple[int, ...]) -> list[Any]:
    if names is None:
        return list(range(1, shape[-1] + 1))
    found = [str(name) for name in names]
    check_names(found, "names")
    if len(shape) != 1 or len(found) != shape[0] or len({*found}) != len(found):
        raise UsageError(
            f"names: one for each feature of vectors, none twice; received {len(found)} for rows "
            f"of shape {shape}"
        )
    return found


def _images(table: Table, levels: tuple[float, float] | None) -> np.ndarray:
    """uint8 as it is; floats as float32, which must lie in [0, 1] if they are levels."""
    if table.x.dtype == np.uint8:
        return table.x
    wanted = (
        f"floats of images are of at most {LARGEST:g} in size, whose square is finite in float32"
    )
    advice = ""
    if levels:
        wanted = "floats of images lie in [0, 1]"
        advice = "; divide by the largest level, give uint8, or value_range=None for any numbers"
    for first in range(0, len(table.x), _PARTS_ROWS):
        part = table.x[first : first + _PARTS_ROWS]
        with np.errstate(over="ignore"):
            single = part.astype(np.float32, copy=False)
        usable = (single >= -ROUNDING) & (single <= 1 + ROUNDING) if levels else fits(single)
        wrong = ~usable  # NaN too
        if wrong.any():
            row = int(np.argmax(wrong.any(axis=(1, 2, 3))))
            raise DataError(
                f"{table.file}, {table.place(first + row)}: {wanted}, found "
                f"{part[row][wrong[row]][0]:g}{advice}"
            )
    x = table.x.astype(np.float32, copy=False)
    # What rounding put outside is put back: errors of images are those of [0, 1].
    return np.clip(x, 0, 1) if levels and (x.min() < 0 or x.max() > 1) else x


def _labels(
    table: Table, labels: Any, counts: dict[str, int]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Label -> values of all rows: bool as they are, others as numbers of their names."""
    if labels is None:
        return {}, {}
    by_name = labels if isinstance(labels, Mapping) else {LABEL: labels}
    check_names(map(str, by_name), "labels")
    found, names = {}, {}
    for label, given in by_name.items():
        values = _values(label, given, counts)
        if values.dtype == bool:
            found[label] = values
            continue
        own = encode(table._replace(label=label), values, "leave them out of labels")
        found[label], names[label] = own
    return found, names


def _values(label: str, given: Any, counts: dict[str, int]) -> np.ndarray:
    parts = list(given) if len(counts) > 1 else [given]
    wanted = (
        f"labels[{label!r}]: a value of yes or no, a number or a text for each row of "
        f"{' and of '.join(counts)}: {'an array' if len(counts) == 1 else 'a tuple of arrays'} of "
        f"length {', '.join(map(str, counts.values()))}"
    )
    try:
        arrays = [np.asarray(part) for part in parts]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{wanted}; {error}") from error
    if [array.shape for array in arrays] != [(count,) for count in counts.values()]:
        shapes = ", ".join(str(array.shape) for array in arrays[: len(SPLITS)])
        raise UsageError(f"{wanted}; received {len(arrays)} of shape {shapes}")
    if any(array.dtype.kind not in "biufUS" for array in arrays):
        raise UsageError(f"{wanted}; received type {arrays[0].dtype}")
    values = np.concatenate(arrays)
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
