"""python -m kvae.data: a report of a source of images, and a sheet of some of them."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvae import cli, files
from kvae.data import BINARIZE, BINARIZE_SEED, CROP, MAX_UNREADABLE, OF_ONE_SIZE
from kvae.errors import UsageError, escaped
from kvae.options import MAX_SEED
from kvae.options import text as text_kind

_SOURCES = ("celeba", "folder", *OF_ONE_SIZE)
_WANTED = f"celeba, folder, tfds:NAME, {' or '.join(OF_ONE_SIZE)}"
_DATASET = text_kind(
    _WANTED,
    lambda given: given in _SOURCES or (given.startswith("tfds:") and len(given) > len("tfds:")),
    _SOURCES,
)
_MAX_CLASSES, _MAX_RATES, _MAX_FAULTS, _MAX_SIZES = 12, 60, 20, 5


def main(argv: Sequence[str], prog: str = "python -m kvae.data") -> None:
    """Read the arguments and inspect what they name."""
    inspect(**arguments(argv, prog))


def inspect(
    data_dir: str | Path | None,
    *,
    sheet: str | Path = "contact_sheet.png",
    json_file: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Print what a source of images holds and draw some of them.

    Args:
        data_dir: folder, zip or file.
        sheet: PNG to write.
        json_file: file for the report, with every unreadable image; None: none.
        **options: of `kvae.data.inspection.inspect`.

    Returns:
        The report.

    Raises:
        UsageError: an option that is not allowed.
        DataError: there are no images.
    """
    from kvae.data import inspection

    _check_output("--sheet", sheet, data_dir, ".png")
    if json_file is not None:
        _check_output("--json", json_file, data_dir, ".json")
    report, images, title = inspection.inspect(data_dir, **options)
    _print(report)
    if json_file is not None:
        files.replace_text(Path(json_file), json.dumps(report, indent=1))
        _say(f"{'report':12}{json_file}")
    if len(images):
        from kvae.data.images.pixels import as_unit_interval
        from kvae.figures.images import draw_sheet

        draw_sheet(as_unit_interval(images), title, path=Path(sheet))
        _say(f"{'sheet':12}{sheet}")
    else:
        _say(f"{'sheet':12}none: no image can be read and fits the crop {report['crop']}")
    return report


def arguments(argv: Sequence[str], prog: str = "python -m kvae.data") -> dict[str, Any]:
    """Read the arguments of python -m kvae.data.

    Returns:
        Keyword arguments of `inspect`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Look at every image of a source, and report what a training would find.",
    )
    parser.add_argument("--data-dir", metavar="PATH", help="folder, zip or parquet file")
    parser.add_argument(
        "--dataset", type=cli.of_kind(_DATASET), default=argparse.SUPPRESS, metavar="NAME",
        help=f"{_WANTED} (default: celeba where it is recognised, else folder)",
    )  # fmt: skip
    parser.add_argument(
        "--crop", type=cli.of_kind(CROP.kind), default=argparse.SUPPRESS, metavar="CROP",
        help="as for kvae train",
    )  # fmt: skip
    parser.add_argument(
        "--image-size", type=cli.whole(8, 512), default=argparse.SUPPRESS, metavar="PIXELS",
        help="of the images on the sheet (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), default=argparse.SUPPRESS, metavar="N",
        help="as for kvae train (default: 3)",
    )  # fmt: skip
    parser.add_argument(
        "--binarize", choices=BINARIZE.choices, nargs="?", const=BINARIZE.bare,
        default=BINARIZE.default, metavar=BINARIZE.metavar, help="as for kvae train",
    )  # fmt: skip
    parser.add_argument(
        "--binarize-seed", type=cli.of_kind(BINARIZE_SEED.kind), default=0, metavar="N",
        help="as for kvae train",
    )  # fmt: skip
    parser.add_argument(
        "--labels-file", default=argparse.SUPPRESS, metavar="FILE", help="as for kvae train"
    )
    parser.add_argument(
        "--split-seed", type=cli.whole(0, MAX_SEED), default=argparse.SUPPRESS, metavar="N",
        help="as for kvae train",
    )  # fmt: skip
    parser.add_argument(
        "--sheet", default="contact_sheet.png", metavar="FILE",
        help="PNG of 60 images as training would see them (default: contact_sheet.png)",
    )  # fmt: skip
    parser.add_argument(
        "--json", dest="json_file", metavar="FILE",
        help="write the report there (.json), with every unreadable image",
    )  # fmt: skip
    cli.add_quiet(parser)
    cli.add_debug(parser)
    return cli.parsed(parser, argv)


def _check_output(option: str, path: str | Path, data_dir: str | Path | None, suffix: str) -> None:
    """Refuse what cannot be written, and what would become part of the data."""
    path = Path(path)
    is_wanted = path.suffix.lower() == suffix and files.is_folder(path.parent)
    if not is_wanted or files.is_folder(path):
        raise UsageError(f"{option} is a {suffix} file in a folder that exists, received {path}")
    files.writable_file(path, option)
    source = Path(data_dir or "/").expanduser().resolve()
    if data_dir is not None and files.is_folder(source) and path.resolve().is_relative_to(source):
        raise UsageError(
            f"{option} {path} would lie in --data-dir, among the data: choose another folder"
        )


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
    _print_lines([f"  {escaped(place)} {why}" for place, why in faults.items()], _MAX_FAULTS)
    allowed = int(MAX_UNREADABLE.default * report["images"])
    if len(faults) > allowed:
        part = math.ceil(1e4 * len(faults) / report["images"]) / 1e4
        _say(
            f"{'note':12}kvae train lets {allowed:,} of {report['images']:,} be unreadable: remove "
            f"these, or give it --max-unreadable {part:g}"
        )
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
