"""Disentanglement scores of a published version, on data whose factors are known."""

import math

import numpy as np

from kvae.data.faces.factors import FACTORS
from kvae.data.faces.interventions import fixed_factor_batches
from kvae.evaluation.observation import Observation, Posterior
from kvae.metrics.disentanglement import (
    FOREST,
    NUM_CODE_BINS,
    dci,
    discretised,
    factor_vae_score,
    mutual_information_gap,
)
from kvae.probability.streams import generator

BINS = 10
_TRAIN_ROWS, _TEST_ROWS = 4_000, 2_000
_TRAIN_VOTES, _TEST_VOTES, _VOTE_ROWS = 400, 200, 32


def disentanglement(observation: Observation) -> tuple[dict[str, float], dict[str, str]]:
    """MIG, DCI and the FactorVAE score of posterior means.

    Args:
        observation: of drawn faces, such that `has_factors`.

    Returns:
        Metrics and their protocol.
    """
    served, dataset, seed = observation.served, observation.dataset, observation.factor_seed
    rng = generator(seed, "factor rows")
    splits = ((dataset.train, _TRAIN_ROWS), (dataset.test, _TEST_ROWS))
    rows = [np.sort(rng.permutation(len(split.x))[:count]) for split, count in splits]
    factors = _factors([split.labels for split, _ in splits], rows)
    found = served.call("encode", x=dataset.train.x[rows[0]])
    posteriors = [
        Posterior(found["mean"], found["variance"]),
        Posterior(*(part[rows[1]] for part in observation.posterior)),
    ]
    # In units of the posteriors together: a prior other than the standard normal has its own.
    means, variances = (np.concatenate(parts) for parts in zip(*posteriors, strict=True))
    unit = np.sqrt(means.var(axis=0) + variances.mean(axis=0))
    train, test = (posterior.mean / unit for posterior in posteriors)
    metrics = {"mig_posterior": mutual_information_gap(train, factors[0])}
    metrics |= dci(train, factors[0], test, factors[1], seed=seed)
    size, names = dataset.test.x.shape[1], list(FACTORS)

    def fixed_codes(chosen, rng):
        drawn = fixed_factor_batches([names[i] for i in chosen], _VOTE_ROWS, size, rng)
        codes = served.call("encode", x=drawn)["mean"] / unit
        return codes.reshape(len(chosen), _VOTE_ROWS, -1)

    metrics |= factor_vae_score(
        fixed_codes, len(names), means.var(axis=0) / unit**2,
        num_train=_TRAIN_VOTES, num_test=_TEST_VOTES, seed=seed,
    )  # fmt: skip
    share = metrics["factor_vae_posterior"]
    metrics["factor_vae_posterior_stderr"] = math.sqrt(share * (1.0 - share) / _TEST_VOTES)
    protocol = {
        "disentanglement": (
            f"posterior means in standard deviations of all posterior draws, against {len(names)} "
            f"factors, continuous ones in {BINS} bins; mig: {len(train):,} train images, codes in "
            f"{NUM_CODE_BINS} bins; dci: a forest of {FOREST['n_estimators']} trees a factor, "
            f"fitted to those, each leaf at least {FOREST['min_samples_leaf']:.0%} of them, tested "
            f"on {len(test):,} test images; factor_vae: {_TRAIN_VOTES} and {_TEST_VOTES} votes of "
            f"{_VOTE_ROWS} images drawn with one factor fixed; its stderr is that of the test "
            "votes alone"
        )
    }
    return metrics, protocol


def _factors(labels, rows):
    """The factors of each split's rows as classes `(n, factors)`, cut into the same bins."""
    columns = []
    for name, factor in FACTORS.items():
        values = [own[f"factor_{name}"][which] for own, which in zip(labels, rows, strict=True)]
        both = np.concatenate(values)
        both = discretised(both, BINS) if factor.kind == "continuous" else both
        columns.append(both)
    table = np.stack(columns, axis=1)
    return table[: len(rows[0])], table[len(rows[0]) :]
