"""MNIST as text and as NumPy's archive: Kaggle's CSV, Keras's npz."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.data.mnist.idx import MAX_IMAGES, SIZE
from kvae.data.tables.numbers import to_number
from kvae.data.text import utf8
from kvae.errors import DataError, escaped

PIXELS = SIZE * SIZE
_LINE = 16 * PIXELS  # bytes of the longest line


class Labelled(NamedTuple):
    """Images and what they show.

    Args:
        x: `(images, 28, 28)` uint8.
        y: `(images,)` uint8.
    """

    x: np.ndarray
    y: np.ndarray


def width_of(content: bytes) -> int:
    """How many cells the first line of a CSV file has."""
    return content[:_LINE].partition(b"\n")[0].count(b",") + 1


def read_csv(content: bytes, place: str) -> Labelled:
    """A table of a label and 784 pixels a line, with a header or without.

    The cells of a header are no numbers, but for columns that are counted, from 0 or 1.

    Args:
        content: of the file.
        place: how to name it in a message.

    Raises:
        DataError: it is another table; the message names the first line.
    """
    from pyarrow import ArrowInvalid

    place = escaped(place)
    wanted = f"wanted a label and {PIXELS} whole numbers from 0 to 255 in each line"
    first = utf8(content[:_LINE].partition(b"\n")[0], place).strip()
    if first.startswith("<"):
        raise DataError(f"{place} is a web page: {wanted}")
    if (width := width_of(content)) != PIXELS + 1:
        raise DataError(f"{place}: {wanted}; its first line has {width:,} cells")
    has_header = _is_header([cell.strip().strip('"') for cell in first.split(",")])
    body = content.partition(b"\n")[2] if has_header else content
    if not body.strip():
        raise DataError(f"{place} has no rows: {wanted}")
    try:
        found = _bytes_of(body)
    except ArrowInvalid as error:
        # pyarrow counts lines from 1, without the header.
        below = ", below the header" if has_header else ""
        why = str(error).splitlines()[0][:200]
        raise DataError(f"{place}: {wanted}; received{below}: {why}") from error
    return Labelled(np.ascontiguousarray(found[:, 1:]).reshape(-1, SIZE, SIZE), found[:, 0].copy())


def _is_header(cells: list[str]) -> bool:
    names = [cell for cell in cells if to_number(cell) is None]
    counted = [[str(place) for place in range(first, first + PIXELS)] for first in (0, 1)]
    return names == cells or (names == cells[:1] and cells[1:] in counted)


def _bytes_of(body: bytes) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(column) for column in range(PIXELS + 1)]
    table = csv.read_csv(
        pa.BufferReader(body),
        csv.ReadOptions(use_threads=False, column_names=names),
        csv.ParseOptions(quote_char='"'),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.uint8()), null_values=[]),
    )
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def has_splits(path: Path, place: str) -> bool:
    """Whether an archive has the arrays that `read_npz` reads, by its list of names alone.

    Raises:
        DataError: it is damaged, or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _has_splits(archive)
    except OSError as error:
        raise DataError(f"cannot read {escaped(place)}: {error.strerror or error}") from error
    except Exception as error:  # as for `read_npz`
        raise _damaged(escaped(place), error) from error


def read_npz(content: bytes, place: str) -> dict[str, Labelled] | None:
    """Split -> its images, of an archive with x_train, y_train, x_test and y_test.

    Args:
        content: of the file.
        place: how to name it in a message.

    Returns:
        None: it has other arrays.

    Raises:
        DataError: it is damaged, or its arrays are of another shape or type.
    """
    place = escaped(place)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if not _has_splits(archive):
                return None
            return {
                split: Labelled(
                    _array(archive, f"x_{split}", (SIZE, SIZE), place),
                    _array(archive, f"y_{split}", (), place),
                )
                for split in ("train", "test")
            }
    except DataError:
        raise
    # Damaged bytes make zipfile, zlib and NumPy's parser raise whatever they stumble over.
    except Exception as error:
        raise _damaged(place, error) from error


def _has_splits(archive: zipfile.ZipFile) -> bool:
    names = {name.removesuffix(".npy") for name in archive.namelist()}
    return {"x_train", "y_train", "x_test", "y_test"} <= names


def _damaged(place: str, error: Exception) -> DataError:
    why = (str(error) or type(error).__name__).splitlines()[0][:200]
    return DataError(f"{place} is damaged, or cut short: {why}")


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], place: str) -> np.ndarray:
    """An array of bytes, read once its header is known to be what it should be."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read: Any = {(1, 0): np.lib.format.read_array_header_1_0}
        found, is_fortran, dtype = read.get(version, np.lib.format.read_array_header_2_0)(file)
        is_whole = dtype.kind in "iu" and not (shape and dtype != np.uint8)
        if found[1:] != shape or len(found) != 1 + len(shape) or not is_whole:
            wanted = "whole numbers (images,)" if not shape else "uint8 (images, 28, 28)"
            raise DataError(f"{place}, {name}: wanted {wanted}; received {dtype} {found}")
        if not 0 < found[0] <= MAX_IMAGES:
            raise DataError(
                f"{place}, {name}: 1 to {MAX_IMAGES:,} images are read, four times those of MNIST "
                f"(no option raises this); its header says {found[0]:,}"
            )
        size = math.prod(found) * dtype.itemsize
        values = file.read(size + 1)
    if len(values) != size:
        raise DataError(f"{place}, {name} is damaged, or cut short: {size:,} bytes are wanted")
    array = np.frombuffer(values, dtype).reshape(found, order="F" if is_fortran else "C")
    if not shape and (array.min() < 0 or array.max() > np.iinfo(np.uint8).max):
        raise DataError(
            f"{place}, {name}: labels are 0 to 9; received {array.min()} to {array.max()}"
        )
    return np.ascontiguousarray(array, np.uint8)
