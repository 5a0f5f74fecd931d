"""Encoders and decoders: one file for each kind of network, listed in NETWORKS.

A member is a module with two functions that return functional Keras models:

    encoder(element_shape, latent_dim, num_params, options)
        x (batch, *element_shape) -> (batch, num_params), the first latent_dim of them the means
    decoder(latent_dim, element_shape, num_outputs, options)
        latent (batch, latent_dim) -> (batch, ..., num_outputs), on the last axis the means first

Each reads what it needs of the `NetworkOptions`. Layers compute in their `dtype`; the heads are
float32.
"""

from typing import Any, NamedTuple

from kvae.errors import UsageError
from kvae.registry import Member


class NetworkOptions(NamedTuple):
    """What networks can be told.

    Args:
        hidden_units: of "mlp": units of each hidden layer.
        linear_path: of "mlp": whether a learned linear path lies beside them.
        width: of "resnet": channels of the largest map, a multiple of 8.
        depth: of "resnet": residual blocks at each size of map but the largest.
        dtype: the Keras dtype policy of the hidden layers.
    """

    hidden_units: tuple[int, ...] = (64, 64)
    linear_path: bool = True
    width: int = 16
    depth: int = 1
    dtype: str = "float32"


def _mlp() -> Any:
    from kvae.networks import mlp

    return mlp


def _conv() -> Any:
    from kvae.networks import conv

    return conv


def _conv_large() -> Any:
    from kvae.networks import conv_large

    return conv_large


def _resnet() -> Any:
    from kvae.networks import resnet

    return resnet


NETWORKS = {
    "mlp": Member("dense layers (--hidden-units), beside a linear path", _mlp),
    "conv": Member("strided convolutions of 32 and 64 filters, the student report's", _conv),
    "conv-large": Member(
        "5x5 convolutions of 128 to 1024 filters, batch-normalised: of the WAE and RAE papers",
        _conv_large,
    ),
    "resnet": Member("residual blocks, group-normalised (--width, --depth)", _resnet),
}

GROUPS = 8  # of channels that "resnet" normalises together

#: Smallest and largest height and width, for the networks that are for images alone.
IMAGE_SIZES = {"conv": (8, 256), "conv-large": (8, 256), "resnet": (8, 256)}


def check_width(width: int) -> None:
    """Refuse channels that the groups of a normalisation do not divide.

    Args:
        width: of `NetworkOptions`.

    Raises:
        UsageError: it is no multiple of 8.
    """
    if width < 1 or width % GROUPS:
        raise UsageError(f"width must be a multiple of {GROUPS}, received {width}")


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
