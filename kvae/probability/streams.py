"""The random streams of NumPy, each with a name, so that no two parts draw the same numbers."""

from typing import Any

import numpy as np

# Their seed is the data's own. Data cards of published versions hold what they gave.
_OF_DATA = {
    "split": 0,
    "valid tenth": 0,
    "gmm mixture": 0,
    "faces train": 0,
    "faces valid": 1,
    "faces test": 2,
}
# Their seed is a constant of theirs, or was drawn for them by whoever calls.
_OF_OWN_SEEDS = dict.fromkeys(
    (
        "likelihood rows",
        "train rows",
        "elbo draws",
        "latents",
        "effective sample",
        "compared samples",
        "bound curves",
        "importance draws",
        "projections",
        "aggregate rows",
        "separation rows",
        "auc rows",
        "explored rows",
        "explored samples",
        "factor rows",
        "judged samples",
        "sheet of images",
        "points shown",
        "strewn points",
    ),
    0,
)
# Their seed is the user's, the same for many of them: each has a number of its own.
_OF_THE_SEED = {
    "measurements": 0,
    "figures": 1,
    "density figure": 2,
    "sampler distance": 3,
    "train posterior draws": 4,
    "attribute rows": 5,
    "rows of a glance": 6,
    "image measurements": 7,
    "train feature rows": 8,
    "valid posterior draws": 9,
    "calibration rows": 10,
    "doctor rows": 11,
    "doctor draws": 12,
    "prior start rows": 13,
    "mixture start": 14,
    "vamp start": 15,
    "flow turns": 16,
    "flow kernels": 17,
    "direction rows": 18,
    "pca rows": 19,
    "feature rows": 20,
    "feature start": 21,
    "feature order": 22,
    "bootstrap": 23,
    "factor votes": 24,
    "map rows": 25,
    "map heights": 26,
    "calibration": 27,
    "second stage": 28,
    "shown rows": 29,
    "perfect shares": 30,
    "prior start rows of fit": 31,
    "calibration rows of fit": 32,
    "trials": 33,
    "rows of tensorboard": 34,
    "prior start draws": 35,
}
STREAMS = _OF_DATA | _OF_OWN_SEEDS | _OF_THE_SEED


def generator(seed: Any, name: str) -> np.random.Generator:
    """The stream of a name: of the number 0 that of `numpy.random.default_rng(seed)`.

    Args:
        seed: a whole number of 0 or more.
        name: a key of STREAMS, which one function alone uses.
    """
    return np.random.default_rng([seed, STREAMS[name]])
