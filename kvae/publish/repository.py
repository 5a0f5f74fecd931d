"""The folder that a server reads: numbers, models.config, pruning, rolling back.

Nothing here imports TensorFlow.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kvae import files
from kvae.errors import DataError, KvaeError, UsageError, brief, one_line
from kvae.serving import versions

#: Where the official image of TF Serving has its models.
DEFAULT_ROOT = "/models"
_CONFIG = "models.config"
_PLATFORM = "tensorflow"
_MOST_DIGITS = 100
_PUBLISHING, _PRUNED, _LAST = ".publish-", ".pruned-", ".last_number"


def checksums(folder: Path) -> dict[str, str]:
    """Path in the folder -> SHA-256 of the file; of all files but kvae.json, which holds these."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name != versions.METADATA:
            with path.open("rb") as file:
                found[name.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def file_faults(version: versions.Version, then: dict[str, str]) -> list[str]:
    """How the files of a version differ from those that kvae.json names, a line each.

    Args:
        version: of which.
        then: from `checksums` at publication; nothing: it was published before there were any.
    """
    now = checksums(version.path) if then else {}
    return [
        *(f"{name} is missing" for name in then if name not in now),
        *(f"{name} was added" for name in now if name not in then),
        *(f"{name} was changed" for name in then if name in now and now[name] != then[name]),
    ]


@contextmanager
def workshop(model: Path) -> Iterator[Path]:
    """A new hidden folder beside the versions of `model`, gone afterwards.

    What killed publishers left a day ago or longer goes too.

    Raises:
        UsageError: the folder cannot be written.
        KvaeError: its disk is full.
    """
    try:
        model.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PUBLISHING, dir=model))
    except OSError as error:
        raise UsageError(f"cannot write to {model}: {error.strerror}") from error
    try:
        for left in model.glob(f"{_PUBLISHING}*"):
            with suppress(FileNotFoundError):  # another publisher is done, or cleans up too
                if files.is_left(left):
                    _remove(left)
        yield folder
    except Exception as error:  # TensorFlow, HDF5 and Python each have a word of their own for it
        if os.strerror(errno.ENOSPC) in str(error):
            raise KvaeError(f"cannot publish to {model}: no space is left on its disk") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def claim(built: Path, model: Path) -> versions.Version:
    """Rename to the next number, one that no version had before.

    Args:
        built: the folder of the version, beside the others.
        model: `saved/<name>`.

    Returns:
        The version.

    Raises:
        UsageError: the folder cannot be written.
    """
    last = model / _LAST
    try:
        _settle(built)
        with files.alone(model / f"{_LAST}.lock"):
            number = max(_last_number(last) + 1, versions.next_number(model))
            if number > versions.MAX_NUMBER:
                raise UsageError(
                    f"cannot publish in {model}: a folder there has the highest number that a "
                    f"server reads, {versions.MAX_NUMBER}; rename it"
                )
            target = model / str(number)
            # First: a number that is not used harms nobody.
            files.replace_text(last, str(number))
            # Never replaces a version: a rename onto a folder that is not empty fails.
            built.rename(target)
            # When it was published, also where it is a copy of another version.
            with suppress(OSError):
                os.utime(target)
    except OSError as error:
        name = error.filename2 or error.filename
        place = f" ({Path(name).name})" if name else ""
        raise UsageError(f"cannot publish in {model}: {error.strerror}{place}") from error
    with suppress(OSError):  # the version is there
        files.sync(model)
    return versions.Version(target, model.name, number)


