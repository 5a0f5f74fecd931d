"""From a split's rows to batches for `fit` and `evaluate`."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def batches(x: np.ndarray, batch_size: int, *, shuffle_seed: int | None) -> "tf.data.Dataset":
    """Batches of `x` alone, in its own dtype (uint8 images are scaled by the model).

    Args:
        x: `(rows, ...)`, at least one row: vectors in memory, or images in memory or in a memory
            map, of which only the rows of a few batches are ever in memory.
        batch_size: rows of a batch, at least 1.
        shuffle_seed: for training: each pass is a full shuffle in a new order, and a last
            incomplete batch is dropped, so that all batches have one static shape (that of all
            rows if there are fewer than `batch_size`). The orders follow from this seed (together
            with TensorFlow's global seed, where one was set). None, for evaluation: the rows in
            order, every one of them.

    Returns:
        Dataset of tensors `(batch, ...)` with known cardinality.
    """
    import tensorflow as tf

    training = shuffle_seed is not None
    rows = tf.data.Dataset.range(len(x))
    if training:
        rows = rows.shuffle(len(x), seed=shuffle_seed, reshuffle_each_iteration=True)
    rows = rows.batch(min(batch_size, len(x)), drop_remainder=training)
    gather = _gather_from_tensor(x) if x.ndim == 2 else _gather_from_array(x)
    dataset = rows.map(gather).prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)


def _gather_from_tensor(x):
    import tensorflow as tf

    with tf.device("CPU:0"):
        table = tf.constant(x)
    return lambda rows: tf.gather(table, rows)


def _gather_from_array(x):
    import tensorflow as tf

    array = np.asarray(x)  # of a memory map a view, still on disk

    def gather(rows):
        images = tf.numpy_function(lambda i: array[i], [rows], array.dtype, stateful=False)
        images.set_shape([*rows.shape, *array.shape[1:]])
        return images

    return gather
