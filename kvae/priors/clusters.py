"""Where the components of a prior start: the centres of clusters."""

import numpy as np

_LEAST_ROWS = 10  # a cluster of fewer says little of where data are
_MOST_ROWS = 10_000  # time and memory grow with rows times clusters
_ROUNDS = 20


def are_enough(rows: int, count: int) -> bool:
    """Whether so many rows show so many clusters: ten rows each, and 1,000 clusters at most."""
    return _LEAST_ROWS * count <= min(rows, _MOST_ROWS)


def clusters(
    rows: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut rows into clusters by k-means, from one start of k-means++.

    Args:
        rows: `(n, D)`; 10,000 of them are looked at, at most.
        count: of clusters, K, for which the rows `are_enough`.
        rng: of the start.

    Returns:
        Centres `(K, D)` float64, and the mean variance of each dimension within the clusters,
        `(D,)`.

    Source: Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    rows = np.asarray(rows, np.float64)
    if len(rows) > _MOST_ROWS:
        rows = rows[rng.choice(len(rows), _MOST_ROWS, replace=False)]
    centres = _spread_out(rows, count, rng)
    for _ in range(_ROUNDS):
        own = _distances(rows, centres).argmin(axis=1)
        sizes = np.bincount(own, minlength=count)[:, None]
        sums = np.stack([np.bincount(own, column, count) for column in rows.T], axis=1)
        centres = np.where(sizes, sums / np.maximum(sizes, 1), centres)
    return centres, np.square(rows - centres[own]).mean(axis=0)


def _spread_out(rows, count, rng):
    """Some of the rows, each drawn by its squared distance to those before it.

    The best of a few draws is taken, as scikit-learn does.
    """
    draws = 2 + int(np.log(count))
    chosen = [int(rng.integers(len(rows)))]
    nearest = _distances(rows, rows[chosen])[:, 0]
    while len(chosen) < count:
        total = nearest.sum()
        # All alike if there are fewer different rows than clusters, or an encoder overflowed.
        weights = nearest / total if 0 < total < np.inf else None
        drawn = rng.choice(len(rows), draws, p=weights)
        left = np.minimum(nearest[:, None], _distances(rows, rows[drawn]))
        best = int(left.sum(axis=0).argmin())
        nearest = left[:, best]
        chosen.append(int(drawn[best]))
    return rows[chosen]


def _distances(rows, centres):
    """Squared distances, `(rows, centres)`."""
    crossed = rows @ centres.T
    found = np.square(rows).sum(axis=1)[:, None] - 2 * crossed + np.square(centres).sum(axis=1)
    return np.maximum(found, 0.0)
