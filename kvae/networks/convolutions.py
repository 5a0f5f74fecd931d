"""Convolutions with a gradient by weights of their own, where oneDNN is slow for it.

In bfloat16, on maps of few pixels with many channels, oneDNN takes up to seven times as long for
that gradient as it could. It is a sum over pixels: one matrix product for each place of the kernel,
or of a kernel in steps of 2 for each square of four places, which `space_to_depth` puts side by
side. Results, weights and the other gradient stay as they are.
"""

import math

import keras

from kvae.networks.head import on_cpu_of_tensorflow

#: Pixels of the smaller map, and channels on either side, from which on products gain.
_GAINS = ((16, 64), (64, 256))
_FORM = {"padding": "same", "dilation_rate": (1, 1), "data_format": "channels_last", "groups": 1,
         "output_padding": None}  # fmt: skip


@keras.saving.register_keras_serializable(package="kvae")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, in bfloat16 on small maps trained in less time by a CPU.

    Weights, results (to rounding), arguments and errors are those of Keras's layer.
    """

    def call(self, inputs, training=False):
        """`(batch, height, width, channels)` -> `(batch, ..., filters)`."""
        places = [
            -(-(size or math.inf) // step)
            for size, step in zip(inputs.shape[1:3], self.strides, strict=True)
        ]
        if not (training and _is_quick(self, places, inputs.shape[-1])):
            return super().call(inputs)
        return _activated(self, _convolved, inputs)


@keras.saving.register_keras_serializable(package="kvae")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, in bfloat16 on small maps trained in less time by a CPU.

    Weights, results (to rounding), arguments and errors are those of Keras's layer.
    """

    def call(self, inputs, training=False):
        """`(batch, height, width, channels)` -> `(batch, ..., filters)`."""
        places = [size or math.inf for size in inputs.shape[1:3]]
        if not (training and _is_quick(self, places, inputs.shape[-1])):
            return super().call(inputs)
        return _activated(self, _transposed, inputs)


def _is_quick(layer, places, channels):
    """Whether products gain: `places` are the height and width of the smaller map."""
    steps, sides = layer.strides, layer.kernel_size
    return (
        layer.compute_dtype == "bfloat16"
        and steps[0] == steps[1]
        and min(sides) >= steps[0]
        and all(getattr(layer, name, only) == only for name, only in _FORM.items())
        and any(
            math.prod(places) <= pixels and min(channels, layer.filters) >= enough
            for pixels, enough in _GAINS
        )
        and on_cpu_of_tensorflow()
    )


def _activated(layer, convolve, inputs):
    import tensorflow as tf

    outputs = convolve(inputs, tf.convert_to_tensor(layer.kernel), layer.strides[0])
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(layer.bias))
    return layer.activation(outputs)


def _convolved(x, kernel, step):
    """x convolved with a kernel `(side, side, channels, filters)`, "same"."""
    import tensorflow as tf

    @tf.custom_gradient
    def of(x, kernel):
        return tf.nn.conv2d(x, kernel, step, "SAME"), lambda upstream: (
            tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), step, "SAME"),
            gradient_by_kernel(x, upstream, kernel.shape[:2], step),
        )

    return of(x, kernel)


def _transposed(x, kernel, step):
    """The transposed convolution of x with a kernel `(side, side, filters, channels)`, "same"."""
    import tensorflow as tf

    rows, height, width = (tf.shape(x)[axis] for axis in range(3))
    shape = (rows, height * step, width * step, kernel.shape[2])

    @tf.custom_gradient
    def of(x, kernel):
        return tf.nn.conv2d_transpose(x, kernel, shape, step, "SAME"), lambda upstream: (
            tf.nn.conv2d(upstream, kernel, step, "SAME"),
            gradient_by_kernel(upstream, x, kernel.shape[:2], step),
        )

    return of(x, kernel)


def gradient_by_kernel(x, upstream, sides, step):
    """The gradient of a convolution, "same", by its kernel.

    Args:
        x: `(batch, height, width, channels)`, static but for the batch.
        upstream: `(batch, height / step, width / step, filters)`, rounded up.
        sides: of the kernel, at least `step` each.
        step: 1 or more, the same both ways.

    Returns:
        `(*sides, channels, filters)`.
    """
    import tensorflow as tf

    channels, filters, places = x.shape[-1], upstream.shape[-1], upstream.shape[1:3]
    squares = [-(-side // step) for side in sides]
    margins = []
    for size, count, side, square in zip(x.shape[1:3], places, sides, squares, strict=True):
        before = max((count - 1) * step + side - size, 0) // 2  # as "same" has it
        margins.append([before, (count - 1 + square) * step - size - before])
    x = tf.pad(x, [[0, 0], *margins, [0, 0]])
    x = x if step == 1 else tf.nn.space_to_depth(x, step)
    flat = tf.reshape(upstream, (-1, filters))
    parts = [
        tf.reshape(
            x[:, row : row + places[0], column : column + places[1]], (-1, step**2 * channels)
        )
        for row in range(squares[0])
        for column in range(squares[1])
    ]
    found = tf.stack([tf.matmul(part, flat, transpose_a=True) for part in parts])
    found = tf.reshape(found, (*squares, step, step, channels, filters))
    whole = [square * step for square in squares]
    found = tf.reshape(tf.transpose(found, (0, 2, 1, 3, 4, 5)), (*whole, channels, filters))
    return found[: sides[0], : sides[1]]
