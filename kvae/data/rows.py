"""Some rows of many, and many rows a part at a time; of a memory map each is one pass."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def random_rows(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Places of random rows, in order.

    Args:
        count: of rows there are.
        most: rows wanted; all, where there are no more.
        rng: of the choice.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(rng.permutation(count)[:most])


def some_of(x: Any, most: int, rng: np.random.Generator) -> Any:
    """Random rows of x, in order; x itself where there are no more. Arguments as above."""
    return x if len(x) <= most else x[random_rows(len(x), most, rng)]


def in_parts(x: Any, size: int) -> Iterator[Any]:
    """Slices of at most `size` rows of x, in order."""
    return (x[start : start + size] for start in range(0, len(x), size))


def parts_at(x: Any, rows: np.ndarray, size: int) -> Iterator[Any]:
    """The rows of x at these places, at most `size` at once: of many, no copy of all is made."""
    return (x[part] for part in in_parts(rows, size))
