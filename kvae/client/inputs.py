"""What a user hands to the client, as the arrays that a signature takes, or a clear refusal."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from kvae.client.answers import Tensor, listed, named
from kvae.data.images.decoding import (
    MAX_REQUEST_PIXELS,
    MAX_SERVED_PIXELS,
    Unreadable,
    read,
)
from kvae.data.images.metadata import bare, format_of
from kvae.data.images.opened import read_opened
from kvae.data.images.pixels import ROUNDING, UNIT, as_unit_interval
from kvae.errors import UsageError

_FILES = ("JPEG", "PNG")


class Misfit(UsageError):
    """Inputs that another version of the model might take."""


def checked(
    signature: str,
    wanted: dict[str, Tensor],
    given: dict[str, Any],
    value_range: tuple[float, float] | None = UNIT,
) -> dict[str, np.ndarray]:
    """The inputs as arrays that the server will take.

    Args:
        signature: its name.
        wanted: what it takes.
        given: what the user gave, by name.
        value_range: what floats of images lie in, (0, 1); None: anywhere.

    Raises:
        UsageError: they do not fit; a `Misfit` where a version of other signatures might do.
    """
    if wanted.keys() != given.keys():
        raise Misfit(
            f"{named(signature)} takes {listed(sorted(wanted))}; received "
            f"{listed(sorted(given)) or 'nothing'}"
        )
    rows = {}
    for name in given:
        tensor = wanted[name]
        convert: Callable[[str, Tensor, Any], np.ndarray] = {
            "string": _as_files, "int64": _as_integers,
        }.get(tensor.dtype, partial(_as_floats, value_range))  # fmt: skip
        rows[name] = convert(named(name), tensor, given[name])
    counts = {name: len(value) for name, value in rows.items()}
    if len(set(counts.values())) > 1:
        raise UsageError(
            f"all inputs of {named(signature)} need as many rows: received "
            + listed(f"{count} of {name}" for name, count in counts.items())
        )
    return rows


def requests(rows: dict[str, np.ndarray], most: int) -> Iterator[slice]:
    """Divide rows among requests.

    Args:
        rows: from `checked`.
        most: rows of a request.

    Yields:
        The rows of one, whose image files have no more pixels than a request may have.
    """
    files = [values for values in rows.values() if values.dtype == object]
    count, start, held = len(next(iter(rows.values()))), 0, 0
    for row in range(count):
        pixels = sum(_num_pixels(values[row]) for values in files)
        if row - start == most or (row > start and held + pixels > MAX_REQUEST_PIXELS):
            yield slice(start, row)
            start, held = row, 0
        held += pixels
    yield slice(start, count)


def damaged_files(rows: dict[str, np.ndarray], first: int) -> str:
    """Which image files of a request are damaged; "" where there are none, or no files.

    Args:
        rows: of the request.
        first: the number of its first row among all.
    """
    found = []
    for name, values in rows.items():
        for row, content in enumerate(values if values.dtype == object else ()):
            try:
                read(content)
            except Unreadable as error:
                found.append(f"{named(name)}, row {first + row}, {error}")
    return listed(found)


def _as_floats(
    value_range: tuple[float, float] | None, name: str, tensor: Tensor, value: Any
) -> np.ndarray:
    images = len(tensor.shape) == 4
    array = _array(name, _pixels(name, tensor, value) if images else value)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name} must be numbers, received {array.dtype}")
    _check_shape(name, tensor, array)
    if images and array.dtype == np.uint8:
        return as_unit_interval(array)
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    finite = np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    if not finite.all():
        raise UsageError(
            f"{name}, row {int(np.argmin(finite))}: not a finite float32 number "
            f"({int((~finite).sum())} rows in all)"
        )
    levels = images and value_range is not None
    if levels and (numbers.min() < -ROUNDING or numbers.max() > 1 + ROUNDING):
        raise UsageError(
            f"{name}: images are uint8, or floats from 0 to 1: received {array.dtype} from "
            f"{numbers.min():.4g} to {numbers.max():.4g}; divide by 255, or clip"
        )
    return np.clip(numbers, 0, 1) if levels else numbers


def _as_integers(name: str, tensor: Tensor, value: Any) -> np.ndarray:
    array = _array(name, list(value) if isinstance(value, range) else value)
    limits = np.iinfo(np.int64)
    if array.dtype.kind == "O" and all(isinstance(one, int) for one in array.flat):
        too_large = True  # Python's integers that no 64 bits hold
    elif array.dtype.kind not in "iu" and array.size:
        raise UsageError(f"{name} must be whole numbers, received {array.dtype}")
    else:
        too_large = bool(array.size) and int(array.max()) > limits.max
    if too_large:
        raise UsageError(f"{name} must be from {limits.min} to {limits.max}")
    _check_shape(name, tensor, array)
    return array.astype(np.int64)


def _as_files(name: str, tensor: Tensor, value: Any) -> np.ndarray:
    if isinstance(value, bytes | Image.Image):
        raise UsageError(f"{name} must be a list of images, received a single one: wrap it in [ ]")
    try:
        contents = [
            _png_of(f"{name}, row {row}", one) if isinstance(one, Image.Image) else one
            for row, one in enumerate(value)
        ]
    except TypeError:
        raise UsageError(
            f"{name} must be a list of bytes, received {type(value).__name__}"
        ) from None
    _check_rows(name, contents)
    for row, content in enumerate(contents):
        if not isinstance(content, bytes):
            raise UsageError(
                f"{name}, row {row}: the bytes of a JPEG or PNG file are wanted, received "
                f"{type(content).__name__}"
            )
        _check_image(f"{name}, row {row}", content)
    return np.array(contents, object)


def _check_image(place: str, content: bytes) -> None:
    """Look at the header: the pixels are the server's work."""
    try:
        bare(content)
    except ValueError as error:
        raise UsageError(f"{place}: a file that is not served: {error}") from error
    try:
        pixels = _num_pixels(content)
    except Image.DecompressionBombError:
        pixels = MAX_SERVED_PIXELS + 1
    except Exception as error:  # damaged headers make it fail in any way
        kind = format_of(content)
        damaged = " that can be read" if kind in _FILES else ""
        own = f" of {kind}" if kind else ""
        raise UsageError(
            f"{place}: no JPEG or PNG file{damaged}: received {len(content)} bytes{own}; other "
            "formats are sent as PNG where they are given as PIL images"
        ) from error
    if pixels > MAX_SERVED_PIXELS:
        raise UsageError(f"{place}: has more than {MAX_SERVED_PIXELS:,} pixels")


