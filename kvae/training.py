"""A training run, from a configuration to a published version."""

import fcntl
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf

from kvae import data, doctor, publish, runs
from kvae.build import build_vae, load_model
from kvae.callbacks import MAX_ROWS, measure
from kvae.config import NO_SAMPLER, Config, raises_elbo
from kvae.data import MIN_SPLIT_ROWS
from kvae.data.conditions import Conditioned, Conditions, conditioned, conditions_of
from kvae.data.pipeline import batches, shuffled_batches
from kvae.data.rows import in_parts, random_rows, some_of
from kvae.directions import Directions, fit_directions
from kvae.errors import DataError, KvaeError, UsageError
from kvae.model import VAE, as_float
from kvae.precision import choose_policy
from kvae.preflight import check_values, latent_dim, load, outline
from kvae.sampler_fitting import some_rows, with_sampler
from kvae.streams import generator

BEST_WEIGHTS = "best.weights.h5"
_VALID_BATCH = {"vectors": 5000, "images": 250}
_FEW_STEPS = 1000
_MANY_ROWS = 512  # log of it are the nats that an estimate of the total correlation can tell apart
_MAX_LABELLED = 20_000
_LEAST_ROWS, _GLANCE_WEIGHTS = 20, 150_000_000  # of the doctor's look at one split
_ROWS_AT_ONCE = 250


class TrainingError(KvaeError):
    """Training went wrong in a way that no file or option shows beforehand."""


class Fitted(NamedTuple):
    """What training leaves behind.

    Args:
        vae: with the best weights.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes in latent space, where the data have such labels.
        conditions: the columns of a conditional model's condition.
        dataset: its rows as the model takes them.
    """

    vae: VAE
    card: dict[str, Any]
    history: dict[str, list[float]]
    directions: Directions | None = None
    conditions: Conditions = Conditions()
    dataset: data.Dataset | None = None


def train(config: Config, dataset: data.Dataset | None = None) -> runs.Version:
    """Train, publish the best weights as the next version, and print what the doctor says of them.

    Args:
        config: all options; `kvae.preflight.check` finds most faults sooner.
        dataset: what `kvae.preflight.load` gave; None: it is called.

    Returns:
        The published version.

    Raises:
        UsageError: an option is wrong, or the repository cannot be written.
        DataError: the dataset cannot be read.
        TrainingError: the loss stopped being finite.
    """
    with _run_folder(config) as folder, _telling_of(folder / BEST_WEIGHTS):
        fitted = fit(config, folder, dataset)
        version = publish.publish(
            fitted.vae, config.save, config.name,
            config=asdict(config), card=fitted.card, history=fitted.history,
            directions=fitted.directions,
            condition=fitted.conditions.to_json() if fitted.conditions.dim else None,
        )  # fmt: skip
        (folder / BEST_WEIGHTS).unlink(missing_ok=True)
    print(f"\npublished {version.path}", flush=True)
    _consult(config, fitted)
    print(f"next:     python evaluate.py --model {version.path}")
    return version


def fit(config: Config, folder: Path, dataset: data.Dataset | None = None) -> Fitted:
    """Train and keep the weights that were best on the valid split.

    Args:
        config: all options.
        folder: where best weights and history.csv are kept meanwhile.
        dataset: see `train`.

    Raises:
        As `train`.
    """
    policy, reason = choose_policy(config.mixed_precision)
    dataset = load(config) if dataset is None else dataset
    conditions = conditions_of(dataset, config.condition)
    dataset = conditioned(dataset, conditions)
    _check_conditions(config.init_from, conditions)
    vae = _build(config, dataset, policy)
    _announce(config, dataset, vae, f"{policy}: {reason}")
    history = _fit(config, dataset, vae, folder)
    vae = with_sampler(vae, config.sampler, dataset, seed=config.seed)
    directions = _directions(vae, dataset, config)
    return Fitted(vae, dataset.card, history, directions, conditions, dataset)


def _consult(config, fitted):
    """Print what looks wrong with a published model: a glance, which `evaluate.py` goes beyond."""
    rows = _rows_of_a_glance(fitted.vae, fitted.dataset)
    if rows < MIN_SPLIT_ROWS:
        print(f"doctor    NO report: {rows} validation rows are too few")
        return
    try:
        findings = _diagnosis(config, fitted, rows)
    except Exception as error:  # whatever it is, the training was not in vain
        print(f"doctor    NO report: {error}")
        return
    print(f"doctor    on {rows} validation rows (evaluate.py measures more)")
    print(f"{doctor.report(findings)}\n")


