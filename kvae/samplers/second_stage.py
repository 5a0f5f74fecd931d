"""A second VAE, of the latents of the first."""

import math

import keras

from kvae.errors import KvaeError
from kvae.likelihoods.gaussian import Gaussian
from kvae.model import VAE
from kvae.networks import mlp
from kvae.objectives.elbo import Elbo
from kvae.priors.second_stage import SecondStage
from kvae.priors.standard_normal import StandardNormal
from kvae.probability.distributions import DiagonalNormal
from kvae.probability.schedules import LinearWarmup
from kvae.probability.streams import generator
from kvae.saying import progress, say
from kvae.steps import compiling

_STEPS, _BATCH, _LEARNING_RATE = 6000, 500, 1e-3
_HIDDEN_UNITS, _WIDE_UNITS = (128, 128), (256, 256)
_WIDE = 8  # latents from which the wider layers are worth their time


def fit(train, valid, *, prior, seed):
    """Train a VAE of the latents, with as many latents of its own and a learned variance.

    Args:
        train: posterior draws of the train split, `(rows, latent_dim)`.
        valid: posterior draws of the valid split.
        prior: not needed.
        seed: of the start, the order of rows and the noise.

    Returns:
        `kvae.priors.second_stage.SecondStage`.

    Raises:
        KvaeError: its ELBO is not finite.

    Source: Dai & Wipf, "Diagnosing and enhancing VAE models", ICLR 2019, section 4.
    """
    del prior
    keras.utils.set_random_seed(seed)
    steps = -(-len(train) // _BATCH)
    epochs = -(-_STEPS // steps)
    # The first VAE has had the numbers of the seed itself.
    own = int(generator(seed, "second stage").integers(2**31))
    vae = _vae_of(train, warmup_steps=epochs * steps // 5, seed=own)
    vae.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * steps, alpha=1e-3)
        ),
        **compiling(steps),
    )
    with progress("second-stage", epochs, "epochs") as advance:
        counting = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: advance(1))
        history = vae.fit(
            train, epochs=epochs, batch_size=_BATCH, verbose=0, validation_data=(valid, None),
            validation_batch_size=5000, validation_freq=epochs, callbacks=[counting],
        ).history  # fmt: skip
    elbo = history["val_elbo"][-1]
    if not math.isfinite(elbo):
        raise KvaeError(f"--sampler second-stage: its ELBO is {elbo}")
    mean = keras.ops.convert_to_numpy(vae.encode(valid)[0])
    # Right where the latents are normal to begin with, a warning where they are not.
    note = "; collapsed: it is a normal distribution" if mean.var(axis=0).max() < 0.01 else ""
    say(f"sampler    second-stage (ELBO {elbo:.4f} nats held out{note})")
    return SecondStage(vae, name="sampler")


def _vae_of(latents, warmup_steps, seed):
    dim = latents.shape[1]
    layers = {
        "hidden_units": _WIDE_UNITS if dim > _WIDE else _HIDDEN_UNITS,
        "linear_path": True,
        "dtype": "float32",
    }
    likelihood = Gaussian("shared")
    return VAE(
        mlp.encoder((dim,), dim, DiagonalNormal.num_params(dim), **layers),
        mlp.decoder(dim, (dim,), likelihood.num_outputs(dim), **layers),
        likelihood, StandardNormal(), objective=Elbo(LinearWarmup(1.0, max(1, warmup_steps))),
        shift=latents.mean(axis=0), scale=latents.std(axis=0) + 1e-6, seed=seed,
    )  # fmt: skip
