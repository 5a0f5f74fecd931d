"""The variational autoencoder.

Source: Kingma & Welling, "Auto-encoding variational Bayes", arXiv:1312.6114.
"""

import keras
import numpy as np

from kvae.border import Border, as_broadcast, without_lists
from kvae.data.images.pixels import UNIT, read_range
from kvae.errors import UsageError
from kvae.inputs import as_float, beside, checked_condition, is_pair
from kvae.networks.activity import losses_kept
from kvae.networks.no_rows import answered
from kvae.objectives.base import Objective
from kvae.objectives.elbo import Elbo
from kvae.older_files import with_objective
from kvae.options import COUNT, Option, read_seed
from kvae.probability.distributions import Affine
from kvae.probability.noise import SeededNoise
from kvae.probability.noise import row_seeds as hashed_seeds
from kvae.probability.posteriors import POSTERIORS
from kvae.probability.rows import check_of_rows
from kvae.registry import find
from kvae.scores import Scores
from kvae.shapes import check_parts, halves
from kvae.steps import Steps
from kvae.terms import Drawn, ElboTerms, WeightTerms

CONDITION_DIM = Option("condition_dim", 0, "numbers in the condition of a row", COUNT)
_PARTS = ("encoder", "decoder", "likelihood", "prior", "objective")


