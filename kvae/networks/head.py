"""The last layer of a decoder, which oneDNN's transposed convolution is slow for.

To 3 channels it runs at a fifth of the speed that it reaches for 32, for want of channels to put
side by side. A transposed convolution of 4x4 with stride 2 is a 2x2 convolution to four times the
channels, one for each of the four pixels that stand where one stood, which `depth_to_space` then
puts in their places. Its gradients are fast as they are.

Source: Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
arXiv:1609.07009, 2016.
"""

from functools import cache

import keras

from kvae.errors import UsageError

#: What `Head.call` computes, and nothing else.
_FORM = {
    "kernel_size": (4, 4), "strides": (2, 2), "padding": "same", "output_padding": None,
    "dilation_rate": (1, 1), "use_bias": True, "data_format": "channels_last",
}  # fmt: skip
_FEW = 12  # channels; at 16 both ways take the same time


@keras.saving.register_keras_serializable(package="kvae")
class Head(keras.layers.Conv2DTranspose):
    """A transposed convolution 4x4 with stride 2, "same" padding and a bias: doubles an image.

    Weights, results (to rounding) and options are those of `keras.layers.Conv2DTranspose`. Under
    TensorFlow without a GPU few channels are computed as a convolution to four times as many.

    Args:
        filters: channels of the output.
        kernel_size: 4.
        strides: 2.
        padding: "same".
        **kwargs: see `keras.layers.Conv2DTranspose`.

    Raises:
        UsageError: another kernel, stride, padding or layout, or no bias.
    """

    def __init__(self, filters, kernel_size=4, strides=2, padding="same", **kwargs):
        super().__init__(filters, kernel_size, strides=strides, padding=padding, **kwargs)
        for name, only in _FORM.items():
            if getattr(self, name) != only:
                raise UsageError(f"Head: {name} is {only!r} only; received {getattr(self, name)!r}")

    def call(self, inputs, training=False):
        """`(batch, height, width, channels)` -> `(batch, 2 height, 2 width, filters)`."""
        if self.filters > _FEW or not on_cpu_of_tensorflow():
            return super().call(inputs)
        import tensorflow as tf

        kernel, bias = (tf.convert_to_tensor(weight) for weight in (self.kernel, self.bias))
        # Own gradients put an IdentityN into a graph, which is of no use to a published version.
        outputs = (_with_fast_gradients() if training else _doubled)(inputs, kernel)
        return self.activation(tf.nn.bias_add(outputs, bias))


def on_cpu_of_tensorflow():
    """Whether TensorFlow computes, and sees no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _doubled(x, kernel):
    """The transposed convolution of x with a kernel `(4, 4, filters, channels)`, without a bias."""
    import tensorflow as tf

    _, _, filters, channels = kernel.shape
    # Row 2i + j of the kernel is tap 1 - i of the pixels whose place in their square is j.
    taps = tf.reverse(tf.reshape(kernel, (2, 2, 2, 2, filters, channels)), [0, 2])
    taps = tf.reshape(tf.transpose(taps, (0, 2, 5, 1, 3, 4)), (2, 2, channels, 4 * filters))
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    doubled = tf.nn.depth_to_space(tf.nn.conv2d(padded, taps, 1, "VALID"), 2)
    return doubled[:, 1:-1, 1:-1]


@cache
def _with_fast_gradients():
    """`_doubled` with the gradients of the transposed convolution."""
    import tensorflow as tf

    @tf.custom_gradient
    def doubled(x, kernel):
        def gradient(upstream):
            of_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=upstream, filter_sizes=kernel.shape, out_backprop=x,
                strides=[1, 2, 2, 1], padding="SAME",
            )  # fmt: skip
            return tf.nn.conv2d(upstream, kernel, 2, "SAME"), of_kernel

        return _doubled(x, kernel), gradient

    return doubled
