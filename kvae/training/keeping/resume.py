"""Whether a run goes on from a checkpoint, starts, or was published already."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.config import MODEL_PARTS, OF_OUTPUT, Config
from kvae.data import Dataset, seen
from kvae.data.conditions import Conditioned
from kvae.errors import DataError, UsageError, brief
from kvae.options import flag
from kvae.registry import GIVEN
from kvae.serving import versions
from kvae.serving.versions import Version
from kvae.training.keeping import checkpoints
from kvae.training.keeping.checkpoints import Checkpoint

# Where a run is written to and where it ends are no part of what it computes.
_FREE = (*OF_OUTPUT, "devices", "epochs", "patience", "max_minutes")
_LIMITS = ("epochs", "patience", "max_minutes")
_ROWS = 1000
# In Keras's configurations: of layers, and the step at which an objective begins.
_NAMES = ("name", "inbound_nodes", "input_layers", "output_layers", "first_step")


class Found(NamedTuple):
    """What `saved/<name>/training` holds of the run that was asked for.

    Args:
        checkpoint: that it goes on from; None: it starts.
        published: the version that it became already.
        told: a line on what was found; "" where nothing is to be said.
        is_saved: whether it goes on, or was published.
        path: of the file that the checkpoint is in.
    """

    checkpoint: Checkpoint | None = None
    published: Version | None = None
    told: str = ""
    is_saved: bool = False
    path: Path | None = None


def find(config: Config, resume: bool | None, *, whole: bool = True) -> Found:
    """Look for the run that a configuration asks for.

    Args:
        config: all options.
        resume: True: go on, with a run that was published too, if it is to go further. None: go
            on with one that was not published. False: start.
        whole: False: look at heads of files alone, to refuse what can be refused at once; nothing
            is written, and `Found` has no checkpoint.

    Raises:
        UsageError: there is a run, and it has other options; or no checkpoint of it is sound.
    """
    folder = versions.training_folder(config.save, config.name)
    paths = checkpoints.unfinished(folder)
    if resume is False:
        return _set_aside(config, folder, paths) if whole else Found()
    is_finished = not paths
    if is_finished and resume and (folder / checkpoints.FINISHED).exists():
        paths = [folder / checkpoints.FINISHED]
    if not paths:
        told = f"--resume: nothing is saved in {folder}, the run starts" if resume else ""
        return Found(told=told)
    look = checkpoints.read if whole else checkpoints.read_header
    found, path, faults = checkpoints.newest(paths, look)
    if found is None:
        raise UsageError(
            f"no checkpoint of the run in {folder} is sound ({'; '.join(faults)}); --fresh starts "
            "anew"
        )
    header = vars(found) if whole else found
    version = _version_of(config, header["run"])
    if version is not None and not is_finished and whole:  # killed before it could say so
        checkpoints.finish(folder)
    differ = _differences(config, header["config"])
    if version is not None and not resume:
        is_other = differ or goes_further(config, header["epoch"], header["config"])
        return Found() if is_other else Found(published=version, is_saved=True)
    if differ:
        raise UsageError(
            f"{path} is of a run with other options: {'; '.join(differ)}. With those of that run "
            "this one goes on (more --epochs are allowed); --fresh starts anew, and so does "
            "another --name"
        )
    if version is not None and not goes_further(config, header["epoch"], header["config"]):
        return Found(published=version, is_saved=True)
    if not whole:
        return Found(is_saved=True)
    for damaged in paths[: paths.index(path)]:  # else they would push sound ones out
        damaged.replace(damaged.with_suffix(".damaged"))
    told = f"goes on    from {path}: {found.place}"
    lines = [*(f"note: {fault}" for fault in faults), told]
    return Found(found, told="\n".join(lines), is_saved=True, path=path)


def _set_aside(config, folder, paths):
    """Make room for a run that starts."""
    header, _, _ = checkpoints.newest(paths, checkpoints.read_header)
    if header is not None and _version_of(config, header["run"]) is not None:
        checkpoints.finish(folder)  # killed before it could say so
    aside = checkpoints.set_aside(folder)
    return Found(told=f"the run that was not published is {aside} now" if aside else "")


def _version_of(config: Config, run: str) -> Version | None:
    """The version that a run became."""
    for version in reversed(versions.versions(Path(config.save) / config.name)):
        try:
            course = versions.read_metadata(version).get("course", {})
        except DataError:
            continue
        if course.get("run") == run:
            return version
    return None


def goes_further(config: Config, epoch: int, then: dict[str, Any]) -> bool:
    """Whether a run whose training was over is asked to train on.

    Args:
        config: all options.
        epoch: as many were made.
        then: the options of the run.
    """
    differ = any(then.get(name) != config.get(name, None) for name in _LIMITS)
    return differ and epoch < config.epochs


def _differences(config: Config, then: dict[str, Any]) -> list[str]:
    """What other options a run has than those that are asked for, in words."""
    now = json.loads(json.dumps(config.to_dict()))
    then = _as_now(config, then)
    differ = [
        f"{flag(name)} {_shown(then, name)} there, {_shown(now, name)} here"
        for name in sorted({*then, *now} - {*_FREE})
        if then.get(name) != now.get(name)
    ]
    if config.epochs < then["epochs"]:
        differ.append(f"--epochs {then['epochs']} there, {config.epochs} here: fewer")
    return differ


def _as_now(config: Config, then: dict[str, Any]) -> dict[str, Any]:
    """The options of a run, which an older release may have written, as this one writes them."""
    found = {**then, **config.younger_than(then)}
    for name in config.to_dict().keys() & then.keys():
        with suppress(UsageError):  # a value that is no more: it differs
            found[name] = json.loads(json.dumps(config.option(name).read(then[name], name)))
    return found


def _shown(values, name):
    return brief(values[name]) if name in values else "none"


def fingerprint(dataset: Dataset, train_marks: np.ndarray | None) -> dict[str, Any]:
    """What a checkpoint knows data by: of each split the number of rows, and a checksum.

    Args:
        dataset: its rows as the model takes them.
        train_marks: what `kvae.data.seen.marks` says of the train split.
    """
    found = {}
    for name in ("train", "valid"):
        x = getattr(dataset, name).x
        marks = train_marks if name == "train" else seen.marks(x)
        # Of too many rows to be looked at some stand for all.
        rows = np.asarray(x[:_ROWS]) if marks is None else marks
        digest = hashlib.sha256(rows.tobytes())
        if isinstance(x, Conditioned):
            digest.update(np.ascontiguousarray(x.condition).tobytes())
        found[name] = {"rows": len(x), "checksum": digest.hexdigest()}
    return found


def check_objects(config: Config, then: dict[str, Any] | None, now: dict[str, Any] | None) -> None:
    """Refuse to go on with other objects, of which no option says how they were made.

    Args:
        config: all options.
        then: Keras's configuration of the model of a checkpoint; None: a part has none.
        now: of that here.

    Raises:
        UsageError: a part that was given as an object has other numbers or layers.
    """
    if then is None or now is None:
        return
    given = [kind for kind, members in MODEL_PARTS.items()
             if members[getattr(config, kind)].help == GIVEN]  # fmt: skip
    for kind in given:
        for part in ("encoder", "decoder") if kind == "network" else (kind,):
            theirs, ours = _leaves(then["config"].get(part)), _leaves(now["config"].get(part))
            for place in [*theirs, *ours]:
                there, here = theirs.get(place, "none"), ours.get(place, "none")
                if there != here:
                    raise UsageError(
                        f"the run that is saved has another {part}: {place} {brief(there)} there, "
                        f"{brief(here)} here. --fresh starts anew, and so does another --name"
                    )


def _leaves(value, place=""):
    """Path -> value, of all that a configuration says but for names, which Keras counts up."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {place.removeprefix("/config/"): value}
    found = {}
    for name, part in value.items():
        if name not in _NAMES:
            found |= _leaves(part, f"{place}/{name}")
    return found


def check_data(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with other data.

    Args:
        then: `fingerprint` of the data of a checkpoint.
        now: of those here.

    Raises:
        UsageError: they differ.
    """
    differ = []
    for name, here in now.items():
        there = then[name]
        if there["rows"] != here["rows"]:
            differ.append(f"{there['rows']:,} {name} rows there, {here['rows']:,} here")
        elif there["checksum"] != here["checksum"]:
            differ.append(f"other numbers, or another order, in the {name} rows")
    if differ:
        raise UsageError(
            f"the run that is saved has other data: {'; '.join(differ)}. --fresh starts anew, and "
            "so does another --name"
        )
