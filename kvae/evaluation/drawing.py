"""The figures of a published version, of what its numbers are of."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from kvae.evaluation.image_drawing import draw_images, interpolations
from kvae.evaluation.naming import PRIOR
from kvae.evaluation.observation import Observation
from kvae.evaluation.yardstick import unit_of
from kvae.figures import latent as latent_figures
from kvae.figures import vectors as vector_figures
from kvae.figures.bound import draw_bound
from kvae.figures.curves import draw_curves
from kvae.figures.density import draw_density
from kvae.figures.processes import Attempt, Draw, at_once
from kvae.figures.rates import draw_rate_distortion, draw_rates
from kvae.figures.recall import draw_recall
from kvae.figures.slices import slices_of
from kvae.metrics.latents import ACTIVE_FRACTION
from kvae.probability.streams import generator

_MOST_GENERATED = 5_000


def draw_map(folder: Path, observation: Observation, *, paint: Draw = at_once) -> None:
    """Write latent_tsne.png, which takes longer than any other figure and needs no metrics.

    Args:
        folder: where to write.
        observation: of a version.
        paint: what draws.
    """
    latents, test, label = observation.posterior.mean, observation.dataset.test, observation.label
    labels = test.labels[label] if label else np.zeros(len(latents), int)
    class_names = observation.dataset.card.get("label_names", {}).get(label, ())
    words = f"{observation.heading}: the latent space" + (f", coloured by {label}" if label else "")
    if observation.auc is not None:
        words += (
            f", which a linear classifier tells with AUC {observation.auc:.3f} (5-fold "
            "cross-validated)"
        )
    paint(
        latent_figures.draw_tsne, latents, labels, label, words,
        seed=observation.seed, class_names=class_names, path=folder / "latent_tsne.png",
    )  # fmt: skip


def draw(
    folder: Path,
    observation: Observation,
    *,
    metrics: Mapping[str, Any],
    paint: Draw = at_once,
    attempt: Attempt = nullcontext,
) -> None:
    """Write generation.png, reconstruction.png and interpolation.png.

    Also rates.png, rate_distortion.png and, of a version that knows its history, curves.png. For
    vectors also bound.png, for a mixture also density.png and recall.png; for images see
    `kvae.evaluation.image_drawing`.

    Args:
        folder: where to write.
        observation: that the numbers were taken from.
        metrics: from `kvae.evaluation.measurements.measure`, of the same observation.
        paint: what draws.
        attempt: what a figure's file is named to, around all that it needs.
    """
    rng = generator(observation.seed, "figures")
    if observation.dataset.kind == "images":
        draw_images(folder, observation, rng, paint, attempt)
    else:
        _vector_figures(folder, observation, rng, paint, attempt)
        if "bound_curve_prior" in metrics:
            with attempt("bound.png"):
                _bound(folder, observation, metrics, paint)
    with attempt("rates.png"):
        _rates(folder, observation, metrics, paint)
    with attempt("rate_distortion.png"):
        _rate_distortion(folder, observation, metrics, paint)
    with attempt("curves.png"):
        _curves(folder, observation, paint)
    if observation.mixture is not None:
        if not observation.is_conditioned:  # the density is another under each condition
            with attempt("density.png"):
                _density(folder, observation, paint)
        with attempt("recall.png"):
            _recall(folder, observation, metrics, paint)


def _bound(folder, observation, metrics, paint):
    name = observation.heading
    paint(
        draw_bound,
        _by_model(observation, metrics, "bound_curve"),
        f"{name}: the bound on log p(x) rises with the number of importance draws",
        path=folder / "bound.png",
    )


def _source(observation):
    """What samples are drawn from last, in words."""
    sampler = observation.sampler
    return "from the prior" if sampler == "none" else f"through the {sampler} sampler"


def _by_model(observation, metrics, key, first="_prior"):
    """A metric of the prior, and of the sampler where it has one."""
    found = {PRIOR: metrics[key + first]}
    if f"{key}_sampler" in metrics:
        found[f"{observation.sampler} sampler"] = metrics[f"{key}_sampler"]
    return found


def _rates(folder, observation, metrics, paint):
    """What each latent dimension carries."""
    name, active = observation.heading, np.array(metrics["active_fraction_per_dim_posterior"])
    shown, unit = metrics.get("rate_per_dim_nats_prior"), "rate, nats"
    if shown is None:
        shown, unit = active, "part of the spread that the data explain"
    paint(
        draw_rates,
        np.array(shown), active > ACTIVE_FRACTION,
        f"{name}: what each latent dimension carries", unit,
        path=folder / "rates.png",
    )  # fmt: skip


def _rate_distortion(folder, observation, metrics, paint):
    """Where rate and distortion went."""
    history = observation.served.metadata["history"]
    paint(
        draw_rate_distortion,
        {"test": (metrics["rate_nats_prior"], metrics["distortion_nats_posterior"])},
        {key: history[key] for key in ("val_rate", "val_distortion") if key in history},
        f"{observation.heading}: rate and distortion over training, on the valid split",
        path=folder / "rate_distortion.png",
    )


def _curves(folder, observation, paint):
    """How training went, of what the version knows of it."""
    metadata = observation.served.metadata
    history, config, course = metadata["history"], metadata["config"], metadata.get("course", {})
    best = course.get("best", {})
    best = best if best.get("figure") in ("elbo", "loss") else {}
    wanted = ["elbo", "distortion", "rate", *(["loss"] if best.get("figure") == "loss" else [])]
    curves = [history.get(f"{split}{name}", ()) for split in ("", "val_") for name in wanted]
    if len({*map(len, curves)}) > 1 or not curves[0]:
        return  # of a `fit` that validated never, or in some epochs that nothing names
    paint(
        draw_curves,
        history, f"{observation.heading}: train and valid split over the epochs",
        best=best.get("epoch"), chosen_by=best.get("figure", "elbo"), start=course.get("start"),
        rising=_rising(config, len(history["elbo"])), path=folder / "curves.png",
    )  # fmt: skip


def _rising(config, epochs):
    """First and last epoch, from 1, of each time in which beta is not at its full value."""
    warmup, cycle = config.get("kl_warmup_epochs", 0), config.get("kl_cycle_epochs", 0)
    if cycle > 1:
        rise = math.ceil(min(cycle / 2, cycle - 1))
        return [(first, first + rise - 1) for first in range(1, epochs + 1, cycle)]
    return [(1, min(warmup, epochs))] if warmup else []


def _vector_figures(folder, observation, rng, paint, attempt):
    dataset, mixture = observation.dataset, observation.mixture
    x = np.asarray(dataset.test.x)
    component = dataset.test.labels[dataset.color_by] if mixture else np.zeros(len(x), int)
    # Columns of a table have units of their own; in those, one column would be all that is seen.
    unit = 1.0 if mixture else unit_of(np.asarray(dataset.train.x))
    scaled = "" if mixture else "; columns over their standard deviation"
    with attempt("generation.png"):
        _generation(folder, observation, x, component, unit, scaled, paint)
    with attempt("reconstruction.png"):
        shown = observation.reconstruction.shown
        paint(
            vector_figures.draw_reconstruction,
            x[shown.rows], shown.reconstruction, component[shown.rows],
            f"{observation.heading}: test points and their reconstructions",
            names=list(map(str, dataset.card.get("columns", ()))),
            path=folder / "reconstruction.png",
        )  # fmt: skip
    with attempt("interpolation.png"):
        _, between = interpolations(observation.served, dataset.test.x, rng)
        paint(
            vector_figures.draw_interpolation,
            between / unit, x / unit,
            f"{observation.heading}: between test points, a straight line in latent space{scaled}",
            path=folder / "interpolation.png",
        )  # fmt: skip


def _generation(folder, observation, x, component, unit, scaled, paint):
    name, mixture = observation.heading, observation.mixture
    generated = list(observation.samples.values())[-1][: min(_MOST_GENERATED, len(x))]
    generated_component = (
        mixture.responsibilities(generated).argmax(axis=1)
        if mixture
        else np.zeros(len(generated), int)
    )
    words = "true points, and ones generated " if mixture else "test points, and ones generated "
    likeliest = ", in the colour of the likeliest component" if mixture else ""
    paint(
        vector_figures.draw_generation,
        x / unit, component, generated / unit, generated_component,
        f"{name}: {words}{_source(observation)}{likeliest}{scaled}",
        path=folder / "generation.png",
    )  # fmt: skip


def _density(folder, observation, paint):
    served, mixture = observation.served, observation.mixture
    slices = slices_of(mixture)
    points = [one.points().astype(np.float32) for one in slices]
    every = np.concatenate(points)
    seeds = generator(observation.seed, "density figure").integers(2**63, size=len(every))
    found = served.call("log_likelihood", x=every, seed=seeds)
    ends = np.cumsum([len(part) for part in points])[:-1]
    models = {
        name: np.split(np.asarray(values, np.float64), ends)
        for name, values in _by_model(observation, found, "log_likelihood", first="").items()
    }
    where = "" if len(slices) == 1 else " on slices"
    paint(
        draw_density,
        slices, [mixture.log_prob(part) for part in points], models,
        f"{observation.heading}: log density{where}, true and of the model "
        f"(bound of {served.metadata['num_draws']} draws)",
        path=folder / "density.png",
    )  # fmt: skip


def _recall(folder, observation, metrics, paint):
    count = metrics["num_generated"]
    paint(
        draw_recall,
        observation.mixture.weights,
        _by_model(observation, metrics, "mode_shares"),
        _by_model(observation, metrics, "mode_captured"),
        f"{observation.heading}: each component's share of {count:,} generated points",
        path=folder / "recall.png",
    )  # fmt: skip
