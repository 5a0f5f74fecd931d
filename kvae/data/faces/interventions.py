"""Drawn faces of which some share the value of one factor."""

from collections.abc import Sequence

import numpy as np

from kvae.data.faces import draw
from kvae.data.faces.factors import FACTORS, sample_factors
from kvae.errors import UsageError


def fixed_factor_batches(
    factor_names: Sequence[str], batch: int, image_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw batches of random faces, in each of which all faces share one factor's random value.

    Args:
        factor_names: of FACTORS, one a batch; may repeat.
        batch: faces in each, at least 1.
        image_size: width and height in pixels, 32 to 256.
        rng: where the factors come from.

    Returns:
        uint8 `(len(factor_names) * batch, image_size, image_size, 3)`, batch after batch.

    Raises:
        UsageError: a name is not in FACTORS, or a size is not allowed.
    """
    unknown = sorted(set(factor_names) - set(FACTORS))
    if unknown:
        raise UsageError(f"factors must be of {', '.join(FACTORS)}: received {', '.join(unknown)}")
    if batch < 1:
        raise UsageError(f"batch must be at least 1: received {batch}")
    factors = sample_factors(len(factor_names) * batch, rng)
    for index, name in enumerate(factor_names):
        rows = slice(index * batch, (index + 1) * batch)
        factors[name][rows] = factors[name][index * batch]
    return draw(factors, image_size)
