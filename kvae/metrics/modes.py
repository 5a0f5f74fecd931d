"""Does a model of a mixture of Gaussians make every component, in its share, and nothing else?

A sample counts for each component by its true responsibility, so the figures hold for overlapping
components too, where no sample belongs to one alone.
"""

from typing import Any

import numpy as np
from scipy.special import rel_entr
from scipy.stats import chi2

from kvae.data.gmm import Mixture
from kvae.metrics import require_finite
from kvae.metrics.likelihood import mean_and_stderr

RELATIVE_TOLERANCE = 0.2
OUTLIER_PROBABILITY = 0.001


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
    radius = np.sqrt(chi2.ppf(1 - OUTLIER_PROBABILITY, mixture.dim))
    return float((mixture.mahalanobis(points).min(1) > radius).mean())


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

    A mode's share is the mean of its true responsibility over the samples. It is captured if the
    share is within 20% of its weight, or within three standard errors of a true sample's.

    Args:
        generated: `(n, D)` samples; `num_generated_for` says how many are enough.
        mixture: the truth, of D dimensions.

    Returns:
        JSON values: `num_generated`, `num_modes`, `modes_captured`, `outlier_fraction`,
        `weights_kl_nats` = KL(shares, weights), `largest_relative_weight_error`, and for each mode
        `mode_shares` and `mode_captured`.

    Raises:
        ValueError: a sample is not finite, there is none, or D differs.
    """
    generated = np.asarray(generated, np.float64)
    require_finite("generated", generated)
    weights, count = mixture.weights, len(generated)
    shares = mixture.responsibilities(generated).mean(0)
    error = np.abs(shares - weights)
    chance = 3 * np.sqrt(weights * (1 - weights) / count)
    # A share sums rounding errors, so that one component alone may miss its weight 1 by a few ulp.
    captured = error <= np.maximum(RELATIVE_TOLERANCE * weights, chance) + 1e-12
    return {
        "num_generated": count,
        "num_modes": mixture.num_components,
        "modes_captured": int(captured.sum()),
        "outlier_fraction": outlier_fraction(generated, mixture),
        "weights_kl_nats": max(0.0, float(rel_entr(shares, weights).sum())),
        "largest_relative_weight_error": float((error / weights).max()),
        "mode_shares": shares.tolist(),
        "mode_captured": captured.tolist(),
    }
