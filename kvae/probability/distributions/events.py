"""What distributions share: sums over an event, rows that can be repeated, a draw."""

import math
from typing import NamedTuple

import keras

LOG_2PI = math.log(2.0 * math.pi)


def sum_event(values):
    """Sum over every axis but the first.

    Args:
        values: `(batch, ...)`.

    Returns:
        `(batch,)`.
    """
    return keras.ops.sum(values, axis=tuple(range(1, len(values.shape))))


def event_size(tensor):
    """The number of elements in one row of `tensor`, a Python int."""
    return math.prod(tensor.shape[1:])


class Draw(NamedTuple):
    """A sample and its log density under the distribution that it was drawn from.

    Args:
        value: `(batch, ...)`.
        log_prob: `(batch,)`, nats.
    """

    value: keras.KerasTensor
    log_prob: keras.KerasTensor


class Rows:
    """What is said by tensors whose first axis is the batch can be repeated and picked from."""

    def _tensors(self):
        raise NotImplementedError

    def repeat(self, num_copies):
        """Each row `num_copies` times in succession: `(batch * num_copies, ...)`."""
        return type(self)(*(keras.ops.repeat(t, num_copies, axis=0) for t in self._tensors()))

    def take(self, rows):
        """The rows of these numbers, `(count,)` integers."""
        return type(self)(*(keras.ops.take(t, rows, axis=0) for t in self._tensors()))
