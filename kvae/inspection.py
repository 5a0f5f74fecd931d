"""What a source of images holds: layout, counts, sizes, faults, labels, and a sheet to look at.

python -m kvae.data --data-dir X
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from kvae import data
from kvae.data import celeba, folder
from kvae.data.celeba_copies import ALIGNED, JpegCopy, find_copy
from kvae.data.decoding import Unreadable, fit, read
from kvae.data.image_sets import Source, in_order
from kvae.data.splits import SPLITS
from kvae.errors import KvaeError, UsageError
from kvae.figures.images import save_sheet
from kvae.streams import generator

_SHEET_IMAGES, _SHEET_PIXELS, _SHEET_SEED = 60, 64, 0
_MAX_CLASSES, _MAX_RATES, _MAX_FAULTS, _MAX_SIZES = 12, 60, 20, 5


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


def inspect(
    data_dir: str | None,
    *,
    dataset: str = "",
    crop: str = "",
    image_size: int = _SHEET_PIXELS,
    labels_file: str | None = None,
    channels: int = 3,
    split_seed: int = 0,
    sheet: str | Path = "contact_sheet.png",
    json_file: str | Path | None = None,
) -> dict[str, Any]:
    """Decode every image of a source once, print what was found and draw some.

    Args:
        data_dir: folder, zip or file.
        dataset: "celeba", "folder" or "tfds:NAME"; "": celeba where its layout is recognised, else
            folder.
        crop: see `crops.box_of`; "": that of the dataset's preset.
        image_size: of the images on the sheet, pixels.
        labels_file: see `folder.load`.
        channels: 1 (grey) or 3 (RGB).
        split_seed: of the splits that are drawn.
        sheet: PNG to write, of 60 images drawn at random, as training would see them.
        json_file: file for the report, with every unreadable image; None: none.

    Returns:
        The printed report as JSON values, with all unreadable images.

    Raises:
        UsageError: an option that is not allowed.
        DataError: there are no images.
    """
    _check_output("--sheet", sheet, data_dir, ".png")
    if json_file is not None:
        _check_output("--json", json_file, data_dir, ".json")
    dataset = dataset or _recognised(data_dir)
    source = _source(
        dataset, labels_file,
        data_dir=data_dir, split_seed=split_seed, image_size=image_size, channels=channels,
        **({"crop": crop} if crop else {}),
    )  # fmt: skip
    places = [place for split in SPLITS for place in source.places[split]]
    chosen = generator(_SHEET_SEED, "sheet of images").permutation(len(places))[:_SHEET_IMAGES]
    seen = list(_look(source, set(chosen.tolist())))
    report = _report(source, places, seen)
    _print(report)
    if json_file is not None:
        Path(json_file).write_text(json.dumps(report, indent=1))
        _say(f"{'report':12}{json_file}")
    images = [one.small for one in seen if isinstance(one, _Seen) and one.small is not None]
    if images:
        title = (
            f"{source.name}: {len(images)} of {len(places):,} images, crop {source.options.crop}, "
            f"{image_size}x{image_size}"
        )
        save_sheet(Path(sheet), np.stack(images) / np.float32(255), title)
        _say(f"{'sheet':12}{sheet}")
    else:
        _say(f"{'sheet':12}none: no image can be read and fits the crop {source.options.crop}")
    return report


def _check_output(option: str, path: str | Path, data_dir: str | None, suffix: str) -> None:
    """Refuse what cannot be written, and what would become part of the data."""
    path = Path(path)
    if path.suffix.lower() != suffix or not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"{option} is a {suffix} file in a folder that exists, received {path}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {path} cannot be written")
    source = Path(data_dir or "/").expanduser().resolve()
    if data_dir is not None and source.is_dir() and path.resolve().is_relative_to(source):
        raise UsageError(
            f"{option} {path} would lie in --data-dir, among the data: choose another folder"
        )


def _recognised(data_dir: str | None) -> str:
    """celeba or folder."""
    if data_dir is None:
        raise UsageError("--data-dir is needed: a folder, a zip or parquet files")
    if not Path(data_dir).expanduser().exists():
        raise UsageError(f"--data-dir {data_dir}: no such file or folder")
    try:
        copy = find_copy(data_dir)
    except KvaeError:
        return "folder"
    if not isinstance(copy, JpegCopy):
        return "celeba"
    first = copy.files.root.resolve() / next(iter(copy.paths.values()))
    return "celeba" if copy.partition or ALIGNED in str(first) else "folder"


def _source(dataset: str, labels_file: str | None, **options: Any) -> Source:
    if data.key_of(dataset) == data.TFDS:
        from kvae.data import tfds

        return tfds.source(tfds_name=dataset.partition(":")[2], **options)
    if dataset == "celeba":
        return celeba.source(**options)
    if dataset == "folder":
        return folder.source(labels_file=labels_file, **options)
    raise UsageError(f"--dataset takes celeba, folder or tfds:NAME, received {dataset!r}")


def _look(source: Source, chosen: set[int]) -> Iterator[_Seen | Unreadable]:
    options = source.options

    def work(index: int, content: bytes) -> _Seen | Unreadable:
        try:
            image = read(content)
        except Unreadable as error:
            return error
        mode = "grey" if image.mode == "L" else "RGB"
        try:
            small = fit(image, options.crop, options.image_size, options.channels)
        except Unreadable as error:
            return _Seen(image.size, mode, str(error), None)
        return _Seen(image.size, mode, "", small if index in chosen else None)

    with tqdm(total=source.count, desc="looking", unit=" images") as progress:
        for found in in_order(source.contents(), work, 3 * options.image_size**2):
            progress.update(len(found))
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
        "notes": list(source.notes),
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


def _print(report: dict[str, Any]) -> None:
    sizes, colours = report["sizes"], report["colours"]
    rule = report["split"].replace("own", "the source's own", 1)
    lines = {
        "layout": report["layout"],
        "images": f"{report['images']:,}",
        "splits": ", ".join(f"{n:,} {name}" for name, n in report["splits"].items()) + f" ({rule})",
        "sizes": _first([f"{size} ({count:,})" for size, count in sizes.items()], _MAX_SIZES),
        "colours": ", ".join(f"{n:,} {mode}" for mode, n in colours.items()) or "none",
        "crop": report["crop"],
    }
    if len(sizes) > 1:
        smallest, largest = report["smallest_side"], report["largest_side"]
        lines["sizes"] += f"; sides of {smallest:,} to {largest:,} pixels"
    if "missing" in report:
        lines["missing"] = f"{report['missing']:,} (listed, but not there)"
    if "not_listed" in report:
        lines["not listed"] = f"{report['not_listed']:,} (there, but in no split: left out)"
    for name, text in lines.items():
        _say(f"{name:12}{text}")
    for note in report["notes"]:
        _say(f"{'note':12}{note}")
    faults, labels = report["unreadable"], report["labels"]
    _say(f"{'unreadable':12}{len(faults):,}{':' if faults else ''}")
    _print_lines([f"  {place} {why}" for place, why in faults.items()], _MAX_FAULTS)
    _say(f"{'labels':12}{len(labels):,}{':' if labels else ''}")
    rates = {label: rate for label, rate in labels.items() if not isinstance(rate, dict)}
    _print_lines(_table(rates, "{:.1%}"), _MAX_RATES)
    for label, counts in labels.items():
        if isinstance(counts, dict):
            few, many = min(counts.values()), max(counts.values())
            each = f"{few:,}" if few == many else f"{few:,} to {many:,}"
            each += " image" if many == 1 else " images"
            _say(f"  {label}: {len(counts):,} classes, {each} each")
            largest_first = sorted(counts.items(), key=lambda item: -item[1])
            shown = dict(largest_first) if len(counts) > _MAX_CLASSES else counts
            _print_lines([f"  {line}" for line in _table(shown, "{:,}")], _MAX_CLASSES)


def _say(text: str) -> None:
    """Print; a file's name may hold what the terminal cannot show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _first(texts: list[str], limit: int) -> str:
    more = f" and {len(texts) - limit:,} more" if len(texts) > limit else ""
    return (", ".join(texts[:limit]) or "none") + more


def _table(values: dict[str, float], number: str) -> list[str]:
    """Lines of a name and a number, both in columns."""
    numbers = [number.format(value) for value in values.values()]
    wide, right = max(map(len, values), default=0), max(map(len, numbers), default=0)
    return [f"  {name:{wide}}  {text:>{right}}" for name, text in zip(values, numbers, strict=True)]


def _print_lines(lines: list[str], limit: int) -> None:
    for line in lines[:limit]:
        _say(line)
    if len(lines) > limit:
        indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
        _say(f"{indent}and {len(lines) - limit:,} more; --json writes them all")
