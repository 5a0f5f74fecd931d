"""The paths under `saved/`: a TF Serving model repository, and what belongs to its models."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from kvae.errors import UsageError, did_you_mean

METADATA = Path("assets.extra") / "kvae.json"
KERAS_MODEL = Path("assets.extra") / "model.keras"
#: Requests that TF Serving replays before it serves a version; the name is its contract.
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
PROBE = Path("assets.extra") / "probe.npz"


class Version(NamedTuple):
    """A published model.

    Args:
        path: `saved/<name>/<number>`.
        name: the model's name.
        number: of the version, from 1.
    """

    path: Path
    name: str
    number: int

    @property
    def evaluation(self) -> Path:
        """Where evaluate.py writes about this version."""
        return self.path.parent / "evaluation" / str(self.number)


def read_metadata(version: Version) -> dict[str, Any]:
    """What kvae.json says about a version.

    Raises:
        UsageError: the file is missing or damaged.
    """
    path = version.path / METADATA
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged: it holds no object")
    return found


def training_folder(save: str | Path, name: str) -> Path:
    """Where a run in progress keeps its weights and history."""
    return Path(save) / name / "training"


def versions(model: Path) -> list[Version]:
    """The published versions in `saved/<name>`, oldest first.

    Raises:
        UsageError: the folder may not be looked into.
    """
    try:
        paths = list(model.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        raise UsageError(f"cannot read {model}: {error.strerror}") from error
    found = [
        Version(path, model.name, int(path.name))
        for path in paths
        if _is_number(path.name)
        and (path / "saved_model.pb").is_file()
        and (path / METADATA).is_file()
    ]
    return sorted(found, key=lambda version: version.number)


def versions_below(save: Path) -> list[Version]:
    """Those of all models in `saved`, but of folders that may not be looked into (lost+found)."""
    found = []
    for model in sorted(save.iterdir()):
        with suppress(UsageError):
            found += versions(model)
    return found


def next_number(model: Path) -> int:
    """One more than any number that a version or an evaluation in `saved/<name>` has."""
    taken = [
        int(path.name)
        for folder in (model, model / "evaluation")
        if folder.is_dir()
        for path in folder.iterdir()
        if _is_number(path.name)
    ]
    return max(taken, default=0) + 1


def find_version(path: str | Path) -> Version:
    """The version that a user means.

    Args:
        path: `saved` (the newest version of any name), `saved/<name>` (its newest version) or
            `saved/<name>/<number>`.

    Raises:
        UsageError: nothing is published there.
    """
    path = Path(path).resolve()
    if not path.is_dir():
        beside = [one.name for one in _inside(path.parent) if one.is_dir()]
        nearest = did_you_mean(path.name, beside)
        raise UsageError(f"no such folder: {path} (train.py publishes models in saved/){nearest}")
    if _is_number(path.name):
        lost = [name for name in (Path("saved_model.pb"), METADATA) if not (path / name).is_file()]
        if len(lost) == 1:
            raise UsageError(f"{path} is no whole version: {lost[0]} is missing")
    if (path / "saved_model.pb").is_file():
        if not (path / METADATA).is_file():
            raise UsageError(f"{path} is a SavedModel that kvae did not publish: no {METADATA}")
        return Version(path, path.parent.name, int(path.name) if _is_number(path.name) else 0)
    own = versions(path)
    if own:
        return own[-1]
    below = versions_below(path)
    if not below:
        raise UsageError(f"no published model in {path}: expected {path}/<name>/<number>/")
    return max(below, key=lambda version: (version.path / METADATA).stat().st_mtime_ns)


def _inside(folder: Path) -> list[Path]:
    try:
        return [*folder.iterdir()]
    except OSError:
        return []


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name == str(int(name))
