"""The metric card: what each number of metrics.json is called, says and is better for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

HIGHER, LOWER, ONE = "higher is better", "lower is better", "1 is best"


#: The column of what no model is asked for.
DATA = "data"


@dataclass(frozen=True)
class Metric:
    """A metric under each of the columns that it stands in.

    Args:
        title: of it, with the unit.
        sentence: what it says, for somebody who does not know it.
        better: `HIGHER`, `LOWER`, `ONE`; "" where neither end is.
        keys: column of its group -> key in metrics.json.
        protocol: the keys of the protocol that say how it is made.
        of: the key of what it is a part of, a count; None: of nothing.
        counts: keys of `rows` in the protocol: of how many rows it is.
        of_density: whether its nats depend on what the likelihood is a density over.
    """

    title: str
    sentence: str
    better: str
    keys: Mapping[str, str]
    protocol: tuple[str, ...] = ()
    of: str | None = None
    counts: tuple[str, ...] = ("test",)
    of_density: bool = False


@dataclass(frozen=True)
class Group:
    """Metrics that stand in one table.

    Args:
        title: of the table.
        columns: name -> heading.
        metrics: its rows.
    """

    title: str
    columns: Mapping[str, str]
    metrics: tuple[Metric, ...] = field(repr=False)


def _of(stem: str, *columns: str) -> dict[str, str]:
    return {column: f"{stem}_{column}" for column in columns}


_BOTH = ("prior", "sampler")
_ELBO: dict[str, Any] = {"protocol": ("elbo_distortion_rate",), "of_density": True}
_BOUND: dict[str, Any] = {"counts": ("log_likelihood",), "of_density": True}
_DRAWN: dict[str, Any] = {"counts": ("test", "generated")}
_PAIRED: dict[str, Any] = {
    **_DRAWN, "protocol": ("sliced_wasserstein_prior", "two_sample_ratio", "num_references"),
}  # fmt: skip
_ENERGY: dict[str, Any] = {
    **_DRAWN, "protocol": ("energy_distance_prior", "two_sample_ratio", "num_references"),
}  # fmt: skip
_SETS = ("rows_against_test", "sample_sets", "features")
_FRECHET: dict[str, Any] = {"protocol": _SETS}
_MANIFOLD: dict[str, Any] = {"protocol": (*_SETS, "manifold")}
_FACTORS: dict[str, Any] = {"protocol": ("disentanglement",)}
_NEAREST: dict[str, Any] = {"protocol": (*_SETS, "nearest_train", "memorised_fraction")}
_SEPARATION = ("latent", "x")
_IMAGES = ("reconstruction", "prior", "sampler", "floor")

GROUPS = (
    Group(
        "Likelihood of unseen rows",
        {"prior": "Prior", "sampler": "Sampler", DATA: "The data's own"},
        (
            Metric(
                "Log-likelihood, lower bound (nats a row)",
                "How likely the model finds rows that it never saw: the true value is at least "
                "this.",
                HIGHER,
                {**_of("log_likelihood_nats", *_BOTH), DATA: "true_log_density_nats_test"},
                ("log_likelihood",), **_BOUND,
            ),
            Metric(
                "Gap to the true density (nats a row)",
                "How much likelier the data's own density finds the same rows; 0 is perfect.",
                LOWER, _of("gap_nats", *_BOTH), ("log_likelihood", "gap_nats_prior"), **_BOUND,
            ),
            Metric(
                "Bits per dimension, upper bound",
                "How many bits each value of an image takes if the model compresses it.",
                LOWER, _of("bits_per_dim_bound", *_BOTH),
                ("log_likelihood", "bits_per_dim_bound_prior"), **_BOUND,
            ),
            Metric(
                "ELBO (nats a row)",
                "What training raises, on unseen rows: a looser bound of the same likelihood.",
                HIGHER, _of("elbo_nats", "prior"), **_ELBO,
            ),
            Metric(
                "ELBO of train rows (nats a row)",
                "The same of rows that were trained on; far above that of unseen rows it means "
                "overfitting.",
                "", {"prior": "elbo_nats_prior_train"},
                ("elbo_distortion_rate", "elbo_nats_prior_train"), of_density=True,
            ),
            Metric(
                "Distortion (nats a row)",
                "What the decoder gets wrong about a row, given its latents: minus log p(x given "
                "z).",
                LOWER, {"prior": "distortion_nats_posterior"}, **_ELBO,
            ),
            Metric(
                "Rate (nats a row)",
                "How much the latents say about a row beyond the prior; with the distortion it "
                "makes up the ELBO.",
                "", {"prior": "rate_nats_prior"}, ("elbo_distortion_rate",),
            ),
            Metric(
                "Effective share of importance draws",
                "The share of the draws behind the bound that do its work; near 0 the bound may be "
                "far too low.",
                HIGHER, _of("effective_sample_fraction", *_BOTH),
                ("effective_sample_fraction_prior",),
            ),
        ),
    ),
    Group(
        "Reconstruction",
        {"test": "Test rows", "train": "Train rows", DATA: "The mean as every answer"},
        (
            Metric(
                "Mean squared error",
                "How far rows are from what encoder and decoder make of them, in the data's own "
                "units: of a table columns of large numbers decide.",
                LOWER, {"test": "mse_reconstruction", "train": "mse_reconstruction_train"},
                ("elbo_nats_prior_train",),
            ),
            Metric(
                "PSNR (dB)",
                "The same error on a logarithmic scale, as of images; 6 dB more is half the error "
                "of a pixel.",
                HIGHER, {"test": "psnr_db_reconstruction", DATA: "psnr_db_mean_image"},
            ),
            Metric(
                "SSIM", "How alike the structure of images is to an eye; 1 is the same image.",
                HIGHER, {"test": "ssim_reconstruction"}, ("ssim_reconstruction",),
            ),
            Metric(
                "Decoder's variance over its error",
                "Whether the decoder knows how wrong it is: above 1 it believes itself worse than "
                "it is. With an edge weight the likeliest variance may be another.",
                ONE, {"test": "variance_ratio_draw"}, ("variance_ratio_draw",),
            ),
        ),
    ),
    Group(
        "Latent space",
        {"value": "Value"},
        (
            Metric(
                "Active units", "How many latent dimensions the model uses at all.",
                "", {"value": "active_units_posterior"}, ("active_units_posterior",), "latent_dim",
            ),
            Metric(
                "Mutual information of x and z (nats)",
                "How much of a row its latents tell; at most the log of the number of rows.",
                "", {"value": "mutual_information_nats_posterior"},
                ("mutual_information_nats_posterior",),
            ),
            Metric(
                "Total correlation (nats)",
                "How much the latent dimensions say about one another; 0 is independent.",
                LOWER, {"value": "total_correlation_nats_posterior"},
                ("mutual_information_nats_posterior",),
            ),
            Metric(
                "From the posteriors to the prior (nats)",
                "How far the latents of data are from what the prior draws, at least; a large one "
                "makes samples unlike the data.",
                LOWER, {"value": "aggregate_gap_nats_prior"}, ("aggregate_gap_nats_prior",),
            ),
            Metric(
                "The same, of means and covariances alone (nats)",
                "As above, if all latents together were one Gaussian.",
                LOWER, {"value": "moments_kl_nats_prior"}, ("moments_kl_nats_prior",),
            ),
            Metric(
                "MIG", "Whether each factor of the images is told by one latent dimension.",
                HIGHER, {"value": "mig_posterior"}, **_FACTORS,
            ),
            Metric(
                "DCI disentanglement", "Whether each latent dimension tells one factor alone.",
                HIGHER, {"value": "dci_disentanglement_posterior"}, **_FACTORS,
            ),
            Metric(
                "DCI completeness", "Whether each factor is told by one latent dimension alone.",
                HIGHER, {"value": "dci_completeness_posterior"}, **_FACTORS,
            ),
            Metric(
                "DCI informativeness", "How well the factors can be read off the latents.",
                HIGHER, {"value": "dci_informativeness_posterior"}, **_FACTORS,
            ),
            Metric(
                "FactorVAE score",
                "How often the dimension that varies least tells which factor was held fixed.",
                HIGHER, {"value": "factor_vae_posterior"}, **_FACTORS,
            ),
        ),
    ),
    Group(
        "Generated points",
        {"prior": "Prior", "sampler": "Sampler", DATA: "The data's own"},
        (
            Metric(
                "Modes captured", "How many components of the data samples make in their share.",
                HIGHER, _of("modes_captured", *_BOTH), ("modes_captured_prior",), "num_modes",
                **_DRAWN,
            ),
            Metric(
                "Largest relative error of a weight",
                "How wrong the share of the worst component is; a perfect sample has an error too.",
                LOWER,
                {**_of("largest_relative_weight_error", *_BOTH),
                 DATA: "largest_relative_weight_error_bayes"},
                ("largest_relative_weight_error_bayes",), **_DRAWN,
            ),
            Metric(
                "KL of shares and weights (nats)", "How wrong all shares together are.",
                LOWER, _of("weights_kl_nats", *_BOTH), ("modes_captured_prior",), **_DRAWN,
            ),
            Metric(
                "Outliers, share", "The share of samples that lie where the data have nothing.",
                LOWER, {**_of("outlier_fraction", *_BOTH), DATA: "outlier_fraction_test"},
                ("outlier_fraction_prior",), **_DRAWN,
            ),
            Metric(
                "True log density of samples (nats)",
                "How likely the data's own density finds samples; best where it is that of test "
                "points.",
                "", {**_of("true_log_density_nats", *_BOTH), DATA: "true_log_density_nats_test"},
                ("true_log_density_nats_prior",), **_DRAWN,
            ),
            Metric(
                "Sliced Wasserstein distance, ratio",
                "How far samples are from test points, over how far the data are from themselves.",
                ONE, _of("sliced_wasserstein_ratio", *_BOTH), **_PAIRED,
            ),
            Metric(
                "Energy distance, ratio", "The same by another distance.",
                ONE, _of("energy_distance_ratio", *_BOTH), **_ENERGY,
            ),
            Metric(
                "Sliced Wasserstein distance",
                "The distance itself, in the data's unit; of a table in standard deviations of its "
                "columns.",
                LOWER, _of("sliced_wasserstein", *_BOTH), **_PAIRED,
            ),
            Metric(
                "Energy distance", "The distance itself.",
                LOWER, _of("energy_distance", *_BOTH), **_ENERGY,
            ),
        ),
    ),
    Group(
        "Images against test images",
        {"reconstruction": "Reconstructions", "prior": "Prior", "sampler": "Sampler",
         "floor": "Train images"},
        (
            *(
                Metric(
                    title,
                    "How far a set of images lies from test images in these features; train images "
                    "show what is near.",
                    LOWER, _of(stem, *_IMAGES), **_FRECHET,
                )
                for stem, title in (
                    ("fid_keras_inception", "FID, Keras's Inception"),
                    ("frechet_inception", "Fréchet distance, other Inception"),
                    ("frechet_attributes", "Fréchet distance, attributes"),
                    ("frechet_pca", "Fréchet distance, PCA"),
                )
            ),
            Metric(
                "Precision", "The share of images that look like some test image.",
                HIGHER, _of("precision", *_IMAGES), **_MANIFOLD,
            ),
            Metric(
                "Recall", "The share of test images that look like some image of the set.",
                HIGHER, _of("recall", *_IMAGES), **_MANIFOLD,
            ),
            Metric(
                "Density", "The same as precision, less moved by outliers; 1 is as dense as data.",
                HIGHER, _of("density", *_IMAGES), **_MANIFOLD,
            ),
            Metric(
                "Coverage", "The share of test images with an image of the set close by.",
                HIGHER, _of("coverage", *_IMAGES), **_MANIFOLD,
            ),
            Metric(
                "Distance to the nearest train image, over test's",
                "Below 1 samples lie nearer to train images than new images do.",
                ONE, _of("nearest_train_distance_ratio", *_IMAGES), **_NEAREST,
            ),
            Metric(
                "Memorised, share",
                "The share of samples as near to a train image, and as sharp, as a copy; up to "
                "0.01 is chance.",
                LOWER, _of("memorised_fraction", *_IMAGES), **_NEAREST,
            ),
        ),
    ),
    Group(
        "How well labels lie apart",
        {"latent": "Latents", "x": "Data", DATA: "The data's own density"},
        (
            Metric(
                "Accuracy of the nearest neighbours",
                "How often the neighbours of a row have its label.",
                HIGHER, {**_of("knn_accuracy", *_SEPARATION), DATA: "accuracy_bayes"},
                ("knn_accuracy_latent",),
            ),
            Metric(
                "AUC of a linear classifier",
                "Whether a straight cut of latent space tells the label; 0.5 is chance, 1 always.",
                HIGHER, _of("auc", "latent"), ("auc_latent", "auc_label"),
            ),
            Metric(
                "Silhouette", "How tight and far apart the labels are; 1 is best, 0 is none.",
                HIGHER, _of("silhouette", *_SEPARATION), ("silhouette_latent",),
            ),
            Metric(
                "Adjusted Rand index of a fit",
                "Whether clusters that are found without labels are the labels; 0 is chance.",
                HIGHER, {**_of("ari", *_SEPARATION), DATA: "ari_bayes"}, ("ari_latent",),
            ),
        ),
    ),
)  # fmt: skip


def shown(metrics: Mapping[str, Any]) -> Iterator[tuple[Group, dict[str, str], list[Metric]]]:
    """The groups of which there are numbers, with the columns and the metrics that there are.

    Args:
        metrics: of metrics.json.
    """
    for group in GROUPS:
        rows = [one for one in group.metrics if any(key in metrics for key in one.keys.values())]
        columns = {
            name: heading
            for name, heading in group.columns.items()
            if any(metrics.get(one.keys.get(name, "")) is not None for one in rows)
        }
        if columns:
            yield group, columns, rows
