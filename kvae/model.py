"""The variational autoencoder.

Source: Kingma & Welling, "Auto-encoding variational Bayes", arXiv:1312.6114.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.distributions import Affine, DiagonalNormal
from kvae.errors import UsageError
from kvae.likelihoods import accepts
from kvae.noise import SeededNoise
from kvae.priors.base import Prior


class ElboTerms(NamedTuple):
    """The two parts of the negative ELBO, per example.

    Args:
        distortion: -log p(x given z) at z ~ q, `(batch,)`, nats.
        rate: KL(posterior, prior), `(batch,)`, nats.
    """

    distortion: keras.KerasTensor
    rate: keras.KerasTensor


@keras.saving.register_keras_serializable(package="kvae")
class VAE(keras.Model):
    """A variational autoencoder with p(z), p(x given z) and q(z given x) of your choice.

    x is in the data's own units: float32 vectors `(batch, features)`, or images `(batch, height,
    width, channels)`, float32 in [0, 1] or uint8, which is divided by 255.
    Training minimises `distortion + beta * rate`, in nats per example.

    Args:
        encoder: x -> `(batch, 2 * latent_dim)`: means, then variances before their softplus.
        decoder: latent `(batch, latent_dim)` -> the likelihood's parameters.
        likelihood: p(x given z), see `kvae.likelihoods`.
        prior: p(z), see `kvae.priors`.
        beta: weight of the rate: a number, or a function of the step (`kvae.schedules`).
        shift: what is subtracted from x, a number or an array that broadcasts to one x; the
            encoder and the likelihood see `(x - shift) / scale`. Densities stay those of x.
        scale: what x is then divided by, positive.
        seed: of the noise in training and in `evaluate`.

    Raises:
        UsageError: encoder, decoder and likelihood do not fit together.
    """

    def __init__(
        self, encoder, decoder, likelihood, prior, *,
        beta=1.0, shift=0.0, scale=1.0, seed=0, **kwargs,
    ):  # fmt: skip
        # Casting x to a half-precision policy would cast the likelihood's targets too.
        super().__init__(**{"name": "vae", "autocast": False, **kwargs})
        _check_fit(encoder, decoder, likelihood, prior)
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.prior = likelihood, prior
        self.beta = beta
        self.shift = np.asarray(shift, "float32")
        self.scale = np.asarray(scale, "float32")
        self.seed = int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._trackers = {
            name: keras.metrics.Mean(name=name) for name in ("loss", "elbo", "distortion", "rate")
        }
        self.build(encoder.input_shape)

    def build(self, input_shape):
        """Make all weights; the constructor does it, for x of the encoder's input shape."""
        if not self.likelihood.built:
            self.likelihood.build(input_shape)
        if not self.prior.built:
            self.prior.build((None, self.latent_dim))
        self.built = True

    @property
    def element_shape(self):
        """The shape of one x."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def latent_dim(self):
        """The number of dimensions of z."""
        return self.decoder.input_shape[-1]

    # The densities

    def posterior(self, x, training=False):
        """q(z given x), for x `(batch, ...)`."""
        standardised = (as_float(x) - self.shift) / self.scale
        return DiagonalNormal.from_params(self.encoder(standardised, training=training))

    def decode(self, z, training=False):
        """p(x given z), for z `(batch, latent_dim)`; a distribution in the units of x."""
        params = self.decoder(z, training=training)
        return Affine(self.likelihood.distribution(params), self.shift, self.scale)

    def elbo_terms(self, x, noise, training=False, posterior=None):
        """Distortion and rate at one draw from the posterior.

        Args:
            x: `(batch, ...)`.
            noise: a source of noise for `batch` rows, see `kvae.noise`.
            training: as in Keras.
            posterior: q(z given x), where it is known already.

        Returns:
            `ElboTerms`.
        """
        x = as_float(x)
        posterior = self.posterior(x, training) if posterior is None else posterior
        z = posterior.sample(noise, "posterior")
        distortion = -self.decode(z, training).log_prob(x)
        return ElboTerms(distortion, self.prior.rate(posterior, z))

    def weight_terms(self, x, noise, posterior=None):
        """Distortion and rate at one draw, the rate as log q(z given x) - log p(z) at that z.

        Their negative sum is the log-weight. The closed-form rate has no place in one.

        Args:
            x: `(batch, ...)`.
            noise: a source of noise for `batch` rows, see `kvae.noise`.
            posterior: q(z given x), where it is known already.

        Returns:
            `ElboTerms`.
        """
        x = as_float(x)
        posterior = self.posterior(x) if posterior is None else posterior
        z = posterior.sample(noise, "posterior")
        distortion = -self.decode(z).log_prob(x)
        return ElboTerms(distortion, posterior.log_prob(z) - self.prior.log_prob(z))

    def log_weight(self, x, noise, posterior=None):
        """log p(x given z) + log p(z) - log q(z given x) at one draw z from the posterior.

        Its exponential is an unbiased estimate of p(x). Arguments as for `weight_terms`.

        Returns:
            `(batch,)`, nats.

        Source: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, equation 8.
        """
        terms = self.weight_terms(x, noise, posterior)
        return -(terms.distortion + terms.rate)

    # What a user calls

    def call(self, x, training=False):
        """Reconstruct: the mean of p(x given z) at the posterior's mean, the shape of x."""
        return self.decode(self.posterior(x, training).mean(), training).mean()

    def encode(self, x):
        """Mean and variance of q(z given x), each `(batch, latent_dim)`."""
        posterior = self.posterior(x)
        return posterior.mean(), posterior.variance()

    def generate(self, count, seed=0):
        """Images, or vectors with their noise, from latents drawn from the prior.

        Args:
            count: how many.
            seed: row i depends on `seed + i` alone.

        Returns:
            `(count, *element_shape)`; means of image pixels may leave [0, 1] a little.

        Raises:
            UsageError: `count` is under 1.
        """
        if count < 1:
            raise UsageError(f"count must be at least 1, received {count}")
        noise = SeededNoise(keras.ops.arange(count, dtype="int64") + int(seed))
        return self.show(self.decode(self.prior.sample(noise)), noise)

    def show(self, distribution, noise):
        """What stands for a sample of p(x given z): its mean for images, a draw for vectors."""
        if len(self.element_shape) == 3:
            return distribution.mean()
        return distribution.sample(noise, "observation")

    def interpolate(self, start, end, fraction):
        """Latents on the straight line between posterior means.

        Args:
            start: x `(batch, ...)`.
            end: x `(batch, ...)`.
            fraction: a number or `(batch,)`, 0 at the start, 1 at the end.

        Returns:
            Decoded means, the shape of x, and latents `(batch, latent_dim)`.
        """
        fraction = keras.ops.reshape(keras.ops.cast(fraction, "float32"), (-1, 1))
        first, last = self.posterior(start).mean(), self.posterior(end).mean()
        latent = (1.0 - fraction) * first + fraction * last
        return self.decode(latent).mean(), latent

    # Training

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`; a NumPy array is looked at first.

        Raises:
            UsageError: rows of another shape, or values that the likelihood has no density for:
                they would end in a loss that is not finite.
        """
        if isinstance(x, np.ndarray):
            _check_array(x, self.element_shape, self.likelihood)
        return super().fit(x, *args, **kwargs)

    def train_step(self, data):
        """One gradient step on `mean(distortion + beta * rate)`."""
        x = _only_x(data)
        with tf.GradientTape() as tape:
            terms = self.elbo_terms(x, self._step_noise(x), training=True)
            loss = self._loss(terms)
            # Gradients are summed over replicas, and float16 losses scaled against underflow.
            num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
            objective = (tf.reduce_mean(loss) + sum(self.losses)) / num_replicas
            scaled = self.optimizer.scale_loss(objective)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._track(terms, loss)

    def test_step(self, data):
        """The same figures without a gradient step."""
        x = _only_x(data)
        terms = self.elbo_terms(x, self._step_noise(x))
        return self._track(terms, self._loss(terms))

    @property
    def metrics(self):
        """Means over an epoch: loss, elbo (not a loss: higher is better), distortion, rate."""
        return list(self._trackers.values())

    def _loss(self, terms):
        beta = self.beta
        if callable(beta):
            beta = beta(self.optimizer.iterations)
        return terms.distortion + beta * terms.rate

    def _track(self, terms, loss):
        elbo = -(terms.distortion + terms.rate)
        for name, values in (("loss", loss), ("elbo", elbo), *terms._asdict().items()):
            self._trackers[name].update_state(values)
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def _step_noise(self, x):
        # Without the replica's number every replica would draw the same noise.
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group

        def next_seed():
            seed = tf.cast(self.seed_generator.next(), tf.int64)
            return seed + tf.cast(tf.stack([replica, 0]), tf.int64)

        return _StepNoise(tf.shape(x)[0], next_seed)

    # Saving

    def get_config(self):
        """Arguments of the constructor, parts included."""
        serialize = keras.saving.serialize_keras_object
        parts = {
            name: serialize(getattr(self, name))
            for name in ("encoder", "decoder", "likelihood", "prior", "beta")
        }
        numbers = {"shift": self.shift.tolist(), "scale": self.scale.tolist(), "seed": self.seed}
        return {"name": self.name, "dtype": self.dtype_policy.name, **parts, **numbers}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`."""
        restore = keras.saving.deserialize_keras_object
        parts = {
            name: restore(config[name], custom_objects)
            for name in ("encoder", "decoder", "likelihood", "prior", "beta")
        }
        return cls(**{**config, **parts})


