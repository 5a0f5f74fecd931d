"""Families of q(z given x): how the encoder's output is read. Listed in POSTERIORS.

A member is a class of `kvae.probability.distributions` with `num_params(dim)` and
`from_params(params)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kvae.registry import Member, facts_of

PosteriorName = Literal["diagonal", "full"]


@dataclass(frozen=True)
class PosteriorMember(Member):
    """A family of posteriors.

    Args:
        num_params: the encoder's outputs for so many latents, or fewer.
    """

    num_params: Callable[[int], int] = lambda dim: dim


def _diagonal() -> Any:
    from kvae.probability.distributions import DiagonalNormal

    return DiagonalNormal


def _full() -> Any:
    from kvae.probability.distributions import FullNormal

    return FullNormal


POSTERIORS: dict[str, Member] = {
    "diagonal": PosteriorMember(
        "normal, latents independent given x", _diagonal, num_params=lambda dim: 2 * dim
    ),
    "full": PosteriorMember(
        "normal with a full covariance of the latents given x", _full,
        num_params=lambda dim: dim * (dim + 3) // 2,
    ),
}  # fmt: skip


def facts(name: str) -> PosteriorMember:
    """What is known of a family, a key of POSTERIORS, before it is imported."""
    return facts_of(POSTERIORS[name], PosteriorMember)