def _last_number(path: Path) -> int:
    """The number that was given last; 0 where nothing is said, or nothing that can be one."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        said = file.read(_MOST_DIGITS).decode(errors="replace").strip()
    if versions.is_number(said):
        return int(said)
    if said:
        print(
            f"note: {path} holds {brief(said)}, no version's number: the next one is counted from "
            "the folders that are there",
            file=sys.stderr,
        )
    return 0


def _settle(folder: Path) -> None:
    """Have everything below a folder on the disk: a crash must not leave a version with holes."""
    for path in folder.rglob("*"):
        files.sync(path)
    files.sync(folder)


def roll_back(version: versions.Version) -> versions.Version:
    """Publish an older version again, as the newest: servers take the highest number.

    Args:
        version: what is wanted back.

    Returns:
        The new version, a copy of the old one but for its kvae.json, which names the old number.

    Raises:
        UsageError: the folder cannot be written, or this is the newest version.
        DataError: the old version is damaged.
    """
    model = version.path.parent
    metadata = versions.read_metadata(version)
    faults = file_faults(version, metadata.get("files", {}))
    if faults:
        raise DataError(f"{version.path} is not as it was published: {'; '.join(faults)}")
    newest = versions.versions(model)[-1]
    if newest.number == version.number:
        raise UsageError(f"{version.path} is the newest version of {version.name} already")
    with workshop(model) as folder:
        built = folder / "m"
        try:
            shutil.copytree(version.path, built)
            metadata["rolled_back_to"] = version.number
            (built / versions.METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        except (OSError, shutil.Error) as error:
            raise UsageError(f"cannot copy {version.path}: {error}") from error
        published = claim(built, model)
    tell_server(published)
    return published


def tell_server(published: versions.Version) -> None:
    """Bring models.config up to date after a publication, which stands whatever happens here."""
    try:
        update_models_config(published.path.parents[1])
    except KvaeError as error:
        print(f"note: {published.path} is published, but {error}", file=sys.stderr)


def prune(model: Path, keep: int) -> list[versions.Version]:
    """Remove old versions.

    Each disappears by one rename before its files are removed, so that no server finds half of
    one. What models.config pins or labels, under whatever name, stays, and so does what links in
    `saved` and its models lead to that stay themselves.

    Args:
        model: `saved/<name>`.
        keep: how many of the newest stay, 1 or more.

    Returns:
        What was removed.

    Raises:
        UsageError: `keep` is under 1, nothing is published there, or something cannot be removed.
        DataError: models.config cannot be read.
    """
    if keep < 1:
        raise UsageError(f"--keep must be 1 or more, received {keep}")
    found = versions.versions(model)
    if not found:
        raise UsageError(f"no published model in {model}")
    pinned = _pinned(model.parent, model.name)
    old = [version for version in found[:-keep] if version.number not in pinned]
    needed = _led_to(model.parent, {_place(version.path) for version in old})
    old = [version for version in old if _place(version.path) not in needed]
    for version in old:
        with suppress(FileNotFoundError):  # somebody else prunes too
            try:
                version.path.rename(model / f"{_PRUNED}{version.number}")
            except PermissionError as error:  # Windows, of a version that is being read
                raise UsageError(f"cannot remove {version.path}: {error.strerror}") from error
    for left in model.glob(f"{_PRUNED}*"):
        _remove(left)
    remain = [str(left) for left in model.glob(f"{_PRUNED}*")]
    if remain:
        raise UsageError(f"not served any more, but cannot be removed: {', '.join(remain)}")
    return old


def _place(path: Path) -> Path:
    """Where a name stands, whatever links lead to its folder; what it is may be a link."""
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def _led_to(save: Path, passing: set[Path]) -> set[Path]:
    """The places that links in `saved` and in its models lead to, over whatever other links.

    Args:
        save: the repository.
        passing: places of links that count for nothing: they go.
    """
    found: set[Path] = set()
    for link in (*save.glob("*"), *save.glob("*/*")):
        place = _place(link)
        while place not in passing and place.is_symlink():
            place = _place(place.parent / place.readlink())
            if place in found:
                break
            found |= {place, *place.parents}
            passing = passing - {place}
    return found


def _remove(path: Path) -> None:
    """Remove a folder as far as that can be done; of a link the link, never what it leads to."""
    if path.is_symlink():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def update_models_config(save: Path, root: str | None = None) -> Path:
    """Make `saved/models.config` name every published model, for `--model_config_file`.

    What is there of a model stays (version policies, labels); models without a version go. Where
    it is a link, the link stays and its target is written.

    Args:
        save: the repository.
        root: where the server finds the repository; None: where models.config says, else
            `/models`, as in the official image.

    Returns:
        The file.

    Raises:
        UsageError: `root` is not absolute, or the file cannot be written.
        DataError: the file that is there cannot be read.
    """
    if root is not None and not (PurePosixPath(root).is_absolute() or "://" in root):
        raise UsageError(f"--root must be an absolute path or a URL, received {root!r}")
    path = save / _CONFIG
    try:
        with files.alone(save / ".models.config.lock"):
            config = _read_config(path)
            _fit(config, save, root)
            text = text_format.MessageToString(config)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                files.replace_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return path


def _fit(config: Any, save: Path, root: str | None) -> None:
    """Make the entries those of the models that have a version, and keep those from elsewhere."""
    models = config.model_config_list.config
    names, closed = [], set()
    for folder in sorted(save.iterdir()):
        try:
            names += [folder.name] if versions.versions(folder) else []
        except UsageError:  # somebody else's: it may hold versions
            closed.add(folder.name)
    before = _root_of(models, names)
    entries = {one.name: one for one in models if one.name in names}
    others = [
        one
        for one in models
        if one.name in closed
        or (one.name not in names and one.base_path.rstrip("/") != f"{before}/{one.name}")
    ]
    fitted = ModelServerConfig().model_config_list.config
    for name in names:
        entry = fitted.add(name=name, model_platform=_PLATFORM)
        if name in entries:
            entry.CopyFrom(entries[name])
        if root or name not in entries:
            entry.base_path = f"{(root or before).rstrip('/')}/{name}"
    fitted.extend(others)
    del models[:]
    models.extend(fitted)


def _root_of(models: Any, names: list[str]) -> str:
    """Where the server finds the repository."""
    for one in models:
        head, _, tail = one.base_path.rstrip("/").rpartition("/")
        if one.name in names and tail == one.name:
            return head
    return DEFAULT_ROOT


def _read_config(path: Path) -> Any:
    if not os.path.lexists(path):
        return ModelServerConfig()
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelServerConfig())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (text_format.ParseError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no configuration of TF Serving: {one_line(str(error), 200)}"
        ) from error


def _entries(save: Path) -> Any:
    """What models.config says, an entry a model that is served."""
    return _read_config(save / _CONFIG).model_config_list.config


def served_alone(version: versions.Version) -> list[int]:
    """The versions that models.config tells a server to keep to, if it does and this is none."""
    for one in _entries(version.path.parents[1]):
        wanted = list(one.model_version_policy.specific.versions)
        if one.name == version.name and wanted and version.number not in wanted:
            return wanted
    return []


def _pinned(save: Path, name: str) -> set[int]:
    """Versions that models.config names."""
    numbers: set[int] = set()
    for one in _entries(save):
        # One model may be served under several names.
        if name in (one.name, one.base_path.rstrip("/").rpartition("/")[2]):
            numbers |= {*one.model_version_policy.specific.versions, *one.version_labels.values()}
    return numbers
