"""A learned mixture of Gaussians as prior."""

import keras
import numpy as np

from kvae.priors import PRIOR_COMPONENTS
from kvae.priors.base import Prior, draw_component, log_weights, start_places
from kvae.priors.clusters import are_enough, clusters
from kvae.probability.distributions import log_prob_of_pairs
from kvae.probability.streams import generator


@keras.saving.register_keras_serializable(package="kvae")
class Mixture(Prior):
    """p(z) = sum over k of w_k Normal(z; m_k, C_k), with w, m and C learned.

    Each covariance is held as the Cholesky factor L of its precision, inverse(C) = L L^T, whose
    diagonal is an exponential: every value of the weights is a valid mixture, and the density
    needs no inverse.

    Args:
        num_components: at least 1.
        seed: for the means to start from, where `initialize` is not called.
    """

    kind = "mixture"

    def __init__(self, num_components=30, *, seed=0, **kwargs):
        super().__init__(**{"name": "mixture", **kwargs})
        self.num_components = PRIOR_COMPONENTS.read(num_components, "num_components")
        self.seed = int(seed)

    def build(self, latent_shape):
        """Make the weights for z of shape `(None, latent_dim)`."""
        self._latent_dim = dim = int(latent_shape[-1])
        count = self.num_components
        self.logits = self.add_weight(name="logits", shape=(count,), initializer="zeros")
        self.means = self.add_weight(
            name="means",
            shape=(count, dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
        )
        self.log_diagonal = self.add_weight(
            name="log_diagonal", shape=(count, dim), initializer="zeros"
        )
        self.off_diagonal = self.add_weight(
            name="off_diagonal", shape=(count, dim, dim), initializer="zeros"
        )

    def _precision_cholesky(self):
        """Lower-triangular L with inverse(C) = L L^T, `(components, dim, dim)`."""
        ops, dim = keras.ops, self._latent_dim
        diagonal = ops.expand_dims(ops.exp(self.log_diagonal), -1) * ops.eye(dim, dtype="float32")
        return self.off_diagonal * ops.tril(ops.ones((dim, dim), "float32"), -1) + diagonal

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        log_dets = keras.ops.sum(self.log_diagonal, axis=-1)
        log_normal = log_prob_of_pairs(z, self.means, self._precision_cholesky(), log_dets)
        return keras.ops.logsumexp(log_weights(self.logits) + log_normal, axis=-1)

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        ops = keras.ops
        component = draw_component(self.logits, noise)
        normal = noise.normal("latent", self._latent_dim)
        # C = L^-T L^-1, so m + L^-T n has covariance C.
        root = ops.transpose(ops.inv(self._precision_cholesky()), (0, 2, 1))
        step = ops.einsum("bij,bj->bi", ops.take(root, component, axis=0), normal)
        return ops.take(self.means, component, axis=0) + step

    def initialize(self, latents, x):
        """Start the components at clusters of latents, each as wide as a cluster is on average.

        A component that starts between two clusters is slow to choose one, and draws samples from
        between them meanwhile. Of fewer than ten latents a component, and of over 1,000 components,
        no clusters are sought: the means start at random latents, each component as wide as the
        cloud of them.
        """
        del x
        rng, count = generator(self.seed, "mixture start"), self.num_components
        if are_enough(len(latents), count):
            means, variance = clusters(latents, count, rng)
            stddev = np.sqrt(variance)
        else:
            means = latents[start_places(len(latents), count, rng)]
            # Between the whole cloud's width and that of one of `count` equal parts of it.
            stddev = latents.std(axis=0) * count ** (-0.5 / self._latent_dim)
        self.means.assign(means)
        log_diagonal = -np.log(np.maximum(stddev, 1e-3)).astype("float32")
        self.log_diagonal.assign(np.broadcast_to(log_diagonal, self.log_diagonal.shape))

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "seed": self.seed,
        }
