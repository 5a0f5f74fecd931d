"""What samples of vectors are held against: test points, and samples that are as good as can be."""

from typing import NamedTuple

import numpy as np

from kvae.data import Dataset
from kvae.data.gmm import Mixture
from kvae.metrics.modes import num_generated_for
from kvae.metrics.two_sample import MAX_COMPARED_ROWS, MAX_REFERENCES, NUM_COMPARED
from kvae.probability.streams import generator


class Yardstick(NamedTuple):
    """Points to compare with, in one unit, and what is drawn beside them.

    Args:
        test: random test points, `(n, D)`.
        references: samples that are as good as can be, each `(n, D)`: fresh points of a known
            mixture, else train rows of which no two samples share one.
        unit: of each column, `(D,)`: what samples are divided by.
        direction_seed: of the directions that distances are taken along.
        sample_seeds: `(m,)` int64, of the samples that are compared; the same for prior and
            sampler.
    """

    test: np.ndarray
    references: list[np.ndarray]
    unit: np.ndarray
    direction_seed: int
    sample_seeds: np.ndarray


def yardstick(dataset: Dataset, mixture: Mixture | None, seed: int) -> Yardstick:
    """Choose what samples are held against.

    Args:
        dataset: vectors.
        mixture: that the data are known to be of; None: a table.
        seed: of rows, references and samples.
    """
    rng = generator(seed, "compared samples")
    test, train = (rng.permutation(np.asarray(split.x)) for split in (dataset.test, dataset.train))
    count, num_references = reference_sizes(dataset, mixture)
    if mixture is not None:
        unit = np.ones(mixture.dim)
        references = [mixture.sample(count, rng)[0] for _ in range(num_references)]
    else:
        unit = unit_of(train)
        # Samples that shared rows would agree with one another more than fresh ones do.
        references = np.split(train[: count * num_references] / unit, num_references)
    direction_seed = int(rng.integers(2**31))
    num_samples = NUM_COMPARED * count
    if mixture is not None:
        num_samples = max(num_samples, num_generated_for(mixture))
    sample_seeds = rng.integers(2**63, size=num_samples)
    return Yardstick(test[:count] / unit, references, unit, direction_seed, sample_seeds)


def reference_sizes(dataset: Dataset, mixture: Mixture | None) -> tuple[int, int]:
    """How many points a reference sample has, and how many of these samples there are."""
    count = min(len(dataset.test.x), MAX_COMPARED_ROWS)
    if mixture is not None:
        return count, MAX_REFERENCES
    count = min(count, len(dataset.train.x))
    return count, min(MAX_REFERENCES, len(dataset.train.x) // count)


def unit_of(train: np.ndarray) -> np.ndarray:
    """A table's columns have units of their own: distances are taken in standard deviations."""
    stddev = train.std(0, dtype=np.float64)
    return np.where(stddev > 0, stddev, 1.0)
