"""The numbers that only images have: how samples and reconstructions look to a feature net."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kvae.data import Dataset
from kvae.data.conditions import condition_beside
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import in_parts, parts_at, random_rows
from kvae.features import FeatureNet
from kvae.metrics import memorisation
from kvae.metrics.frechet import Moments, frechet_distance, moments
from kvae.metrics.neighbours import NUM_NEIGHBOURS, Manifold
from kvae.metrics.reconstruction import psnr_of, row_errors
from kvae.probability.streams import generator

NUM_SETS = 5
# Every pair of points is compared: some rows stand for all.
MAX_MANIFOLD_ROWS = 10_000
MAX_TRAIN_ROWS = 20_000
MIN_MEMORISATION_ROWS = 200  # the 1% quantile of fewer is chance
MAX_CALIBRATION_ROWS = 2_000
_CONSTANT_ROWS = 10_000
_AT_ONCE = 500


class TrainFeatures(NamedTuple):
    """What samples are held against to see whether they are copies.

    Args:
        net: that made them.
        rows: of the train split, rising.
        features: `(rows, d)`.
    """

    net: FeatureNet
    rows: np.ndarray
    features: np.ndarray


def train_features(net: FeatureNet, dataset: Dataset, seed: int) -> TrainFeatures:
    """The features of random train images, 20,000 at most."""
    x = dataset.train.x
    rows = np.sort(generator(seed, "train feature rows").permutation(len(x))[:MAX_TRAIN_ROWS])
    parts = parts_at(x, rows, _AT_ONCE)
    return TrainFeatures(net, rows, np.concatenate([net.extract(part) for part in parts]))


def measure_samples(
    served: Any, dataset: Dataset, train: TrainFeatures, *, num_samples: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hold reconstructions and samples of prior and sampler against the test images.

    Args:
        served: a `kvae.serving.served.ServedModel`, or anything with its `call` and `metadata`.
        dataset: images.
        train: what judges, and its features of train images.
        num_samples: images in each set, and test images that they are held against, at most.
        seed: of samples and of the choice of rows.

    Returns:
        Metrics and their protocol, JSON values. For `reconstruction`, `prior`, `sampler` (where
        there is one) and `floor` (train images): the Frechet distance as `<net.key>_<name>`, and
        `precision_<name>`, `recall_<name>`, `density_<name>`, `coverage_<name>`. Of prior and
        sampler these are means over five independent sets, with `<key>_range`, [least, greatest];
        as are `memorised_fraction_<name>` and so on, see `kvae.metrics.memorisation`, which need
        200 test images at least. Of samples that are not all finite there is their number alone,
        `not_finite_samples_<name>`. `nearest_train_share`: how much of the train split samples are
        held against; `memorised_fraction_stderr`: the error of the 0.01 that is expected.
    """
    rng, net = generator(seed, "judged samples"), train.net
    test_rows = random_rows(len(dataset.test.x), num_samples, rng)
    count = len(test_rows)
    judge = _Judge(net, parts_at(dataset.test.x, test_rows, _AT_ONCE), count, rng)
    train_rows = random_rows(len(dataset.train.x), count, rng)
    metrics = judge.compare("floor", parts_at(dataset.train.x, train_rows, _AT_ONCE))
    test = parts_at(dataset.test.x, test_rows, _AT_ONCE)
    metrics |= judge.compare(
        "reconstruction",
        (served.call("serving_default", x=part)["reconstruction"] for part in test),
    )
    fresh = None
    if len(judge.features) >= MIN_MEMORISATION_ROWS:
        fresh = memorisation.train_distances(judge.features, train.features)
        metrics["nearest_train_share"] = len(train.rows) / len(dataset.train.x)
        expected = memorisation.CLOSE_QUANTILE
        metrics["memorised_fraction_stderr"] = math.sqrt(expected * (1 - expected) / len(fresh))
    for name, signature in signatures(served).items():
        draws = [rng.integers(2**63, size=count) for _ in range(NUM_SETS)]
        sets: list[dict[str, float]] = []
        wrong: list[int] = []
        for seeds in draws:
            sets.append(judge.compare(name, _finite(_generated(served, signature, seeds), wrong)))
            if any(wrong):
                break
            if fresh is not None:
                near = memorisation.train_distances(judge.last_features, train.features)
                found = memorisation.compared(near, fresh)
                sets[-1] |= {f"{key}_{name}": value for key, value in found.items()}
        metrics[f"not_finite_samples_{name}"] = sum(wrong)
        if any(wrong):
            continue
        metrics |= _over_sets(sets)
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
        "manifold": (
            f"k = {NUM_NEIGHBOURS} nearest neighbours, at most {MAX_MANIFOLD_ROWS:,} images"
        ),
    }
    return metrics, protocol


