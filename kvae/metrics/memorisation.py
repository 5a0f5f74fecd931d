"""Are samples copies of training rows? They should lie no closer to them than fresh data do."""

import numpy as np

from kvae.metrics.neighbours import nearest

CLOSE_QUANTILE = 0.01


def memorisation_metrics(
    samples: np.ndarray, test: np.ndarray, train: np.ndarray
) -> dict[str, float]:
    """Compare how close samples and fresh data come to the training rows.

    Test rows are drawn as the training rows were, but not trained on: their distances to the
    nearest training row are those of a model that learned the distribution and copies nothing.

    Args:
        samples: `(n, d)` features of a model's samples.
        test: `(m, d)` features of test rows.
        train: `(k, d)` features of training rows.

    Returns:
        `nearest_train_distance_samples`, `nearest_train_distance_test`: medians of the Euclidean
        distances to the nearest training row, in the features' unit.
        `memorisation_ratio`: the first over the second, 1 for fresh data, well below it for copies
        (and above it for samples away from all data). Missing if the second is 0: then most test
        rows are copies themselves.
        `memorised_fraction`: share of samples that are closer to a training row than the 1%
        quantile of the test rows, 0.01 for fresh data. A sample at distance 0 is a copy and always
        counts, also where that quantile is 0; samples as far away as all test rows never do.

    Raises:
        ValueError: the shapes do not fit, or a value is not finite.
    """
    from_samples, from_test = (nearest(points, train)[0] for points in (samples, test))
    metrics = {
        "nearest_train_distance_samples": float(np.median(from_samples)),
        "nearest_train_distance_test": float(np.median(from_test)),
    }
    if metrics["nearest_train_distance_test"] > 0:
        metrics["memorisation_ratio"] = (
            metrics["nearest_train_distance_samples"] / metrics["nearest_train_distance_test"]
        )
    close = from_samples < np.quantile(from_test, CLOSE_QUANTILE)
    return {**metrics, "memorised_fraction": float((close | (from_samples == 0)).mean())}
