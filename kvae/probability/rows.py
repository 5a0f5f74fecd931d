"""Whether there is one number for each row, where broadcasting would let other shapes pass."""

from typing import Any

import numpy as np

from kvae.errors import UsageError


def check_of_rows(name: str, value: Any, rows: Any) -> Any:
    """One number a row, as a part of one's own must give it: the value.

    Args:
        name: of what gave it.
        value: a tensor.
        rows: how many, an int where that is known; None: not known.

    Raises:
        UsageError: another shape; broadcasting would let it pass.
    """
    shape = shape_of(value)
    if shape is None or len(shape) != 1 or not (rows is None or shape[0] in (None, rows)):
        raise UsageError(
            f"{name} must give one number a row, of shape ({rows or 'rows'},): received {shape}"
        )
    return value


def shape_of(x: Any) -> tuple[int | None, ...] | None:
    """As a tuple, None for what a graph does not know; None where it does not know the rank."""
    shape = getattr(x, "shape", None)
    if shape is None:
        return np.shape(x)
    try:
        return tuple(None if size is None else int(size) for size in shape)
    except ValueError:  # of TensorFlow
        return None
