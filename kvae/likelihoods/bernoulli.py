"""A likelihood for binary data."""

import keras

from kvae.likelihoods.base import Likelihood
from kvae.probability import distributions


@keras.saving.register_keras_serializable(package="kvae")
class Bernoulli(Likelihood):
    """p(x given z) = Bernoulli(sigmoid(decoder(z))), for x that is 0 or 1.

    A grey level has probability zero (minus infinity nats): it can never pass for a likelihood.
    """

    kind = "bernoulli"

    @staticmethod
    def num_outputs(channels):
        """The size of the decoder's last axis for x with that many channels."""
        return channels

    def __init__(self, **kwargs):
        super().__init__(**{"name": "bernoulli", **kwargs})

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, logits `(batch, ...)`, the shape of x.
        """
        return distributions.Bernoulli(params)
