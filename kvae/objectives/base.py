"""What every objective gives."""

from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """An objective at a batch.

    Args:
        loss: what training lowers, `(batch,)`, nats.
        elbo: one draw's estimate of it, `(batch * draws,)`, nats.
        distortion: -log p(x given z) at the draw, likewise.
        rate: KL(posterior, prior), or its estimate at the draw, likewise.
        estimates: further figures by name, `(batch,)`.
        decoded: p(x given z) at the draws, a distribution; metrics of `compile` see its mean.
    """

    loss: Any
    elbo: Any
    distortion: Any
    rate: Any
    estimates: dict[str, Any]
    decoded: Any = None


class Objective:
    """A loss of a model and a batch; a subclass is a Keras serializable with `get_config`.

    Attributes:
        kind: its name among the objectives.
        draws: from the posterior that it takes of a row.
        estimates: names of the further figures that it gives.
        compares_rows: whether the loss of a row depends on the batch around it.
    """

    kind: str
    draws = 1
    estimates: tuple[str, ...] = ()
    compares_rows = False

    def __call__(self, model, x, noise, step, training=False):
        """The loss and its parts.

        Args:
            model: a `kvae.VAE`.
            x: `(batch, ...)`, or a pair with its condition.
            noise: a source of noise for `batch * draws` rows, the draws of a row in succession;
                equal calls must give equal numbers.
            step: training steps taken before this one, an integer scalar.
            training: as in Keras.

        Returns:
            `Outcome`.
        """
        raise NotImplementedError

    @classmethod
    def make(cls, **own):
        """Of the options that its member declares; the default hands them to the constructor."""
        return cls(**own)

    def check(self, *, posterior, prior, likelihood):
        """Refuse parts that it has no formula for: UsageError.

        Args:
            posterior: a key of `kvae.probability.posteriors.POSTERIORS`.
            prior: a layer of `kvae.priors`.
            likelihood: a layer of `kvae.likelihoods`.
        """

    def check_networks(self, encoder, decoder):
        """Refuse networks that it does not go with: UsageError.

        Args:
            encoder: a Keras model, see `kvae.VAE`.
            decoder: likewise.
        """

    def get_config(self):
        """Arguments of the constructor."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)
