"""The figures that only images have, from the signatures and the data."""

from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import Dataset
from kvae.data.conditions import Conditioned, condition_beside
from kvae.data.images.pixels import as_unit_interval
from kvae.evaluation.images import (
    MAX_CALIBRATION_ROWS,
    TrainFeatures,
    calibration,
    signatures,
    worst,
)
from kvae.figures import images as figures
from kvae.figures.calibration import save_calibration
from kvae.figures.conditions import save_conditions
from kvae.figures.traversals import save_attributes, save_traversals
from kvae.metrics.latents import active_fraction, rate_per_dim
from kvae.metrics.neighbours import nearest

_PAIRS, _STEPS = 6, 10
_GENERATED, _SHOWN, _WORST = 20, 20, 20
_MAX_ROWS = 2_000
_TRAVERSED = 12
_TRAVERSAL_VALUES = np.linspace(-3.0, 3.0, 9)
_SAMPLES = 6
_EDITED = 8
_CONDITION_LATENTS, _MOST_CONDITIONS = 8, 40
_STRENGTHS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def name_of(served: Any) -> str:
    """The version in words."""
    return f"{served.version.name} version {served.version.number}"


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
    served: Any,
    dataset: Dataset,
    train: TrainFeatures | None,
    rng: np.random.Generator,
) -> None:
    """Write generation, reconstruction, worst, interpolation, traversals, calibration (PNG).

    Also traversals.gif, where there are features neighbours.png, where there are directions of
    attributes attributes.png, of a conditional model conditions.png.

    Args:
        folder: where to write.
        served: a `kvae.serving.served.ServedModel`, or anything with its `call`, `version`,
            `metadata`.
        dataset: images.
        train: features of train images; None: no neighbours.
        rng: of all draws.
    """
    name, x = name_of(served), dataset.test.x
    _generation(folder, served, rng)
    rows = np.sort(rng.permutation(len(x))[:_MAX_ROWS])
    originals = as_unit_interval(x[rows])
    real = np.asarray(originals)
    reconstructions = served.call("serving_default", x=originals)["reconstruction"]
    shown = rng.permutation(len(rows))[:_SHOWN]
    figures.save_reconstruction(
        folder / "reconstruction.png", real[shown], reconstructions[shown],
        f"{name}: test images",
    )  # fmt: skip
    bad, psnr = worst(real, reconstructions, _WORST)
    figures.save_worst(
        folder / "worst.png", real[bad], reconstructions[bad], psnr,
        f"{name}: the worst reconstructions of {len(rows):,} test images",
    )  # fmt: skip
    ends, between = interpolations(served, x, rng)
    figures.save_interpolation(
        folder / "interpolation.png", between,
        f"{name}: between test images, a straight line in latent space", as_unit_interval(ends),
    )  # fmt: skip
    _calibration(folder, served, x, rng)
    _traversals(folder, served, originals)
    if train is not None:
        _neighbours(folder, served, dataset, train, rng)
    if "directions" in served.metadata:
        _attributes(folder, served, dataset, rng)
    if isinstance(x, Conditioned):
        _conditions(folder, served, x.condition, rng)


def _generation(folder, served, rng):
    words = {
        "prior": "from the prior",
        "sampler": f"through the {served.metadata['sampler']} sampler",
    }
    images = {
        words[source]: served.call(signature, seed=rng.integers(2**63, size=_GENERATED))["sample"]
        for source, signature in signatures(served).items()
    }
    figures.save_generations(folder / "generation.png", images, f"{name_of(served)}: generated")


def _calibration(folder, served, x, rng):
    rows = np.sort(rng.permutation(len(x))[:MAX_CALIBRATION_ROWS])
    found = calibration(served, x[rows], int(rng.integers(2**31)))
    save_calibration(
        folder / "calibration.png",
        np.sqrt(found["variance"]), np.sqrt(found["squared_error"]),
        f"{name_of(served)}: the likelihood's standard deviation, and the root mean squared error "
        "of each test image",
    )  # fmt: skip


