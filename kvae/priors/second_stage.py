"""A VAE of latents as the density of latents."""

import keras

from kvae.errors import UsageError
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable(package="kvae")
class SecondStage(Prior):
    """r(z) = the integral of p(z given u) p(u), for u the latents of a second VAE.

    It can be drawn from, but its density is an integral: only a bound of it is known.

    Args:
        vae: a `kvae.VAE` of vectors, the latents of the first.

    Source: Dai & Wipf, "Diagnosing and enhancing VAE models", ICLR 2019, section 4.
    """

    kind = "second-stage"
    exact_density = False

    def __init__(self, vae, **kwargs):
        super().__init__(**{"name": "second_stage", **kwargs})
        self.vae = vae

    def build(self, latent_shape):
        """The second VAE is built already; see that it fits the latents of the first."""
        if self.vae.element_shape != tuple(latent_shape[1:]):
            raise UsageError(
                f"a second stage for z of shape {tuple(latent_shape[1:])} is needed, received one "
                f"for {self.vae.element_shape}"
            )

    def log_prob(self, z):
        """There is none: raises UsageError."""
        raise UsageError("a second-stage VAE has no exact density, only a bound")

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`, its noise included."""
        return self.vae.decode(self.vae.prior.sample(noise)).sample(noise, "second_stage")

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "vae": keras.saving.serialize_keras_object(self.vae)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`."""
        vae = keras.saving.deserialize_keras_object(config["vae"], custom_objects)
        return cls(**{**config, "vae": vae})
