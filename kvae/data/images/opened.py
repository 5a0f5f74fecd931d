"""Images that a caller opened or drew with Pillow: the pixels that `decoding.read` has of files."""

import io
from pathlib import Path

from PIL import Image

from kvae.data.images import decoding, metadata
from kvae.data.images.decoding import FORMATS, Unreadable
from kvae.data.images.files import MAX_BYTES

_TEXT_EXIF = metadata.EXIF_TEXT[:-1].decode()
_XMP = ("xmp", metadata.XMP_TEXT[:-1].decode())


def read_opened(image: Image.Image) -> Image.Image:
    """An image as training reads it.

    Its file decides where it can still be read and the image is as its file has it. Else, as where
    the image was cropped, drawn on or made in memory, its own pixels do, upright as what Pillow
    kept of its file says. Only a file knows whether a transparent colour is one of 2, 4 or 16 bits.

    Args:
        image: of any mode; left open, at its frame.

    Returns:
        Of mode L or RGB, upright.

    Raises:
        Unreadable: it is damaged, or its levels have no agreed range.
    """
    try:
        content = _content(image)
        image.load()
        if content is not None and _is_unchanged(image, content):
            return decoding.read(content)
        if image.format == "TIFF":
            decoding.refuse_levels(image)
            stored = decoding.of_tiff(image)
        else:
            stored = image
        return decoding.plain(decoding.upright(stored, _orientation(image)))
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # a file that is opened may prove damaged only now
        raise Unreadable(str(error)[:100] or type(error).__name__) from error


def _content(image: Image.Image) -> bytes | None:
    """The bytes of the file that an image was opened from; None where they are out of reach."""
    if image.format is None:
        return None
    file = getattr(image, "fp", None)
    try:
        if file is not None and not file.closed and file.seekable():
            place = file.tell()
            file.seek(0)
            content = file.read(MAX_BYTES + 1)
            file.seek(place)
        elif name := getattr(image, "filename", None):
            with Path(name if isinstance(name, Path) else str(name)).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        else:
            return None
    except (OSError, ValueError, AttributeError):
        return None
    return content if len(content) <= MAX_BYTES else None


def _is_unchanged(image: Image.Image, content: bytes) -> bool:
    """Whether an image, which is loaded, is the first frame of its file and nothing else."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as own:
            own.load()
            return own == image
    except (OSError, ValueError, SyntaxError):  # of another format; another file by now
        return False


def _orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8, of a loaded image by what Pillow kept of its file."""
    # Pillow turns TIFF itself as it loads, and keeps there what it did not turn by.
    if image.format == "TIFF" and metadata.ORIENTATION_TAG in image.getexif():
        return 1
    info = image.info
    if image.format is None and not {"exif", _TEXT_EXIF, *_XMP} & {*info}:
        stated = image.getexif().get(metadata.ORIENTATION_TAG)  # by who made the image
        return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1
    exif, text = info.get("exif"), info.get(_TEXT_EXIF)
    told = metadata.of_exif(exif) if isinstance(exif, bytes) else 0
    told = told or (metadata.of_exif_text(_bytes(text)) if text else 0)
    for key in _XMP:
        told = told or metadata.of_xmp(_bytes(info.get(key) or b""))
    return told or 1


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "replace")
