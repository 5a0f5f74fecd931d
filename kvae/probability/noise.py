"""Sources of noise: where the random numbers of a sample or of a step come from.

A source has `normal(purpose, size)` and `uniform(purpose, size)`, both `(batch, size)`. Purposes
are separate streams: the component of a mixture, the latent, the observation, the posterior and the
output of a second stage never share numbers. All of them are functions of what they are given, by
the generator Threefry, the same on every backend of Keras: uniform numbers to the bit, normal ones
as far as its logarithms and cosines are. Streams of NumPy are in `kvae.probability.streams`.
"""

import math
from functools import cache

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.probability import MAX_PAIRS

PURPOSES = ("component", "latent", "observation", "posterior", "second_stage")
NUM_DRAWS = NUM_PAIRS = MAX_PAIRS  # below which the numbers of draws and of pairs of elements stay

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF
# The second word of a counter tells who asks: SeededNoise counts pairs below 2^28; a step has the
# number of the purpose, from 1, in bits 28 to 30 and validation in bit 31; seeds of rows have 7.
_PURPOSE_BIT, _VALIDATION, _ROW_SEEDS, _LONG_SEEDS = 28, 1 << 31, 7 << 28, 6 << 28


def _wrapped(word, ops):
    """A word modulo 2^32: torch has no uint32, and Keras puts int64 in its place."""
    if ops is keras.ops and keras.backend.backend() == "torch":
        return ops.bitwise_and(word, _MASK)
    return word


def _rotate_left(word, bits, ops):
    # A product and a sum: TensorFlow's kernels of shifts to the left and of "or" take longer.
    return _wrapped(word * (1 << bits), ops) + ops.right_shift(word, 32 - bits)


def threefry2x32(key, counter, ops=keras.ops):
    """The counter-based generator Threefry-2x32 with 20 rounds.

    Equal keys and counters give equal words; any two different counters give words that are
    independent for every practical purpose. It is made of additions, rotations and exclusive ors
    alone, so a batch of rows with a key each costs one pass.

    Args:
        key: two uint32 tensors.
        counter: two uint32 tensors, broadcastable to the keys.
        ops: `keras.ops` for tensors of Keras's backend, or NumPy itself for its arrays (not
            scalars, of which NumPy warns that they wrap).

    Returns:
        Two uint32 tensors; of torch int64, in [0, 2^32).

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    key, counter = ([ops.array(word) for word in pair] for pair in (key, counter))
    if ops is keras.ops and keras.backend.backend() == "tensorflow":
        return _rounds_in_a_graph()(*key, *counter)
    return _rounds(key, counter, ops)


def _rounds(key, counter, ops):
    """Threefry of words that are tensors or arrays already."""

    def plus(word, other):
        # Not ops.add: on TensorFlow Keras 3.15 takes (n, 1) beside (n, n) for a bias, along rows.
        return _wrapped(word + other, ops)

    parity = ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), np.uint32(_PARITY))
    schedule = (key[0], key[1], parity)
    first, second = plus(counter[0], key[0]), plus(counter[1], key[1])
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            first = plus(first, second)
            second = ops.bitwise_xor(_rotate_left(second, bits, ops), first)
        first = plus(first, schedule[(group + 1) % 3])
        # The number of the group goes to the key, which is smaller than a word of the counter.
        second = plus(second, plus(schedule[(group + 2) % 3], group + 1))
    return first, second


@cache
def _rounds_in_a_graph():
    """Threefry as one operation of TensorFlow, of words of any shape.

    Its 150 are traced once a process, not once in each graph; TensorFlow puts them in the place of
    the call before a graph runs.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint32)] * 4, autograph=False)
    def rounds(*words):
        return _rounds(words[:2], words[2:], keras.ops)

    return rounds


def _unit_interval(word):
    """Uint32 words as float32 in the open interval (0, 1)."""
    value = (keras.ops.cast(word, "float32") + 0.5) * 2.0**-32
    # Words near 2^32 round up to 1; the largest float32 below 1 keeps the interval open.
    return keras.ops.minimum(value, 1.0 - 2.0**-24)


def _is_tensor(value):
    """Whether it is known in the graph alone."""
    return keras.ops.is_tensor(value) or isinstance(value, keras.Variable)


def _whole(name, value, low, high):
    """The value as a NumPy array of whole numbers in [low, high); UsageError if they are none."""
    array = np.asarray(value)
    is_whole = array.dtype.kind in "iu"
    if is_whole and (not array.size or low <= array.min() <= array.max() < high):
        return array
    found = repr(value) if array.ndim == 0 else f"{array.dtype} of shape {array.shape}"
    if is_whole and array.ndim:
        found += f", from {array.min()} to {array.max()}"
    raise UsageError(f"{name} must be whole numbers from {low} to {high - 1}: received {found}")


def _word(value):
    """A tensor of whole numbers modulo 2^32, as uint32."""
    return _wrapped(keras.ops.cast(value, "uint32"), keras.ops)


def _halves(seed):
    """The lower and the upper 32 bits of NumPy seeds: two uint32 arrays."""
    seed = _whole("seeds", seed, -(2**63), 2**64).reshape(-1)
    seed = seed.astype("uint64" if seed.dtype.kind == "u" else "int64").view("uint64")
    return (seed & np.uint64(_MASK)).astype("uint32"), (seed >> np.uint64(32)).astype("uint32")


