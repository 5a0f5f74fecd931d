"""Are samples copies of training rows? Copies are nearer to them than new data, and as sharp."""

from typing import NamedTuple

import numpy as np

from kvae.metrics.neighbours import nearest

CLOSE_QUANTILE = 0.01
AS_SHARP = 0.8  # of a row's sharpness; the mean of two rows has about half
_FAR = 10


class Near(NamedTuple):
    """How points lie to the training rows nearest to them.

    Args:
        distances: to the ten nearest, or to all of fewer, nearest first, `(n, k)`.
        sharpness: of each point over that of its nearest training row, `(n,)`.
    """

    distances: np.ndarray
    sharpness: np.ndarray


def sharpness(images: np.ndarray) -> np.ndarray:
    """Give the mean squared difference of pixels side by side, which blur makes small.

    Args:
        images: `(n, height, width, channels)`, in [0, 1]; what is outside is clipped.

    Returns:
        `(n,)` float64.
    """
    images = np.clip(np.asarray(images, np.float64), 0, 1)
    steps = [np.square(np.diff(images, axis=axis)) for axis in (1, 2)]
    means = [step.mean((1, 2, 3)) if step.size else np.zeros(len(images)) for step in steps]
    return np.sum(means, axis=0)


def near_train(
    points: np.ndarray,
    train: np.ndarray,
    *,
    point_sharpness: np.ndarray | None = None,
    train_sharpness: np.ndarray | None = None,
) -> Near:
    """Give how points lie to training rows.

    Args:
        points: `(n, d)` features.
        train: `(k, d)` features of training rows.
        point_sharpness: `(n,)`, such as `sharpness` of the images behind the features. None: the
            squared distance from the mean of the training rows, which means of rows have less of.
        train_sharpness: `(k,)`, the same of the training rows.

    Raises:
        ValueError: the shapes do not fit, or a value is not finite.
    """
    distances, places = nearest(points, train, min(_FAR, len(train)))
    if point_sharpness is None or train_sharpness is None:
        centre = train.mean(0, dtype=np.float64)
        point_sharpness, train_sharpness = (
            np.square(rows - centre).sum(1) for rows in (points, train)
        )
    own = np.asarray(train_sharpness, np.float64)[places[:, 0]]
    ratio = np.divide(point_sharpness, own, out=np.ones(len(own)), where=own > 0)
    return Near(distances, ratio)


def compared(samples: Near, test: Near) -> dict[str, float]:
    """Compare how close samples and fresh data come to the training rows.

    Test rows are drawn as the training rows were, but not trained on: their distances to the
    nearest training row are those of a model that learned the distribution and copies nothing.

    How near a sample lies to the data depends on how far out it is, and samples of a blurry model
    are nowhere far out; whether it is a copy shows in how much nearer its nearest training row is
    than its tenth nearest. That is so too of what lies far from all data and of the mean of two
    rows, which are no copies: the one is not near, the other not as sharp.

    Args:
        samples: `near_train` of features of a model's samples.
        test: that of test rows.

    Returns:
        `nearest_train_distance`, `nearest_train_distance_test`: medians of the Euclidean
        distances to the nearest training row, in the features' unit.
        `nearest_train_distance_ratio`: the first over the second: 1 for fresh data, above it for
        samples away from all data, below it for copies and for samples that vary too little.
        Missing if the second is 0: then most test rows are copies themselves.
        `memorised_fraction`: share of samples that are copies of a training row: nearer to it than
        the median test row to its own; with a distance, over that to the tenth nearest row (or the
        last, of fewer), below the 1% quantile of the same of test rows; and of four fifths of
        its sharpness at least. At most 0.01 for fresh data, if there are hundreds of test rows. A
        sample at distance 0 is a copy and always counts.
    """
    distance = samples.distances[:, 0]
    median = float(np.median(test.distances[:, 0]))
    metrics = {
        "nearest_train_distance": float(np.median(distance)),
        "nearest_train_distance_test": median,
    }
    if median > 0:
        metrics["nearest_train_distance_ratio"] = metrics["nearest_train_distance"] / median
    bound = np.quantile(_relative(test.distances), CLOSE_QUANTILE)
    close = (distance < median) & (_relative(samples.distances) < bound)
    copies = (close & (samples.sharpness >= AS_SHARP)) | (distance == 0)
    return {**metrics, "memorised_fraction": float(copies.mean())}


def _relative(distances: np.ndarray) -> np.ndarray:
    """The nearest over the farthest of some, 1 where all are 0."""
    near, far = distances[:, 0], distances[:, -1]
    return np.divide(near, far, out=np.ones_like(near), where=far > 0)
