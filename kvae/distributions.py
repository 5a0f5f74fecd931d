"""Distributions over one event per row: the first axis is the batch, the others are the event.

`log_prob` sums over the event and keeps the batch: `(batch,)`, nats, in float32. Samples are
functions of noise that is handed in (see `kvae.noise`), so that nothing here holds random state.
"""

import math

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


class DiagonalNormal:
    """A normal distribution with independent elements.

    Args:
        mean: `(batch, ...)`.
        variance: positive, broadcastable to `mean`.
    """

    #: Below this a posterior's variance would cost float32 its gradients.
    min_variance = 1e-8

    def __init__(self, mean, variance):
        self._mean = mean
        self._variance = variance

    @classmethod
    def from_params(cls, params):
        """Read a network's head: means, then variances before their softplus.

        Args:
            params: `(batch, 2 * dim)`.
        """
        mean, raw = keras.ops.split(params, 2, axis=-1)
        return cls(mean, keras.ops.softplus(raw) + cls.min_variance)

    @staticmethod
    def num_params(dim):
        """The number of head outputs that `from_params` needs for `dim` dimensions."""
        return 2 * dim

    def mean(self):
        """`(batch, ...)`."""
        return self._mean

    def variance(self):
        """`(batch, ...)`, broadcast to the mean's shape."""
        return keras.ops.broadcast_to(self._variance, keras.ops.shape(self._mean))

    def log_prob(self, x):
        """Log density.

        Args:
            x: `(batch, ...)`.

        Returns:
            `(batch,)`, nats.
        """
        squared = keras.ops.square(x - self._mean) / self._variance
        return -0.5 * sum_event(LOG_2PI + keras.ops.log(self._variance) + squared)

    def sample(self, noise, purpose):
        """Draw one sample a row.

        Args:
            noise: a source of noise, see `kvae.noise`.
            purpose: which of its streams to use.
        """
        normal = noise.normal(purpose, event_size(self._mean))
        normal = keras.ops.reshape(normal, (-1, *self._mean.shape[1:]))
        return self._mean + keras.ops.sqrt(self._variance) * normal

    def repeat(self, num_copies):
        """Each row `num_copies` times in succession: `(batch * num_copies, ...)`."""
        return DiagonalNormal(
            keras.ops.repeat(self._mean, num_copies, axis=0),
            keras.ops.repeat(self.variance(), num_copies, axis=0),
        )


class Bernoulli:
    """Independent elements that are 0 or 1.

    Args:
        logits: `(batch, ...)`, log odds of 1.
    """

    def __init__(self, logits):
        self._logits = logits

    def mean(self):
        """Probability of 1, `(batch, ...)`."""
        return keras.ops.sigmoid(self._logits)

    def variance(self):
        """`(batch, ...)`."""
        return self.mean() * keras.ops.sigmoid(-self._logits)

    def log_prob(self, x):
        """Log probability; minus infinity where any element is neither 0 nor 1.

        Args:
            x: `(batch, ...)`.

        Returns:
            `(batch,)`, nats.
        """
        binary = keras.ops.logical_or(keras.ops.equal(x, 0.0), keras.ops.equal(x, 1.0))
        log_prob = x * self._logits - keras.ops.softplus(self._logits)
        return sum_event(keras.ops.where(binary, log_prob, -math.inf))

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        uniform = noise.uniform(purpose, event_size(self._logits))
        uniform = keras.ops.reshape(uniform, (-1, *self._logits.shape[1:]))
        return keras.ops.cast(uniform < self.mean(), "float32")


class Affine:
    """The distribution of `shift + scale * y` for a `y` from `base`.

    It turns a density of standardised data into one of the data in their own units: the change of
    variables adds `-sum(log(scale))` nats.

    Args:
        base: the distribution of y.
        shift: broadcastable to an event.
        scale: positive, broadcastable to an event.
    """

    def __init__(self, base, shift, scale):
        self._base = base
        self._shift = shift
        self._scale = scale

    def mean(self):
        """`(batch, ...)`."""
        return self._shift + self._scale * self._base.mean()

    def variance(self):
        """`(batch, ...)`."""
        return keras.ops.square(self._scale) * self._base.variance()

    def log_prob(self, x):
        """Log density in the units of x, `(batch,)`, nats."""
        log_scale = keras.ops.log(self._scale) + keras.ops.zeros(x.shape[1:])
        return self._base.log_prob((x - self._shift) / self._scale) - keras.ops.sum(log_scale)

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        return self._shift + self._scale * self._base.sample(noise, purpose)
