"""How sure a mean over examples is, without assuming that it is normal."""

import numpy as np

from kvae.metrics import require_finite
from kvae.probability.streams import generator

LEVEL, NUM_RESAMPLES = 0.95, 1_000


def bootstrap_interval(
    values: np.ndarray,
    *,
    seed: int,
    over: np.ndarray | None = None,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    """Give the percentile interval of a mean (Efron & Tibshirani 1993, chapter 13).

    Resamples are drawn one after another: a few vectors are kept, whatever their number.

    Args:
        values: `(n,)` per example, independent, at least two.
        seed: of the resamples, 0 or more.
        over: `(n,)` per example, positive: the interval is that of the mean of the values over the
            mean of these.
        level: share of such intervals that hold the true mean, between 0 and 1; a little less for
            fewer than some 50 values.
        num_resamples: at least 1.

    Returns:
        The lower and the upper end, in the values' unit (over that of `over`).

    Raises:
        ValueError: a value is not finite, there are fewer than two, `over` is not as described, or
            a number is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be (n,), n >= 2: received {values.shape}")
    require_finite("values", values)
    if over is not None:
        over = np.asarray(over, np.float64)
        if over.shape != values.shape or not (over > 0).all():
            raise ValueError(
                f"over must be positive, as many as values: received {over.shape}, {values.shape}"
            )
        require_finite("over", over)
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(
            "level must be between 0 and 1, num_resamples at least 1: "
            f"received {level} and {num_resamples}"
        )
    rng = generator(seed, "bootstrap")
    count = len(values)
    means = []
    for _ in range(num_resamples):
        rows = rng.integers(count, size=count)
        means.append(values[rows].mean() / (1.0 if over is None else over[rows].mean()))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