def _rows_of_a_glance(vae, dataset):
    """How many rows of each split are looked at: fewer of larger models, for some seconds' work."""
    rows = max(_LEAST_ROWS, min(MAX_ROWS, _GLANCE_WEIGHTS // vae.count_params()))
    return min(rows, len(dataset.valid.x), len(dataset.train.x))


def _diagnosis(config, fitted, rows):
    vae, dataset = fitted.vae, fitted.dataset
    metrics, of_train = (
        measure(vae, some_of(x, rows, generator(config.seed, "rows of a glance")), config.seed)
        for x in (dataset.valid.x, dataset.train.x)
    )
    # Those that say whether it is the training rows that it knows.
    names = {"elbo_nats", "elbo_nats_stderr", "reconstruction_mse"} & of_train.keys()
    metrics |= {f"train_{name}": of_train[name] for name in names}
    metrics["sampler"] = vae.sampler.kind if vae.has_sampler else NO_SAMPLER
    return doctor.diagnose(metrics, config=asdict(config), history=fitted.history)


def dry_run(config: Config) -> None:
    """Print the configuration, the model and the estimated time of an epoch.

    Args:
        config: all options.
    """
    policy, reason = choose_policy(config.mixed_precision)
    dataset = outline(config)
    dataset = conditioned(dataset, conditions_of(dataset, config.condition))
    vae = _build(config, dataset, policy)
    for name, value in asdict(config).items():
        print(f"  {name:24}{value}")
    print(f"  {'precision':24}{policy}: {reason}\n")
    for part in (vae.encoder, vae.decoder):
        part.summary(line_length=80, positions=[0.45, 0.8, 1.0])
    print(f"parameters: {vae.count_params():,} (prior and likelihood included)")
    seconds = _epoch_seconds(config, dataset, vae)
    steps = _steps(config, dataset)
    print(f"an epoch of {steps} steps takes about {seconds:.1f} s on this machine")
    print(f"{config.epochs} epochs: about {_duration(seconds * config.epochs)}, without validation")


@contextmanager
def _telling_of(best: Path) -> Iterator[None]:
    """Say where the work of an interrupted run is."""
    try:
        yield
    except KeyboardInterrupt:
        if best.exists():
            print(
                f"\nbest weights so far: {best} (--init-from takes them; the next run of this "
                "name replaces them)",
                file=sys.stderr,
            )
        raise


@contextmanager
def _run_folder(config: Config) -> Iterator[Path]:
    """`saved/<name>/training`, held by this process alone."""
    folder = runs.training_folder(config.save, config.name)
    runs.writable_folder(folder, "--save")
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another training writes to {folder}: wait for it or choose another --name"
            ) from None
        yield folder


def _directions(vae: VAE, dataset: data.Dataset, config: Config) -> Directions | None:
    """Where in latent space the attributes of labelled images lie, but for conditions."""
    seed = config.seed
    if dataset.kind != "images":
        return None
    latents, labels = [], []
    for split in (dataset.train, dataset.valid):
        rows = random_rows(len(split.x), _MAX_LABELLED, generator(seed, "attribute rows"))
        attributes = {
            name: values[rows]
            for name, values in split.labels.items()
            if values.dtype == bool and name not in config.condition
        }
        if not attributes:
            return None
        parts = in_parts(rows, _ROWS_AT_ONCE)
        latents.append(np.concatenate([vae.encode(split.x[part])[0] for part in parts]))
        labels.append(attributes)
    try:
        found = fit_directions(latents[0], labels[0], latents[1], labels[1], seed=seed)
    except (KvaeError, ValueError) as error:
        print(f"attributes NO directions, the version has no signature edit: {error}")
        return None
    if not found.names:
        return None
    best = zip(found.names[:5], found.accuracy[:5], strict=True)
    shown = ", ".join(f"{name} {accuracy:.0%}" for name, accuracy in best)
    print(f"attributes {len(found.names)} directions; the clearest, by held-out accuracy: {shown}")
    return found


def _build(config: Config, dataset: data.Dataset, policy: str) -> VAE:
    """The model, its prior started where the encoder puts data, older weights read."""
    keras.utils.set_random_seed(config.seed)
    rows = dataset.train.x
    x = np.asarray(rows)  # of a memory map a view, still on disk
    for split in (dataset.train, dataset.valid):
        for part in in_parts(np.asarray(split.x), 1000):
            check_values(config, part)
    shift, scale = _moments(x) if config.standardize else (0.0, 1.0)
    vae = build_vae(
        x.shape[1:], latent_dim=latent_dim(config, x), condition_dim=_condition_dim(rows),
        network=config.network,
        hidden_units=config.hidden_units, linear_path=config.linear_path,
        width=config.width, depth=config.depth, likelihood=config.likelihood,
        variance=config.variance, prior=config.prior, prior_components=config.prior_components,
        logistic_components=config.logistic_components,
        posterior=config.posterior, objective=config.objective, iwae_draws=config.iwae_draws,
        beta=config.beta, free_bits=config.free_bits, tc_weight=config.tc_weight,
        kl_warmup_steps=config.kl_warmup_epochs * _steps(config, dataset),
        kl_cycle_steps=config.kl_cycle_epochs * _steps(config, dataset),
        shift=shift, scale=scale, dtype=policy, seed=config.seed,
    )  # fmt: skip
    count = max(2000, config.prior_components)
    some = some_of(rows, count, generator(config.seed, "prior start rows"))
    if config.init_from:
        _init_from(vae, config.init_from)
    else:
        vae.start_prior(some)
    return vae


def _condition_dim(rows):
    return rows.condition.shape[1] if isinstance(rows, Conditioned) else 0


def _moments(x):
    """Mean and standard deviation of each feature over the rows."""
    mean, stddev = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
    constant = np.flatnonzero(stddev == 0)
    if len(constant):
        raise DataError(
            f"--standardize: {len(constant)} features are constant over the train split, "
            f"the first is number {constant[0]}"
        )
    return mean, stddev


def _init_from(vae, source):
    """Copy the weights of a version, a `.keras` or a `.weights.h5` file of the same shapes."""
    path = Path(source)
    if path.name.endswith(".weights.h5"):
        with tempfile.TemporaryDirectory() as folder:
            ours = Path(folder) / "ours.weights.h5"
            vae.save_weights(ours)
            _refuse_misfit(source, _shapes_in_file(ours), _shapes_in_file(path))
        vae.load_weights(path)
        print(f"weights of {source}; a weights file knows no units, those of these data are used")
        return
    other = load_model(path).with_sampler(None)
    _refuse_misfit(source, _kinds(vae), _kinds(other))
    _refuse_misfit(source, _shapes(vae), _shapes(other))
    # The other model may have seen data in other units: its own go with its weights.
    vae.set_weights(other.get_weights())
    vae.shift, vae.scale = other.shift, other.scale
    print(f"starts from the weights of {source}")


def _check_conditions(source: str | None, conditions: Conditions) -> None:
    """Refuse a version whose conditions have other meanings, be there as many or not."""
    if source is None or not Path(source).is_dir():
        return
    metadata = runs.read_metadata(runs.find_version(source))
    then = metadata.get("condition", {}).get("names", [])
    if then != conditions.names:
        raise UsageError(
            f"--init-from {source}: trained with the conditions {', '.join(then) or 'none'}; "
            f"here they are {', '.join(conditions.names) or 'none'}"
        )


def _shapes(vae):
    """Place and shape of each weight; names of layers differ between two models of one kind."""
    return {f"weight {place}": tuple(weight.shape) for place, weight in enumerate(vae.weights)}


def _kinds(vae):
    """What weights of equal shapes may mean differently."""
    return {
        "posterior": vae.posterior_kind,
        "condition": vae.condition_dim,
        "prior": vae.prior.kind,
        "likelihood": (vae.likelihood.kind, getattr(vae.likelihood, "variance", "")),
    }


def _shapes_in_file(path):
    """Place and shape of each weight in a `.weights.h5` file, but for an optimizer's."""
    shapes = {}

    def visit(name, item):
        if hasattr(item, "shape") and not name.startswith("optimizer"):
            shapes[name] = tuple(item.shape)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise UsageError(f"{path} is not a .weights.h5 file, or damaged: {error}") from error
    return shapes


def _refuse_misfit(source, ours, theirs):
    for place in sorted({*ours, *theirs}):
        here, there = ours.get(place, "absent"), theirs.get(place, "absent")
        if here != there:
            raise UsageError(
                f"--init-from {source}: its weights do not fit this model ({place}: {here} "
                f"here, {there} there); the same --network, --hidden-units, --latent-dim, "
                "--condition, --posterior, --likelihood, --variance, --prior, --prior-components "
                "and shape of x are needed"
            )


def _steps(config, dataset):
    return dataset.train.steps(config.batch_size)


def _compile(config, vae, steps):
    rate = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, config.epochs * steps, alpha=1e-3)
    momentum = config.ema_momentum
    optimizer = keras.optimizers.Adam(rate, use_ema=momentum > 0, ema_momentum=momentum or 0.99)
    vae.compile(optimizer, jit_compile=config.jit_compile)


