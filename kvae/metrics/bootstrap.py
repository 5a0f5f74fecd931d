"""How sure a mean over examples is, without assuming that it is normal."""

import numpy as np

from kvae.metrics import require_finite

LEVEL, NUM_RESAMPLES = 0.95, 1_000


def bootstrap_interval(
    values: np.ndarray, *, seed: int, level: float = LEVEL, num_resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """Give the percentile interval of a mean (Efron & Tibshirani 1993, chapter 13).

    Resamples are drawn one after another: a few vectors are kept, whatever their number.

    Args:
        values: `(n,)` per example, independent, at least two.
        seed: of the resamples, 0 or more.
        level: share of such intervals that hold the true mean, between 0 and 1; a little less for
            fewer than some 50 values.
        num_resamples: at least 1.

    Returns:
        The lower and the upper end, in the values' unit.

    Raises:
        ValueError: a value is not finite, there are fewer than two, or a number is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n,), n >= 2: received {values.shape}")
    require_finite("values", values)
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(
            "level must be between 0 and 1, num_resamples at least 1: "
            f"received {level} and {num_resamples}"
        )
    rng = np.random.default_rng(seed)
    count = len(values)
    means = [values[rng.integers(count, size=count)].mean() for _ in range(num_resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