def _num_pixels(content: bytes) -> int:
    with Image.open(io.BytesIO(content), formats=_FILES) as image:
        return image.width * image.height


def _plain(place: str, image: Image.Image) -> Image.Image:
    """As training reads it: upright, of mode L or RGB."""
    if image.mode == "F":
        raise UsageError(
            f"{place}: PIL images of mode F have no agreed range: give an array from 0 to 1"
        )
    try:
        return read_opened(image)
    except Unreadable as error:
        raise UsageError(f"{place}: a PIL image that cannot be read: {error}") from error


def _png_of(place: str, image: Image.Image) -> bytes:
    file = io.BytesIO()
    _plain(place, image).save(file, "PNG")
    return file.getvalue()


def _pixels(name: str, tensor: Tensor, value: Any) -> Any:
    """PIL images as a uint8 array; anything else as it is."""
    if isinstance(value, Image.Image):
        value = [value]
    if not isinstance(value, list | tuple) or not any(isinstance(x, Image.Image) for x in value):
        return value
    height, width, channels = (size or 0 for size in tensor.shape[1:])
    if channels not in (1, 3):
        raise UsageError(f"{name} has {channels} channels, PIL images 1 or 3: give arrays")
    arrays = []
    for row, given in enumerate(value):
        place = f"{name}, row {row}"
        image = _plain(place, given) if isinstance(given, Image.Image) else given
        if not isinstance(image, Image.Image) or image.size != (width, height):
            size = "x".join(map(str, image.size)) if isinstance(image, Image.Image) else "an array"
            raise Misfit(
                f"{place}: images of {width}x{height} are wanted, received {size}; "
                "encode_bytes and reconstruct_bytes crop and resize"
            )
        mode = "L" if channels == 1 else "RGB"
        arrays.append(np.asarray(image.convert(mode)).reshape(height, width, channels))
    return np.stack(arrays)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{name} is no array: {error}") from error


def _check_shape(name: str, tensor: Tensor, array: np.ndarray) -> None:
    wanted = tensor.shape
    fits = array.ndim == len(wanted) and all(
        size is None or size == own for size, own in zip(wanted[1:], array.shape[1:], strict=True)
    )
    if not fits:
        sizes = ["rows", *("any" if size is None else str(size) for size in wanted[1:])]
        shown = ", ".join(sizes) + ("," if len(sizes) == 1 else "")
        one = "; one row is given as a list of one" if array.ndim == len(wanted) - 1 else ""
        raise Misfit(f"{name} must be of shape ({shown}), received {array.shape}{one}")
    _check_rows(name, array)


def _check_rows(name: str, rows: Any) -> None:
    if not len(rows):
        raise UsageError(f"{name} is empty: at least one row is wanted")
