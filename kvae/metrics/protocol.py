"""How the numbers are made, in words that stand beside them in metrics.json."""

from collections.abc import Collection

from kvae.metrics.curve import CURVE_DRAWS, LONG_DRAWS, LONG_ROWS
from kvae.metrics.latents import ACTIVE_FRACTION, MAX_AGGREGATE_ROWS
from kvae.metrics.likelihood import (
    BUG_STDERRS,
    LOW_QUANTILE,
    MAX_WEIGHT_ROWS,
    TAIL_SHARE,
)
from kvae.metrics.modes import OUTLIER_PROBABILITY, RELATIVE_TOLERANCE
from kvae.metrics.separation import (
    MAX_FIT_ROWS,
    MAX_NEIGHBOUR_ROWS,
    MAX_SILHOUETTE_ROWS,
    NUM_FOLDS,
    NUM_INITS,
    NUM_NEIGHBOURS,
)
from kvae.metrics.two_sample import (
    MAX_COMPARED_ROWS,
    MAX_ENERGY_ROWS,
    NUM_COMPARED,
    NUM_DIRECTIONS,
)

_HOW = {
    "gap_nats_prior": (
        "mean over test rows of the true log p(x) minus the bound; the error is that of the paired "
        f"differences. gap_is_a_bug_prior: below zero by over {BUG_STDERRS} of them"
    ),
    "bound_curve_prior": (
        "the bound at other numbers of draws; those on all rows share their draws. "
        f"{LONG_DRAWS:,} draws, of their own, of {LONG_ROWS:,} random rows or all if fewer, beside "
        f"{CURVE_DRAWS[-1]:,} draws of the same rows"
    ),
    "effective_sample_fraction_prior": (
        "(sum w)^2 / sum w^2 over the number of draws w of a row, mean and "
        f"{LOW_QUANTILE:.0%} quantile over at most {MAX_WEIGHT_ROWS:,} random rows"
    ),
    "active_units_posterior": (
        f"latent dimensions of which the data explain over {ACTIVE_FRACTION:.0%}"
    ),
    "aggregate_gap_nats_prior": (
        "mean of log r(z) - log p(z), r the sampler and p the training prior, at four posterior "
        "draws of each test row: a lower bound of the divergence of the posteriors together from "
        "p; aggregate_gap_is_heavy_tailed_prior: one row has over "
        f"{TAIL_SHARE:.0%} of the squared deviations, so that the true error is above _stderr"
    ),
    "rate_per_dim_nats_prior": (
        "KL(posterior, standard normal) of each latent dimension, mean over rows"
    ),
    "mutual_information_nats_posterior": (
        f"of x and z, within at most {MAX_AGGREGATE_ROWS:,} test rows, so at most the log "
        "of their number; total_correlation_nats_posterior and dimension_wise_kl_nats_prior with "
        "the same draws"
    ),
    "moments_kl_nats_prior": (
        "KL(N(m, S), N(0, I)), m and S the moments of one posterior draw a test row, less "
        "what chance adds: about d (d + 3) / (4 n) for n rows of d latents"
    ),
    "elbo_nats_prior_train": (
        "the ELBO of random train rows, at most 5,000; mse_reconstruction_train: of the same"
    ),
    "ssim_reconstruction": (
        "as tf.image.ssim, in float64, mean over images; *_interval: 95% bootstrap of the mean "
        "over test rows"
    ),
    "rms_x": "the root mean square of test rows, standardised where the model does so",
    "variance_ratio_draw": (
        "the likelihood's mean variance over the mean squared error, both at one posterior draw of "
        "at most 2,000 test rows, columns over their stddev; 1 is calibrated "
        "where elements are independent (--edge-weight 0)"
    ),
    "modes_captured_prior": (
        "a mode's share is the mean of its true responsibility over the samples; captured if that "
        f"of the samples within the radius that {1 - OUTLIER_PROBABILITY:g} of its own are within "
        f"is {RELATIVE_TOLERANCE:.0%}, or three standard errors of a true sample, from "
        f"{1 - OUTLIER_PROBABILITY:g} of its weight at most; weights_kl_nats_prior is KL(shares, "
        "weights)"
    ),
    "largest_relative_weight_error_bayes": (
        "the mean of the largest error over true samples of as many points"
    ),
    "outlier_fraction_prior": (
        "samples farther from every component than a point of its own is with a chance of "
        f"{OUTLIER_PROBABILITY:g}"
    ),
    "true_log_density_nats_prior": (
        "mean true log-density of the samples; true_log_density_nats_test: of the test points"
    ),
    "sliced_wasserstein_prior": (
        f"mean exact 1-D Wasserstein-1 distance over {NUM_DIRECTIONS} random directions (one in "
        f"1-D), between as many samples as test points, at most {MAX_COMPARED_ROWS:,}"
    ),
    "energy_distance_prior": (
        "2 E|X - Y| - E|X - X'| - E|Y - Y'|, V-statistic of at most "
        f"{MAX_ENERGY_ROWS:,} points each, no root"
    ),
    "knn_accuracy_latent": (
        f"vote of the {NUM_NEIGHBOURS} nearest of a random half of the test points (at most "
        f"{MAX_NEIGHBOUR_ROWS:,} random ones), on the other half; *_latent at the posterior means, "
        "*_x at the points; accuracy_bayes, ari_bayes: of the truly likeliest component, the limit "
        "of accuracy"
    ),
    "auc_latent": (
        "the area under the ROC curve of a logistic regression on standardised posterior means, "
        f"{NUM_FOLDS}-fold cross-validated over at most {MAX_NEIGHBOUR_ROWS:,} random test points; "
        "of more than two labels each against the others, and their mean"
    ),
    "silhouette_latent": f"mean over at most {MAX_SILHOUETTE_ROWS:,} random test points",
    "ari_latent": (
        "adjusted Rand index between the labels and a mixture of as many full-covariance "
        f"Gaussians, fitted to at most {MAX_FIT_ROWS:,} random test points, best of {NUM_INITS} "
        "starts"
    ),
}


def descriptions(
    keys: Collection[str], *, known_truth: bool, num_references: int
) -> dict[str, str]:
    """Say how each of some metrics is made.

    Args:
        keys: of the metrics that there are.
        known_truth: whether the data have a true density, to draw the reference of ratios from.
        num_references: samples that are the reference of ratios.

    Returns:
        Sentences by key; keys that belong together share one.
    """
    found = {name: text for name, text in _HOW.items() if name in keys}
    if "sliced_wasserstein_prior" in found:
        reference = (
            "fresh true points"
            if known_truth
            else "train rows, no row in two of them (columns over their stddev)"
        )
        found["two_sample_ratio"] = (
            f"the mean distance of {NUM_COMPARED} generated samples over that of {num_references} "
            f"reference samples of as many {reference}, from the same test points; the errors are "
            "between samples, and missing beside a ratio to one reference sample"
        )
    return found
