"""The numbers that only images have: how samples and reconstructions look to a feature net."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from kvae.data import Dataset
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import in_parts, parts_at, rows_at_once
from kvae.evaluation.factors import disentanglement
from kvae.evaluation.judging import (
    MAX_MANIFOLD_ROWS,
    NUM_SETS,
    SetFeatures,
    features_of,
)
from kvae.evaluation.naming import of
from kvae.evaluation.observation import Observation
from kvae.features import FeatureNet
from kvae.metrics import memorisation
from kvae.metrics.bootstrap import bootstrap_interval
from kvae.metrics.frechet import frechet_distance
from kvae.metrics.neighbours import NUM_NEIGHBOURS, Manifold
from kvae.metrics.reconstruction import psnr_of, row_errors
from kvae.saying import progress

MIN_MEMORISATION_ROWS = 200  # the 1% quantile of fewer is chance
_CONSTANT_ROWS = 10_000


def measure_images(observation: Observation) -> tuple[dict[str, Any], dict[str, Any]]:
    """What only images have, beside the errors of their reconstructions.

    Args:
        observation: of images; where nothing judges, samples are not measured.

    Returns:
        Metrics and their protocol, JSON values.
    """
    metrics, protocol = _calibration(observation)
    if observation.dataset.value_range is not None:
        metrics["psnr_db_mean_image"] = constant_psnr(observation.dataset)
    if observation.has_factors:
        found, how = disentanglement(observation)
        metrics, protocol = metrics | found, protocol | how
    if observation.train is not None:
        found, how = judge_sets(observation)
        metrics, protocol = metrics | found, protocol | how
    return metrics, protocol


def _calibration(observation):
    """Whether the likelihood's variance is that of its errors."""
    variance, squared_error = observation.calibration
    error = float(squared_error.mean())
    metrics: dict[str, Any] = {"mse_draw": error}
    protocol = {}
    if error:
        metrics["variance_ratio_draw"] = float(variance.mean()) / error
        protocol["variance_ratio_draw"] = (
            "the likelihood's mean variance over the mean squared error, both at one posterior "
            f"draw of {len(variance):,} test images; 1 is calibrated; "
            "variance_ratio_draw_interval: 95% bootstrap over the images"
        )
    if squared_error.all():
        metrics["variance_ratio_draw_interval"] = list(
            bootstrap_interval(variance, over=squared_error, seed=observation.seed)
        )
    return metrics, protocol


