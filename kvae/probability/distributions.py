"""Distributions over one event per row: the first axis is the batch, the others are the event.

`log_prob` sums over the event and keeps the batch: `(batch,)`, nats, in float32. Samples are
functions of noise that is handed in (see `kvae.probability.noise`), so that nothing here holds
random state.
"""

import math
from typing import NamedTuple

import keras

LOG_2PI = math.log(2.0 * math.pi)
# Of the variance of grey levels: terms to each side, the scales that they reach in wide logistics.
_NUM_STEPS, _REACH = 12, 9.0
_LEAST_VARIANCE = 1e-12


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


def lower_triangular(entries, size):
    """Matrices that are zero above the diagonal, filled from a vector.

    Args:
        entries: `(..., size * (size + 1) / 2)`; each lands in one place, in no special order.
        size: rows and columns.

    Returns:
        `(..., size, size)`.
    """
    # Two copies of the vector, the second backwards, less the first row's worth: folded into rows,
    # the part below the diagonal holds every entry once.
    ops = keras.ops
    both = ops.concatenate([entries[..., size:], ops.flip(entries, axis=-1)], axis=-1)
    return ops.tril(ops.reshape(both, (*ops.shape(entries)[:-1], size, size)))


def below_diagonal(entries, size):
    """As `lower_triangular`, with zeros on the diagonal too: `size * (size - 1) / 2` entries."""
    inner = lower_triangular(entries, size - 1)
    padding = [(0, 0)] * (len(entries.shape) - 1) + [(1, 0), (0, 1)]
    return keras.ops.pad(inner, padding)


def _inverse_of_triangular(root):
    """Of lower-triangular matrices `(..., dim, dim)`; NaN where they are not finite.

    The general inverse would stop the whole batch for one row that is not finite.
    """
    eye = keras.ops.broadcast_to(keras.ops.eye(root.shape[-1]), keras.ops.shape(root))
    return keras.ops.solve_triangular(root, eye, lower=True)


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


class Draw(NamedTuple):
    """A sample and its log density under the distribution that it was drawn from.

    Args:
        value: `(batch, ...)`.
        log_prob: `(batch,)`, nats.
    """

    value: keras.KerasTensor
    log_prob: keras.KerasTensor


class _Rows:
    """What is said by tensors whose first axis is the batch can be repeated and picked from."""

    def _tensors(self):
        raise NotImplementedError

    def repeat(self, num_copies):
        """Each row `num_copies` times in succession: `(batch * num_copies, ...)`."""
        return type(self)(*(keras.ops.repeat(t, num_copies, axis=0) for t in self._tensors()))

    def take(self, rows):
        """The rows of these numbers, `(count,)` integers."""
        return type(self)(*(keras.ops.take(t, rows, axis=0) for t in self._tensors()))


class DiagonalNormal(_Rows):
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
        return 0.5 * sum_event(1.0 + LOG_2PI + keras.ops.log(self.variance()))

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


