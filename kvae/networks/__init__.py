"""Encoders and decoders: one file for each kind of network, listed in NETWORKS.

A member is a module with two functions that return functional Keras models:

    encoder(element_shape, latent_dim, num_params, *, hidden_units, linear_path, dtype)
        x (batch, *element_shape) -> (batch, num_params), the first latent_dim of them the means
    decoder(latent_dim, element_shape, num_outputs, *, hidden_units, linear_path, dtype)
        latent (batch, latent_dim) -> (batch, ..., num_outputs), on the last axis the means first

Layers compute in `dtype` (a Keras dtype policy); the heads are float32.
"""

from typing import Any

from kvae.errors import UsageError
from kvae.registry import Member


def _mlp() -> Any:
    from kvae.networks import mlp

    return mlp


def _conv() -> Any:
    from kvae.networks import conv

    return conv


NETWORKS = {
    "mlp": Member("dense layers (--hidden-units), beside a linear path", _mlp),
    "conv": Member("strided convolutions, images of 8 to 256 pixels", _conv),
}

#: Smallest and largest height and width, for the networks that are for images alone.
IMAGE_SIZES = {"conv": (8, 256)}


def check_shape(name: str, element_shape: tuple[int, ...]) -> None:
    """Refuse data that a network is not for.

    Args:
        name: a key of NETWORKS.
        element_shape: the shape of one x.

    Raises:
        UsageError: the network does not take that shape.
    """
    if name not in IMAGE_SIZES:
        return
    least, most = IMAGE_SIZES[name]
    if len(element_shape) != 3 or not all(least <= size <= most for size in element_shape[:2]):
        raise UsageError(
            f"the network {name!r} takes images (height, width, channels) of {least} to {most} "
            f"pixels a side, received x of shape {element_shape}"
        )
