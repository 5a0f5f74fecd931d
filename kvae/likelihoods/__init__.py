"""Likelihoods p(x given z): what the decoder's output means. One file each.

A member is a Keras layer that derives from `kvae.likelihoods.base.Likelihood`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kvae import lazy
from kvae.errors import UsageError
from kvae.options import POSITIVE, Kind, Option, is_number, is_text, number_range, whole_range
from kvae.registry import Member, facts_of

if TYPE_CHECKING:  # --help needs no NumPy
    import numpy as np

    from kvae.likelihoods.base import Likelihood
    from kvae.likelihoods.bernoulli import Bernoulli
    from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
    from kvae.likelihoods.gaussian import Gaussian

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Likelihood",
    "LikelihoodMember",
    "LikelihoodName",
]
LikelihoodName = Literal["gaussian", "discretized-logistic", "bernoulli"]

__getattr__, __dir__ = lazy.names(
    __name__,
    {
        "Bernoulli": "kvae.likelihoods.bernoulli",
        "DiscretizedLogistic": "kvae.likelihoods.discretized_logistic",
        "Gaussian": "kvae.likelihoods.gaussian",
        "Likelihood": "kvae.likelihoods.base",
    },
)

#: What a Gaussian likelihood's variance can be beside a number.
LEARNED_VARIANCES = (
    "shared", "optimal", "per-channel", "per-feature", "heteroscedastic", "full",
)  # fmt: skip
#: Those that go with an edge weight: one number for all elements.
ONE_VARIANCE = ("shared", "optimal")
_ROUNDING = 1e-3  # of float32 images, in levels


def _is_finite(x: np.ndarray) -> bool:
    return x.dtype.kind == "u" or bool((abs(x) < float("inf")).all())  # false for NaN too


def _is_binary(x: np.ndarray) -> bool:
    largest = 255 if x.dtype.name == "uint8" and x.ndim == 4 else 1
    return bool(((x == 0) | (x == largest)).all())


def _is_levels(x: np.ndarray) -> bool:
    if x.ndim != 4 or x.dtype.kind == "u":
        return x.ndim == 4
    levels = x * 255
    if not (abs(levels) <= 255).all():  # NaN too
        return False
    return bool(((abs(levels - levels.round()) < _ROUNDING) & (levels >= 0)).all())


@dataclass(frozen=True)
class LikelihoodMember(Member):
    """A likelihood, and for what x it is.

    Args:
        accepts: whether it is one of data like these, floats or uint8 images.
        takes: which they are, in words.
        standardizes: whether x may be shifted and scaled for it.
        has_probabilities: whether values of x have probabilities and not a density alone: nats of
            the one and of the other cannot be held against each other.
        num_outputs: the size of the decoder's last axis, or less: of the number of channels and the
            member's own options.
    """

    accepts: Callable[[np.ndarray], bool] = _is_finite
    takes: str = "finite numbers"
    standardizes: bool = False
    has_probabilities: bool = False
    num_outputs: Callable[..., int] = lambda channels, **own: 0


def _gaussian_outputs(channels: int, *, variance: Any, edge_weight: float = 0) -> int:
    del edge_weight
    if variance == "full":
        return channels * (channels + 3) // 2
    return 2 * channels if variance == "heteroscedastic" else channels


def _logistic_outputs(channels: int, *, num_components: int) -> int:
    return 2 * channels if num_components == 1 else channels + num_components * (2 * channels + 1)


def _read_variance(given: Any) -> str | float:
    if isinstance(given, str) and given in LEARNED_VARIANCES:
        return given
    value: float = POSITIVE.read(given)
    return value


VARIANCE = Option(
    "variance", "shared",
    "a number (after --standardize); the likeliest (the mean squared error): 'optimal'; learned: "
    "'shared', 'per-channel' or 'per-feature'; from the decoder: 'heteroscedastic', or 'full', "
    "with the covariance of all features (of the colours of each pixel)",
    Kind(
        f"{POSITIVE.wanted}, {' or '.join(LEARNED_VARIANCES)}",
        _read_variance,
        LEARNED_VARIANCES,
        lambda value: is_text(value) or is_number(value),
    ),
    metavar="X|NAME",
)  # fmt: skip
EDGE_WEIGHT = Option(
    "edge_weight", 0.0,
    "of the differences of neighbouring pixels beside the pixels, for sharper images; with "
    "--variance X, shared or optimal, 0 to 1000",
    number_range(0, 1000), metavar="X", before=0.0,
)  # fmt: skip
LOGISTIC_COMPONENTS = Option(
    "logistic_components", 1, "logistics in the mixture of each pixel, 1 to 50",
    whole_range(1, 50), metavar="N", argument="num_components",
)  # fmt: skip


def takes_edge_weight(variance: Any) -> bool:
    """Whether a variance of a Gaussian is one number for all elements."""
    return not isinstance(variance, str) or variance in ONE_VARIANCE


def check_edge_weight(
    edge_weight: float, variance: str | float, shown: str, variance_shown: str
) -> None:
    """Refuse an edge weight beside a variance that differs between elements.

    Args:
        edge_weight: of a Gaussian likelihood.
        variance: of it.
        shown: what the user calls the weight.
        variance_shown: and the variance.

    Raises:
        UsageError: they do not go together.
    """
    if edge_weight and not takes_edge_weight(variance):
        raise UsageError(
            f"{shown} goes with {variance_shown} X, {' or '.join(ONE_VARIANCE)} alone, received "
            f"{shown} {edge_weight} and {variance_shown} {variance}"
        )


def _gaussian() -> Any:
    from kvae.likelihoods import gaussian

    return gaussian.Gaussian


def _bernoulli() -> Any:
    from kvae.likelihoods import bernoulli

    return bernoulli.Bernoulli


def _discretized_logistic() -> Any:
    from kvae.likelihoods import discretized_logistic

    return discretized_logistic.DiscretizedLogistic


LIKELIHOODS: dict[str, Member] = {
    "gaussian": LikelihoodMember(
        "normal, its variance fixed, learned or from the decoder (--variance)", _gaussian,
        (VARIANCE, EDGE_WEIGHT), standardizes=True, num_outputs=_gaussian_outputs,
    ),
    "discretized-logistic": LikelihoodMember(
        "the 256 grey levels of images, as a mixture of logistics (--logistic-components)",
        _discretized_logistic, (LOGISTIC_COMPONENTS,),
        accepts=_is_levels, takes="grey levels of images", has_probabilities=True,
        num_outputs=_logistic_outputs,
    ),
    "bernoulli": LikelihoodMember(
        "binary pixels, 0 or 1 (--binarize makes them)", _bernoulli,
        accepts=_is_binary, takes="0 and 1 alone, of uint8 images 0 and 255",
        has_probabilities=True, num_outputs=lambda channels: channels,
    ),
}  # fmt: skip


def facts(name: str) -> LikelihoodMember:
    """What is known of a likelihood, a key of LIKELIHOODS, before it is imported."""
    return facts_of(LIKELIHOODS[name], LikelihoodMember)


def accepts(name: str, x: np.ndarray) -> bool:
    """Whether a likelihood is one of data like these.

    Args:
        name: a key of LIKELIHOODS; of another likelihood it is asked that x be finite.
        x: some of the data, floats or uint8 images.
    """
    return facts(name).accepts(x) if name in LIKELIHOODS else _is_finite(x)
