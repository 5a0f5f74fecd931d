"""Densities over latents: one file each, listed in PRIORS.

A member is a Keras layer that derives from `kvae.priors.base.Prior`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kvae import lazy
from kvae.errors import UsageError
from kvae.options import MAX_LAYERS, MAX_UNITS, Option, whole_range
from kvae.registry import Member, facts_of

if TYPE_CHECKING:
    from kvae.priors.base import Prior
    from kvae.priors.flow import Flow
    from kvae.priors.mixture import Mixture
    from kvae.priors.second_stage import SecondStage
    from kvae.priors.standard_normal import StandardNormal
    from kvae.priors.vamp import Vamp

__all__ = [
    "PRIORS",
    "Flow",
    "Mixture",
    "Prior",
    "PriorMember",
    "PriorName",
    "SecondStage",
    "StandardNormal",
    "Vamp",
]
PriorName = Literal["standard_normal", "mixture", "vamp", "flow"]

__getattr__, __dir__ = lazy.names(
    __name__,
    {
        "Flow": "kvae.priors.flow",
        "Mixture": "kvae.priors.mixture",
        "Prior": "kvae.priors.base",
        "SecondStage": "kvae.priors.second_stage",
        "StandardNormal": "kvae.priors.standard_normal",
        "Vamp": "kvae.priors.vamp",
    },
)


@dataclass(frozen=True)
class DensityMember(Member):
    """A density of latents, here or among `kvae.samplers.SAMPLERS`.

    Args:
        least_latent_dim: dimensions that z must have.
        parameters: how many weights it has, or fewer: of `latent_dim`, the shape of one x and the
            member's own options.
        constants: other numbers that it holds, or fewer: likewise.
    """

    least_latent_dim: int = 1
    parameters: Callable[..., int] = lambda latent_dim, element_shape, **own: 0
    constants: Callable[..., int] = lambda latent_dim, element_shape, **own: 0


@dataclass(frozen=True)
class PriorMember(DensityMember):
    """A prior, and with what it goes.

    Args:
        pseudo_inputs: whether it sends x of its own, without conditions, through the encoder.
        starts_at: its option that is the number of rows of the data which it starts at; "": none.
    """

    pseudo_inputs: bool = False
    starts_at: str = ""


PRIOR_COMPONENTS = Option(
    "prior_components", 30, "components; best twice as many as the data have groups",
    whole_range(1, 10**6), metavar="N", argument="num_components",
)  # fmt: skip

FLOW_LAYERS = Option(
    "flow_layers", 16, "affine couplings; the field takes 20 to 50", whole_range(1, MAX_LAYERS),
    metavar="N", argument="num_layers",
)  # fmt: skip
FLOW_UNITS = Option(
    "flow_units", 64, "units of the network in each coupling", whole_range(1, MAX_UNITS),
    metavar="N", argument="hidden_units",
)  # fmt: skip
FLOW_BLOCKS = Option(
    "flow_blocks", 1,
    "residual blocks of that network; 0, with 8 layers of 64 units: the flow of kvae 0.1",
    whole_range(0, MAX_LAYERS), metavar="N", argument="num_blocks",
)  # fmt: skip
#: Of the prior and of the sampler.
FLOW_OPTIONS = (FLOW_LAYERS, FLOW_UNITS, FLOW_BLOCKS)


def _standard_normal() -> Any:
    from kvae.priors import standard_normal

    return standard_normal.StandardNormal


def _mixture() -> Any:
    from kvae.priors import mixture

    return mixture.Mixture


def _vamp() -> Any:
    from kvae.priors import vamp

    return vamp.Vamp


def _flow() -> Any:
    from kvae.priors import flow

    return flow.Flow


def _mixture_parameters(latent_dim: int, element_shape: Any, *, num_components: int) -> int:
    return num_components * (1 + 2 * latent_dim + latent_dim**2)


def _vamp_parameters(latent_dim: int, element_shape: Any, *, num_components: int) -> int:
    return num_components * (1 + math.prod(element_shape))


def flow_parameters(
    latent_dim: int, element_shape: Any, *, num_layers: int, hidden_units: int, num_blocks: int
) -> int:
    """Weights of a flow, as of a prior so of a sampler."""
    kept, units, hidden = latent_dim // 2, hidden_units, 2 * num_blocks or 1
    normalised = 2 * latent_dim * (1 + (num_layers if num_blocks else 0))
    between = hidden * (units + 1) * units
    coupling = (kept + 1) * units + between + (units + 1) * 2 * (latent_dim - kept)
    return normalised + num_layers * coupling


def flow_turns(latent_dim: int, element_shape: Any, *, num_layers: int, **own: int) -> int:
    """Numbers in its matrices of orders or rotations."""
    return num_layers * latent_dim**2


PRIORS: dict[str, Member] = {
    "standard_normal": PriorMember("zero mean, unit variance, nothing learned", _standard_normal),
    "mixture": PriorMember(
        "mixture of Gaussians, learned weights, means, covariances", _mixture,
        (PRIOR_COMPONENTS,), starts_at=PRIOR_COMPONENTS.name, parameters=_mixture_parameters,
    ),
    "vamp": PriorMember(
        "VampPrior: mixture of the posteriors of learned pseudo-inputs", _vamp,
        (PRIOR_COMPONENTS,), starts_at=PRIOR_COMPONENTS.name, pseudo_inputs=True,
        parameters=_vamp_parameters,
    ),
    "flow": PriorMember(
        "normalising flow of affine coupling layers, 2 latents at least", _flow, FLOW_OPTIONS,
        least_latent_dim=2, parameters=flow_parameters, constants=flow_turns,
    ),
}  # fmt: skip


def facts(name: str) -> PriorMember:
    """What is known of a prior, a key of PRIORS, before it is imported."""
    return facts_of(PRIORS[name], PriorMember)


def check_density(registry: Mapping[str, Member], name: str, latent_dim: int) -> None:
    """Refuse a latent space that a density is not for.

    Args:
        registry: PRIORS, or `kvae.samplers.SAMPLERS`.
        name: a key of it.
        latent_dim: dimensions of z.

    Raises:
        UsageError: the density needs more dimensions.
    """
    least = facts_of(registry[name], DensityMember).least_latent_dim
    if latent_dim < least:
        raise UsageError(
            f"{name!r} (--prior, --sampler) needs at least {least} latent dimensions, received "
            f"{latent_dim}"
        )
