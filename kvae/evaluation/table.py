"""The metrics as a table in the terminal."""

import math
from collections.abc import Mapping
from typing import Any

from kvae.evaluation.naming import DENSITIES, PRIOR, SAMPLER
from kvae.metrics.likelihood import BUG_STDERRS, ONE_DRAW

# Group by group: the key, its title, how it is written, and the key that it is out of.
_SHOWN = {
    "test points, nats": (
        ("elbo_nats_prior", "ELBO", "{:.4f}", None),
        ("distortion_nats_posterior", "distortion", "{:.4f}", None),
        ("rate_nats_prior", "rate", "{:.4f}", None),
        ("log_likelihood_nats_prior", "log-likelihood, bound", "{:.4f}", None),
        ("true_log_density_nats_test", "log-likelihood, true", "{:.4f}", None),
        ("bits_per_dim_bound_prior", "bits per dimension, bound", "{:.4f}", None),
        ("gap_nats_prior", "gap, true minus bound", "{:.4f}", None),
    ),
    "importance weights": (
        (
            "effective_sample_fraction_prior",
            "effective share of {effective_sample_draws} draws",
            "{:.3f}",
            None,
        ),
        ("effective_sample_fraction_prior_p5", "the same, 5% quantile over rows", "{:.3f}", None),
    ),
    "reconstruction and latents": (
        ("mse_reconstruction", "reconstruction MSE", "{:.6f}", None),
        ("psnr_db_reconstruction", "reconstruction PSNR, dB", "{:.2f}", None),
        ("ssim_reconstruction", "reconstruction SSIM", "{:.4f}", None),
        ("variance_ratio_draw", "likelihood's variance over the error", "{:.3f}", None),
        ("active_units_posterior", "active units", "{}", "latent_dim"),
        (
            "mutual_information_nats_posterior",
            "mutual information of x and z, nats",
            "{:.3f}",
            None,
        ),
        ("total_correlation_nats_posterior", "total correlation, nats", "{:.3f}", None),
        ("aggregate_gap_nats_prior", "gap from the posteriors to the prior", "{:.3f}", None),
    ),
    "disentanglement": (
        ("mig_posterior", "MIG", "{:.3f}", None),
        ("dci_disentanglement_posterior", "DCI disentanglement", "{:.3f}", None),
        ("dci_completeness_posterior", "DCI completeness", "{:.3f}", None),
        ("dci_informativeness_posterior", "DCI informativeness", "{:.3f}", None),
        ("factor_vae_posterior", "FactorVAE score", "{:.3f}", None),
    ),
    "generated points": (
        ("modes_captured_prior", "modes captured", "{}", "num_modes"),
        ("largest_relative_weight_error_prior", "largest relative weight error", "{:.3f}", None),
        ("largest_relative_weight_error_bayes", "that of a perfect sample", "{:.3f}", None),
        ("weights_kl_nats_prior", "KL(shares, weights), nats", "{:.5f}", None),
        ("outlier_fraction_prior", "outliers", "{:.4f}", None),
        ("outlier_fraction_test", "outliers among test points", "{:.4f}", None),
        ("true_log_density_nats_prior", "true log-density, nats", "{:.4f}", None),
        ("true_log_density_nats_test", "true log-density of test points", "{:.4f}", None),
        ("sliced_wasserstein_prior", "sliced Wasserstein distance", "{:.4f}", None),
        ("sliced_wasserstein_ratio_prior", "its ratio, 1 is perfect", "{:.2f}", None),
        ("energy_distance_prior", "energy distance", "{:.5f}", None),
        ("energy_distance_ratio_prior", "its ratio, 1 is perfect", "{:.2f}", None),
    ),
}
# Of a bound that rests on one draw, no decimals are known.
_OF_THE_BOUND = ("log_likelihood_nats", "bits_per_dim_bound", "gap_nats", "bound_nats")
_WHOLE = "{:.0f}"
_TENS, _LARGE = 10, 10_000
_NO_RECALL, _SOME_PRECISION = 0.05, 0.2
#: Where every draw tells its row, the one is a lower and the other an upper bound.
SATURATING = {
    "mutual_information_nats_posterior": "over ",
    "total_correlation_nats_posterior": "under ",
}
_SEPARATION = (
    ("k-NN accuracy", ("knn_accuracy_latent", "knn_accuracy_x", "accuracy_bayes")),
    ("AUC of a linear classifier", ("auc_latent", "", "")),
    ("silhouette", ("silhouette_latent", "silhouette_x", "")),
    ("adjusted Rand index of a fit", ("ari_latent", "ari_x", "ari_bayes")),
)


