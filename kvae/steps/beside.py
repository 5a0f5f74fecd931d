"""What the data set in a model beside gradients: where its prior starts, its variance "optimal"."""

import warnings

import keras
import numpy as np

from kvae.border import without_lists
from kvae.data.conditions import Conditioned
from kvae.data.rows import in_parts, rows_at_once
from kvae.inputs import as_float, rows_of
from kvae.probability.noise import StepNoise
from kvae.probability.streams import generator


class BesideGradients:
    """A part of `kvae.VAE`."""

    def start_prior(self, x):
        """Start a mixture, a VampPrior or a flow where the encoder puts data, before training.

        Else they start as if latents were standard normal and x about 0. A standard normal prior
        has nothing to start.

        Args:
            x: some rows as an array, uint8 or float32; of a conditional model a pair with their
                conditions.

        Returns:
            Whether it did: not of fewer rows than the prior has components or z dimensions, where
            components would share their rows; a warning says so.

        Raises:
            UsageError: rows that `fit` would refuse.
        """
        x = without_lists(x, is_pair=self.condition_dim > 0)
        self.border.check(x)
        count, wanted = len(rows_of(x)), max(self.prior.rows_to_start, self.latent_dim)
        if count < wanted and self.prior.has_start:
            warnings.warn(
                f"the prior does not start at the data: {count} rows are too few for one of "
                f"{self.prior.rows_to_start} components in {self.latent_dim} dimensions, which "
                f"starts better by itself; at least {wanted} are wanted",
                stacklevel=2,
            )
            return False
        if isinstance(x, tuple):
            x = Conditioned(*(np.asarray(part) for part in x))
        as_numpy = keras.ops.convert_to_numpy
        # Draws, not means: what the prior is to be like has the width of the posteriors too.
        seed = int(generator(self.seed, "prior start draws").integers(2**63))
        latents, seen = [], 0
        for part in in_parts(x, rows_at_once(x)):
            noise = StepNoise.validation(seed, np.arange(seen, seen + len(part), dtype="int32"))
            latents.append(as_numpy(self.posterior(part).sample(noise, "posterior")))
            seen += len(part)
        standardised = (as_numpy(as_float(np.asarray(x))) - self.shift) / self.scale
        self.prior.initialize(np.concatenate(latents), standardised)
        self.prior_started = True
        return True

    def in_decoder_units(self, distortion):
        """The distortion of x after `shift` and `scale`."""
        log_scale = np.log(np.broadcast_to(self.scale, self.element_shape), dtype="float64")
        return distortion - float(log_scale.sum())

    def calibrate(self, batches):
        """Set the variance "optimal" to its maximum-likelihood value; others are left alone.

        `fit` does so at its end, over the data that it was given.

        Args:
            batches: of x, or of pairs; one draw from the posterior of each row is taken.

        Raises:
            UsageError: rows that `fit` would refuse.
        """
        self.calibrate_weighed((x, None) for x in batches)

    def calibrate_weighed(self, batches):
        """As `calibrate`, of pairs of x and the weights of its rows, None: 1."""
        if not getattr(self.likelihood, "is_updated", False):
            return
        seed = int(generator(self.seed, "calibration").integers(2**63))
        error = self.compile_function(
            lambda x, rows, weight: self._squared_error(x, StepNoise.validation(seed, rows), weight)
        )
        total, count, seen = 0.0, 0.0, 0
        for x, weight in batches:
            x = without_lists(x, is_pair=self.condition_dim > 0)
            self.border.check(x)
            x = as_float(x)
            rows = len(rows_of(x))
            weight = np.ones(rows) if weight is None else np.asarray(weight, "float64").reshape(-1)
            places = np.arange(seen, seen + rows, dtype="int32")
            seen += rows
            if weight.sum():
                total += weight.sum() * float(error(x, places, weight.astype("float32")))
                count += weight.sum()
        if count and np.isfinite(total):  # else an overflow in half precision would stay
            self.likelihood.mean_squared_error.assign([total / count])

    def _squared_error(self, x, noise, weight):
        distortion = self.in_decoder_units(self.elbo_terms(x, noise).distortion)
        return self.likelihood.mean_squared_error_of(distortion, weight)
