"""Normal distributions, by what their covariance is written with."""

import math

import keras

from kvae.probability.distributions.events import LOG_2PI, Draw, Rows, event_size, sum_event
from kvae.probability.distributions.triangles import below_diagonal, inverse_of_triangular


def kl_to_standard_normal(mean, variance, entropy):
    """KL(q, Normal(0, I)) of any density q: the mean of -log p(z) under q, less q's entropy.

    That mean takes no more of q than its first two moments. With one last axis of size 1, each
    element is an event of its own.

    Args:
        mean: of q, `(..., dim)`.
        variance: marginal, of that shape.
        entropy: `(...)`, nats.

    Returns:
        `(...)`, nats.

    Source: Kingma & Welling, "Auto-encoding variational Bayes", arXiv:1312.6114, appendix B, for
    a diagonal normal q.
    """
    second_moment = keras.ops.square(mean) + variance
    return 0.5 * keras.ops.sum(LOG_2PI + second_moment, axis=-1) - entropy


def log_prob_of_pairs(z, means, precision_roots, log_dets):
    """Log density of every row under each of several normal distributions.

    Args:
        z: `(batch, dim)`.
        means: `(count, dim)`.
        precision_roots: L `(count, dim, dim)`, inverse(covariance) = L L^T.
        log_dets: log of the determinant of each L, `(count,)`.

    Returns:
        `(batch, count)`, nats.
    """
    ops = keras.ops
    count, dim = means.shape
    # L^T (z - m) for all pairs at once: z L and m L are far cheaper than differences.
    flat = ops.reshape(ops.transpose(precision_roots, (1, 0, 2)), (dim, count * dim))
    centre = ops.sum(means[:, :, None] * precision_roots, axis=1)
    whitened = ops.reshape(ops.matmul(z, flat), (-1, count, dim)) - centre
    return log_dets - 0.5 * (ops.sum(ops.square(whitened), axis=-1) + dim * LOG_2PI)


class DiagonalNormal(Rows):
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

    def _tensors(self):
        return self._mean, self.variance()

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

    def entropy(self):
        """`(batch,)`, nats."""
        return sum_event(self.entropy_per_element())

    def entropy_per_element(self):
        """`(batch, ...)`, nats, which sum to the entropy."""
        return 0.5 * (1.0 + LOG_2PI + keras.ops.log(self.variance()))

    def log_prob(self, x):
        """Log density.

        Args:
            x: `(batch, ...)`.

        Returns:
            `(batch,)`, nats.
        """
        squared = keras.ops.square(x - self._mean) / self._variance
        return -0.5 * sum_event(LOG_2PI + keras.ops.log(self._variance) + squared)

    def log_prob_of_pairs(self, z):
        """Log density of every row of z `(n, dim)` under every row's normal: `(n, batch)`, nats."""
        ops = keras.ops
        difference = ops.expand_dims(z, 1) - self._mean
        squared = ops.square(difference) / self.variance()
        return -0.5 * ops.sum(LOG_2PI + ops.log(self.variance()) + squared, axis=-1)

    def sample(self, noise, purpose):
        """Draw one sample a row.

        Args:
            noise: a source of noise, see `kvae.probability.noise`.
            purpose: which of its streams to use.
        """
        normal = noise.normal(purpose, event_size(self._mean))
        normal = keras.ops.reshape(normal, (-1, *self._mean.shape[1:]))
        return self._mean + keras.ops.sqrt(self._variance) * normal

    def draw(self, noise, purpose):
        """Draw one sample a row with its log density; arguments as for `sample`.

        Returns:
            `Draw`.
        """
        value = self.sample(noise, purpose)
        return Draw(value, self.log_prob(value))