def judge_sets(observation: Observation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hold reconstructions and samples of prior and sampler against the test images.

    Args:
        observation: of images, with what judges them.

    Returns:
        Metrics and their protocol, JSON values. For `reconstruction`, `prior`, `sampler` (where
        there is one) and `floor` (train images): the Frechet distance as `<net.key>_<name>`, and
        `precision_<name>`, `recall_<name>`, `density_<name>`, `coverage_<name>`. Of prior and
        sampler these are means over five independent sets, with `<key>_range`, [least, greatest];
        as are `memorised_fraction_<name>` and so on, see `kvae.metrics.memorisation`, which need
        200 test images at least. Of samples that are not all finite there is their number alone,
        `not_finite_samples_<name>`. `nearest_train_share`: how much of the train split samples are
        held against; `memorised_fraction_stderr`: the error of the 0.01 that is expected at most.
    """
    dataset, train = observation.dataset, observation.train
    reconstructions = observation.reconstruction.features
    if train is None or reconstructions is None:
        raise ValueError("sets of images are judged by features: the observation has no `train`")
    sets = observation.sets
    net, count = train.net, len(sets.test_rows)
    judge = _Judge(
        net, parts_at(dataset.test.x, sets.test_rows, rows_at_once(dataset.test.x)), sets.kept
    )
    floor = parts_at(dataset.train.x, sets.train_rows, rows_at_once(dataset.train.x))
    metrics = judge.compare("floor", judge.features_of(floor))
    metrics |= judge.compare("reconstruction", reconstructions)
    fresh = None
    if len(judge.real.kept) >= MIN_MEMORISATION_ROWS:
        fresh = _near(judge.real, train)
        metrics["nearest_train_share"] = len(train.rows) / len(dataset.train.x)
        expected = memorisation.CLOSE_QUANTILE
        metrics["memorised_fraction_stderr"] = math.sqrt(
            expected * (1 - expected) / len(fresh.distances)
        )
    with progress("judging", NUM_SETS * len(observation.sources), "sets of samples") as advance:
        for name in observation.sources:
            judged: list[dict[str, float]] = []
            wrong: list[int] = []
            for parts in observation.image_sets(name):
                features = judge.features_of(_finite(parts, wrong))
                judged.append(judge.compare(name, features))
                if any(wrong):
                    break
                if fresh is not None:
                    found = memorisation.compared(_near(features, train), fresh)
                    # Of the test rows, whatever the source.
                    of_test = "nearest_train_distance_test"
                    metrics[of_test] = found.pop(of_test)
                    judged[-1] |= of(name, found)
                advance(1)
            metrics[f"not_finite_samples_{name}"] = sum(wrong)
            if any(wrong):
                continue
            metrics |= _over_sets(judged)
    protocol = {
        "features": net.description,
        "rows_against_test": count,
        "floor": (
            "as many random train images; features that were learned from them put them farther "
            "from test images than chance does"
        ),
        "sample_sets": f"{NUM_SETS} independent sets of {count:,} images: mean, range",
        "nearest_train": (
            f"of {len(train.rows):,} train images, in the same features; of each sample set, at "
            f"most {MAX_MANIFOLD_ROWS:,} images: mean, range"
        ),
        "memorised_fraction": (
            "nearer to a train image than the median test image, and than 99% of them over the "
            f"distance to the tenth nearest, and at least {memorisation.AS_SHARP:g} as sharp "
            "(squared differences of pixels side by side)"
        ),
        "manifold": (
            f"k = {NUM_NEIGHBOURS} nearest neighbours, at most {MAX_MANIFOLD_ROWS:,} images; "
            "precision and density say little beside a recall near 0: the balls of a few real "
            "images in the midst of the others may hold all samples"
        ),
    }
    return metrics, protocol


def _near(features, train):
    """How images lie to train images, and whether they are as sharp."""
    return memorisation.near_train(
        features.kept, train.features,
        point_sharpness=features.sharpness, train_sharpness=train.sharpness,
    )  # fmt: skip


def _finite(parts, wrong: list[int]) -> Iterator[np.ndarray]:
    """The parts, black for images that are not finite; how many of each part, added to `wrong`."""
    for part in parts:
        bad = ~np.isfinite(part).all(axis=(1, 2, 3), keepdims=True)
        wrong.append(int(bad.sum()))
        yield np.where(bad, np.float32(0), part)


class _Judge:
    """Compares sets of images with one set of real ones.

    Args:
        net: features.
        real: images, in parts.
        kept: of each set, whose neighbours are looked for, `(count,)` bool.
    """

    def __init__(self, net: FeatureNet, real: Iterable[np.ndarray], kept: np.ndarray):
        self._net, self._kept = net, kept
        self.real = self.features_of(real)
        self._manifold = Manifold(self.real.kept)

    def features_of(self, parts: Iterable[np.ndarray]) -> SetFeatures:
        """The features of as many images as there are real ones."""
        return features_of(self._net, parts, self._kept)

    def compare(self, name: str, features: SetFeatures) -> dict[str, float]:
        """The distance of a set, and how the two sets cover one another."""
        distance = frechet_distance(features.moments, self.real.moments)
        return of(name, {self._net.key: distance, **self._manifold.metrics(features.kept)})


def _over_sets(sets: list[dict[str, float]]) -> dict[str, Any]:
    """Means, and ranges: a bootstrap's duplicates would bias these figures."""
    found: dict[str, Any] = {}
    for key in sets[0]:
        values = [one[key] for one in sets]
        found[key] = float(np.mean(values))
        found[f"{key}_range"] = [float(min(values)), float(max(values))]
    return found


def constant_psnr(dataset: Dataset) -> float:
    """The PSNR in dB of answering the mean train image to everything, on the test split."""
    train = np.asarray(dataset.train.x)[:: max(1, len(dataset.train.x) // _CONSTANT_ROWS)]
    total = sum(
        as_unit_interval(part).sum(0, dtype=np.float64)
        for part in in_parts(train, rows_at_once(train))
    )
    mean = total / len(train)
    values = []
    test = np.asarray(dataset.test.x)
    for part in in_parts(test, rows_at_once(test)):
        part = as_unit_interval(part)
        answer = np.broadcast_to(mean, part.shape).astype(np.float32)
        values.append(psnr_of(row_errors(part, answer, images=False)["mse"]))
    return float(np.concatenate(values).mean())
