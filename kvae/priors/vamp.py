"""The posteriors of learned pseudo-inputs as prior."""

import keras

from kvae.priors import PRIOR_COMPONENTS
from kvae.priors.base import Prior, draw_component, log_weights, start_places
from kvae.probability.streams import generator


@keras.saving.register_keras_serializable(package="kvae")
class Vamp(Prior):
    """p(z) = sum over k of w_k q(z given u_k), with the pseudo-inputs u and the weights w learned.

    The encoder belongs to the model; `connect` hands it in.

    Args:
        num_components: the number of pseudo-inputs, at least 1.
        element_shape: of one pseudo-input; `connect` says it where it is not given.
        seed: for the pseudo-inputs to start from, where `initialize` is not called.

    Source: Tomczak & Welling, "VAE with a VampPrior", AISTATS 2018, equation 9, where the weights
    are equal.
    """

    kind = "vamp"

    def __init__(self, num_components=30, *, element_shape=(), seed=0, **kwargs):
        super().__init__(**{"name": "vamp", **kwargs})
        self.num_components = PRIOR_COMPONENTS.read(num_components, "num_components")
        self.element_shape = tuple(element_shape)
        self.seed = int(seed)

    def connect(self, posterior_of, element_shape):
        """See `Prior.connect`; comes before `build`."""
        # Kept as a plain function: a model that its own part holds would be saved in itself.
        self._posterior_of = posterior_of
        self.element_shape = tuple(element_shape)

    def build(self, latent_shape):
        """Make the weights for z of shape `(None, latent_dim)`."""
        del latent_shape
        self.logits = self.add_weight(
            name="logits", shape=(self.num_components,), initializer="zeros"
        )
        self.pseudo_inputs = self.add_weight(
            name="pseudo_inputs",
            shape=(self.num_components, *self.element_shape),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
        )

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        log_normal = self._posterior_of(self.pseudo_inputs).log_prob_of_pairs(z)
        return keras.ops.logsumexp(log_weights(self.logits) + log_normal, axis=-1)

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        component = draw_component(self.logits, noise)
        return self._posterior_of(self.pseudo_inputs).take(component).sample(noise, "latent")

    def initialize(self, latents, x):
        """Start at random rows of x."""
        del latents
        rng = generator(self.seed, "vamp start")
        chosen = start_places(len(x), self.num_components, rng)
        self.pseudo_inputs.assign(x[chosen])

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "element_shape": self.element_shape,
            "seed": self.seed,
        }
