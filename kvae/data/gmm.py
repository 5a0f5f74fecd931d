"""A mixture of Gaussians, straight or curved, whose density is known exactly."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from kvae.data import GMM_WEIGHTS, Dataset, Split
from kvae.data.rows import slices
from kvae.errors import UsageError
from kvae.probability.streams import generator

NUM_TRAIN, NUM_VALID, NUM_TEST = 50_000, 10_000, 10_000
SMALLEST_STDDEV, LARGEST_STDDEV = 0.4, 1.0
MAX_COMPONENTS, MAX_DIM, MAX_SEPARATION, MAX_WARP = 50, 32, 1000.0, 5.0
STEEP_SMALLEST_WEIGHT = 0.01
_BLOCK = 65_536  # rows whose pairs with all components are held at once


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians in D dimensions, in float64, each bent by a shear of its own.

    A point y of component k becomes x = T_k(y): the last coordinate grows by
    `warp * s_last * (((y_first - m_first) / s_first)**2 - 1)`, with m and s the means and standard
    deviations of the first and last coordinate of the Gaussian k. T_k has a Jacobian determinant of
    one, so log p(x) is the logsumexp over k of log w_k + log N(T_k^-1(x); m_k, C_k) (change of
    variables; the twisted Gaussian of Haario, Saksman & Tamminen, "Adaptive proposal distribution
    for random walk Metropolis algorithm", 1999). It keeps the mean of a component, and adds
    2 (warp * s_last)**2 to the variance of the last coordinate alone.

    Args:
        weights: `(K,)`, positive, summing to one.
        means: `(K, D)`.
        covariances: `(K, D, D)`, of the Gaussians before the shear, symmetric, positive definite.
        warp: how much components are bent; 0 leaves them straight, more needs D of 2 at least.

    Raises:
        ValueError: the arrays do not describe a mixture.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    warp: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, np.array(getattr(self, name), np.float64))
        shapes = self.weights.shape, self.means.shape, self.covariances.shape
        count, dim = self.means.shape if self.means.ndim == 2 else (0, 0)
        if count < 1 or dim < 1 or shapes != ((count,), (count, dim), (count, dim, dim)):
            raise ValueError(
                "a mixture needs weights (K,), means (K, D) and covariances (K, D, D): received "
                + ", ".join(map(str, shapes))
            )
        if not (self.weights > 0).all() or abs(self.weights.sum() - 1) > 1e-6:
            raise ValueError(f"weights must be positive and sum to one: received {self.weights}")
        if not np.isfinite(self.means).all():
            raise ValueError(f"means must be finite: received {self.means}")
        if not np.allclose(self.covariances, self.covariances.transpose(0, 2, 1)):
            raise ValueError("every covariance must be symmetric and finite")
        if not isinstance(self.warp, int | float) or not math.isfinite(self.warp):
            raise ValueError(f"warp must be a finite number: received {self.warp!r}")
        if self.warp < 0:
            raise ValueError(f"warp must not be negative: received {self.warp}")
        if self.warp and dim < 2:
            raise ValueError(f"one dimension cannot be bent: warp {self.warp} needs 2 at least")
        try:
            _ = self._cholesky
        except np.linalg.LinAlgError as error:
            raise ValueError("every covariance must be positive definite") from error

    @cached_property
    def _cholesky(self) -> np.ndarray:
        return np.linalg.cholesky(self.covariances)

    @property
    def num_components(self) -> int:
        """The number of Gaussians, K."""
        return self.means.shape[0]

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.means.shape[1]

    def _chunks(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must be (rows, {self.dim}): received {x.shape}")
        for rows in slices(len(x), _BLOCK):
            yield rows, np.asarray(x[rows], np.float64)

    def _shear(self, x: np.ndarray, k: int, sign: int) -> np.ndarray:
        """Give T_k(x) for sign 1 and its inverse for sign -1, `(n, D)`."""
        if not self.warp:
            return x
        stddevs = np.sqrt(np.diagonal(self.covariances[k]))
        bend = np.square((x[:, 0] - self.means[k, 0]) / stddevs[0]) - 1
        x = x.copy()
        x[:, -1] += sign * self.warp * stddevs[-1] * bend
        return x

    def _distances(self, x: np.ndarray) -> np.ndarray:
        distances = np.empty((len(x), self.num_components))
        for k, (mean, lower) in enumerate(zip(self.means, self._cholesky, strict=True)):
            straight = self._shear(x, k, -1) - mean
            white = solve_triangular(lower, straight.T, lower=True, check_finite=False)
            distances[:, k] = np.sqrt(np.square(white).sum(0))
        return distances

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        """Give log p(x, component), `(n, K)` nats."""
        half_log_det = np.log(np.diagonal(self._cholesky, axis1=1, axis2=2)).sum(1)
        constant = np.log(self.weights) - half_log_det - 0.5 * self.dim * math.log(2 * math.pi)
        return constant - 0.5 * np.square(self._distances(x))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Give log p(x).

        Args:
            x: `(n, D)`.

        Returns:
            `(n,)` float64, nats.
        """
        result = np.empty(len(x))
        for rows, chunk in self._chunks(x):
            result[rows] = logsumexp(self._log_joint(chunk), axis=1)
        return result

    def responsibilities(self, x: np.ndarray) -> np.ndarray:
        """Give p(component given x).

        Args:
            x: `(n, D)`.

        Returns:
            `(n, K)` float64, each row sums to one.
        """
        result = np.empty((len(x), self.num_components))
        for rows, chunk in self._chunks(x):
            log_joint = self._log_joint(chunk)
            result[rows] = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
        return result

    def mahalanobis(self, x: np.ndarray) -> np.ndarray:
        """Give the distance (not squared) of every row to every component, in its own stddevs.

        Of a bent component it is the distance of T_k^-1(x) to the mean of the Gaussian.

        Args:
            x: `(n, D)`.

        Returns:
            `(n, K)` float64.
        """
        result = np.empty((len(x), self.num_components))
        for rows, chunk in self._chunks(x):
            result[rows] = self._distances(chunk)
        return result

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw points.

        Args:
            count: how many.
            rng: where the randomness comes from; it is advanced.

        Returns:
            The points `(count, D)` float64 and the component of each `(count,)` int64.
        """
        probabilities = self.weights / self.weights.sum()
        component = rng.choice(self.num_components, count, p=probabilities).astype(np.int64)
        x = rng.standard_normal((count, self.dim))
        for k, (mean, lower) in enumerate(zip(self.means, self._cholesky, strict=True)):
            own = component == k
            x[own] = self._shear(mean + x[own] @ lower.T, k, 1)
        return x, component

    def to_card(self) -> dict[str, Any]:
        """Give the mixture as JSON values; `from_card` gives back the same numbers exactly.

        A warp of 0 is left out: a card without one describes the same mixture.
        """
        card: dict[str, Any] = {
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
        }
        return {**card, "warp": float(self.warp)} if self.warp else card

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> "Mixture":
        """Rebuild a mixture from `to_card`; other keys are ignored.

        Raises:
            ValueError: a key is missing, or the numbers do not describe a mixture.
        """
        keys = ("weights", "means", "covariances")
        missing = [key for key in keys if key not in card]
        if missing:
            raise ValueError(f"a mixture's card needs {', '.join(keys)}: {missing} missing")
        arrays = {key: card[key] for key in keys}
        return cls(**arrays, warp=card.get("warp", 0.0))


def random_mixture(
    num_components: int,
    dim: int,
    separation: float,
    seed: int,
    *,
    weights: str = "random",
    warp: float = 0.0,
) -> Mixture:
    """Draw a mixture with unequal weights and full covariances.

    Every covariance has a random rotation and standard deviations uniform in 0.4 to 1 along its
    axes.

    Args:
        num_components: K, at least 1.
        dim: D, at least 1.
        separation: every two means are at least this many times the largest standard deviation
            (over all components) apart; 0 lets them fall anywhere.
        seed: the same seed gives the same mixture.
        weights: "random" is Dirichlet(4), mixed with equal ones so that none is under 0.2 / K;
            "steep" is a geometric sequence down to 0.01, in the order of the random ones. Nothing
            else depends on the choice.
        warp: see `Mixture`; the means and covariances do not depend on it.

    Raises:
        ValueError: there are no such weights, or `Mixture` refuses the warp.
    """
    if weights not in GMM_WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(GMM_WEIGHTS)}: received {weights!r}")
    rng = generator(seed, "gmm mixture")
    drawn = 0.2 / num_components + 0.8 * rng.dirichlet(np.full(num_components, 4.0))
    if weights == "steep":
        drawn = _steep_weights(num_components)[np.argsort(np.argsort(drawn))]
    stddevs = rng.uniform(SMALLEST_STDDEV, LARGEST_STDDEV, (num_components, dim))
    scaled_axes = _rotations(num_components, dim, rng) * stddevs[:, None, :]
    covariances = scaled_axes @ scaled_axes.transpose(0, 2, 1)
    means = _separated_means(num_components, dim, separation, stddevs.max(), rng)
    return Mixture(drawn / drawn.sum(), means, covariances, warp)


def _steep_weights(count: int) -> np.ndarray:
    """Give a rising geometric sequence of sum one that starts at 0.01 (count 1: the weight 1)."""
    if count == 1:
        return np.ones(1)
    from scipy.optimize import brentq

    powers = np.arange(count)
    total = 1 / STEEP_SMALLEST_WEIGHT
    # The second of two weights is total - 1 times the first, and more weights rise more slowly.
    ratio = brentq(lambda r: np.sum(r**powers) - total, 1.0, total, xtol=1e-13)
    return STEEP_SMALLEST_WEIGHT * ratio**powers


def _rotations(count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Draw orthogonal matrices uniformly (Mezzadri 2007, section 5)."""
    orthogonal, upper = np.linalg.qr(rng.standard_normal((count, dim, dim)))
    return orthogonal * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]


