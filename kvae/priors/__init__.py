"""Densities over latents: one file each, listed in PRIORS.

A member is a Keras layer that derives from `kvae.priors.base.Prior`.
"""

from typing import Any

from kvae.errors import UsageError
from kvae.registry import Member


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


PRIORS = {
    "standard_normal": Member("zero mean, unit variance, nothing learned", _standard_normal),
    "mixture": Member("mixture of Gaussians, learned weights, means, covariances", _mixture),
    "vamp": Member("VampPrior: mixture of the posteriors of learned pseudo-inputs", _vamp),
    "flow": Member("normalising flow of affine coupling layers, 2 latents at least", _flow),
}


def check_density(name: str, latent_dim: int) -> None:
    """Refuse a latent space that a density is not for.

    Args:
        name: a key of PRIORS, or of `kvae.samplers.SAMPLERS`.
        latent_dim: dimensions of z.

    Raises:
        UsageError: a flow's coupling layers need two dimensions.
    """
    if name == "flow" and latent_dim < 2:
        raise UsageError(
            f"a flow (--prior, --sampler) needs at least 2 latent dimensions, received {latent_dim}"
        )