def print_table(metrics: Mapping[str, Any]) -> None:
    """Print the metrics: of the prior, and beside it of the sampler if there is one.

    Args:
        metrics: from `kvae.evaluation.measurements.measure`.
    """
    # Not every sampler has a density, but all have samples.
    keys = (key for shown in _SHOWN.values() for key, *_ in shown)
    has_sampler = any(_of(SAMPLER, key) in metrics for key in keys)
    columns = DENSITIES if has_sampler else (PRIOR,)
    if len(columns) > 1:
        print(f"\n  {'':38}{'prior':>12}{'sampler':>26}", end="")
    for group, shown in _SHOWN.items():
        rows = [
            (
                title.format_map(metrics),
                [
                    _cell(metrics, _of(density, key), _form(metrics, density, key, form), whole)
                    for density in columns
                ],
            )
            for key, title, form, whole in shown
            if any(_of(density, key) in metrics for density in columns)
        ]
        _print_rows(group, rows)
        if group == "test points, nats":
            _print_rows(*_curve(metrics, columns))
        if group == "importance weights" and rests_on_one_draw(metrics, PRIOR):
            print("    one draw has nearly all the weight: the bound is far below log p(x)")
        if group == "reconstruction and latents":
            _print_heavy_tails(metrics)
    _print_separation(metrics)
    _print_samples(metrics)
    if metrics.get("gap_is_a_bug_prior") or metrics.get("gap_is_a_bug_sampler"):
        print(
            "\n  BUG: the model's bound lies above the true log-likelihood by over "
            f"{BUG_STDERRS} standard\n  errors, more than chance explains. Please report it."
        )


def rests_on_one_draw(metrics: Mapping[str, Any], density: str) -> bool:
    """Whether one importance draw has nearly all the weight: the bound is far below log p(x).

    Args:
        metrics: from `kvae.evaluation.measurements.measure`.
        density: "prior" or "sampler".
    """
    draws = metrics.get("effective_sample_draws")
    fraction = metrics.get(f"effective_sample_fraction_{density}")
    return draws is not None and fraction is not None and fraction * draws < ONE_DRAW


def _form(metrics, density, key, form):
    """How a number is written: with the digits that it has."""
    if not key.startswith(_OF_THE_BOUND) or not rests_on_one_draw(metrics, density):
        return form
    if not key.startswith("bits"):
        return _WHOLE
    # A whole nat is as many bits of a dimension.
    nats, bits = (metrics[f"{name}_prior"] for name in _OF_THE_BOUND[:2])
    decimals = max(0, math.floor(math.log10(max(1.0, abs(nats / bits))))) if bits else 0
    return f"{{:.{decimals}f}}"


def _print_heavy_tails(metrics):
    if metrics.get("aggregate_gap_is_heavy_tailed_prior"):
        print("    one row has much of the gap's variance: its error is larger than it seems")


def _of(density, key):
    """The key of a column, "" for none: what is of neither density stands in the first alone."""
    if density == PRIOR:
        return key
    return key.replace("_prior", f"_{density}") if "_prior" in key else ""


def _cell(metrics, key, form, whole=None):
    if key not in metrics:
        return ""
    value, stderr = metrics[key], metrics.get(f"{key}_stderr")
    form = _in_known_digits(form, value, stderr)
    text = f"{form.format(value):>12}"
    if whole:
        return f"{text} of {metrics[whole]}"
    if key in SATURATING and metrics.get("mutual_information_saturated_posterior"):
        return f"{SATURATING[key]}{form.format(value).strip()}".rjust(12)
    return text if stderr is None else f"{text} ± {form.format(stderr)}"


