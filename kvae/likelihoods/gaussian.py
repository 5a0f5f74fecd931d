"""A normal likelihood around the decoder's mean."""

import math

import keras

from kvae.errors import UsageError
from kvae.likelihoods import EDGE_WEIGHT, VARIANCE, check_edge_weight
from kvae.likelihoods.base import Likelihood
from kvae.probability.distributions import (
    LOG_2PI,
    DiagonalNormal,
    FieldNormal,
    PrecisionNormal,
    below_diagonal,
    grid_of,
)

_LARGEST_LOG_STDDEV = 20.0  # its variance's square is still a float32
# Where a learned variance of images starts, and its floor: a pixel has 256 levels, and one level is
# the least error that a variance should claim to know.
_OF_IMAGES = {"initial_variance": 0.02, "variance_floor": (1.0 / 255.0) ** 2}
_MOMENTUM = 0.95  # of the moving average: a batch of images is many thousand squared errors


@keras.saving.register_keras_serializable(package="kvae")
class Gaussian(Likelihood):
    """p(x given z) = Normal(decoder(z), variance), whose elements may be correlated.

    The variance is in the squared units that the decoder speaks:

    - a positive number: fixed;
    - "shared": one value, learned by gradient; "per-channel": one for each place of the last axis
      of x; "per-feature": one for each element of x;
    - "optimal": the one value that maximises the likelihood, which is the mean squared error: no
      gradient, but a moving average of it that training steps feed to `update`;
    - "heteroscedastic": from the decoder, for each element of x;
    - "full": from the decoder, a full covariance along the last axis of x: of all features of a
      vector, of the colours of each pixel.

    Whatever is learned stays above a floor: elements that never change would otherwise send the
    density to infinity. What has a gradient comes near it softly, not to get stuck there;
    "optimal", which has none, is cut off at it.

    With an edge weight, for images, the error of a pixel is correlated with those of its
    neighbours, see `kvae.probability.distributions.FieldNormal`. Errors at edges are then less
    likely than equally large ones of smooth shades, so that the decoder spends more of what it is
    told on edges. The variance is the mean over pixels, and "optimal" still the one that maximises
    the likelihood.

    Args:
        variance: see above.
        edge_weight: of squared differences between the errors of neighbouring pixels, beside the
            squared errors themselves; 0: independent. More than 0 goes with a number, "shared" or
            "optimal", and images.
        initial_variance: where a learned variance starts.
        variance_floor: what a learned variance stays above ("full": the variance of each element
            given the later ones).

    Source: Rybkin, Daniilidis, Levine, "Simple and effective VAE training with calibrated
    decoders", ICML 2021, for the shared and the optimal variance.
    """

    kind = "gaussian"

    def __init__(
        self, variance=0.1, *, edge_weight=0.0, initial_variance=0.1, variance_floor=1e-6, **kwargs
    ):
        super().__init__(**{"name": "gaussian", **kwargs})
        variance = VARIANCE.read(variance, "variance")
        edge_weight = EDGE_WEIGHT.read(edge_weight, "edge_weight")
        check_edge_weight(edge_weight, variance, "edge_weight", "variance")
        if not initial_variance > variance_floor > 0.0:
            raise UsageError(
                "a learned variance starts above its floor, and both are positive: received "
                f"initial_variance={initial_variance}, variance_floor={variance_floor}"
            )
        self.variance = variance
        self.edge_weight = edge_weight
        self.initial_variance = float(initial_variance)
        self.variance_floor = float(variance_floor)

    @classmethod
    def make(cls, element_shape, **own):
        """See `Likelihood.make`; a learned variance of images starts lower, and has a floor."""
        return cls(**own, **(_OF_IMAGES if len(element_shape) == 3 else {}))

    def build(self, event_shape):
        """Make the learned variance, if there is one, for x of shape `(None, ...)`."""
        self._channels = int(event_shape[-1])
        if self.edge_weight and len(event_shape) != 4:
            raise UsageError(
                "edge_weight must be 0 but for images (height, width, channels), received "
                f"{self.edge_weight:g} and x of shape {tuple(event_shape[1:])}"
            )
        shapes = {"shared": (), "per-channel": (self._channels,), "per-feature": event_shape[1:]}
        if self.variance in shapes:
            start = math.log(math.expm1(self.initial_variance - self.variance_floor))
            self.raw_variance = self.add_weight(
                name="raw_variance",
                shape=tuple(shapes[self.variance]),
                initializer=keras.initializers.Constant(start),
            )
        if self.variance == "optimal":
            self._event_size = math.prod(event_shape[1:])
            # Per element; the determinant of independent elements of one variance is that of it.
            self._log_precision = (
                grid_of(tuple(event_shape[1:3]), self.edge_weight).mean_log_precision
                if self.edge_weight
                else 0.0
            )
            self.mean_squared_error = self.add_weight(
                name="mean_squared_error",
                # Not a scalar as "shared" has, for which a weights file would take it.
                shape=(1,),
                initializer=keras.initializers.Constant(self.initial_variance),
                trainable=False,
                aggregation="mean",
            )

    def num_outputs(self, channels):
        """The size of the decoder's last axis for x with that many channels."""
        if self.variance == "full":
            return channels * (channels + 3) // 2
        return 2 * channels if self.variance == "heteroscedastic" else channels

    def current_variance(self):
        """The variance that is no output of the decoder, broadcastable to one x."""
        if self.variance in ("shared", "per-channel", "per-feature"):
            return self.variance_floor + keras.ops.softplus(self.raw_variance)
        if self.variance == "optimal":
            return keras.ops.maximum(self.mean_squared_error[0], self.variance_floor)
        return keras.ops.convert_to_tensor(self.variance, "float32")

    @property
    def is_learned(self):
        """Whether it has a variance of its own that training moves."""
        return self.variance in ("shared", "optimal", "per-channel", "per-feature")

    @property
    def is_updated(self):
        """Whether training steps must call `update`."""
        return self.variance == "optimal"

    def update(self, distortion, weight=None):
        """Follow the mean squared error of a batch; for the variance "optimal" alone.

        Args:
            distortion: of rows under the current variance, `(batch,)`, nats, in the squared units
                that the decoder speaks. The squared error is read off it, exactly; with an edge
                weight what takes its place, the variance that maximises their likelihood.
            weight: of each row, `(batch,)`; None: 1. A batch whose weights are all 0 changes
                nothing.
        """
        before = keras.ops.convert_to_tensor(self.mean_squared_error)
        now = self.mean_squared_error_of(distortion, weight)
        after = _MOMENTUM * before + (1.0 - _MOMENTUM) * now
        # An error that is not finite, of a step that overflowed in half precision, would stay.
        finite = keras.ops.where(keras.ops.isfinite(after), after, before)
        self.mean_squared_error.assign(finite)

    def mean_squared_error_of(self, distortion, weight=None):
        """The mean squared error of a batch of which only the distortion is known; see `update`."""
        variance = self.current_variance()
        if weight is None:
            mean = keras.ops.mean(distortion)
        else:
            weight = keras.ops.cast(weight, "float32")
            mean = keras.ops.sum(weight * distortion) / keras.ops.sum(weight)
        per_element = 2.0 * mean / self._event_size
        return variance * (per_element - LOG_2PI - keras.ops.log(variance) + self._log_precision)

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, `(batch, ..., num_outputs(channels))`: means, then what
                the variance needs.
        """
        if self.edge_weight:
            return FieldNormal(params, self.current_variance(), self.edge_weight)
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
            "edge_weight": self.edge_weight,
            "initial_variance": self.initial_variance,
            "variance_floor": self.variance_floor,
        }