def _key_of(seed):
    """The words `(batch,)` of seeds: made outside the graph where they are known there."""
    if not _is_tensor(seed):
        return _halves(seed)
    ops = keras.ops
    seed = ops.convert_to_tensor(seed)
    dtype = keras.backend.standardize_dtype(seed.dtype)
    if dtype not in ("int32", "int64", "uint32", "uint64"):
        raise UsageError(f"seeds must be whole numbers of 32 or 64 bits: received {dtype}")
    if dtype == "uint32":
        return _word(seed), _word(ops.zeros_like(seed))
    # Of 32 bits the upper word is the sign alone, and a shift by 32 would be undefined.
    return _word(seed), _word(ops.right_shift(seed, 31 if dtype == "int32" else 32))


class _Noise:
    """What a source makes of the words of its rows."""

    def _words(self, purpose, num_pairs):
        """Two tensors of words `(batch, num_pairs)`."""
        raise NotImplementedError

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


class SeededNoise(_Noise):
    """Noise in which each row depends on its own seed alone, whatever stands beside it.

    Threefry's key is the row's seed; its counter is (purpose, draw) and the element's pair.

    Args:
        seed: `(batch,)` whole numbers. NumPy's and Python's may be any int64 or uint64; a tensor
            may be int64 or, where the backend has none, int32.
        draw: `(batch,)` int32 in [0, 2^28) or an int: the number of the draw. Draw k of seed s
            and draw 0 of seed s + k share nothing.

    Raises:
        UsageError: seeds or draws outside the graph are not such numbers.
    """

    def __init__(self, seed, draw=0):
        self._key = tuple(word[:, None] for word in _key_of(seed))
        if not _is_tensor(draw):
            draw = _whole("draws", draw, 0, NUM_DRAWS)
        self._draw = keras.ops.reshape(_word(draw), (-1, 1))

    def _words(self, purpose, num_pairs):
        _check_pairs(num_pairs)
        number = np.uint32(PURPOSES.index(purpose) << _PURPOSE_BIT)
        first = keras.ops.bitwise_or(self._draw, number)
        second = np.arange(num_pairs, dtype="uint32")[None, :]
        return threefry2x32(self._key, (first, second))


class StepNoise(_Noise):
    """Noise of a step of training or validation, a function of (seed, step, row, draw).

    Threefry's key is (seed, step); its counter is the row and (training or validation, purpose,
    draw, the element's pair). A row depends on its place alone, not on the batch around it.
    Rows of what it gives are the draws of the first row, then those of the next.

    Args:
        key: two uint32 words, without axes.
        rows: `(batch,)` int32.
        draws: of each row, a Python int.
        is_validation: whether it is; training and validation share nothing.
    """

    def __init__(self, key, rows, draws, is_validation):
        self._key = key
        self._rows = _word(keras.ops.reshape(rows, (-1, 1)))
        self._draws = int(_whole("draws", draws, 1, NUM_DRAWS))
        self._part = _VALIDATION if is_validation else 0

    @classmethod
    def training(cls, seed, step, rows, draws=1):
        """The noise of a training step.

        Args:
            seed: a Python int, any int64.
            step: which, an int32 scalar: a tensor, a variable, or an int from 0.
            rows: `(batch,)` int32, the place of each row in the batch of all replicas.
            draws: of each row.

        Raises:
            UsageError: the seed, an int for the step, or the draws are not such numbers.
        """
        if not _is_tensor(step):
            step = _whole("steps", step, 0, 2**31)
        return cls((_seed_word(seed), _word(step)), rows, draws, is_validation=False)

    @classmethod
    def validation(cls, seed, rows, draws=1):
        """The noise of validation, the same at every pass.

        Args:
            seed: a Python int, any int64.
            rows: `(batch,)` int32, the place of each row in the whole pass.
            draws: of each row.

        Raises:
            UsageError: the seed or the draws are not such numbers.
        """
        return cls((_seed_word(seed), np.uint32(0)), rows, draws, is_validation=True)

    def _words(self, purpose, num_pairs):
        _check_pairs(self._draws * num_pairs)
        number = (PURPOSES.index(purpose) + 1) << _PURPOSE_BIT
        index = np.arange(self._draws * num_pairs, dtype="uint32")[None, :]
        words = threefry2x32(self._key, (self._rows, index | np.uint32(self._part | number)))
        return [keras.ops.reshape(word, (-1, num_pairs)) for word in words]


def _check_pairs(count):
    if count > NUM_PAIRS:
        raise UsageError(
            f"a row has at most 2^28 pairs of elements over all draws: received {count:,}"
        )


def _seed_word(seed):
    """One word for an int64 seed; no two seeds with equal upper halves have the same."""
    lower, upper = _halves(seed)
    mixed, _ = threefry2x32((upper, np.zeros_like(upper)), (lower * 0, lower * 0 + _LONG_SEEDS), np)
    return np.uint32((lower ^ mixed)[0])


def row_seeds(seed, count):
    """A seed for each of some rows, by Threefry, so that neighbouring seeds share no row.

    The same on every platform; what `generate(count, seed)` draws from, and what a served
    signature can be sent for the same rows.

    Args:
        seed: an int64, or a uint64.
        count: how many rows, at most 2^32.

    Returns:
        `(count,)` int64; no two are equal. Those of another seed are equal to one of them with the
        chance of 64 random bits.

    Raises:
        UsageError: the seed or the count is not such a number.
    """
    rows = np.arange(int(_whole("count", count, 0, 2**32 + 1)), dtype="uint32")
    lower, upper = threefry2x32(_halves(seed), (rows, np.full_like(rows, _ROW_SEEDS)), np)
    return (lower.astype("uint64") | upper.astype("uint64") << np.uint64(32)).view("int64")
