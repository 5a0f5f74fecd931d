"""What a decoder's output means: each likelihood's distribution, from its configuration."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kvae.audit.independent.archive import Beyond, Weights, kind
from kvae.audit.independent.distributions import Bits, Diagonal, Field, Levels, Precision, softplus

Array = np.ndarray
_SHIFTED, _OF_DECODER = ("shared", "per-channel", "per-feature"), ("heteroscedastic", "full")
_WIDEST = 20.0  # log of the largest standard deviation


def likelihood(
    part: dict[str, Any], weights: Weights, channels: int, dtype: Any
) -> Callable[[Array], Any]:
    """Decoder's output `(batch, ..., outputs)` -> a distribution.

    Args:
        part: the configuration.
        weights: its own.
        channels: of the last axis of x.
        dtype: in which it computes.

    Raises:
        Beyond: there is no formula for it.
    """
    config, name = part["config"], kind(part)
    own = [np.asarray(array, dtype) for array in weights.own]
    if name == "kvae>Gaussian":
        return _gaussian(config, own, channels)
    if name == "kvae>Bernoulli":
        return Bits
    if name == "kvae>DiscretizedLogistic":
        return _levels(config, channels)
    raise Beyond(f"the likelihood {name}")


def _gaussian(config: dict[str, Any], own: list[Array], channels: int) -> Callable[[Array], Any]:
    variance, floor = config["variance"], config["variance_floor"]
    if variance in _OF_DECODER:
        return lambda params: _of_decoder(config, params, channels)
    if variance in _SHIFTED:
        value = floor + softplus(own[0])
    elif variance == "optimal":
        value = np.maximum(own[0][0], own[0].dtype.type(floor))
    elif isinstance(variance, str):
        raise Beyond(f"the variance {variance!r}")
    else:
        value = variance
    if config.get("edge_weight"):
        return lambda params: Field(params, value, config["edge_weight"])
    return lambda params: Diagonal(params, np.asarray(value, params.dtype))


def _of_decoder(config: dict[str, Any], params: Array, channels: int) -> Any:
    """A variance that the decoder says: its log precision, bent at a floor."""
    start, cap = (
        -0.5 * math.log(config[name]) for name in ("initial_variance", "variance_floor")
    )  # fmt: skip
    # log(e^(cap - start) - 1): with it a raw 0 gives the start itself.
    offset = cap - start + math.log1p(-math.exp(start - cap))
    mean, raw = params[..., :channels], params[..., channels : 2 * channels]
    log_precision = np.maximum(cap - softplus(offset - raw), params.dtype.type(-_WIDEST))
    if config["variance"] == "heteroscedastic":
        return Diagonal(mean, np.exp(-2 * log_precision))
    return Precision(mean, log_precision, params[..., 2 * channels :])


def _levels(config: dict[str, Any], channels: int) -> Callable[[Array], Any]:
    count = config["num_components"]
    start = math.log(math.expm1(0.1 - 1e-4))

    def of(params: Array) -> Levels:
        shape = (*params.shape[:-1], count, channels)
        means, rest = params[..., None, :channels], params[..., channels:]
        logits = np.zeros_like(params[..., :1])
        if count > 1:
            size = count * channels
            means = means + rest[..., :size].reshape(shape)
            rest, logits = rest[..., size : 2 * size], rest[..., 2 * size :]
        scales = params.dtype.type(1e-4) + softplus(rest.reshape(shape) + params.dtype.type(start))
        return Levels(means, scales, logits)

    return of