def _in_known_digits(form, value, stderr):
    """A form without the decimals that an error of 1 and more, or a large number, makes idle."""
    if not form.endswith("f}"):
        return form
    if stderr is None:
        return "{:,.0f}" if abs(value) >= _LARGE else form
    return form if stderr < 1 else "{:.1f}" if stderr < _TENS and form != _WHOLE else _WHOLE


def _curve(metrics, columns):
    """The gap, or without a truth the bound, against the number of draws."""
    curves = [metrics.get(f"bound_curve_{density}", []) for density in columns]
    key = "gap_nats" if any("gap_nats" in point for point in curves[0]) else "bound_nats"
    rows = []
    for which, point in enumerate(curves[0]):
        title = f"K = {point['num_draws']:,} on {point['rows']:,} rows"
        cells = [
            _cell(curve[which], key, _form(metrics, density, key, "{:.4f}")) if curve else ""
            for density, curve in zip(columns, curves, strict=True)
        ]
        rows.append((title, cells))
    return f"{key.removesuffix('_nats')} with K draws, nats", rows


def _print_rows(group, rows):
    if rows:
        print(f"\n  {group}")
    for title, cells in rows:
        print(f"    {title:36}{''.join(f'{cell:26}' for cell in cells)}".rstrip())


def _print_separation(metrics):
    shown = [row for row in _SEPARATION if row[1][0] in metrics]
    if not shown:
        return
    truth = "true posterior" if "accuracy_bayes" in metrics else ""
    print(f"\n  {'labels apart':38}{'latent':>12}{'data':>12}{truth:>16}".rstrip())
    for title, keys in shown:
        latent, data_, best = (_cell(metrics, key, "{:.4f}") for key in keys)
        print(f"    {title:36}{latent:>12}{data_:>12}{best:>16}".rstrip())


_AGAINST = (
    ("floor", "train images"),
    ("reconstruction", "reconstructions"),
    ("prior", "prior"),
    ("sampler", "sampler"),
)
_COVERING = ("recall", "precision", "density")
_JUDGED = (
    ("fid_keras_inception", "FID, Keras's Inception", "{:.2f}"),
    ("frechet_inception", "Fréchet distance, other Inception", "{:.2f}"),
    ("frechet_attributes", "Fréchet distance, attributes", "{:.2f}"),
    ("frechet_pca", "Fréchet distance, PCA", "{:.2f}"),
    ("precision", "precision", "{:.3f}"),
    ("recall", "recall", "{:.3f}"),
    ("density", "density", "{:.3f}"),
    ("coverage", "coverage", "{:.3f}"),
    ("nearest_train_distance_ratio", "nearest train image, over test's", "{:.3f}"),
    ("memorised_fraction", "memorised, 0.01 at most expected", "{:.3f}"),
)


def _print_samples(metrics):
    """Sets of images beside one another."""
    for key, title in _AGAINST:
        wrong = metrics.get(f"not_finite_samples_{key}")
        if wrong:
            print(f"\n  {wrong} samples of the {title} are not finite: nothing is said of them")
    columns = [(key, title) for key, title in _AGAINST if f"coverage_{key}" in metrics]
    if not columns:
        return
    print(f"\n  {'against test images':38}{''.join(f'{title:>17}' for _, title in columns)}")
    for name, title, form in _JUDGED:
        cells = [
            form.format(metrics[f"{name}_{key}"]) if f"{name}_{key}" in metrics else ""
            for key, _ in columns
        ]
        if any(cells):
            print(f"    {title:36}{''.join(f'{cell:>17}' for cell in cells)}".rstrip())
    for key, title in columns:
        recall, *near = (metrics.get(f"{name}_{key}", 1.0) for name in _COVERING)
        if recall < _NO_RECALL and max(near) > _SOME_PRECISION:
            print(
                f"    precision and density of {title} say little beside a recall of {recall:.3f}:"
                "\n    they lie in the midst of the data, and not where most of them are"
            )
