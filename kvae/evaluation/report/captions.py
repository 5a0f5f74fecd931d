"""What each figure shows: a title, a caption to paste, and words for who cannot see it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvae.evaluation.report.values import value_of, written
from kvae.figures import MOVING as _MOVING
from kvae.figures import PRINTED

#: Of how training went: it stands above the others.
CURVES = "curves"
#: What a page shows; other files beside them, as the same figures for print, are named.
SHOWN = {".png": "image/png", ".gif": "image/gif"}
MOVING = f".{_MOVING}"


def order_of(file: str) -> tuple[int, str]:
    """Where a figure stands among the others: those that are not known last, by name."""
    known = list(_WORDS)
    stem = Path(file).stem
    return (known.index(stem) if stem in known else len(known), file)


class Caption(NamedTuple):
    """Words of a figure.

    Args:
        title: a few words.
        caption: what is drawn, and how it is read.
        alt: what is to be seen there.
    """

    title: str
    caption: str
    alt: str


# File without its ending -> title, caption of vectors, caption of images; one of both where "".
_WORDS: dict[str, tuple[str, str, str]] = {
    CURVES: (
        "Training curves",
        "ELBO, distortion and rate of the train and the valid split over the epochs; the mark is "
        "the epoch whose weights were kept.",
        "",
    ),
    "generation": (
        "Generated",
        "Test points beside points that the model generated: the clouds should lie over one "
        "another.",
        "Images that the model generated, from the prior and, where there is one, through the "
        "sampler that was fitted after training.",
    ),
    "reconstruction": (
        "Reconstructions",
        "Test points against what encoder and decoder make of them: on the diagonal the two are "
        "equal.",
        "Test images above what encoder and decoder make of them.",
    ),
    "worst": (
        "Worst reconstructions",
        "The test images with the largest squared error, the worst first, above their "
        "reconstructions.",
        "",
    ),
    "interpolation": (
        "Between two rows",
        "Straight lines in latent space between two test rows, decoded: they should pass through "
        "where data are, but between clusters there are none.",
        "Straight lines in latent space between two test images, decoded: what lies between should "
        "look like data too.",
    ),
    "latent_tsne": (
        "Map of the latent space",
        "The posterior means of test rows, laid out in two dimensions by t-SNE: near points are "
        "alike, distances between clusters mean nothing.",
        "",
    ),
    "traversals": (
        "Latent dimensions, one by one",
        "Each row moves one of the busiest latent dimensions and leaves the others alone: what "
        "changes is what the dimension stands for.",
        "",
    ),
    "attributes": (
        "Attributes, moved",
        "Test images with one attribute taken away or added in latent space, by rising strength.",
        "",
    ),
    "conditions": (
        "Conditions",
        "The same latents in each column, decoded under another condition in each row.",
        "",
    ),
    "neighbours": (
        "Nearest train images",
        "Generated images beside the train images that are nearest to them: copies would show that "
        "the model has memorised its data.",
        "",
    ),
    "calibration": (
        "Does the decoder know its error?",
        "The standard deviation that the likelihood claims beside the error of each test image: "
        "where it is right the two agree.",
        "",
    ),
    "rates": (
        "What each latent dimension carries",
        "The latent dimensions by what they say about a row, the busiest first; the rest is not "
        "used.",
        "",
    ),
    "rate_distortion": (
        "Rate and distortion",
        "How training traded the two parts of the ELBO on the valid split, and where the test "
        "split lies.",
        "",
    ),
    "bound": (
        "The bound against the draws",
        "The lower bound on log p(x) rises with the number of importance draws; where it is flat "
        "it has nearly reached its limit.",
        "",
    ),
    "density": (
        "Density, true and of the model",
        "Log density on slices through the data: the truth, the model, and what lies between them.",
        "",
    ),
    "recall": (
        "Share of each component",
        "How much of the samples falls to each component of the data, beside the weight that it "
        "should have.",
        "",
    ),
}  # fmt: skip
# Numbers of metrics.json that a figure is read for: the key, and what it is called.
_READ_OFF: dict[str, tuple[tuple[str, str], ...]] = {
    "reconstruction": (
        ("psnr_db_reconstruction", "PSNR in dB"), ("mse_reconstruction", "mean squared error"),
    ),
    "calibration": (("variance_ratio_draw", "variance over error"),),
    "rates": (("active_units_posterior", "active units"), ("latent_dim", "latent dimensions")),
    "rate_distortion": (
        ("rate_nats_prior", "rate in nats"), ("distortion_nats_posterior", "distortion in nats"),
    ),
    "bound": (
        ("log_likelihood_nats_prior", "bound in nats"),
        ("true_log_density_nats_test", "truth in nats"),
    ),
    "density": (("gap_nats_prior", "mean gap in nats"),),
    "recall": (
        ("modes_captured_prior", "components captured by the prior"),
        ("modes_captured_sampler", "by the sampler"), ("num_modes", "components"),
    ),
    "latent_tsne": (
        ("auc_latent", "AUC of a linear classifier of the label"),
        ("knn_accuracy_latent", "accuracy of the nearest neighbours in latent space"),
    ),
}  # fmt: skip


def captions_text(
    files: Sequence[str], metrics: Mapping[str, Any], heading: str, *,
    images: bool, history: Mapping[str, Sequence[float]],
) -> str:  # fmt: skip
    """Captions to paste: of each figure its files, and what it shows with the numbers read off it.

    Args:
        files: names of the figures' files.
        metrics: of metrics.json.
        heading: the version, its data and epochs in words.
        images: whether x are images.
        history: figure -> value of each epoch.
    """
    shown = [one for one in sorted(files, key=order_of) if Path(one).suffix in SHOWN]
    words = ((one, caption_of(one, metrics, images=images, history=history)) for one in shown)
    return "\n".join(
        f"{', '.join([one, *_printed(one, files)])}\n{word.alt} Model: {heading}.\n"
        for one, word in words
    )


def _printed(file: str, files: Sequence[str]) -> list[str]:
    """The same figure for print."""
    others = [str(Path(file).with_suffix(f".{ending}")) for ending in PRINTED]
    return [one for one in others if one in files and Path(file).suffix != MOVING]


def caption_of(
    file: str,
    metrics: Mapping[str, Any],
    *,
    images: bool,
    history: Mapping[str, Sequence[float]],
) -> Caption:
    """The words of a figure; of one that is not known its name.

    Args:
        file: its name.
        metrics: of metrics.json: numbers that it shows.
        images: whether x are images.
        history: figure -> value of each epoch.
    """
    stem, ending = Path(file).stem, Path(file).suffix
    title, of_vectors, of_images = _WORDS.get(stem, (stem, "A figure.", ""))
    caption = (of_images if images else "") or of_vectors
    if ending == MOVING:
        title, caption = f"{title}, moving", f"{caption} The same as an animation."
    return Caption(title, caption, f"{title}. {caption}{_numbers(stem, metrics, history)}")


def _numbers(stem, metrics, history):
    if stem == CURVES:
        curve = history.get("val_elbo", ())
        if not len(curve):
            return ""
        first, last, best = (written(value, 2) for value in (curve[0], curve[-1], max(curve)))
        return (
            f" Over {len(curve)} epochs the ELBO of the valid split goes from {first} to {last} "
            f"nats; its highest is {best}."
        )
    known = ((value_of(metrics, key), name) for key, name in _READ_OFF.get(stem, ()))
    told = [f"{name} {value.text}" for value, name in known if value is not None]
    return f" Measured: {', '.join(told)}." if told else ""
