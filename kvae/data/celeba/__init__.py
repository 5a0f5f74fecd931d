"""CelebA from whatever local copy there is: 202,599 aligned faces with 40 attributes."""

from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import NO_BINARIZE, Dataset
from kvae.data.celeba.copies import JpegCopy, ParquetCopy, find_copy
from kvae.data.celeba.lists import read_attributes, read_partition
from kvae.data.images.sets import ImageOptions, Source, of_files
from kvae.data.splits import SPLITS, divided
from kvae.errors import DataError

COLOR_BY, CROP = "Blond_Hair", "center148"


def load(
    *,
    data_dir: str | Path | None = None,
    crop: str = CROP,
    image_size: int = 64,
    channels: int = 3,
    binarize: str = NO_BINARIZE,
    binarize_seed: int = 0,
    cache_dir: str | None = None,
    cache: bool = True,
    max_unreadable: float = 0.001,
    split_seed: int = 0,
) -> Dataset:
    """Load CelebA; the first time its images are decoded into the cache.

    Images that are listed but not there, or there but not listed, are left out and counted in the
    card and on stderr, so that a partial copy works as long as each split has images. Rows are in
    the order of the images' numbers within each split (of TensorFlow Datasets and parquet: in
    theirs).

    Args:
        data_dir: a copy in any of the layouts of `kvae.data.celeba.copies.ACCEPTED`; nothing is
            written to.
        crop: see `kvae.data.images.crops.box_of`.
        image_size: width and height in pixels, 8 to 512.
        channels: 1 (grey) or 3 (RGB).
        binarize: make every level 0 or 255, as a Bernoulli likelihood needs, see
            `kvae.data.images.binarization`.
        binarize_seed: of what is drawn once.
        cache_dir: where decoded images are kept; None for `cache.default_cache_dir()`.
        cache: False: decode into memory instead.
        max_unreadable: the largest part of the images that may be unreadable, and is left out.
        split_seed: of the 80/10/10 split of a copy without list_eval_partition.

    Returns:
        Images `(rows, image_size, image_size, channels)`, uint8, memory-mapped; 40 bool labels if
        the copy has them.

    Raises:
        UsageError: an option that is not allowed, or no such folder.
        DataError: no copy of CelebA, a list or too many images are damaged, a split is empty, or
            the cache cannot be written.
    """
    return source(**locals()).dataset()


def outline(**options: Any) -> Dataset:
    """What `load` gives, without decoding: all pixels are grey. Arguments and errors as there.

    Of TensorFlow Datasets without labels, which would take a pass over all files.
    """
    return source(**options, with_labels=False).outline()


def source(
    *,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    crop: str = CROP,
    with_labels: bool = True,
    **image_options: Any,
) -> Source:
    """The images before any is opened. Arguments and errors as for `load`.

    `with_labels` is False where labels that take long to read are not wanted.
    """
    options = ImageOptions(crop=crop, **image_options)
    options.check()
    copy = find_copy(data_dir)
    if isinstance(copy, JpegCopy):
        return _of_files(copy, split_seed, options)
    if isinstance(copy, ParquetCopy):
        from kvae.data.celeba import parquet

        return parquet.source("celeba", copy, split_seed, COLOR_BY, options)
    from kvae.data import tfds

    return tfds.prepared("celeba", copy.folder, split_seed, COLOR_BY, options, with_labels)


def _of_files(copy: JpegCopy, split_seed: int, options: ImageOptions) -> Source:
    rows, counts, notes = _rows_of_splits(copy, split_seed)
    if copy.not_used:
        notes.append(
            f"{copy.not_used:,} images have a number that another one has, and are left out"
        )
    numbers: list[str] = [number for split in SPLITS for number in rows[split]]
    labels: dict[str, np.ndarray] = {}
    if copy.attributes is not None:
        attributes = copy.attributes
        labels = read_attributes(attributes.text(), attributes.place).of(numbers)
    paths = {split: [copy.paths[number] for number in rows[split]] for split in SPLITS}
    return Source(
        name="celeba", layout=copy.layout, **of_files(copy.files, paths), labels=labels,
        card={"source": {"folder": copy.files.root.resolve().name}, **counts},
        color_by=COLOR_BY if labels else "", options=options, notes=tuple(notes),
    )  # fmt: skip


def _rows_of_splits(
    copy: JpegCopy, split_seed: int
) -> tuple[dict[str, list[str]], dict[str, object], list[str]]:
    """Split -> numbers of its images; what the card says about it; what people should know."""
    root = copy.files.root
    if copy.partition is None:
        numbers = list(copy.paths)
        division, rule = divided({}, len(numbers), split_seed, str(root), numbers)
        drawn = {name: [numbers[i] for i in own] for name, own in division.items()}
        return drawn, rule, ["there is no list_eval_partition: the images are divided at random"]
    partition = read_partition(copy.partition.text(), copy.partition.place)
    listed = Path(copy.partition.path).name
    present = [number for number in copy.paths if number in partition]
    if not present:
        raise DataError(f"none of the {len(partition):,} images in {listed} is in {root}")
    missing, extra = len(partition) - len(present), len(copy.paths) - len(present)
    notes = []
    if missing:
        notes.append(f"{missing:,} of {len(partition):,} listed images are not in {root}")
    if extra:
        notes.append(f"{extra:,} of {len(copy.paths):,} images are not in {listed}")
    rows: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number in present:
        rows[SPLITS[partition[number]]].append(number)
    for place, split in enumerate(SPLITS):
        if not rows[split]:
            raise DataError(
                f"the {split} split is empty: {listed} gives no image in {root} the number "
                f"{place}. Of a part of CelebA that lacks a split --dataset folder makes a "
                "random one"
            )
    notes = [f"{note} and are left out" for note in notes]
    return rows, {"split": "own", "missing": missing, "not_listed": extra}, notes
