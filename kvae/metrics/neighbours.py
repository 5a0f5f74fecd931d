"""Does one set of features cover another? Distances to nearest neighbours, block by block."""

from collections.abc import Iterator

import numpy as np

from kvae.data.rows import slices
from kvae.metrics import require_finite

NUM_NEIGHBOURS = 5
_BLOCK = 1024  # rows of either side: all their pairs are held at once
# Largest error of a squared distance from a matrix product, relative to the squared norms.
_ROUNDING = 1e-13


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
        self._centre = self._real.mean(0, dtype=np.float64)
        self._radius = _squared_radii(self._real, k, self._centre)

    def metrics(self, fake: np.ndarray) -> dict[str, float]:
        """As `manifold_metrics` gives them, of `fake` `(m, d)` features."""
        real, fake = _checked(real=self._real, fake=fake)
        _require_k(self._k, real=len(real), fake=len(fake))
        fake_radius = _squared_radii(fake, self._k, self._centre)
        pairs = 0
        precise, recalled, covered = (np.zeros(len(of), bool) for of in (fake, real, real))
        for rows, columns, squared, slack in _blocks(real, fake, self._centre):
            reached = squared + slack
            in_real = reached < self._radius[rows, np.newaxis]
            pairs += int(np.count_nonzero(in_real))
            precise[columns] |= in_real.any(0)
            covered[rows] |= in_real.any(1)
            recalled[rows] |= (reached < fake_radius[columns]).any(1)
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
    least = np.full((len(points), k), np.inf)
    index = np.zeros((len(points), k), np.int64)
    centre = references.mean(0, dtype=np.float64)
    for rows, columns, squared, _ in _blocks(points, references, centre):
        numbers = np.broadcast_to(np.arange(columns.start, columns.stop), squared.shape)
        candidates = np.concatenate([least[rows], squared], axis=1)
        chosen = np.argpartition(candidates, k - 1, axis=1)[:, :k]
        least[rows] = np.take_along_axis(candidates, chosen, axis=1)
        index[rows] = np.take_along_axis(
            np.concatenate([index[rows], numbers], axis=1), chosen, axis=1
        )
    distance = np.empty((len(points), k))
    for rows in slices(len(points), _BLOCK):
        for place in range(k):  # one at a time: all at once could fill the memory
            apart = np.subtract(points[rows], references[index[rows, place]], dtype=np.float64)
            distance[rows, place] = np.linalg.norm(apart, axis=1)
    order = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(distance, order, axis=1), np.take_along_axis(index, order, axis=1)


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


def _blocks(
    a: np.ndarray, b: np.ndarray, centre: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Give squared distances of rows of `a` to rows of `b`, and how wrong they may be.

    |a|^2 + |b|^2 - 2 a.b loses the digits that the norms have over the distance: the norms are
    about a centre, in float64.
    """
    for rows in slices(len(a), _BLOCK):
        left = np.subtract(a[rows], centre, dtype=np.float64)
        left_norm = np.square(left).sum(1)
        for columns in slices(len(b), _BLOCK):
            right = np.subtract(b[columns], centre, dtype=np.float64)
            norms = left_norm[:, np.newaxis] + np.square(right).sum(1)
            squared = np.maximum(norms - 2 * (left @ right.T), 0)
            yield rows, columns, squared, _ROUNDING * norms


def _squared_radii(points: np.ndarray, k: int, centre: np.ndarray) -> np.ndarray:
    """Give `(n,)`: from each point to the k-th nearest other, squared."""
    least = np.full((len(points), k), np.inf)
    for rows, columns, squared, _ in _blocks(points, points, centre):
        if rows == columns:
            np.fill_diagonal(squared, np.inf)
        candidates = np.concatenate([least[rows], squared], axis=1)
        least[rows] = np.partition(candidates, k - 1, axis=1)[:, :k]
    return least.max(1)
