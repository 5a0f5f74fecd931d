"""Keras's fit in a run: its callbacks, where it goes on, and what is said where it ends."""

from contextlib import ExitStack
from typing import Any, NamedTuple

import keras

from kvae.config import Config
from kvae.data import Dataset
from kvae.data.pipeline import batches, num_blocks, shuffled_batches
from kvae.errors import KvaeError
from kvae.model import VAE
from kvae.saying import clear, say
from kvae.training.endings import Ending
from kvae.training.faults import Watch, first_fault
from kvae.training.keeping.best_weights import BestWeights
from kvae.training.keeping.checkpoints import Checkpoint
from kvae.training.keeping.interruption import Interruption
from kvae.training.keeping.saving import Saving, assign
from kvae.training.machines.devices import One
from kvae.training.start import compile_for, replicas_of, steps_of
from kvae.training.watching import log_json
from kvae.training.watching.glance import causes_of_failure
from kvae.training.watching.history import History, figures_of
from kvae.training.watching.progress import Progress

HISTORY = "history.csv"
_VALID_BATCH = {"vectors": 5000, "images": 250}


class TrainingError(KvaeError):
    """Training went wrong in a way that no file or option shows beforehand."""


class Parts(NamedTuple):
    """What a training works with.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
        vae: the model, as training starts.
        folder: where history.csv is written.
        callbacks: of the user's own.
        base: what does not change in the run, or the checkpoint that it goes on from.
        goes_on: whether `base` is that checkpoint.
        kept: the best weights.
        notes: hears of a full disk.
        saves: whether checkpoints are written.
        group: the devices, `kvae.training.machines.devices.One` or several.
    """

    config: Config
    dataset: Dataset
    vae: VAE
    folder: Any
    callbacks: Any
    base: Checkpoint
    goes_on: bool
    kept: BestWeights
    notes: Any
    saves: bool
    group: One


def fitted(parts: Parts) -> tuple[dict[str, list[float]], dict[str, Any], Saving]:
    """Train to the end, or until something ends it; the last checkpoint says that training is over.

    Returns:
        The history; the course of training, JSON values: `start`, the figures of the valid split of
        weights that were there before; `ended`, why there are fewer epochs than asked for; and
        what wrote the checkpoints.

    Raises:
        TrainingError: numbers stopped being finite.
        KeyboardInterrupt: a signal came; what was done is saved.
    """
    with ExitStack() as within:
        within.enter_context(parts.group.scope())
        return _fitted(parts, within.close)


