"""--log-json: a run as lines of JSON, for programs: its start, each epoch, how it ended.

Lines are added to a file, never taken from it but for epochs that a resumed run makes once more.
No line holds NaN or Infinity, which are no JSON: null stands for them.
"""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from kvae import __version__
from kvae.files import replace_text
from kvae.training.keeping.comparing import chosen_by
from kvae.training.preflight import line_of
from kvae.training.start import steps_of
from kvae.training.watching.history import Notes

_START, _EPOCH, _END = "start", "epoch", "end"


def begin(config, dataset, vae):
    """Write the line of a run that starts, if a file was named.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
        vae: as it starts.
    """
    if config.log_json:
        _Log(config.log_json).add(
            _START, version=__version__, config=config.to_dict(),
            rows={name: len(getattr(dataset, name).x) for name in ("train", "valid", "test")},
            element_shape=list(vae.element_shape), parameters=vae.count_params(),
            steps=steps_of(config, dataset), chosen_by=chosen_by(config),
        )  # fmt: skip


@contextmanager
def outcome(config) -> Iterator[dict[str, Any]]:
    """Write the line of a run that ends, if a file was named: an error, or what is put in here.

    Args:
        config: all options.

    Yields:
        What the line holds beside the error.
    """
    found: dict[str, Any] = {}
    try:
        yield found
    except BaseException as error:
        if config.log_json:
            name = type(error).__name__
            _Log(config.log_json).add(_END, error=f"{name}: {error}" if str(error) else name)
        raise
    if config.log_json:
        _Log(config.log_json).add(_END, **found, error=None)


class Epochs(keras.callbacks.Callback):
    """Write a line of each epoch. Stands behind the callback that keeps the best weights.

    Args:
        path: of the file.
        kept: `kvae.training.keeping.best_weights.BestWeights` of the run.
    """

    def __init__(self, path, kept):
        super().__init__()
        self._log, self._kept = _Log(path), kept
        self._is_first, self._begun = True, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the watch; of a resumed run drop what an earlier process said of later epochs."""
        self._begun = time.monotonic()
        if self._is_first and epoch:
            self._log.drop_after(epoch)
        self._is_first = False

    def on_epoch_end(self, epoch, logs=None):
        """Write the line."""
        is_best = self._kept.record is not None and self._kept.record.epoch == epoch + 1
        seconds = round(time.monotonic() - self._begun, 3)
        self._log.add(_EPOCH, epoch=epoch + 1, **(logs or {}), best=is_best, seconds=seconds)


class _Log:
    """A file that lines are added to; those that it does not take are added with the next."""

    def __init__(self, path):
        self._path, self._notes, self._lines = Path(path), Notes(rest=""), []

    def add(self, event, **values):
        line = json.dumps(_strict({"event": event, **values}), allow_nan=False)
        self._lines.append(f"{line}\n")
        try:
            _append(self._path, "".join(self._lines).encode())
            self._lines = []
        except OSError as error:
            self._notes.say(self._path, error)

    def drop_after(self, epoch):
        """Take away the last lines of epochs, from 1, that are later than one."""
        try:
            if not self._path.is_file():
                return  # a pipe keeps nothing
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = _without_later(lines, epoch)
            if kept != lines:
                replace_text(self._path, "".join(kept))
        except OSError as error:
            self._notes.say(self._path, error)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # lines that others wrote


def _without_later(lines, epoch):
    """The lines of this file without the last run's of epochs later than one.

    A run may have been taken up several times: it goes back over the starts of equal options, to
    the last epoch that stays or to a run that was published.
    """
    found = [line_of(line) for line in lines]
    starts = [place for place, one in enumerate(found) if one.get("event") == _START]
    kept, end = [], len(lines)
    for start in reversed(starts):
        part = found[start:end]
        is_other = _options(part[0]) != _options(found[starts[-1]])
        if is_other or any(one.get("published") for one in part):
            break
        is_kept = [one.get("event") in (_START, _END) for one in part]
        of_epochs = [one.get("event") == _EPOCH and one["epoch"] <= epoch for one in part]
        own = zip(lines[start:end], is_kept, of_epochs, strict=True)
        kept, end = [line for line, *stays in own if any(stays)] + kept, start
        if any(of_epochs):
            break
    return lines[:end] + kept


def _options(start):
    return {name: value for name, value in start["config"].items() if name != "epochs"}


def _append(path, text):
    """Add a text to a file whole, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("ab+" if path.is_file() else "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size if path.is_file() else 0
        if size:
            file.seek(size - 1)
            text = text if file.read(1) == b"\n" else b"\n" + text  # that of a killed process
        try:
            if file.write(text) != len(text):
                raise OSError(f"{path} does not take {len(text)} bytes")
        except OSError:
            if path.is_file():
                file.truncate(size)
            raise


def _strict(value):
    """A value of JSON without numbers that are none."""
    if isinstance(value, dict):
        return {key: _strict(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    value = float(value)
    return value if math.isfinite(value) else None