class FullNormal(_Rows):
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
        inverse = _inverse_of_triangular(self._root())
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
        eye = keras.ops.eye(self._mean.shape[-1])
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
        inverse = _inverse_of_triangular(self._root())
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
        inverse = _inverse_of_triangular(self._root())
        return self._mean + keras.ops.einsum("...ji,...j->...i", inverse, white)

    def _root(self):
        eye = keras.ops.eye(self._mean.shape[-1])
        scale = keras.ops.exp(self._log_precision)
        return (self._below + eye) * keras.ops.expand_dims(scale, -2)


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
            x: `(batch, ...)`. What is within 1e-6 of 1 is 1: a GPU may divide 255 by 255 a rounding
                beside it.

        Returns:
            `(batch,)`, nats.
        """
        is_one = keras.ops.abs(x - 1.0) < 1e-6
        binary = keras.ops.logical_or(keras.ops.equal(x, 0.0), is_one)
        log_prob = x * self._logits - keras.ops.softplus(self._logits)
        return sum_event(keras.ops.where(binary, log_prob, -math.inf))

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        uniform = noise.uniform(purpose, event_size(self._logits))
        uniform = keras.ops.reshape(uniform, (-1, *self._logits.shape[1:]))
        return keras.ops.cast(uniform < self.mean(), "float32")


def _tail_sums(offset, step, span):
    """Sums of g(j) and of (2 j + 1) g(j), g(j) = sigmoid(offset - (j + 1/2) step), over j < span.

    Of 12 terms at most. All of the arguments have one shape, and so have the sums.
    """
    ops = keras.ops

    # A loop, because TensorFlow would hold all terms of a sum at once.
    def add(number, sums):
        number = ops.cast(number, offset.dtype)
        term = ops.sigmoid(offset - (number + 0.5) * step)
        term = ops.where(span > number, term, 0.0)
        return sums[0] + term, sums[1] + (2.0 * number + 1.0) * term

    return ops.fori_loop(0, _NUM_STEPS, add, (ops.zeros_like(offset), ops.zeros_like(offset)))


class LogisticLevels:
    """Grey levels 0 to 255 of an image, each pixel from a mixture of discretised logistics.

    A level's mass is what the logistic has within half a level of it; that of 0 reaches down to
    minus infinity, that of 255 up to infinity. Levels are multiples of 1/255 in [0, 1].

    Args:
        means: `(batch, height, width, components, channels)`.
        scales: of that shape, positive.
        logits: `(batch, height, width, components)`, of the mixture's weights.

    Source: Salimans, Karpathy, Chen, Kingma, "PixelCNN++", arXiv:1701.05517, section 2.1.
    """

    def __init__(self, means, scales, logits):
        self._means = means
        self._scales = scales
        self._logits = logits

    def mean(self):
        """Mean of what is cut at 0 and 1, before it is rounded, `(batch, height, width, channels)`.

        Rounding moves it by at most half a level.
        """
        softplus, scales = keras.ops.softplus, self._scales
        below_one = softplus((self._means - 1.0) / scales)
        return self._over_components(scales * (softplus(self._means / scales) - below_one))

    def variance(self):
        """Variance of the levels, as they are cut and rounded, `(batch, height, width, channels)`.

        Wrong by at most 0.3%; what is less than 1e-12 counts as that.
        """
        square = keras.ops.square
        means, variances = self._level_moments()
        mean = keras.ops.expand_dims(self._over_components(means), -2)
        own = variances + square(means - mean)
        return keras.ops.maximum(self._over_components(own) / 255.0**2, _LEAST_VARIANCE)

    def _level_moments(self):
        """Mean and variance of each component's level L, in levels: two tensors as `means`.

        About the level c nearest to where its logistic X has its mean, E[L - c] = R - S and
        E[(L - c)^2] = R' + S'. R sums P(X > c + j + 1/2) over j = 0, 1 ... up to the edge, R'
        sums (2 j + 1) times that, S and S' are the same below c: nothing cancels, however far
        beyond an edge the mean lies.

        Of narrow logistics 12 terms to a side are all that counts. Those of wide ones are the
        midpoints of an integral, which 12 steps of h levels give as well: by the Euler-Maclaurin
        formula the sums over steps of 1 and of h differ by (h^2 - 1) / 24 times the integrand's
        slope at the last point less that at the first.
        """
        ops = keras.ops
        mean, scale = 255.0 * self._means, 255.0 * self._scales
        centre = ops.round(ops.clip(mean, 0.0, 255.0))
        first = second = ops.zeros_like(mean)
        for sign, span in ((1.0, 255.0 - centre), (-1.0, centre)):
            offset = sign * (mean - centre) / scale
            step = ops.maximum(1.0, ops.minimum(span, _REACH * scale) / _NUM_STEPS)
            sum_0, sum_1 = _tail_sums(offset, step / scale, span)
            last = _NUM_STEPS * step
            here, beyond = ops.sigmoid(offset), ops.sigmoid(offset - last / scale)
            slope_0 = (here * (1.0 - here) - beyond * (1.0 - beyond)) / scale
            slope_1 = 2.0 * (beyond - here - last * beyond * (1.0 - beyond) / scale)
            finer = (ops.square(step) - 1.0) / 24.0
            first = first + sign * (step * sum_0 + finer * slope_0)
            second = second + ops.square(step) * sum_1 + finer * slope_1
        return centre + first, second - ops.square(first)

    def log_prob(self, x):
        """Log probability of the levels nearest to x.

        Args:
            x: `(batch, height, width, channels)`, cut to [0, 1] and rounded to levels.

        Returns:
            `(batch,)`, nats.
        """
        ops = keras.ops
        level = ops.expand_dims(ops.round(ops.clip(x, 0.0, 1.0) * 255.0), -2)
        above = ((level + 0.5) / 255.0 - self._means) / self._scales
        below = ((level - 0.5) / 255.0 - self._means) / self._scales
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), exact in both tails.
        to_above, from_below = ops.log_sigmoid(above), ops.log_sigmoid(-below)
        inside = to_above + from_below + ops.log(-ops.expm1(-1.0 / (255.0 * self._scales)))
        mass = ops.where(level < 0.5, to_above, ops.where(level > 254.5, from_below, inside))
        pixel = ops.sum(mass, axis=-1) + ops.log_softmax(self._logits, axis=-1)
        return sum_event(ops.logsumexp(pixel, axis=-1))

    def sample(self, noise, purpose):
        """Draw one sample a row: levels, multiples of 1/255. See `DiagonalNormal.sample`."""
        ops = keras.ops
        height, width, count, channels = self._means.shape[1:]
        uniform = noise.uniform(purpose, height * width * (channels + 1))
        uniform = ops.reshape(uniform, (-1, height, width, channels + 1))
        limits = ops.cumsum(self._weights(), axis=-1)[..., :-1]
        chosen = ops.sum(ops.cast(uniform[..., :1] >= limits, "int32"), axis=-1)
        pick = ops.expand_dims(ops.one_hot(chosen, count), -1)
        mean, scale = (ops.sum(pick * part, axis=-2) for part in (self._means, self._scales))
        # Uniform numbers may be 0, but never 1.
        inner = ops.clip(uniform[..., 1:], 1e-7, 1.0 - 1e-7)
        drawn = mean + scale * (ops.log(inner) - ops.log1p(-inner))
        return ops.round(ops.clip(drawn, 0.0, 1.0) * 255.0) / 255.0

    def _over_components(self, values):
        return keras.ops.sum(keras.ops.expand_dims(self._weights(), -1) * values, axis=-2)

    def _weights(self):
        # keras.ops.softmax warns where there is one component.
        return keras.ops.exp(keras.ops.log_softmax(self._logits, axis=-1))


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
        self._shift = keras.ops.convert_to_tensor(shift, "float32")
        self._scale = keras.ops.convert_to_tensor(scale, "float32")

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
