"""The best weights of a run, and those that earlier runs of its name left behind.

`saved/<name>/training` holds best.weights.h5 and history.csv of the last run, and
earlier-N.weights.h5 and earlier-N.csv of runs before it that published nothing. Each file of
weights says which figure chose it, so that nothing takes the place of what is better.
"""

import errno
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from kvae import files
from kvae.config import Config
from kvae.objectives import raises_elbo
from kvae.training.command import training_command
from kvae.training.comparing import chosen_by, measured_by

BEST, HISTORY = "best.weights.h5", "history.csv"
START = -1  # the "epoch" of the weights that training starts from
_HALF, _EARLIER, _SUFFIX = "half.weights.h5", "earlier-", ".weights.h5"
ROWS = "kvae_train_rows"  # of such a file, what the rows are known by that they have seen
_RECORD = "kvae"  # the attribute of a file of weights that holds a `Record`
_HEADER = 8192  # bytes of HDF5 around a weight, at most


class Record(NamedTuple):
    """How good weights are, and where they came from.

    Args:
        figure: of the valid split: "loss", lower is better, or "elbo", higher is better.
        value: of the figure, nats.
        epoch: from 1; 0: the weights that training started from.
        measured_by: checksum of data and options without which values cannot be compared.
        config: what the run was trained with.
    """

    figure: str
    value: float
    epoch: int
    measured_by: str
    config: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.place}, validation {self.figure} {self.value:.5g}"

    @property
    def place(self) -> str:
        """Where the weights come from, in words."""
        return f"epoch {self.epoch}" if self.epoch else "the weights at the start"

    def compares(self, other: "Record | None") -> bool:
        """Whether the values are of one kind."""
        ours = self.figure, self.measured_by
        return other is not None and ours == (other.figure, other.measured_by)

    def replaces(self, other: "Record | None") -> bool:
        """Whether the values are of one kind, and this one is at least as good."""
        if not self.compares(other):
            return False
        sign = 1 if self.figure == "elbo" else -1
        return sign * self.value >= sign * other.value


def read(path: str | Path) -> Record | None:
    """What a file of weights says of itself; None: nothing, or it cannot be read."""
    try:
        with h5py.File(path) as file:
            found = Record(**json.loads(file.attrs[_RECORD]))
        tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in found.config.items()}
        return found._replace(config=tuples, value=float(found.value))
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def set_aside(folder: Path) -> None:
    """Move what the last run left out of the way of the next; the best of what compares stays."""
    best, history = folder / BEST, folder / HISTORY
    if best.exists():
        number = 1 + max((_number(path) for path in _earlier(folder)), default=0)
        aside = folder / f"{_EARLIER}{number}{_SUFFIX}"
        # History first: a kill in between leaves weights that are moved the next time.
        if history.exists():
            history.replace(_history_of(aside))
        best.replace(aside)
    history.unlink(missing_ok=True)
    for path in _earlier(folder):
        _remove_worse(folder, read(path), path)


def published(folder: Path, config: Config, best: Record | None) -> None:
    """Remove what a publication leaves without use, and say what stays.

    Args:
        folder: `saved/<name>/training`.
        config: of the run that was published.
        best: of the weights that were published; those in the file may be older.
    """
    _remove_worse(folder, best)
    (folder / BEST).unlink(missing_ok=True)
    for path in _earlier(folder):
        found = read(path)
        than = "it cannot be compared with what was published"
        if found and found.compares(best):
            than = f"better than what was published ({best.figure} {best.value:.5g})"
        print(f"kept      {path} of an earlier run{_in_brackets(found)}: {than}")
        for line in _commands(path, config):
            print(f"          {line}")


