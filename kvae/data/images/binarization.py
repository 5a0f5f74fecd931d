"""Black and white out of grey: by a threshold, or drawn, a number white as often as it is bright.

What is drawn once (valid and test rows; of "static" train rows too) is a function of a seed of its
own, the split and the place of a row in it; what each epoch draws ("dynamic") one of the run's
seed, the epoch and the row's place, whatever batches, orders, replicas or interruptions there are.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kvae.data import BINARIZE, BINARIZE_SEED, DRAWN, DYNAMIC, NO_BINARIZE, THRESHOLD, Split
from kvae.data.images.pixels import binary
from kvae.data.rows import rows_at_once, slices
from kvae.errors import UsageError

# Streams of Philox by name: the second word of its key, of which the first is the seed.
_STREAMS = {"epoch": 0, "train": 1, "valid": 2, "test": 3}
_WORDS = 2**32
# A word below is white: of each level the least that is not, so that 0 never is and 255 always.
_LIMITS = (np.arange(256, dtype=np.uint64) * _WORDS + 254) // 255


class Binarization(NamedTuple):
    """How numbers become 0 and 1.

    Args:
        mode: one of `kvae.data.BINARIZE`'s choices.
        seed: of the draws that never change.
    """

    mode: str = NO_BINARIZE
    seed: int = 0

    @classmethod
    def of(cls, mode: Any, seed: Any) -> "Binarization":
        """Of the options as they were given; True and False are those of versions before.

        Raises:
            UsageError: another mode, or a seed where nothing is drawn.
        """
        found = cls(BINARIZE.read(mode, "--binarize"), BINARIZE_SEED.read(seed, "--binarize-seed"))
        if found.seed and not found.is_drawn:
            raise UsageError(
                f"--binarize-seed is of the draws of --binarize {' and '.join(DRAWN)}; received "
                f"--binarize-seed {found.seed} beside --binarize {found.mode}"
            )
        return found

    @property
    def is_drawn(self) -> bool:
        """Whether random numbers decide."""
        return self.mode in DRAWN

    @property
    def card(self) -> dict[str, Any]:
        """What a data card says of it: of a threshold as older versions did, of none nothing."""
        if self.is_drawn:
            return {"binarize": self.mode, "binarize_seed": self.seed}
        return {"binarize": True} if self.mode == THRESHOLD else {}

    def splits(self, splits: Mapping[str, Split]) -> dict[str, Split]:
        """Splits of rows in memory made black or white.

        Args:
            splits: of images, `(rows, height, width, channels)` uint8 levels; of what is drawn also
                of floats in [0, 1], `(rows, ...)`.

        Returns:
            x of the same shape and type: 0 and 255, of floats 0 and 1; see `of_draws`.
        """
        if self.mode == NO_BINARIZE:
            return dict(splits)
        if self.mode == THRESHOLD:
            return {name: split._replace(x=binary(split.x)) for name, split in splits.items()}
        return self.of_draws(splits, self.fixed({name: own.x for name, own in splits.items()}))

    def fixed(self, grey: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Split -> what is drawn once of its rows, `(rows, ...)`, see `drawn`."""
        return {
            name: np.concatenate([*fixed_draws(rows, self.seed, name)])
            for name, rows in grey.items()
        }

    def of_draws(
        self, splits: Mapping[str, Split], fixed: Mapping[str, np.ndarray]
    ) -> dict[str, Split]:
        """Splits of grey rows with what was drawn of them once.

        Args:
            splits: of grey rows.
            fixed: name -> the draws of its rows.

        Returns:
            The draws; with "dynamic" the grey rows of train beside them.
        """
        found = {name: split._replace(x=fixed[name]) for name, split in splits.items()}
        if self.mode == DYNAMIC:
            found["train"] = found["train"]._replace(grey=splits["train"].x)
        return found


def fixed_draws(grey: np.ndarray, seed: int, split: str) -> Iterator[np.ndarray]:
    """What is drawn once of the rows of a split, some rows at a time, in order.

    Args:
        grey: `(rows, ...)`, see `drawn`.
        seed: of the draws.
        split: train, valid or test; a row is known by its place in it.
    """
    words = RowWords(seed, split, math.prod(grey.shape[1:]))
    for part in slices(len(grey), rows_at_once(grey)):
        yield drawn(grey[part], words.of(np.arange(part.start, part.stop)))


def epoch_draws(grey: np.ndarray, rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """What an epoch draws of some rows: a function of (seed, epoch, row) alone.

    Args:
        grey: `(all rows, ...)`, see `drawn`.
        rows: places of those that are wanted, of any shape.
        seed: of the run.
        epoch: from 0.

    Returns:
        `(*rows.shape, ...)`.
    """
    places = np.asarray(rows)
    words = RowWords(seed, "epoch", math.prod(grey.shape[1:]), int(epoch))
    flat = places.reshape(-1)
    return drawn(grey[flat], words.of(flat)).reshape(*places.shape, *grey.shape[1:])


def drawn(grey: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Numbers as black or white, each white with the probability that it says.

    Args:
        grey: `(rows, ...)`: uint8 levels, 255 of which are 1, or floats in [0, 1].
        words: `(rows, numbers of a row)` uint32, uniform.

    Returns:
        The shape and type of `grey`: 0 and 255, or 0 and 1.
    """
    words = words.reshape(grey.shape)
    if grey.dtype == np.uint8:
        return np.where(words < _LIMITS[grey], np.uint8(255), np.uint8(0))
    return (words < grey.astype(np.float64) * _WORDS).astype(grey.dtype)


class RowWords:
    """Random words of rows, each a function of (seed, stream, epoch, row) alone.

    Philox numbers the blocks of words that it makes; a row has blocks of its own.

    Args:
        seed: a whole number of 0 or more, below 2^64.
        stream: epoch, train, valid or test.
        count: words of a row, at least 1.
        epoch: 0 or more.
    """

    _BLOCK = 8  # words of 32 bits

    def __init__(self, seed: int, stream: str, count: int, epoch: int = 0):
        self._blocks, self._count = -(-count // self._BLOCK), count
        self._bits = np.random.Philox(key=np.array([seed, _STREAMS[stream]], np.uint64))
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
            parts = [self._from(int(row), 1) for row in numbers]
            found = np.concatenate(parts or [self._from(0, 0)])
        return found[:, : self._count]

    def _from(self, row: int, rows: int) -> np.ndarray:
        self._state["state"]["counter"][0] = row * self._blocks
        self._bits.state = self._state  # nothing is left in it of the block before
        words = self._bits.random_raw(rows * self._blocks * self._BLOCK // 2)
        return words.astype("<u8", copy=False).view("<u4").reshape(rows, self._blocks * self._BLOCK)
