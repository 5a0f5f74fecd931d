"""The paths under `saved/`: a TF Serving model repository, and what belongs to its models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kvae import files
from kvae.errors import DataError, UsageError, did_you_mean

METADATA = Path("assets.extra") / "kvae.json"
KERAS_MODEL = Path("assets.extra") / "model.keras"
#: Requests that TF Serving replays before it serves a version; the name is its contract.
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
PROBE = Path("assets.extra") / "probe.npz"
#: What the rows that it was trained on are known by, see `kvae.data.seen`.
TRAIN_ROWS = Path("assets.extra") / "train_rows.npy"
#: What it is and how it is used, for people.
MODEL_CARD = Path("MODEL_CARD.md")
#: The options of its run, as train.py --config takes them; of runs that options alone describe.
RUN_FILE = Path("run.yaml")
#: What kvae audit writes of a version, in its folder of evaluations.
AUDIT = "audit.json"
_GRAPH = Path("saved_model.pb")
#: Of a version; TF Serving passes over larger ones.
MAX_NUMBER = 2**63 - 1
_SHOWN = 5  # versions in a message


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
    """What kvae.json says about a version; its readers need look at none of it again.

    Raises:
        DataError: the file is missing or damaged.
    """
    from kvae.serving import metadata  # not for --help: it imports NumPy

    path = version.path / METADATA
    try:
        with path.open("rb") as file:
            content = file.read(metadata.MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return metadata.read(content, path)


def training_folder(save: str | Path, name: str) -> Path:
    """Where a run in progress keeps its weights and history."""
    return Path(save) / name / "training"


def versions(model: Path) -> list[Version]:
    """The published versions in `saved/<name>`, oldest first.

    Raises:
        UsageError: the folder may not be looked into.
    """
    return [version for version, fault in numbered(model) if not fault]


def numbered(model: Path) -> list[tuple[Version, str]]:
    """The folders in `saved/<name>` that have a version's number, oldest first.

    Returns:
        Each, and what keeps it from being a version, "" where nothing does; without folders that
        hold nothing of one.

    Raises:
        UsageError: the folder may not be looked into.
    """
    try:
        paths = list(model.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        raise UsageError(f"cannot read {model}: {error.strerror}") from error
    found = []
    for path in paths:
        if not is_number(path.name):
            continue
        lost = _lost(path)
        if len(lost) < 2:
            fault = lost[0] if lost else ""
            found.append((Version(path, model.name, int(path.name)), fault))
    return sorted(found, key=lambda one: one[0].number)


def _lost(path: Path) -> list[str]:
    """What a version's folder lacks of the two files that make it one."""
    try:
        if path.is_symlink() and not path.exists():
            return ["its link leads to nothing"]
        return [f"{name} is missing" for name in (_GRAPH, METADATA) if not (path / name).is_file()]
    except OSError as error:  # it may not be looked into
        return [f"cannot be read: {error.strerror}"]


def versions_below(save: Path) -> list[Version]:
    """Those of all models in `saved`."""
    return [version for found in _below(save) for version in found]


def _below(save: Path) -> Iterator[list[Version]]:
    for model in sorted(save.iterdir()):
        try:
            found = versions(model)
        except UsageError:  # it may not be looked into
            continue
        if found:
            yield found


def next_number(model: Path) -> int:
    """One more than any number that a version or an evaluation in `saved/<name>` has."""
    taken = [
        int(path.name)
        for folder in (model, model / "evaluation")
        if folder.is_dir()
        for path in folder.iterdir()
        if is_number(path.name)
    ]
    return max(taken, default=0) + 1


def find_version(path: str | Path) -> Version:
    """The version that a user means.

    Args:
        path: `saved/<name>/<number>`; `saved/<name>`: its version of the highest number; or
            `saved`: of the models' newest versions the one that was published last, by the time of
            its folder, which a copy keeps (`cp -a`) or not.

    Raises:
        UsageError: nothing is published there, or it cannot be looked at.
        DataError: a version that is named, or the one of the highest number, is not whole.
    """
    # A link is what it is called, wherever it leads.
    path = Path(path).resolve() if ".." in Path(path).parts else Path(path).absolute()
    if not files.is_folder(path):
        beside = [one.name for one in _inside(path.parent) if one.is_dir()]
        nearest = did_you_mean(path.name, beside)
        if is_number(path.name) and (numbers := sorted(filter(is_number, beside), key=int)):
            nearest = f"; versions there: {', '.join(numbers[-_SHOWN:])}"
        raise UsageError(f"no such folder: {path} (train.py publishes models in saved/){nearest}")
    lost = _lost(path)
    if not lost:
        return Version(path, path.parent.name, int(path.name) if is_number(path.name) else 0)
    if len(lost) == 1 and is_number(path.name):
        raise DataError(f"{path} is no whole version: {lost[0]}")
    if lost == [f"{METADATA} is missing"]:
        raise UsageError(f"{path} is a SavedModel that kvae did not publish: no {METADATA}")
    own = numbered(path)
    if own:
        return _whole(*own[-1])
    newest = [found[-1] for found in _below(path)]
    if not newest:
        raise UsageError(f"no published model in {path}: expected {path}/<name>/<number>/")
    return max(newest, key=lambda version: (version.path.stat().st_mtime_ns, version.name))


def _whole(version: Version, fault: str) -> Version:
    """The version of the highest number; an older one is no answer where it is damaged."""
    if fault:
        raise DataError(f"{version.path} is no whole version: {fault}; name the one that is meant")
    return version


def _inside(folder: Path) -> list[Path]:
    try:
        return [*folder.iterdir()]
    except OSError:
        return []


def is_number(name: str) -> bool:
    """Whether a folder of this name is a version of its own to TF Serving: "7", not "007"."""
    return (
        name.isascii()
        and name.isdecimal()
        and len(name) <= len(str(MAX_NUMBER))
        and name == str(int(name))
        and int(name) <= MAX_NUMBER
    )
