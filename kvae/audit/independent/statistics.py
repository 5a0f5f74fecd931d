"""What holds of draws and densities whatever the model, as numbers that chance moves alone.

Every test says how far off something is in units of its own error, and how far chance leads.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from kvae.audit.independent.distributions import LOG_2PI

Array = np.ndarray
LogProb = Callable[[Array], Array]
#: Chance of a false alarm of each test, all its statistics together.
FALSE_ALARM = 1e-6
_CLUSTERS, _ROWS_OF_A_CLUSTER = 16, 20
_WIDER = 1.2  # than the draws that a proposal is fitted to, in variance
_GRIDS = {1: (4097, 16385), 2: (129, 257, 513)}
_CONVERGED = 1e-3
_POINTS = 8192  # of a grid at a time: a mixture keeps them for each component
_RESOLVED = 3.0  # nats by which a grid's nearest point may lie below a draw
_STEP = 1e-5  # of a derivative, in standard deviations
_DIRECTIONS, _WAVES = 3, 8


def _normals(rows: int, size: int, rng: np.random.Generator) -> Array:
    return rng.normal(size=(rows, size))


def in_errors(values: Array) -> Array:
    """Means of columns `(rows, tests)` in their standard errors; 0 where all are 0."""
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(len(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((mean == 0) & (error == 0), 0.0, mean / error)


def bound_of_errors(tests: int) -> float:
    """Standard errors that the largest of so many normal statistics passes at FALSE_ALARM."""
    return float(norm.isf(FALSE_ALARM / (2 * tests)))


class Proposal:
    """A mixture of normals around draws: somewhat wider than they are.

    Args:
        draws: `(rows, dim)`.
        rng: of the clusters, and of what is drawn.
    """

    def __init__(self, draws: Array, rng: np.random.Generator):
        rows, dim = draws.shape
        self._rng = rng
        scale = np.where(draws.std(axis=0) > 0, draws.std(axis=0), 1.0)
        count = int(np.clip(rows // (_ROWS_OF_A_CLUSTER * dim), 1, _CLUSTERS))
        labels = kmeans2(draws / scale, count, minit="++", seed=rng)[1]
        groups = [draws[labels == number] for number in range(count)]
        groups = [group for group in groups if len(group) > 2 * dim + 2] or [draws]
        self._log_weights = np.log([len(group) for group in groups])
        self._log_weights = self._log_weights - logsumexp(self._log_weights)
        self._means = [group.mean(axis=0) for group in groups]
        floor = 1e-6 * np.diag(np.square(scale))
        self._roots = [
            np.linalg.cholesky(_WIDER * np.atleast_2d(np.cov(group, rowvar=False)) + floor)
            for group in groups
        ]

    def draw(self, count: int) -> Array:
        """`(count, dim)`."""
        chosen = self._rng.choice(len(self._means), size=count, p=np.exp(self._log_weights))
        normal = _normals(count, len(self._means[0]), self._rng)
        found = np.empty_like(normal)
        for number, (mean, root) in enumerate(zip(self._means, self._roots, strict=True)):
            own = chosen == number
            found[own] = mean + normal[own] @ root.T
        return found

    def log_prob(self, z: Array) -> Array:
        """`(rows,)`, nats."""
        logs = []
        for mean, root in zip(self._means, self._roots, strict=True):
            white = solve_triangular(root, (z - mean).T, lower=True)
            constant = np.log(np.diag(root)).sum() + 0.5 * len(mean) * LOG_2PI
            logs.append(-0.5 * np.square(white).sum(axis=0) - constant)
        return logsumexp(np.stack(logs, axis=1) + self._log_weights, axis=1)


def bridged(log_prob: LogProb, fitted: Array, draws: Array, rng: np.random.Generator) -> Array:
    """The integral of a density, from draws of it and of a proposal; its standard error.

    Both expectations are of numbers between 0 and 1, so that no tail makes the error a lie where
    many draws are effective. It is the integral only if the draws are of the density: 1 of a
    density whose draws are its own.

    Args:
        log_prob: of the density, `(rows, dim)` to `(rows,)` nats.
        fitted: draws `(rows, dim)` that the proposal is fitted to.
        draws: others, which are independent of them.
        rng: of the proposal.

    Returns:
        `(2,)`: integral and standard error; both NaN where draws and proposal have nothing in
        common.

    Source: Meng & Wong, "Simulating ratios of normalizing constants via a simple identity",
    Statistica Sinica 1996; the bridge is that of Bennett 1976, at a ratio of 1.
    """
    proposal = Proposal(fitted, rng)
    others = proposal.draw(len(draws))
    # r g / (r + g) over g, at draws of g; and over r, at those of r.
    above = _share(log_prob(others), proposal.log_prob(others))
    below = _share(proposal.log_prob(draws), log_prob(draws))
    up, down = above.mean(), below.mean()
    if not up > 0 or not down > 0:
        return np.array([np.nan, np.nan])
    relative = math.sqrt(above.var() / up**2 + below.var() / down**2) / math.sqrt(len(draws))
    return np.array([up / down, up / down * relative])


def _share(own: Array, other: Array) -> Array:
    """e^own / (e^own + e^other)."""
    return np.exp(own - np.logaddexp(own, other))


def by_quadrature(log_prob: LogProb, draws: Array) -> float | None:
    """The integral of a density of one or two dimensions on a grid, by the trapezoid rule.

    Args:
        log_prob: of the density.
        draws: `(rows, dim)` of it, which say where it is: the grid is twice as wide.

    Returns:
        None: in more dimensions; if no grid is as fine as the density where the draws are; or if
        grids of different steps do not agree within 0.001.
    """
    dim = draws.shape[1]
    if dim not in _GRIDS:
        return None
    low, high = draws.min(axis=0), draws.max(axis=0)
    start, width = low - (high - low) / 2, 2 * (high - low) + 1e-9
    there, before = log_prob(draws), math.nan
    for count in _GRIDS[dim]:
        step = width / (count - 1)
        places = np.stack(np.meshgrid(*[np.arange(count)] * dim, indexing="ij"), axis=-1)
        points = start + step * places.reshape(-1, dim)
        parts = np.array_split(points, max(1, len(points) // _POINTS))
        found = sum(float(np.exp(log_prob(part)).sum()) for part in parts) * float(step.prod())
        # A ridge between two lines of a grid is in no sum over it, whatever other grids say.
        near = log_prob(start + step * np.round((draws - start) / step))
        if (there - near).max() < _RESOLVED and abs(found - before) < _CONVERGED:
            return found
        before = found
    return None


def stein(log_prob: LogProb, draws: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Whether draws are of a density, by identities of its gradient alone.

    E[f(z) d/dv log r(z) + d/dv f(z)] = 0 for z ~ r, whatever the constant of r: of f = z - m along
    itself, and of waves along random directions.

    Args:
        log_prob: of the density r.
        draws: `(rows, dim)`, independent.
        rng: of directions and waves.

    Returns:
        The largest mean in its standard errors, and what chance alone makes of it.

    Source: Stein, "A bound for the error in the normal approximation", 1972; Gorham & Mackey,
    "Measuring sample quality with Stein's method", NeurIPS 2015.
    """
    dim, mean, scale = draws.shape[1], draws.mean(axis=0), draws.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def along(way: Array) -> Array:
        ahead, back = (log_prob(draws + sign * _STEP * way) for sign in (1, -1))
        return (ahead - back) / (2 * _STEP)

    tests = [along(draws - mean) + dim]
    for _ in range(min(_DIRECTIONS, 2 * dim)):
        unit = _normals(1, dim, rng)[0]
        way = scale * unit / np.linalg.norm(unit)
        slope = along(np.broadcast_to(way, draws.shape))
        tests.append(slope)
        for _ in range(_WAVES):
            wave = _normals(1, dim, rng)[0] / (scale * math.sqrt(dim))
            phase = (draws - mean) @ wave + 2 * math.pi * rng.random()
            tests.append(np.sin(phase) * slope + np.cos(phase) * (way @ wave))
    found = np.abs(in_errors(np.stack(tests, axis=1)))
    return float(found.max()), bound_of_errors(len(tests))


