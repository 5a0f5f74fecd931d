"""The importance-weighted bound."""

import math

import keras

from kvae.errors import UsageError
from kvae.inputs import as_float, repeat_rows, rows_of
from kvae.networks.activity import losses_of_calls
from kvae.objectives import DREG, IWAE_GRADIENT, PLAIN, check_iwae
from kvae.objectives.base import Objective, Outcome
from kvae.probability.distributions import Draw
from kvae.terms import Drawn

_ACTIVITY = (
    "the gradient 'dreg' weighs what each draw says to the encoder, and would weigh the losses of "
    "what a decoder computes (activity_regularizer, add_loss) too: it does not go with them, the "
    "gradient 'plain' does"
)
_RANDOM = "seed_generator"  # Keras's random layers have one


@keras.saving.register_keras_serializable(package="kvae")
class Iwae(Objective):
    """Minus the bound of several draws a row: the log of the mean of their weights.

    Its gradient by the encoder is "plain", that of the loss as it stands, or "dreg", doubly
    reparametrised. Both have the same mean, and are the same by what p(x, z) is made of (decoder,
    likelihood, prior; of a VampPrior the encoder as far as it is a part of it): the mean of the
    gradients of log p(x, z) under the draws' normalised weights w. By the posterior's parameters
    "dreg" is the sum of w^2 times the gradient of log w through z alone, not through the density
    log q at a fixed z, whose part is 0 in the mean but not in a draw. With one draw w is 1: the
    path derivative of the ELBO ("sticking the landing"), which is 0 where q is the true posterior;
    "plain" has the score of q beside it. Where `training` is false the gradient is the plain one.

    The two passes of "dreg" must agree, and draws not touch one another: it goes neither with batch
    normalisation nor with a decoder of random layers, or of losses of what it computes.

    Args:
        draws: a row, at least 1.
        gradient: "plain" or "dreg", which takes one more pass through decoder and prior.

    Raises:
        UsageError: fewer draws, or another gradient.

    Sources: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, equation 8; Tucker, Lawson, Gu,
    Maddison, arXiv:1810.04152, equation 6; for one draw Roeder, Wu, Duvenaud, arXiv:1703.09194.
    """

    kind = "iwae"

    def __init__(self, draws=8, gradient=PLAIN):
        if draws != int(draws) or draws < 1:
            raise UsageError(f"draws must be a whole number of at least 1, received {draws}")
        self.draws = int(draws)
        self.gradient = IWAE_GRADIENT.read(gradient, "gradient")

    def check(self, *, posterior, prior, likelihood):
        """See `Objective.check`."""
        del posterior, prior
        check_iwae(updates_variance=getattr(likelihood, "is_updated", False))

    def check_networks(self, encoder, decoder):
        """See `Objective.check_networks`."""
        if self.gradient != DREG:
            return
        inner = [*encoder._flatten_layers(), *decoder._flatten_layers()]
        by_batch = any(isinstance(one, keras.layers.BatchNormalization) for one in inner)
        check_iwae(updates_variance=False, normalises_by_batch=by_batch, iwae_gradient=DREG)
        if any(one.activity_regularizer is not None for one in decoder._flatten_layers()):
            raise UsageError(_ACTIVITY)
        # The pass that weighs the draws and the one that is weighed would draw apart.
        if drawn := [one.name for one in decoder._flatten_layers() if hasattr(one, _RANDOM)]:
            raise UsageError(
                "the gradient 'dreg' takes two passes through the decoder, which must be the same: "
                "it does not go with layers that draw at random, the gradient 'plain' does; "
                f"received {', '.join(drawn[:5])}"
            )

    def __call__(self, model, x, noise, step, training=False):
        """See `Objective`."""
        del step
        x = as_float(x)
        posterior = model.posterior(x, training).repeat(self.draws)
        copies = repeat_rows(x, self.draws)
        if training and self.gradient == DREG:
            return self._doubly_reparametrised(model, copies, noise, posterior)
        drawn = model.draw(copies, noise, training, posterior)
        terms = model.weight_terms(copies, noise, training, posterior, drawn=drawn)[0]
        return self._outcome(terms, drawn, self._loss(self._by_row(terms.log_weight)))

    def _doubly_reparametrised(self, model, copies, noise, posterior):
        ops, stopped = keras.ops, keras.ops.stop_gradient
        # The density of q at z, which passes on what z gets, and nothing to its own parameters.
        fixed = type(posterior)(*map(stopped, posterior._tensors()))
        # The weights are wanted before the pass that they weigh.
        first = model.weight_terms(copies, noise, True, fixed)[0].log_weight
        first = stopped(self._by_row(first))
        weights = ops.exp(first - ops.logsumexp(first, axis=1, keepdims=True))
        z = posterior.draw(noise, "posterior").value
        # The same z, which passes a share w of its gradient on to the encoder.
        z = stopped(z) + ops.reshape(weights, (-1, 1)) * (z - stopped(z))
        decoded = model.decode(z, model.condition_of(copies), True)
        distortion = -decoded.log_prob(rows_of(copies))
        drawn = Drawn(Draw(z, fixed.log_prob(z)), decoded, distortion)
        terms = model.weight_terms(copies, noise, True, posterior, drawn=drawn)[0]
        if losses_of_calls(model.decoder):
            raise UsageError(_ACTIVITY)
        weighed = -ops.sum(weights * self._by_row(terms.log_weight), axis=1)
        # The value of the bound, the gradient of the weighed sum.
        return self._outcome(terms, drawn, self._loss(first) + (weighed - stopped(weighed)))

    def _by_row(self, log_weight):
        return keras.ops.reshape(log_weight, (-1, self.draws))

    def _loss(self, log_weight):
        return math.log(self.draws) - keras.ops.logsumexp(log_weight, axis=1)

    def _outcome(self, terms, drawn, loss):
        return Outcome(loss, terms.log_weight, terms.distortion, terms.rate, {}, drawn.decoded)

    def get_config(self):
        """Arguments of the constructor; of a plain gradient those of older files."""
        gradient = {} if self.gradient == PLAIN else {"gradient": self.gradient}
        return {"draws": self.draws, **gradient}