class FullNormal(Rows):
    """A normal distribution over vectors with a full covariance.

    The covariance is R R^T with R = (I + B) diag(stddev): every stddev and B is a valid one, and
    the entries of B have no scale.

    Args:
        mean: `(batch, dim)`.
        stddev: positive, `(batch, dim)`.
        below: B, zero on and above the diagonal, `(batch, dim, dim)`.
    """

    #: Below this a standard deviation would cost float32 its gradients.
    min_stddev = 1e-4

    def __init__(self, mean, stddev, below):
        self._mean = mean
        self._stddev = stddev
        self._below = below

    def _tensors(self):
        return self._mean, self._stddev, self._below

    @classmethod
    def from_params(cls, params):
        """Read a network's head: means, standard deviations before their softplus, entries of B.

        Args:
            params: `(batch, dim * (dim + 3) / 2)`.
        """
        dim = (math.isqrt(8 * params.shape[-1] + 9) - 3) // 2
        mean, raw, entries = params[:, :dim], params[:, dim : 2 * dim], params[:, 2 * dim :]
        stddev = keras.ops.softplus(raw) + cls.min_stddev
        return cls(mean, stddev, below_diagonal(entries, dim))

    @staticmethod
    def num_params(dim):
        """The number of head outputs that `from_params` needs for `dim` dimensions."""
        return dim * (dim + 3) // 2

    def mean(self):
        """`(batch, dim)`."""
        return self._mean

    def variance(self):
        """Marginal variances, `(batch, dim)`."""
        return keras.ops.sum(keras.ops.square(self._root()), axis=-1)

    def entropy(self):
        """`(batch,)`, nats."""
        return sum_event(0.5 * (1.0 + LOG_2PI) + keras.ops.log(self._stddev))

    def log_prob(self, x):
        """Log density at x `(batch, dim)`: `(batch,)`, nats."""
        centred = keras.ops.expand_dims(x - self._mean, -1)
        white = keras.ops.solve_triangular(self._root(), centred, lower=True)[..., 0]
        return self._log_prob_of_white(white)

    def log_prob_of_pairs(self, z):
        """Log density of every row of z `(n, dim)` under every row's normal: `(n, batch)`, nats."""
        inverse = inverse_of_triangular(self._root())
        log_dets = -sum_event(keras.ops.log(self._stddev))
        return log_prob_of_pairs(z, self._mean, keras.ops.transpose(inverse, (0, 2, 1)), log_dets)

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        return self._from_white(noise.normal(purpose, self._mean.shape[-1]))

    def draw(self, noise, purpose):
        """Draw one sample a row with its log density, see `DiagonalNormal.draw`."""
        white = noise.normal(purpose, self._mean.shape[-1])
        return Draw(self._from_white(white), self._log_prob_of_white(white))

    def _root(self):
        eye = keras.ops.eye(self._mean.shape[-1], dtype="float32")
        return (self._below + eye) * keras.ops.expand_dims(self._stddev, -2)

    def _from_white(self, white):
        step = self._stddev * white
        return self._mean + step + keras.ops.einsum("bij,bj->bi", self._below, step)

    def _log_prob_of_white(self, white):
        log_stddev = keras.ops.log(self._stddev)
        return -sum_event(0.5 * (LOG_2PI + keras.ops.square(white)) + log_stddev)


class PrecisionNormal:
    """A normal distribution with a full covariance along the last axis of an event.

    Independent along the event's other axes. The inverse covariance is P P^T with
    P = (I + B) diag(exp(log_precision)): the density needs no inverse, and -B holds the
    coefficients of the regression of each element on the later ones.

    Args:
        mean: `(batch, ..., dim)`.
        log_precision: log of one over the standard deviation of each element given the later ones,
            `(batch, ..., dim)`.
        below: B, zero on and above the diagonal, `(batch, ..., dim, dim)`.

    Source: Pourahmadi, "Joint mean-covariance models with applications to longitudinal data",
    Biometrika 1999, for the decomposition.
    """

    def __init__(self, mean, log_precision, below):
        self._mean = mean
        self._log_precision = log_precision
        self._below = below

    def mean(self):
        """`(batch, ..., dim)`."""
        return self._mean

    def variance(self):
        """Marginal variances, `(batch, ..., dim)`."""
        inverse = inverse_of_triangular(self._root())
        return keras.ops.sum(keras.ops.square(inverse), axis=-2)

    def log_prob(self, x):
        """Log density at x `(batch, ..., dim)`: `(batch,)`, nats."""
        centred = x - self._mean
        regressed = centred + keras.ops.einsum("...ij,...i->...j", self._below, centred)
        squared = keras.ops.square(keras.ops.exp(self._log_precision) * regressed)
        return sum_event(self._log_precision - 0.5 * (LOG_2PI + squared))

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        white = noise.normal(purpose, event_size(self._mean))
        white = keras.ops.reshape(white, (-1, *self._mean.shape[1:]))
        # The covariance is P^-T P^-1, so P^-T white has it.
        inverse = inverse_of_triangular(self._root())
        return self._mean + keras.ops.einsum("...ji,...j->...i", inverse, white)

    def _root(self):
        eye = keras.ops.eye(self._mean.shape[-1], dtype="float32")
        scale = keras.ops.exp(self._log_precision)
        return (self._below + eye) * keras.ops.expand_dims(scale, -2)
