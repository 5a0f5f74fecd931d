"""What can be added to `fit` of a VAE beside Keras's own callbacks."""

import math

import keras
import numpy as np

from kvae.data.conditions import Conditioned
from kvae.data.rows import joined, random_rows, rows_at_once, slices
from kvae.errors import UsageError
from kvae.evaluation import doctor
from kvae.inputs import as_float
from kvae.metrics.latents import (
    active_fraction,
    active_units,
    aggregate_metrics,
    rate_per_dim,
)
from kvae.metrics.likelihood import mean_and_stderr
from kvae.metrics.reconstruction import psnr_of, row_errors
from kvae.model import VAE
from kvae.objectives.elbo import Elbo
from kvae.probability.noise import SeededNoise
from kvae.probability.streams import generator

MAX_ROWS = 500


class Doctor(keras.callbacks.Callback):
    """Says what looks wrong with a VAE when its training ends, see `kvae.evaluation.doctor`.

    `vae.fit(x, epochs=20, callbacks=[Doctor(x_valid)])` prints it. The figures of each epoch are
    those of the training; rows that it does not see give the rest. A callback that restores the
    best weights at the end belongs before this one.

    Args:
        x: an array of rows, as `fit` takes them, of a conditional model a pair (x, condition); 500
            random ones of them at most are used. None: only the history is looked at.
        every_epochs: how often to look before the end, in epochs; 0: never.
        seed: of the choice of rows and of the posterior draws.

    Attributes:
        findings: `kvae.evaluation.doctor.Diagnosis` of the last look; empty before.
        metrics: the numbers of the last look, named as `kvae.evaluation.doctor.diagnose` reads
            them.

    Raises:
        UsageError: `x` is no array of rows, or `every_epochs` is negative. When training begins:
            the model is no VAE, or does not take `x`.
    """

    def __init__(self, x=None, *, every_epochs=0, seed=0):
        super().__init__()
        if every_epochs < 0:
            raise UsageError(f"every_epochs must be at least 0, received {every_epochs}")
        self._x = None if x is None else _some_rows(x, seed)
        self._every_epochs, self._seed = every_epochs, seed
        self._history, self._first_step, self._last_step = {}, 0, 0
        self.findings, self.metrics = doctor.Diagnosis([], []), {}

    def set_model(self, model):
        """Take the model; Keras does so before training."""
        if not isinstance(model, VAE):
            raise UsageError(f"Doctor is for a kvae.VAE, received {type(model).__name__}")
        if self._x is not None:
            model.border.check(self._x)
        super().set_model(model)

    def on_train_begin(self, logs=None):
        """Begin a history."""
        self._history, self._first_step = {}, self.model.num_steps

    def on_epoch_end(self, epoch, logs=None):
        """Go on with the history; look if it is time to."""
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._last_step = self.model.num_steps  # what restores weights at the end turns it back
        epochs = self.params["epochs"]
        if self._every_epochs and (epoch + 1) % self._every_epochs == 0 and epoch + 1 < epochs:
            self._look(epochs)

    def on_train_end(self, logs=None):
        """Look at all of it."""
        self._look(self._epochs())

    def _look(self, epochs):
        """Measure, diagnose and print, of a run of that many epochs."""
        self.metrics = {} if self._x is None else measure(self.model, self._x, self._seed)
        steps = (self._last_step - self._first_step) / max(1, self._epochs())
        config = _config_of(self.model, self._first_step, steps) | {"epochs": epochs}
        self.findings = doctor.diagnose(self.metrics, config=config, history=self._history)
        print(f"\n\ndoctor, after epoch {self._epochs()} (options are those of train.py)")
        print(doctor.report(self.findings), flush=True)

    def _epochs(self):
        return max((len(values) for values in self._history.values()), default=0)


def _some_rows(x, seed):
    if isinstance(x, tuple) and len(x) == 2:
        x = Conditioned(*(np.asarray(part) for part in x))
    elif not isinstance(x, Conditioned):
        x = np.asarray(x)
    if x.dtype.kind not in "buif" or x.ndim not in (2, 4) or len(x) < 2:
        raise UsageError(
            "Doctor takes an array of at least 2 rows, (rows, features) or (rows, height, width, "
            f"channels): received shape {x.shape} of {x.dtype}"
        )
    return x[random_rows(len(x), MAX_ROWS, generator(seed, "doctor rows"))]


def _config_of(vae, first_step, steps):
    """What of `kvae.config.Config` a model tells; `steps` to an epoch."""
    config = {
        "network": "mlp" if len(vae.element_shape) == 1 else None,
        "latent_dim": vae.latent_dim,
        "likelihood": vae.likelihood.kind,
        "variance": getattr(vae.likelihood, "variance", None),
        "posterior": vae.posterior_kind,
        "prior": vae.prior.kind,
        "objective": vae.objective.kind,
        "mixed_precision": "off" if vae.dtype_policy.name == "float32" else vae.dtype_policy.name,
    }
    optimizer = vae.optimizer
    while hasattr(optimizer, "inner_optimizer"):  # of half precision, which scales the loss
        optimizer = optimizer.inner_optimizer
    rate = optimizer.get_config().get("learning_rate")
    if isinstance(rate, float):
        config |= {"learning_rate": rate, "optimizer": type(optimizer).__name__.lower()}
    if isinstance(vae.objective, Elbo):
        config |= {"free_bits": vae.objective.free_bits, "tc_weight": vae.objective.tc_weight}
        config |= weight_of_rate(vae.objective, first_step, steps)
    return config


