"""Residual blocks, for any image size; no row of a batch depends on another.

The encoder halves the image until its longer side is at most 4, doubling the channels from `width`
up to eight times that; the decoder mirrors it. At every size of map but the largest, where they
cost the most, stand `depth` residual blocks: group normalisation, swish, 3x3 convolution, swish,
3x3 convolution, added to what came in. The last convolution of a block starts at zero, so that a
deep network starts as a shallow one.

Source: He et al., "Identity mappings in deep residual networks", ECCV 2016; Wu & He, "Group
normalization", ECCV 2018.
"""

import math

import keras

from kvae.networks import GROUPS
from kvae.networks.convolutions import Conv2D, Conv2DTranspose
from kvae.networks.head import Head
from kvae.networks.normalisation import GroupNormalization
from kvae.networks.sizes import cropped, num_halvings, small_size

_MOST_DOUBLINGS = 3


def _channels(element_shape, width):
    """Channels after each halving, from the image inwards."""
    return [width * 2 ** min(i, _MOST_DOUBLINGS) for i in range(num_halvings(element_shape))]


def _normalised(x):
    # In float32: a mean of many half-precision numbers is not one.
    return _swish(GroupNormalization(GROUPS, dtype="float32")(x))


def _swish(x):
    # In float32: a CPU computes it there, and its gradient, in half the time of bfloat16.
    return keras.layers.Activation("swish", dtype="float32")(x)


def _convolution(x, filters, dtype, start="he_normal"):
    return Conv2D(filters, 3, padding="same", kernel_initializer=start, dtype=dtype)(x)


def _blocks(x, depth, dtype):
    filters = x.shape[-1]
    for _ in range(depth):
        branch = _swish(_convolution(_normalised(x), filters, dtype))
        x = keras.layers.Add(dtype=dtype)([x, _convolution(branch, filters, dtype, "zeros")])
    return x


def encoder(element_shape, latent_dim, num_params, *, dtype, width, depth):
    """See `kvae.networks`."""
    del latent_dim
    layers = keras.layers
    inputs = x = keras.Input(element_shape, name="x")
    for place, filters in enumerate(_channels(element_shape, width)):
        if place:
            x = _swish(x)
        x = Conv2D(
            filters, 4, strides=2, padding="same", kernel_initializer="he_normal", dtype=dtype
        )(x)
        x = _blocks(x, depth, dtype) if place else x
    x = layers.Flatten(dtype=dtype)(_normalised(x))
    outputs = layers.Dense(num_params, dtype="float32", name="posterior")(x)
    return keras.Model(inputs, outputs, name="encoder")


def decoder(latent_dim, element_shape, num_outputs, *, dtype, width, depth):
    """See `kvae.networks`."""
    layers = keras.layers
    inputs = keras.Input((latent_dim,), name="latent")
    channels = _channels(element_shape, width)[::-1]
    smallest = (*small_size(element_shape, len(channels)), channels[0])
    x = layers.Dense(math.prod(smallest), dtype=dtype)(inputs)
    x = layers.Reshape(smallest, dtype=dtype)(x)
    for place, filters in enumerate((*channels[1:], num_outputs)):
        is_head = place == len(channels) - 1
        x = _normalised(x if is_head and place else _blocks(x, depth, dtype))
        if is_head:
            x = Head(filters, dtype="float32", name="likelihood")(x)
        else:
            x = Conv2DTranspose(
                filters, 4, strides=2, padding="same", kernel_initializer="he_normal", dtype=dtype
            )(x)
    return keras.Model(inputs, cropped(x, element_shape), name="decoder")
