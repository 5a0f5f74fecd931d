"""Keras callbacks of the user's own in a run: those of `kvae.train`, and those of --import."""

import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from kvae.config import Config
from kvae.errors import UsageError, brief

#: Functions of a run's `Config` that make a Keras callback for it: a file of --import adds one.
#: They are called when the data are there, before training.
CALLBACKS: list[Callable[[Config], Any]] = []


def checked(callbacks: Any) -> list[Any]:
    """The callbacks that a user gave, as a list.

    Keras is not imported: whoever has a callback of it did so.

    Args:
        callbacks: a list of objects of `keras.callbacks.Callback`.

    Raises:
        UsageError: it is no list, or something in it is no Keras callback.
    """
    if isinstance(callbacks, str | bytes | dict) or not isinstance(callbacks, Iterable):
        raise UsageError(
            "callbacks: a list of objects of keras.callbacks.Callback is wanted, received "
            f"{_named(callbacks)}"
        )
    found = [*callbacks]
    for callback in found:
        if not _is_callback(callback):
            raise UsageError(
                "callbacks: each is an object of keras.callbacks.Callback, received "
                f"{_named(callback)}"
            )
    return found


def of_files(config: Config) -> list[Any]:
    """What the functions of `CALLBACKS` make for a run.

    Raises:
        UsageError: one of them makes something else.
    """
    found = []
    for make in CALLBACKS:
        name = getattr(make, "__name__", type(make).__name__)
        callback = make(config) if callable(make) else make
        if not callable(make) or not _is_callback(callback):
            raise UsageError(
                "kvae.training.callbacks.CALLBACKS: each is a function of a configuration that "
                f"makes an object of keras.callbacks.Callback; of {name} received "
                f"{_named(callback)}"
            )
        found.append(callback)
    return found


def numbers(
    history: Mapping[str, Sequence[Any]], figures: Collection[str]
) -> dict[str, list[float]]:
    """A history as it is published, without what callbacks put in it that is no number.

    Args:
        history: figure -> value of each epoch.
        figures: the model's own.
    """
    found = {}
    for name, values in history.items():
        is_own = name.removeprefix("val_") in figures
        try:
            row = [float(value) for value in values]
        except (TypeError, ValueError):
            continue
        if is_own or all(map(math.isfinite, row)):
            found[name] = row
    return found


def _is_callback(one: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(one, keras.callbacks.Callback)


def _named(one: Any) -> str:
    return f"the class {one.__name__}" if isinstance(one, type) else brief(one)
