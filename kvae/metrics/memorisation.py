"""Are samples copies of training rows? They should lie no closer to them than fresh data do."""

import numpy as np

from kvae.metrics.neighbours import nearest

CLOSE_QUANTILE = 0.01
_FAR = 10


def train_distances(points: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Give the distances to the ten nearest training rows, or to all of fewer, nearest first.

    Args:
        points: `(n, d)` features.
        train: `(k, d)` features of training rows.

    Raises:
        ValueError: the shapes do not fit, or a value is not finite.
    """
    return nearest(points, train, min(_FAR, len(train)))[0]


def compared(from_samples: np.ndarray, from_test: np.ndarray) -> dict[str, float]:
    """Compare how close samples and fresh data come to the training rows.

    Test rows are drawn as the training rows were, but not trained on: their distances to the
    nearest training row are those of a model that learned the distribution and copies nothing.

    How near a sample lies to the data depends on how far out it is, and samples of a blurry model
    are nowhere far out; whether it is a copy shows in how much nearer its nearest training row is
    than its tenth nearest.

    Args:
        from_samples: `(n, k)`, `train_distances` of features of a model's samples.
        from_test: `(m, k)`, those of test rows.

    Returns:
        `nearest_train_distance`, `nearest_train_distance_test`: medians of the Euclidean
        distances to the nearest training row, in the features' unit.
        `nearest_train_distance_ratio`: the first over the second: 1 for fresh data, above it for
        samples away from all data, below it for copies and for samples that vary too little.
        Missing if the second is 0: then most test rows are copies themselves.
        `memorised_fraction`: share of samples whose distance to the nearest training row, over that
        to the tenth nearest (or the last, of fewer), is below the 1% quantile of the same of test
        rows: 0.01 for fresh data, if there are hundreds of test rows. A sample at distance 0 is a
        copy and always counts.
    """
    metrics = {
        "nearest_train_distance": float(np.median(from_samples[:, 0])),
        "nearest_train_distance_test": float(np.median(from_test[:, 0])),
    }
    if metrics["nearest_train_distance_test"] > 0:
        metrics["nearest_train_distance_ratio"] = (
            metrics["nearest_train_distance"] / metrics["nearest_train_distance_test"]
        )
    close = _relative(from_samples) < np.quantile(_relative(from_test), CLOSE_QUANTILE)
    return {**metrics, "memorised_fraction": float((close | (from_samples[:, 0] == 0)).mean())}


def _relative(distances: np.ndarray) -> np.ndarray:
    """The nearest over the farthest of some, 1 where all are 0."""
    near, far = distances[:, 0], distances[:, -1]
    return np.divide(near, far, out=np.ones_like(near), where=far > 0)