def weight_of_rate(objective, first_step, steps):
    """What a configuration says of beta in a run of a model.

    Args:
        objective: an `Elbo`.
        first_step: the steps that the model had taken before the run.
        steps: of an epoch.

    Returns:
        Option -> value: `beta`, the number that it is or rises to, where that is known, and of a
        schedule its epochs, `kl_warmup_epochs` or `kl_cycle_epochs`.
    """
    beta, first_step, steps = objective.beta, first_step - objective.first_step, max(1.0, steps)
    if not callable(beta):
        return {"beta": beta}
    config = {"beta": beta.target} if hasattr(beta, "target") else {}
    if hasattr(beta, "warmup_steps"):
        left = max(0, beta.warmup_steps - first_step)
        return {**config, "kl_warmup_epochs": math.ceil(left / steps)}
    # Of a schedule that is not known it is safe to say that it comes and goes.
    cycle = getattr(beta, "cycle_steps", 1)
    return {**config, "kl_cycle_epochs": math.ceil(cycle / steps)}


def measure(vae, x, seed=0):
    """The metrics that `kvae.evaluation.doctor` reads, as far as some rows give them in seconds.

    Args:
        vae: a `VAE`.
        x: a few hundred rows: an array, or of a conditional model a
            `kvae.data.conditions.Conditioned`.
        seed: of the posterior draws.

    Returns:
        Metrics by name; `rms_x` and `{"elbo_nats_prior": nan}` alone where the model gives what is
        not finite.
    """
    size = {"rms_x": size_of(vae, x)}
    seeds = generator(seed, "doctor draws").integers(2**63, size=len(x))
    parts = [_measure_rows(vae, x[rows], seeds[rows]) for rows in slices(len(x), rows_at_once(x))]
    found = joined(parts)
    if not all(np.isfinite(values).all() for values in found.values()):
        return {"elbo_nats_prior": math.nan, **size}
    mean, variance = found["mean"], found["variance"]
    elbo, stderr = mean_and_stderr(-(found["distortion"] + found["rate"]), "the ELBO")
    metrics = {
        "elbo_nats_prior": elbo,
        "elbo_nats_prior_stderr": stderr,
        "rate_nats_prior": float(found["rate"].mean()),
        "distortion_nats_posterior": float(found["distortion"].mean()),
        "latent_dim": vae.latent_dim,
        "active_units_posterior": active_units(mean, variance),
        "active_fraction_per_dim_posterior": active_fraction(mean, variance).tolist(),
    }
    metrics |= size
    if vae.posterior_kind == "diagonal" and variance.min() > 0:
        normal = vae.prior.kind == "standard_normal"
        metrics |= aggregate_metrics(
            mean, variance, found["draw"], standard_normal_prior=normal, seed=seed
        )
        if normal:
            metrics["rate_per_dim_nats_prior"] = rate_per_dim(mean, variance).tolist()
    if vae.likelihood.kind == "gaussian":
        believed, true = found["believed_error"].mean(), found["squared_error"].mean()
        if true:
            metrics["variance_ratio_draw"] = float(believed / true)
    plain = keras.ops.convert_to_numpy(as_float(np.asarray(x)))
    mse = row_errors(plain, found["reconstruction"], images=False)["mse"]
    metrics["mse_reconstruction"] = float(mse.mean())
    if x.ndim == 4:
        constant = np.broadcast_to(plain.mean(0), plain.shape)
        constant_mse = row_errors(plain, constant, images=False)["mse"]
        # A row is nearer to a mean that it is a part of: as if it were left out.
        constant_mse *= (len(x) / max(1, len(x) - 1)) ** 2
        # Of images of any numbers the peak is how far apart they lie.
        peak = 1.0 if vae.value_range else float(np.ptp(plain)) or 1.0
        metrics["psnr_db_reconstruction"] = float(psnr_of(mse / peak**2).mean())
        metrics["psnr_db_mean_image"] = float(psnr_of(constant_mse / peak**2).mean())
    return metrics


def size_of(vae, x):
    """The root mean square of x as the networks of a model see it.

    Args:
        vae: a `VAE`.
        x: rows, as its `fit` takes them.
    """
    x = keras.ops.convert_to_numpy(as_float(np.asarray(x))).astype(np.float64)
    return float(np.sqrt(np.square((x - vae.shift) / vae.scale).mean()))


def _measure_rows(vae, x, seeds):
    """What each row gives, at one draw from its posterior, `(rows, ...)`."""
    posterior = vae.posterior(x)
    noise = SeededNoise(seeds)
    terms = vae.elbo_terms(x, noise, posterior=posterior)
    draw = posterior.draw(noise, "posterior").value
    decoded = vae.decode(draw, vae.condition_of(x))
    as_numpy = keras.ops.convert_to_numpy
    # In the decoder's units: features of a table may differ in theirs by any factor.
    error = as_numpy(decoded.mean() - as_float(np.asarray(x))).astype(np.float64)
    error = (error / vae.scale) ** 2
    found = {
        "mean": posterior.mean(),
        "variance": posterior.variance(),
        "draw": draw,
        "distortion": terms.distortion,
        "rate": terms.rate,
        "squared_error": error.reshape(len(x), -1).mean(1),
        "reconstruction": vae(as_float(x)),
    }
    if vae.likelihood.kind == "gaussian":  # those of levels take as long as all the rest
        believed = as_numpy(decoded.variance()).astype(np.float64)
        believed = believed / np.float64(vae.scale) ** 2
        believed = np.broadcast_to(believed, error.shape)
        found["believed_error"] = believed.reshape(len(x), -1).mean(1)
    return {name: as_numpy(values) for name, values in found.items()}
