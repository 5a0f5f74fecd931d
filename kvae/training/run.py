"""A training run, from a configuration to a published version."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from kvae import data, files, own_files, publish
from kvae.config import Config
from kvae.data import seen
from kvae.data.conditions import Conditions, conditioned, conditions_of
from kvae.data.pipeline import batches, shuffled_batches
from kvae.directions import Directions
from kvae.errors import DEBUGGING, IncompleteError, KvaeError
from kvae.model import VAE
from kvae.probability.streams import generator
from kvae.serving import versions
from kvae.training import devices, kept_weights
from kvae.training.announcement import announce
from kvae.training.attributes import attribute_directions
from kvae.training.command import program
from kvae.training.endings import Ending
from kvae.training.faults import Watch, first_fault
from kvae.training.glance import causes_of_failure, consult
from kvae.training.history import History, Notes
from kvae.training.init_from import check_conditions, seen_before, without_seen
from kvae.training.objects import scheduled
from kvae.training.precision import choose_policy
from kvae.training.preflight import load
from kvae.training.sampler_fitting import some_rows, with_sampler
from kvae.training.start import build, compile_for, replicas_of, steps_of

_VALID_BATCH = {"vectors": 5000, "images": 250}


class TrainingError(KvaeError):
    """Training went wrong in a way that no file or option shows beforehand."""


class Fitted(NamedTuple):
    """What training leaves behind.

    Args:
        config: all options, with the schedule of an objective that was given as an object.
        vae: with the best weights.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes in latent space, where the data have such labels.
        conditions: the columns of a conditional model's condition.
        dataset: its rows as the model takes them.
        missing: what could not be made after training, and why.
        callback: Keras's History of the training.
        kept: the best weights, and which figure chose them.
        course: how training went beside its epochs, see `kvae.publish.publish`.
        train_rows: what the rows that the weights have seen are known by.
    """

    config: Config
    vae: VAE
    card: dict[str, Any]
    history: dict[str, list[float]]
    directions: Directions | None = None
    conditions: Conditions = Conditions()
    dataset: data.Dataset | None = None
    missing: tuple[str, ...] = ()
    callback: keras.callbacks.History | None = None
    kept: kept_weights.BestWeights | None = None
    course: dict[str, Any] | None = None
    train_rows: np.ndarray | None = None


def train(config: Config, dataset: data.Dataset | None = None) -> versions.Version:
    """Train, publish the best weights as the next version, and print what the doctor says of them.

    Args:
        config: all options; `kvae.training.preflight.check` finds most faults sooner.
        dataset: what `kvae.training.preflight.load` gave; None: it is called.

    Returns:
        The published version.

    Raises:
        UsageError: an option is wrong, or the repository cannot be written.
        DataError: the dataset cannot be read.
        TrainingError: the loss stopped being finite.
        IncompleteError: the version is published, and lacks what could not be made.
    """
    fitted, version = train_and_publish(config, dataset)
    if fitted.missing:
        raise IncompleteError(version, fitted.missing)
    return version


def train_and_publish(
    config: Config, dataset: data.Dataset | None = None, model: VAE | None = None
) -> tuple[Fitted, versions.Version]:
    """As `train`, of a model that is there already too; what could not be made is told.

    Args:
        config: see `train`.
        dataset: see `train`.
        model: what is trained; None: one is made.

    Returns:
        What training leaves behind, and the published version.

    Raises:
        As `train`.
    """
    with _run_folder(config) as folder:
        fitted = fit(config, folder, dataset, model)
        with kept_weights.telling_of(folder, config), _rescued(fitted.kept):
            version = publish.publish(
                fitted.vae, config.save, config.name,
                config=fitted.config.to_dict(), card=fitted.card, history=fitted.history,
                directions=fitted.directions, course=fitted.course, train_rows=fitted.train_rows,
                condition=fitted.conditions.to_json() if fitted.conditions.dim else None,
            )  # fmt: skip
        print(f"\npublished {version.path}", flush=True)
        kept_weights.published(folder, config, fitted.kept.record)
    consult(fitted.config, fitted)
    words = [*program("evaluate"), "--model", str(version.path), *own_files.words()]
    print(f"next:     {files.command_line(words)}")
    return fitted, version


def train_alone(
    config: Config, dataset: data.Dataset | None = None, model: VAE | None = None
) -> Fitted:
    """As `train_and_publish`, but nothing is published, nor kept of a run that is cut short.

    Args:
        config: see `train`.
        dataset: see `train`.
        model: see `train_and_publish`.

    Returns:
        What training leaves behind.

    Raises:
        As `train`.
    """
    with tempfile.TemporaryDirectory(prefix="kvae-") as folder:
        fitted = fit(config, Path(folder), dataset, model, publishes=False)
    consult(fitted.config, fitted)
    return fitted


def fit(
    config: Config, folder: Path, dataset: data.Dataset | None = None, model: VAE | None = None,
    *, publishes: bool = True,
) -> Fitted:  # fmt: skip
    """Train and keep the weights that were best on the valid split.

    Args:
        config: all options.
        folder: where best weights and history.csv are kept meanwhile; see
            `kvae.training.kept_weights`.
        dataset: see `train`.
        model: see `train_and_publish`.
        publishes: whether the folder is told of where training ends early.

    Raises:
        As `train`.
    """
    group = devices.chosen(config)
    policy, reason = choose_policy(config.mixed_precision)
    if model is not None:
        policy, reason = model.dtype_policy.name, "the model's own"
    dataset = load(config) if dataset is None else dataset
    before = seen_before(config.init_from, model, dataset)
    dataset, left_out = without_seen(dataset, before, config.init_from or "model")
    conditions = conditions_of(dataset, config.condition)
    dataset = conditioned(dataset, conditions)
    check_conditions(config.init_from, conditions)
    with group.scope():
        vae = build(config, dataset, policy, model)
    steps = steps_of(config, dataset)
    config = config.replaced(
        **scheduled(config.to_dict(), vae.objective, vae.num_steps, steps, config.epochs)
    )
    announce(config, dataset, vae, f"{policy}: {reason}", publishes=publishes, devices=group.told)
    with kept_weights.telling_of(folder, config) if publishes else nullcontext():
        # Without epochs no row is seen that was not seen before.
        own = before if before is not None and not config.epochs else seen.marks(dataset.train.x)
        train_rows = seen.united(own, before)
        vae, history, kept, course = _fit(config, dataset, vae, folder, train_rows, group)
        course |= {"left_out": left_out} if left_out else {}
        trained, missing = vae, []
        with _rescued(kept if publishes else None):
            with _or_without("its sampler", missing):
                own = config.own("sampler")
                vae = with_sampler(vae, config.sampler, dataset, seed=config.seed, **own)
            directions = None
            with _or_without("the directions of attributes", missing):
                directions = attribute_directions(vae, dataset, config)
    if vae is not trained and trained.compiled:  # so that `fit` goes on
        vae.compile(trained.optimizer, jit_compile=trained.jit_compile)
    callback = keras.callbacks.History()
    callback.history, callback.epoch = history, [*range(len(history.get("loss", ())))]
    return Fitted(
        config, vae, dataset.card, history, directions, conditions, dataset, tuple(missing),
        callback, kept, course, train_rows,
    )  # fmt: skip


@contextmanager
def _rescued(kept: kept_weights.BestWeights | None) -> Iterator[None]:
    """Write the best weights where what follows fails, if they are in memory alone."""
    try:
        yield
    except BaseException:
        if kept is not None:
            with suppress(Exception):  # the first error is the one to tell
                kept.rescue()
        raise


@contextmanager
def _or_without(part: str, missing: list[str]) -> Iterator[None]:
    """Note a part that fails: hours of training must not be lost for it."""
    try:
        yield
    except Exception as error:
        if DEBUGGING.is_on:
            raise
        told = str(error) if isinstance(error, KvaeError) else f"{type(error).__name__}: {error}"
        missing.append(f"{part} ({told})")


@contextmanager
def _run_folder(config: Config) -> Iterator[Path]:
    """`saved/<name>/training`, held by this process alone."""
    folder = versions.training_folder(config.save, config.name)
    files.writable_folder(folder, "--save")
    busy = f"another training writes to {folder}: wait for it or choose another --name"
    with files.alone(folder / ".lock", busy):
        yield folder


def _fit(config, dataset, vae, folder, train_rows, group):
    """Train unless --epochs is 0.

    Returns:
        The model with the best weights, on one device, history, what was kept and the course.
    """
    then = kept_weights.read(config.init_from) if config.init_from else None
    kept_weights.set_aside(folder)  # maybe that file too
    notes = Notes()
    kept = kept_weights.BestWeights(folder, config, dataset, notes, train_rows=train_rows)
    history, course = {}, {}
    if config.epochs:
        with _rescued(kept):
            with group.scope():
                history, course = _trained(config, dataset, vae, kept, notes, folder, group)
            vae = _on_one(config, dataset, vae, group)
        kept.set_model(vae)
        vae.set_weights(kept.weights)
    else:
        kept.start(vae, then)
    vae.calibrate(some_rows(dataset.train.x, generator(config.seed, "calibration rows")))
    kept.write()  # what follows may be interrupted too
    if kept.record:
        course["best"] = {name: getattr(kept.record, name) for name in ("epoch", "figure", "value")}
    return vae, history, kept, course


def _on_one(config, dataset, vae, group):
    """The model as what follows takes it, with its optimizer."""
    if not group.is_several:
        return vae
    twin = devices.on_one(vae)
    compile_for(config, twin, steps_of(config, dataset))
    twin.optimizer.build(twin.trainable_variables)
    for ours, theirs in zip(twin.optimizer.variables, vae.optimizer.variables, strict=True):
        ours.assign(keras.ops.convert_to_numpy(theirs))
    return twin


def _trained(config, dataset, vae, kept, notes, folder, group):
    """Run Keras's fit with the callbacks that keep weights and history.

    Returns:
        The history, and the course of training, JSON values: `start`, the figures of the valid
        split of weights that were there before; `ended`, why there are fewer epochs than asked for.
    """
    # A step on vectors is shorter than Keras's way in and out of it.
    steps = steps_of(config, dataset)
    block = dataset.kind == "vectors" and replicas_of(vae) == 1
    compile_for(config, vae, steps)
    size = group.valid_batch(_valid_batch(config, dataset, vae.objective), len(dataset.valid.x))
    valid = group.split(batches(dataset.valid.x, size))
    course = _measured_start(vae, valid, kept) if vae.num_steps or config.init_from else {}
    calls = 1 if block else steps
    ending, watch = Ending(config, kept, steps, calls), Watch()

    def stream(first_epoch=0):
        return shuffled_batches(
            dataset.train.x, config.batch_size, config.seed, block=block, flip=config.flip,
            first_epoch=first_epoch,
        )  # fmt: skip

    result = vae.fit(
        group.split(stream()),
        steps_per_epoch=calls,
        validation_data=valid,
        epochs=config.epochs,
        start_prior=False,  # both are done here, with rows of the run's seed
        calibrate=False,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            # Before those that keep: the weights of an epoch's end are the averages then.
            *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema_momentum else []),
            watch,
            kept,
            History(folder / kept_weights.HISTORY, notes),
            ending,
        ],
    )
    history = {name: [float(v) for v in values] for name, values in result.history.items()}
    if watch.epoch is not None:
        causes = causes_of_failure(config, vae, dataset, history)
        vae = _on_one(config, dataset, vae, group)
        raise TrainingError(_told(vae, watch, steps, (calls, block, stream), causes))
    if ending.reason:
        course["ended"] = ending.reason
        print(f"ended      {ending.reason}", flush=True)
    if not kept.record.epoch:
        print("best       no epoch was better than the weights it started from", flush=True)
    return history, course


def _told(vae, watch, steps, order, causes):
    """Where and why numbers stopped being finite, and what to try."""
    end = f"nothing was published. {causes}"
    if watch.state is None:
        return f"epoch {watch.epoch + 1}: the loss is not finite; {end}"
    print("looking for the step in which numbers stopped being finite", flush=True)
    fault = first_fault(vae, watch, *order)
    if fault is None:
        return (
            f"epoch {watch.epoch + 1}: not all figures are finite, and the same steps made once "
            f"more, one by one, do not show where it began; {end}"
        )
    place = f"epoch {fault.epoch + 1}, step {fault.step + 1:,} of {steps:,}"
    # Of data that are no numbers no option is the cause.
    return f"{place}: {fault.what}; {'nothing was published' if fault.is_of_data else end}"


def _measured_start(vae, valid, kept):
    """Measure weights that are there before the first epoch as after each; the course so far."""
    figures = vae.evaluate(valid, verbose=0, return_dict=True)
    figures = {name: float(value) for name, value in figures.items()}
    kept.measured(vae, figures)
    shown = ", ".join(f"{name} {figures[name]:.5g}" for name in ("elbo", "loss"))
    is_best = "the best so far" if kept.record else "not finite, and no candidate"
    print(f"start      validation {shown} before the first epoch: {is_best}", flush=True)
    return {"start": figures} if kept.record else {}


def _valid_batch(config, dataset, objective):
    if objective.compares_rows:
        return config.batch_size
    return max(1, _VALID_BATCH[dataset.kind] // objective.draws)
