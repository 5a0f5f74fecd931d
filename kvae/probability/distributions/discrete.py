"""Distributions over pixels of finitely many values."""

import math

import keras

from kvae.probability.distributions.events import event_size, sum_event

# Of the variance of grey levels: terms to each side, the scales that they reach in wide logistics.
_NUM_STEPS, _REACH = 12, 9.0
_LEAST_VARIANCE = 1e-12


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
