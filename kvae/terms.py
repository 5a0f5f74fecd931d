"""What a draw from the posterior of each row says: the parts of the ELBO and of a log-weight."""

from typing import NamedTuple

import keras

from kvae.probability.distributions import Affine, Draw


class ElboTerms(NamedTuple):
    """The two parts of the negative ELBO, per example.

    Args:
        distortion: -log p(x given z) at z ~ q, `(batch,)`, nats.
        rate: KL(posterior, prior), `(batch,)`, nats.
    """

    distortion: keras.KerasTensor
    rate: keras.KerasTensor

    @property
    def elbo(self):
        """-(distortion + rate): one draw's estimate of the ELBO."""
        return -(self.distortion + self.rate)


class WeightTerms(NamedTuple):
    """The two parts of a log-weight, per example, both at the same draw.

    Args:
        distortion: -log p(x given z), `(batch,)`, nats.
        rate: log q(z given x) - log p(z), `(batch,)`, nats.
    """

    distortion: keras.KerasTensor
    rate: keras.KerasTensor

    @property
    def log_weight(self):
        """log p(x, z) - log q(z given x)."""
        return -(self.distortion + self.rate)


class Drawn(NamedTuple):
    """What a draw from the posterior of each row leads to.

    Args:
        latent: `kvae.probability.distributions.Draw`.
        decoded: p(x given z) at it, a distribution.
        distortion: -log p(x given z), `(batch,)`, nats.
    """

    latent: Draw
    decoded: Affine
    distortion: keras.KerasTensor
