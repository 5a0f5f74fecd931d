"""CelebA from a local copy: 202,599 aligned faces with 40 attributes."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import Dataset, Split
from kvae.data.cache import cached_array
from kvae.data.celeba_files import find_files, read_attributes, read_partition
from kvae.data.celeba_images import DECODING_VERSION, decode
from kvae.data.crops import CROPS
from kvae.errors import DataError, UsageError

SPLITS = ("train", "valid", "test")
MIN_SIZE, MAX_SIZE = 8, 256


def load(
    *,
    data_dir: str | None = None,
    crop: str = "center148",
    image_size: int = 64,
    cache_dir: str | None = None,
) -> Dataset:
    """Load CelebA; the first time its images are decoded into the cache.

    Listed images that are not there are left out, counted in the card and on stderr, so that
    partial copies work. Rows are in the order of their file names within each split.

    Args:
        data_dir: folder with img_align_celeba/ (or in Img/), list_attr_celeba.txt (or in Anno/)
            and list_eval_partition.txt (or in Eval/).
        crop: a key of CROPS.
        image_size: width and height in pixels, 8 to 256.
        cache_dir: where decoded images are kept; None for `cache.default_cache_dir()`.

    Returns:
        Memory-mapped images `(rows, image_size, image_size, 3)`, uint8; 40 bool labels.

    Raises:
        UsageError: unknown crop, size out of range, or `data_dir` is not such a folder.
        DataError: a list or an image is damaged, a split is empty, or the cache cannot be written.
    """
    source = _find(data_dir, crop, image_size)
    paths = [str(source.images / name) for name in source.names]
    x = cached_array(
        cache_dir,
        source.key,
        (len(paths), image_size, image_size, 3),
        lambda: decode(paths, crop, image_size),
        describe=f"celeba {crop} {image_size}x{image_size}",
    )
    return source.dataset(x)


def outline(
    *,
    data_dir: str | None = None,
    crop: str = "center148",
    image_size: int = 64,
    cache_dir: str | None = None,
) -> Dataset:
    """What `load` gives, without decoding: all pixels are grey.

    Args:
        data_dir: see `load`.
        crop: see `load`.
        image_size: see `load`.
        cache_dir: not used.

    Raises:
        UsageError: see `load`.
        DataError: see `load`, of the lists.
    """
    del cache_dir
    source = _find(data_dir, crop, image_size)
    shape = (len(source.names), image_size, image_size, 3)
    return source.dataset(np.broadcast_to(np.uint8(128), shape))


@dataclass(frozen=True)
class _Source:
    """What a copy of CelebA holds, before any image is opened.

    Args:
        images: the folder of JPEGs.
        rows: split -> file names, in order.
        labels: attribute -> bool, for `names`.
        key: of the cache.
        card: the data card.
    """

    images: Path
    rows: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    key: dict[str, Any]
    card: dict[str, Any]

    @property
    def names(self) -> list[str]:
        return [name for split in SPLITS for name in self.rows[split]]

    def dataset(self, x: np.ndarray) -> Dataset:
        splits = _slices(x, self.labels, self.rows)
        return Dataset("images", **splits, card=self.card, color_by="Blond_Hair")


def _find(data_dir: str | None, crop: str, image_size: int) -> _Source:
    _check_options(crop, image_size)
    files = find_files(data_dir)
    partition = read_partition(files.partition)
    attributes = read_attributes(files.attributes)
    stats = _stats_of_present(partition, files.images)
    rows = _rows_of_splits(partition, stats, files.images)
    names = [name for split in SPLITS for name in rows[split]]
    key = {
        "name": "celeba",
        "decoding_version": DECODING_VERSION,
        "crop": crop,
        "image_size": image_size,
        "source": _fingerprint(names, partition, stats),
    }
    card = {
        "name": "celeba",
        "source": {
            "folder": Path(data_dir or "").expanduser().resolve().name,
            "layout": "official",
        },
        "crop": crop,
        "image_size": image_size,
        "resize": "bilinear, antialias",
        "counts": {split: len(rows[split]) for split in SPLITS},
        "missing": len(partition) - len(names),
    }
    return _Source(files.images, rows, attributes.of(names), key, card)


def _check_options(crop: str, image_size: int) -> None:
    if crop not in CROPS:
        raise UsageError(f"unknown crop {crop!r}: choose one of {', '.join(CROPS)}")
    if not MIN_SIZE <= image_size <= MAX_SIZE:
        raise UsageError(f"--image-size must be {MIN_SIZE} to {MAX_SIZE}, got {image_size}")


def _stats_of_present(partition: dict[str, int], folder: Path) -> dict[str, tuple[int, int]]:
    """File name -> (bytes, time of change in ns) of the listed images that are there."""
    try:
        with os.scandir(folder) as entries:
            stats = {
                entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in entries
                if entry.name in partition
            }
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error}") from error
    if missing := len(partition) - len(stats):
        print(
            f"celeba: {missing:,} of {len(partition):,} listed images are not in {folder} "
            "and are left out",
            file=sys.stderr,
        )
    return stats


def _rows_of_splits(
    partition: dict[str, int], present: dict[str, tuple[int, int]], folder: Path
) -> dict[str, list[str]]:
    if not present:
        raise DataError(
            f"none of the {len(partition):,} images in list_eval_partition.txt is in {folder}"
        )
    rows: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in sorted(present):
        rows[SPLITS[partition[name]]].append(name)
    for number, split in enumerate(SPLITS):
        if not rows[split]:
            raise DataError(
                f"the {split} split is empty: list_eval_partition.txt gives no image in {folder} "
                f"the number {number}"
            )
    return rows


def _fingerprint(
    names: list[str], partition: dict[str, int], stats: dict[str, tuple[int, int]]
) -> str:
    content = [[name, partition[name], *stats[name]] for name in names]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _slices(
    x: np.ndarray, labels: dict[str, np.ndarray], rows: dict[str, list[str]]
) -> dict[str, Split]:
    splits, start = {}, 0
    for split in SPLITS:
        part = slice(start, start + len(rows[split]))
        splits[split] = Split(x[part], {name: label[part] for name, label in labels.items()})
        start = part.stop
    return splits
