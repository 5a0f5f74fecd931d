"""A likelihood for the 256 grey levels of an image."""

import math

import keras

from kvae.errors import UsageError
from kvae.likelihoods.base import Likelihood
from kvae.probability.distributions import LogisticLevels

_MAX_COMPONENTS = 50
_SCALE_FLOOR = 1e-4  # a fortieth of a level
_FIRST_SCALE = 0.1


@keras.saving.register_keras_serializable(package="kvae")
class DiscretizedLogistic(Likelihood):
    """p(x given z): logistic noise around the decoder's means, as masses of the 256 grey levels.

    A probability, not a density: the only likelihood here that has bits per dimension. With several
    components each pixel comes from a mixture, whose components hold means and scales of all its
    colours together.

    Args:
        num_components: of the mixture, 1 to 50.

    Raises:
        UsageError: another number of components.

    Source: see `kvae.probability.distributions.LogisticLevels`; without that paper's regression of
    colours on one another.
    """

    kind = "discretized-logistic"

    def __init__(self, num_components=1, **kwargs):
        super().__init__(**{"name": "discretized_logistic", **kwargs})
        if num_components != int(num_components) or not 1 <= num_components <= _MAX_COMPONENTS:
            raise UsageError(
                f"num_components must be a whole number from 1 to {_MAX_COMPONENTS}, received "
                f"{num_components}"
            )
        self.num_components = int(num_components)

    def build(self, event_shape):
        """Note the number of colours of x of shape `(None, height, width, channels)`."""
        if len(event_shape) != 4:
            raise UsageError(
                "the likelihood 'discretized-logistic' is for images, received x of shape "
                f"{tuple(event_shape[1:])}"
            )
        self._channels = int(event_shape[-1])

    def num_outputs(self, channels):
        """The size of the decoder's last axis for x with that many channels."""
        count = self.num_components
        return 2 * channels if count == 1 else channels + count * (2 * channels + 1)

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, `(batch, height, width, num_outputs(channels))`: means;
                with several components what each adds to them; scales before their softplus; with
                several components the logits of their weights.
        """
        ops, channels, count = keras.ops, self._channels, self.num_components
        means, rest = ops.expand_dims(params[..., :channels], -2), params[..., channels:]
        size, shape = count * channels, (-1, *params.shape[1:-1], count, channels)
        if count == 1:
            logits = ops.zeros_like(params[..., :1])
        else:
            means = means + ops.reshape(rest[..., :size], shape)
            rest, logits = rest[..., size : 2 * size], rest[..., 2 * size :]
        start = math.log(math.expm1(_FIRST_SCALE - _SCALE_FLOOR))
        scales = _SCALE_FLOOR + ops.softplus(ops.reshape(rest, shape) + start)
        return LogisticLevels(means, scales, logits)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "num_components": self.num_components}
