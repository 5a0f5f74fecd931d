"""Does one set of features cover another? Distances to nearest neighbours, chunk by chunk.

Time grows with the product of the numbers of rows; beside the features 100 MB are held, or as much
as 10,000 rows of them where that is more.
"""

import numpy as np

from kvae.metrics import require_finite
from kvae.metrics.pairs import Space, centre_of

NUM_NEIGHBOURS = 5


class Manifold:
    """Real features whose balls are found once, to hold many sets of others against.

    Args:
        real: `(n, d)` features.
        k: at least 1, less than n.

    Raises:
        ValueError: another shape, k is out of range, or a value is not finite.
    """

    def __init__(self, real: np.ndarray, *, k: int = NUM_NEIGHBOURS):
        (self._real,) = _checked(real=real)
        _require_k(k, real=len(self._real))
        self._k = k
        self._centre = centre_of(self._real)
        self._radius = _squared_radii(self._real, k, self._centre)

    def metrics(self, fake: np.ndarray) -> dict[str, float]:
        """As `manifold_metrics` gives them, of `fake` `(m, d)` features."""
        real, fake = _checked(real=self._real, fake=fake)
        _require_k(self._k, real=len(real), fake=len(fake))
        fake_radius = _squared_radii(fake, self._k, self._centre)
        pairs = 0
        precise, recalled, covered = (np.zeros(len(of), bool) for of in (fake, real, real))
        for chunk in Space(real, fake, self._centre).chunks():
            rows, columns = chunk.rows, chunk.columns
            in_real = chunk.closer(self._radius[rows, np.newaxis])
            pairs += int(np.count_nonzero(in_real))
            precise[columns] |= in_real.any(0)
            covered[rows] |= in_real.any(1)
            recalled[rows] |= chunk.closer(fake_radius[np.newaxis, columns]).any(1)
        return {
            "precision": float(precise.mean()),
            "recall": float(recalled.mean()),
            "density": pairs / (self._k * len(fake)),
            "coverage": float(covered.mean()),
        }


def manifold_metrics(
    real: np.ndarray, fake: np.ndarray, *, k: int = NUM_NEIGHBOURS
) -> dict[str, float]:
    """Give how much of each set lies among the other.

    A point's ball reaches to the k-th nearest of the other points of its own set; its border does
    not belong to it. Distances that are equal but for rounding count as equal.

    Args:
        real: `(n, d)` features.
        fake: `(m, d)` features.
        k: at least 1, less than n and m.

    Returns:
        `precision`: share of the fake in the ball of any real point; `recall`: share of the real
        in the ball of any fake point (Kynkäänniemi et al. 2019, "Improved precision and recall
        metric for assessing generative models").
        `density`: 1 / (k m) of the pairs of a real ball and a fake point in it, which may be over
        1; `coverage`: share of the real whose ball has a fake point in it (Naeem et al. 2020,
        "Reliable fidelity and diversity metrics for generative models"). Of two large samples of
        one distribution density is 1 on average, coverage 1 - (1 / 2)^k for m = n.

    Raises:
        ValueError: the shapes do not fit, k is out of range, or a value is not finite.
    """
    real, fake = _checked(real=real, fake=fake)
    _require_k(k, real=len(real), fake=len(fake))
    return Manifold(real, k=k).metrics(fake)


def nearest(
    points: np.ndarray, references: np.ndarray, k: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Give for every point the nearest of some references, the nearest first.

    Args:
        points: `(n, d)`.
        references: `(m, d)`, at least k.
        k: how many.

    Returns:
        The Euclidean distances `(n, k)` float64, exactly 0 from a copy, and the references' indices
        `(n, k)` int64; of references equally near but for rounding, any.

    Raises:
        ValueError: the shapes do not fit, or a value is not finite.
    """
    points, references = _checked(points=points, references=references)
    if not 1 <= k <= len(references):
        raise ValueError(f"k must be from 1 to {len(references)}, received {k}")
    squared, index = Space(points, references, centre_of(references)).nearest(k)
    return np.sqrt(squared), index


def _checked(**sets: np.ndarray) -> list[np.ndarray]:
    found = [np.asarray(points) for points in sets.values()]
    if any(points.ndim != 2 or points.shape[1] != found[0].shape[1] for points in found):
        shapes = " and ".join(str(points.shape) for points in found)
        raise ValueError(f"{' and '.join(sets)} must be (rows, d), of one d: received {shapes}")
    for name, points in zip(sets, found, strict=True):
        require_finite(name, points)
    return found


def _require_k(k: int, **counts: int) -> None:
    if not 1 <= k < min(counts.values()):
        received = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"k must be at least 1 and less than any number of rows: received {k}, {received}"
        )


def _squared_radii(points: np.ndarray, k: int, centre: np.ndarray) -> np.ndarray:
    """Give `(n,)`: from each point to the k-th nearest other, squared."""
    return Space(points, points, centre, others=True).nearest(k)[0][:, -1]
