"""The density that a mixture's points are from, of its data card, and which are far from it."""

import math
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import chi2

Array = np.ndarray
_LOG_2PI = math.log(2 * math.pi)
#: Of a component's own points one in a thousand is farther from it: by definition an outlier.
OUTLIERS = 0.001
_NEAR = 0.2  # of a weight by which the share of a captured mode may be off


class Truth:
    """A mixture of normals, each bent: its last coordinate by a square of its first.

    Args:
        card: `weights` `(K,)`, `means` `(K, D)`, `covariances` `(K, D, D)` and `warp` (0 if none).
    """

    def __init__(self, card: dict[str, Any]):
        self.weights, self._means, self._covariances = (
            np.asarray(card[name], np.float64) for name in ("weights", "means", "covariances")
        )
        self._warp = float(card.get("warp", 0.0))

    def _parts(self, x: Array) -> tuple[Array, Array]:
        """Log of weight and density, and squared Mahalanobis distance: `(n, K)` each."""
        logs, squares = [], []
        for weight, mean, covariance in zip(
            self.weights, self._means, self._covariances, strict=True
        ):
            spread = np.sqrt(np.diag(covariance))
            straight = np.array(x, np.float64)
            bend = np.square((straight[:, 0] - mean[0]) / spread[0]) - 1
            straight[:, -1] -= self._warp * spread[-1] * bend
            root = np.linalg.cholesky(covariance)
            square = np.square(solve_triangular(root, (straight - mean).T, lower=True)).sum(axis=0)
            constant = math.log(weight) - np.log(np.diag(root)).sum() - 0.5 * len(mean) * _LOG_2PI
            logs.append(constant - 0.5 * square)
            squares.append(square)
        return np.stack(logs, axis=1), np.stack(squares, axis=1)

    def log_prob(self, x: Array) -> Array:
        """Log density at x `(n, D)`: `(n,)`, nats."""
        return logsumexp(self._parts(x)[0], axis=1)

    def _within(self, squares: Array) -> Array:
        radius = float(chi2.ppf(1 - OUTLIERS, self._means.shape[1]))
        return squares <= radius

    def outliers(self, x: Array) -> Array:
        """Which points are far from every component, `(n,)` bool."""
        return np.asarray(~self._within(self._parts(x)[1]).any(axis=1))

    def shares(self, x: Array) -> Array:
        """What each point adds to the share of each mode: `(n, K)`, 0 outside its radius."""
        logs, squares = self._parts(x)
        return np.exp(logs - logsumexp(logs, axis=1, keepdims=True)) * self._within(squares)

    def captured(self, shares: Array, count: int) -> Array:
        """Which modes are captured by shares `(K,)` of so many points: `(K,)` bool."""
        wanted = (1 - OUTLIERS) * self.weights
        chance = 3 * np.sqrt(wanted * (1 - wanted) / count)
        return (np.abs(shares - wanted) <= np.maximum(_NEAR * wanted, chance)) & (shares > 0)
