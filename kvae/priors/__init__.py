"""Densities over latents: one file each, listed in PRIORS.

A member is a Keras layer that derives from `kvae.priors.base.Prior`.
"""

from typing import Any

from kvae.registry import Member


def _standard_normal() -> Any:
    from kvae.priors import standard_normal

    return standard_normal.StandardNormal


def _mixture() -> Any:
    from kvae.priors import mixture

    return mixture.Mixture


PRIORS = {
    "standard_normal": Member("zero mean, unit variance, nothing learned", _standard_normal),
    "mixture": Member("mixture of Gaussians, learned weights, means, covariances", _mixture),
}