def _separated_means(
    count: int, dim: int, separation: float, stddev: float, rng: np.random.Generator
) -> np.ndarray:
    """Throw means into a box one by one; the box grows whenever the next one finds no room."""
    distance = separation * stddev
    half_width = max(distance * count ** (1 / dim), 3 * stddev)
    # The typical distance between two points of a cube grows with the root of its dimension:
    # without this, components would be far apart in high dimensions whatever the separation.
    half_width /= math.sqrt(max(1.0, dim / 3))
    means = np.empty((0, dim))
    while len(means) < count:
        candidates = rng.uniform(-half_width, half_width, (200, dim))
        nearest = np.linalg.norm(candidates[:, None] - means, axis=2).min(1, initial=np.inf)
        fitting = np.flatnonzero(nearest >= distance)
        if fitting.size:
            means = np.vstack([means, candidates[fitting[:1]]])
        else:
            half_width *= 1.2
    return means


def mixture_of(card: dict[str, Any]) -> Mixture | None:
    """The mixture that a data card describes; None for data of another kind."""
    return Mixture.from_card(card["mixture"]) if "mixture" in card else None


def load(
    *,
    gmm_seed: int = 0,
    gmm_components: int = 10,
    gmm_dim: int = 3,
    gmm_separation: float = 5.0,
    gmm_warp: float = 0.0,
    gmm_weights: str = "random",
) -> Dataset:
    """Draw a random mixture and 50,000 train, 10,000 valid and 10,000 test points from it.

    Args:
        gmm_seed: of the mixture and of the points, 0 or more.
        gmm_components: how many Gaussians, 1 to 50.
        gmm_dim: how many dimensions, 1 to 32.
        gmm_separation: least distance between two means in units of the largest standard
            deviation, 0 to 1000 (beyond that, float32 points lose digits).
        gmm_warp: how much every component is bent, 0 (straight) to 5; needs two dimensions.
        gmm_weights: "random", or "steep" with a smallest weight of 0.01 (see `random_mixture`).

    Returns:
        float32 points, labelled with the `component` that each was drawn from; the card holds the
        mixture for `Mixture.from_card`.

    Raises:
        UsageError: an option is out of range.
    """
    _check_whole("gmm_seed", gmm_seed, 0, None)
    _check_whole("gmm_components", gmm_components, 1, MAX_COMPONENTS)
    _check_whole("gmm_dim", gmm_dim, 1, MAX_DIM)
    if not 0 <= gmm_separation <= MAX_SEPARATION:
        raise UsageError(
            f"gmm_separation must be from 0 to {MAX_SEPARATION:g}: received {gmm_separation}"
        )
    if not 0 <= gmm_warp <= MAX_WARP:
        raise UsageError(f"gmm_warp must be from 0 to {MAX_WARP:g}: received {gmm_warp}")
    if gmm_warp and gmm_dim < 2:
        raise UsageError(
            f"gmm_warp bends the last coordinate by the first, so it needs gmm_dim of 2 or more: "
            f"received gmm_warp {gmm_warp}, gmm_dim {gmm_dim}"
        )
    if gmm_weights not in GMM_WEIGHTS:
        raise UsageError(
            f"gmm_weights must be one of {', '.join(GMM_WEIGHTS)}: received {gmm_weights!r}"
        )
    mixture = random_mixture(
        gmm_components, gmm_dim, gmm_separation, gmm_seed, weights=gmm_weights, warp=gmm_warp
    )
    counts = {"train": NUM_TRAIN, "valid": NUM_VALID, "test": NUM_TEST}
    streams = np.random.SeedSequence(gmm_seed).spawn(len(counts))
    splits = {}
    for (name, count), stream in zip(counts.items(), streams, strict=True):
        x, component = mixture.sample(count, np.random.default_rng(stream))
        splits[name] = Split(x.astype(np.float32), {"component": component})
    card = {
        "name": "gmm",
        "source": "drawn",
        "seed": int(gmm_seed),
        "separation": float(gmm_separation),
        "counts": counts,
        "mixture": mixture.to_card(),
    }
    if gmm_weights != "random":  # else it equals the card of a version that does not name it
        card["weights"] = gmm_weights
    return Dataset(kind="vectors", **splits, card=card, color_by="component")


def _check_whole(name: str, value: int, low: int, high: int | None) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"from {low} to {high}"
        raise UsageError(f"{name} must be a whole number {allowed}: received {value!r}")
