"""The importance-weighted bound."""

import math

import keras

from kvae.errors import UsageError
from kvae.inputs import as_float, repeat_rows
from kvae.objectives import check_iwae
from kvae.objectives.base import Objective, Outcome


@keras.saving.register_keras_serializable(package="kvae")
class Iwae(Objective):
    """Minus the bound of several draws a row: the log of the mean of their weights.

    Args:
        draws: a row, at least 1.

    Raises:
        UsageError: fewer draws.

    Source: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, equation 8.
    """

    kind = "iwae"

    def __init__(self, draws=8):
        if draws != int(draws) or draws < 1:
            raise UsageError(f"draws must be a whole number of at least 1, received {draws}")
        self.draws = int(draws)

    def check(self, *, posterior, prior, likelihood):
        """See `Objective.check`."""
        del posterior, prior
        check_iwae(updates_variance=getattr(likelihood, "is_updated", False))

    def __call__(self, model, x, noise, step, training=False):
        """See `Objective`."""
        del step
        x = as_float(x)
        posterior = model.posterior(x, training).repeat(self.draws)
        copies = repeat_rows(x, self.draws)
        drawn = model.draw(copies, noise, training, posterior)
        terms = model.weight_terms(copies, noise, training, posterior, drawn=drawn)[0]
        log_weight = keras.ops.reshape(terms.log_weight, (-1, self.draws))
        loss = math.log(self.draws) - keras.ops.logsumexp(log_weight, axis=1)
        return Outcome(loss, terms.log_weight, terms.distortion, terms.rate, {}, drawn.decoded)

    def get_config(self):
        """Arguments of the constructor."""
        return {"draws": self.draws}