def _fit(config, dataset, vae, folder):
    """Run Keras's fit; return the history, with the best weights in the model."""
    best, history_file = folder / BEST_WEIGHTS, folder / "history.csv"
    best.unlink(missing_ok=True)
    # A step on vectors is shorter than Keras's way in and out of it.
    block = dataset.kind == "vectors"
    kept = _BestWeights(_chosen_by(config), best, _counts(config))
    _compile(config, vae, _steps(config, dataset))
    result = vae.fit(
        shuffled_batches(
            dataset.train.x, config.batch_size, config.seed, block=block, flip=config.flip
        ),
        steps_per_epoch=1 if block else _steps(config, dataset),
        validation_data=batches(dataset.valid.x, _valid_batch(config, dataset)),
        epochs=config.epochs,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            # Before the one that keeps weights: those of an epoch's end are the averages then.
            *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema_momentum else []),
            kept,
            keras.callbacks.CSVLogger(history_file),
        ],
    )
    history = {name: [float(v) for v in values] for name, values in result.history.items()}
    if not all(math.isfinite(v) for values in history.values() for v in values):
        raise TrainingError(
            f"the loss is not finite after {len(history['loss'])} epochs; nothing was published. "
            "A smaller --learning-rate or --mixed-precision off may help"
        )
    vae.set_weights(kept.weights)
    vae.calibrate(some_rows(dataset.train.x, generator(config.seed, "calibration rows")))
    vae.save_weights(best)  # what follows may be interrupted too
    return history


