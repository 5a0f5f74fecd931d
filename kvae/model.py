"""The variational autoencoder.

Source: Kingma & Welling, "Auto-encoding variational Bayes", arXiv:1312.6114.
"""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.config import OBJECTIVES, check_regularisers
from kvae.data.conditions import Conditioned
from kvae.data.rows import in_parts
from kvae.distributions import Affine
from kvae.errors import UsageError
from kvae.likelihoods import accepts
from kvae.noise import SeededNoise
from kvae.posteriors import POSTERIORS
from kvae.priors.base import Prior
from kvae.registry import find
from kvae.regularisers import free_bits_rate, total_correlation

_FIGURES = ("loss", "elbo", "distortion", "rate")
_ROWS_AT_ONCE = 250
_PARTS = ("encoder", "decoder", "likelihood", "prior", "beta")


class ElboTerms(NamedTuple):
    """The two parts of the negative ELBO, per example.

    Args:
        distortion: -log p(x given z) at z ~ q, `(batch,)`, nats.
        rate: KL(posterior, prior), `(batch,)`, nats.
    """

    distortion: keras.KerasTensor
    rate: keras.KerasTensor

    @property
    def log_weight(self):
        """-(distortion + rate): the log-weight, or one draw's estimate of the ELBO."""
        return -(self.distortion + self.rate)


