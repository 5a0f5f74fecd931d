"""Whether a .keras or .weights.h5 file is what it says, before Keras reads it.

A small file may declare arrays of any size, and be from anybody. What reading it takes is bounded
by its own size: Keras stores weights as they are.
"""

import functools
import io
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, BinaryIO

import h5py

from kvae.errors import DataError, brief, one_line
from kvae.files import strict_json

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Of a file that somebody packed anew, and what small ones need.
_MOST_UNPACKED, _SLACK = 10, 2**20
_MOST_MEMBERS = 1000
_MOST_CONFIG = 2**24  # bytes
# Variables of a model and of its optimizer (moments, averages) for each number that is stored.
_MOST_VARIABLES = 8
_NUMBERS = "biuf"  # kinds of NumPy
_MARK = "_counts_for_kvae"


class _Damage(ValueError):
    """What is wrong with a file."""


def check_model(path: Path) -> int:
    """Look at the parts of a .keras file without Keras.

    Args:
        path: a zip archive.

    Returns:
        How many numbers its weights are, an optimizer's too.

    Raises:
        DataError: it is damaged, or declares more than it holds.
    """
    with _said(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_members(members, path.stat().st_size)
        if archive.getinfo(CONFIG).file_size > _MOST_CONFIG:
            raise _Damage(f"{CONFIG} is larger than {_MOST_CONFIG:,} bytes")
        if not isinstance(strict_json(archive.read(CONFIG)), dict):
            raise _Damage(f"{CONFIG} holds no object")
        content = archive.read(WEIGHTS)
        return _numbers(io.BytesIO(content), len(content))


def check_weights(path: Path) -> int:
    """The same of a .weights.h5 file.

    Args:
        path: of HDF5.

    Returns:
        How many numbers it holds.

    Raises:
        DataError: it is damaged, or declares more than it holds.
    """
    with _said(path), path.open("rb") as file:
        return _numbers(file, path.stat().st_size)


def unknown_part(error: Exception) -> str | None:
    """What Keras does not know, "the class X" or "the function X"; None where that is no reason."""
    found = re.search(r"Could not (?:locate|interpret) (class|function) '(\w+)'", str(error))
    return f"the {found[1]} {found[2]}" if found else None


def reason(error: Exception) -> str:
    """What Keras says of a configuration, without those around it, which may be pages long."""
    text = str(error).rpartition("Exception encountered:")[2]
    return one_line(text.partition("Full object config")[0], 500)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say what is wrong with a file; damage makes libraries fail in any way."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        why = str(error) if isinstance(error, _Damage) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is damaged: {one_line(why, 300)}") from error


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise _Damage(f"it has no {name}")
    if len(names) > _MOST_MEMBERS or len({*names}) < len(names):
        raise _Damage(f"it has {len(names)} parts, or two of one name: 3 and assets are usual")
    for name in names:
        if "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise _Damage(f"a part of it is called {brief(name)}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MOST_UNPACKED * size + _SLACK:
        raise _Damage(f"its {size:,} bytes become {unpacked:,}: Keras packs nothing")


def _numbers(file: BinaryIO, size: int) -> int:
    """The numbers in a file of HDF5, each in a place of its own.

    Raises:
        _Damage: something in it is no plain array, or larger than the file.
    """
    count = declared = 0
    with h5py.File(file, "r") as opened:
        left: list[Any] = [opened]
        seen = {_address(opened)}
        while left:
            group = left.pop()
            for name in group:
                place = brief(f"{group.name}/{name}")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise _Damage(f"{place} is a link to elsewhere")
                item = group[name]
                if _address(item) in seen:
                    raise _Damage(f"{place} stands at two places")
                seen.add(_address(item))
                if isinstance(item, h5py.Group):
                    left.append(item)
                    continue
                _check_plain(item, place)
                chunk = math.prod(item.chunks or ())
                declared += max(math.prod(item.shape), chunk) * item.dtype.itemsize
                count += math.prod(item.shape)
                if declared > _MOST_UNPACKED * size + _SLACK:
                    raise _Damage(f"{place}: its arrays are of {declared:,} bytes and more, the "
                                  f"file is of {size:,}")  # fmt: skip
    return count


def _check_plain(item: Any, place: str) -> None:
    if not isinstance(item, h5py.Dataset):
        raise _Damage(f"{place} is no array")
    layout = item.id.get_create_plist()
    if item.is_virtual or layout.get_external_count():
        raise _Damage(f"{place} lies in another file")
    if layout.get_nfilters():
        raise _Damage(f"{place} is packed: Keras packs nothing (h5repack -f NONE unpacks it)")
    if item.shape is None or item.dtype.kind not in _NUMBERS:
        raise _Damage(f"{place} is no array of numbers")


def _address(item: Any) -> Any:
    found = h5py.h5o.get_info(item.id)
    return found.fileno, found.addr


class _Room:
    """How many numbers variables may still have, by what a file holds."""

    def __init__(self, path: Path, stored: int):
        self._path, self._stored = path, stored
        self._left = _MOST_VARIABLES * stored + _SLACK

    def take(self, shape: Any) -> None:
        """Count a variable.

        Raises:
            DataError: it is too large.
        """
        self._left -= math.prod(shape)
        if self._left < 0:
            raise DataError(
                f"{self._path} is damaged: its layers have more weights than the "
                f"{self._stored:,} numbers that it holds (one is of shape {brief(tuple(shape))})"
            )


_room: ContextVar[_Room | None] = ContextVar("room", default=None)
_counting = Lock()


@contextmanager
def bounded_variables(path: Path, stored: int) -> Iterator[None]:
    """Have Keras make no more variables than a file can fill, whatever its configuration says.

    It holds for this thread alone.

    Args:
        path: of the file, for the message.
        stored: the numbers in it.

    Raises:
        DataError: within the context, where a variable would be too large.
    """
    _count_variables()
    token = _room.set(_Room(path, stored))
    try:
        yield
    finally:
        _room.reset(token)


def _count_variables() -> None:
    """Have every variable of Keras counted where there is a room; once in a process."""
    import keras

    with _counting:
        make = keras.Variable.__init__
        if hasattr(make, _MARK):
            return

        @functools.wraps(make)
        def counted(
            self: Any, initializer: Any, shape: Any = None, *args: Any, **named: Any
        ) -> None:
            room = _room.get()
            if room is not None and shape is not None:
                room.take(shape)
            make(self, initializer, shape, *args, **named)

        setattr(counted, _MARK, True)
        keras.Variable.__init__ = counted
