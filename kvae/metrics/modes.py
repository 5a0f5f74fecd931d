"""Does a model of a mixture of Gaussians make every component, in its share, and nothing else?

A sample counts for each component by its true responsibility, so the figures hold for overlapping
components too, where no sample belongs to one alone. A mode is captured by what lies within it:
samples around it may have the right share and be no sample of it.
"""

from typing import Any

import numpy as np
from scipy.special import gammaincinv, rel_entr

from kvae.data.gmm import Mixture
from kvae.metrics import require_finite
from kvae.metrics.likelihood import mean_and_stderr
from kvae.probability.streams import generator

RELATIVE_TOLERANCE = 0.2
OUTLIER_PROBABILITY = 0.001
_REFERENCE_POINTS, _REFERENCE_SAMPLES = 20_000, 2_000


def num_generated_for(mixture: Mixture) -> int:
    """Give how many samples `mode_metrics` needs, so that its tolerance is over three errors.

    Returns:
        100,000 with more than 20 components or a weight under 2.5%, else 10,000.
    """
    hard = mixture.num_components > 20 or mixture.weights.min() < 0.025
    return 100_000 if hard else 10_000


def outlier_fraction(points: np.ndarray, mixture: Mixture) -> float:
    """Give the fraction of points that lie far from every component.

    Far is a Mahalanobis distance that a point of a component's own exceeds once in a thousand:
    the root of the chi-squared quantile, 4.03 in three dimensions.

    Args:
        points: `(n, D)`.
        mixture: of D dimensions.

    Returns:
        From 0 to 1; of the mixture's own points at most 0.001 on average.

    Raises:
        ValueError: a point is not finite, there is none, or D differs.
    """
    points = np.asarray(points, np.float64)
    require_finite("points", points)
    return float((~_within(points, mixture)).all(1).mean())


def _within(points: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Whether each point is within the radius of each component, `(n, K)` bool."""
    # The quantile of chi-squared; scipy.stats says the same, and takes long to import.
    radius = np.sqrt(2 * gammaincinv(mixture.dim / 2, 1 - OUTLIER_PROBABILITY))
    return mixture.mahalanobis(points) <= radius


def true_log_density(generated: np.ndarray, mixture: Mixture) -> dict[str, float]:
    """Give the mean log-density of samples under the truth.

    Beside that of true points: a model that spreads out, or makes points between the components,
    has less; one that makes only the middle of each has more.

    Args:
        generated: `(n, D)` samples, at least two.
        mixture: the truth, of D dimensions.

    Returns:
        `true_log_density_nats` and its `_stderr`.

    Raises:
        ValueError: a sample is not finite, there are fewer than two, or D differs.
    """
    require_finite("generated", np.asarray(generated, np.float64))
    name = "true_log_density_nats"
    mean, stderr = mean_and_stderr(
        mixture.log_prob(generated), "the true log-density of the samples"
    )
    return {name: mean, f"{name}_stderr": stderr}


def mode_metrics(generated: np.ndarray, mixture: Mixture) -> dict[str, Any]:
    """Compare samples of a model with the mixture that they should come from.

    A mode's share is the mean of its true responsibility over the samples, and its share within
    that of the samples inside its radius (see `outlier_fraction`), the others counting 0: 0.999 of
    its weight, for true samples. It is captured if any sample is inside, and the share within is
    20% or three standard errors of a true sample's from there at most.

    Args:
        generated: `(n, D)` samples; `num_generated_for` says how many are enough.
        mixture: the truth, of D dimensions.

    Returns:
        JSON values: `num_generated`, `num_modes`, `modes_captured`, `outlier_fraction`,
        `weights_kl_nats` = KL(shares, weights), `largest_relative_weight_error` of the shares, and
        for each mode `mode_shares`, `mode_shares_within` and `mode_captured`.

    Raises:
        ValueError: a sample is not finite, there is none, or D differs.
    """
    generated = np.asarray(generated, np.float64)
    require_finite("generated", generated)
    weights, count = mixture.weights, len(generated)
    responsibilities, within = mixture.responsibilities(generated), _within(generated, mixture)
    shares, inside = responsibilities.mean(0), (responsibilities * within).mean(0)
    expected = (1 - OUTLIER_PROBABILITY) * weights
    chance = 3 * np.sqrt(expected * (1 - expected) / count)
    is_near = np.abs(inside - expected) <= np.maximum(RELATIVE_TOLERANCE * expected, chance)
    captured = is_near & (inside > 0)
    return {
        "num_generated": count,
        "num_modes": mixture.num_components,
        "modes_captured": int(captured.sum()),
        "outlier_fraction": float((~within).all(1).mean()),
        "weights_kl_nats": max(0.0, float(rel_entr(shares, weights).sum())),
        "largest_relative_weight_error": float((np.abs(shares - weights) / weights).max()),
        "mode_shares": shares.tolist(),
        "mode_shares_within": inside.tolist(),
        "mode_captured": captured.tolist(),
    }


def weight_error_of_truth(mixture: Mixture, count: int, *, seed: int) -> float:
    """Give the largest relative weight error that a perfect sample has by chance, on average.

    Shares are means of responsibilities, whose covariance over true points gives that of the
    shares; they are then as good as normal.

    Args:
        mixture: the truth.
        count: points in the sample, as many as `mode_metrics` was given.
        seed: of the true points.

    Returns:
        What `largest_relative_weight_error` of a true sample is in the mean.
    """
    rng = generator(seed, "perfect shares")
    points, _ = mixture.sample(_REFERENCE_POINTS, rng)
    responsibilities = mixture.responsibilities(points)
    covariance = np.atleast_2d(np.cov(responsibilities, rowvar=False)) / count
    zero = np.zeros(mixture.num_components)
    errors = rng.multivariate_normal(zero, covariance, _REFERENCE_SAMPLES)
    return float((np.abs(errors) / mixture.weights).max(1).mean())