@keras.saving.register_keras_serializable(package="kvae")
class VAE(keras.Model):
    """A variational autoencoder with p(z), p(x given z) and q(z given x) of your choice.

    x is in the data's own units: float32 vectors `(batch, features)`, or images `(batch, height,
    width, channels)`, float32 in [0, 1] or uint8, which is divided by 255.
    x of a conditional model is a pair (x, condition), the condition float32 `(batch,
    condition_dim)`: `fit(x, condition)`, `encode((x, condition))`. Its densities are those of x
    given the condition, but for p(z), which knows nothing of it.
    Training minimises `distortion + beta * rate`, in nats per example, or minus the
    importance-weighted bound.

    Args:
        encoder: x -> the posterior's parameters, see `kvae.distributions`: `(batch, 2 *
            latent_dim)` for a diagonal one (means, then variances before their softplus),
            `(batch, latent_dim * (latent_dim + 3) / 2)` for a full one.
        decoder: latent `(batch, latent_dim)` -> the likelihood's parameters.
        likelihood: p(x given z), see `kvae.likelihoods`.
        prior: p(z), see `kvae.priors`.
        sampler: the density r(z) that `generate` draws from, fitted to posterior draws after
            training; never trained by `fit`. None: the prior.
        posterior: family of q(z given x), a key of `kvae.posteriors.POSTERIORS`.
        objective: "elbo", or "iwae": the bound of `iwae_draws` draws (Burda et al. 2016).
        iwae_draws: draws a row of the objective "iwae".
        beta: weight of the rate: a number, or a function of the step (`kvae.schedules`); 1 for
            "iwae".
        free_bits: nats that each latent dimension may carry for nothing; 0: none. For a diagonal
            posterior and a standard normal prior.
        tc_weight: weight of the total correlation within the rate; 1: the ELBO's. For a diagonal
            posterior, a standard normal prior, and batches of 512 rows or more: see
            `kvae.regularisers.total_correlation`.
        condition_dim: numbers in the condition of a row; 0: not conditional. They follow x on the
            last axis of the encoder's input (as constant maps beside an image) and z on that of
            the decoder's. Not for the prior "vamp".
        shift: what is subtracted from x, a number or an array that broadcasts to one x; the
            encoder and the likelihood see `(x - shift) / scale`. Densities stay those of x.
        scale: what x is then divided by, positive.
        seed: of the noise in training and in `evaluate`.

    Raises:
        UsageError: encoder, decoder and likelihood do not fit together, or an option is not
            allowed.
    """

    def __init__(
        self, encoder, decoder, likelihood, prior, *,
        sampler=None, posterior="diagonal", objective="elbo", iwae_draws=8,
        beta=1.0, free_bits=0.0, tc_weight=1.0, condition_dim=0, shift=0.0, scale=1.0, seed=0,
        **kwargs,
    ):  # fmt: skip
        # Casting x to a half-precision policy would cast the likelihood's targets too.
        super().__init__(**{"name": "vae", "autocast": False, **kwargs})
        self._posterior_family = find(POSTERIORS, posterior, "posterior")
        self.condition_dim = int(condition_dim)
        _check_fit(encoder, decoder, likelihood, prior, self._posterior_family, self.condition_dim)
        _check_objective(objective, iwae_draws, beta, likelihood)
        check_regularisers(objective, posterior, prior.kind, free_bits, tc_weight)
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.prior = likelihood, prior
        self.has_sampler = sampler is not None and sampler is not prior
        self.sampler = sampler if self.has_sampler else prior
        if self.has_sampler:
            sampler.trainable = False
        self.posterior_kind = posterior
        self.objective, self.iwae_draws = objective, int(iwae_draws)
        self.beta = beta
        self.free_bits, self.tc_weight = float(free_bits), float(tc_weight)
        self.shift = np.asarray(shift, "float32")
        self.scale = np.asarray(scale, "float32")
        self.seed = int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._trackers = {name: keras.metrics.Mean(name=name) for name in _FIGURES}
        if getattr(likelihood, "is_learned", False):
            self._trackers["stddev"] = keras.metrics.Mean(name="stddev")
        if self.tc_weight != 1:
            self._trackers["total_correlation"] = keras.metrics.Mean(name="total_correlation")
        self.build((None, *self.element_shape))

    def build(self, input_shape):
        """Make all weights; the constructor does it, for x of its `element_shape`."""
        if not self.likelihood.built:
            self.likelihood.build(input_shape)
        for density in (self.prior, self.sampler):
            density.connect(self._posterior_of_standardised, self.element_shape)
            if not density.built:
                density.build((None, self.latent_dim))
        self.built = True

    def with_sampler(self, sampler):
        """This model, its weights shared, with another density to generate from.

        Args:
            sampler: see the constructor; None: the prior.
        """
        return VAE(
            self.encoder, self.decoder, self.likelihood, self.prior,
            sampler=sampler, **self._plain_config(), dtype=self.dtype_policy,
        )  # fmt: skip

    @property
    def element_shape(self):
        """The shape of one x."""
        *places, channels = self.encoder.input_shape[1:]
        return (*places, channels - self.condition_dim)

    @property
    def latent_dim(self):
        """The number of dimensions of z."""
        return self.decoder.input_shape[-1] - self.condition_dim

    # The densities

    def posterior(self, x, training=False):
        """q(z given x), for x `(batch, ...)`."""
        x, condition = self._parts(x)
        seen = _beside((x - self.shift) / self.scale, condition)
        return self._posterior_of_standardised(seen, training)

    def _posterior_of_standardised(self, x, training=False):
        return self._posterior_family.from_params(self.encoder(x, training=training))

    def decode(self, z, condition=None, training=False):
        """p(x given z), for z `(batch, latent_dim)`; a distribution in the units of x.

        A conditional model needs a condition `(batch, condition_dim)`; UsageError without one.
        """
        z = _beside(z, self._checked(condition))
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
        posterior = self.posterior(x, training) if posterior is None else posterior
        draw, distortion = self._draw(x, noise, training, posterior)
        return ElboTerms(distortion, self.prior.rate(posterior, draw))

    def weight_terms(self, x, noise, training=False, posterior=None, densities=None):
        """Distortion and rate at one draw, the rate as log q(z given x) - log p(z) at that z.

        Their negative sum is the log-weight. The closed-form rate has no place in one.

        Args:
            x: `(batch, ...)`.
            noise: a source of noise for `batch` rows, see `kvae.noise`.
            training: as in Keras.
            posterior: q(z given x), where it is known already.
            densities: the p(z) to take; None: the prior alone.

        Returns:
            `ElboTerms` for each density, all at the same draw.
        """
        posterior = self.posterior(x, training) if posterior is None else posterior
        draw, distortion = self._draw(x, noise, training, posterior)
        return [
            ElboTerms(distortion, draw.log_prob - density.log_prob(draw.value))
            for density in densities or (self.prior,)
        ]

    def _draw(self, x, noise, training, posterior):
        """A draw from the posterior, and -log p(x given it)."""
        x, condition = self._parts(x)
        draw = posterior.draw(noise, "posterior")
        return draw, -self.decode(draw.value, condition, training).log_prob(x)

    def log_weight(self, x, noise):
        """log p(x given z) + log p(z) - log q(z given x) at one draw z from the posterior.

        Its exponential is an unbiased estimate of p(x). Arguments as for `weight_terms`.

        Returns:
            `(batch,)`, nats.

        Source: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, equation 8.
        """
        return self.weight_terms(x, noise)[0].log_weight

    def condition_of(self, x):
        """The condition within a pair (x, condition), float32; None if the model takes none."""
        return self._parts(x)[1]

    def _parts(self, x):
        """x and its condition or None, both float32."""
        x = tuple(x) if self.condition_dim and isinstance(x, list) else x
        if _is_pair(x) != (self.condition_dim > 0):
            wanted = "a pair (x, condition)" if self.condition_dim else "x without a condition"
            raise UsageError(f"{wanted} is wanted by a model of condition_dim {self.condition_dim}")
        x = as_float(x)
        return (x[0], self._checked(x[1])) if self.condition_dim else (x, None)

    def _checked(self, condition, count=None):
        """A condition as float32 `(count or batch, condition_dim)`; UsageError if it is none."""
        ops = keras.ops
        dim = self.condition_dim
        if condition is None and not dim:
            return None
        if condition is not None and dim:
            condition = ops.cast(condition, "float32")
            if count and condition.shape == (dim,):
                return ops.broadcast_to(condition, (count, dim))
            if condition.shape[1:] == (dim,) and count in (None, condition.shape[0]):
                return condition
        shape = None if condition is None else tuple(condition.shape)
        raise UsageError(
            f"a condition of shape ({count or 'rows'}, {dim}) is wanted, received {shape}"
            if dim
            else "this model is not conditional (condition_dim 0), but received a condition"
        )

    # What a user calls

    def call(self, x, training=False):
        """Reconstruct: the mean of p(x given z) at the posterior's mean, the shape of x."""
        latent = self.posterior(x, training).mean()
        return self.decode(latent, self.condition_of(x), training).mean()

    def encode(self, x):
        """Mean and variance of q(z given x), each `(batch, latent_dim)`."""
        posterior = self.posterior(x)
        return posterior.mean(), posterior.variance()

    def generate(self, count, seed=0, condition=None):
        """Images, or vectors with their noise, from latents drawn from the sampler or the prior.

        Args:
            count: how many.
            seed: row i depends on `seed + i` alone, and on its condition.
            condition: `(count, condition_dim)`, or `(condition_dim,)` for all; of a conditional
                model.

        Returns:
            `(count, *element_shape)`; means of image pixels may leave [0, 1] a little.

        Raises:
            UsageError: `count` is under 1, or there is no condition where one is needed.
        """
        if count < 1:
            raise UsageError(f"count must be at least 1, received {count}")
        condition = self._checked(condition, count)
        noise = SeededNoise(keras.ops.arange(count, dtype="int64") + int(seed))
        return self.show(self.decode(self.sampler.sample(noise), condition), noise)

    def show(self, distribution, noise):
        """What stands for a sample of p(x given z): its mean for images, a draw for vectors."""
        if len(self.element_shape) == 3:
            return distribution.mean()
        return distribution.sample(noise, "observation")

    def interpolate(self, start, end, fraction):
        """Latents on the straight line between posterior means, and conditions between theirs.

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
        condition = None
        if self.condition_dim:
            ends = self.condition_of(start), self.condition_of(end)
            condition = (1.0 - fraction) * ends[0] + fraction * ends[1]
        return self.decode(latent, condition).mean(), latent

    # Training

    def fit(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.fit`, for arrays and `tf.data`; a NumPy array is looked at first.

        y is the condition of a conditional model; others pass over it.

        Raises:
            UsageError: rows of another shape, or values that the likelihood has no density for:
                they would end in a loss that is not finite.
        """
        rows, condition = x if self.condition_dim and isinstance(x, tuple | list) else (x, y)
        if isinstance(rows, np.ndarray):
            _check_array(rows, self.element_shape, self.likelihood)
            if self.condition_dim:
                _check_condition(condition, (len(rows), self.condition_dim))
        if isinstance(x, tf.data.Dataset):
            # Its order is its own; Keras would say so in a warning each time.
            kwargs.setdefault("shuffle", False)
        if self.compiled and not self.optimizer.built:
            # A step that makes the optimizer's variables is traced twice by TensorFlow.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().fit(x, y, *args, **kwargs)

    def start_prior(self, x):
        """Start a mixture, a VampPrior or a flow where the encoder puts data, before training.

        Else they start as if latents were standard normal and x about 0. A standard normal prior
        has nothing to start.

        Args:
            x: some rows as an array, uint8 or float32; of a conditional model a pair with their
                conditions. Of fewer than the prior has components some start at the same row.

        Raises:
            UsageError: rows that `fit` would refuse.
        """
        if isinstance(x, tuple):
            x = Conditioned(*(np.asarray(part) for part in x))
        _check_array(np.asarray(x), self.element_shape, self.likelihood)
        latents = [self.encode(part)[0] for part in in_parts(x, _ROWS_AT_ONCE)]
        standardised = (np.asarray(as_float(np.asarray(x))) - self.shift) / self.scale
        self.prior.initialize(np.concatenate(latents), standardised)

    def make_test_function(self, force=False):
        """As Keras's, but never by XLA: compiling takes longer than validation saves."""
        compiled, self.jit_compile = self.jit_compile, False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = compiled

    def train_step(self, data):
        """One gradient step on `mean(distortion + beta * rate)`, or minus the "iwae" bound.

        x of shape `(steps, batch, *element_shape)` makes that many steps in one loop of the graph:
        for small models most of a step's time is the way in and out of it. Not under a
        distribution strategy of several replicas.
        """
        x = self._x_of(data)
        rows = _rows_of(x)
        if len(rows.shape) == len(self.element_shape) + 2:
            count = tf.shape(rows)[0]
            tf.while_loop(lambda step: step < count, lambda step: self._next_step(x, step), (0,))
        else:
            self._gradient_step(x)
        return self._results()

    def _next_step(self, x, step):
        self._gradient_step(keras.tree.map_structure(lambda part: part[step], x))
        return (step + 1,)

    def _x_of(self, data):
        """x, or the pair, of what Keras hands to a step: x, (x,), (x, y), ((x, condition),)."""
        if not self.condition_dim:
            return data[0] if isinstance(data, tuple | list) else data
        if isinstance(data, tuple | list) and len(data) == 1:
            data = data[0]
        if not isinstance(data, tuple | list) or len(data) < 2 or data[1] is None:
            raise UsageError("a conditional model is given conditions: fit(x, condition)")
        return tuple(data[:2])

    def _gradient_step(self, x):
        terms, loss = self._step_down(x)
        if getattr(self.likelihood, "is_updated", False):
            self.likelihood.update(self._in_decoder_units(terms.distortion))
        self._track(terms, loss)

    def _in_decoder_units(self, distortion):
        """The distortion of x after `shift` and `scale`."""
        log_scale = np.log(np.broadcast_to(self.scale, self.element_shape), dtype="float64")
        return distortion - float(log_scale.sum())

    def calibrate(self, batches):
        """Set the variance "optimal" to its maximum-likelihood value; others are left alone.

        `fit` leaves a moving average over its last steps there.

        Args:
            batches: of x, or of pairs; one draw from the posterior of each row is taken.
        """
        if not getattr(self.likelihood, "is_updated", False):
            return
        total, count = 0.0, 0
        for x in batches:
            x = as_float(x)
            found, rows = float(self._mean_squared_error(x)), len(_rows_of(x))
            total, count = total + rows * found, count + rows
        self.likelihood.mean_squared_error.assign([total / count])

    @tf.function(reduce_retracing=True, autograph=False)
    def _mean_squared_error(self, x):
        terms = self.elbo_terms(x, self._step_noise(x))
        return self.likelihood.mean_squared_error_of(self._in_decoder_units(terms.distortion))

    def _step_down(self, x):
        with tf.GradientTape() as tape:
            terms, loss = self._terms_and_loss(x, training=True)
            # Gradients are summed over replicas, and float16 losses scaled against underflow.
            num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
            objective = (tf.reduce_mean(loss) + sum(self.losses)) / num_replicas
            scaled = self.optimizer.scale_loss(objective)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return terms, loss

    def test_step(self, data):
        """The same figures without a gradient step."""
        self._track(*self._terms_and_loss(self._x_of(data), training=False))
        return self._results()

    def predict_step(self, data):
        """Reconstructions."""
        return self(self._x_of(data), training=False)

    @property
    def metrics(self):
        """Means over an epoch: loss, elbo (not a loss: higher is better), distortion, rate.

        Where the likelihood learns a standard deviation of its own, that too: stddev, in units of
        x after `shift` and `scale`. With a `tc_weight` total_correlation, the estimate in the
        loss.
        """
        return list(self._trackers.values())

    def _terms_and_loss(self, x, training):
        if self.objective == "iwae":
            return self._importance_weighted(x, training)
        posterior = self.posterior(x, training)
        draw, distortion = self._draw(x, self._step_noise(x), training, posterior)
        terms = ElboTerms(distortion, self.prior.rate(posterior, draw))
        beta = self.beta
        if callable(beta):
            # Validation has that of the step before it: at the end of a cycle the next is near 0.
            step = self.optimizer.iterations
            beta = beta(step if training else keras.ops.maximum(step - 1, 0))
        return terms, distortion + beta * self._regularised(terms.rate, posterior, draw.value)

    def _regularised(self, rate, posterior, z):
        """The rate, or what stands for it in the loss."""
        if self.free_bits:
            rate = free_bits_rate(posterior, self.free_bits)
        if self.tc_weight != 1:
            estimate = total_correlation(posterior, z)
            self._trackers["total_correlation"].update_state(estimate)
            rate = rate + (self.tc_weight - 1.0) * estimate
        return rate

    def _importance_weighted(self, x, training):
        """Burda et al., equation 8: the loss is minus the bound of `iwae_draws` draws a row."""
        ops = keras.ops
        x = as_float(x)
        draws = self.iwae_draws
        copies = repeat_rows(x, draws)
        posterior = self.posterior(x, training).repeat(draws)
        noise = self._step_noise(copies)
        terms = self.weight_terms(copies, noise, training, posterior)[0]
        log_weight = ops.reshape(terms.log_weight, (-1, draws))
        return terms, math.log(draws) - ops.logsumexp(log_weight, axis=1)

    def _track(self, terms, loss):
        elbo = terms.log_weight
        for name, values in (("loss", loss), ("elbo", elbo), *terms._asdict().items()):
            self._trackers[name].update_state(values)
        if "stddev" in self._trackers:
            variance = self.likelihood.current_variance()
            self._trackers["stddev"].update_state(tf.sqrt(tf.reduce_mean(variance)))

    def _results(self):
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def _step_noise(self, x):
        # Without the replica's number every replica would draw the same noise.
        context = tf.distribute.get_replica_context()
        replica = 0 if context is None else context.replica_id_in_sync_group

        def next_seed():
            seed = tf.cast(self.seed_generator.next(), tf.int64)
            return seed + tf.cast(tf.stack([replica, 0]), tf.int64)

        return _StepNoise(tf.shape(_rows_of(x))[0], next_seed)

    # Saving

    def save_weights(self, filepath, *args, **kwargs):
        """As `keras.Model.save_weights`, of what `fit` trains: not of a sampler."""
        vae = self.with_sampler(None) if self.has_sampler else super()
        vae.save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath, *args, **kwargs):
        """As `keras.Model.load_weights`, of what `fit` trains."""
        vae = self.with_sampler(None) if self.has_sampler else super()
        vae.load_weights(filepath, *args, **kwargs)

    def get_config(self):
        """Arguments of the constructor, parts included."""
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(getattr(self, name)) for name in _PARTS}
        sampler = serialize(self.sampler) if self.has_sampler else None
        plain = {**self._plain_config(), "beta": parts["beta"]}
        plain["shift"], plain["scale"] = self.shift.tolist(), self.scale.tolist()
        return {
            "name": self.name, "dtype": self.dtype_policy.name, **parts, "sampler": sampler, **plain
        }  # fmt: skip

    def _plain_config(self):
        """The constructor's arguments that are neither parts nor Keras's."""
        return {
            "posterior": self.posterior_kind,
            "objective": self.objective,
            "iwae_draws": self.iwae_draws,
            "beta": self.beta,
            "free_bits": self.free_bits,
            "tc_weight": self.tc_weight,
            "condition_dim": self.condition_dim,
            "shift": self.shift,
            "scale": self.scale,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`."""
        restore = keras.saving.deserialize_keras_object
        parts = {name: restore(config.get(name), custom_objects) for name in (*_PARTS, "sampler")}
        return cls(**{**config, **parts})


def _check_objective(objective, iwae_draws, beta, likelihood):
    if objective not in OBJECTIVES:
        raise UsageError(f"objective must be one of {OBJECTIVES}, received {objective!r}")
    if objective == "iwae" and (callable(beta) or beta != 1 or iwae_draws < 1):
        raise UsageError(
            "the objective 'iwae' is a bound with beta 1, no warm-up and at least 1 draw: received "
            f"beta {beta}, iwae_draws {iwae_draws}"
        )
    if objective == "iwae" and getattr(likelihood, "is_updated", False):
        raise UsageError(
            "the variance 'optimal' is that of one draw a row: it goes with the objective 'elbo'"
        )


def _check_fit(encoder, decoder, likelihood, prior, posterior_family, condition_dim):
    """Broadcasting would let a wrong number of outputs pass in silence."""
    if not hasattr(likelihood, "distribution") or not isinstance(prior, Prior):
        raise UsageError(
            "a likelihood (kvae.likelihoods) and then a prior (kvae.priors) are wanted, received "
            f"{type(likelihood).__name__} and {type(prior).__name__}; build_vae takes their names"
        )
    if condition_dim and prior.kind == "vamp":
        raise UsageError("the prior 'vamp' is not for conditions: its pseudo-inputs have none")
    latent_dim = decoder.input_shape[-1] - condition_dim
    *places, channels = encoder.input_shape[1:]
    shape = (*places, channels - condition_dim)
    if min(latent_dim, shape[-1]) < 1:
        raise UsageError(
            f"the inputs of encoder {encoder.input_shape} and decoder {decoder.input_shape} leave "
            f"nothing beside a condition of {condition_dim} numbers"
        )
    wanted = {
        "encoder": (posterior_family.num_params(latent_dim),),
        "decoder": (*shape[:-1], likelihood.num_outputs(shape[-1])),
    }
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        found = tuple(network.output_shape[1:])
        if found != wanted[name]:
            raise UsageError(
                f"for x of shape {shape} and {latent_dim} latent dimensions the {name}'s output "
                f"must have shape {wanted[name]}, received {found}"
            )


def _check_condition(condition, shape):
    found = np.shape(condition)
    if found != shape or not np.isfinite(np.asarray(condition, "float64")).all():
        raise UsageError(
            f"the condition must be of shape {shape} and finite, received "
            f"{'none' if condition is None else found}"
        )


def _check_array(x, element_shape, likelihood):
    if x.shape[1:] != element_shape:
        raise UsageError(f"x must be of shape (rows, *{element_shape}), received {x.shape}")
    if not accepts(likelihood.kind, x):
        raise UsageError(
            f"the likelihood {likelihood.kind!r} has no density for some values of x: bernoulli is "
            "for 0 and 1 alone (uint8: 0 and 255), discretized-logistic for grey levels (uint8), "
            "gaussian for finite numbers"
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
    """float32; uint8, the type of images, divided by 255. Of a pair (x, condition) a tuple."""
    if _is_pair(x):
        x, condition = (x.x, x.condition) if isinstance(x, Conditioned) else x
        return as_float(x), keras.ops.cast(condition, "float32")
    x = keras.ops.convert_to_tensor(x)
    is_image = keras.backend.standardize_dtype(x.dtype) == "uint8"
    return keras.ops.cast(x, "float32") / (255.0 if is_image else 1.0)


def _is_pair(x):
    return isinstance(x, Conditioned) or (isinstance(x, tuple) and len(x) == 2)


def repeat_rows(x, count):
    """Each row `count` times in succession, of x or of a pair (x, condition)."""
    return keras.tree.map_structure(lambda part: keras.ops.repeat(part, count, axis=0), x)


def _rows_of(x):
    """x of a pair (x, condition), or x itself."""
    return x[0] if isinstance(x, tuple) else x


def _beside(values, condition):
    """Values `(batch, ..., n)` with a condition as further channels, the same at every place."""
    if condition is None:
        return values
    ops = keras.ops
    places = [1] * (len(values.shape) - 2)
    maps = ops.reshape(condition, (-1, *places, condition.shape[-1]))
    maps = ops.broadcast_to(maps, (*ops.shape(values)[:-1], condition.shape[-1]))
    return ops.concatenate([values, maps], axis=-1)
