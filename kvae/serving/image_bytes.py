"""From the bytes of image files to the pixels of `data.images.decoding`, inside a graph.

A served model is given what its user has, a photo, and sees the pixels that training saw: Pillow's
crop, resize and rounding to 256 levels are rebuilt from TensorFlow's operations. They differ by a
level or two of 255 where the two libraries round otherwise (resizing, decoding of JPEG files); of a
binarized model such a pixel may fall on the other side of the threshold.
"""

from typing import Any

import tensorflow as tf

from kvae.data.images.crops import CELEBA_HEIGHT, CELEBA_WIDTH, CROPS, box_of, is_crop
from kvae.data.images.decoding import MAX_REQUEST_PIXELS, MAX_SERVED_PIXELS
from kvae.data.images.metadata import (
    JPEG,
    MOST_SCANS,
    PNG,
    PNG_FIRST,
    PNG_KIND,
    PNG_PALETTE,
)
from kvae.data.images.pixels import HALF
from kvae.errors import UsageError
from kvae.inputs import as_float
from kvae.serving.image_metadata import (
    COLORS,
    TRANSPARENCY,
    as_adobe_wrote_it,
    bytes_at,
    has_few_scans,
    jpeg_segments,
    orientation_of_jpeg,
    orientation_of_png,
    png_chunks,
)

# In the first chunk: width and height (four bytes each, the high one first), bits, kind of colour.
_PNG_SIZE, _PNG_BITS = 16, 24
_PNG_GREY, _PNG_RGB, _PNG_GREY_ALPHA, _PNG_RGB_ALPHA = 0, 2, 4, 6
_CMYK = 4  # colours of a JPEG file
_LUMA, _LUMA_BITS = (19595, 38470, 7471), 16  # of ITU-R 601, as Pillow has them
_WHITE = 255
_AT_ONCE = 1  # images decoded side by side: the largest takes some 600 MB
_BAND_PIXELS = 2**19  # of the rows that are floats at a time


def images_of(
    content: Any, crop: str, image_size: int, channels: int, *, binarize: bool = False
) -> Any:
    """Decode, crop and resize image files, each on its own.

    Rotations that EXIF or XMP tell are undone, as `kvae.data.images.metadata` says, and transparent
    pixels laid on white.

    Args:
        content: `(batch,)` strings, the bytes of a JPEG or PNG file each.
        crop: see `kvae.data.images.crops.box_of`; but of those for aligned CelebA images of 178x218
            the centred square of an image of another size.
        image_size: width and height in pixels.
        channels: 1 (grey) or 3 (RGB).
        binarize: whether all levels become 0 or 1 in the end, at one half.

    Returns:
        `(batch, image_size, image_size, channels)` float32 in [0, 1]. In the graph a string that
        is neither, is damaged, has more than `MAX_SERVED_PIXELS` pixels or more than
        `kvae.data.images.metadata.MOST_SCANS` scans, or is too small for a box is an
        `InvalidArgumentError` of the whole batch, and so are more than `MAX_REQUEST_PIXELS` pixels
        in all. Sizes are those that the files claim: nothing is decoded before all are known.

    Raises:
        UsageError: there is no such crop.
    """
    if not is_crop(crop):
        raise UsageError(f"no such crop: {crop!r}")

    def one(content):
        image, see_through = _read(content)
        fitted = _fit(image, see_through, crop, image_size, channels)
        if binarize:
            fitted = tf.where(fitted >= HALF, tf.constant(_WHITE, tf.uint8), 0)
        return tf.ensure_shape(fitted, (image_size, image_size, channels))

    spec = tf.TensorSpec((image_size, image_size, channels), tf.uint8)
    with tf.control_dependencies([_of_bounded_sizes(content)]):
        content = tf.identity(content)
    levels = tf.map_fn(one, content, fn_output_signature=spec, parallel_iterations=_AT_ONCE)
    return as_float(levels)


def _of_bounded_sizes(contents):
    """Refuse files that are too large, each and in all, by what they claim."""
    pixels = tf.map_fn(_num_pixels, contents, fn_output_signature=tf.int64)
    total = tf.reduce_sum(pixels)
    return tf.debugging.Assert(
        total <= MAX_REQUEST_PIXELS,
        [
            f"the images of one request have more than {MAX_REQUEST_PIXELS:,} pixels in all, the "
            "most that are decoded: send fewer at a time; pixels, images:", total, tf.size(pixels),
        ],
    )  # fmt: skip


