"""From a source of images to a dataset: decoded on all cores, cached, unreadable ones left out."""

import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import PIL

from kvae.data import NO_BINARIZE, THRESHOLD, Dataset, Split
from kvae.data.cache import cached_array
from kvae.data.cores import on_all_cores
from kvae.data.images.binarization import Binarization, fixed_draws
from kvae.data.images.crops import WANTED, is_crop
from kvae.data.images.decoding import DECODING_VERSION, Unreadable, decode
from kvae.data.images.files import Files, about_not_read
from kvae.data.images.pixels import HALF, binary
from kvae.data.splits import SPLITS, content_key
from kvae.errors import DataError, UsageError, escaped

MIN_SIZE, MAX_SIZE = 8, 512
_SHOWN = 10


class ImageOptions(NamedTuple):
    """How images are made and kept.

    Args:
        crop: see `kvae.data.images.crops.box_of`.
        image_size: width and height in pixels, 8 to 512.
        channels: 1 or 3.
        binarize: how all levels become 0 or 255, see `kvae.data.images.binarization`.
        binarize_seed: of what is drawn once.
        cache_dir: where decoded images are kept; None for `cache.default_cache_dir()`.
        cache: False: decode into memory instead.
        max_unreadable: the largest part of the images that may be left out, 0 to 1.
    """

    crop: str = "center"
    image_size: int = 64
    channels: int = 3
    binarize: str = NO_BINARIZE
    binarize_seed: int = 0
    cache_dir: str | None = None
    cache: bool = True
    max_unreadable: float = 0.001

    @property
    def binarization(self) -> Binarization:
        """How levels become binary; UsageError for a way that is none."""
        return Binarization.of(self.binarize, self.binarize_seed)

    @property
    def has_threshold(self) -> bool:
        """Whether an image is binary as soon as it is decoded."""
        return self.binarization.mode == THRESHOLD

    def check(self) -> None:
        """Raise UsageError for a value that is not allowed."""
        _ = self.binarization
        if not is_crop(self.crop):
            raise UsageError(f"--crop takes {WANTED}; received {self.crop!r}")
        if not MIN_SIZE <= self.image_size <= MAX_SIZE:
            raise UsageError(
                f"--image-size must be {MIN_SIZE} to {MAX_SIZE}, received {self.image_size}"
            )
        if self.channels not in (1, 3):
            raise UsageError(f"--channels must be 1 or 3, received {self.channels}")
        if not 0 <= self.max_unreadable <= 1:
            raise UsageError(
                f"--max-unreadable is a part, 0 to 1: received {self.max_unreadable:g}"
            )


