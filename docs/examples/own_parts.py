"""Arrays, networks, prior and likelihood of your own: trained, published, evaluated, shown."""

import keras
import numpy as np
from keras import layers, ops

import kvae


@keras.saving.register_keras_serializable("mine")
class Laplace(kvae.priors.Prior):
    kind = "laplace"

    def log_prob(self, z):
        return -ops.sum(ops.abs(z) + np.log(2), axis=-1)

    def sample(self, noise):
        u = noise.uniform("latent", 2) - 0.5
        return -ops.sign(u) * ops.log1p(-2 * ops.abs(u))


@keras.saving.register_keras_serializable("mine")
class Normal(kvae.likelihoods.Likelihood):
    kind = "normal"

    def num_outputs(self, channels):
        return channels  # the means alone

    def distribution(self, params):
        return kvae.probability.distributions.DiagonalNormal(params, 0.1)


data = kvae.Dataset.from_arrays(np.random.default_rng(0).laplace(size=(500, 3)))
encoder = keras.Sequential([layers.Input((3,)), layers.Dense(16, "gelu"), layers.Dense(4)])
decoder = keras.Sequential([layers.Input((2,)), layers.Dense(16, "gelu"), layers.Dense(3)])
vae = kvae.train(
    data, network=(encoder, decoder), prior=Laplace(), likelihood=Normal(), posterior="diagonal",
    epochs=20, batch_size=50, sampler="none", output="saved",
)  # fmt: skip
metrics = kvae.evaluate(vae.trained.version, data, output="shown", num_draws=50)
