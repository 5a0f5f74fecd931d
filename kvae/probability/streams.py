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
# Drawn row by row, of Philox: a row's numbers are the same whatever is drawn beside them. Their
# seed is the data's own, but for those of an epoch the user's.
_OF_ROWS = {
    "binary rows of an epoch": 0,
    "binary train rows": 1,
    "binary valid rows": 2,
    "binary test rows": 3,
}
STREAMS = _OF_DATA | _OF_OWN_SEEDS | _OF_THE_SEED


def generator(seed: Any, name: str) -> np.random.Generator:
    """The stream of a name: of the number 0 that of `numpy.random.default_rng(seed)`.

    Args:
        seed: a whole number of 0 or more.
        name: a key of STREAMS, which one function alone uses.
    """
    return np.random.default_rng([seed, STREAMS[name]])


class RowWords:
    """Random words of rows, each a function of (seed, name, epoch, row) alone.

    Philox numbers the blocks of four words of 64 bits that it makes; a row has blocks of its own.

    Args:
        seed: a whole number of 0 or more, below 2^64.
        name: of a stream that is drawn row by row.
        count: words of a row, at least 1.
        epoch: 0 or more.
    """

    _BLOCK = 8  # words of 32 bits

    def __init__(self, seed: int, name: str, count: int, epoch: int = 0):
        self._blocks, self._count = -(-count // self._BLOCK), count
        self._bits = np.random.Philox(key=np.array([seed, _OF_ROWS[name]], np.uint64))
        self._state: Any = self._bits.state
        self._state["state"]["counter"][1] = epoch

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The words of some rows.

        Args:
            rows: `(n,)`, whole numbers of 0 or more.

        Returns:
            `(n, count)` uint32, the same on every platform.
        """
        numbers = np.asarray(rows, np.int64)
        if len(numbers) and (np.diff(numbers) == 1).all():  # at one go
            found = self._from(int(numbers[0]), len(numbers))
        else:
            found = np.concatenate(
                [self._from(int(row), 1) for row in numbers] or [self._from(0, 0)]
            )
        return found[:, : self._count]

    def _from(self, row: int, rows: int) -> np.ndarray:
        # It counts on before it makes a block, and first gives what is left of the last one.
        self._state["state"]["counter"][0] = row * self._blocks
        self._bits.state = self._state
        words = self._bits.random_raw(rows * self._blocks * self._BLOCK // 2)
        return words.astype("<u8", copy=False).view("<u4").reshape(rows, self._blocks * self._BLOCK)
