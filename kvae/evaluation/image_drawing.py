"""The figures that only images have, from the signatures and the data."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data.conditions import condition_beside
from kvae.data.images.pixels import as_unit_interval
from kvae.evaluation.observation import Observation
from kvae.figures import images as figures
from kvae.figures.calibration import draw_calibration
from kvae.figures.conditions import draw_conditions
from kvae.figures.processes import Attempt, Draw, at_once
from kvae.figures.traversals import draw_attributes, draw_traversals
from kvae.metrics.latents import active_fraction, rate_per_dim
from kvae.metrics.neighbours import nearest
from kvae.metrics.reconstruction import psnr_of

_PAIRS, _STEPS = 6, 10
_TRAVERSED = 12
_TRAVERSAL_VALUES = np.linspace(-3.0, 3.0, 9)
_SAMPLES = 6
_EDITED = 8
_CONDITION_LATENTS, _MOST_CONDITIONS = 8, 40
_STRENGTHS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def interpolations(
    served: Any, x: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of rows `(pairs, 2, ...)`, and what lies between: `(pairs, steps, ...)`."""
    pairs = rng.permutation(len(x))[: 2 * min(_PAIRS, len(x) // 2)].reshape(-1, 2)
    start, end = (x[np.repeat(pairs[:, side], _STEPS)] for side in (0, 1))
    fraction = np.tile(np.linspace(0, 1, _STEPS, dtype=np.float32), len(pairs))
    found = served.call("interpolate", start=start, end=end, fraction=fraction)["interpolated"]
    return np.asarray(x[pairs]), found.reshape(len(pairs), _STEPS, *x.shape[1:])


def draw_images(
    folder: Path,
    observation: Observation,
    rng: np.random.Generator,
    paint: Draw = at_once,
    attempt: Attempt = nullcontext,
) -> None:
    """Write generation, reconstruction, worst, interpolation, traversals, calibration (PNG).

    Also traversals.gif, where there are features neighbours.png, where there are directions of
    attributes attributes.png, of a conditional model conditions.png.

    Args:
        folder: where to write.
        observation: of images; what its numbers are of is what is drawn.
        rng: of what is drawn beside that.
        paint: what draws.
        attempt: what a figure's file is named to, around all that it needs.
    """
    with attempt("generation.png"):
        _generation(folder, observation, paint)
    with attempt("reconstruction.png"):
        _reconstruction(folder, observation, paint)
    with attempt("worst.png"):
        _worst(folder, observation, paint)
    with attempt("interpolation.png"):
        _interpolation(folder, observation, rng, paint)
    with attempt("calibration.png"):
        _calibration(folder, observation, paint)
    with attempt("traversals.png"):
        _traversals(folder, observation, paint)
    if observation.train is not None:
        with attempt("neighbours.png"):
            _neighbours(folder, observation, paint)
    if "directions" in observation.served.metadata:
        with attempt("attributes.png"):
            _attributes(folder, observation, rng, paint)
    if observation.is_conditioned:
        with attempt("conditions.png"):
            _conditions(folder, observation, rng, paint)


def _reconstruction(folder, observation, paint):
    x, shown = observation.dataset.test.x, observation.reconstruction.shown
    seen = observation.as_shown
    paint(
        figures.draw_reconstruction,
        seen(x[shown.rows]), seen(shown.reconstruction),
        f"{observation.heading}: test images and their reconstructions",
        path=folder / "reconstruction.png",
    )  # fmt: skip


def _worst(folder, observation, paint):
    x, worst = observation.dataset.test.x, observation.reconstruction.worst
    seen, (low, high) = observation.as_shown, observation.grey
    paint(
        figures.draw_worst,
        seen(x[worst.rows]), seen(worst.reconstruction),
        psnr_of(observation.reconstruction.errors["mse"][worst.rows] / (high - low) ** 2),
        f"{observation.heading}: the worst reconstructions of {len(x):,} test images",
        path=folder / "worst.png",
    )  # fmt: skip


def _interpolation(folder, observation, rng, paint):
    ends, between = interpolations(observation.served, observation.dataset.test.x, rng)
    seen = observation.as_shown
    paint(
        figures.draw_interpolation,
        seen(between),
        f"{observation.heading}: between test images, a straight line in latent space",
        seen(ends),
        path=folder / "interpolation.png",
    )


def _generation(folder, observation, paint):
    words = {"prior": "from the prior", "sampler": f"through the {observation.sampler} sampler"}
    images = {
        words[source]: observation.as_shown(observation.first_images(source))
        for source in observation.sources
    }
    paint(
        figures.draw_generations,
        images,
        f"{observation.heading}: generated images",
        path=folder / "generation.png",
    )


def _calibration(folder, observation, paint):
    variance, squared_error = observation.calibration
    paint(
        draw_calibration,
        np.sqrt(variance), np.sqrt(squared_error),
        f"{observation.heading}: the likelihood's standard deviation, and the root mean squared "
        "error of each test image",
        path=folder / "calibration.png",
    )  # fmt: skip


def _traversals(folder, observation, paint):
    """The busiest dimensions, each moved alone, from the latent of an image in the middle."""
    mean, variance = observation.posterior
    if observation.has_rates_per_dim:
        used, unit = rate_per_dim(mean, variance), "{:.1f} nats"
    else:
        used, unit = active_fraction(mean, variance), "{:.0%} active"
    order = np.argsort(-used, kind="stable")[:_TRAVERSED]
    centre, spread = mean.mean(axis=0), np.sqrt(mean.var(axis=0) + variance.mean(axis=0))
    middle = np.square((mean - centre) / spread).sum(axis=1).argmin()
    latents = np.tile(mean[middle], (len(order), len(_TRAVERSAL_VALUES), 1))
    for place, dim in enumerate(order):
        latents[place, :, dim] = centre[dim] + spread[dim] * _TRAVERSAL_VALUES
    flat = latents.reshape(-1, latents.shape[-1]).astype(np.float32)
    alike = condition_beside(observation.dataset.test.x[np.full(len(flat), middle)])
    decoded = observation.served.call("decode", latent=flat, **alike)["decoded"]
    paint(
        draw_traversals,
        observation.as_shown(decoded).reshape(*latents.shape[:2], *decoded.shape[1:]),
        [f"z{dim + 1}  {unit.format(used[dim])}" for dim in order], list(_TRAVERSAL_VALUES),
        f"{observation.heading}: the latent dimensions that carry most, each moved alone",
        path=folder / "traversals.png", gif_path=folder / "traversals.gif",
    )  # fmt: skip


def _neighbours(folder, observation, paint):
    source, train = list(observation.sources)[-1], observation.train
    samples = observation.first_images(source)[:_SAMPLES]
    distances, found = nearest(train.net.extract(samples), train.features, figures.NUM_NEIGHBOURS)
    train_x = np.asarray(observation.dataset.train.x)
    images = np.stack([as_unit_interval(train_x[train.rows[row]]) for row in found])
    paint(
        figures.draw_neighbours,
        samples, images, distances,
        f"{observation.heading}: samples of the {source} and their nearest of {len(train.rows):,} "
        "train images, with their distance in features",
        path=folder / "neighbours.png",
    )  # fmt: skip


def _attributes(folder, observation, rng, paint):
    """The attributes that are told best, each on an image of its own that has not got it."""
    x, labels = observation.dataset.test.x, observation.dataset.test.labels
    names = observation.served.metadata["directions"]["names"]  # the best told first
    accuracy = observation.served.metadata["directions"]["accuracy"]
    chosen = range(min(_EDITED, len(names)))
    images = []
    for place in chosen:
        without = np.flatnonzero(~labels[names[place]]) if names[place] in labels else ()
        images.append(int(rng.choice(without if len(without) else len(x))))
    originals = as_unit_interval(x[images])
    strengths = np.zeros((len(chosen), len(_STRENGTHS), len(names)), np.float32)
    for row, place in enumerate(chosen):
        strengths[row, :, place] = _STRENGTHS
    edited = observation.served.call(
        "edit",
        x=originals[np.repeat(np.arange(len(chosen)), len(_STRENGTHS))],
        attribute_strength=strengths.reshape(-1, len(names)),
    )["edited"]
    paint(
        draw_attributes,
        observation.as_shown(edited).reshape(len(chosen), -1, *edited.shape[1:]),
        f"{observation.heading}: attributes moved in latent space, by what each adds to the mean "
        "latent, times these strengths; beside each how well latents of the valid split tell it "
        "(balanced accuracy, chance 50%)",
        [f"{names[place]} {accuracy[place]:.0%}" for place in chosen], list(_STRENGTHS),
        observation.as_shown(originals),
        path=folder / "attributes.png",
    )  # fmt: skip


def _conditions(folder, observation, rng, paint):
    """A few latents under each condition, all others as they usually are."""
    condition = observation.served.metadata["condition"]
    names, owners = condition["names"], condition["label_of"]
    usual = _usual_condition(observation.dataset.test.x.condition, owners)
    # Where one label is all that there is, its classes are told without what is usual.
    has_usual = not usual.any() or len(set(owners)) > 1
    rows = [usual] * has_usual
    present = ", ".join(name for name, is_there in zip(names, usual, strict=True) if is_there)
    labels = [f"usual: {present}" if present else "none"] * len(rows)
    shown = range(min(len(names), _MOST_CONDITIONS))
    for place in shown:
        switched = np.where(np.array(owners) == owners[place], 0, usual)
        switched[place] = 1
        if not has_usual or (switched != usual).any():
            rows.append(switched)
            labels.append(names[place])
    seeds = np.tile(rng.integers(2**63, size=_CONDITION_LATENTS), len(rows))
    given = np.repeat(np.array(rows, np.float32), _CONDITION_LATENTS, axis=0)
    images = observation.as_shown(
        observation.served.call("generate", seed=seeds, condition=given)["sample"]
    )
    some = "" if len(shown) == len(names) else f" (the first {len(shown)} of {len(names)})"
    paint(
        draw_conditions,
        images.reshape(len(rows), _CONDITION_LATENTS, *images.shape[1:]), labels,
        f"{observation.heading}: the same latents in each row, one condition after the other{some}",
        path=folder / "conditions.png",
    )  # fmt: skip


def _usual_condition(conditions, owners):
    """Of classes the commonest; of a label of yes and no nothing need be there."""
    usual = np.zeros(len(owners), np.float32)
    for owner in set(owners):
        places = [place for place, other in enumerate(owners) if other == owner]
        if len(places) > 1:
            usual[places[conditions[:, places].sum(axis=0).argmax()]] = 1
    return usual