@keras.saving.register_keras_serializable(package="kvae")
class VAE(Scores, Steps, keras.Model):
    """A variational autoencoder with p(z), p(x given z) and q(z given x) of your choice.

    x is in the data's own units: float32 vectors `(batch, features)`, or images `(batch, height,
    width, channels)`, float32 in [0, 1] or uint8, which is divided by 255.
    x of a conditional model is a pair (x, condition), the condition float32 `(batch,
    condition_dim)`: `fit(x, condition)`, `encode((x, condition))`. Its densities are those of x
    given the condition, but for p(z), which knows nothing of it.
    Training minimises its objective, in nats per example. Its noise is a function of the seed, the
    step (a weight, which every training step counts), the draw and the place of a row in its batch;
    that of validation one of the seed and the place of a row among all: with one seed equal data
    give equal numbers, whatever was looked at in between.

    Args:
        encoder: x -> the posterior's parameters, see `kvae.probability.distributions`: `(batch, 2 *
            latent_dim)` for a diagonal one (means, then variances before their softplus),
            `(batch, latent_dim * (latent_dim + 3) / 2)` for a full one.
        decoder: latent `(batch, latent_dim)` -> the likelihood's parameters.
        likelihood: p(x given z), see `kvae.likelihoods`.
        prior: p(z), see `kvae.priors`.
        sampler: the density r(z) that `generate` draws from, fitted to posterior draws after
            training; never trained by `fit`. None: the prior.
        posterior: family of q(z given x), a key of `kvae.probability.posteriors.POSTERIORS`.
        objective: what training minimises, see `kvae.objectives`; None: minus the ELBO.
        condition_dim: numbers in the condition of a row; 0: not conditional. They follow x on the
            last axis of the encoder's input (as constant maps beside an image) and z on that of
            the decoder's. Not for the prior "vamp".
        shift: what is subtracted from x, a number or an array that broadcasts to one x; the
            encoder and the likelihood see `(x - shift) / scale`. Densities stay those of x.
        scale: what x is then divided by, positive.
        value_range: what floats of images lie in, (0, 1); None: anywhere, such as spectrograms or
            standardised images. Of vectors it says nothing.
        seed: of the noise in training and in `evaluate`, 0 to 2^32 - 1.

    Raises:
        UsageError: encoder, decoder and likelihood do not fit together, or an option is not
            allowed.
    """

    def __init__(
        self, encoder, decoder, likelihood, prior, *,
        sampler=None, posterior="diagonal", objective=None, condition_dim=0,
        shift=0.0, scale=1.0, value_range=UNIT, seed=0, _step=None, **kwargs,
    ):  # fmt: skip
        half = {"dtype": "mixed_float16"} if halves((encoder, decoder)) else {}
        # Casting x to a half-precision policy would cast the likelihood's targets too.
        super().__init__(**{"name": "vae", "autocast": False, **half, **kwargs})
        self._posterior_family = find(POSTERIORS, posterior, "posterior")
        self.condition_dim = CONDITION_DIM.read(condition_dim, "condition_dim")
        check_parts(encoder, decoder, likelihood, prior, self._posterior_family, self.condition_dim)
        self.objective = Elbo() if objective is None else objective
        if not isinstance(self.objective, Objective):
            raise UsageError(
                f"an objective is one of kvae.objectives, received {objective!r}; build_vae takes "
                "its name"
            )
        self.objective.check(posterior=posterior, prior=prior, likelihood=likelihood)
        self.objective.check_networks(encoder, decoder)
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.prior = likelihood, prior
        self.has_sampler = sampler is not None and sampler is not prior
        self.sampler = sampler if self.has_sampler else prior
        if self.has_sampler:
            sampler.trainable = False
        self.posterior_kind = posterior
        self.shift = as_broadcast("shift", shift, self.element_shape)
        self.scale = as_broadcast("scale", scale, self.element_shape)
        if not (self.scale > 0).all():
            raise UsageError(f"scale must be positive, received {scale!r}")
        self.value_range = read_range(value_range)
        self.seed = read_seed(seed)
        self.prior_started = False
        self.step = _step  # of the model that it shares its weights with
        self.make_figures()
        self.build((None, *self.element_shape))

    def build(self, input_shape):
        """Make all weights; the constructor does it, for x of its `element_shape`."""
        if not self.likelihood.built:
            self.likelihood.build(input_shape)
        for density in (self.prior, self.sampler):
            density.connect(self._posterior_of_pseudo_inputs, self.element_shape)
            if not density.built:
                density.build((None, self.latent_dim))
        if self.step is None:
            # Every training step counts, also one whose gradient is not applied.
            self.step = self.add_weight(
                name="step", shape=(), dtype="int32", initializer="zeros", trainable=False,
                aggregation="only_first_replica",
            )  # fmt: skip
        self.built = True

    def with_sampler(self, sampler):
        """This model, its weights shared, with another density to generate from.

        Args:
            sampler: see the constructor; None: the prior.
        """
        return VAE(
            self.encoder, self.decoder, self.likelihood, self.prior, sampler=sampler,
            objective=self.objective, **self._plain_config(), dtype=self.dtype_policy,
            name=self.name, _step=self.step,
        )  # fmt: skip

    @property
    def element_shape(self):
        """The shape of one x."""
        *places, channels = self.encoder.input_shape[1:]
        return (*places, channels - self.condition_dim)

    @property
    def border(self):
        """What x, conditions and weights it takes, `kvae.border.Border`."""
        return Border(
            self.element_shape, self.condition_dim, self.likelihood.kind, self.value_range
        )

    @property
    def latent_dim(self):
        """The number of dimensions of z."""
        return self.decoder.input_shape[-1] - self.condition_dim

    # The densities

    def posterior(self, x, training=False):
        """q(z given x), for x `(batch, ...)`."""
        x, condition = self._parts(x)
        shift, scale = (keras.ops.convert_to_tensor(part) for part in (self.shift, self.scale))
        seen = beside((x - shift) / scale, condition)
        return self._posterior_of_standardised(seen, training)

    def _posterior_of_standardised(self, x, training=False):
        params = answered(self.encoder, x, training)
        return self._posterior_family.from_params(keras.ops.cast(params, "float32"))

    def _posterior_of_pseudo_inputs(self, x):
        """What a prior asks for; activity losses of the encoder stay those of data."""
        with losses_kept(self.encoder):
            return self._posterior_of_standardised(x)

    def decode(self, z, condition=None, training=False):
        """p(x given z), for z `(batch, latent_dim)`; a distribution in the units of x.

        A conditional model needs a condition `(batch, condition_dim)`; UsageError without one.
        """
        if np.ndim(z) != 2 or z.shape[-1] != self.latent_dim:
            raise UsageError(
                f"z must be of shape (rows, {self.latent_dim}), received {tuple(np.shape(z))}"
            )
        z = beside(z, checked_condition(condition, self.condition_dim))
        params = keras.ops.cast(answered(self.decoder, z, training), "float32")
        distribution = self.likelihood.distribution(params)
        return Affine(distribution, self.shift, self.scale, self.element_shape)

    def draw(self, x, noise, training=False, posterior=None):
        """A draw from the posterior, decoded; arguments as for `elbo_terms`.

        Returns:
            `Drawn`.
        """
        posterior = self.posterior(x, training) if posterior is None else posterior
        x, condition = self._parts(x)
        latent = posterior.draw(noise, "posterior")
        decoded = self.decode(latent.value, condition, training)
        log_prob = decoded.log_prob(x)
        check_of_rows("log_prob of the likelihood's distribution", log_prob, x.shape[0])
        return Drawn(latent, decoded, -log_prob)

    def elbo_terms(self, x, noise, training=False, posterior=None, drawn=None):
        """Distortion and rate at one draw from the posterior.

        Args:
            x: `(batch, ...)`.
            noise: a source of noise for `batch` rows, see `kvae.probability.noise`.
            training: as in Keras.
            posterior: q(z given x), where it is known already.
            drawn: what `draw` gave, where it is known already.

        Returns:
            `ElboTerms`.
        """
        posterior = self.posterior(x, training) if posterior is None else posterior
        drawn = drawn or self.draw(x, noise, training, posterior)
        rate = self.prior.rate(posterior, drawn.latent)
        check_of_rows("the prior's rate", rate, drawn.distortion.shape[0])
        return ElboTerms(drawn.distortion, rate)

    def weight_terms(
        self, x, noise, training=False, posterior=None, densities=None, drawn=None
    ):  # fmt: skip
        """Distortion and rate at one draw, the rate as log q(z given x) - log p(z) at that z.

        Their negative sum is the log-weight. The closed-form rate has no place in one.

        Args:
            x: `(batch, ...)`.
            noise: a source of noise for `batch` rows, see `kvae.probability.noise`.
            training: as in Keras.
            posterior: q(z given x), where it is known already.
            densities: the p(z) to take; None: the prior alone.
            drawn: what `draw` gave, where it is known already.

        Returns:
            `WeightTerms` for each density, all at the same draw.
        """
        drawn = drawn or self.draw(x, noise, training, posterior)
        latent, rows = drawn.latent, drawn.distortion.shape[0]
        return [
            WeightTerms(
                drawn.distortion,
                latent.log_prob
                - check_of_rows("a prior's log_prob", density.log_prob(latent.value), rows),
            )
            for density in densities or (self.prior,)
        ]

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
        """x and its condition or None, both float32, as the border lets them in."""
        x = without_lists(x, is_pair=self.condition_dim > 0)
        self.border.check(x)
        x = as_float(x)
        return (x[0], checked_condition(x[1], self.condition_dim)) if is_pair(x) else (x, None)

    # What a user calls

    def call(self, x, training=False):
        """Reconstruct: the mean of p(x given z) at the posterior's mean, the shape of x."""
        latent = self.posterior(x, training).mean()
        return self.decode(latent, self.condition_of(x), training).mean()

    def encode(self, x):
        """Mean and variance of q(z given x), each `(batch, latent_dim)`."""
        posterior = self.posterior(x)
        return posterior.mean(), posterior.variance()

    def generate(self, count, seed=0, condition=None, row_seeds=None):
        """Images, or vectors with their noise, from latents drawn from the sampler or the prior.

        Args:
            count: how many.
            seed: row i depends on the seed, i and its condition alone; two seeds share no row.
            condition: `(count, condition_dim)`, or `(condition_dim,)` for all; of a conditional
                model.
            row_seeds: `(count,)` integers in place of `seed`, one for each row, as the signature
                `generate` takes them; None: `kvae.probability.noise.row_seeds(seed, count)`.

        Returns:
            `(count, *element_shape)`; means of image pixels may leave [0, 1] a little.

        Raises:
            UsageError: `count` is under 1, there is no condition where one is needed, or not a
                seed for each row.
        """
        if count < 1:
            raise UsageError(f"count must be at least 1, received {count}")
        seeds = hashed_seeds(seed, count) if row_seeds is None else np.asarray(row_seeds)
        if seeds.shape != (count,):
            raise UsageError(f"row_seeds must be of shape ({count},), received {seeds.shape}")
        condition = checked_condition(condition, self.condition_dim, count)
        noise = SeededNoise(seeds)
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
        rows = (first.shape[0], last.shape[0], fraction.shape[0])
        if None not in rows and not (rows[0] == rows[1] and rows[2] in (1, rows[0])):
            raise UsageError(
                "start and end must have as many rows, and fraction as many or one: received "
                f"{rows[0]}, {rows[1]} and {rows[2]}"
            )
        latent = (1.0 - fraction) * first + fraction * last
        condition = None
        if self.condition_dim:
            ends = self.condition_of(start), self.condition_of(end)
            condition = (1.0 - fraction) * ends[0] + fraction * ends[1]
        return self.decode(latent, condition).mean(), latent

    # Saving

    #: Writes it as a SavedModel, (model, folder) -> None: `kvae.build` puts it here, because what
    #: is served stands above the model.
    exporter = None

    def export(self, filepath, format="tf_saved_model", verbose=None, **kwargs):
        """As `keras.Model.export`: a SavedModel of kvae's signatures, and `serve`, as `predict`.

        Args:
            filepath: a new or an empty folder.
            format: "tf_saved_model".
            verbose: not read; nothing is printed.
            **kwargs: none.

        Raises:
            UsageError: another format or option, the folder holds something, or the backend is not
                TensorFlow.
        """
        del verbose
        if format != "tf_saved_model" or any(value is not None for value in kwargs.values()):
            raise UsageError(
                "a VAE is exported with its own signatures, in the format 'tf_saved_model': "
                f"received {format!r} and {kwargs}"
            )
        if self.exporter is None:
            raise UsageError("export needs what writes it: import kvae.build")
        self.exporter(filepath)

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
        plain = self._plain_config()
        plain["shift"], plain["scale"] = self.shift.tolist(), self.scale.tolist()
        return {
            "name": self.name, "dtype": self.dtype_policy.name, **parts, "sampler": sampler, **plain
        }  # fmt: skip

    def _plain_config(self):
        """The constructor's arguments that are neither parts nor Keras's."""
        return {
            "posterior": self.posterior_kind,
            "condition_dim": self.condition_dim,
            "shift": self.shift,
            "scale": self.scale,
            "value_range": self.value_range,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`; files of kvae 0.1 too."""
        restore = keras.saving.deserialize_keras_object
        config = with_objective(config)
        parts = {name: restore(config.get(name), custom_objects) for name in (*_PARTS, "sampler")}
        return cls(**{**config, **parts})

    def load_own_variables(self, store):
        """As Keras's; a file of kvae 0.1 knows no step, and starts at 0."""
        if len(store.keys()):
            super().load_own_variables(store)
