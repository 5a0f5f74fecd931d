"""Likelihoods p(x given z): what the decoder's output means. One file each.

A member is a Keras layer with `kind` (its name here), `num_outputs(channels)` (what the decoder's
last axis must hold for an x whose last axis holds `channels`; the means come first) and
`distribution(params)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvae.registry import Member

if TYPE_CHECKING:  # --help needs no NumPy
    import numpy as np

#: What a Gaussian likelihood's variance can be beside a number.
LEARNED_VARIANCES = (
    "shared", "optimal", "per-channel", "per-feature", "heteroscedastic", "full",
)  # fmt: skip


def _gaussian() -> Any:
    from kvae.likelihoods import gaussian

    return gaussian.Gaussian


def _bernoulli() -> Any:
    from kvae.likelihoods import bernoulli

    return bernoulli.Bernoulli


def _discretized_logistic() -> Any:
    from kvae.likelihoods import discretized_logistic

    return discretized_logistic.DiscretizedLogistic


LIKELIHOODS = {
    "gaussian": Member(
        "normal, its variance fixed, learned or from the decoder (--variance)", _gaussian
    ),
    "discretized-logistic": Member(
        "the 256 grey levels of images, as a mixture of logistics (--logistic-components)",
        _discretized_logistic,
    ),
    "bernoulli": Member("binary pixels, 0 or 1 (--binarize makes them)", _bernoulli),
}

_BINARY_ONLY = ("bernoulli",)
_LEVELS_ONLY = ("discretized-logistic",)
_ROUNDING = 1e-3  # of float32 images, in levels


def accepts(name: str, x: np.ndarray) -> bool:
    """Whether a likelihood is one of data like these.

    Args:
        name: a key of LIKELIHOODS.
        x: some of the data, floats or uint8 images.
    """
    if name in _BINARY_ONLY:
        largest = 255 if x.dtype.kind == "u" else 1
        return bool(((x == 0) | (x == largest)).all())
    if name in _LEVELS_ONLY:
        if x.ndim != 4 or x.dtype.kind == "u":
            return x.ndim == 4
        levels = x * 255
        if not (abs(levels) <= 255).all():  # NaN too
            return False
        return bool(((abs(levels - levels.round()) < _ROUNDING) & (levels >= 0)).all())
    return x.dtype.kind == "u" or bool((abs(x) < float("inf")).all())  # false for NaN too