def _fitted(parts, leave_scope):
    config, vae, kept, base = parts.config, parts.vae, parts.kept, parts.base
    group, of_vectors = parts.group, parts.dataset.kind == "vectors"
    # A step on vectors is shorter than Keras's way in and out of it.
    block, steps = of_vectors and replicas_of(vae) == 1, steps_of(config, parts.dataset)
    calls = num_blocks(parts.dataset.train.x, config.batch_size) if block else steps
    compile_for(config, vae, steps)
    vae.before_fit()
    rows = parts.dataset.valid.x
    size = group.valid_batch(valid_batch(config, parts.dataset, vae.objective), len(rows))
    valid = group.split(batches(rows, size))
    if parts.goes_on:
        if not vae.optimizer.built:  # JAX and torch: by the first step
            vae.optimizer.build(vae.trainable_variables)
        assign(vae.variables, base.weights)
        assign(vae.optimizer.variables, base.optimizer)
        course = {**base.course}
        if not base.is_over:
            course.pop("ended", None)
    else:
        has_start = vae.num_steps or config.init_from
        course = _measured_start(vae, valid, kept) if has_start else {}
    history = History(parts.folder / HISTORY, parts.notes, base.rows)
    interruption = Interruption(parts.saves)
    saving = Saving(
        parts.folder if parts.saves else None, base, calls,
        lambda: {**kept.state(), "rows": history.rows, "course": course}, interruption, parts.notes,
        of_epochs=of_vectors or group.is_many_machines,
    )  # fmt: skip
    ending = Ending(
        config, kept, steps, calls, lambda: saving.seconds, parts.callbacks, first_call=base.call
    )
    watch = Watch(skipped=base.epoch if base.call else None)
    progress = Progress(config, kept, ending, steps, calls, first_call=base.call)
    logs = [log_json.Epochs(config.log_json, kept)] if config.log_json else []
    if config.tensorboard:
        from kvae.training.watching.tensorboard import TensorBoard

        logs.append(TensorBoard(config, parts.dataset))

    def stream(first_epoch=0, first_call=0):
        return shuffled_batches(
            parts.dataset.train.x, config.batch_size, config.seed, block=block, flip=config.flip,
            first_epoch=first_epoch, first_batch=first_call, grey=parts.dataset.train.grey,
        )  # fmt: skip

    def fit(epoch, call, end):
        # Before those that keep: the weights of an epoch's end are the averages then.
        swap = [saving.before_swap, keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
        own = [watch, kept, history, ending, progress, *logs, *parts.callbacks, saving]
        vae.fit(
            group.split(stream(epoch, call)), steps_per_epoch=calls - call, validation_data=valid,
            initial_epoch=epoch, epochs=config.epochs, verbose=0,
            start_prior=False, calibrate=False,  # both are done here, with rows of the run's seed
            callbacks=[*end[:1], *(swap if config.ema_momentum else []), *own, *end[1:]],
        )  # fmt: skip

    if base.is_over:
        return figures_of(history.rows), course, saving
    try:
        with interruption.heard():
            epoch, is_over = base.epoch, base.epoch >= config.epochs
            if base.call and not is_over:
                rest = _Rest()
                fit(epoch, base.call, [rest.front, rest])
                epoch, is_over = epoch + 1, rest.was_stopped or epoch + 1 >= config.epochs
                if not is_over and saving.values is not None:  # Keras ends by keeping the averages
                    assign(vae.variables, saving.values[0])
                    assign(vae.optimizer.variables, saving.values[1])
            if not is_over:
                fit(epoch, 0, [])
        numbers = figures_of(history.rows)
        if watch.epoch is not None:
            saving.leave_best()
            causes = causes_of_failure(config, vae, parts.dataset, numbers)
            leave_scope()
            vae = group.single(config, vae, steps)
            raise TrainingError(_told(vae, watch, steps, (calls, block, stream), causes))
        say(flush=True)
        if ending.reason:
            course["ended"] = ending.reason
            say(f"ended      {ending.reason}", flush=True)
        saving.write_last()
    except TrainingError:
        raise
    except BaseException:
        clear()
        saving.rescue()
        raise
    if not kept.record.epoch:
        say("best       no epoch was better than the weights it started from", flush=True)
    elif kept.record.epoch < len(history.rows):
        say(f"best       {kept.record}", flush=True)
    return numbers, course, saving


class _Rest(keras.callbacks.Callback):
    """End a fit after the epoch that it began in the middle of; the last of its callbacks.

    Attributes:
        front: stands before all others: at the end of training these see whether one of them ended
            it.
        was_stopped: whether one did.
    """

    def __init__(self):
        super().__init__()
        self.was_stopped = False
        self.front = keras.callbacks.LambdaCallback(on_train_end=self._put_back)

    def on_epoch_end(self, epoch, logs=None):
        """End training."""
        self.was_stopped = self.model.stop_training
        self.model.stop_training = True

    def _put_back(self, logs=None):
        self.model.stop_training = self.was_stopped


def _told(vae, watch, steps, order, causes):
    """Where and why numbers stopped being finite, and what to try."""
    end = f"nothing was published. {causes}"
    if watch.state is None:
        return f"epoch {watch.epoch + 1}: the loss is not finite; {end}"
    say("looking for the step in which numbers stopped being finite", flush=True)
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
    say(f"start      validation {shown} before the first epoch: {is_best}", flush=True)
    return {"start": figures} if kept.record else {}


def valid_batch(config: Config, dataset: Dataset, objective: Any) -> int:
    """Rows of a batch of the valid split."""
    if objective.compares_rows:
        return config.batch_size
    return max(1, _VALID_BATCH[dataset.kind] // objective.draws)
