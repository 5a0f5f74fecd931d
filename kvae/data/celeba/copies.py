"""Where a copy of CelebA keeps its images and lists, whatever way it came to the user."""

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kvae.data.celeba.lists import number_of
from kvae.data.images.decoding import JPEG_SUFFIXES, SUFFIXES
from kvae.data.images.files import (
    Files,
    about_not_read,
    given_path,
    open_files,
    text_at,
    text_of,
)
from kvae.errors import DataError, UsageError, escaped

ATTRIBUTE_LISTS = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION_LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
ALIGNED = "img_align_celeba"
ACCEPTED = (
    "the official folder or img_align_celeba.zip with its two lists, Kaggle's archive (zip or "
    "extracted), torchvision's folder, JPEGs alone, a folder that TensorFlow Datasets prepared, or "
    "Hugging Face's parquet files"
)


class ListFile(NamedTuple):
    """One of the lists.

    Args:
        path: in the folder or zip that holds it, or beside that.
        place: how to name it in a message.
        text: reads it.
    """

    path: str
    place: str
    text: Callable[[], str]


class JpegCopy(NamedTuple):
    """Images as files.

    Args:
        layout: its name, for people.
        files: the folder or zip of the images.
        paths: number of an image -> its path in `files`.
        attributes: None without.
        partition: None without.
        not_used: images in further folders, of which there are others with the same number.
    """

    layout: str
    files: Files
    paths: dict[str, str]
    attributes: ListFile | None
    partition: ListFile | None
    not_used: int


class PreparedCopy(NamedTuple):
    """What TensorFlow Datasets wrote.

    Args:
        folder: of one version, with dataset_info.json.
    """

    folder: Path


class ParquetCopy(NamedTuple):
    """Tables with a column of images.

    Args:
        root: the folder that they are in.
        files: paths below it, sorted.
    """

    root: Path
    files: list[str]


def find_copy(data_dir: str | Path | None) -> JpegCopy | PreparedCopy | ParquetCopy:
    """Recognise a copy.

    Args:
        data_dir: a folder, a zip or a parquet file.

    Raises:
        UsageError: none given, or there is no such thing.
        DataError: nothing in it is a copy of CelebA, or it cannot be read.
    """
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for celeba: {ACCEPTED}")
    path = given_path(data_dir, ACCEPTED)
    if path.suffix.lower() == ".parquet":
        return ParquetCopy(path.parent, [path.name])
    files = open_files(path)
    if _groups(files):
        return _jpeg_copy(files, files)
    prepared = files.named("dataset_info.json")
    if files.is_zip and (prepared or files.with_suffix(".parquet")):
        raise DataError(f"{path} holds TFRecords or parquet files: unpack it and give the folder")
    # Before any zip: TensorFlow Datasets keeps its downloads in the same place.
    if celeb_a := [one for one in prepared if "celeb_a/" in f"{files.root.name}/{one}"]:
        # Versions sort as text well enough: 2.0.1 and 2.1.0 are all there are.
        return PreparedCopy((files.root / sorted(celeb_a)[-1]).parent)
    if (images := _inner_zip(files)) is not None:
        return _jpeg_copy(files, images)
    if len(prepared) == 1:
        return PreparedCopy((files.root / prepared[0]).parent)
    if tables := files.with_suffix(".parquet"):
        return ParquetCopy(files.root, sorted(tables))
    found = escaped(", ".join(list(files.stamps)[:5])) or "nothing"
    others = "".join(f"; {note}" for note in about_not_read(files.not_read()))
    raise DataError(
        f"--data-dir {path} holds no images of CelebA: wanted {ACCEPTED}; it holds {found}{others}"
    )


def _groups(files: Files) -> dict[str, list[str]]:
    """Folder -> its images with six digits for a name; of other images only if there are none."""
    groups: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for path in files.with_suffix(*SUFFIXES):
        number = number_of(path)
        chosen = groups if len(number) == 6 and number.isdecimal() else others
        chosen.setdefault(str(PurePosixPath(path).parent), []).append(path)
    # A stray picture beside a zip is no data set.
    zips = files.with_suffix(".zip")
    return groups or ({} if zips else others)


def _inner_zip(files: Files) -> Files | None:
    """The zip of images that lies in a folder beside the lists."""
    zips = [] if files.is_zip else files.with_suffix(".zip")
    named = [path for path in zips if PurePosixPath(path).stem == ALIGNED]
    if len(named or zips) > 1:
        raise DataError(
            f"{files.root} holds {len(zips)} zips ({', '.join(zips[:5])}): give one as --data-dir"
        )
    if not zips:
        return None
    inner = open_files(files.root / (named or zips)[0])
    if not _groups(inner):
        others = "".join(f"; {note}" for note in about_not_read(inner.not_read()))
        raise DataError(f"{inner.root} holds no images{others}")
    return inner


def _jpeg_copy(files: Files, images: Files) -> JpegCopy:
    attributes = _list(ATTRIBUTE_LISTS, files, images)
    partition = _list(PARTITION_LISTS, files, images)
    groups = _groups(images)
    chosen = {folder: paths for folder, paths in groups.items() if ALIGNED in folder} or groups
    if partition is None and {"train", "test"} <= {PurePosixPath(f).name for f in chosen}:
        raise DataError(
            f"{images.root} holds images in folders train and test and no list_eval_partition: "
            "--dataset folder reads such splits"
        )
    numbered: dict[str, str] = {}
    not_used = 0
    for paths in sorted(chosen.values(), key=len, reverse=True):
        # The same number twice: a JPEG comes last and wins.
        own = {
            number_of(path): path
            for path in sorted(paths, key=lambda path: path.lower().endswith(JPEG_SUFFIXES))
        }
        # Of two copies in one place the fuller one; folders that share no number belong together.
        apart = numbered.keys().isdisjoint(own)
        numbered |= own if apart else {}
        not_used += len(paths) - (len(own) if apart else 0)
    layout = _layout(images, partition)
    paths_by_number = dict(sorted(numbered.items()))
    return JpegCopy(layout, images, paths_by_number, attributes, partition, not_used)


def _list(names: tuple[str, ...], *places: Files) -> ListFile | None:
    """The list nearest to the top, text before commas; else one beside what was given.

    People give the folder or the zip of the images, whose lists lie next to it.
    """
    for name in names:
        for files in places:
            if found := files.named(name):
                path = min(found, key=lambda path: (path.count("/"), path))
                return ListFile(path, escaped(files.place(path)), partial(text_of, files, path))
    root = places[0].root.resolve()
    if root.name not in (ALIGNED, f"{ALIGNED}.zip", "Img"):
        return None
    for folder in (root.parent, root.parent.parent):
        for path in (f"{below}{name}" for name in names for below in ("", "Anno/", "Eval/")):
            if (folder / path).is_file():
                return ListFile(path, str(folder / path), partial(text_at, folder / path))
    return None


def _layout(images: Files, partition: ListFile | None) -> str:
    kind = "zip" if images.is_zip else "folder"
    if partition is None:
        return f"images without lists ({kind})"
    parts = PurePosixPath(partition.path).parts
    if partition.path.endswith(".csv"):
        return f"Kaggle ({kind})"
    if "Eval" in parts:
        return f"Img, Anno, Eval ({kind})"
    if parts[0] == "celeba" and len(parts) == 2:
        return f"torchvision ({kind})"
    return f"official ({kind})"
