"""kvae's noise: Threefry-2x32 with 20 rounds, and what becomes of its words.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the
counters are those of docs/design.md, "Randomness".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_PARITY = 0x1BD11BDA
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
#: The number that each stream has in bits 28 and up of the counter's first word.
STREAMS = {"component": 0, "latent": 1, "observation": 2, "posterior": 3, "second_stage": 4}
_WORD = 2**32


def threefry(key: Sequence[Any], counter: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Two words for each key and counter.

    Args:
        key: two arrays of whole numbers below 2^32.
        counter: two, which broadcast to them.

    Returns:
        Two arrays of uint64, below 2^32.
    """
    # Sums of two words stay far below 2^64: each is cut to a word where it is next rotated.
    words = [np.asarray(word, np.uint64) for word in (*key, *counter)]
    first_key, second_key, left, right = np.broadcast_arrays(*words)
    mask, parity = np.uint64(_WORD - 1), np.uint64(_PARITY)
    keys = (first_key, second_key, first_key ^ second_key ^ parity)
    left, right = (left + keys[0]) & mask, (right + keys[1]) & mask
    for number in range(20):
        turn = np.uint64(_ROTATIONS[number % 8])
        left = (left + right) & mask
        right = ((right << turn) | (right >> (np.uint64(32) - turn))) & mask
        right = right ^ left
        if number % 4 == 3:
            group = number // 4 + 1
            left = (left + keys[group % 3]) & mask
            right = (right + keys[(group + 1) % 3] + np.uint64(group)) & mask
    return left, right


class Noise:
    """Random numbers of rows, each from its own seed.

    Args:
        seed: `(batch,)` int64.
        draw: the number of the draw, `(batch,)` or one for all.
        sign: what normal numbers are multiplied by, `(batch,)` or one for all.
        dtype: of what it gives.
    """

    def __init__(self, seed: Any, draw: Any = 0, sign: Any = 1, dtype: Any = np.float64):
        whole = np.asarray(seed, np.int64).reshape(-1, 1).view(np.uint64)
        self._key = (whole & np.uint64(_WORD - 1), whole >> np.uint64(32))
        self._draw = np.asarray(draw, np.uint64).reshape(-1, 1)
        self._sign = np.asarray(sign, dtype).reshape(-1, 1)
        self._dtype = dtype

    def _uniforms(self, stream: str, size: int) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.arange((size + 1) // 2, dtype=np.uint64)[None, :]
        first = self._draw + np.uint64(STREAMS[stream] << 28)
        left, right = threefry(self._key, (first, pairs))
        return self._unit(left), self._unit(right)

    def _unit(self, word: np.ndarray) -> np.ndarray:
        # By definition numbers of float32, in (0, 1): the same in any precision.
        half = word.astype(np.float32) + np.float32(0.5)
        unit = half * np.float32(2.0**-32)
        return np.minimum(unit, np.float32(1.0 - 2.0**-24)).astype(self._dtype)

    def uniform(self, stream: str, size: int) -> np.ndarray:
        """`(batch, size)`, uniform on (0, 1)."""
        return np.concatenate(self._uniforms(stream, size), axis=1)[:, :size]

    def normal(self, stream: str, size: int) -> np.ndarray:
        """`(batch, size)`, standard normal: cosines of Box and Muller, then sines."""
        first, second = self._uniforms(stream, size)
        radius, angle = np.sqrt(-2.0 * np.log(first)), 2.0 * np.pi * second
        pair = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return self._sign * pair[:, :size]
