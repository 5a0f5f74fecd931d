"""A normal likelihood around the decoder's mean."""

import math

import keras

from kvae.distributions import DiagonalNormal, PrecisionNormal, below_diagonal
from kvae.likelihoods import LEARNED_VARIANCES

_LARGEST_LOG_STDDEV = 20.0  # its variance's square is still a float32


@keras.saving.register_keras_serializable(package="kvae")
class Gaussian(keras.layers.Layer):
    """p(x given z) = Normal(decoder(z), variance).

    The variance is in the squared units that the decoder speaks:

    - a positive number: fixed;
    - "shared": one learned value; "per-feature": a learned value for each element of x;
    - "heteroscedastic": from the decoder, for each element of x;
    - "full": from the decoder, a full covariance along the last axis of x: of all features of a
      vector, of the colours of each pixel.

    Whatever is learned stays above a floor in a soft way: elements that never change would
    otherwise send the density to infinity.

    Args:
        variance: see above.
        initial_variance: where a learned variance starts.
        variance_floor: what a learned variance stays above ("full": the variance of each element
            given the later ones).

    Source: Rybkin, Daniilidis, Levine, "Simple and effective VAE training with calibrated
    decoders", ICML 2021, for the shared variance.
    """

    kind = "gaussian"

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
        self._channels = int(event_shape[-1])
        if self.variance in ("shared", "per-feature"):
            start = math.log(math.expm1(self.initial_variance - self.variance_floor))
            self.raw_variance = self.add_weight(
                name="raw_variance",
                shape=tuple(event_shape[1:]) if self.variance == "per-feature" else (),
                initializer=keras.initializers.Constant(start),
            )

    def num_outputs(self, channels):
        """The size of the decoder's last axis for x with that many channels."""
        if self.variance == "full":
            return channels * (channels + 3) // 2
        return 2 * channels if self.variance == "heteroscedastic" else channels

    def current_variance(self):
        """The variance that is no output of the decoder: a scalar, or the shape of one x."""
        if self.variance in ("shared", "per-feature"):
            return self.variance_floor + keras.ops.softplus(self.raw_variance)
        return keras.ops.convert_to_tensor(self.variance, "float32")

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, `(batch, ..., num_outputs(channels))`: means, then what
                the variance needs.
        """
        if self.variance not in ("heteroscedastic", "full"):
            return DiagonalNormal(params, self.current_variance())
        count = self._channels
        mean, log_precision = params[..., :count], self._capped(params[..., count : 2 * count])
        if self.variance == "heteroscedastic":
            return DiagonalNormal(mean, keras.ops.exp(-2.0 * log_precision))
        return PrecisionNormal(mean, log_precision, below_diagonal(params[..., 2 * count :], count))

    def _capped(self, raw):
        """-log of the standard deviation: a line near the start, softly bent at the floor."""
        start, cap = (-0.5 * math.log(v) for v in (self.initial_variance, self.variance_floor))
        # softplus(a + b) = a at raw 0, so that the start is met whatever the floor.
        offset = math.log(-math.expm1(start - cap)) + cap - start
        bent = cap - keras.ops.softplus(offset - raw)
        return keras.ops.maximum(bent, -_LARGEST_LOG_STDDEV)

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "variance": self.variance,
            "initial_variance": self.initial_variance,
            "variance_floor": self.variance_floor,
        }
