"""What is known of one model, and what a check says of it."""

import math
from typing import NamedTuple

import numpy as np

from kvae.objectives import raises_elbo

#: Features that samples are compared by, in the order of trust: the first one measured counts.
FEATURES = ("fid_keras_inception", "frechet_inception", "frechet_attributes", "frechet_pca")
FEW_EPOCHS = 5  # not enough to see from the figures whether they have settled


class MissingError(Exception):
    """A number that a check needs is not there."""


class Told(NamedTuple):
    """A finding whose problem is known from its check."""

    sure: str
    evidence: str
    advice: str


class Case:
    """What is known of one model; asking for what is not known ends the check."""

    def __init__(self, metrics, config, history):
        self.metrics, self.config, self.history = metrics, config, history

    def number(self, name):
        """A metric, finite."""
        value = self.metrics.get(name)
        if value is None or not math.isfinite(value):
            raise MissingError
        return float(value)

    def numbers(self, name):
        """A metric of each latent dimension, `(latent_dim,)`, finite."""
        values = np.asarray(self.metrics.get(name, ()), np.float64)
        if not values.size or not np.isfinite(values).all():
            raise MissingError
        return values

    def known(self, *names):
        """Those of the metrics that are there, by name; at least one."""
        found = {}
        for name in names:
            try:
                found[name] = self.number(name)
            except MissingError:
                continue
        if not found:
            raise MissingError
        return found

    def option(self, name, default=None):
        """An option of the run."""
        value = self.config.get(name)
        return default if value is None else value

    def epochs(self):
        """How many were run, or else asked for."""
        done = max((len(values) for values in self.history.values()), default=0)
        return done or self.option("epochs", 0)

    def goal(self, prefix=""):
        """What training raised, of each epoch from the end of the warm-up on, nats.

        The ELBO, or minus the loss where that is something else. Within a warm-up or cycles of
        beta neither says how training goes.
        """
        if self.option("kl_cycle_epochs"):
            raise MissingError
        name = f"{prefix}elbo"
        if raises_elbo(self.config) and name in self.history:
            values = np.asarray(self.history[name], np.float64)
        else:
            values = -np.asarray(self.history.get(f"{prefix}loss", ()), np.float64)
        values = values[self.option("kl_warmup_epochs", 0) :]
        if len(values) < FEW_EPOCHS or not np.isfinite(values).all():
            raise MissingError
        return values

    def held_out_goal(self):
        """The goal on the valid split, or where there is none on the train split."""
        try:
            return self.goal("val_"), "validation"
        except MissingError:
            return self.goal(), "training"

    def frechet(self, *kinds):
        """The distances of the first feature that has all of them."""
        for feature in FEATURES:
            try:
                return feature, [self.number(f"{feature}_{kind}") for kind in kinds]
            except MissingError:
                continue
        raise MissingError

    def floor(self, feature):
        """How far other data are from the test rows: chance alone puts samples that far."""
        value = self.metrics.get(f"{feature}_floor")
        return value if value is not None and math.isfinite(value) else 0.0

    def density(self):
        """What `generate` draws from, "prior" or "sampler"."""
        return "prior" if self.fitted_sampler() == "none" else "sampler"

    def of_samples(self, name):
        """A metric of the samples that `generate` gives."""
        return self.number(f"{name}_{self.density()}")

    def fitted_sampler(self):
        """The sampler that the model has, or was to have; "none"."""
        fitted = self.metrics.get("sampler") or self.metrics.get("protocol", {}).get("sampler")
        return fitted or self.option("sampler", "none")


def figure(value):
    """A number as evidence quotes it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
