"""What a network answers about no rows.

TensorFlow's convolutions by oneDNN, which a server with AVX-512 uses whatever kvae asks for, answer
no rows in the shape of their input, and what follows fails for it (seen with TensorFlow 2.21).
"""

import keras


def answered(network, x, training):
    """`network(x, training=training)`; also of no rows, and of a number that the graph will know.

    Args:
        network: a Keras model, `(batch, ...)` -> `(batch, ...)`.
        x: its input.
        training: as in Keras.
    """
    if keras.backend.backend() != "tensorflow":
        return network(x, training=training)
    import tensorflow as tf

    if x.shape[0] or isinstance(x, keras.KerasTensor):
        return network(x, training=training)
    rows = tf.shape(x)[0]
    more = [[0, tf.cast(rows == 0, tf.int32)], *[[0, 0]] * (len(x.shape) - 1)]
    return network(tf.pad(x, more), training=training)[:rows]
