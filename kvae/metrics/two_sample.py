"""Do two samples come from one distribution? Distances that need points alone, no density."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist, pdist

from kvae.data.rows import in_parts
from kvae.metrics import require_finite
from kvae.metrics.likelihood import mean_and_stderr
from kvae.probability.streams import generator

NUM_DIRECTIONS = 256
MAX_ENERGY_ROWS = 3_000
MAX_COMPARED_ROWS = 10_000
NUM_COMPARED, MAX_REFERENCES = 5, 10
_BLOCK = 256  # rows whose pairs with all others are held at once


class TwoSample:
    """Distances from a fixed sample to others of the same size.

    The size must be the same because two samples of one distribution are not at distance zero,
    but at one that falls with their size: only at equal sizes is a ratio of distances fair.

    Args:
        points: `(n, D)`, in random order.
        seed: of the directions, 0 or more.

    Raises:
        ValueError: a point is not finite, there is none, or the shape is not `(n, D)`.
    """

    def __init__(self, points: np.ndarray, *, seed: int):
        self._shape = np.shape(points)
        points = self._checked("points", points)
        rng = generator(seed, "projections")
        # In one dimension all directions are the same line.
        count = NUM_DIRECTIONS if points.shape[1] > 1 else 1
        directions = rng.standard_normal((count, points.shape[1]))
        self._directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self._sorted = self._sorted_projections(points)
        self._few = points[:MAX_ENERGY_ROWS]
        self._within = _mean_distance_within(self._few)

    def distances(self, other: np.ndarray) -> dict[str, float]:
        """Give both distances to another sample.

        The sliced Wasserstein distance is the mean over random unit directions of the exact
        Wasserstein-1 distance between the projections (Bonneel et al. 2015, "Sliced and Radon
        Wasserstein barycenters of measures"). The energy distance is
        2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013, "Energy statistics", equation
        5, no root taken), as the V-statistic of the first 3,000 points, which is never negative.

        Args:
            other: as many points as the fixed sample has, in random order.

        Returns:
            `sliced_wasserstein`, `energy_distance`, in the unit of the points.

        Raises:
            ValueError: a point is not finite, or the shape is not that of the fixed sample.
        """
        other = self._checked("other", other)
        sliced = np.abs(self._sorted_projections(other) - self._sorted).mean()
        few = other[:MAX_ENERGY_ROWS]
        energy = 2 * _mean_distance(self._few, few) - self._within - _mean_distance_within(few)
        # Never negative but for the rounding of a difference of three near-equal numbers.
        return {"sliced_wasserstein": float(sliced), "energy_distance": max(0.0, float(energy))}

    def _checked(self, name: str, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or points.shape != self._shape:
            raise ValueError(f"{name} must be {self._shape} (n, D): received {points.shape}")
        require_finite(name, points)
        return points

    def _sorted_projections(self, points: np.ndarray) -> np.ndarray:
        return np.sort(self._directions @ points.T, axis=1)


def compare(
    generated: Sequence[dict[str, float]], references: Sequence[dict[str, float]]
) -> dict[str, float]:
    """Give a model's distances, also as multiples of those that a perfect model would have.

    Args:
        generated: of at least two samples of the model, from `TwoSample.distances`.
        references: of at least one sample that is as good as can be.

    Returns:
        For `sliced_wasserstein` and `energy_distance` the mean, and as `_ratio` the mean over that
        of the references: 1 is as good as they are. The `_stderr` of each for these test points,
        of a ratio to first order, which needs two references. No ratio to a reference of zero, as
        of copies of the test points.

    Raises:
        ValueError: there are fewer than two samples, no reference, or a distance is not finite.
    """
    metrics: dict[str, float] = {}
    for name in generated[0]:
        mean, stderr = mean_and_stderr(np.array([one[name] for one in generated]), name)
        metrics |= {name: mean, f"{name}_stderr": stderr}
        perfect = np.array([one[name] for one in references])
        require_finite(f"{name} of the references", perfect)
        reference = float(perfect.mean())
        if reference <= 0:
            continue
        ratio = metrics[f"{name}_ratio"] = mean / reference
        if len(perfect) > 1:
            error = mean_and_stderr(perfect)[1]
            metrics[f"{name}_ratio_stderr"] = math.hypot(stderr, ratio * error) / reference
    return metrics


def _mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Give the mean Euclidean distance over all pairs, a few rows at a time."""
    total = sum(cdist(part, b).sum() for part in in_parts(a, _BLOCK))
    return float(total / (len(a) * len(b)))


def _mean_distance_within(points: np.ndarray) -> float:
    """Give the mean over all ordered pairs, those of a point with itself among them."""
    return float(2 * pdist(points).sum() / len(points) ** 2)
