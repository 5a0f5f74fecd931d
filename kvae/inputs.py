"""x as a model takes it: floats, uint8 images, and pairs (x, condition)."""

import keras
import numpy as np

from kvae.data.conditions import Conditioned
from kvae.errors import UsageError


def as_float(x):
    """float32; images of uint8 divided by 255. Of a pair (x, condition) a tuple."""
    if is_pair(x):
        x, condition = (x.x, x.condition) if isinstance(x, Conditioned) else x
        return as_float(x), keras.ops.cast(condition, "float32")
    x = keras.ops.convert_to_tensor(x)
    is_levels = keras.backend.standardize_dtype(x.dtype) == "uint8" and len(x.shape) == 4
    return keras.ops.cast(x, "float32") / (255.0 if is_levels else 1.0)


def is_pair(x):
    """Whether x stands beside a condition."""
    return isinstance(x, Conditioned) or (isinstance(x, tuple) and len(x) == 2)


def rows_of(x):
    """x of a pair (x, condition), or x itself."""
    return x[0] if isinstance(x, tuple) else x


def repeat_rows(x, count):
    """Each row `count` times in succession, of x or of a pair (x, condition)."""
    return keras.tree.map_structure(lambda part: keras.ops.repeat(part, count, axis=0), x)


def beside(values, condition):
    """Values `(batch, ..., n)` with a condition as further channels, the same at every place.

    Args:
        values: of x or z.
        condition: `(batch, m)`, or None for none.
    """
    if condition is None:
        return values
    ops = keras.ops
    places = [1] * (len(values.shape) - 2)
    maps = ops.reshape(condition, (-1, *places, condition.shape[-1]))
    maps = ops.broadcast_to(maps, (*ops.shape(values)[:-1], condition.shape[-1]))
    return ops.concatenate([values, maps], axis=-1)


def checked_condition(condition, dim, count=None):
    """A condition as float32 `(count or batch, dim)`; None for a model that takes none.

    Args:
        condition: `(batch, dim)`, `(dim,)` where `count` is given, or None.
        dim: numbers that the model wants; 0: it takes no condition.
        count: rows wanted; None: any.

    Raises:
        UsageError: it is not what the model wants.
    """
    ops = keras.ops
    if condition is None and not dim:
        return None
    if condition is not None and not hasattr(condition, "shape"):
        condition = _numbers(condition)
    if condition is not None and dim:
        condition = ops.cast(condition, "float32")
        if count and condition.shape == (dim,):
            return ops.broadcast_to(condition, (count, dim))
        if condition.shape[1:] == (dim,) and count in (None, condition.shape[0]):
            return condition
    shape = None if condition is None else tuple(condition.shape)
    raise UsageError(
        f"a condition of shape ({count or 'rows'}, {dim}) is wanted, received {shape}"
        if dim
        else "this model is not conditional (condition_dim 0), but received a condition"
    )


def _numbers(given):
    """A list of numbers, or one number, as an array."""
    try:
        return np.asarray(given, "float32")
    except (TypeError, ValueError):
        raise UsageError(f"a condition is an array of numbers, received {given!r}") from None
