"""Where a copy of CelebA keeps its images and lists, whatever way it came to the user."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kvae.data.celeba_lists import number_of
from kvae.data.decoding import SUFFIXES
from kvae.data.image_files import Files, open_files
from kvae.errors import DataError, UsageError

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
        files: the folder or zip that holds it.
        path: in there.
    """

    files: Files
    path: str


class JpegCopy(NamedTuple):
    """Images as files.

    Args:
        layout: its name, for people.
        files: the folder or zip of the images.
        paths: number of an image -> its path in `files`.
        attributes: None without.
        partition: None without.
    """

    layout: str
    files: Files
    paths: dict[str, str]
    attributes: ListFile | None
    partition: ListFile | None


class PreparedCopy(NamedTuple):
    """What TensorFlow Datasets wrote.

    Args:
        folder: of one version, with dataset_info.json.
    """

    folder: Path


class ParquetCopy(NamedTuple):
    """Tables with a column of images.

    Args:
        files: paths, sorted.
    """

    files: list[Path]


def find_copy(data_dir: str | None) -> JpegCopy | PreparedCopy | ParquetCopy:
    """Recognise a copy.

    Args:
        data_dir: a folder, a zip or a parquet file.

    Raises:
        UsageError: none given, or there is no such thing.
        DataError: nothing in it is a copy of CelebA, or it cannot be read.
    """
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for celeba: {ACCEPTED}")
    path = Path(data_dir).expanduser()
    if not path.exists():
        raise UsageError(f"--data-dir {path}: no such file or folder; wanted {ACCEPTED}")
    if path.suffix.lower() == ".parquet":
        return ParquetCopy([path])
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
        return ParquetCopy([files.root / table for table in tables])
    found = ", ".join(list(files.stamps)[:5]) or "nothing"
    raise DataError(
        f"--data-dir {path} holds no images of CelebA: wanted {ACCEPTED}; it holds {found}"
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
        raise DataError(f"{inner.root} holds no images")
    return inner


def _jpeg_copy(files: Files, images: Files) -> JpegCopy:
    groups = _groups(images)
    aligned = {folder: paths for folder, paths in groups.items() if ALIGNED in folder}
    # Of two copies in one place the fuller one.
    paths = max((aligned or groups).values(), key=len)
    attributes = _list(ATTRIBUTE_LISTS, files, images)
    partition = _list(PARTITION_LISTS, files, images)
    # The same number twice: a JPEG comes last and wins.
    paths = sorted(paths, key=lambda path: path.lower().endswith((".jpg", ".jpeg")))
    numbered = {number_of(path): path for path in paths}
    layout = _layout(images, partition)
    return JpegCopy(layout, images, dict(sorted(numbered.items())), attributes, partition)


def _list(names: tuple[str, ...], *places: Files) -> ListFile | None:
    """The list nearest to the top; text before commas."""
    for name in names:
        for files in places:
            if found := files.named(name):
                return ListFile(files, min(found, key=lambda path: (path.count("/"), path)))
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
    if parts[0] == "celeba" and not partition.files.is_zip:
        return f"torchvision ({kind})"
    return f"official ({kind})"