def _chosen_by(config):
    """The figure of the valid split that says which epoch was best: of what training lowers."""
    return "elbo" if raises_elbo(asdict(config)) else "loss"


def _counts(config):
    """Whether an epoch, from 0, may be the best.

    Where the goal is not the ELBO, those before beta is at its full value had another goal, whose
    loss cannot be compared. Of cycles those count that are all at the full value, or the last ones.
    """
    warmup, cycle = config.kl_warmup_epochs, config.kl_cycle_epochs
    if raises_elbo(asdict(config)):
        return lambda epoch: True
    if cycle:
        return lambda epoch: epoch % cycle >= min(cycle / 2, cycle - 1)
    return lambda epoch: epoch >= warmup


class _BestWeights(keras.callbacks.Callback):
    """Keep the best weights in memory, and for a run that is cut short in a file.

    Keras takes as long to write a small model as to train it for an epoch: hence not every time.

    Args:
        figure: of the valid split: "loss", lower is better, or "elbo", higher is better.
        path: the file.
        counts: whether an epoch, from 0, may be the best. Up to the first one that may, the ELBO
            chooses: the run may end before.
        seconds_between: how old a file may grow before the next best weights replace it.
    """

    def __init__(self, figure, path, counts=lambda epoch: True, seconds_between=20.0):
        super().__init__()
        self._figure, self._path, self._counts = figure, path, counts
        self._has_counted, self._best = False, -math.inf
        self._between, self._written = seconds_between, -math.inf
        self.weights = None

    def on_epoch_end(self, epoch, logs=None):
        counts = self._counts(epoch)
        if self._has_counted and not counts:
            return
        if counts and not self._has_counted:
            self._has_counted, self._best = True, -math.inf
        value = -logs["val_loss"] if counts and self._figure == "loss" else logs["val_elbo"]
        if not value > self._best:
            return
        self._best, self.weights = value, self.model.get_weights()
        if time.monotonic() - self._written > self._between:
            # A kill in the middle must leave the file before it.
            half = self._path.with_name("half.weights.h5")
            self.model.save_weights(half)
            half.replace(self._path)
            self._written = time.monotonic()


