"""From a split's rows to batches for `fit` and `evaluate`."""

import math
from typing import TYPE_CHECKING

import numpy as np

from kvae.data.conditions import Conditioned
from kvae.data.images.binarization import epoch_draws
from kvae.data.rows import MOST_NUMBERS

if TYPE_CHECKING:
    import tensorflow as tf

# Of an epoch that is not one block: 16 MB as float32, of which some are held at once.
_BLOCK_NUMBERS = 2**22


def batches(x: np.ndarray, batch_size: int) -> "tf.data.Dataset":
    """Batches of `x` alone, in order, every row once.

    Args:
        x: `(rows, ...)`, at least one row: vectors in memory, or images in memory or in a memory
            map, of which only the rows of a few batches are ever in memory. uint8 images stay
            uint8 (the model scales them). `Conditioned` rows give pairs (x, condition), and what
            is said of tensors here is said of both.
        batch_size: rows of a batch, at least 1.

    Returns:
        Dataset of tensors `(batch, ...)` with known cardinality.
    """
    import tensorflow as tf

    rows = tf.data.Dataset.range(len(x)).batch(min(batch_size, len(x)))
    return _gathered(rows, x)


def num_blocks(x: np.ndarray, batch_size: int) -> int:
    """Blocks of an epoch of `shuffled_batches`: one, or several where it has over 2^24 numbers."""
    batch = min(batch_size, len(x))
    return -(-(len(x) // batch) // _steps_of_block(x, batch))


def shuffled_batches(
    x: np.ndarray, batch_size: int, seed: int, *, block: bool = False, flip: bool = False,
    first_epoch: int = 0, first_batch: int = 0, grey: np.ndarray | None = None,
) -> "tf.data.Dataset":  # fmt: skip
    """Batches of `x` for training, without end: for `fit` with `steps_per_epoch`.

    Each epoch is a full shuffle, a function of (seed, number of the epoch) alone. Its last
    incomplete batch is dropped, so that all batches have one static shape (that of all rows if
    there are fewer than `batch_size`).

    Args:
        x: see `batches`.
        batch_size: rows of a batch, at least 1.
        seed: of the orders.
        block: vectors by blocks of batches, see `num_blocks`: those of an epoch as one tensor where
            they are few.
        flip: mirror each image, left to right, with probability one half; not of blocks.
        first_epoch: the number of the epoch to begin with, from 0.
        first_batch: that of the batch in it; not of blocks.
        grey: `(rows, ...)`, what each epoch draws x anew from, 0 and 1, see
            `kvae.data.images.binarization.epoch_draws`: of x its condition alone is read. None: x
            itself.

    Raises:
        ValueError: `flip` for what is no image.

    Returns:
        Endless dataset of tensors `(batch, ...)`, `len(x) // batch_size` of them an epoch, 1 at
        least; as blocks tensors `(steps, batch, ...)`, `num_blocks` of them an epoch.
    """
    import tensorflow as tf

    if flip and (block or x.ndim != 4):
        raise ValueError(f"flip is for single batches of images, received x of shape {x.shape}")
    count = len(x)
    batch = min(batch_size, count)
    steps = count // batch

    @tf.autograph.experimental.do_not_convert
    def order(epoch):
        rows = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), tf.stack([tf.cast(seed, tf.int64), epoch])
        )
        return tf.reshape(rows[: steps * batch], (steps, batch))

    orders = tf.data.Dataset.counter(first_epoch).map(order)
    # Of blocks, one waits while another is trained on; more would hold the data many times.
    if block:
        most = _steps_of_block(x, batch)
        if most < steps:
            slices = tf.data.Dataset.from_tensor_slices
            orders = orders.flat_map(lambda rows: slices(rows).batch(most))
        calls = -(-steps // most)
        draw = None if grey is None else _draw(grey, seed, calls, first_epoch * calls)
        return _gathered(orders, x, ahead=1, draw=draw)
    first = first_epoch * steps + first_batch
    mirror = (seed, first) if flip else None
    draw = None if grey is None else _draw(grey, seed, steps, first)
    return _gathered(orders.unbatch().skip(first_batch), x, mirror=mirror, draw=draw)


def _steps_of_block(x, batch):
    """The most batches of a block: all of an epoch, or few where it is large."""
    steps, of_step = len(x) // batch, batch * math.prod(x.shape[1:])
    return steps if steps * of_step <= MOST_NUMBERS else max(1, _BLOCK_NUMBERS // of_step)


def _gathered(rows, x, ahead=None, mirror=None, draw=None):
    """The rows of `x` for each batch of row numbers, some batches ahead (None: as TF sees fit).

    With `mirror`, a seed and the number of the first batch, some of them are mirrored. `draw`, of
    `_draw`, makes them of row numbers in place of x.
    """
    import tensorflow as tf

    x, condition = (x.x, x.condition) if isinstance(x, Conditioned) else (x, None)
    dataset = rows.map(_gather(x)) if draw is None else draw(rows)
    if mirror is not None:
        seed, first = mirror
        dataset = tf.data.Dataset.zip(tf.data.Dataset.counter(first), dataset).map(_mirror(seed))
    if condition is not None:
        dataset = tf.data.Dataset.zip(dataset, rows.map(_gather(condition)))
    dataset = dataset.prefetch(ahead or tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)


def _draw(grey, seed, calls, first):
    """A function of the row numbers of batches or blocks, so many of an epoch: what is drawn.

    Args:
        grey: `(rows, ...)`.
        seed: of the draws.
        calls: batches or blocks of an epoch.
        first: the number of the first of them.
    """
    import tensorflow as tf

    grey = np.asarray(grey)  # of a memory map a view, still on disk

    @tf.autograph.experimental.do_not_convert
    def draw(call, rows):
        found = tf.numpy_function(
            lambda own, epoch: epoch_draws(grey, own, seed, epoch), [rows, call // calls],
            grey.dtype, stateful=False,
        )  # fmt: skip
        found.set_shape([*rows.shape, *grey.shape[1:]])
        return found

    return lambda rows: tf.data.Dataset.zip(tf.data.Dataset.counter(first), rows).map(draw)


def _mirror(seed):
    """Mirror some images of batch number `step`."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def mirror(step, images):
        # The order of the rows comes from (seed, epoch), of small numbers: these are others.
        pair = tf.stack([tf.cast(seed, tf.int64), -1 - step])
        chosen = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), pair) < 0.5
        # tf.reverse, because a slice with step -1 takes ten times as long.
        return tf.where(chosen, tf.reverse(images, [2]), images)

    return mirror


def _gather(x):
    """Rows of an array by their numbers; many stay where they are: a tensor is a copy."""
    is_small = x.ndim == 2 and x.size <= MOST_NUMBERS
    return _gather_from_tensor(x) if is_small else _gather_from_array(x)


def _gather_from_tensor(x):
    import tensorflow as tf

    with tf.device("CPU:0"):
        table = tf.constant(x)

    @tf.autograph.experimental.do_not_convert
    def gather(rows):
        return tf.gather(table, rows)

    return gather


def _gather_from_array(x):
    import tensorflow as tf

    array = np.asarray(x)  # of a memory map a view, still on disk

    @tf.autograph.experimental.do_not_convert
    def gather(rows):
        found = tf.numpy_function(lambda i: array[i], [rows], array.dtype, stateful=False)
        found.set_shape([*rows.shape, *array.shape[1:]])
        return found

    return gather
