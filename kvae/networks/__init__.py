"""Encoders and decoders: one file for each kind of network, listed in NETWORKS.

A member is a module with two functions that return functional Keras models:

    encoder(element_shape, latent_dim, num_params, *, dtype, **own)
        x (batch, *element_shape) -> (batch, num_params), the first latent_dim of them the means
    decoder(latent_dim, element_shape, num_outputs, *, dtype, **own)
        latent (batch, latent_dim) -> (batch, ..., num_outputs), on the last axis the means first

`own` are its declared options. Layers compute in the Keras dtype policy `dtype`; the heads are
float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kvae import lazy
from kvae.errors import UsageError
from kvae.networks import counts
from kvae.options import SWITCH, UNITS, Option, whole_number, whole_range
from kvae.registry import Member, facts_of

if TYPE_CHECKING:
    from kvae.networks import conv, conv_large, mlp, resnet

__all__ = ["NETWORKS", "NetworkMember", "NetworkName", "conv", "conv_large", "mlp", "resnet"]
NetworkName = Literal["mlp", "conv", "conv-large", "resnet"]

__getattr__, __dir__ = lazy.names(
    __name__, {name: f"{__name__}.{name}" for name in ("conv", "conv_large", "mlp", "resnet")}
)

GROUPS = 8  # of channels that "resnet" normalises together
MAX_WIDTH, MAX_DEPTH = 4096, 100


@dataclass(frozen=True)
class NetworkMember(Member):
    """A network, and for what it is.

    Args:
        image_sizes: smallest and largest height and width; None: not for images alone, any shape.
        normalises_by_batch: whether what it says of a row depends on the batch.
        parameters: how many weights encoder and decoder have together, or fewer, as
            `kvae.networks.counts` says it; None: not known.
    """

    image_sizes: tuple[int, int] | None = None
    normalises_by_batch: bool = False
    parameters: Callable[..., int] | None = None


HIDDEN_UNITS = Option("hidden_units", (64, 64), "units of the hidden layers", UNITS, metavar="N,N")
LINEAR_PATH = Option("linear_path", True, "a learned linear path beside the hidden layers", SWITCH)
WIDTH = Option(
    "width", 16, f"channels of the largest map, a multiple of {GROUPS}",
    whole_number(
        f"a multiple of {GROUPS} up to {MAX_WIDTH}",
        lambda value: GROUPS <= value <= MAX_WIDTH and not value % GROUPS,
    ),
    metavar="N",
)  # fmt: skip
DEPTH = Option(
    "depth", 1, "residual blocks at each size of map but the largest", whole_range(1, MAX_DEPTH),
    metavar="N",
)  # fmt: skip


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


_SIZES = (8, 256)

NETWORKS: dict[str, Member] = {
    "mlp": NetworkMember(
        "dense layers (--hidden-units), beside a linear path", _mlp, (HIDDEN_UNITS, LINEAR_PATH),
        parameters=counts.mlp,
    ),
    "conv": NetworkMember(
        "strided convolutions of 32 and 64 filters, the student report's", _conv,
        image_sizes=_SIZES, parameters=counts.conv,
    ),
    "conv-large": NetworkMember(
        "5x5 convolutions of 128 to 1024 filters, batch-normalised: of the WAE and RAE papers",
        _conv_large, image_sizes=_SIZES, normalises_by_batch=True,
        parameters=counts.conv_large,
    ),
    "resnet": NetworkMember(
        "residual blocks, group-normalised (--width, --depth)", _resnet, (WIDTH, DEPTH),
        image_sizes=_SIZES, parameters=counts.resnet,
    ),
}  # fmt: skip


def facts(name: str) -> NetworkMember:
    """What is known of a network, a key of NETWORKS, before it is imported."""
    return facts_of(NETWORKS[name], NetworkMember)


def check_shape(name: str, element_shape: tuple[int, ...]) -> None:
    """Refuse data that a network is not for.

    Args:
        name: a key of NETWORKS.
        element_shape: the shape of one x.

    Raises:
        UsageError: the network does not take that shape.
    """
    sizes = facts(name).image_sizes
    if sizes is None:
        return
    least, most = sizes
    if len(element_shape) != 3 or not all(least <= size <= most for size in element_shape[:2]):
        turned = len(element_shape) == 3 and element_shape[0] in (1, 3)
        hint = "; its channels come first, x.transpose(0, 2, 3, 1) puts them last" if turned else ""
        raise UsageError(
            f"the network {name!r} takes images (height, width, channels) of {least} to {most} "
            f"pixels a side, received x of shape {element_shape}{hint}"
        )
