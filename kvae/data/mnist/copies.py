"""Where a copy of MNIST keeps its images and labels, whatever way it came to the user."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from kvae.data.images.files import Files, given_path, open_files
from kvae.data.mnist import idx
from kvae.data.mnist.tables import PIXELS, Labelled, has_splits, read_csv, read_npz, width_of
from kvae.errors import DataError, UsageError, escaped

_IDX = re.compile(r"(train|t10k|test)[-_.](images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?", re.I)
_CSV = re.compile(r"((?:fashion[-_])?mnist[-_])?(train|test)\.csv", re.I)
_FAMILY = re.compile(r"(?<![a-z])(fashion[-_]?)?mnist(?![a-z])", re.I)
_KINDS = [(split, kind) for split in ("train", "test") for kind in (idx.IMAGES, idx.LABELS)]
_USUAL = {"train": "train", "test": "t10k"}
KAGGLE = "Kaggle's train.csv alone"


class Copy(NamedTuple):
    """What was found and read.

    Args:
        layout: its name, for people.
        train: images to train on, those to validate on among them.
        test: None: there are none with labels.
        order: whether rows are in the order of the official files, as far as the layout says.
        left_out: why copies of other layouts beside it were left out, for people.
    """

    layout: str
    train: Labelled
    test: Labelled | None
    order: bool = True
    left_out: tuple[str, ...] = ()


def find(data_dir: str | Path | None, name: str, accepted: str) -> Copy:
    """Recognise a copy and read it.

    Args:
        data_dir: a folder, a zip, or one of the files.
        name: of the dataset: mnist or fashion-mnist.
        accepted: what is, and where users get it, for messages.

    Raises:
        UsageError: none given, there is no such thing, or there are several copies.
        DataError: nothing in it is a copy, or what could be one is damaged.
    """
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for {name}: {accepted}")
    path = given_path(data_dir, accepted)
    files, paths = _listed(path)
    faults: list[DataError] = []
    for recognised in (_of_idx, _of_npz, _of_tfds, _of_csv):
        try:
            found = recognised(files, paths, name)
        except DataError as error:
            faults.append(error)
            continue
        if found is not None:
            return found._replace(left_out=tuple(map(str, faults)))
    if faults:
        raise faults[0]
    shown = escaped(", ".join(paths[:5])) or "nothing"
    raise DataError(
        f"--data-dir {path} holds no copy of {name}: wanted {accepted}; it holds {shown}"
    )


def looks_like_one(data_dir: str | Path) -> bool:
    """Whether a folder, zip or file has names as copies have them, of either dataset.

    Raises:
        UsageError: there is no such thing.
        DataError: it cannot be listed.
    """
    path = given_path(data_dir, "a copy of MNIST")
    if not (path.is_dir() or zipfile.is_zipfile(path) or _is_part(path)):
        return False
    names = [PurePosixPath(one).name for one in _listed(path)[1]]
    return any(
        _IDX.fullmatch(one)
        or _CSV.fullmatch(one)
        or (one.lower().endswith(".npz") and _family(one) is not None)
        for one in names
    )


def _listed(path: Path) -> tuple[Files, list[str]]:
    """The files of a folder or zip; of a single file it alone, or those that belong to it."""
    if not _is_part(path):
        files = open_files(path)
        return files, [*files.stamps]
    files = open_files(path.parent, deep=False)
    return files, [one for one in files.stamps if one == path.name or _belong(one, path.name)]


def _is_part(path: Path) -> bool:
    """Whether it is a file that is a copy, or one of those that are one together, by its name."""
    is_named = _IDX.fullmatch(path.name) or path.suffix.lower() in (".npz", ".csv")
    return path.is_file() and bool(is_named)


def _belong(one: str, given: str) -> bool:
    """Whether a file is another part of the copy that a file beside it is of, by their names."""
    if _IDX.fullmatch(given):
        return _IDX.fullmatch(one) is not None
    own, other = _CSV.fullmatch(given), _CSV.fullmatch(one)
    if own is None or other is None or own[2].lower() == other[2].lower():
        return False
    return (own[1] or "").lower() == (other[1] or "").lower()


def _family(path: str) -> str | None:
    """The dataset that a file's name tells of, if it does."""
    match = _FAMILY.search(PurePosixPath(path).name)
    return match and ("fashion-mnist" if match[1] else "mnist")


