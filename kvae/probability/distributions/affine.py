"""A distribution in other units."""

import keras


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
