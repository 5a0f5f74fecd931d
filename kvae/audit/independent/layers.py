"""Layers of networks: what each computes of its inputs; images are (row, height, width, colour)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from kvae.audit.independent.archive import Beyond

Array = np.ndarray
Formula = Callable[[dict[str, Any], Sequence[Array], Any], Array]
_AT_ONCE = 2**23  # numbers of the columns of a convolution

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
    "swish": lambda x: x * expit(x),
    "sigmoid": expit,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def _activated(config: dict[str, Any], x: Array) -> Array:
    name = config.get("activation") or "linear"
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise Beyond(f"activation {name!r} of the layer {config['name']!r}")
    return ACTIVATIONS[name](x)


def _only(config: dict[str, Any], **allowed: Any) -> None:
    """Refuse a layer whose options are others than a formula is for."""
    for option, value in allowed.items():
        found = config.get(option, value)
        found = tuple(found) if isinstance(found, list) else found
        if found != value:
            raise Beyond(f"{option}={found!r} of the layer {config['name']!r}")


def _dense(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    _only(config, quantization_config=None, lora_rank=None)
    kernel, *bias = weights
    return _activated(config, sum(bias, x @ kernel))


def _in_parts(x: Array, numbers_of_a_row: int, function: Callable[[Array], Array]) -> Array:
    """The function of some rows at a time."""
    count = max(1, _AT_ONCE // numbers_of_a_row)
    parts = [function(x[start : start + count]) for start in range(0, max(1, len(x)), count)]
    return np.concatenate(parts)


def _convolution(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    """By columns: each place's window as a row of one matrix product."""
    _only(config, padding="same", data_format="channels_last", dilation_rate=(1, 1), groups=1,
          quantization_config=None, lora_rank=None)  # fmt: skip
    kernel, *bias = weights
    *sides, channels, filters = kernel.shape
    steps, places = config["strides"], x.shape[1:3]
    # As many places as steps fit in, rounded up; what is missing is padded, less of it in front.
    out = [-(-size // step) for size, step in zip(places, steps, strict=True)]
    lacks = [
        max((count - 1) * step + side - size, 0)
        for count, step, side, size in zip(out, steps, sides, places, strict=True)
    ]
    margins = [(lack // 2, lack - lack // 2) for lack in lacks]
    # Windows come as (row, height, width, channel, side, side).
    matrix = kernel.transpose(2, 0, 1, 3).reshape(-1, filters)

    def convolved(part: Array) -> Array:
        padded = np.pad(part, ((0, 0), *margins, (0, 0)))
        windows = sliding_window_view(padded, tuple(sides), (1, 2))  # type: ignore[arg-type]
        windows = windows[:, :: steps[0], :: steps[1]]
        columns = windows.reshape(-1, channels * math.prod(sides))
        return (columns @ matrix).reshape(len(part), *out, filters)

    found = _in_parts(x, math.prod(out) * len(matrix), convolved)
    return _activated(config, sum(bias, found))


def _transposed(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    """The transpose of a convolution: every place adds its window to the image it grows."""
    _only(config, padding="same", data_format="channels_last", dilation_rate=(1, 1),
          output_padding=None)  # fmt: skip
    kernel, *bias = weights
    *sides, filters, channels = kernel.shape
    steps, places = config["strides"], x.shape[1:3]
    out = [size * step for size, step in zip(places, steps, strict=True)]
    front = [max(side - step, 0) // 2 for side, step in zip(sides, steps, strict=True)]
    canvas = [
        max((size - 1) * step + side, begin + want)
        for size, step, side, begin, want in zip(places, steps, sides, front, out, strict=True)
    ]
    matrix = kernel.reshape(-1, channels).T

    def grown(part: Array) -> Array:
        windows = (part.reshape(-1, channels) @ matrix).reshape(len(part), *places, *sides, filters)
        sums = np.zeros((len(part), *canvas, filters), x.dtype)
        for row in range(sides[0]):
            for column in range(sides[1]):
                ends = row + steps[0] * (places[0] - 1) + 1, column + steps[1] * (places[1] - 1) + 1
                view = sums[:, row : ends[0] : steps[0], column : ends[1] : steps[1]]
                view += windows[:, :, :, row, column]
        return sums[:, front[0] : front[0] + out[0], front[1] : front[1] + out[1]]

    found = _in_parts(x, math.prod(places) * matrix.shape[1], grown)
    return _activated(config, sum(bias, found))


def _scaled_and_moved(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    """The learned scale and centre behind a normalisation, where there are such."""
    left = list(weights)
    if config["scale"]:
        x = x * left.pop(0)
    return x + left.pop(0) if config["center"] else x


def _normalised_by_batch(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    _only(config, axis=-1)
    *learned, mean, variance = weights
    return _scaled_and_moved(config, learned, (x - mean) / np.sqrt(variance + config["epsilon"]))


def _normalised_by_groups(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    _only(config, axis=-1)
    groups = config["groups"] if config["groups"] != -1 else x.shape[-1]
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    centred = parts - parts.mean(axis=(1, 3), keepdims=True)
    variance = np.square(centred).mean(axis=(1, 3), keepdims=True)
    normal = (centred / np.sqrt(variance + config["epsilon"])).reshape(x.shape)
    return _scaled_and_moved(config, weights, normal)


def _cropped(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    _only(config, data_format="channels_last")
    (top, bottom), (left, right) = config["cropping"]
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _flattened(config: dict[str, Any], weights: Sequence[Array], x: Array) -> Array:
    _only(config, data_format="channels_last")
    return x.reshape(len(x), -1)


def _added(config: dict[str, Any], weights: Sequence[Array], given: Sequence[Array]) -> Array:
    return sum(given[1:], given[0])


#: Class of a layer -> what it computes of its configuration, its weights and its input (a list of
#: several). Those that only act in training leave their input as it is.
FORMULAS: dict[str, Formula] = {
    "Dense": _dense,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "kvae>Conv2D": _convolution,
    "kvae>Conv2DTranspose": _transposed,
    "kvae>Head": _transposed,
    "BatchNormalization": _normalised_by_batch,
    "GroupNormalization": _normalised_by_groups,
    "kvae>GroupNormalization": _normalised_by_groups,
    "Activation": lambda config, weights, x: _activated(config, x),
    "ReLU": lambda config, weights, x: _plain_relu(config, x),
    "Flatten": _flattened,
    "Reshape": lambda config, weights, x: x.reshape(len(x), *config["target_shape"]),
    "Cropping2D": _cropped,
    "Add": _added,
    "Concatenate": lambda config, weights, given: np.concatenate(given, axis=config["axis"]),
    "Dropout": lambda config, weights, x: x,
}


def _plain_relu(config: dict[str, Any], x: Array) -> Array:
    _only(config, max_value=None, negative_slope=0.0, threshold=0.0)
    return np.maximum(x, 0)