def signatures(served: Any) -> dict[str, str]:
    """What latents can be drawn from -> the signature that does."""
    found = {"prior": "generate_from_prior"}
    if served.metadata.get("sampler", "none") != "none":
        found["sampler"] = "generate"
    return found


def _finite(parts, wrong: list[int]) -> Iterator[np.ndarray]:
    """The parts, black for images that are not finite; how many of each part, added to `wrong`."""
    for part in parts:
        bad = ~np.isfinite(part).all(axis=(1, 2, 3), keepdims=True)
        wrong.append(int(bad.sum()))
        yield np.where(bad, np.float32(0), part)


def _generated(served, signature, seeds) -> Iterator[np.ndarray]:
    return (
        served.call(signature, seed=seeds[start : start + _AT_ONCE])["sample"]
        for start in range(0, len(seeds), _AT_ONCE)
    )


class _Judge:
    """Compares sets of images with one set of real ones, a part at a time.

    Args:
        net: features.
        real: images, in parts.
        count: of them, and of those in each set.
        rng: chooses the rows whose neighbours are looked for.
    """

    def __init__(
        self, net: FeatureNet, real: Iterable[np.ndarray], count: int, rng: np.random.Generator
    ):
        self._net = net
        # Of sorted images the first ones would be those of one class.
        self._kept = np.zeros(count, bool)
        self._kept[rng.permutation(count)[:MAX_MANIFOLD_ROWS]] = True
        self.features, self._moments = self._features_of(real)
        self.last_features = self.features
        self._manifold = Manifold(self.features)

    def _features_of(self, parts) -> tuple[np.ndarray, Moments]:
        """The features of some rows, and the moments of all."""
        kept: list[np.ndarray] = []

        def extracted():
            done = 0
            for part in parts:
                features = self._net.extract(np.asarray(part))
                kept.append(features[self._kept[done : done + len(part)]])
                done += len(part)
                yield features

        whole = moments(extracted())
        return np.concatenate(kept), whole

    def compare(self, name: str, parts) -> dict[str, float]:
        """The distance of a set, and how the two sets cover one another."""
        self.last_features, found = self._features_of(parts)
        manifold = self._manifold.metrics(self.last_features)
        return {
            f"{self._net.key}_{name}": frechet_distance(found, self._moments),
            **{f"{key}_{name}": value for key, value in manifold.items()},
        }


def _over_sets(sets: list[dict[str, float]]) -> dict[str, Any]:
    """Means, and ranges: a bootstrap's duplicates would bias these figures."""
    found: dict[str, Any] = {}
    for key in sets[0]:
        values = [one[key] for one in sets]
        found[key] = float(np.mean(values))
        found[f"{key}_range"] = [float(min(values)), float(max(values))]
    return found


def calibration(served: Any, x: np.ndarray, seed: int) -> Mapping[str, np.ndarray]:
    """The likelihood's variance beside the squared error, both at one posterior draw of each image.

    Args:
        served: see `measure_samples`.
        x: images `(n, height, width, channels)`.
        seed: of the draws.

    Returns:
        `variance` and `squared_error`, means over the elements of each image, `(n,)` float64.
    """
    rng = generator(seed, "calibration draws")
    found: dict[str, list[np.ndarray]] = {"variance": [], "squared_error": []}
    for part in in_parts(x, _AT_ONCE):
        part = as_unit_interval(part)
        draws = served.call("sample_posterior", x=part, seed=rng.integers(2**63, size=len(part)))[
            "latent"
        ]
        decoded = served.call("decode", latent=draws, **condition_beside(part))
        error = np.square(decoded["decoded"] - np.asarray(part), dtype=np.float64)
        axes = tuple(range(1, part.ndim))
        found["squared_error"].append(error.mean(axes))
        found["variance"].append(decoded["decoded_variance"].mean(axes, dtype=np.float64))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def constant_psnr(dataset: Dataset) -> float:
    """The PSNR in dB of answering the mean train image to everything, on the test split."""
    train = np.asarray(dataset.train.x)[:: max(1, len(dataset.train.x) // _CONSTANT_ROWS)]
    total = sum(
        as_unit_interval(part).sum(0, dtype=np.float64) for part in in_parts(train, _AT_ONCE)
    )
    mean = total / len(train)
    values = []
    for part in in_parts(np.asarray(dataset.test.x), _AT_ONCE):
        part = as_unit_interval(part)
        answer = np.broadcast_to(mean, part.shape).astype(np.float32)
        values.append(psnr_of(row_errors(part, answer, images=False)["mse"]))
    return float(np.concatenate(values).mean())


def worst(x: np.ndarray, reconstruction: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are reconstructed worst, worst first, and the PSNR in dB of each."""
    psnr = psnr_of(row_errors(as_unit_interval(x), reconstruction, images=False)["mse"])
    rows = np.argsort(psnr, kind="stable")[:count]
    return rows, psnr[rows]
