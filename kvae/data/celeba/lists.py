"""The two lists of CelebA, official (text with blanks) or as Kaggle has them (commas)."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from kvae.data.images.decoding import SUFFIXES
from kvae.data.tables.dialects import DELIMITERS, records_of
from kvae.errors import DataError

NUM_ATTRIBUTES = 40
_HEADER_LINES = 2
VALUES = {"-1": False, "0": False, "1": True}


class Attributes(NamedTuple):
    """The attribute list.

    Args:
        place: of the list, for messages.
        names: of the 40 attributes, in the list's order.
        rows: number of an image, as text -> 40 bools, one byte each.
    """

    place: str
    names: list[str]
    rows: dict[str, bytes]

    def of(self, images: list[str]) -> dict[str, np.ndarray]:
        """The labels of some images: name -> bool `(images,)`.

        Raises:
            DataError: an image is not in the list.
        """
        if absent := [image for image in images if image not in self.rows]:
            raise DataError(
                f"{self.place}: {len(absent):,} images of {len(images):,} are not in the list, "
                f"the first is {absent[0]}"
            )
        flat = np.frombuffer(b"".join(self.rows[image] for image in images), np.uint8)
        table = flat.reshape(len(images), len(self.names)) == 1
        return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(self.names)}


def number_of(path: str) -> str:
    """What both lists and every layout call an image: "000001" for `some/folder/000001.jpg`."""
    return PurePosixPath(path).stem


def read_partition(text: str, place: str) -> dict[str, int]:
    """Read the list of splits: number of an image -> 0 (train), 1 (valid) or 2 (test).

    A header is skipped; an image may be listed twice if both lines agree.

    Args:
        text: of the list.
        place: its name for messages.

    Raises:
        DataError: a line is not an image's name and 0, 1 or 2.
    """
    partition: dict[str, int] = {}
    start = 0
    for number, fields in _records(text, place):
        first = _first_image(fields)
        if not partition and first < 0 and number <= _HEADER_LINES:
            continue
        if not partition:
            start = first
        values = fields[start + 1 :]
        if first != start or len(values) != 1 or values[0] not in ("0", "1", "2"):
            raise DataError(
                f"{place}, line {number}: wanted an image's name and 0, 1 or 2, "
                f"received {' '.join(fields)[:80]!r}"
            )
        image, split = number_of(fields[first]), int(values[0])
        if partition.setdefault(image, split) != split:
            raise DataError(
                f"{place}, line {number}: {fields[first]} is in another split further up"
            )
    return partition


def read_attributes(text: str, place: str) -> Attributes:
    """Read the list of attributes; a count above its header, which may be wrong, is not used.

    Args:
        text: of the list.
        place: its name for messages.

    Raises:
        DataError: there are not 40 names, or a line is not a name and 40 values -1 or 1 (0 is read
            as -1).
    """
    header: list[str] = []
    names: list[str] = []
    rows: dict[str, bytes] = {}
    first = 0
    for number, fields in _records(text, place):
        first = _first_image(fields)
        if not names and first < 0:
            header = fields if len(fields) > 1 else header
            continue
        if not names:
            names = _checked_names(header, len(fields) - first - 1, place)
            start = first
        values = fields[start + 1 :]
        if first != start or len(values) != len(names) or not set(values) <= VALUES.keys():
            raise DataError(
                f"{place}, line {number}: wanted an image's name and {len(names)} values -1 or 1, "
                f"received {' '.join(fields)[:80]!r}"
            )
        found = bytes(VALUES[value] for value in values)
        if rows.setdefault(number_of(fields[first]), found) != found:
            raise DataError(
                f"{place}, line {number}: {fields[first]} has other attributes further up"
            )
    if not names:
        _checked_names(header, 0, place)
        raise DataError(f"{place}: no line has an image's name and {NUM_ATTRIBUTES} values")
    return Attributes(place, names, rows)


def _checked_names(header: list[str], num_values: int, place: str) -> list[str]:
    """The names of the values: in a table with commas the header also names the first column."""
    names = header[-num_values:] if 0 < num_values < len(header) else header
    if len(names) != NUM_ATTRIBUTES or len(set(names)) != NUM_ATTRIBUTES or "" in names:
        raise DataError(
            f"{place}: wanted {NUM_ATTRIBUTES} different attribute names above the first image, "
            f"received {len(set(names))}: {' '.join(names)[:80]!r}"
        )
    return names


def _records(text: str, place: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not empty: of blanks, or as any table has them."""
    if any(delimiter in text for delimiter in DELIMITERS):
        yield from records_of(place, text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.split()


def _first_image(fields: list[str]) -> int:
    """Where an image's name is, behind a number of the row or not; -1 for nowhere."""
    return next((i for i, value in enumerate(fields) if value.lower().endswith(SUFFIXES)), -1)
