"""What one evaluation sees of a model: each part is made once, and numbers and figures read it."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from kvae.data import Dataset
from kvae.data.conditions import Conditioned, condition_beside
from kvae.data.gmm import Mixture, mixture_of
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import in_parts, joined, random_rows, rows_at_once
from kvae.evaluation.judging import (
    SetFeatures,
    Sets,
    TrainFeatures,
    choose_sets,
    features_of,
)
from kvae.evaluation.yardstick import Yardstick, unit_of, yardstick
from kvae.metrics.reconstruction import row_errors
from kvae.metrics.separation import can_be_told, held_out_auc
from kvae.probability.streams import generator

NUM_SAMPLES = 10_000
MAX_CALIBRATION_ROWS = 2_000
SHOWN_ROWS, WORST_ROWS = 20, 20


class Seeds(NamedTuple):
    """Of each part that all data have, a seed of its own."""

    elbo: int
    likelihood_rows: int
    likelihood: int
    effective_sample: int
    samples: int
    separation: int
    draws: int
    train_rows: int
    train_elbo: int


class Posterior(NamedTuple):
    """q(z given x) of the test split, `(rows, latent_dim)` each; the variance is marginal."""

    mean: np.ndarray
    variance: np.ndarray


class Draws(NamedTuple):
    """One draw from the posterior of each test row.

    Args:
        latent: `(rows, latent_dim)`.
        choice_seed: of the choice among them, where some stand for all.
    """

    latent: np.ndarray
    choice_seed: int


class Calibration(NamedTuple):
    """Whether the likelihood's variance is that of its errors, both at one draw of each row.

    Of vectors both are in the columns' variances over the train split, whatever their units.

    Args:
        variance: mean over the elements of each row, `(rows,)` float64.
        squared_error: likewise.
    """

    variance: np.ndarray
    squared_error: np.ndarray


class Kept(NamedTuple):
    """Reconstructions that are kept.

    Args:
        rows: their places in the test split, `(n,)`.
        reconstruction: `(n, ...)`.
    """

    rows: np.ndarray
    reconstruction: np.ndarray


class Reconstruction(NamedTuple):
    """The test split through encoder and decoder.

    Args:
        errors: of every row, from `kvae.metrics.reconstruction.row_errors`.
        shown: of vectors all rows, of images 20 random ones.
        worst: the 20 rows of the largest squared error, the largest first.
        features: of the images in `Sets.test_rows`; None where nothing judges.
    """

    errors: dict[str, np.ndarray]
    shown: Kept
    worst: Kept
    features: SetFeatures | None


class Observation:
    """A model's answers about a dataset, each asked for when it is first needed, and then kept.

    Of images only what figures show is kept, and numbers of each row: a test split of reconstructed
    images need not fit into memory.

    Args:
        served: a `kvae.serving.served.ServedModel`, or anything with its `call`, `version`,
            `metadata`.
        dataset: the data.
        seed: of all draws.
        train: what judges samples of images; None: they are not judged.
        num_samples: images in a set of samples, at most as many as there are test images; None:
            10,000.
        label: of the dataset, which the map of the latents is of; "" for none.
    """

    def __init__(
        self,
        served: Any,
        dataset: Dataset,
        *,
        seed: int,
        train: TrainFeatures | None = None,
        num_samples: int | None = None,
        label: str = "",
    ):
        self.served, self.dataset, self.seed, self.train = served, dataset, seed, train
        self.label = label
        self._num_samples = NUM_SAMPLES if num_samples is None else num_samples
        self._first_images: dict[str, np.ndarray] = {}
        self.seeds = Seeds(*generator(seed, "measurements").integers(2**31, size=9).tolist())

    @property
    def name(self) -> str:
        """The version in words."""
        return f"{self.served.version.name} version {self.served.version.number}"

    @property
    def heading(self) -> str:
        """The version in words, what it was trained on and for how long: how a title begins."""
        metadata = self.served.metadata
        data = self.dataset.card.get("name") or metadata.get("config", {}).get("dataset")
        epochs = max((len(values) for values in metadata.get("history", {}).values()), default=0)
        told = [str(data)] if data else []
        told += [f"{epochs:,} epoch{'' if epochs == 1 else 's'}"] if epochs else []
        return f"{self.name} ({', '.join(told)})" if told else self.name

    @property
    def sampler(self) -> str:
        """The sampler that was fitted after training, "none" without one."""
        return self.served.metadata.get("sampler", "none")

    @property
    def sources(self) -> dict[str, str]:
        """What latents can be drawn from, "prior" first -> the signature that does."""
        found = {"prior": "generate_from_prior"}
        return found if self.sampler == "none" else {**found, "sampler": "generate"}

    @property
    def is_conditioned(self) -> bool:
        """Whether the model is given labels beside x."""
        return isinstance(self.dataset.test.x, Conditioned)

    @property
    def has_rates_per_dim(self) -> bool:
        """Whether the rate is a sum over latent dimensions."""
        config = self.served.metadata.get("config", {})
        return (config.get("posterior"), config.get("prior")) == ("diagonal", "standard_normal")

    @property
    def has_factors(self) -> bool:
        """Whether the factors of every image are known, and images can be drawn anew to one."""
        # Images drawn anew have no conditions.
        return "factors" in self.dataset.card and not self.is_conditioned

    @cached_property
    def mixture(self) -> Mixture | None:
        """That the data are known to be of."""
        return mixture_of(self.dataset.card)

    @cached_property
    def posterior(self) -> Posterior:
        """Of every test row."""
        found = self.served.call("encode", x=self.dataset.test.x)
        return Posterior(found["mean"], found["variance"])

    @cached_property
    def auc(self) -> float | None:
        """How well a linear classifier tells the label from posterior means; None: it cannot."""
        labels, seed = self.dataset.test.labels.get(self.label), self.seed % 2**32
        if labels is None or not can_be_told(labels, seed=seed):
            return None
        return held_out_auc(self.posterior.mean, labels, seed=seed)

    @cached_property
    def draws(self) -> Draws:
        """Of every test row, at a seed of its own."""
        x, rng = self.dataset.test.x, generator(self.seeds.draws, "latents")
        seeds = rng.integers(2**63, size=len(x))
        latent = self.served.call("sample_posterior", x=x, seed=seeds)["latent"]
        return Draws(latent, int(rng.integers(2**31)))

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """Of every test row, in one pass."""
        x, train = self.dataset.test.x, self.train
        images = self.dataset.kind == "images"
        most = SHOWN_ROWS if images else len(x)
        rows = random_rows(len(x), most, generator(self.seed, "shown rows"))
        passed = _Pass(rows, levels=images and self.dataset.value_range is not None)
        judged = passed.through(self.served, x, () if train is None else self.sets.test_rows)
        if train is not None:
            return passed.result(features_of(train.net, judged, self.sets.kept))
        deque(judged, maxlen=0)
        return passed.result(None)

    @cached_property
    def calibration(self) -> Calibration:
        """Of random test rows, 2,000 at most, at `draws`."""
        rows = self._of_images[0]
        images = self.dataset.kind == "images"
        unit = 1.0 if images else np.square(unit_of(np.asarray(self.dataset.train.x)))
        variances, squared_errors = [], []
        for own in in_parts(rows, rows_at_once(self.dataset.test.x)):
            x = as_unit_interval(self.dataset.test.x[own])
            latent = self.draws.latent[own]
            found = self.served.call("decode", latent=latent, **condition_beside(x))
            axes = tuple(range(1, x.ndim))
            error = np.square(found["decoded"] - np.asarray(x), dtype=np.float64)
            squared_errors.append((error / unit).mean(axes))
            variances.append((found["decoded_variance"] / unit).mean(axes, dtype=np.float64))
        return Calibration(np.concatenate(variances), np.concatenate(squared_errors))

    @cached_property
    def grey(self) -> tuple[float, float]:
        """What is black and what is white where images are drawn.

        Of images of any numbers the least and the greatest of the test split.
        """
        if self.dataset.value_range is not None:
            return self.dataset.value_range
        x = self.dataset.test.x
        ends = [
            (float(part.min()), float(part.max()))
            for part in map(np.asarray, in_parts(x, rows_at_once(x)))
        ]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return low, high if high > low else low + 1.0

    def as_shown(self, images: Any) -> np.ndarray:
        """Images as they are drawn, in [0, 1]; without their conditions."""
        low, high = self.grey
        shown = np.asarray(as_unit_interval(images))
        return shown if (low, high) == (0.0, 1.0) else (shown - low) / np.float32(high - low)

    @cached_property
    def yardstick(self) -> Yardstick:
        """What samples of vectors are held against."""
        return yardstick(self.dataset, self.mixture, self.seeds.samples)

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Vectors by source, `(m, D)` each, at `yardstick.sample_seeds`."""
        seeds = self.yardstick.sample_seeds
        return {
            source: self.served.call(signature, seed=seeds)["sample"]
            for source, signature in self.sources.items()
        }

    @cached_property
    def sets(self) -> Sets:
        """Which images are held against which."""
        return choose_sets(self.dataset, list(self.sources), self._num_samples, self._of_images[2])

    def first_images(self, source: str) -> np.ndarray:
        """The first samples of the first set of images of a source, 20 at most: `(n, ...)`."""
        if source not in self._first_images:
            seeds = self.sets.sample_seeds[source][0][:SHOWN_ROWS]
            self._first_images[source] = self._generated(source, seeds)
        return self._first_images[source]

    def image_sets(self, source: str) -> Iterator[Iterator[np.ndarray]]:
        """The five sets of images of a source, each in parts, which are made as they are read."""
        for number, seeds in enumerate(self.sets.sample_seeds[source]):
            yield self._parts_of_set(source, seeds, is_first=not number)

    def _parts_of_set(self, source, seeds, *, is_first):
        # The first part holds those that are shown.
        at_once = max(SHOWN_ROWS, rows_at_once(self.dataset.test.x))
        for number, own in enumerate(in_parts(seeds, at_once)):
            part = self._generated(source, own)
            if is_first and not number:
                self._first_images[source] = part[:SHOWN_ROWS].copy()
            yield part

    def _generated(self, source, seeds):
        return self.served.call(self.sources[source], seed=seeds)["sample"]

    @property
    def factor_seed(self) -> int:
        """Of disentanglement."""
        return self._of_images[1]

    @cached_property
    def _of_images(self) -> tuple[np.ndarray, int, int]:
        """The rows of calibration, the seed of disentanglement, and that of sets of samples."""
        rng = generator(self.seed, "image measurements")
        rows = random_rows(len(self.dataset.test.x), MAX_CALIBRATION_ROWS, rng, always=True)
        # The first was that of draws of calibration's own: those after it have kept their numbers.
        _, second, third = rng.integers(2**31, size=3).tolist()
        return rows, second, third if self.has_factors else second