@dataclass(frozen=True)
class Source:
    """Images before any is opened.

    Args:
        name: of the dataset.
        layout: what was recognised, for people.
        places: split -> how to name each of its images in a message.
        contents: a function of each image that gives its bytes, split after split in the order of
            `places`; the functions are called in several threads, each once.
        labels: name -> `(images,)`, in that order.
        content_key: changes whenever an image, its split or its place in the order does.
        card: what the data card has to say beyond the images themselves.
        color_by: see `Dataset`.
        options: how they are decoded and kept.
        notes: what was noticed in recognising them, for people.
        not_read: how the names of images end that lie beside them and are not read -> of how many.
    """

    name: str
    layout: str
    places: dict[str, list[str]]
    contents: Callable[[], Iterable[Callable[[], bytes]]]
    labels: dict[str, np.ndarray]
    content_key: str
    card: dict[str, Any]
    color_by: str
    options: ImageOptions
    notes: tuple[str, ...] = ()
    not_read: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Images in all splits."""
        return sum(map(len, self.places.values()))

    def dataset(self) -> Dataset:
        """Decode what is not in the cache yet.

        Raises:
            DataError: too many images are unreadable, or a split is left without any.
        """
        options, shape = self.options, self._shape
        key = {
            "name": self.name.replace(":", "-").replace("/", "-"),
            "decoding_version": DECODING_VERSION,
            # Another version may decode other formats, or resize otherwise.
            "pillow": PIL.__version__,
            "crop": options.crop,
            "source": self.content_key,
            # What is drawn is drawn of grey levels, which are kept beside it.
            **({"binarize": True} if options.has_threshold else {}),
        }
        for note in (*self.notes, *about_not_read(self.not_read)):
            print(f"{self.name}: {note}", file=sys.stderr)
        places = [place for split in SPLITS for place in self.places[split]]
        # 0.57 of 100 is 57, though not in floating point.
        allowed = int(options.max_unreadable * self.count + 1e-9)
        found = cached_array(
            options.cache_dir, key, shape,
            lambda left_out: decoded(self.contents(), left_out, options, places, allowed),
            describe="decoding",
            use_cache=options.cache,
        )  # fmt: skip
        _check_left_out(found.left_out, places, allowed)
        _report_left_out(self.name, found.left_out, places)
        dataset = self._assembled(found.array, found.left_out)
        return self._drawn(dataset, key) if options.binarization.is_drawn else dataset

    def _drawn(self, dataset: Dataset, key: dict[str, Any]) -> Dataset:
        """A dataset of grey levels with what is drawn of them once, which is kept too."""
        how, splits = self.options.binarization, {name: getattr(dataset, name) for name in SPLITS}
        counts = [len(split.x) for split in splits.values()]
        found = cached_array(
            self.options.cache_dir, {**key, "drawn": [how.seed, counts]},
            (sum(counts), *self._shape[1:]),
            lambda _: (
                part
                for name, split in splits.items()
                for part in fixed_draws(split.x, how.seed, name)
            ),
            describe="binarizing", use_cache=self.options.cache,
        )  # fmt: skip
        fixed = dict(zip(splits, np.split(found.array, np.cumsum(counts)[:-1]), strict=True))
        made: dict[str, Any] = how.of_draws(splits, fixed)
        return replace(dataset, **made)

    def outline(self) -> Dataset:
        """As `dataset`, but all pixels are grey, or white, and nothing is opened."""
        level = np.full(1, HALF, np.uint8)
        level = level if self.options.binarization.mode == NO_BINARIZE else binary(level)
        return self._assembled(np.broadcast_to(level, self._shape), {})

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        size = self.options.image_size
        return (self.count, size, size, self.options.channels)

    def _assembled(self, x: np.ndarray, left_out: dict[int, str]) -> Dataset:
        kept = np.ones(self.count, bool)
        kept[list(left_out)] = False
        splits, first, start = {}, 0, 0
        for name in SPLITS:
            own = kept[first : first + len(self.places[name])]
            rows = slice(start, start + int(own.sum()))
            splits[name] = Split(
                x[rows],
                {label: y[first : first + len(own)][own] for label, y in self.labels.items()},
            )
            first, start = first + len(own), rows.stop
            if not len(splits[name].x):
                raise DataError(
                    f"the {name} split of {self.name} is empty: {int((~own).sum()):,} of its "
                    f"{len(own):,} images are unreadable"
                )
        card = {
            "name": self.name,
            "crop": self.options.crop,
            "image_size": self.options.image_size,
            "channels": self.options.channels,
            "resize": "bilinear, antialias",
            **self.options.binarization.card,
            "counts": {name: len(split.x) for name, split in splits.items()},
            "unreadable": len(left_out),
            **self.card,
        }
        card["source"] = {"layout": self.layout, **card.get("source", {})}
        return Dataset("images", **splits, card=card, color_by=self.color_by)


def of_files(files: Files, paths: dict[str, list[str]]) -> dict[str, Any]:
    """What a `Source` of files says of them: places, contents, content_key and not_read.

    Args:
        files: the folder or zip.
        paths: split -> paths in it, in order.
    """
    ordered = [path for split in SPLITS for path in paths[split]]
    sizes = [len(paths[split]) for split in SPLITS]
    return {
        "places": {split: [files.place(path) for path in paths[split]] for split in SPLITS},
        "contents": lambda: (partial(files.read, path) for path in ordered),
        "content_key": content_key([sizes, *([path, *files.stamps[path]] for path in ordered)]),
        "not_read": files.not_read(),
    }


def decoded(
    contents: Iterable[Callable[[], bytes]],
    left_out: dict[int, str],
    options: ImageOptions,
    places: list[str],
    allowed: int,
) -> Iterator[np.ndarray]:
    """Decode images on all cores, in order.

    Args:
        contents: gives the bytes of each image.
        left_out: is given the index of each unreadable image, and why.
        options: of the images.
        places: how to name each image.
        allowed: the largest number of unreadable images.

    Yields:
        uint8 `(up to 64, image_size, image_size, channels)`.

    Raises:
        DataError: more images are unreadable, or a file cannot be read at all.
    """

    def work(index: int, content: bytes) -> np.ndarray | Unreadable:
        try:
            return decode(
                content, options.crop, options.image_size, options.channels,
                binarize=options.has_threshold,
            )  # fmt: skip
        except Unreadable as error:
            return error

    empty = np.empty((0, options.image_size, options.image_size, options.channels), np.uint8)
    start = 0
    for found in in_order(contents, work, options.image_size**2 * options.channels):
        faults = {i: str(x) for i, x in enumerate(found, start) if isinstance(x, Unreadable)}
        left_out.update(faults)
        _check_left_out(left_out, places, allowed)
        start += len(found)
        images = [x for x in found if not isinstance(x, Unreadable)]
        yield np.stack(images) if images else empty


def in_order(
    contents: Iterable[Callable[[], bytes]],
    work: Callable[[int, bytes], Any],
    result_bytes: int,
) -> Iterator[list[Any]]:
    """Do something with each image's bytes on all cores.

    Args:
        contents: gives the bytes of each image.
        work: index and bytes -> anything; not called where the bytes are damaged.
        result_bytes: what it returns takes about so much, which bounds how much waits.

    Yields:
        What `work` returned, or `Unreadable`, of up to 64 images at a time, in order.
    """

    def one(place: tuple[int, Callable[[], bytes]]) -> Any:
        index, content = place
        try:
            return work(index, content())
        except zipfile.BadZipFile as error:  # a checksum
            return Unreadable(f"is damaged: {error}")

    return on_all_cores(enumerate(contents), one, result_bytes)


def _check_left_out(left_out: dict[int, str], places: list[str], allowed: int) -> None:
    if len(left_out) <= allowed:
        return
    row, why = next(iter(left_out.items()))
    crop = ", choose another --crop" if "crop" in why else ""
    raise DataError(
        f"{escaped(places[row])} {why}; of {len(places):,} images {allowed:,} may be unreadable, "
        f"and more are: replace or remove them{crop}, or let more be left out with "
        "--max-unreadable (kvae data lists them, and says how large it must be)"
    )


def _report_left_out(name: str, left_out: dict[int, str], places: list[str]) -> None:
    if not left_out:
        return
    lines = [f"{name}: {len(left_out):,} of {len(places):,} images are unreadable and left out:"]
    lines += [f"  {escaped(places[row])} {why}" for row, why in islice(left_out.items(), _SHOWN)]
    if len(left_out) > _SHOWN:
        lines.append(
            f"  and {len(left_out) - _SHOWN:,} more (python -m kvae.data --json FILE lists all)"
        )
    print("\n".join(lines), file=sys.stderr)