@contextmanager
def telling_of(folder: Path, config: Config) -> Iterator[None]:
    """Say where the weights of a run are that ends here, and of those before it, and their use.

    Args:
        folder: `saved/<name>/training`.
        config: of the run.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):  # whoever reads standard error may have gone
            if not (folder / BEST).exists():
                print(f"no weights of this run were written to {folder}", file=sys.stderr)
            for path in [folder / BEST, *_earlier(folder)]:
                if path.exists():
                    what = "best weights so far" if path.name == BEST else "of an earlier run"
                    print(f"{what}: {path}{_in_brackets(read(path))}", file=sys.stderr)
                    for line in _commands(path, config):
                        print(f"  {line}", file=sys.stderr)
        raise


def _in_brackets(record: Record | None) -> str:
    return f" ({record})" if record else ""


def _commands(path: Path, config: Config) -> list[str]:
    """What to type to go on from weights, and to publish them, with their own run's options."""
    try:
        then = config if path.name == BEST else Config(read(path).config)
        then = then.replaced(save=config.save, name=config.name, init_from=str(path))
        publish = training_command(then.replaced(epochs=0))
        if not then.epochs:
            return [f"publish: {publish}"]
        return [f"go on:      {training_command(then)}", f"or publish: {publish}"]
    except Exception:  # no record, or one of another kvae: whatever it holds, it is but advice
        return ["--init-from takes them, with the options that they were trained with"]


def _earlier(folder: Path) -> list[Path]:
    """The weights that were set aside, oldest first."""
    return sorted(folder.glob(f"{_EARLIER}[0-9]*{_SUFFIX}"), key=_number)


def _number(path: Path) -> int:
    digits = path.name.removeprefix(_EARLIER).removesuffix(_SUFFIX)
    return int(digits) if digits.isdigit() else 0


def _history_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_SUFFIX) + ".csv")


def _remove_worse(folder: Path, record: Record | None, but: Path | None = None) -> None:
    """Remove what was set aside and is not better than other weights, which are on the disk."""
    for path in _earlier(folder):
        if record is not None and path != but and record.replaces(read(path)):
            path.unlink(missing_ok=True)
            _history_of(path).unlink(missing_ok=True)


