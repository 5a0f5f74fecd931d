"""A training run, from a configuration to a published version."""

import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from kvae import __version__, data, files, own_files, publish, run_file
from kvae.command import program
from kvae.config import NO_SAMPLER, Config
from kvae.data import seen
from kvae.data.conditions import Conditions, conditioned, conditions_of
from kvae.directions import Directions
from kvae.errors import DEBUGGING, IncompleteError, KvaeError, one_line
from kvae.model import VAE
from kvae.probability.streams import generator
from kvae.saying import clear, say
from kvae.serving import versions
from kvae.steps import DEVICE_ERRORS
from kvae.training.attributes import attribute_directions
from kvae.training.fitting import Parts, TrainingError, fitted
from kvae.training.init_from import check_conditions, record_of, seen_before, without_seen
from kvae.training.keeping import checkpoints, leftovers, resume
from kvae.training.keeping.best_weights import BestWeights
from kvae.training.keeping.checkpoints import Checkpoint, Record
from kvae.training.machines import devices
from kvae.training.objects import scheduled
from kvae.training.precision import choose_policy, in_float32
from kvae.training.preflight import alone_in_folder, load
from kvae.training.sampler_fitting import some_rows, with_sampler
from kvae.training.start import build, check_publishable, steps_of
from kvae.training.watching import log_json
from kvae.training.watching.announcement import announce
from kvae.training.watching.glance import consult, consulting
from kvae.training.watching.history import Notes

_PUBLISHED, _TRAINED = b"p", b"t"
__all__ = ["Fitted", "TrainingError", "fit", "train", "train_alone", "train_and_publish"]


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
        record: of the best weights; None: nothing is known of them.
        course: how training went beside its epochs, see `kvae.publish.publish`.
        train_rows: what the rows that the weights have seen are known by.
        saving: what wrote checkpoints; None: nothing did.
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
    record: Record | None = None
    course: dict[str, Any] | None = None
    train_rows: np.ndarray | None = None
    saving: Any = None


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
    if fitted is not None and fitted.missing:
        raise IncompleteError(f"{version.path} is published", fitted.missing, version)
    return version


def train_and_publish(
    config: Config, dataset: data.Dataset | None = None, model: VAE | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (), *, going_on: bool | None = None,
) -> tuple[Fitted | None, versions.Version]:  # fmt: skip
    """As `train`, of a model that is there already too; what could not be made is told.

    Args:
        config: see `train`.
        dataset: see `train`.
        model: what is trained; None: one is made.
        callbacks: of the user's own, behind those of the run.
        going_on: see `kvae.training.keeping.resume.find`.

    Returns:
        What training leaves behind, None where the run was published before, and the published
        version, None on a machine that does not write it.

    Raises:
        As `train`.
    """
    group = devices.chosen(config)
    if not group.writes:
        fitted = _fit_along(config, dataset, model, callbacks, group)
        group.leave()
        return fitted, None
    with alone_in_folder(config) as folder:
        found = resume.find(config, going_on)
        if group.is_many_machines:
            group.shared(_order(found))
        if found.told:
            say(found.told, flush=True)
        if found.published:
            path = found.published.path
            say(
                f"finished   {path} is this run; --fresh starts anew, and --resume with a later end"
            )
            say("           (--epochs, --patience, --max-minutes) goes on")
            group.leave()
            return None, found.published
        run = _told_options(config, folder)
        fitted = fit(config, folder, dataset, model, callbacks, checkpoint=found.checkpoint)
        with (
            leftovers.telling_of(folder, config),
            _rescued(fitted.saving),
            _told_of_numbers(folder),
        ):
            tell_findings = consulting(fitted.config, fitted)
            auditor = _auditor(folder, fitted.dataset) if config.audit else None
            version = publish.publish(
                fitted.vae, config.save, config.name,
                config=fitted.config.to_dict(), card=fitted.card, history=fitted.history,
                directions=fitted.directions, course=fitted.course, train_rows=fitted.train_rows,
                condition=fitted.conditions.to_json() if fitted.conditions.dim else None,
                run=run, check=auditor and auditor.check,
            )  # fmt: skip
        say(f"published {version.path}", is_result=True, flush=True)
        if auditor is not None:
            auditor.tell(version)
        leftovers.tell(folder, fitted.record)
        tell_findings()
        words = [*program("evaluate"), "--model", str(version.path), *own_files.words()]
        say(f"next:     {files.command_line(words)}", flush=True)
        # Last of all: killed before, the same command says that the run was published.
        checkpoints.finish(folder)
    group.leave()
    return fitted, version


