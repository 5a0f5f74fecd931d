"""The prior of the first VAEs."""

import keras

from kvae.priors.base import Prior
from kvae.probability.distributions import LOG_2PI, kl_to_standard_normal, sum_event


@keras.saving.register_keras_serializable(package="kvae")
class StandardNormal(Prior):
    """p(z) = Normal(0, I)."""

    kind = "standard_normal"

    @classmethod
    def make(cls, *, seed):
        """See `Prior.make`; nothing is random here."""
        del seed
        return cls()

    def build(self, latent_shape):
        """Note the latent dimension of z, `(None, latent_dim)`."""
        self._latent_dim = int(latent_shape[-1])

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        return -0.5 * sum_event(LOG_2PI + keras.ops.square(z))

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        return noise.normal("latent", self._latent_dim)

    def rate(self, posterior, draw):
        """KL in closed form, see `kl_to_standard_normal`: `(batch,)`, nats."""
        return kl_to_standard_normal(posterior.mean(), posterior.variance(), posterior.entropy())
