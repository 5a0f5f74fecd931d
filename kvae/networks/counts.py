"""How many weights each network has, before Keras is imported: for `NetworkMember.parameters`.

Arguments are those of the network's `encoder` and `decoder`, and `condition_dim`, numbers in a
condition, which stand beside the channels of x and beside the latents.
"""

import itertools
import math
from collections.abc import Sequence

from kvae.networks.sizes import num_halvings, small_size


def _dense(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _convolution(side: int, inputs: int, outputs: int, *, bias: bool = True) -> int:
    return (side * side * inputs + bias) * outputs


def mlp(
    element_shape: Sequence[int], latent_dim: int, num_params: int, num_outputs: int,
    condition_dim: int, *, hidden_units: Sequence[int], linear_path: bool,
) -> int:  # fmt: skip
    """Of `kvae.networks.mlp`."""
    *sizes, channels = element_shape
    places = math.prod(sizes)
    x, latents = places * (channels + condition_dim), latent_dim + condition_dim
    last, outputs = hidden_units[-1], places * num_outputs
    hidden = sum(
        _dense(*pair)
        for inputs in (x, latents)
        for pair in itertools.pairwise((inputs, *hidden_units))
    )
    linear = (x * latent_dim + latents * places * channels) if linear_path else 0
    return hidden + _dense(last, num_params) + _dense(last, outputs) + linear


def conv(
    element_shape: Sequence[int], latent_dim: int, num_params: int, num_outputs: int,
    condition_dim: int,
) -> int:  # fmt: skip
    """Of `kvae.networks.conv`."""
    vector, halvings = 256, num_halvings(element_shape)
    filters = [32 if 2 * i < halvings - 1 else 64 for i in range(halvings)]
    flat = math.prod(small_size(element_shape, halvings)) * filters[-1]
    maps = (element_shape[-1] + condition_dim, *filters)
    back = (*filters[::-1], num_outputs)
    pairs = (*itertools.pairwise(maps), *itertools.pairwise(back))
    return (
        sum(_convolution(4, *pair) for pair in pairs)
        + _dense(flat, vector) + _dense(vector, num_params)
        + _dense(latent_dim + condition_dim, vector) + _dense(vector, flat)
    )  # fmt: skip


def conv_large(
    element_shape: Sequence[int], latent_dim: int, num_params: int, num_outputs: int,
    condition_dim: int,
) -> int:  # fmt: skip
    """Of `kvae.networks.conv_large`; a normalisation has four numbers a channel."""
    filters = (128, 256, 512, 1024)
    maps = (element_shape[-1] + condition_dim, *filters)
    back = filters[::-1]
    flat = math.prod(small_size(element_shape, 4)) * filters[-1]
    smallest = math.prod(small_size(element_shape, 3)) * filters[-1]
    pairs = (*itertools.pairwise(maps), *itertools.pairwise(back))
    return (
        sum(_convolution(5, *pair, bias=False) for pair in pairs)
        + 4 * (sum(filters) + sum(back))
        + _dense(flat, num_params) + _dense(latent_dim + condition_dim, smallest)
        + _convolution(5, filters[0], num_outputs)
    )  # fmt: skip


def resnet(
    element_shape: Sequence[int], latent_dim: int, num_params: int, num_outputs: int,
    condition_dim: int, *, width: int, depth: int,
) -> int:  # fmt: skip
    """Of `kvae.networks.resnet`; a normalisation has two numbers a channel."""
    halvings = num_halvings(element_shape)
    channels = [width * 2 ** min(i, 3) for i in range(halvings)]
    flat = math.prod(small_size(element_shape, halvings)) * channels[-1]

    def blocks(count: int) -> int:
        return depth * (2 * count + 2 * _convolution(3, count, count))

    maps = (element_shape[-1] + condition_dim, *channels)
    encoder = sum(_convolution(4, *pair) for pair in itertools.pairwise(maps))
    encoder += sum(map(blocks, channels[1:])) + 2 * channels[-1] + _dense(flat, num_params)
    back = channels[::-1]
    decoder = _dense(latent_dim + condition_dim, flat)
    decoder += sum(
        2 * i + _convolution(4, i, o) for i, o in itertools.pairwise((*back, num_outputs))
    )
    # None before the head, but for a network that has nothing else.
    return encoder + decoder + sum(map(blocks, back[:-1] or back))