def _auditor(folder: Path, dataset: data.Dataset | None) -> Any:
    """What audits before a version has a number."""
    from kvae.training.auditing import Auditor  # SciPy and Matplotlib come with it

    return Auditor(folder, dataset)


def _told_options(config, folder):
    """Write run.yaml; its text, None of a run that options alone do not describe."""
    text, path = run_file.text_of(config), folder / versions.RUN_FILE
    try:
        if text is None:
            path.unlink(missing_ok=True)  # of an earlier run
        else:
            files.replace_text(path, text)
    except OSError as error:
        Notes("").say(path, error)
    return text


def _order(found):
    """What other machines are told of the run: whether it was published, or its checkpoint."""
    if found.published:
        return _PUBLISHED
    return _TRAINED + (found.path.read_bytes() if found.path else b"")


def _fit_along(config, dataset, model, callbacks, group):
    """The part of a machine that does not write; None where the run was published before."""
    order = group.shared(b"")
    if order[:1] == _PUBLISHED:
        return None
    with tempfile.TemporaryDirectory(prefix="kvae-") as name:
        folder, checkpoint = Path(name), None
        if len(order) > 1:
            path = folder / "checkpoint.npz"
            path.write_bytes(order[1:])
            checkpoint = checkpoints.read(path)
        return fit(
            config, folder, dataset, model, callbacks, publishes=False, checkpoint=checkpoint
        )


