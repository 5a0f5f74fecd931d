"""What every prior provides."""

import keras
import numpy as np

from kvae.probability.rows import check_of_rows

_ROWS_AT_ONCE = 2_000


class Prior(keras.layers.Layer):
    """A density over latents, p(z).

    Attributes:
        kind: its name among the priors or samplers.
        exact_density: whether `log_prob` is the density itself rather than a bound.
    """

    kind: str
    exact_density = True

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    @classmethod
    def make(cls, *, seed, **own):
        """The prior; by default the constructor with all of them.

        Args:
            seed: of what is random at its start.
            **own: its declared options, under the names of the constructor's arguments.
        """
        return cls(seed=seed, **own)

    def log_prob(self, z):
        """Log density.

        Args:
            z: `(batch, latent_dim)`.

        Returns:
            `(batch,)`, nats.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log_prob")

    def sample(self, noise):
        """Draw one latent a row.

        Args:
            noise: a source of noise, see `kvae.probability.noise`.

        Returns:
            `(batch, latent_dim)`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sample")

    def rate(self, posterior, draw):
        """KL(posterior, prior): in closed form where there is one, else at the one draw.

        Args:
            posterior: q(z given x), a distribution.
            draw: from it, a `kvae.probability.distributions.Draw`.

        Returns:
            `(batch,)`, nats.
        """
        log_prob = check_of_rows(
            f"log_prob of the prior {type(self).__name__}",
            self.log_prob(draw.value),
            draw.log_prob.shape[0],
        )
        return draw.log_prob - log_prob

    def connect(self, posterior_of, element_shape):
        """Take what a density may need of the model; the default needs nothing.

        Args:
            posterior_of: standardised x `(batch, *element_shape)` -> q(z given x).
            element_shape: the shape of one x.
        """

    @property
    def has_start(self):
        """Whether there is something to `initialize`."""
        return type(self).initialize is not Prior.initialize

    @property
    def rows_to_start(self):
        """How many rows `initialize` needs, at least, for a start better than none."""
        return getattr(self, "num_components", 1)

    @property
    def rows_wanted(self):
        """How many rows `initialize` is given where there are as many.

        2,000, or ten for each component, of up to 1,000 components.
        """
        return max(2_000, min(10 * self.rows_to_start, 10_000), self.rows_to_start)

    def initialize(self, latents, x):
        """Adapt the start to where the untrained encoder puts data; the default does nothing.

        Args:
            latents: a NumPy array `(rows, latent_dim)`, draws from the posteriors of random rows.
            x: those rows, standardised, `(rows, *element_shape)`.
        """


def mean_log_prob(density, rows):
    """Mean log density of NumPy rows `(n, latent_dim)`, nats.

    A few rows at a time: a mixture holds every pair of row and component at once.
    """
    ops = keras.ops
    parts = np.array_split(rows, -(-len(rows) // _ROWS_AT_ONCE))
    found = [ops.convert_to_numpy(density.log_prob(ops.convert_to_tensor(part))) for part in parts]
    return float(np.mean(np.concatenate(found)))


def start_places(count, components, rng):
    """Random places of `count` rows, at which components start; some twice where rows are fewer."""
    return rng.choice(count, size=components, replace=count < components)


def log_weights(logits):
    """Logs of weights that sum to one, `(components,)`; of one component too."""
    return logits - keras.ops.logsumexp(logits)


def draw_component(logits, noise):
    """Which component of a mixture each row is drawn from.

    Args:
        logits: `(components,)`, log weights up to a constant.
        noise: a source of noise, see `kvae.probability.noise`.

    Returns:
        `(batch,)` int32.
    """
    ops = keras.ops
    uniform = noise.uniform("component", 1)
    # Scaled by the total, which rounding leaves beside one, so that no uniform passes the end.
    cumulative = ops.cumsum(ops.exp(log_weights(logits)))
    below = uniform * cumulative[-1] >= cumulative
    return ops.minimum(ops.sum(ops.cast(below, "int32"), axis=1), logits.shape[0] - 1)
