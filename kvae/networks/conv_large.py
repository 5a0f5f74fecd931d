"""The network of the WAE and RAE papers, for any image size.

Encoder: four 5x5 convolutions with stride 2 and 128, 256, 512, 1024 filters, each with batch
normalisation and a rectifier, and a linear head. Decoder: a dense layer to a map of 1024 channels,
8x8 for 64x64 images, three 5x5 transposed convolutions with stride 2 and 512, 256, 128 filters, and
a last one with stride 1. The papers end in a sigmoid; here the head is linear, as of all networks.

Source: Ghosh et al., "From variational to deterministic autoencoders", ICLR 2020, appendix C; after
Tolstikhin et al., "Wasserstein auto-encoders", ICLR 2018.
"""

import math

import keras

from kvae.networks.convolutions import Conv2D, Conv2DTranspose
from kvae.networks.sizes import cropped, small_size

_FILTERS = (128, 256, 512, 1024)
# Keras's 0.99 would still remember the untrained net after an epoch of a small data set.
_MOMENTUM = 0.9


def _normalised(x, dtype):
    x = keras.layers.BatchNormalization(momentum=_MOMENTUM, dtype=dtype)(x)
    return keras.layers.Activation("relu", dtype=dtype)(x)


def encoder(element_shape, latent_dim, num_params, *, dtype):
    """See `kvae.networks`."""
    del latent_dim
    layers = keras.layers
    inputs = x = keras.Input(element_shape, name="x")
    for filters in _FILTERS:
        x = Conv2D(
            filters, 5, strides=2, padding="same", use_bias=False,
            kernel_initializer="he_normal", dtype=dtype,
        )(x)  # fmt: skip
        x = _normalised(x, dtype)
    x = layers.Flatten(dtype=dtype)(x)
    outputs = layers.Dense(num_params, dtype="float32", name="posterior")(x)
    return keras.Model(inputs, outputs, name="encoder")


def decoder(latent_dim, element_shape, num_outputs, *, dtype):
    """See `kvae.networks`."""
    layers = keras.layers
    inputs = keras.Input((latent_dim,), name="latent")
    *doublings, last = _FILTERS[::-1]
    smallest = (*small_size(element_shape, len(doublings)), doublings[0])
    x = layers.Dense(math.prod(smallest), kernel_initializer="he_normal", dtype=dtype)(inputs)
    x = _normalised(layers.Reshape(smallest, dtype=dtype)(x), dtype)
    for filters in (*doublings[1:], last):
        x = Conv2DTranspose(
            filters, 5, strides=2, padding="same", use_bias=False,
            kernel_initializer="he_normal", dtype=dtype,
        )(x)  # fmt: skip
        x = _normalised(x, dtype)
    x = layers.Conv2DTranspose(num_outputs, 5, padding="same", dtype="float32", name="likelihood")(
        x
    )
    return keras.Model(inputs, cropped(x, element_shape), name="decoder")
