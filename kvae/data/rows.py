"""Some rows of many, and many rows a part at a time; of a memory map each is one pass."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kvae.errors import DataError

_SEEN_IN_ROUNDINGS = 1000
_SPREAD_IN_ROUNDINGS = 100
_REMEDY = "leave such columns out, or do not standardize"
_MOST_VECTORS, _MOST_IMAGES = 2_000, 250
MOST_NUMBERS = 2**24  # of the rows that are held at once: 64 MB as float32


def random_rows(
    count: int, most: int, rng: np.random.Generator, *, always: bool = False
) -> np.ndarray:
    """Places of random rows, in order.

    Args:
        count: of rows there are.
        most: rows wanted; all, where there are no more.
        rng: of the choice.
        always: draw where all rows are taken too: what `rng` gives next is then the same
            whatever `most` is.
    """
    if count <= most and not always:
        return np.arange(count)
    return np.sort(rng.permutation(count)[:most])


def chosen_rows(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """As `random_rows`, but other ones: kept networks and figures depend on which they are."""
    if count <= most:
        return np.arange(count)
    return np.sort(rng.choice(count, most, replace=False))


def some_of(x: Any, most: int, rng: np.random.Generator) -> Any:
    """Random rows of x, in order; x itself where there are no more. See `random_rows`."""
    return x if len(x) <= most else x[random_rows(len(x), most, rng)]


def check_spread(
    x: np.ndarray,
    columns: Sequence[Any] | None = None,
    remedy: str = "",
    *,
    roundings: int = _SPREAD_IN_ROUNDINGS,
) -> None:
    """Refuse vectors that cannot be standardised.

    Args:
        x: the train rows, `(rows, features)`.
        columns: what the features are called; None: by their numbers, from 1.
        remedy: what to do about constant ones.
        roundings: of float32, by more of which the values must differ.

    Raises:
        DataError: a column is constant, float32 cannot tell its values apart, or one is not finite.
    """
    rounding, stddev = _rounding(x), _stddev(x)
    narrow = np.flatnonzero(~(stddev > roundings * rounding))  # NaN too
    if not narrow.size:
        return
    own = x[:, narrow[0]].astype(np.float64)
    name = int(narrow[0]) + 1 if columns is None else columns[narrow[0]]
    if (own == own[0]).all():
        fault = f"the same float32 value {own[0]:g} in every train row; {remedy or _REMEDY}"
    elif np.isfinite(stddev[narrow[0]]):
        fault = f"values near {own[0]:.9g} differ by too little for float32; shift or scale it"
    else:
        fault = "not all of its numbers are finite"
    raise DataError(
        f"standardize: column {name!r}: {fault} ({narrow.size:,} such columns of {x.shape[1]:,})"
    )


def about_rounding(x: np.ndarray, columns: Sequence[Any]) -> list[str]:
    """A word about columns whose values float32 rounds by more than a thousandth of their spread.

    Args:
        x: `(rows, features)` float32.
        columns: what the features are called.
    """
    rounding, stddev = _rounding(x), _stddev(x)
    coarse = np.flatnonzero((stddev > 0) & (stddev < _SEEN_IN_ROUNDINGS * rounding))
    if not coarse.size:
        return []
    first = coarse[0]
    return [
        f"column {columns[first]!r}: float32 rounds values near {x[0, first]:.9g} by up to "
        f"{rounding[first]:.2g}, and they spread by {stddev[first]:.2g}; shift it before "
        f"({coarse.size:,} such columns of {x.shape[1]:,})"
    ]


def _rounding(x: np.ndarray) -> np.ndarray:
    """The most that float32 rounds a value of each feature by."""
    single = np.finfo(np.float32)
    # Of bool there is no minus, of uint8 another one.
    largest = np.maximum(x.max(0).astype(np.float64), -x.min(0).astype(np.float64))
    return np.maximum(largest * (single.eps / 2), single.tiny)


def _stddev(x: np.ndarray) -> np.ndarray:
    """`x.std(axis=0, dtype="float64")` to the last bit, without a copy of all rows in float64."""
    if x.shape[1] == 1:  # which NumPy adds up in pairs
        return x.std(axis=0, dtype="float64")
    mean = x.mean(axis=0, dtype="float64")
    total = np.zeros_like(mean)
    for part in in_parts(x, rows_at_once(x)):
        squares = (part - mean) ** 2
        squares[0] += total  # NumPy adds row after row
        total = squares.sum(axis=0)
    return np.sqrt(total / len(x))


def standardisation(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature over some vectors.

    Args:
        x: `(rows, features)`.

    Returns:
        Two arrays `(features,)` float64: what a standardised model subtracts and divides by.

    Raises:
        DataError: a feature is constant, or not finite.
    """
    x = np.asarray(x)
    check_spread(x, roundings=0)
    return x.mean(axis=0, dtype="float64"), _stddev(x)


def rows_at_once(x: Any) -> int:
    """How many rows of x are held as floats, or go through a network, at once.

    Args:
        x: vectors `(rows, features)` or images `(rows, height, width, channels)`.

    Returns:
        2,000 of vectors, 250 of images; fewer, but 1 at least, where those were more than 2^24
        numbers.
    """
    most = _MOST_VECTORS if x.ndim == 2 else _MOST_IMAGES
    return max(1, min(most, MOST_NUMBERS // max(1, math.prod(x.shape[1:]))))


def slices(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of `count` rows, in order; the last one ends at `count`."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def in_parts(x: Any, size: int) -> Iterator[Any]:
    """At most `size` rows of x at a time, in order."""
    return (x[rows] for rows in slices(len(x), size))


def parts_at(x: Any, rows: np.ndarray, size: int) -> Iterator[Any]:
    """The rows of x at these places, at most `size` at once: of many, no copy of all is made."""
    return (x[part] for part in in_parts(rows, size))


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays by name of all rows, from those of their parts: one part or more, of one's names."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
