"""A normal likelihood around the decoder's mean."""

import math

import keras

from kvae.distributions import DiagonalNormal
from kvae.likelihoods import LEARNED_VARIANCES


@keras.saving.register_keras_serializable(package="kvae")
class Gaussian(keras.layers.Layer):
    """p(x given z) = Normal(decoder(z), variance).

    A learned variance is `variance_floor + softplus(weight)`: elements that never change would
    otherwise send the density to infinity.

    Args:
        variance: a positive number (fixed), "shared" (one learned value) or "per-feature" (one
            learned value for each element of x), in the squared units that the decoder speaks.
        initial_variance: where a learned variance starts.
        variance_floor: what a learned variance stays above.

    Source: Rybkin, Daniilidis, Levine, "Simple and effective VAE training with calibrated
    decoders", ICML 2021, for the shared variance.
    """

    kind = "gaussian"
    params_per_channel = 1

    def __init__(self, variance=0.1, *, initial_variance=0.1, variance_floor=1e-6, **kwargs):
        super().__init__(**{"dtype": "float32", "name": "gaussian", **kwargs})
        if variance not in LEARNED_VARIANCES and not float(variance) > 0.0:
            raise ValueError(
                f"variance must be positive or one of {LEARNED_VARIANCES}, received {variance!r}"
            )
        if not initial_variance > variance_floor > 0.0:
            raise ValueError(
                "a learned variance starts above its floor, and both are positive: received "
                f"initial_variance={initial_variance}, variance_floor={variance_floor}"
            )
        self.variance = variance if variance in LEARNED_VARIANCES else float(variance)
        self.initial_variance = float(initial_variance)
        self.variance_floor = float(variance_floor)

    def build(self, event_shape):
        """Make the learned variance, if there is one, for x of shape `(None, ...)`."""
        if self.variance in LEARNED_VARIANCES:
            start = math.log(math.expm1(self.initial_variance - self.variance_floor))
            self.raw_variance = self.add_weight(
                name="raw_variance",
                shape=tuple(event_shape[1:]) if self.variance == "per-feature" else (),
                initializer=keras.initializers.Constant(start),
            )

    def current_variance(self):
        """The variance in force: a scalar, or the shape of one x."""
        if self.variance in LEARNED_VARIANCES:
            return self.variance_floor + keras.ops.softplus(self.raw_variance)
        return keras.ops.convert_to_tensor(self.variance, "float32")

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, `(batch, ...)`, the shape of x.
        """
        return DiagonalNormal(params, self.current_variance())

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "variance": self.variance,
            "initial_variance": self.initial_variance,
            "variance_floor": self.variance_floor,
        }