def _traversals(folder, served, originals):
    """The busiest dimensions, each moved alone, from the latent of an image in the middle."""
    posterior = served.call("encode", x=originals)
    mean, variance = posterior["mean"], posterior["variance"]
    config = served.metadata.get("config", {})
    if (config.get("posterior"), config.get("prior")) == ("diagonal", "standard_normal"):
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
    alike = condition_beside(originals[np.full(len(flat), middle)])
    decoded = served.call("decode", latent=flat, **alike)["decoded"]
    save_traversals(
        folder / "traversals.png", folder / "traversals.gif",
        decoded.reshape(*latents.shape[:2], *decoded.shape[1:]),
        [f"z{dim + 1}  {unit.format(used[dim])}" for dim in order], list(_TRAVERSAL_VALUES),
        f"{name_of(served)}: the latent dimensions that carry most, each moved alone",
    )  # fmt: skip


def _neighbours(folder, served, dataset, train, rng):
    source, signature = list(signatures(served).items())[-1]
    samples = served.call(signature, seed=rng.integers(2**63, size=_SAMPLES))["sample"]
    distances, found = nearest(train.net.extract(samples), train.features, figures.NUM_NEIGHBOURS)
    train_x = np.asarray(dataset.train.x)
    images = np.stack([as_unit_interval(train_x[train.rows[row]]) for row in found])
    figures.save_neighbours(
        folder / "neighbours.png", samples, images, distances,
        f"{name_of(served)}: samples of the {source} and their nearest of {len(train.rows):,} "
        "train images, with their distance in features",
    )  # fmt: skip


def _attributes(folder, served, dataset, rng):
    """The attributes that are told best, each on an image of its own that has not got it."""
    directions, labels = served.metadata["directions"], dataset.test.labels
    names = directions["names"]  # the best told first
    chosen = range(min(_EDITED, len(names)))
    images = []
    for place in chosen:
        without = np.flatnonzero(~labels[names[place]]) if names[place] in labels else ()
        images.append(int(rng.choice(without if len(without) else len(dataset.test.x))))
    originals = as_unit_interval(dataset.test.x[images])
    strengths = np.zeros((len(chosen), len(_STRENGTHS), len(names)), np.float32)
    for row, place in enumerate(chosen):
        strengths[row, :, place] = _STRENGTHS
    edited = served.call(
        "edit",
        x=originals[np.repeat(np.arange(len(chosen)), len(_STRENGTHS))],
        attribute_strength=strengths.reshape(-1, len(names)),
    )["edited"]
    save_attributes(
        folder / "attributes.png", edited.reshape(len(chosen), -1, *edited.shape[1:]),
        f"{name_of(served)}: attributes moved in latent space, by what each adds to the mean "
        "latent, times these strengths",
        [names[place] for place in chosen], list(_STRENGTHS), np.asarray(originals),
    )  # fmt: skip


def _conditions(folder, served, conditions, rng):
    """A few latents under each condition, all others as they usually are."""
    names, owners = (served.metadata["condition"][key] for key in ("names", "label_of"))
    usual = _usual_condition(conditions, owners)
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
    images = served.call("generate", seed=seeds, condition=given)["sample"]
    some = "" if len(shown) == len(names) else f" (the first {len(shown)} of {len(names)})"
    save_conditions(
        folder / "conditions.png",
        images.reshape(len(rows), _CONDITION_LATENTS, *images.shape[1:]), labels,
        f"{name_of(served)}: the same latents in each row, one condition after the other{some}",
    )  # fmt: skip


def _usual_condition(conditions, owners):
    """Of classes the commonest; of a label of yes and no nothing need be there."""
    usual = np.zeros(len(owners), np.float32)
    for owner in set(owners):
        places = [place for place, other in enumerate(owners) if other == owner]
        if len(places) > 1:
            usual[places[conditions[:, places].sum(axis=0).argmax()]] = 1
    return usual
