"""From the bytes of an image file to a small uint8 array: the one way that every image takes."""

import io
import threading
from contextlib import nullcontext

import numpy as np
from PIL import Image

from kvae.data.images import metadata
from kvae.data.images.crops import box_of
from kvae.data.images.pixels import binary
from kvae.errors import KvaeError

# Part of the cache's key: raise it with every change that changes a pixel.
DECODING_VERSION = 5
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
#: How the names of files end that are read, whichever of FORMATS they hold.
SUFFIXES = (
    *JPEG_SUFFIXES, ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
)  # fmt: skip
#: How those of other images end.
OTHER_SUFFIXES = (
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".mpo",
    ".svg", ".svgz", ".eps", ".ai", ".psd", ".psb", ".xcf", ".ico", ".icns", ".tga", ".pcx", ".ppm",
    ".pgm", ".pbm", ".pnm", ".pam", ".exr", ".hdr", ".dds", ".dcm", ".fits", ".raw", ".cr2", ".cr3",
    ".nef", ".dng", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
)  # fmt: skip
#: Pixels of the largest image that is decoded; from here on Pillow warns.
MAX_PIXELS = 2**30 // 12
#: Pixels of the largest image file that a server decodes, of many callers at once.
MAX_SERVED_PIXELS = 2**26
#: Pixels of all image files of a request: 64 of 16.8 million each.
MAX_REQUEST_PIXELS = 2**30
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_PNG_BITS = 24  # the byte of a PNG file that says how many bits a level has
_LARGE, _LARGE_PIXELS = threading.Lock(), 2**24
_PADDING = 64
# By the number of EXIF.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339
_SIXTEEN_BITS = 2**16 - 1
_EIGHT_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # of each level of 16 bits


class Unreadable(KvaeError):
    """These bytes are no image that can be used; the message says why."""


def decode(
    content: bytes, crop: str, image_size: int, channels: int = 3, *, binarize: bool = False
) -> np.ndarray:
    """Decode, crop and resize one image.

    What `crop` leaves is resized so that its shorter side has `image_size` pixels (bilinear with
    antialiasing, as Pillow's BILINEAR), and the centred square of that is kept. Transparent pixels
    are laid on white, 16-bit greys scaled to 8, rotations that EXIF or XMP tell undone, the first
    frame or page taken.

    Args:
        content: of a JPEG, PNG, WebP, BMP, GIF or TIFF file.
        crop: see `kvae.data.images.crops.box_of`.
        image_size: width and height in pixels.
        channels: 1 (grey) or 3 (RGB).
        binarize: whether all levels become 0 or 255 in the end.

    Returns:
        `(image_size, image_size, channels)`, uint8.

    Raises:
        Unreadable: no image, a damaged one, too large a one, or one that `crop` does not fit.
    """
    return fit(read(content), crop, image_size, channels, binarize=binarize)


def fit(
    image: Image.Image, crop: str, image_size: int, channels: int, *, binarize: bool = False
) -> np.ndarray:
    """Crop and resize an image of mode L or RGB. Arguments, returns and errors as for `decode`."""
    try:
        box = box_of(crop, image.width, image.height)
    except ValueError as error:
        raise Unreadable(str(error)) from error
    image = image.convert("L" if channels == 1 else "RGB")
    array = np.asarray(_resized(image, box, image_size, squeeze=crop == "none"))
    array = array.reshape(image_size, image_size, channels)
    return binary(array) if binarize else array


def read(content: bytes) -> Image.Image:
    """Decode a whole image, upright, of mode L or RGB.

    Args:
        content: of a file.

    Raises:
        Unreadable: see `decode`.
    """
    _refuse_other(content)
    try:
        content, orientation = metadata.bare(content)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise Unreadable(f"has more than {MAX_PIXELS:,} pixels")
            # Several of the largest at once would take gigabytes.
            with _LARGE if pixels > _LARGE_PIXELS else nullcontext():
                if image.format == "TIFF":
                    refuse_levels(image)
                image.load()
                if image.format == "PNG":
                    _scale_key(image, content[_PNG_BITS])
                stored = of_tiff(image) if image.format == "TIFF" else image
                return plain(upright(stored, orientation))
    except (Unreadable, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        known = ", ".join(FORMATS)
        if kind := metadata.format_of(content):
            levels = ": its levels must be unsigned (SampleFormat 1)" if kind == "TIFF" else ""
            raise Unreadable(
                f"is damaged, or a {kind} file of a kind that is not read{levels}"
            ) from None
        raise Unreadable(f"is not an image of a known format ({known})") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"has more than {MAX_PIXELS:,} pixels") from None
    # A file that was not written by an image program can make a decoder fail in any way.
    except Exception as error:
        raise Unreadable(f"is damaged: {str(error)[:100] or type(error).__name__}") from error