def _valid_batch(config, dataset):
    if config.tc_weight != 1:
        return config.batch_size  # every pair of rows is compared, and the estimate depends on it
    draws = config.iwae_draws if config.objective == "iwae" else 1
    return max(1, _VALID_BATCH[dataset.kind] // draws)


def _announce(config, dataset, vae, precision):
    """Say what is about to happen."""
    counts = ", ".join(f"{len(getattr(dataset, n).x):,} {n}" for n in ("train", "valid", "test"))
    likelihood = config.likelihood
    if likelihood == "gaussian":
        likelihood += f", variance {config.variance}"
    lines = {
        "dataset": f"{config.dataset}: {counts}; one x is {vae.element_shape}",
        **_layout(dataset.card),
        **({"given": ", ".join(config.condition)} if config.condition else {}),
        "model": f"{config.network}, {vae.latent_dim} latent dimensions, "
        f"{vae.count_params():,} parameters",
        "densities": f"likelihood {likelihood}; posterior {config.posterior}; "
        f"prior {config.prior}; sampler {config.sampler}",
        "objective": _objective(config),
        "training": f"{config.epochs} epochs of {_steps(config, dataset)} steps of "
        f"{min(config.batch_size, len(dataset.train.x))}, Adam {config.learning_rate:g} "
        f"{config.learning_rate_schedule}, seed {config.seed}",
        **_few_steps(config, dataset),
        "precision": precision,
        "writes": f"{Path(config.save) / config.name}/",
    }
    for name, text in lines.items():
        print(f"{name:11}{text}")
    print(end=_small_batches(config))
    print("figures are nats per example; elbo is higher the better, loss the lower\n", flush=True)


def _objective(config):
    """What training lowers, in words."""
    if config.objective != "elbo":
        return f"iwae of {config.iwae_draws} draws"
    parts = [f"elbo, beta {config.beta:g}"]
    if config.kl_warmup_epochs:
        parts.append(f"rising over {config.kl_warmup_epochs} epochs")
    if config.kl_cycle_epochs:
        parts.append(f"in cycles of {config.kl_cycle_epochs} epochs")
    if config.free_bits:
        parts.append(f"{config.free_bits:g} nats of each latent dimension free")
    if config.tc_weight != 1:
        parts.append(f"total correlation times {config.tc_weight:g}")
    return ", ".join(parts)


def _few_steps(config, dataset):
    """A word where the preset cannot suit so few data, or they cannot be measured."""
    notes = []
    steps = _steps(config, dataset) * config.epochs
    if dataset.kind == "images" and steps < _FEW_STEPS:
        smaller = " or a smaller --batch-size" if config.batch_size > 1 else ""
        notes.append(f"{steps:,} steps in all are few: more --epochs{smaller}")
    if len(dataset.test.x) < MIN_SPLIT_ROWS:
        rows = f"{len(dataset.test.x)} test rows"
        notes.append(f"{rows} are too few for evaluate.py, which wants {MIN_SPLIT_ROWS}")
    return {"note": f"\n{'':11}".join(notes)} if notes else {}


def _small_batches(config):
    """A line where the total correlation is estimated from too few rows; else nothing."""
    if config.tc_weight == 1 or config.batch_size >= _MANY_ROWS:
        return ""
    return (
        f"{'note':11}--tc-weight: batches of {config.batch_size} are too few to tell total "
        "correlation from\n"
        f"{'':11}what each dimension tells about x, which is weighed too; Chen et al. 2018 have "
        f"batches\n{'':11}of 2048 (--batch-size)\n"
    )


def _layout(card):
    """What was recognised in the user's copy, of datasets that come in several layouts."""
    source = card.get("source")
    return {"source": source["layout"]} if isinstance(source, dict) else {}


def _epoch_seconds(config, dataset, vae):
    """Time a few steps on stand-in data, after the one that compiles."""
    steps = _steps(config, dataset)
    _compile(config, vae, steps)
    block = dataset.kind == "vectors"
    trial = min(steps, 64 if block else 3)
    blocks = (1, trial) if block else (trial,)
    stand_in = tf.data.Dataset.from_tensor_slices(
        keras.tree.map_structure(
            lambda row: np.broadcast_to(row, (*blocks, config.batch_size, *row.shape[1:])),
            as_float(dataset.train.x[:1]),
        )
    )
    vae.fit(stand_in, verbose=0)
    start = time.perf_counter()
    vae.fit(stand_in, verbose=0)
    return (time.perf_counter() - start) / trial * steps


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
