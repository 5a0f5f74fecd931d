"""What the latent space carries about the data, and how far it is from the prior."""

import math

import numpy as np
from scipy.special import digamma

from kvae.data.rows import random_rows, slices
from kvae.metrics import require_finite
from kvae.probability.streams import generator

ACTIVE_FRACTION = 0.01
MAX_AGGREGATE_ROWS = 2_000
SATURATED_WITHIN_NATS = 0.5
_BLOCK = 50  # rows whose pairs with all others are held at once, in the processor's cache
_LOG_2PI = math.log(2.0 * math.pi)


def active_fraction(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Give for each latent dimension how much of its spread comes from the data.

    Var_x[mean] / (Var_x[mean] + E_x[variance]): 0 if the posterior ignores x, near 1 if it pins
    the latent down. Unlike Var_x[mean] alone (Burda et al. 2016, "Importance Weighted
    Autoencoders", section 5), it does not change with the scale of the latent.

    Args:
        mean: `(n, latent_dim)` of q(z given x).
        variance: `(n, latent_dim)` of q(z given x), marginal.

    Returns:
        `(latent_dim,)` float64, from 0 to 1.

    Raises:
        ValueError: the shapes are not two equal `(n, latent_dim)`, a value is not finite, or a
            variance is negative.
    """
    mean, variance = _checked(mean, variance)
    between, within = mean.var(0), variance.mean(0)
    total = between + within
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0)


def active_units(mean: np.ndarray, variance: np.ndarray) -> int:
    """Give the number of latent dimensions whose `active_fraction` is over 0.01.

    Args:
        mean: `(n, latent_dim)` of q(z given x).
        variance: `(n, latent_dim)` of q(z given x), marginal.

    Raises:
        ValueError: see `active_fraction`.
    """
    return int((active_fraction(mean, variance) > ACTIVE_FRACTION).sum())


def rate_per_dim(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Give what each latent dimension costs: the mean of KL(N(mean, variance), N(0, 1)).

    Their sum is the rate where the posterior is diagonal and the prior standard normal; with any
    other it means nothing, because the rate is then no sum over dimensions.

    Args:
        mean: `(n, latent_dim)` of q(z given x).
        variance: `(n, latent_dim)` of q(z given x), positive.

    Returns:
        `(latent_dim,)` float64, nats, at least 0.

    Raises:
        ValueError: see `active_fraction`, or a variance is 0.
    """
    mean, variance = _checked(mean, variance)
    _refuse_zero(variance)
    return kl_to_standard_normal(mean[..., None], variance[..., None], np.log(variance)).mean(0)


def kl_to_standard_normal(
    mean: np.ndarray, variance: np.ndarray, log_det: np.ndarray | float
) -> np.ndarray:
    """Give KL(q, Normal(0, I)) of normal distributions q.

    With one last axis of size 1, each element is a distribution of its own.

    Args:
        mean: `(..., dim)`.
        variance: marginal, of that shape.
        log_det: log of the determinant of the covariance, `(...)`.

    Returns:
        `(...)`, nats.
    """
    return 0.5 * ((np.square(mean) + variance - 1.0).sum(-1) - log_det)


def aggregate_metrics(
    mean: np.ndarray,
    variance: np.ndarray,
    draws: np.ndarray,
    *,
    standard_normal_prior: bool,
    seed: int,
) -> dict[str, float | bool]:
    """Give what the posteriors of all rows together, q(z) = mean over x of q(z given x), tell.

    For diagonal posteriors alone. The expectations are means over one draw of each row, of at most
    2,000 random rows, and q(z) is that of the same rows, the draw's own among them. Of these n rows
    as the whole data the estimates are unbiased; of the data that the rows come from:

    - the mutual information is too low, and never over log n (it is how well a draw tells which of
      n rows it came from). Where the rate is far above log n every draw tells, and the estimate is
      log n whatever the truth: it is then called saturated.
    - the total correlation is too high by about what the mutual information lacks, for log q(z) is
      in both with opposite signs. Saturated, it is an upper bound at best.
    - the dimension-wise KL divergence takes densities of one dimension, which do not saturate.

    Args:
        mean: `(n, latent_dim)` of q(z given x), 2 rows at least.
        variance: `(n, latent_dim)` of q(z given x), positive.
        draws: `(n, latent_dim)`, one from the posterior of each row.
        standard_normal_prior: whether p(z) is one.
        seed: of the choice of rows.

    Returns:
        `mutual_information_nats_posterior`: E[log q(z given x) - log q(z)].
        `mutual_information_limit_nats_posterior`: log n.
        `mutual_information_saturated_posterior`: whether the two are within 0.5 nats of one
        another. `total_correlation_nats_posterior`: E[log q(z) - sum_j log q(z_j)].
        With a standard normal prior `dimension_wise_kl_nats_prior`: sum_j of E[log q(z_j) - log
        p(z_j)]; the three sum to the rate at these draws.

    Raises:
        ValueError: the shapes do not fit, there is one row, a value is not finite, or a variance
            is not positive.

    Source: Hoffman & Johnson, "ELBO surgery", NIPS 2016 workshop; Chen et al., "Isolating sources
    of disentanglement in VAEs", NeurIPS 2018, equation 2.
    """
    mean, variance = _checked(mean, variance)
    _refuse_zero(variance)
    draws = np.asarray(draws, np.float64)
    if draws.shape != mean.shape or len(mean) < 2:
        raise ValueError(
            "draws must be (n, latent_dim) as mean is, of 2 rows at least: "
            f"received {draws.shape} and {mean.shape}"
        )
    require_finite("draws", draws)
    rows = random_rows(len(mean), MAX_AGGREGATE_ROWS, generator(seed, "aggregate rows"))
    mean, variance, draws = mean[rows], variance[rows], draws[rows]
    own = _log_normal(draws, mean, variance).sum(1)
    joint, marginals = _log_aggregate(mean, variance, draws)
    information, limit = float((own - joint).mean()), math.log(len(mean))
    metrics: dict[str, float | bool] = {
        "mutual_information_nats_posterior": information,
        "mutual_information_limit_nats_posterior": limit,
        "mutual_information_saturated_posterior": information > limit - SATURATED_WITHIN_NATS,
        "total_correlation_nats_posterior": float((joint - marginals.sum(1)).mean()),
    }
    if standard_normal_prior:
        divergence = (marginals - _log_normal(draws, 0.0, 1.0)).mean(0)
        metrics["dimension_wise_kl_nats_prior"] = float(divergence.sum())
    return metrics


def gaussian_prior_gap(draws: np.ndarray) -> dict[str, float]:
    """Give how far mean and covariance of the posteriors together are from a standard normal.

    KL(N(m, S), N(0, I)) with m and S of draws from the posteriors of all rows: 0 if and only if
    m = 0 and S = I. Of all densities with these moments the normal is nearest to the prior, so it
    is a lower bound of KL(q(z), p(z)). What chance adds to moments of n draws of d dimensions from
    a normal distribution, about d (d + 3) / (4 n), is taken off: without a gap the result lies on
    either side of 0.

    Args:
        draws: `(n, latent_dim)`, from the posteriors of independent rows, n > latent_dim.

    Returns:
        `moments_kl_nats_prior`.

    Raises:
        ValueError: another shape, a value is not finite, or the draws lie in a subspace.
    """
    draws = np.asarray(draws, np.float64)
    if draws.ndim != 2 or len(draws) <= draws.shape[1]:
        raise ValueError(
            f"draws must be (n, latent_dim) with n > latent_dim: received {draws.shape}"
        )
    require_finite("draws", draws)
    mean, covariance = draws.mean(0), np.cov(draws, rowvar=False, bias=True)
    covariance = np.atleast_2d(covariance)
    sign, log_det = np.linalg.slogdet(covariance)
    if sign <= 0:
        raise ValueError("draws lie in a subspace: their covariance has no inverse")
    divergence = kl_to_standard_normal(mean, covariance.diagonal(), log_det)
    return {"moments_kl_nats_prior": float(divergence - _by_chance(*draws.shape))}


def _by_chance(count: int, dim: int) -> float:
    """The mean of the divergence for draws of the prior itself.

    Mean and trace together are right on average; the log determinant of a Wishart matrix is that of
    Bishop 2006, "Pattern Recognition and Machine Learning", equation B.81.
    """
    degrees = count - 1 - np.arange(dim)
    return 0.5 * float(dim * np.log(count / 2) - digamma(degrees / 2).sum())


def _checked(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if mean.ndim != 2 or mean.shape != variance.shape:
        raise ValueError(
            "mean and variance must both be (n, latent_dim): "
            f"received {mean.shape} and {variance.shape}"
        )
    require_finite("mean", mean)
    require_finite("variance", variance)
    if variance.min() < 0:
        raise ValueError(f"variance must not be negative: received {variance.min():g}")
    return mean, variance


def _refuse_zero(variance):
    if variance.min() == 0:
        raise ValueError("variance must be positive: received 0")


def _log_normal(z, mean, variance):
    return -0.5 * (_LOG_2PI + np.log(variance) + np.square(z - mean) / variance)


def _log_aggregate(mean, variance, draws):
    """log q(z) at each draw, `(n,)`, and log q(z_j) of each dimension, `(n, latent_dim)`."""
    joint, marginals = np.empty(len(draws)), np.empty(draws.shape)
    constant = -0.5 * (_LOG_2PI + np.log(variance))
    for rows in slices(len(draws), _BLOCK):
        total = np.zeros((len(draws[rows]), len(mean)))
        for dim in range(draws.shape[1]):
            # In place: there are n^2 pairs of each dimension.
            pairs = draws[rows, dim, None] - mean[:, dim]
            pairs *= pairs
            pairs *= -0.5 / variance[:, dim]
            pairs += constant[:, dim]
            total += pairs
            marginals[rows, dim] = _log_mean_exp(pairs)
        joint[rows] = _log_mean_exp(total)
    return joint, marginals


def _log_mean_exp(pairs):
    """Over the last axis, in place; SciPy's copies the pairs several times."""
    largest = pairs.max(1, keepdims=True)
    pairs -= largest
    return largest[:, 0] + np.log(np.exp(pairs, out=pairs).mean(1))