def _content(files: Files, path: str) -> bytes:
    try:
        return files.read(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{escaped(files.place(path))} is damaged: {error}") from error


def _of_idx(files: Files, paths: list[str], name: str) -> Copy | None:
    found = _idx_files(files, paths, name)
    if not found:
        return None
    splits = {}
    for split in ("train", "test"):
        places = {kind: files.place(found[split, kind]) for kind in (idx.IMAGES, idx.LABELS)}
        x, y = (
            idx.read(_content(files, found[split, kind]), kind, places[kind])
            for kind in (idx.IMAGES, idx.LABELS)
        )
        splits[split] = _fitting(x, y, escaped(places[idx.IMAGES]), escaped(places[idx.LABELS]))
    return Copy("idx files", splits["train"], splits["test"])


def _idx_files(files: Files, paths: list[str], name: str) -> dict[tuple[str, str], str]:
    """Split and kind -> its path, of one copy; nothing where there is no such file."""
    folders: dict[str, dict[tuple[str, str], str]] = {}
    for path in paths:
        match = _IDX.fullmatch(PurePosixPath(path).name)
        if match is None:
            continue
        split = "train" if match[1].lower() == "train" else "test"
        own = folders.setdefault(str(PurePosixPath(path).parent), {})
        # Beside a file its .gz is the same once more.
        if (split, match[2].lower()) not in own or match[3] is None:
            own[split, match[2].lower()] = path
    whole = {folder: own for folder, own in folders.items() if len(own) == len(_KINDS)}
    if len(whole) > 1:
        raise UsageError(
            f"--data-dir {files.root} holds several copies of idx files, in "
            f"{escaped(' and '.join(sorted(whole)[:4]))}: give the folder of {name}"
        )
    if whole:
        return whole.popitem()[1]
    every = [(kind, path) for own in folders.values() for kind, path in own.items()]
    found = dict(every)
    lacking = [f"{_USUAL[split]}-{kind}" for split, kind in _KINDS if (split, kind) not in found]
    if found and (lacking or len(found) < len(every)):
        fault = f"{', '.join(lacking)} are missing" if lacking else "some are there twice"
        shown = ", ".join(path for _, path in every[:4])
        raise DataError(
            f"--data-dir {files.root}: of the four idx files of {name} {fault}; found "
            f"{escaped(shown)}"
        )
    return found


def _fitting(x: np.ndarray, y: np.ndarray, place: str, place_of_labels: str) -> Labelled:
    if len(x) != len(y):
        raise DataError(
            f"{place} has {len(x):,} images, {place_of_labels} {len(y):,} labels: they belong to "
            "different copies"
        )
    return Labelled(x, y)


def _of_npz(files: Files, paths: list[str], name: str) -> Copy | None:
    archives, faults = {}, []
    for path in paths:
        if path.lower().endswith(".npz"):
            try:
                found = _archive(files, path)
            except DataError as error:  # it may be of something else
                faults.append(error)
                continue
            if found is not None:
                archives[path] = found
    if len(archives) > 1:  # of one alone the images say whose they are
        archives = {p: found for p, found in archives.items() if _family(p) in (None, name)}
    if len(archives) > 1:
        raise UsageError(
            f"--data-dir {files.root} holds several archives with x_train, "
            f"{escaped(' and '.join([*archives][:4]))}: give the file of {name}"
        )
    for path, found in archives.items():
        place = escaped(files.place(path))
        train, test = (
            _fitting(*found[split], f"{place}, x_{split}", f"y_{split}") for split in found
        )
        return Copy("npz of Keras", train, test)
    if faults:
        raise faults[0]
    return None


def _archive(files: Files, path: str) -> dict[str, Labelled] | None:
    """What an archive holds of a copy; one of something else is not read."""
    place = files.place(path)
    if not files.is_zip and not has_splits(files.root / path, place):
        return None
    return read_npz(_content(files, path), place)


def _of_csv(files: Files, paths: list[str], name: str) -> Copy | None:
    found = _tables(files, paths, name)
    if "train" not in found:
        return None
    train = read_csv(_content(files, found["train"]), files.place(found["train"]))
    if "test" in found:
        content = _content(files, found["test"])
        if width_of(content) != PIXELS:  # of Kaggle's competition, without labels
            test = read_csv(content, files.place(found["test"]))
            return Copy("CSV", train, test)
    return Copy(KAGGLE, train, None, order=False)


def _tables(files: Files, paths: list[str], name: str) -> dict[str, str]:
    """Split -> its path, of the copy in the folder highest up; nothing where there is none."""
    copies: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for path in paths:
        match = _CSV.fullmatch(PurePosixPath(path).name)
        if match is None or _family(path) not in (None, name):
            continue
        folder = PurePosixPath(path).parent
        if folder.name == PurePosixPath(path).name:  # unpacked as a folder of its own
            folder = folder.parent
        own = copies.setdefault((str(folder), (match[1] or "").lower()), [])
        own.append((match[2].lower(), path))
    whole = [own for own in copies.values() if "train" in dict(own)]
    highest = min((_depth(own) for own in whole), default=0)
    chosen = [own for own in whole if _depth(own) == highest]
    every = [one for own in chosen for one in own]
    for split in ("train", "test"):
        if len(twice := [path for of, path in every if of == split]) > 1:
            raise UsageError(
                f"--data-dir {files.root} holds several tables of a {split} split, "
                f"{escaped(' and '.join(twice[:4]))}: give the file, or the folder, of {name}"
            )
    return dict(every)


def _depth(tables: list[tuple[str, str]]) -> int:
    return min(path.count("/") for _, path in tables)


def _of_tfds(files: Files, paths: list[str], name: str) -> Copy | None:
    own = name.replace("-", "_")
    root = files.root.resolve()
    folders = sorted(
        str(PurePosixPath(path).parent)
        for path in paths
        if PurePosixPath(path).name == "dataset_info.json" and own in (root / path).parts[-3:-1]
    )
    if not folders:
        return None
    if files.is_zip:
        raise DataError(f"{files.root} holds TFRecords: unpack it and give the folder")
    from kvae.data import tfds

    # Versions sort as text well enough: 3.0.1 is the newest there is.
    found: Mapping[str, Any] = tfds.arrays_of(files.root / folders[-1], ("train", "test"))
    splits = []
    for split, (x, y) in found.items():
        if x.dtype != np.uint8 or x.shape[1:] != (idx.SIZE, idx.SIZE, 1):
            raise DataError(
                f"{files.root / folders[-1]}, split {split}: wanted uint8 images of 28 x 28 x 1, "
                f"received {x.dtype} {x.shape[1:]}"
            )
        splits.append(Labelled(x[..., 0], y.astype(np.uint8)))
    train, test = splits
    return Copy(f"TensorFlow Datasets, {folders[-1]}", train, test, order=False)