# Functions of their own are traced once, whatever the number of signatures and models.
@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _num_pixels(content):
    """Width times height, int64, of one file that may be decoded."""
    is_png, is_jpeg = _kinds(content)
    known = tf.debugging.Assert(
        is_png | is_jpeg,
        [
            "neither a JPEG nor a PNG file, which are read; convert others, as WebP, TIFF, GIF or "
            "HEIC; bytes:", tf.strings.length(content),
        ],
    )  # fmt: skip
    with tf.control_dependencies([known]):
        width, height = tf.cond(is_png, lambda: _png_size(content), lambda: _jpeg_size(content))
    bounded = tf.debugging.Assert(
        (width > 0) & (height > 0) & (width * height <= MAX_SERVED_PIXELS),
        [
            f"an image has no pixels, or more than {MAX_SERVED_PIXELS:,} pixels (width, height):",
            width,
            height,
        ],
    )
    with tf.control_dependencies([bounded]):
        return width * height


def _kinds(content):
    """Whether a file is a PNG, whether it is a JPEG, by its first bytes."""
    return [tf.equal(tf.strings.substr(content, 0, len(mark)), mark) for mark in (PNG, JPEG)]


def _png_size(content):
    # libpng takes other chunks before it, whose bytes would be taken for the size.
    first = tf.strings.substr(content, len(PNG), len(PNG_FIRST)) == PNG_FIRST
    told = tf.debugging.Assert(first, ["a PNG file does not begin with its size (IHDR)"])
    with tf.control_dependencies([told]):
        size = bytes_at(content, _PNG_SIZE, 8)
    return _big_endian(size[:4]), _big_endian(size[4:])


def _jpeg_size(content):
    few = tf.debugging.Assert(
        has_few_scans(content), [f"a JPEG file has more than {MOST_SCANS} scans"]
    )
    with tf.control_dependencies([few]):
        shape = tf.cast(tf.io.extract_jpeg_shape(content), tf.int64)
    return shape[1], shape[0]


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _read(content):
    """One file of bounded size, upright.

    Returns:
        `(height, width, 3 or 4)` uint8, the fourth the opacity; whether it matters.
    """
    is_png, _ = _kinds(content)
    return tf.cond(is_png, lambda: _png(content), lambda: _jpeg(content))


def _png(content):
    head = bytes_at(content, 0, PNG_KIND + 1)
    kind, bits = head[PNG_KIND], head[_PNG_BITS]
    chunks = png_chunks(content, kind)
    colors, transparency = chunks[COLORS], chunks[TRANSPARENCY]
    with tf.control_dependencies([_of_known_transparency(kind, colors[1], transparency[1])]):
        image = tf.io.decode_png(content, channels=4)
    image = tf.cond(
        (kind == _PNG_GREY) & (bits == 16),
        lambda: tf.concat([_grey_of_16_bits(content), image[..., 3:]], -1),
        lambda: image,
    )
    has_key = transparency[1] > 0
    image = tf.cond(
        (kind == _PNG_RGB) & (bits == 16) & has_key,
        lambda: _without_key(image, bytes_at(content, transparency[0], 6)[::2]),
        lambda: image,
    )
    # TensorFlow 2.21 makes pixels of fewer than 8 bits nearly transparent that have no opacity.
    see_through = has_key | (kind == _PNG_GREY_ALPHA) | (kind == _PNG_RGB_ALPHA)
    return _upright(image, orientation_of_png(content, chunks)), see_through