def reconstructed(served: Any, x: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Rows as a model takes them beside their reconstructions, a part at a time.

    Args:
        served: see `Observation`.
        x: `(rows, ...)`, an array, a memory map or `Conditioned`.
    """
    for rows in in_parts(x, rows_at_once(x)):
        part = as_unit_interval(rows)
        yield part, served.call("serving_default", x=part)["reconstruction"]


class _Pass:
    """One pass over reconstructions: what is kept of them.

    Args:
        shown: rows that are kept, rising.
        levels: whether they are images in [0, 1].
    """

    def __init__(self, shown: np.ndarray, *, levels: bool):
        self._shown, self._levels = shown, levels
        self._errors: list[dict[str, np.ndarray]] = []
        self._kept: list[np.ndarray] = []
        self._worst: list[tuple[float, int, np.ndarray]] = []

    def through(
        self, served: Any, x: Any, wanted: Sequence[int] | np.ndarray
    ) -> Iterator[np.ndarray]:
        """Reconstruct x; of these rows, rising, the reconstructions, in parts."""
        done = 0
        for part, found in reconstructed(served, x):
            errors = row_errors(np.asarray(part), found, images=self._levels)
            self._errors.append(errors)
            self._kept.append(found[_within(self._shown, done, len(part))])
            self._keep_worst(done, errors["mse"], found)
            own = _within(wanted, done, len(part))
            done += len(part)
            if len(own):
                yield found[own]

    def _keep_worst(self, first: int, mse: np.ndarray, found: np.ndarray) -> None:
        for place in np.argsort(-mse, kind="stable")[:WORST_ROWS]:
            self._worst.append((-float(mse[place]), first + int(place), found[place].copy()))
        self._worst = sorted(self._worst, key=lambda one: one[:2])[:WORST_ROWS]

    def result(self, features: SetFeatures | None) -> Reconstruction:
        """What was kept, after the pass."""
        errors = joined(self._errors)
        _, rows, worst = zip(*self._worst, strict=True)
        shown = Kept(self._shown, np.concatenate(self._kept))
        return Reconstruction(errors, shown, Kept(np.array(rows), np.stack(worst)), features)


def _within(rows: Sequence[int] | np.ndarray, first: int, count: int) -> np.ndarray:
    """Of rising rows those of a part, as places in it."""
    low, high = np.searchsorted(rows, (first, first + count))
    return np.asarray(rows[low:high], int) - first
