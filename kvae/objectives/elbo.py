"""The evidence lower bound, and what is weighed otherwise within it."""

import keras

from kvae.objectives import BETA, FREE_BITS, TC_WEIGHT, check_elbo, check_schedules
from kvae.objectives.base import Objective, Outcome
from kvae.objectives.regularisers import free_bits_rate, total_correlation
from kvae.probability.schedules import Cyclical, LinearWarmup


@keras.saving.register_keras_serializable(package="kvae")
class Elbo(Objective):
    """Distortion + beta * rate; with beta 1 and nothing else minus the ELBO.

    Args:
        beta: weight of the rate: a number, or a function of the step
            (`kvae.probability.schedules`).
        free_bits: nats that each latent dimension may carry for nothing; 0: none. For a diagonal
            posterior and a standard normal prior.
        tc_weight: weight of the total correlation within the rate; 1: the ELBO's. For a diagonal
            posterior, a standard normal prior, and batches of 512 rows or more: see
            `kvae.objectives.regularisers.total_correlation`.
        first_step: the step of the model at which the schedule of beta begins.
    """

    kind = "elbo"

    def __init__(self, beta=1.0, free_bits=0.0, tc_weight=1.0, first_step=0):
        self.beta = beta if callable(beta) else BETA.read(beta, "beta")
        self.first_step = int(first_step)
        self.free_bits = FREE_BITS.read(free_bits, "free_bits")
        self.tc_weight = TC_WEIGHT.read(tc_weight, "tc_weight")

    @classmethod
    def make(cls, beta, kl_warmup_steps, kl_cycle_steps, free_bits, tc_weight):
        """Of the options of "elbo", see `kvae.objectives.OBJECTIVES`."""
        check_schedules(kl_warmup_steps, kl_cycle_steps, "kl_warmup_steps", "kl_cycle_steps")
        if kl_warmup_steps:
            beta = LinearWarmup(beta, kl_warmup_steps)
        elif kl_cycle_steps:
            beta = Cyclical(beta, kl_cycle_steps)
        return cls(beta, free_bits, tc_weight)

    @property
    def estimates(self):
        """The total correlation, where it has a weight of its own."""
        return ("total_correlation",) if self.tc_weight != 1 else ()

    @property
    def compares_rows(self):
        """Free bits do, by the mean of a batch, and the total correlation, by all its pairs."""
        return self.free_bits > 0 or self.tc_weight != 1

    def check(self, *, posterior, prior, likelihood):
        """See `Objective.check`."""
        del likelihood
        check_elbo(
            posterior=posterior, prior=prior.kind, free_bits=self.free_bits,
            tc_weight=self.tc_weight,
        )  # fmt: skip

    def __call__(self, model, x, noise, step, training=False):
        """See `Objective`."""
        posterior = model.posterior(x, training)
        drawn = model.draw(x, noise, training, posterior)
        terms = model.elbo_terms(x, noise, training, posterior, drawn)
        rate, estimates = terms.rate, {}
        if self.free_bits:
            rate = free_bits_rate(posterior, self.free_bits)
        if self.tc_weight != 1:
            estimate = total_correlation(posterior, posterior.draw(noise, "posterior").value)
            rate, estimates = (
                rate + (self.tc_weight - 1.0) * estimate, {"total_correlation": estimate}
            )  # fmt: skip
        beta = self.beta
        if callable(beta):
            beta = beta(keras.ops.maximum(step - self.first_step, 0))
        loss = terms.distortion + beta * rate
        return Outcome(loss, terms.elbo, terms.distortion, terms.rate, estimates, drawn.decoded)

    def get_config(self):
        """Arguments of the constructor."""
        beta = keras.saving.serialize_keras_object(self.beta)
        return {
            "beta": beta, "free_bits": self.free_bits, "tc_weight": self.tc_weight,
            "first_step": self.first_step,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        beta = keras.saving.deserialize_keras_object(config["beta"])
        return cls(**{**config, "beta": beta})
