"""When a checkpoint is written, and of what."""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kvae.training.keeping import checkpoints
from kvae.training.keeping.checkpoints import Checkpoint

SECONDS_BETWEEN = 20.0  # of two checkpoints, at least
_PATIENCE = 5.0  # seconds that a signal waits for validation
_SHARE = 0.01  # of the time of training that writing may take


class Saving(keras.callbacks.Callback):
    """Write a checkpoint at the end of a call of the training graph, if it is time to.

    Stands behind all that says how an epoch was.

    Args:
        folder: `saved/<name>/training`; None: nothing is written.
        base: what does not change in a run, or the checkpoint that it goes on from.
        calls: of the graph in an epoch.
        state: what else a `Checkpoint` holds, asked for each time.
        interruption: `kvae.training.keeping.interruption.Interruption`.
        notes: hears of a full disk.
        of_epochs: whether it is time at the ends of epochs alone, for runs whose calls are others
            on another number of devices.

    Attributes:
        before_swap: stands before `SwapEMAWeights` where there is one: at the end of an epoch that
            puts the averages in the place of the weights, and at the end of training for good.
        values: of all variables at the end of an epoch, where there is such a one.
    """

    def __init__(
        self, folder: Path | None, base: Checkpoint, calls: int,
        state: Callable[[], dict[str, Any]], interruption: Any, notes: Any, *,
        of_epochs: bool = False,
    ):  # fmt: skip
        super().__init__()
        self._folder, self._base, self._calls = folder, base, calls
        self._state, self._interruption, self._notes = state, interruption, notes
        self._wait, self._of_epochs = SECONDS_BETWEEN, of_epochs
        self._first_call, self._epoch = base.call, base.epoch
        self._began = time.monotonic() - base.seconds
        self._last = time.monotonic()
        self._unwritten: Checkpoint | None = None
        self.before_swap, self.values = _BeforeSwap(self), None

    @property
    def seconds(self) -> float:
        """Of training, those of before a run went on with them."""
        return time.monotonic() - self._began

    def on_epoch_begin(self, epoch, logs=None):
        """Count; the figures of an epoch that was cut go on."""
        self._epoch = epoch
        if epoch == self._base.epoch and self._base.call:
            assign(self.model.metrics_variables, self._base.metrics)
        else:
            self._first_call = 0

    def on_train_batch_end(self, batch, logs=None):
        """Write within an epoch."""
        call = self._first_call + batch + 1
        if call == self._calls or self.model.stop_training:
            return
        if self._of_epochs and self._interruption.seconds <= _PATIENCE:
            return
        if self._is_due() and not self._of_epochs:
            self._write(values_of(self.model), epoch=self._epoch, call=call)
        if self._interruption:
            self._interruption.end()

    def on_test_batch_end(self, batch, logs=None):
        """End within a long validation: what was saved last counts."""
        if self._interruption.seconds > _PATIENCE:
            self._interruption.end()

    def on_epoch_end(self, epoch, logs=None):
        """Write between epochs."""
        if self.model.stop_training:
            return
        if self._is_due():
            self._write(self._at_epoch_end(), epoch=epoch + 1, call=0)
        if self._interruption:
            self._interruption.end()

    def write_last(self) -> None:
        """Write the end of training, whenever the last one was written."""
        values = self._at_epoch_end()
        self._write(values, epoch=self._epoch + 1, call=0, is_over=True)
        if self._interruption:
            self._interruption.end()

    def leave_best(self) -> None:
        """Leave the best weights of a run that cannot go on, as those of an earlier run.

        Where no epoch was measured yet, those of the last checkpoint, if there is one.
        """
        state = self._state()
        if self._folder is None:
            return
        if state["best_weights"]:
            self._put(replace(
                self._base, step=self.model.num_steps, epoch=self._epoch, seconds=self.seconds,
                weights=state["best_weights"], optimizer=[], metrics=[], call=0, **state,
            ))  # fmt: skip
        checkpoints.set_aside(self._folder)

    def rescue(self) -> None:
        """Write what the disk did not take, if need be elsewhere, or best weights alone."""
        if self._folder is None:
            return
        if self._unwritten is not None:
            self._put(self._unwritten)
        elif not checkpoints.unfinished(self._folder):
            self.leave_best()
        if self._unwritten is not None:
            self._write_elsewhere(self._unwritten)
            self._unwritten = None

    def _write_elsewhere(self, checkpoint):
        try:
            elsewhere = Path(tempfile.mkdtemp(prefix="kvae-rescued-"))
            path = checkpoints.write(elsewhere, checkpoint)
            told = "move it there, and the same command goes on"
            print(f"saved: {path}: {self._folder} cannot be written; {told}", file=sys.stderr)
        except OSError as error:  # the error that ended the run is the one to tell
            place = f"{self._folder} and {tempfile.gettempdir()} cannot be written"
            reason = error.strerror or error
            print(f"note: {place} ({reason}): the last steps are not saved", file=sys.stderr)

    def _at_epoch_end(self):
        return values_of(self.model) if self.values is None else self.values

    def _is_due(self):
        if self._folder is None:
            return False
        return bool(self._interruption) or time.monotonic() - self._last >= self._wait

    def _write(self, values, **place):
        if self._folder is None or not _is_sound(values):
            return
        began = time.monotonic()
        metrics = values_of_variables(self.model.metrics_variables) if place["call"] else []
        self._put(replace(
            self._base, step=self.model.num_steps, seconds=self.seconds, weights=values[0],
            optimizer=values[1], metrics=metrics,
            **{"is_over": False, **place}, **self._state(),
        ))  # fmt: skip
        self._last = time.monotonic()
        self._wait = max(SECONDS_BETWEEN, (self._last - began) / _SHARE)

    def _put(self, checkpoint):
        try:
            checkpoints.write(self._folder, checkpoint)
            self._unwritten = None
        except OSError as error:
            self._unwritten = checkpoint
            self._notes.say(self._folder, error)


class _BeforeSwap(keras.callbacks.Callback):
    """Take weights and averages down before they are swapped."""

    def __init__(self, saving):
        super().__init__()
        self._saving = saving

    def on_epoch_end(self, epoch, logs=None):
        self._saving.values = values_of(self.model)


def values_of(vae: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies of the values of a model's and its optimizer's variables."""
    if hasattr(vae, "jax_state_sync"):  # in a step they are Keras's alone
        vae.jax_state_sync()
    return values_of_variables(vae.variables), values_of_variables(vae.optimizer.variables)


def values_of_variables(variables: Any) -> list[np.ndarray]:
    """Copies: what TensorFlow gives may change with the variable."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Any, values: Any) -> None:
    """Give variables the values that `values_of_variables` took of them."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _is_sound(values):
    arrays = [array for part in values for array in part if array.dtype.kind == "f"]
    return all(math.isfinite(array.sum()) or np.isfinite(array).all() for array in arrays)
