"""Checkpoints: all that a run needs to go on as if it had never stopped, in one file each.

`saved/<name>/training` holds, beside history.csv: checkpoint-<step>.npz, the newest few of a run
that is not published; finished.npz, the last one of the last run that was; earlier-<n>.npz, the
last ones of runs that others took the place of before they were published.
"""

import dataclasses
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from kvae import files
from kvae.errors import DataError, brief, one_line

FORMAT = 1
#: Of a run the newest few, for one that is damaged.
KEPT = 2
FINISHED = "finished.npz"
SUFFIX = ".npz"
_HALF, _PREFIX, _EARLIER = "half.npz", "checkpoint-", "earlier-"
_LISTS = ("weights", "optimizer", "metrics", "best_weights")
_ARRAYS = ("train_rows", "before", "shift", "scale")
# What reading a damaged archive or array raises.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError)  # fmt: skip


class Record(NamedTuple):
    """How good weights are, and where they came from.

    Args:
        figure: of the valid split: "loss", lower is better, or "elbo", higher is better.
        value: of the figure, nats.
        epoch: from 1; 0: the weights that training started from.
        measured_by: checksum of data and options without which values cannot be compared.
    """

    figure: str
    value: float
    epoch: int
    measured_by: str

    def __str__(self) -> str:
        return f"{self.place}, validation {self.figure} {self.value:.5g}"

    @property
    def place(self) -> str:
        """Where the weights come from, in words."""
        return f"epoch {self.epoch}" if self.epoch else "the weights at the start"

    @property
    def height(self) -> float:
        """The value, or what is under it of a loss: the higher, the better."""
        return self.value if self.figure == "elbo" else -self.value

    def to_json(self) -> dict[str, Any]:
        """What a version says of it: `epoch`, `figure` and `value`."""
        return {name: getattr(self, name) for name in ("epoch", "figure", "value")}

    def compares(self, other: "Record | None") -> bool:
        """Whether the values are of one kind."""
        ours = self.figure, self.measured_by
        return other is not None and ours == (other.figure, other.measured_by)

    def replaces(self, other: "Record | None") -> bool:
        """Whether the values are of one kind, and this one is at least as good."""
        return other is not None and self.compares(other) and self.height >= other.height


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run at the end of a call of its training graph.

    Args:
        run: a token of the run, by which its version is known again.
        config: option -> value, JSON values.
        versions: of libraries.
        policy: Keras's name of the precision.
        data: split -> count of rows and checksum.
        card: the data card.
        condition: of a conditional model, see `kvae.data.conditions.Conditions.to_json`.
        model: Keras's configuration of the model; None: a part has none.
        paths: of its variables.
        first_step: the steps that it had taken before the run.
        step: those that it has taken now.
        epoch: from 0, in which the run goes on; as many as there are, if it is at its end.
        call: of the graph, made of that epoch.
        is_over: whether training is, and publication is left.
        rows: of history.csv.
        course: how training went beside its epochs, see `kvae.publish.publish`.
        left_out: split -> rows that weights before had seen.
        seconds: of training so far.
        record: of the best weights; None: there are none, or none whose figure is known.
        waited: see `kvae.training.keeping.best_weights.BestWeights`.
        has_counted: whether an epoch counted yet.
        weights: values of all variables of the model.
        optimizer: of the optimizer.
        metrics: of the figures of the epoch so far.
        best_weights: of the model when it was best; empty: there are none yet.
        shift: see `kvae.VAE`.
        scale: see `kvae.VAE`.
        train_rows: what the rows that the weights have seen are known by, or None.
        before: the same of the weights that training started from.
    """

    run: str
    config: dict[str, Any]
    versions: dict[str, str]
    policy: str
    data: dict[str, Any]
    card: dict[str, Any]
    condition: dict[str, Any] | None
    model: dict[str, Any] | None
    paths: list[str]
    first_step: int
    shift: Any
    scale: Any
    train_rows: Any = None
    before: Any = None
    step: int = 0
    epoch: int = 0
    call: int = 0
    is_over: bool = False
    rows: list[dict[str, float]] = field(default_factory=list)
    course: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    record: Record | None = None
    waited: int = 0
    has_counted: bool = False
    weights: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)
    metrics: list[np.ndarray] = field(default_factory=list)
    best_weights: list[np.ndarray] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where the run is, in words."""
        if self.is_over:
            epochs = len(self.rows)
            return f"at the end of training, after {epochs} {'epoch' if epochs == 1 else 'epochs'}"
        made = f", {self.step - self.first_step:,} steps made" if self.call else ""
        return f"in epoch {self.epoch + 1} of {self.config['epochs']}{made}"


