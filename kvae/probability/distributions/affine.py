"""A distribution in other units."""

import keras

from kvae.errors import UsageError


class Affine:
    """The distribution of `shift + scale * y` for a `y` from `base`.

    It turns a density of standardised data into one of the data in their own units: the change of
    variables adds `-sum(log(scale))` nats.

    Args:
        base: the distribution of y.
        shift: broadcastable to an event.
        scale: positive, broadcastable to an event.
        event_shape: of one x; None: whatever `log_prob` is given.
    """

    def __init__(self, base, shift, scale, event_shape=None):
        self._event_shape = event_shape
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
        """Log density in the units of x, `(batch,)`, nats; UsageError for x of another shape."""
        x = keras.ops.convert_to_tensor(x, "float32")
        if self._event_shape is not None and tuple(x.shape[1:]) != self._event_shape:
            raise UsageError(
                f"a density of x of shape {self._event_shape} was given rows of shape "
                f"{tuple(x.shape[1:])}"
            )
        log_scale = keras.ops.log(self._scale) + keras.ops.zeros(x.shape[1:], "float32")
        return self._base.log_prob((x - self._shift) / self._scale) - keras.ops.sum(log_scale)

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        return self._shift + self._scale * self._base.sample(noise, purpose)