def rank_correlation(first: Array, second: Array, of: int = 1) -> tuple[float, float]:
    """The largest correlation of ranks between columns `(rows, dim)` of one and of the other.

    Args:
        first: `(rows, dim)`.
        second: likewise.
        of: pairs that are looked at together.

    Returns:
        It, times the root of the rows less one, and what chance alone makes of the largest of all
        pairs.
    """
    with np.errstate(invalid="ignore"):  # columns that are constant: NaN
        one, other = (
            (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
            for ranks in (rankdata(first, axis=0), rankdata(second, axis=0))
        )
    found = np.abs(one.T @ other) / len(one) * math.sqrt(len(one) - 1)
    return float(found.max()), bound_of_errors(found.size * of)


def moved(before: Array, after: Array) -> tuple[float, float]:
    """Whether columns `(rows, tests)` are exchangeable pair by pair: their differences symmetric.

    The sum of differences over the root of the sum of their squares passes the bound, of whatever
    symmetric distribution, less often than FALSE_ALARM.

    Returns:
        The largest, and the bound.

    Source: Efron, "Student's t-test under symmetry conditions", JASA 1969.
    """
    difference = after - before
    size = np.sqrt(np.square(difference).sum(axis=0))
    found = np.divide(
        np.abs(difference.sum(axis=0)), size, out=np.zeros(len(size)), where=size != 0
    )
    return float(found.max()), math.sqrt(2 * math.log(2 * len(found) / FALSE_ALARM))


def ranks_of(value: Array, among: Array) -> tuple[float, float]:
    """How far ranks of values among draws are from uniform.

    Args:
        value: `(rows, dim)`.
        among: `(draws, rows, dim)`.

    Returns:
        The largest distance, over dimensions, of the distribution of ranks from the uniform one,
        from 0 to 1; and the distance that chance alone passes in one of a hundred models.

    Source: Talts et al., "Validating Bayesian inference algorithms with simulation-based
    calibration", 2018.
    """
    count, rows, dim = among.shape
    rank = (among < value).sum(axis=0)
    share = np.stack([(rank <= number).mean(axis=0) for number in range(count)])
    even = (np.arange(count) + 1) / (count + 1)
    distance = np.abs(share - even[:, None]).max()
    # Dvoretzky, Kiefer & Wolfowitz, with Massart's constant.
    return float(distance), math.sqrt(math.log(2 * dim / 0.01) / (2 * rows))


def pareto_shape(log_weights: Array) -> Array:
    """k of the generalised Pareto distribution of the largest weights of each row.

    Args:
        log_weights: `(draws, rows)`, nats.

    Returns:
        `(rows,)`: over 0.7 the mean of the weights cannot be trusted, over 1 it has no error at
        all. -inf where the largest are all equal.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling", JMLR 2024;
    Zhang & Stephens, "A new and efficient estimation method for the generalized Pareto
    distribution", Technometrics 2009, with the weak prior of the former.
    """
    draws = len(log_weights)
    tail = int(min(0.2 * draws, 3 * math.sqrt(draws)))
    ordered = np.sort(log_weights - log_weights.max(axis=0), axis=0)
    edge = np.exp(ordered[-tail - 1])
    return np.array([_shape(np.exp(row) - low) for row, low in zip(ordered[-tail:].T, edge,
                                                                   strict=True)])  # fmt: skip


def _shape(above: Array) -> float:
    """k of what lies above a threshold, rising; Zhang & Stephens's mean over a profile."""
    count = len(above)
    if not above[-1] > 0 or above[0] == above[-1]:
        return -math.inf
    grid = 30 + int(math.sqrt(count))
    quarter = above[int(count / 4 + 0.5) - 1] or above[above > 0][0]
    theta = 1 / above[-1] + (1 - np.sqrt(grid / (np.arange(grid) + 0.5))) / (3 * quarter)
    k = np.log1p(-theta[:, None] * above).mean(axis=1)
    profile = count * (np.log(-theta / k) - k - 1)
    weights = np.exp(profile - logsumexp(profile))
    mean = float(np.log1p(-(weights @ theta) * above).mean())
    # Ten draws' worth of k = 1/2.
    return (count * mean + 10 * 0.5) / (count + 10)
