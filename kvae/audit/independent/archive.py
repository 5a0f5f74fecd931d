"""What a `.keras` file holds: a configuration and weights, read without Keras."""

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_OWN = "vars"  # where a group of HDF5 has the weights of a part itself


class Beyond(Exception):
    """A part that the audit has no formula for; the message names it."""


@dataclass(frozen=True)
class Weights:
    """The weights of a part, and those of the parts in it.

    Args:
        name: of the part.
        place: what the part that it is in calls it; one in a list is called after its class.
        own: its arrays, in the order of the file.
        parts: the parts in it.
    """

    name: str
    place: str
    own: tuple[np.ndarray, ...] = ()
    parts: tuple["Weights", ...] = field(default=(), repr=False)

    def part(self, name: str) -> "Weights":
        """The part of a name.

        Raises:
            Beyond: there is none, or more than one.
        """
        return self._only(name, [one for one in self.parts if one.name == name])

    def at(self, place: str) -> "Weights":
        """The part at a place.

        Raises:
            Beyond: there is none, or more than one.
        """
        return self._only(place, [one for one in self.parts if one.place == place])

    def _only(self, name: str, found: list["Weights"]) -> "Weights":
        if len(found) != 1:
            raise Beyond(f"{len(found)} parts called {name!r} in the weights of {self.name!r}")
        return found[0]


def read(path: Path) -> tuple[dict[str, Any], Weights]:
    """The configuration of a model's file, as it stands there, and its weights.

    Args:
        path: of a `.keras` file.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read(_CONFIG))
        with h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as file:
            return config, _weights(file, "")


def _weights(group: Any, place: str) -> Weights:
    """A group of HDF5; a list of parts in it is no part, but those in it are."""
    own: tuple[np.ndarray, ...] = ()
    parts: list[Weights] = []
    name = place
    for key in group:
        if key == _OWN:
            stored = group[key]
            name = str(stored.attrs.get("name", place))
            own = tuple(np.asarray(stored[number]) for number in sorted(stored, key=int))
        else:
            part = _weights(group[key], key)
            parts += [part] if _OWN in group[key] else part.parts
    return Weights(name, place, own, tuple(parts))


def kind(part: dict[str, Any]) -> str:
    """What a part is: the class of Keras or of kvae, or the full name of somebody's own."""
    registered, name = part.get("registered_name"), str(part["class_name"])
    if registered and str(registered).startswith("kvae>"):
        return str(registered)
    module = str(part.get("module") or "")
    return name if module.split(".")[0] == "keras" else f"{module}.{name}"
