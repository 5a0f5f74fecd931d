"""Strided convolutions and their mirror: the network of the student report, for any image size.

At 64x64: Conv2D 4x4 with stride 2 and 32, 32, 64, 64 filters down to 4x4, a last convolution with
256 filters to a vector, a linear head; and back with Conv2DTranspose.

The last convolution covers the whole map, and its mirror starts from one pixel: both are written as
the dense layers that they are, which the CPU runs about ten times faster (the mirror gets a bias
for each place).
"""

import math

import keras

from kvae.networks.head import Head
from kvae.networks.sizes import cropped, num_halvings, small_size

_VECTOR = 256


def _filters(num_halvings):
    """Filters of each halving, from the image inwards: 32 in the first half, 64 in the second."""
    return [32 if 2 * i < num_halvings - 1 else 64 for i in range(num_halvings)]


def encoder(element_shape, latent_dim, num_params, *, dtype):
    """See `kvae.networks`."""
    del latent_dim
    layers = keras.layers
    inputs = x = keras.Input(element_shape, name="x")
    for filters in _filters(num_halvings(element_shape)):
        x = layers.Conv2D(
            filters, 4, strides=2, padding="same", activation="relu",
            kernel_initializer="he_normal", dtype=dtype,
        )(x)  # fmt: skip
    x = layers.Flatten(dtype=dtype)(x)
    x = layers.Dense(_VECTOR, activation="relu", kernel_initializer="he_normal", dtype=dtype)(x)
    outputs = layers.Dense(num_params, dtype="float32", name="posterior")(x)
    return keras.Model(inputs, outputs, name="encoder")


def decoder(latent_dim, element_shape, num_outputs, *, dtype):
    """See `kvae.networks`."""
    layers = keras.layers
    inputs = keras.Input((latent_dim,), name="latent")
    x = layers.Dense(_VECTOR, activation="relu", kernel_initializer="he_normal", dtype=dtype)(
        inputs
    )
    filters = _filters(num_halvings(element_shape))[::-1]
    smallest = (*small_size(element_shape, num_halvings(element_shape)), filters[0])
    # He's scale for the transposed convolution that this is: a larger start costs digits 3.5 nats.
    start = keras.initializers.VarianceScaling(2.0 * _VECTOR / math.prod(smallest))
    x = layers.Dense(math.prod(smallest), activation="relu", kernel_initializer=start, dtype=dtype)(
        x
    )
    x = layers.Reshape(smallest, dtype=dtype)(x)
    for count in filters[1:]:
        x = layers.Conv2DTranspose(
            count, 4, strides=2, padding="same", activation="relu",
            kernel_initializer="he_normal", dtype=dtype,
        )(x)  # fmt: skip
    x = Head(num_outputs, dtype="float32", name="likelihood")(x)
    return keras.Model(inputs, cropped(x, element_shape), name="decoder")
