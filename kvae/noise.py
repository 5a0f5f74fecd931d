"""Sources of noise: where the random numbers of a sample come from.

A source has `normal(purpose, size)` and `uniform(purpose, size)`, both `(batch, size)`. Purposes
are separate streams: the component of a mixture, the latent, the observation, the posterior and the
output of a second stage never share numbers.
"""

import math

import keras
import numpy as np

PURPOSES = ("component", "latent", "observation", "posterior", "second_stage")

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _rotate_left(word, bits):
    ops = keras.ops
    left = ops.bitwise_left_shift(word, np.uint32(bits))
    return ops.bitwise_or(left, ops.bitwise_right_shift(word, np.uint32(32 - bits)))


def threefry2x32(key, counter):
    """The counter-based generator Threefry-2x32 with 20 rounds.

    Equal keys and counters give equal words; any two different counters give words that are
    independent for every practical purpose. It is made of additions, rotations and exclusive ors
    alone, so a batch of rows with a key each costs one pass.

    Args:
        key: two uint32 tensors.
        counter: two uint32 tensors, broadcastable to the keys.

    Returns:
        Two uint32 tensors.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    ops = keras.ops
    parity = ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), np.uint32(_PARITY))
    schedule = (key[0], key[1], parity)
    first, second = counter[0] + key[0], counter[1] + key[1]
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            first = first + second
            second = ops.bitwise_xor(_rotate_left(second, bits), first)
        first = first + schedule[(group + 1) % 3]
        second = second + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return first, second


def _unit_interval(word):
    """Uint32 words as float32 in the open interval (0, 1)."""
    value = (keras.ops.cast(word, "float32") + 0.5) * 2.0**-32
    # Words near 2^32 round up to 1; the largest float32 below 1 keeps the interval open.
    return keras.ops.minimum(value, 1.0 - 2.0**-24)


class SeededNoise:
    """Noise in which each row depends on its own seed alone, whatever stands beside it.

    Threefry's key is the row's seed; its counter is (purpose, draw) and the element's pair.

    Args:
        seed: `(batch,)` int64.
        draw: `(batch,)` int32 in [0, 2^28) or an int: the number of the draw. Draw k of seed s
            and draw 0 of seed s + k share nothing.
    """

    def __init__(self, seed, draw=0):
        ops = keras.ops
        seed = ops.cast(seed, "int64")
        low = ops.bitwise_and(seed, ops.cast(0xFFFFFFFF, "int64"))
        high = ops.bitwise_right_shift(seed, ops.cast(32, "int64"))
        high = ops.bitwise_and(high, ops.cast(0xFFFFFFFF, "int64"))
        self._key = (ops.cast(low, "uint32")[:, None], ops.cast(high, "uint32")[:, None])
        self._draw = ops.reshape(ops.cast(draw, "uint32"), (-1, 1))

    def _words(self, purpose, num_pairs):
        ops = keras.ops
        first = ops.bitwise_or(self._draw, np.uint32(PURPOSES.index(purpose) << 28))
        second = np.arange(num_pairs, dtype="uint32")[None, :]
        return threefry2x32(self._key, (first, second))

    def uniform(self, purpose, size):
        """`(batch, size)`, uniform on the open interval (0, 1)."""
        words = self._words(purpose, -(-size // 2))
        return _unit_interval(keras.ops.concatenate(words, axis=1)[:, :size])

    def normal(self, purpose, size):
        """`(batch, size)`, standard normal, by the Box-Muller transform."""
        ops = keras.ops
        first, second = (_unit_interval(word) for word in self._words(purpose, -(-size // 2)))
        radius = ops.sqrt(-2.0 * ops.log(first))
        angle = 2.0 * math.pi * second
        pair = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=1)
        return pair[:, :size]


STREAMS = {"calibration": 20}


def generator(seed, name):
    return np.random.default_rng([abs(seed), STREAMS[name]])


def row_seeds(seed, count):
    return np.random.default_rng([abs(int(seed)), 99]).integers(2**63, size=count)


class StepNoise:
    def __init__(self, seed, step, rows, draws, tag):
        self._key = (np.uint32(seed & 0xFFFFFFFF), keras.ops.cast(step, "uint32"))
        self._rows, self._draws, self._tag = keras.ops.cast(rows, "uint32")[:, None], draws, tag

    @classmethod
    def training(cls, seed, step, rows, draws=1):
        return cls(seed, step, rows, draws, 0)

    @classmethod
    def validation(cls, seed, rows, draws=1):
        return cls(seed, 0, rows, draws, 8)

    def _words(self, purpose, pairs):
        tag = (self._tag + PURPOSES.index(purpose) + 1) << 28
        second = np.arange(self._draws * pairs, dtype="uint32")[None, :] + np.uint32(tag)
        words = threefry2x32(self._key, (self._rows, second))
        return [keras.ops.reshape(word, (-1, pairs)) for word in words]

    uniform = SeededNoise.uniform
    normal = SeededNoise.normal