class BestWeights(keras.callbacks.Callback):
    """Keep the best weights in memory, and for a run that is cut short in a file.

    Keras takes as long to write a small model as to train it for an epoch: hence not every time.

    Up to the first epoch that counts the ELBO chooses: the run may end before.

    Args:
        folder: where best.weights.h5 is written.
        config: of the run.
        dataset: its card, and the rows that the weights are chosen on.
        notes: hears of a full disk.
        seconds_between: how old a file may grow before the next best weights replace it.
        train_rows: what the rows that the weights have seen are known by; None: not known.

    Attributes:
        weights: the best so far; None: none yet.
        record: of them.
        waited: epochs at the full beta since the best one.
    """

    def __init__(self, folder, config, dataset, notes, *, seconds_between=20.0, train_rows=None):
        super().__init__()
        self._folder, self._config, self._notes = folder, config, notes
        self._train_rows = train_rows
        self._measured_by = measured_by(config, dataset)
        self._figure, self._counts = chosen_by(config), counts_of(config)
        self._is_full = full_beta(config)
        self._has_counted, self._best = False, -math.inf
        self._between, self._tried, self._is_written = seconds_between, -math.inf, False
        self.weights = self.record = None
        self.waited = 0

    def on_epoch_end(self, epoch, logs=None):
        """Keep the weights if they are the best so far."""
        if self._is_better(epoch, logs) and time.monotonic() - self._tried > self._between:
            self.write()

    def measured(self, vae, figures):
        """Take the weights that training starts from for the first that may be the best.

        No file is written: those of --init-from are in one.

        Args:
            vae: the model.
            figures: of the valid split, by name.
        """
        self.set_model(vae)
        self._is_better(START, {f"val_{name}": value for name, value in figures.items()})
        self._is_written = self._config.init_from is not None

    def _is_better(self, epoch, logs):
        counts = self._counts(epoch)
        if self._has_counted and not counts:
            return False
        if counts and not self._has_counted:
            self._has_counted, self._best = True, -math.inf
        figure = self._figure if counts else "elbo"
        value = float(logs[f"val_{figure}"])
        height = -value if figure == "loss" else value
        weights = self.model.get_weights() if height > self._best else None
        if weights is None or not all(np.isfinite(weight).all() for weight in weights):
            self.waited += self.record is not None and self._is_full(epoch)
            return False
        self._best, self.weights, self.waited = height, weights, 0
        self.record = Record(figure, value, epoch + 1, self._measured_by, self._config.to_dict())
        self._is_written = False
        return True

    def start(self, vae, record):
        """Take a model's weights for the best.

        Args:
            vae: the model.
            record: what is known of its weights; measured on other data it says nothing here.
        """
        self.set_model(vae)
        is_ours = record is not None and record.measured_by == self._measured_by
        self.weights, self.record = vae.get_weights(), record if is_ours else None

    def write(self):
        """Write the model, which has the best weights; whether that could be done."""
        try:
            _write(self.model, self._folder, self.record, self._train_rows)
            self._is_written = True
        except OSError as error:
            self._is_written = False
            self._notes.say(self._folder / BEST, error)
        self._tried = time.monotonic()
        return self._is_written

    def rescue(self):
        """Write what is in memory alone, for a run that ends early; elsewhere if need be."""
        is_there = self.record is not None and not self.record.epoch
        is_there = is_there or (self._folder / BEST).exists()
        if self.weights is None or (self._is_written and is_there):
            return
        self.model.set_weights(self.weights)
        if self.write():
            return
        folder = Path(tempfile.mkdtemp(prefix="kvae-rescued-"))
        _write(self.model, folder, self.record, self._train_rows)
        print(
            f"best weights so far: {folder / BEST} ({self.record}): {self._folder} cannot be "
            "written; --init-from takes them, with the options that they were trained with",
            file=sys.stderr,
        )


def _write(model, folder, record, train_rows):
    """Write best.weights.h5; a kill in the middle leaves the file before it.

    Raises:
        OSError: it cannot be written.
    """
    half = folder / _HALF
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _reserve(half, model, 0 if train_rows is None else train_rows.nbytes)
        model.save_weights(half)
        with h5py.File(half, "r+") as file:
            if record is not None:
                file.attrs[_RECORD] = json.dumps(record._asdict())
            if train_rows is not None:
                file[ROWS] = train_rows
        files.sync(half)
        half.replace(folder / BEST)
        files.sync(folder)
    except RuntimeError as error:  # of h5py, where closing a file fails
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    _remove_worse(folder, record)


def _reserve(path, model, rows):
    """See that a file of the model's weights and bytes of rows fits: else HDF5 cannot close it.

    Raises:
        OSError: it does not.
    """
    optimizer = getattr(model, "optimizer", None)  # of one that is published as it is: none
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    size = sum(4 * math.prod(one.shape) + _HEADER for one in variables) + rows + _HEADER
    path.unlink(missing_ok=True)
    if not hasattr(os, "posix_fallocate"):  # Linux alone keeps room for it
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def counts_of(config):
    """Whether an epoch, from 0, or START may be the best.

    Where the goal is not the ELBO, those before beta is at its full value had another goal, whose
    loss cannot be compared.
    """
    return (lambda epoch: True) if raises_elbo(config.to_dict()) else full_beta(config)


def full_beta(config):
    """Whether beta is at its full value in an epoch, from 0, or at START.

    Of cycles in those that are all at the full value, or the last ones.
    """
    warmup, cycle = config.get("kl_warmup_epochs", 0), config.get("kl_cycle_epochs", 0)
    if cycle:
        return lambda epoch: epoch != START and epoch % cycle >= min(cycle / 2, cycle - 1)
    return lambda epoch: epoch >= (warmup or START)