_HEADER_NAMES = [
    one.name for one in dataclasses.fields(Checkpoint) if one.name not in (*_LISTS, *_ARRAYS)
]


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole or not at all, then remove those that it makes superfluous.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written; those before it stay.
    """
    header = {name: getattr(checkpoint, name) for name in _HEADER_NAMES} | {"format": FORMAT}
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), "uint8")}
    for name in _LISTS:
        for place, values in enumerate(getattr(checkpoint, name)):
            arrays[f"{name}/{place}"] = values
    for name in _ARRAYS:
        if getattr(checkpoint, name) is not None:
            arrays[name] = np.asarray(getattr(checkpoint, name))
    path = folder / f"{_PREFIX}{checkpoint.step:012d}{SUFFIX}"
    half = folder / _HALF
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            np.savez(file, **arrays)
        files.sync(half)
        half.replace(path)
        files.sync(folder)
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    for old in unfinished(folder)[KEPT:]:
        with suppress(OSError):  # somebody else's, or read just now (Windows)
            old.unlink(missing_ok=True)
    return path


def read_header(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without its arrays; see `Checkpoint`.

    Raises:
        DataError: it is damaged, or of another format.
    """
    with _opened(path) as archive:
        return _header(archive, path)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint; every byte of it is checked.

    Raises:
        DataError: it is damaged, or of another format.
    """
    with _opened(path) as archive:
        values = _header(archive, path)
        try:
            for name in _LISTS:
                count = sum(1 for key in archive.files if key.startswith(f"{name}/"))
                arrays = (_array(archive, f"{name}/{place}", path) for place in range(count))
                values[name] = [_typed(array) for array in arrays]
            for name in _ARRAYS:
                values[name] = _array(archive, name, path) if name in archive.files else None
            if len(values["paths"]) != len(values["weights"]):
                raise ValueError("it lacks weights")
            return Checkpoint(**values)
        except _DAMAGED as error:
            raise _damaged(path, error) from error


def _array(archive, name, path):
    """An array of an archive; before it is read, its size is held against that of the file."""
    with archive.zip.open(f"{name}.npy") as file:
        heads = np.lib.format
        is_first = heads.read_magic(file)[0] == 1
        read = heads.read_array_header_1_0 if is_first else heads.read_array_header_2_0
        shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise ValueError(f"{name} says that it is larger than the file: {shape}")
    return archive[name]


def _typed(array):
    """NumPy's files do not know bfloat16 by its name."""
    if array.dtype.kind != "V":
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)


@contextmanager
def _opened(path):
    with ExitStack() as stack:
        try:
            # NumPy leaves a file open that it cannot read.
            file = stack.enter_context(path.open("rb"))
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no archive of NumPy (.npz), or cut short")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            stack.enter_context(archive)
            # Ours are not compressed: nothing grows while it is read.
            if any(one.compress_type for one in archive.zip.infolist()):
                raise ValueError("its arrays are compressed")
        except _DAMAGED as error:
            raise _damaged(path, error) from error
        yield archive


def _header(archive, path):
    try:
        values = files.strict_json(_array(archive, "header", path).tobytes())
        number = values.pop("format")
        if number == FORMAT:
            if sorted(values) != sorted(_HEADER_NAMES):
                raise ValueError("its header is not what one says")
            record = values["record"]
            values["record"] = None if record is None else Record(*record)
            _check_kinds(Checkpoint, values)
            _check_kinds(Record, {} if record is None else values["record"]._asdict())
            return values
    except (*_DAMAGED, AttributeError) as error:
        raise _damaged(path, error) from error
    raise DataError(f"{path} is a checkpoint of format {number!r}; this kvae reads {FORMAT}")


def _check_kinds(of, values):
    hints = get_type_hints(of)
    for name, value in values.items():
        kinds = get_args(hints[name]) if isinstance(hints[name], UnionType) else (hints[name],)
        if not isinstance(value, tuple(get_origin(kind) or kind for kind in kinds)):
            raise ValueError(f"{name} in its header is no {hints[name]}: {brief(value)}")


def _damaged(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or one_line(str(error), 200)
    return DataError(f"{path} is damaged: {reason}")


def unfinished(folder: Path) -> list[Path]:
    """The checkpoints of a run that is not published, newest first: by step, not by a clock."""
    return sorted(folder.glob(f"{_PREFIX}[0-9]*{SUFFIX}"), reverse=True)


def earlier(folder: Path) -> list[Path]:
    """Those of runs before that were not published, oldest first."""
    return sorted(folder.glob(f"{_EARLIER}[0-9]*{SUFFIX}"), key=_number)


def _number(path: Path) -> int:
    digits = path.name.removeprefix(_EARLIER).removesuffix(SUFFIX)
    return int(digits) if digits.isdigit() else 0


def newest(paths: Sequence[Path], look: Callable[[Path], Any] = read) -> tuple[Any, Any, list[str]]:
    """The newest sound one of files.

    Args:
        paths: newest first, see `unfinished`.
        look: `read`, or `read_header` where that is enough.

    Returns:
        What `look` says of it, its path, both None where none is sound, and what is wrong with
        newer ones.
    """
    faults: list[str] = []
    for path in paths:
        try:
            return look(path), path, faults
        except DataError as error:
            faults.append(str(error))
    return None, None, faults


def set_aside(folder: Path) -> Path | None:
    """Move an unfinished run out of the way of the next: its newest sound checkpoint stays.

    So do newer ones that cannot be read: a later kvae may.

    Returns:
        Where the last one is now that was moved; None: there is none.
    """
    _, sound, _ = newest(unfinished(folder))
    aside = None
    number = max(map(_number, earlier(folder)), default=0)
    for path in unfinished(folder):
        number += 1
        aside = folder / f"{_EARLIER}{number}{SUFFIX}"
        path.replace(aside)
        if path == sound:
            break
    for left in unfinished(folder):
        left.unlink(missing_ok=True)
    _remove_worse(folder)
    return aside if aside is not None and aside.exists() else None


def _remove_worse(folder):
    """Of earlier runs whose figures compare the best one stays, of those without any the last."""
    records, is_last = {}, True
    for path in reversed(earlier(folder)):
        with suppress(DataError):
            records[path] = read_header(path)["record"]
    for path, record in records.items():
        others = [one for other, one in records.items() if other != path and other.exists()]
        if record is None:
            is_worse, is_last = not is_last, False
        else:
            is_worse = any(one is not None and one.replaces(record) for one in others)
        if is_worse:
            path.unlink(missing_ok=True)


def finish(folder: Path) -> None:
    """Mark a run as published; its last checkpoint stays, for more epochs."""
    paths = unfinished(folder)
    if paths:
        paths[0].replace(folder / FINISHED)
    for path in paths[1:]:
        path.unlink(missing_ok=True)