def _check_fit(encoder, decoder, likelihood, prior):
    """Broadcasting would let a wrong number of outputs pass in silence."""
    if not hasattr(likelihood, "distribution") or not isinstance(prior, Prior):
        raise UsageError(
            "a likelihood (kvae.likelihoods) and then a prior (kvae.priors) are wanted, received "
            f"{type(likelihood).__name__} and {type(prior).__name__}; build_vae takes their names"
        )
    latent_dim, shape = decoder.input_shape[-1], tuple(encoder.input_shape[1:])
    wanted = {
        "encoder": (DiagonalNormal.num_params(latent_dim),),
        "decoder": (*shape[:-1], shape[-1] * likelihood.params_per_channel),
    }
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        found = tuple(network.output_shape[1:])
        if found != wanted[name]:
            raise UsageError(
                f"for x of shape {shape} and {latent_dim} latent dimensions the {name}'s output "
                f"must have shape {wanted[name]}, received {found}"
            )


def _check_array(x, element_shape, likelihood):
    if x.shape[1:] != element_shape:
        raise UsageError(f"x must be of shape (rows, *{element_shape}), received {x.shape}")
    if not accepts(likelihood.kind, x):
        raise UsageError(
            f"the likelihood {likelihood.kind!r} has no density for some values of x: bernoulli is "
            "for 0 and 1 alone (uint8: 0 and 255), gaussian for finite numbers"
        )


class _StepNoise:
    """Noise for training (see `kvae.noise`): one fresh seed for each draw of a whole batch.

    Args:
        batch_size: the number of rows, a scalar tensor.
        next_seed: returns a seed `(2,)` that it never returned before.
    """

    def __init__(self, batch_size, next_seed):
        self._batch_size = batch_size
        self._next_seed = next_seed

    def uniform(self, purpose, size):
        """`(batch, size)`, uniform on [0, 1)."""
        return tf.random.stateless_uniform((self._batch_size, size), self._next_seed())

    def normal(self, purpose, size):
        """`(batch, size)`, standard normal."""
        return tf.random.stateless_normal((self._batch_size, size), self._next_seed())


def as_float(x):
    """float32; uint8, the type of images, divided by 255."""
    x = keras.ops.convert_to_tensor(x)
    is_image = keras.backend.standardize_dtype(x.dtype) == "uint8"
    return keras.ops.cast(x, "float32") / (255.0 if is_image else 1.0)


def _only_x(data):
    """x of what Keras hands to a step: x, (x,) or (x, y)."""
    return data[0] if isinstance(data, tuple | list) else data
