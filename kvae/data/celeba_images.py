"""From aligned CelebA JPEGs to small uint8 images: the one way that all paths share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kvae.data.crops import CROPS
from kvae.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

WIDTH, HEIGHT = 178, 218
# Part of the cache's key: raise it with every change that changes a pixel.
DECODING_VERSION = 1
BATCH_SIZE = 256


def crop_and_resize(image: "tf.Tensor", crop: str, image_size: int) -> "tf.Tensor":
    """Cut the box `crop` out, resize its shorter side to `image_size`, keep the centred square.

    Bilinear with antialiasing, rounded to whole grey levels: within one level of PIL's BILINEAR.

    Args:
        image: `(218, 178, channels)`, uint8.
        crop: a key of CROPS.
        image_size: pixels.

    Returns:
        `(image_size, image_size, channels)`, uint8.
    """
    import tensorflow as tf

    left, top, right, bottom = CROPS[crop]
    width, height = right - left, bottom - top
    shorter = min(width, height)
    size = (image_size * height // shorter, image_size * width // shorter)
    box = image[top:bottom, left:right]
    resized = tf.image.resize(box, size, method="bilinear", antialias=True)
    y, x = (round((side - image_size) / 2) for side in size)
    square = resized[y : y + image_size, x : x + image_size]
    return tf.cast(tf.clip_by_value(tf.round(square), 0.0, 255.0), tf.uint8)


def decode(paths: list[str], crop: str, image_size: int) -> Iterator[np.ndarray]:
    """Decode, crop and resize JPEGs in parallel, in the order of `paths`.

    Args:
        paths: of 178x218 JPEGs.
        crop: a key of CROPS.
        image_size: pixels.

    Yields:
        uint8 `(up to 256, image_size, image_size, 3)`.

    Raises:
        DataError: a file cannot be read, is no JPEG, is cut short, or is not 178x218: its name.
    """
    import tensorflow as tf

    def image(path):
        return crop_and_resize(_read(path), crop, image_size)

    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    done = 0
    try:
        for batch in dataset.batch(BATCH_SIZE).prefetch(2).as_numpy_iterator():
            yield batch
            done += len(batch)
    except tf.errors.OpError as error:
        # The error does not say which file; the order is kept, so it is in the batch to come.
        faults = filter(None, map(_fault, paths[done : done + BATCH_SIZE]))
        raise DataError(next(faults, f"cannot decode the images: {error.message}")) from error


def _read(path: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    content = tf.io.read_file(path)
    shape = tf.io.extract_jpeg_shape(content)
    tf.debugging.assert_equal(shape[:2], (HEIGHT, WIDTH))
    # The whole image, though only a box is used: decode_and_crop_jpeg is hardly faster, and takes
    # files that are cut short or filled up with zeros for good ones, with wrong pixels in the box.
    # INTEGER_ACCURATE equals PIL bit for bit; TensorFlow's default is 0.8 grey levels darker.
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


def _fault(path: str) -> str:
    import tensorflow as tf

    try:
        height, width = tf.io.extract_jpeg_shape(tf.io.read_file(path)).numpy()[:2]
        if (height, width) != (HEIGHT, WIDTH):
            return f"{path} is {width}x{height}: wanted the aligned images of {WIDTH}x{HEIGHT}"
        _read(path)
    except tf.errors.InvalidArgumentError:
        return f"{path} is damaged or not a JPEG: replace it from a good copy, or delete it"
    except tf.errors.OpError as error:
        return f"cannot read {path}: {error.message}"
    return ""
