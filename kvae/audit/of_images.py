"""Fréchet distances of metrics.json: of the same images, in the same features, once more."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kvae.audit.independent import images
from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import Model
from kvae.audit.verdicts import AGREES, DIFFERS, TIMES_ROUNDING, Line, not_checked
from kvae.data import Dataset
from kvae.data.cache import default_cache_dir
from kvae.data.conditions import Conditioned
from kvae.data.images.pixels import as_levels
from kvae.data.rows import random_rows
from kvae.evaluation.judging import NUM_SETS, Sets, choose_sets
from kvae.evaluation.observation import MAX_CALIBRATION_ROWS
from kvae.evaluation.rows import DAMAGED
from kvae.probability.streams import generator

_KEY = "frechet_"
_PCA, _ATTRIBUTES = "frechet_pca", "frechet_attributes"
_NUMBERS = 2**21  # of x, of images of a set that decoders answer
_CLOSE = 1e-4  # share of itself by which a distance of float32 features may be off
_AT_ONCE = 256

Features = Callable[[np.ndarray], np.ndarray]


def of_images(
    dataset: Dataset, said: dict[str, Any], own: Model, rounded: Model, cache_dir: str | None
) -> list[Line]:
    """Lines about Fréchet distances.

    Args:
        dataset: images, as the model takes them.
        said: metrics.json.
        own: the model in float64.
        rounded: in float32.
        cache_dir: where the evaluation kept the network that judges; None: the default.
    """
    keys = [key for key in said if key.startswith(_KEY) and not key.endswith("_range")]
    keys += [key for key in said if key.startswith("fid_") and not key.endswith("_range")]
    if not keys:
        return []
    try:
        nets = _features(dataset, said, keys[0], cache_dir)
        sets = _sets(dataset, said, own)
    except Beyond as error:
        return [not_checked(f"metrics.json: {key}", error) for key in keys]
    real = [_of_rows(net, dataset.test.x, sets.test_rows) for net in nets]
    lines = []
    for key in keys:
        try:
            lines.append(_line(key, said, dataset, sets, (own, rounded), nets, real))
        except Beyond as error:
            lines.append(not_checked(f"metrics.json: {key}", error))
    return lines


def _line(
    key: str, said: dict[str, Any], dataset: Dataset, sets: Sets, models: tuple[Model, Model],
    nets: list[Features], real: list[np.ndarray],
) -> Line:  # fmt: skip
    what, subject = f"metrics.json: {key}", key.rpartition("_")[2]
    if subject == "floor":
        found = [_of_rows(net, dataset.train.x, sets.train_rows) for net in nets]
        parts = [found]
    elif subject == "reconstruction":
        rows = dataset.test.x[sets.test_rows]
        parts = [[net(_reconstructed(one, rows)) for net, one in zip(nets, models, strict=True)]]
    elif subject in sets.sample_seeds and not models[0].condition_dim:
        several = len(sets.test_rows) * int(np.prod(models[0].element_shape)) * NUM_SETS
        seeds = sets.sample_seeds[subject][: NUM_SETS if several <= _NUMBERS else 1]
        parts = [
            [net(_generated(one, own, subject)) for net, one in zip(nets, models, strict=True)]
            for own in seeds
        ]
    else:
        raise Beyond("images of labels that the audit does not choose")
    each = [
        [images.frechet(one, other) for one, other in zip(part, real, strict=True)]
        for part in parts
    ]
    distances, with_rounding = (np.array(column) for column in zip(*each, strict=True))
    here, noise = float(distances.mean()), float(np.abs(distances - with_rounding).max())
    tolerance = TIMES_ROUNDING * noise + _CLOSE * abs(here)
    note = f"{here:.4g} here"
    if subject in sets.sample_seeds and len(parts) < NUM_SETS:
        # One of the five sets that the range is of.
        low, high = said[f"{key}_range"]
        difference = max(low - here, here - high, 0.0, low - said[key], said[key] - high)
        note += ", of the first set, which the range of all must hold"
    else:
        difference = abs(said[key] - here)
    verdict = AGREES if difference <= tolerance else DIFFERS
    return Line(what, verdict, len(sets.test_rows), float(difference), tolerance, note)


def _sets(dataset: Dataset, said: dict[str, Any], own: Model) -> Sets:
    """The rows and seeds that the evaluation held against each other."""
    seed, count = said["origin"]["seed"], said["protocol"]["rows_against_test"]
    if count * int(np.prod(own.element_shape)) > _NUMBERS:
        raise Beyond(f"sets of {count:,} images take longer than an audit")
    rng = generator(seed, "image measurements")
    random_rows(len(dataset.test.x), MAX_CALIBRATION_ROWS, rng, always=True)
    _, second, third = rng.integers(2**31, size=3).tolist()
    has_factors = "factors" in dataset.card and not own.condition_dim
    sources = ["prior", *(["sampler"] if own.has_sampler else [])]
    return choose_sets(dataset, sources, count, third if has_factors else second)


def _features(
    dataset: Dataset, said: dict[str, Any], key: str, cache_dir: str | None
) -> list[Features]:
    """What judged, in float64 and in float32, known by the checksum that its description says."""
    described = said["protocol"]["features"]
    if key.startswith(_PCA):
        from kvae.features import pca

        net = pca.make(dataset, inception_weights=None, cache_dir=None, seed=0)
        if net.description != described:
            raise Beyond("principal components that are other numbers here")
        return [net.extract, net.extract]
    if not key.startswith(_ATTRIBUTES):
        raise Beyond("features of a network that the audit has no formula for")
    folder = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
    for path in sorted(folder.glob("attributes-*.npz")):
        try:
            with np.load(path, allow_pickle=False) as stored:
                count = sum(name.startswith("weight_") for name in stored.files)
                weights = [stored[f"weight_{number}"] for number in range(count)]
        except DAMAGED:  # it may be another data set's
            continue
        digest = hashlib.sha256(b"".join(one.tobytes() for one in weights)).hexdigest()[:16]
        if digest in described:
            return [_network(weights, np.float64), _network(weights, np.float32)]
    raise Beyond(f"the network that judges is not in {folder}")


def _network(weights: list[np.ndarray], dtype: Any) -> Features:
    own = [one.astype(dtype) for one in weights]

    def of(levels: np.ndarray) -> np.ndarray:
        parts = [levels[start : start + _AT_ONCE] for start in range(0, len(levels), _AT_ONCE)]
        return np.concatenate([images.features(own, part) for part in parts]).astype(np.float64)

    return of


def _levels(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype == np.uint8 else as_levels(x)


def _of_rows(net: Features, x: Any, rows: np.ndarray) -> np.ndarray:
    x = x.x if isinstance(x, Conditioned) else x
    return net(_levels(x[rows]))


def _reconstructed(model: Model, rows: Any) -> np.ndarray:
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        condition = part.condition if isinstance(part, Conditioned) else None
        x = np.asarray(part.x if isinstance(part, Conditioned) else part)
        x = x / np.float32(255) if x.dtype == np.uint8 else x
        mean = model.posterior(x, condition).mean()
        found.append(as_levels(model.decode(mean, condition).mean()))
    return np.concatenate(found)


def _generated(model: Model, seeds: np.ndarray, subject: str) -> np.ndarray:
    density = model.prior if subject == "prior" else model.sampler
    return np.concatenate(
        [
            as_levels(model.decode(density.draw(model.noise(part))).mean())
            for part in np.array_split(seeds, max(1, len(seeds) // _AT_ONCE))
        ]
    )