def train_alone(
    config: Config, dataset: data.Dataset | None = None, model: VAE | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Fitted:  # fmt: skip
    """As `train_and_publish`, but nothing is published, nor kept of a run that is cut short.

    Args:
        config: see `train`.
        dataset: see `train`.
        model: see `train_and_publish`.
        callbacks: see `train_and_publish`.

    Returns:
        What training leaves behind.

    Raises:
        As `train`.
    """
    with tempfile.TemporaryDirectory(prefix="kvae-") as folder:
        fitted = fit(config, Path(folder), dataset, model, callbacks, publishes=False)
    group = devices.chosen(config)
    if group.writes:
        consult(fitted.config, fitted)
    group.leave()
    return fitted


def fit(
    config: Config, folder: Path, dataset: data.Dataset | None = None, model: VAE | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (), *, publishes: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Fitted:  # fmt: skip
    """Train and keep the weights that were best on the valid split.

    Args:
        config: all options.
        folder: where checkpoints and history.csv are written.
        dataset: see `train`.
        model: see `train_and_publish`.
        callbacks: see `train_and_publish`.
        publishes: whether checkpoints are written, and the folder is told of where training ends
            early.
        checkpoint: that the run goes on from; None: it starts.

    Raises:
        As `train`.
    """
    group = devices.chosen(config, model)
    policy, reason = choose_policy(config.mixed_precision, config.network)
    if model is not None:
        policy, reason = model.dtype_policy.name, "the model's own"
    elif checkpoint is not None:
        policy, reason = checkpoint.policy, "as the run began"
    dataset = load(config) if dataset is None else dataset
    before = checkpoint.before if checkpoint else seen_before(config.init_from, model, dataset)
    dataset, left_out = without_seen(dataset, before, config.init_from or "model")
    conditions = conditions_of(dataset, config.condition)
    dataset = conditioned(dataset, conditions)
    own = seen.marks(dataset.train.x)
    now = resume.fingerprint(dataset, own)
    group.agree(config, now)
    if checkpoint is None:
        check_conditions(config.init_from, conditions)
    else:
        resume.check_data(checkpoint.data, now)
    with group.scope():
        vae = build(config, dataset, policy, model, checkpoint)
    if publishes:
        check_publishable(config, vae, model)
    if checkpoint is not None:
        resume.check_objects(config, checkpoint.model, _serialized(vae))
    group.check(vae)
    first_step = vae.num_steps if checkpoint is None else checkpoint.first_step
    wanted = config
    config = config.replaced(
        **scheduled(
            config.to_dict(), vae.objective, first_step, steps_of(config, dataset), config.epochs
        )
    )
    announce(config, dataset, vae, f"{policy}: {reason}", publishes=publishes, devices=group.told)
    log_json.begin(config, dataset, vae)
    # Without epochs no row is seen that was not seen before.
    own = before if before is not None and not config.epochs else own
    base = checkpoint or Checkpoint(
        run=secrets.token_hex(8), config=wanted.to_dict(), versions=_versions(), policy=policy,
        data=now, card=dataset.card, model=_serialized(vae),
        condition=conditions.to_json() if conditions.dim else None,
        paths=[variable.path for variable in vae.variables], first_step=first_step,
        shift=vae.shift, scale=vae.scale, train_rows=seen.united(own, before), before=before,
        left_out=left_out, seconds=0.0,
    )  # fmt: skip
    further = base.is_over and resume.goes_further(wanted, base.epoch, base.config)
    base = replace(base, config=wanted.to_dict(), is_over=base.is_over and not further)
    with leftovers.telling_of(folder, wanted, base.run) if publishes else nullcontext():
        vae, record, course, saving, history = _fit(
            config, dataset, vae, folder, base, callbacks, publishes, group,
            goes_on=checkpoint is not None,
        )  # fmt: skip
        course |= {"run": base.run} if publishes else {}
        course |= {"left_out": left_out} if left_out else {}
        trained, missing = vae, []
        directions = None
        with _rescued(saving):
            with _or_without("its sampler", missing):
                own, sampler = config.own("sampler"), config.sampler
                sampler = sampler if group.writes else NO_SAMPLER
                vae = with_sampler(vae, sampler, dataset, seed=config.seed, **own)
            with _or_without("the directions of attributes", missing):
                if group.writes:
                    directions = attribute_directions(vae, dataset, config)
    if vae is not trained and trained.compiled:  # so that `fit` goes on
        vae.compile(trained.optimizer, jit_compile=trained.jit_compile)
    callback = keras.callbacks.History()
    callback.history, callback.epoch = history, [*range(len(history.get("loss", ())))]
    return Fitted(
        config, vae, dataset.card, history, directions, conditions, dataset, tuple(missing),
        callback, record, course, base.train_rows, saving,
    )  # fmt: skip


def _versions():
    """Of what numbers come from."""
    names = ("keras", "numpy", keras.backend.backend())
    return {"kvae": __version__, **{name: version_of(name) for name in names}}


def _serialized(vae):
    """Keras's configuration of a model, for a publication from a checkpoint alone."""
    with suppress(Exception):  # a part of somebody's own that has none
        return json.loads(json.dumps(keras.saving.serialize_keras_object(vae)))
    return None


@contextmanager
def _rescued(saving: Any) -> Iterator[None]:
    """Write the end of training where what follows fails, if the disk did not take it before."""
    try:
        yield
    except BaseException:
        clear()
        if saving is not None:
            with suppress(Exception):  # the first error is the one to tell
                saving.rescue()
        raise


@contextmanager
def _told_of_numbers(folder: Path) -> Iterator[None]:
    """Say what it means that a trained model does not compute; the next run starts anew."""
    try:
        yield
    except DEVICE_ERRORS as error:
        checkpoints.set_aside(folder)
        raise TrainingError(
            "the model cannot be published, since it does not compute: "
            f"{one_line(str(error), 200)}; weights that are too large for float32 are the usual "
            "cause: a smaller --learning-rate or --clip-norm may keep them small"
        ) from error


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


def _fit(config, dataset, vae, folder, base, callbacks, publishes, group, *, goes_on):
    """Train unless --epochs is 0 or training is over.

    Returns:
        The model with the best weights, on one device; their record, the course, what saved, and
        the history.
    """
    kept = BestWeights(config, dataset)
    if goes_on:
        kept.restore(base)
    if not config.epochs:
        kept.start(vae, record_of(config.init_from))
        history, course, saving = {}, {}, None
    else:
        parts = Parts(
            config, dataset, vae, folder, callbacks, base, goes_on, kept, Notes(), publishes, group
        )
        with group.watched():
            history, course, saving = fitted(parts)
        vae = group.single(config, vae, steps_of(config, dataset))
        vae.set_weights(kept.weights)
    if kept.record:
        course["best"] = kept.record.to_json()
        # Before the variance is calibrated, as what it stands beside.
        if kept.record.epoch and vae.dtype_policy.name != "float32":
            course["in_float32"] = in_float32(config, dataset, vae, kept.record)
    vae.calibrate(some_rows(dataset.train.x, generator(config.seed, "calibration rows")))
    return vae, kept.record, course, saving, history
