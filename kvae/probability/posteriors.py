"""Families of q(z given x): how the encoder's output is read. Listed in POSTERIORS.

A member is a class of `kvae.probability.distributions` with `num_params(dim)` and
`from_params(params)`.
"""

from typing import Any, Literal

from kvae.registry import Member

PosteriorName = Literal["diagonal", "full"]


def _diagonal() -> Any:
    from kvae.probability.distributions import DiagonalNormal

    return DiagonalNormal


def _full() -> Any:
    from kvae.probability.distributions import FullNormal

    return FullNormal


POSTERIORS = {
    "diagonal": Member("normal, latents independent given x", _diagonal),
    "full": Member("normal with a full covariance of the latents given x", _full),
}
