"""A normalising flow fitted by maximum likelihood."""

import math

import keras

from kvae.errors import KvaeError
from kvae.priors.flow import Flow
from kvae.saying import progress, say
from kvae.steps import compiling

_STEPS, _BATCH, _LEARNING_RATE = 4000, 500, 2e-3


def fit(train, valid, *, prior, seed, **own):
    """Fit a flow and keep the weights that find held-out draws likeliest.

    Args:
        train: posterior draws of the train split, `(rows, latent_dim)`, latent_dim at least 2.
        valid: posterior draws of the valid split.
        prior: not needed.
        seed: of the start and the order of rows.
        **own: `num_layers`, `hidden_units` and `num_blocks` of `kvae.priors.flow.Flow`.

    Returns:
        `kvae.priors.flow.Flow`.
    """
    del prior
    flow = Flow(seed=seed, name="sampler", **own)
    flow.build((None, train.shape[1]))
    flow.initialize(train, train)
    steps = -(-len(train) // _BATCH)
    epochs = -(-_STEPS // steps)
    model = _NegativeLogLikelihood(flow)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * steps, alpha=1e-3)
        ),
        **compiling(steps),
    )
    keep_best = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=epochs, restore_best_weights=True
    )
    keras.utils.set_random_seed(seed)
    with progress("flow", epochs, "epochs") as advance:
        counting = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: advance(1))
        history = model.fit(
            train, epochs=epochs, batch_size=_BATCH, verbose=0, validation_data=(valid, None),
            validation_batch_size=5000, callbacks=[keep_best, counting],
        ).history  # fmt: skip
    held_out = -min(history["val_loss"])
    if not math.isfinite(held_out):
        raise KvaeError(f"--sampler flow: its held-out log density is {held_out}")
    say(f"sampler    flow ({held_out:.4f} nats held out)")
    return flow


class _NegativeLogLikelihood(keras.Model):
    """What Keras's own training step minimises: minus the mean log density."""

    def __init__(self, density):
        super().__init__(name="negative_log_likelihood")
        self.density = density

    def call(self, z):
        log_prob = self.density.log_prob(z)
        self.add_loss(-keras.ops.mean(log_prob))
        return log_prob
