"""What a source of images holds: layout, counts, sizes, faults, labels, and some to look at."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import data
from kvae.data import celeba, folder
from kvae.data.celeba.copies import ALIGNED, JpegCopy, find_copy
from kvae.data.images.binarization import fixed_draws
from kvae.data.images.decoding import Unreadable, fit, read
from kvae.data.images.files import about_not_read, given_path
from kvae.data.images.sets import Source, in_order
from kvae.data.mnist.copies import looks_like_one
from kvae.data.rows import random_rows
from kvae.data.splits import SPLITS
from kvae.errors import DataError, KvaeError, UsageError
from kvae.probability.streams import generator
from kvae.saying import progress

SHEET_PIXELS = 64
_SHEET_IMAGES, _SHEET_SEED = 60, 0


class _Seen(NamedTuple):
    """One readable image.

    Args:
        size: width and height in pixels, upright.
        mode: "grey" or "RGB", as decoded.
        fault: why the crop does not fit it; "" if it does.
        small: for the sheet, `(pixels, pixels, 3)`; None for most images.
    """

    size: tuple[int, int]
    mode: str
    fault: str
    small: np.ndarray | None


class Found(NamedTuple):
    """What a source holds.

    Args:
        report: JSON values, with all unreadable images.
        images: some at random as training would see them, `(n, pixels, pixels, channels)` uint8.
        title: what they are.
    """

    report: dict[str, Any]
    images: np.ndarray
    title: str


def inspect(
    data_dir: str | Path | None,
    *,
    dataset: str = "",
    crop: str | None = None,
    image_size: int | None = None,
    labels_file: str | Path | None = None,
    channels: int | None = None,
    split_seed: int | None = None,
    binarize: str = data.NO_BINARIZE,
    binarize_seed: int = 0,
) -> Found:
    """Decode every image of a source once.

    Args:
        data_dir: folder, zip or file.
        dataset: "celeba", "folder", "tfds:NAME", "mnist" or "fashion-mnist"; "": celeba where its
            layout is recognised, else folder. The last two are shown as they are: of the options
            below they take `binarize` and `binarize_seed` alone.
        crop: see `kvae.data.images.crops.box_of`; None or "": that of the dataset's preset.
        image_size: of the images to look at, pixels; None: 64.
        labels_file: see `folder.load`.
        channels: 1 (grey) or 3 (RGB); None: 3.
        split_seed: of the splits that are drawn; None: 0.
        binarize: how all levels become black or white, see `kvae.data.images.binarization`.
        binarize_seed: of what is drawn once.

    Raises:
        UsageError: an option that is not allowed.
        DataError: there are no images.
    """
    is_named, dataset = bool(dataset), dataset or _recognised(data_dir)
    rng = generator(_SHEET_SEED, "sheet of images")
    if dataset in data.OF_ONE_SIZE:
        others = {
            "--crop": crop or None, "--image-size": image_size, "--labels-file": labels_file,
            "--channels": channels, "--split-seed": split_seed,
        }  # fmt: skip
        if given := [flag for flag, value in others.items() if value is not None]:
            raise UsageError(
                f"{', '.join(given)}: {dataset} has images of one size and kind, which are shown "
                "as they are"
            )
        made = data.load(dataset, data_dir=data_dir, binarize=binarize, binarize_seed=binarize_seed)
        return _of_arrays(made, rng)
    image_size = SHEET_PIXELS if image_size is None else image_size
    make = _source if is_named else _not_mnist
    source = make(
        dataset, labels_file,
        data_dir=data_dir, split_seed=split_seed or 0, image_size=image_size,
        channels=3 if channels is None else channels,
        binarize=binarize, binarize_seed=binarize_seed,
        **({"crop": crop} if crop else {}),
    )  # fmt: skip
    places = [place for split in SPLITS for place in source.places[split]]
    chosen = random_rows(len(places), _SHEET_IMAGES, rng)
    seen = list(_look(source, set(chosen.tolist())))
    images = [one.small for one in seen if isinstance(one, _Seen) and one.small is not None]
    if images and source.options.binarization.is_drawn:  # of another size: other draws
        images = [*np.concatenate([*fixed_draws(np.stack(images), binarize_seed, "train")])]
    title = (
        f"{source.name}: {len(images)} of {len(places):,} images, crop {source.options.crop}, "
        f"{image_size}x{image_size}"
    )
    return Found(_report(source, places, seen), np.array(images), title)


def _recognised(data_dir: str | Path | None) -> str:
    """celeba or folder."""
    if data_dir is None:
        raise UsageError("--data-dir is needed: a folder, a zip or parquet files")
    given_path(data_dir, "a folder, a zip or parquet files")
    try:
        copy = find_copy(data_dir)
    except KvaeError:
        return "folder"
    if not isinstance(copy, JpegCopy):
        return "celeba"
    first = copy.files.root.resolve() / next(iter(copy.paths.values()))
    return "celeba" if copy.partition or ALIGNED in str(first) else "folder"


def _source(dataset: str, labels_file: str | Path | None, **options: Any) -> Source:
    if data.key_of(dataset) == data.TFDS:
        from kvae.data import tfds

        return tfds.source(tfds_name=dataset.partition(":")[2], **options)
    if dataset == "celeba":
        return celeba.source(**options)
    if dataset == "folder":
        return folder.source(labels_file=labels_file, **options)
    raise UsageError(
        f"--dataset takes celeba, folder, tfds:NAME, {' or '.join(data.OF_ONE_SIZE)}, received "
        f"{dataset!r}"
    )


def _not_mnist(dataset: str, labels_file: str | Path | None, **options: Any) -> Source:
    """As `_source`; where there is none, a word about what its files' names tell of."""
    try:
        return _source(dataset, labels_file, **options)
    except DataError as error:
        if not looks_like_one(options["data_dir"]):
            raise
        raise DataError(
            f"{error}. Names are there as MNIST's files have them: --dataset "
            f"{' or '.join(data.OF_ONE_SIZE)} looks at those"
        ) from error


