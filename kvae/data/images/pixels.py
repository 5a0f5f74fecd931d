"""Grey levels 0 to 255 of uint8, and floats in [0, 1]; `kvae.inputs.as_float` in a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kvae.data.conditions import Conditioned
from kvae.errors import UsageError

#: By how much floats may lie outside [0, 1] and still be levels that somebody computed.
ROUNDING = 1e-4
#: The least level that is white where levels are made binary.
HALF = 128
#: What floats of images lie in, unless a model is made for others.
UNIT = (0.0, 1.0)


def read_range(given: Any) -> tuple[float, float] | None:
    """What floats of images lie in; UsageError for another than (0, 1) or None."""
    if given is None:
        return None
    if isinstance(given, tuple | list) and tuple(given) == UNIT:
        return UNIT
    raise UsageError(
        f"value_range is (0, 1), of images, or None for any numbers: received {given!r}"
    )


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows as one array; levels become floats in [0, 1] where they meet floats.

    Args:
        rows: uint8 or float32, of one shape; one or more.

    Returns:
        `(rows, *shape)`, uint8 or float32.
    """
    mixed = len({row.dtype for row in rows}) > 1
    return np.stack([as_unit_interval(row) for row in rows] if mixed else rows)


def binary(levels: np.ndarray) -> np.ndarray:
    """uint8 levels as 0 or 255, from 128 on."""
    return np.where(levels >= HALF, np.uint8(255), np.uint8(0))


def as_unit_interval(x: Any) -> Any:
    """Images as signatures take them: uint8 as float32 in [0, 1]; anything else as it is.

    Args:
        x: `(rows, ...)`; what has conditions keeps them.
    """
    if isinstance(x, Conditioned):
        return Conditioned(as_unit_interval(x.x), x.condition)
    x = np.asarray(x)
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def as_levels(images: np.ndarray) -> np.ndarray:
    """Floats as the nearest uint8 levels; what is outside [0, 1] is clipped."""
    return np.rint(np.clip(images.astype(np.float64), 0, 1) * 255).astype(np.uint8)
