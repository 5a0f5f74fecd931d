"""What every prior provides."""

import keras


class Prior(keras.layers.Layer):
    """A density over latents, p(z).

    Attributes:
        exact_density: whether `log_prob` is the density itself rather than a bound.
    """

    exact_density = True

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def log_prob(self, z):
        """Log density.

        Args:
            z: `(batch, latent_dim)`.

        Returns:
            `(batch,)`, nats.
        """
        raise NotImplementedError

    def sample(self, noise):
        """Draw one latent a row.

        Args:
            noise: a source of noise, see `kvae.noise`.

        Returns:
            `(batch, latent_dim)`.
        """
        raise NotImplementedError

    def rate(self, posterior, z):
        """KL(posterior, prior): in closed form where there is one, else at the one draw z.

        Args:
            posterior: q(z given x), a distribution.
            z: `(batch, latent_dim)`, a draw from it.

        Returns:
            `(batch,)`, nats.
        """
        return posterior.log_prob(z) - self.log_prob(z)

    def initialize(self, latents):
        """Adapt the start to where the untrained encoder puts data; the default does nothing.

        Args:
            latents: a NumPy array `(rows, latent_dim)`, posterior means of random rows.
        """