def _of_arrays(dataset: data.Dataset, rng: np.random.Generator) -> Found:
    """What a dataset holds whose images are in memory."""
    card, splits = dataset.card, {name: getattr(dataset, name) for name in SPLITS}
    counts = {name: len(split.x) for name, split in splits.items()}
    total, size = sum(counts.values()), card["image_size"]
    x = np.concatenate([split.x for split in splits.values()])
    chosen = random_rows(total, _SHEET_IMAGES, rng)
    labels = {
        label: {
            name: sum(int((split.labels[label] == code).sum()) for split in splits.values())
            for code, name in enumerate(names)
        }
        for label, names in card["label_names"].items()
    }
    report = {
        "dataset": card["name"],
        "layout": card["source"]["layout"],
        "images": total,
        "splits": counts,
        "split": card["split"],
        "sizes": {f"{size}x{size}": total},
        "smallest_side": size,
        "largest_side": size,
        "colours": {"grey": total},
        "crop": card["crop"],
        "unreadable": {},
        "labels": labels,
        "notes": [],
        "not_read": {},
    }
    title = f"{card['name']}: {len(chosen)} of {total:,} images, {size}x{size}"
    return Found(report, x[chosen], title)


def _look(source: Source, chosen: set[int]) -> Iterator[_Seen | Unreadable]:
    options = source.options

    def work(index: int, content: bytes) -> _Seen | Unreadable:
        try:
            image = read(content)
        except Unreadable as error:
            return error
        mode = "grey" if image.mode == "L" else "RGB"
        try:
            small = fit(
                image, options.crop, options.image_size, options.channels,
                binarize=options.has_threshold,
            )  # fmt: skip
        except Unreadable as error:
            return _Seen(image.size, mode, str(error), None)
        return _Seen(image.size, mode, "", small if index in chosen else None)

    with progress("looking", source.count, "images") as advance:
        for found in in_order(source.contents(), work, 3 * options.image_size**2):
            advance(len(found))
            yield from found


def _report(source: Source, places: list[str], seen: list[_Seen | Unreadable]) -> dict[str, Any]:
    good = [one for one in seen if isinstance(one, _Seen)]
    sizes = Counter(one.size for one in good)
    faults = {
        place: str(one) if isinstance(one, Unreadable) else one.fault
        for place, one in zip(places, seen, strict=True)
        if isinstance(one, Unreadable) or one.fault
    }
    return {
        "dataset": source.name,
        "layout": source.layout,
        "images": len(seen),
        "splits": {split: len(source.places[split]) for split in SPLITS},
        "split": source.card["split"],
        "sizes": {f"{w}x{h}": count for (w, h), count in sizes.most_common()},
        "smallest_side": min((min(size) for size in sizes), default=0),
        "largest_side": max((max(size) for size in sizes), default=0),
        "colours": dict(Counter(one.mode for one in good)),
        "crop": source.options.crop,
        "unreadable": faults,
        "labels": _rates(source),
        "notes": [*source.notes, *about_not_read(source.not_read)],
        "not_read": dict(source.not_read),
        **{k: source.card[k] for k in ("missing", "not_listed") if source.card.get(k)},
    }


def _rates(source: Source) -> dict[str, Any]:
    """Part of the images that has an attribute, or images of each class."""
    names = source.card.get("label_names", {})
    return {
        label: round(float(values.mean()), 4)
        if values.dtype == bool
        else {
            str(names[label][code] if label in names else code): int(count)
            for code, count in zip(*np.unique(values, return_counts=True), strict=True)
        }
        for label, values in source.labels.items()
    }