def _refuse_other(content: bytes) -> None:
    if not content:
        raise Unreadable("is empty")
    if content[:64].lstrip().startswith(b"<"):
        raise Unreadable("is a web page, not an image")
    # libjpeg draws what is left of a file that a broken download filled up with zeros, in grey.
    kept = content.rstrip(b"\0")
    is_jpeg = content.startswith(b"\xff\xd8")
    padded = is_jpeg and len(content) - len(kept) >= _PADDING
    # Within the pixels' data no such marker can stand.
    if padded and kept.rfind(_JPEG_END) <= kept.rfind(_JPEG_SCAN):
        raise Unreadable("is damaged: its end is filled with zeros")


def _scale_key(image: Image.Image, bits: int) -> None:
    """Bring the transparent colour of a PNG file to 8 bits, as Pillow brought the pixels alone."""
    key = image.info.get("transparency")
    if image.mode == "L" and bits < 8 and key is not None:
        largest = 2**bits - 1
        image.info["transparency"] = (key & largest) * 255 // largest
    elif image.mode == "RGB" and bits == 16 and key is not None:
        image.info["transparency"] = tuple(level >> 8 for level in key)


def refuse_levels(image: Image.Image) -> None:
    """Refuse a TIFF file whose levels are no shares of white: raise Unreadable."""
    bits = max(image.tag_v2.get(_TIFF_BITS, (1,)))  # type: ignore[attr-defined]
    kind = max(image.tag_v2.get(_TIFF_SAMPLE_FORMAT, (1,)))  # type: ignore[attr-defined]
    if bits > 16 or kind != 1:
        name = {2: "signed", 3: "floating-point"}.get(kind, "unsigned")
        raise Unreadable(
            f"is a TIFF file of {name} levels of {bits} bits, which have no agreed range: write "
            "unsigned levels of 8 or 16 bits"
        )


def of_tiff(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits of a loaded TIFF file as those of 16, white the highest."""
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.uint16)
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags[_TIFF_BITS][0]
    if bits < 16:
        levels = (levels.astype(np.uint32) * _SIXTEEN_BITS // (2**bits - 1)).astype(np.uint16)
    if tags.get(_TIFF_PHOTOMETRIC) == 0:
        levels = _SIXTEEN_BITS - levels
    return Image.fromarray(levels)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it was held, of an orientation of 1 to 8 as EXIF counts."""
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def plain(image: Image.Image) -> Image.Image:
    """The same picture in mode L or RGB: transparency on white, 16-bit greys scaled to 8.

    Raises:
        Unreadable: its levels have no agreed range.
    """
    if image.mode == "F":
        raise Unreadable("has floats for levels (mode F), which have no agreed range")
    if image.mode.startswith("I"):  # 16-bit greys, which convert() would clip at 255
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > _SIXTEEN_BITS:
            raise Unreadable(
                f"has levels from {levels.min()} to {levels.max()} (mode {image.mode}): wanted are "
                f"0 to {_SIXTEEN_BITS:,}, those of 16 bits"
            )
        scaled = _EIGHT_BITS[levels]
        scaled[levels == image.info.get("transparency")] = 255
        return Image.fromarray(scaled)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        return paper.convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _resized(
    image: Image.Image, box: tuple[int, int, int, int], image_size: int, *, squeeze: bool
) -> Image.Image:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    shorter = min(width, height)
    if squeeze or width == height:
        size = (image_size, image_size)
    else:
        size = (image_size * width // shorter, image_size * height // shorter)
    if (width, height) == size:
        resized = image.crop(box)
    else:
        # Cropped first: resize(box=) mixes pixels from beyond the box into its edges.
        resized = image.crop(box).resize(size, Image.Resampling.BILINEAR)
    if size == (image_size, image_size):
        return resized
    x, y = (round((side - image_size) / 2) for side in size)
    return resized.crop((x, y, x + image_size, y + image_size))
