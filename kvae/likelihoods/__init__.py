"""Likelihoods p(x given z): what the decoder's output means. One file each.

A member is a Keras layer with `params_per_channel`, `distribution(params)` and `check(x)`.
"""

from typing import Any

from kvae.registry import Member

#: What a Gaussian likelihood's variance can be beside a number.
LEARNED_VARIANCES = ("shared", "per-feature")


def _gaussian() -> Any:
    from kvae.likelihoods import gaussian

    return gaussian.Gaussian


def _bernoulli() -> Any:
    from kvae.likelihoods import bernoulli

    return bernoulli.Bernoulli


LIKELIHOODS = {
    "gaussian": Member("normal, its variance fixed or learned (--variance)", _gaussian),
    "bernoulli": Member("binary pixels, 0 or 1 (--binarize makes them)", _bernoulli),
}
