"""What sets of images are judged by: their features, and which rows are held against which."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kvae.data import Dataset
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import parts_at, random_rows, rows_at_once
from kvae.features import FeatureNet
from kvae.metrics.frechet import Moments, moments
from kvae.metrics.memorisation import sharpness
from kvae.probability.streams import generator

NUM_SETS = 5
# Every pair of points is compared: some rows stand for all. Of 2,048 features a pair of sets of so
# many takes minutes on two cores.
MAX_MANIFOLD_ROWS = 50_000
MAX_TRAIN_ROWS = 20_000


class TrainFeatures(NamedTuple):
    """What samples are held against to see whether they are copies.

    Args:
        net: that made them.
        rows: of the train split, rising.
        features: `(rows, d)`.
        sharpness: `(rows,)`, see `kvae.metrics.memorisation.sharpness`.
    """

    net: FeatureNet
    rows: np.ndarray
    features: np.ndarray
    sharpness: np.ndarray


def train_features(net: FeatureNet, dataset: Dataset, seed: int) -> TrainFeatures:
    """The features of random train images, 20,000 at most."""
    x = dataset.train.x
    rows = random_rows(len(x), MAX_TRAIN_ROWS, generator(seed, "train feature rows"))
    features, sharp = [], []
    for part in parts_at(x, rows, rows_at_once(x)):
        features.append(net.extract(part))
        sharp.append(sharpness(as_unit_interval(part)))
    return TrainFeatures(net, rows, np.concatenate(features), np.concatenate(sharp))


class Sets(NamedTuple):
    """Which images are held against which; all sets have as many.

    Args:
        test_rows: of the test split, rising: the real images, and those whose reconstructions are
            held against them. `(count,)`.
        kept: of each set, whose neighbours are looked for. `(count,)` bool.
        train_rows: of the train split, rising: real images once more, as the floor.
        sample_seeds: of each source of samples, those of five independent sets, `(count,)` int64
            each.
    """

    test_rows: np.ndarray
    kept: np.ndarray
    train_rows: np.ndarray
    sample_seeds: dict[str, list[np.ndarray]]


def choose_sets(dataset: Dataset, sources: Sequence[str], num_samples: int, seed: int) -> Sets:
    """Choose rows and seeds.

    Args:
        dataset: images.
        sources: names of what samples come from.
        num_samples: images in a set, at most as many as there are test images.
        seed: of all that is chosen.
    """
    rng = generator(seed, "judged samples")
    test_rows = random_rows(len(dataset.test.x), num_samples, rng)
    count = len(test_rows)
    # Of sorted images the first ones would be those of one class.
    kept = np.zeros(count, bool)
    kept[random_rows(count, MAX_MANIFOLD_ROWS, rng, always=True)] = True
    train_rows = random_rows(len(dataset.train.x), count, rng)
    seeds = {
        source: [rng.integers(2**63, size=count) for _ in range(NUM_SETS)] for source in sources
    }
    return Sets(test_rows, kept, train_rows, seeds)


class SetFeatures(NamedTuple):
    """The features of a set of images.

    Args:
        kept: of those whose neighbours are looked for, `(rows, d)` float32.
        sharpness: of the same images, `(rows,)`.
        moments: of all.
    """

    kept: np.ndarray
    sharpness: np.ndarray
    moments: Moments


def features_of(net: FeatureNet, parts: Iterable[np.ndarray], kept: np.ndarray) -> SetFeatures:
    """The features of a set that comes in parts, which are read once.

    Args:
        net: that makes them.
        parts: images `(n, height, width, channels)`, n of any size from 1.
        kept: `(count,)` bool, see `Sets`.
    """
    own: list[np.ndarray] = []
    sharp: list[np.ndarray] = []

    def extracted():
        done = 0
        for part in parts:
            part = np.asarray(part)
            features, wanted = net.extract(part), kept[done : done + len(part)]
            own.append(features[wanted])
            sharp.append(sharpness(as_unit_interval(part[wanted])))
            done += len(part)
            yield features

    whole = moments(extracted())
    return SetFeatures(np.concatenate(own), np.concatenate(sharp), whole)