def _of_known_transparency(kind, colors, transparency):
    """Refuse what libpng passes over but Pillow reads."""
    wrong = (
        ((kind == _PNG_GREY) & (transparency != 2))
        | ((kind == _PNG_RGB) & (transparency != 6))
        | ((kind == PNG_PALETTE) & (transparency > colors // 3))
    )
    return tf.debugging.Assert(
        (transparency == 0) | ~wrong,
        ["a PNG file's transparency (tRNS) does not fit its colours; bytes:", transparency],
    )


def _grey_of_16_bits(content):
    """RGB of 8 bits, rounded as in `decoding.plain`; TensorFlow would cut."""
    levels = tf.cast(tf.io.decode_png(content, channels=1, dtype=tf.uint16), tf.int32)
    return tf.repeat(tf.cast((levels + 128) // 257, tf.uint8), 3, axis=-1)


def _without_key(image, key):
    """Transparent where the colour, of 8 bits, is the key, as Pillow compares 16-bit colours."""
    colors = image[..., :3]
    is_key = tf.reduce_all(colors == key, axis=-1, keepdims=True)
    opacity = tf.where(is_key, tf.constant(0, tf.uint8), tf.constant(_WHITE, tf.uint8))
    return tf.concat([colors, opacity], -1)


def _on_white(image):
    colors, opacity = (tf.cast(part, tf.uint16) for part in (image[..., :3], image[..., 3:]))
    blended = colors * opacity + _WHITE * (255 - opacity)
    return tf.cast((blended + 127) // 255, tf.uint8)


def _jpeg(content):
    segments = jpeg_segments(content)
    # Pillow takes all files of four colours for Adobe's.
    is_cmyk = tf.io.extract_jpeg_shape(content)[2] == _CMYK
    file = tf.cond(is_cmyk, lambda: as_adobe_wrote_it(content, segments), lambda: content)
    image = tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE")
    return _upright(image, orientation_of_jpeg(content, segments)), tf.constant(False)


def _big_endian(values):
    total = tf.constant(0, tf.int64)
    for value in tf.unstack(tf.cast(values, tf.int64)):
        total = total * 256 + value
    return total


def _upright(image, orientation):
    """Undo an EXIF orientation: transpose, then flip sideways, then upside down."""

    def when(flag, change, image):
        return tf.cond(flag, lambda: change(image), lambda: image)

    def one_of(*orientations):
        return tf.reduce_any(orientation == tf.constant(orientations, tf.int64))

    image = when(one_of(5, 6, 7, 8), lambda image: tf.transpose(image, (1, 0, 2)), image)
    image = when(one_of(2, 3, 6, 7), lambda image: tf.reverse(image, [1]), image)
    return when(one_of(3, 4, 7, 8), lambda image: tf.reverse(image, [0]), image)


def _grey(image):
    weighed = tf.cast(image, tf.int32) * tf.constant(_LUMA)
    luma = tf.reduce_sum(weighed, axis=-1, keepdims=True) + 2 ** (_LUMA_BITS - 1)
    return tf.cast(tf.bitwise.right_shift(luma, _LUMA_BITS), tf.uint8)


def _fit(image, see_through, crop, image_size, channels):
    shape = tf.shape(image)
    left, top, right, bottom = _box(crop, shape[1], shape[0])
    width, height = right - left, bottom - top
    if crop == "none":
        target_width = target_height = tf.constant(image_size)
    else:
        shorter = tf.minimum(width, height)
        target_width, target_height = (image_size * side // shorter for side in (width, height))

    def narrow(start, stop):
        """Some rows of what is kept, of the target's width."""
        band = image[top + start : top + stop, left:right]
        band = tf.cond(see_through, lambda: _on_white(band), lambda: band[..., :3])
        return _resized(_grey(band) if channels == 1 else band, stop - start, target_width)

    # Pillow rounds between the passes too.
    levels = _in_bands(narrow, height, tf.maximum(1, _BAND_PIXELS // width), channels)
    levels = _resized(levels, target_height, target_width)
    x, y = (
        # Halves go to the even number, as Python's round does.
        tf.cast(tf.round(tf.cast(side - image_size, tf.float32) / 2.0), tf.int32)
        for side in (target_width, target_height)
    )
    return levels[y : y + image_size, x : x + image_size]


def _in_bands(of_rows, height, size, channels):
    """What `of_rows(start, stop)` makes of all rows, of `size` at a time: floats take much."""
    shape = (None, None, channels)
    found = tf.TensorArray(tf.uint8, -(-height // size), infer_shape=False, element_shape=shape)

    def step(number, found):
        start = number * size
        return number + 1, found.write(number, of_rows(start, tf.minimum(start + size, height)))

    _, found = tf.while_loop(
        lambda number, _: number * size < height, step, (0, found), parallel_iterations=1
    )
    return tf.ensure_shape(found.concat(), shape)


def _resized(image, height, width):
    resized = tf.image.resize(image, [height, width], "bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.floor(resized + 0.5), 0.0, 255.0), tf.uint8)


def _box(crop, width, height):
    """`crops.box_of` for sizes that are tensors."""
    if crop == "none":
        return 0, 0, width, height
    side = tf.minimum(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    centre = (left, top, left + side, top + side)
    if crop == "center":
        return centre
    if crop in CROPS:
        own = box_of(crop, CELEBA_WIDTH, CELEBA_HEIGHT)
        aligned = (width == CELEBA_WIDTH) & (height == CELEBA_HEIGHT)
        return tuple(tf.where(aligned, *sides) for sides in zip(own, centre, strict=True))
    left, top, right, bottom = map(int, crop.split(","))
    reaches = tf.debugging.Assert(
        (right <= width) & (bottom <= height),
        [f"an image is too small for the crop {crop} (width, height):", width, height],
    )
    with tf.control_dependencies([reaches]):
        return tuple(tf.identity(side) for side in (left, top, right, bottom))
