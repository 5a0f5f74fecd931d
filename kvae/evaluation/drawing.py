"""The figures of a published version, from its signatures, its numbers and the test split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import Dataset
from kvae.data.conditions import Conditioned
from kvae.data.gmm import Mixture, mixture_of
from kvae.evaluation.image_drawing import draw_images, interpolations, name_of
from kvae.evaluation.images import TrainFeatures
from kvae.figures import latent as latent_figures
from kvae.figures import vectors as vector_figures
from kvae.figures.bound import save_bound
from kvae.figures.density import save_density
from kvae.figures.rates import save_rate_distortion, save_rates
from kvae.figures.recall import save_recall
from kvae.figures.slices import slices_of
from kvae.metrics.latents import ACTIVE_FRACTION
from kvae.probability.streams import generator

_PRIOR = "prior"


def draw(
    folder: Path,
    served: Any,
    dataset: Dataset,
    *,
    metrics: Mapping[str, Any],
    label: str,
    train: TrainFeatures | None = None,
    seed: int,
) -> None:
    """Write generation.png, reconstruction.png, interpolation.png and latent_tsne.png.

    Also rates.png and rate_distortion.png. For vectors also bound.png, for a mixture also
    density.png and recall.png; for images see `kvae.evaluation.image_drawing`.

    Args:
        folder: where to write.
        served: a `kvae.serving.served.ServedModel`, or anything with its `call`, `version`,
            `metadata`.
        dataset: the data.
        metrics: from `kvae.evaluation.measurements.measure`, of the same version and data.
        label: what colours the latent map; "" for nothing.
        train: features of train images, for their nearest neighbours; None: no such figure.
        seed: of all draws.
    """
    test, name = dataset.test, name_of(served)
    rng = generator(seed, "figures")
    if dataset.kind == "images":
        draw_images(folder, served, dataset, train, rng)
    else:
        _vector_figures(folder, served, dataset, rng)
        if "bound_curve_prior" in metrics:
            title = f"{name}: the bound on log p(x) rises with the number of importance draws"
            save_bound(folder / "bound.png", _by_model(served, metrics, "bound_curve"), title)
    _rates(folder, served, metrics)
    mixture = mixture_of(dataset.card)
    if mixture is not None:
        if not isinstance(test.x, Conditioned):  # whose density is another under each condition
            _density(folder, served, mixture, seed)
        _recall(folder, served, mixture, metrics)
    latents = served.call("encode", x=test.x)["mean"]
    labels = test.labels[label] if label else np.zeros(len(latents), int)
    class_names = dataset.card.get("label_names", {}).get(label, ())
    latent_figures.save_tsne(
        folder / "latent_tsne.png", latents, labels, label,
        f"{name}: the latent space" + (f", coloured by {label}" if label else ""),
        seed=seed, class_names=class_names,
    )  # fmt: skip


def _sampler(served):
    return served.metadata.get("sampler", "none")


def _source(served):
    """What the signature `generate` draws latents from, in words."""
    sampler = _sampler(served)
    return "from the prior" if sampler == "none" else f"through the {sampler} sampler"


def _by_model(served, metrics, key, first="_prior"):
    """A figure of the prior, and of the sampler where it has one."""
    found = {_PRIOR: metrics[key + first]}
    if f"{key}_sampler" in metrics:
        found[f"{_sampler(served)} sampler"] = metrics[f"{key}_sampler"]
    return found


def _rates(folder, served, metrics):
    """What each latent dimension carries, and where rate and distortion went."""
    name, active = name_of(served), np.array(metrics["active_fraction_per_dim_posterior"])
    shown, unit = metrics.get("rate_per_dim_nats_prior"), "rate, nats"
    if shown is None:
        shown, unit = active, "part of the spread that the data explain"
    save_rates(
        folder / "rates.png", np.array(shown), active > ACTIVE_FRACTION,
        f"{name}: what each latent dimension carries", unit,
    )  # fmt: skip
    history = served.metadata["history"]
    save_rate_distortion(
        folder / "rate_distortion.png",
        {"test": (metrics["rate_nats_prior"], metrics["distortion_nats_posterior"])},
        {key: history[key] for key in ("val_rate", "val_distortion") if key in history},
        f"{name}: rate and distortion over training, on the valid split",
    )


def _vector_figures(folder, served, dataset, rng):
    name, test, mixture = name_of(served), dataset.test, mixture_of(dataset.card)
    x = np.asarray(test.x)
    alone = np.zeros(len(test.x), int)
    component = test.labels[dataset.color_by] if mixture else alone
    generated = _generate(served, min(5000, len(test.x)), rng)
    generated_component = (
        mixture.responsibilities(generated).argmax(axis=1) if mixture else alone[: len(generated)]
    )
    # Columns of a table have units of their own; in those, one column would be all that is seen.
    unit = 1.0 if mixture else np.asarray(dataset.train.x).std(axis=0)
    scaled = "" if mixture else "; columns over their standard deviation"
    words = "true points, and ones generated " if mixture else "test points, and ones generated "
    likeliest = ", in the colour of the likeliest component" if mixture else ""
    vector_figures.save_generation(
        folder / "generation.png", x / unit, component, generated / unit, generated_component,
        f"{name}: {words}{_source(served)}{likeliest}{scaled}",
    )  # fmt: skip
    reconstruction = served.call("serving_default", x=test.x)["reconstruction"]
    vector_figures.save_reconstruction(
        folder / "reconstruction.png", x, reconstruction, component,
        f"{name}: test points and their reconstructions",
    )  # fmt: skip
    _, between = interpolations(served, test.x, rng)
    vector_figures.save_interpolation(
        folder / "interpolation.png", between / unit, x / unit,
        f"{name}: between test points, a straight line in latent space{scaled}",
    )  # fmt: skip


def _density(folder, served, mixture: Mixture, seed):
    slices = slices_of(mixture)
    points = [one.points().astype(np.float32) for one in slices]
    every = np.concatenate(points)
    seeds = generator(seed, "density figure").integers(2**63, size=len(every))
    found = served.call("log_likelihood", x=every, seed=seeds)
    ends = np.cumsum([len(part) for part in points])[:-1]
    models = {
        name: np.split(np.asarray(values, np.float64), ends)
        for name, values in _by_model(served, found, "log_likelihood", first="").items()
    }
    where = "" if len(slices) == 1 else " on slices"
    save_density(
        folder / "density.png", slices, [mixture.log_prob(part) for part in points], models,
        f"{name_of(served)}: log density{where}, true and of the model "
        f"(bound of {served.metadata['num_draws']} draws)",
    )  # fmt: skip


def _recall(folder, served, mixture: Mixture, metrics):
    count = metrics["num_generated"]
    save_recall(
        folder / "recall.png", mixture.weights, _by_model(served, metrics, "mode_shares"),
        _by_model(served, metrics, "mode_captured"),
        f"{name_of(served)}: each component's share of {count:,} generated points",
    )  # fmt: skip


def _generate(served, count, rng):
    seeds = rng.integers(2**63, size=count)
    return served.call("generate", seed=seeds)["sample"]
