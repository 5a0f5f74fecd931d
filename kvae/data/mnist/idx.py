"""The idx format of MNIST's files: a magic number, sizes, then a byte a value."""

import gzip
import io
import math
import zlib

import numpy as np

from kvae.errors import DataError, escaped

IMAGES, LABELS = "images", "labels"
#: What a file holds -> its magic number: unsigned bytes (8), of so many dimensions.
MAGIC = {IMAGES: 0x0803, LABELS: 0x0801}
#: Images of a file: four times MNIST's. There are no larger files of this kind.
MAX_IMAGES = 300_000
#: Pixels of a side.
SIZE = 28
_GZIP = b"\x1f\x8b"
_WORD = 4  # bytes, the high one first


def read(content: bytes, kind: str, place: str) -> np.ndarray:
    """The array of an idx file.

    Args:
        content: of the file, compressed by gzip or not.
        kind: IMAGES or LABELS.
        place: how to name the file in a message.

    Returns:
        `(images, height, width)` or `(images,)`, uint8.

    Raises:
        DataError: it is another file, holds fewer or more bytes than its header says, or more
            images than `MAX_IMAGES`. No more is unpacked than the header asks for.
    """
    place = escaped(place)
    file = gzip.GzipFile(fileobj=io.BytesIO(content)) if content[:2] == _GZIP else None
    source = io.BytesIO(content) if file is None else file
    try:
        shape = _shape(source, kind, place)
        wanted = math.prod(shape)
        values = source.read(wanted + 1)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile among them
        raise DataError(f"{place} is damaged, or cut short: {error}") from error
    if len(values) != wanted:
        more = len(values) > wanted
        raise DataError(
            f"{place} is damaged{'' if more else ', or cut short'}: its header says "
            f"{' x '.join(map(str, shape))}, {wanted:,} bytes; received "
            f"{'more' if more else f'{len(values):,}'}"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(source: io.BufferedIOBase, kind: str, place: str) -> tuple[int, ...]:
    magic = source.read(_WORD)
    if int.from_bytes(magic, "big") != MAGIC[kind] or len(magic) < _WORD:
        what = "a web page" if magic.lstrip().startswith(b"<") else f"the bytes {magic.hex()}"
        raise DataError(
            f"{place} is no idx file of {kind}: it must start with the magic number {MAGIC[kind]} "
            f"({MAGIC[kind].to_bytes(_WORD, 'big').hex()}); received {what}"
        )
    dimensions = MAGIC[kind] & 0xFF
    sizes = source.read(_WORD * dimensions)
    if len(sizes) < _WORD * dimensions:
        raise DataError(f"{place} ends within its header: it is damaged, or cut short")
    shape = tuple(
        int.from_bytes(sizes[start : start + _WORD], "big") for start in range(0, len(sizes), _WORD)
    )
    if not 0 < shape[0] <= MAX_IMAGES:
        raise DataError(
            f"{place}: a file has 1 to {MAX_IMAGES:,} {kind}, four times those of MNIST (no option "
            f"raises this: a small .gz could ask for any memory); its header says {shape[0]:,}"
        )
    if shape[1:] not in ((), (SIZE, SIZE)):
        raise DataError(
            f"{place}: images are of {SIZE} x {SIZE} pixels; its header says "
            f"{' x '.join(map(str, shape[1:]))}"
        )
    return shape
