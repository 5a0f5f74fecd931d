"""Disentanglement scores of a published version, on data whose factors are known."""

from typing import Any

import numpy as np

from kvae.data import Dataset
from kvae.data.faces.factors import FACTORS
from kvae.data.faces.interventions import fixed_factor_batches
from kvae.metrics.disentanglement import (
    dci,
    discretised,
    factor_vae_score,
    mutual_information_gap,
)

BINS = 20
_TRAIN_ROWS, _TEST_ROWS = 4_000, 2_000
_TRAIN_VOTES, _TEST_VOTES, _VOTE_ROWS = 500, 200, 32


def can_be_disentangled(dataset: Dataset) -> bool:
    """Whether the factors of every image are known."""
    return "factors" in dataset.card


def disentanglement(
    served: Any, dataset: Dataset, *, seed: int
) -> tuple[dict[str, float], dict[str, str]]:
    """MIG, DCI and the FactorVAE score of posterior means.

    Args:
        served: a `kvae.served.ServedModel`, or anything with its `call`.
        dataset: drawn faces.
        seed: of rows, trees and interventions.

    Returns:
        Metrics and their protocol.
    """
    rng = np.random.default_rng(seed)
    (train, train_factors), (test, test_factors) = (
        _codes(served, split, count, rng)
        for split, count in ((dataset.train, _TRAIN_ROWS), (dataset.test, _TEST_ROWS))
    )
    metrics = {"mig": mutual_information_gap(test, test_factors, bins=BINS)}
    metrics |= dci(train, train_factors, test, test_factors, seed=seed)
    size, names = dataset.test.x.shape[1], list(FACTORS)

    def fixed_codes(factors, rng):
        images = fixed_factor_batches([names[i] for i in factors], _VOTE_ROWS, size, rng)
        codes = served.call("encode", x=images)["mean"]
        return codes.reshape(len(factors), _VOTE_ROWS, -1)

    metrics["factor_vae_score"] = factor_vae_score(
        fixed_codes, len(names), test.var(axis=0),
        num_train=_TRAIN_VOTES, num_test=_TEST_VOTES, seed=seed,
    )  # fmt: skip
    protocol = {
        "disentanglement": (
            f"posterior means against {len(names)} factors, continuous ones in {BINS} bins of equal "
            f"count; mig on {len(test):,} test images; dci: random forests of {len(train):,} train "
            f"images, tested on those; factor_vae_score: {_TRAIN_VOTES} and {_TEST_VOTES} votes of "
            f"{_VOTE_ROWS} images drawn with one factor fixed"
        )
    }
    return metrics, protocol


def _codes(served, split, count, rng):
    """Posterior means of random rows, and the factors as classes."""
    rows = np.sort(rng.permutation(len(split.x))[:count])
    factors = [
        discretised(values, BINS) if FACTORS[name].kind == "continuous" else values
        for name, values in ((name, split.labels[f"factor_{name}"][rows]) for name in FACTORS)
    ]
    return served.call("encode", x=split.x[rows])["mean"], np.stack(factors, axis=1)
