"""Any image dataset of TensorFlow Datasets, and folders that it prepared."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import NO_BINARIZE, Dataset, network
from kvae.data.images.files import given_path
from kvae.data.images.sets import ImageOptions, Source
from kvae.data.splits import SPLITS, content_key, divided
from kvae.errors import DataError, UsageError, brief

_NEAR = 8
_SPLIT_OF = {
    "train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
}  # fmt: skip


def load(
    *,
    tfds_name: str = "",
    data_dir: str | Path | None = None,
    crop: str = "center",
    image_size: int = 64,
    channels: int = 3,
    binarize: str = NO_BINARIZE,
    binarize_seed: int = 0,
    cache_dir: str | None = None,
    cache: bool = True,
    max_unreadable: float = 0.001,
    split_seed: int = 0,
) -> Dataset:
    """Load an image dataset of TensorFlow Datasets; it is downloaded if it is not prepared yet.

    Its own splits are kept, and completed as in `splits.divided`.

    Args:
        tfds_name: as for `tfds.builder`: "cifar10", "mnist", "celeb_a:2.1.0", ....
        data_dir: where it is prepared; None for TFDS's own, ~/tensorflow_datasets.
        crop: see `kvae.data.images.crops.box_of`.
        image_size: width and height in pixels, 8 to 512.
        channels: 1 (grey) or 3 (RGB).
        binarize: make every level 0 or 255, as a Bernoulli likelihood needs, see
            `kvae.data.images.binarization`.
        binarize_seed: of what is drawn once.
        cache_dir: where decoded images are kept; None for `cache.default_cache_dir()`.
        cache: False: decode into memory instead.
        max_unreadable: the largest part of the images that may be unreadable, and is left out.
        split_seed: of the splits that are drawn.

    Returns:
        Images `(rows, image_size, image_size, channels)`, uint8, memory-mapped; its class label
        (int64) and its true-or-false features as labels.

    Raises:
        UsageError: an option that is not allowed, or a dataset that TFDS does not have.
        DataError: it cannot be prepared, or has no images.
    """
    return source(**locals()).dataset()


def check_made(*, tfds_name: str, data_dir: str) -> None:
    """Refuse a folder that `load` would download to. Arguments as for `load`.

    Raises:
        UsageError: the dataset is not prepared there.
    """
    if not _builder(tfds_name, data_dir).is_prepared():
        raise UsageError(
            f"tfds:{tfds_name} is not in {data_dir} any more; --data-dir names the folder that it "
            "is in or is to be downloaded to"
        )


def outline(**options: Any) -> Dataset:
    """What `load` gives, without decoding and without labels: all pixels are grey."""
    return source(**options, with_labels=False).outline()


def source(
    *,
    tfds_name: str = "",
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    with_labels: bool = True,
    **image_options: Any,
) -> Source:
    """The images before any is decoded. Arguments and errors as for `load`.

    `with_labels` is False where labels, a pass over all files, are not wanted.
    """
    options = ImageOptions(**image_options)
    options.check()
    builder = _prepared_builder(tfds_name, data_dir)
    return _source(builder, f"tfds:{tfds_name}", split_seed, "", options, with_labels)


def prepared(
    name: str,
    folder: Path,
    split_seed: int,
    color_by: str,
    options: ImageOptions,
    with_labels: bool,
) -> Source:
    """Images of a folder that TFDS has written.

    Args:
        name: of our dataset.
        folder: of one version, with dataset_info.json.
        split_seed: of the splits that are drawn.
        color_by: the label that colours a latent map, if it is there.
        options: of the images.
        with_labels: see `source`.

    Raises:
        DataError: it cannot be read, or has no images.
    """
    tfds = _tfds()
    try:
        builder = tfds.builder_from_directory(str(folder))
    except Exception as error:  # of many kinds: the files are not ours
        raise DataError(f"{folder} is no dataset of TensorFlow Datasets: {error}") from error
    return _source(builder, name, split_seed, color_by, options, with_labels)


def arrays_of(folder: Path, splits: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and classes of a folder that TFDS has written, as they are.

    Args:
        folder: of one version, with dataset_info.json.
        splits: of its own.

    Returns:
        Split -> `(rows, height, width, channels)` uint8 and `(rows,)` int64, in the order of its
        files.

    Raises:
        DataError: it cannot be read, or lacks a split or a feature.
    """
    try:
        builder = _tfds().builder_from_directory(str(folder))
    except Exception as error:  # of many kinds: the files are not ours
        raise DataError(f"{folder} is no dataset of TensorFlow Datasets: {error}") from error
    found = {}
    for split in splits:
        if split not in builder.info.splits or not {"image", "label"} <= {*builder.info.features}:
            raise DataError(
                f"{folder}: wanted the splits {' and '.join(splits)} of images with a label; it "
                f"has {', '.join(builder.info.splits)} of {', '.join(builder.info.features)}"
            )
        rows = [(one["image"], one["label"]) for one in _iterate(builder, split, None)]
        found[split] = (np.stack([x for x, _ in rows]), np.array([y for _, y in rows], np.int64))
    return found


def _tfds() -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(f"tensorflow-datasets cannot be imported: {error}") from error
    return tfds


def _builder(name: str, data_dir: str | Path | None) -> Any:
    if not name:
        raise UsageError("--dataset tfds:NAME needs a name, as tfds:cifar10")
    tfds = _tfds()
    folder = str(Path(data_dir).expanduser()) if data_dir else None
    try:
        builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError, ImportError) as error:
        names = tfds.list_builders(with_community_datasets=False)  # the others: over the network
        plain = name.partition("/")[0].partition(":")[0].lower()
        known = [
            *difflib.get_close_matches(plain, names, _NEAR),
            *(other for other in names if plain[:4] in other),
        ]
        near = f"; like it are {', '.join(list(dict.fromkeys(known))[:_NEAR])}" if known else ""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise UsageError(
            f"TensorFlow Datasets has no {brief(name)}{near}; all names: "
            f"https://www.tensorflow.org/datasets/catalog/overview ({reason})"
        ) from error
    return builder


def _prepared_builder(name: str, data_dir: str | Path | None) -> Any:
    if data_dir:
        given_path(data_dir, "the folder of TensorFlow Datasets, made before it downloads to it")
    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        _check_network(builder, name, data_dir)
    try:
        builder.download_and_prepare()
    except Exception as error:  # downloads, checksums, disks: all end here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"tfds:{name} could not be prepared: {reason}") from error
    return builder


def _check_network(builder: Any, name: str, data_dir: str | Path | None) -> None:
    """Refuse a download of which nothing can be reached; TFDS itself tries for minutes.

    Raises:
        DataError: none of the hosts answers.
    """
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return  # its files are put into downloads/manual, and TFDS says at once which are not there
    folder = Path(data_dir or _tfds().core.constants.DATA_DIR).expanduser()
    wanted = _urls_to_download(builder, folder / "downloads")
    addresses = network.addresses_of(wanted)
    if addresses and not network.any_reachable(addresses):
        hosts = ", ".join(dict.fromkeys(address.name for address in addresses[:3]))
        raise DataError(
            f"tfds:{name} is not prepared in {folder}, and cannot be downloaded: {hosts} cannot be "
            f"reached within {network.SECONDS:g} s. Give with --data-dir a folder where it is "
            "prepared, or connect (http_proxy and https_proxy are heeded)"
        )


def _urls_to_download(builder: Any, downloads: Path) -> list[str]:
    """The files that the dataset is made of and that were not downloaded before."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    there = {
        path.name
        for folder in (downloads, downloads / builder.name)
        if folder.is_dir()
        for path in folder.iterdir()
    }
    return [
        url
        for url, info in (builder.url_infos or {}).items()
        if get_dl_fname(url, info.checksum) not in there
    ]


def _source(
    builder: Any,
    name: str,
    split_seed: int,
    color_by: str,
    options: ImageOptions,
    with_labels: bool,
) -> Source:
    image, label_names = _features(builder)
    label_names = label_names if with_labels else []
    counts = {split: one.num_examples for split, one in builder.info.splits.items()}
    assigned, rule, unused = _assign(counts, split_seed, name, builder.info.full_name)
    labels = {split: _labels(builder, split, label_names) for split in assigned}
    rows = [
        (split, row)
        for ours in SPLITS
        for split in assigned
        for row in np.flatnonzero(assigned[split] == ours)
    ]
    places: dict[str, list[str]] = {ours: [] for ours in SPLITS}
    for split, row in rows:
        places[assigned[split][row]].append(f"{name}, split {split}, image {row + 1}")

    def contents() -> Iterator[Callable[[], bytes]]:
        # A pass for each split, so that the cache holds one after another.
        for ours in SPLITS:
            for split, found in assigned.items():
                if not (found == ours).any():
                    continue
                for wanted, example in zip(found, _read(builder, split, image), strict=True):
                    if wanted == ours:
                        yield partial(bytes, example[image])

    features = dict(builder.info.features.items())
    classes = {
        label: list(features[label].names) for label in label_names if _is_class(features, label)
    }
    ordered = {
        _plain_name(label): np.array([labels[split][label][row] for split, row in rows])
        for label in label_names
    }
    first = next(iter(ordered), "")
    return Source(
        name, f"TensorFlow Datasets, {builder.info.full_name}", places, contents, ordered,
        content_key(
            [builder.info.full_name, _stamps(builder)]
            + [[split, found.tolist()] for split, found in assigned.items()]
        ),
        {**rule, **({"label_names": classes} if classes else {})},
        color_by if color_by in ordered else first, options,
        (f"not used: the splits {', '.join(unused)}",) if unused else (),
    )  # fmt: skip


def _features(builder: Any) -> tuple[str, list[str]]:
    """The feature that holds images, and those that are labels (attributes/NAME in a dict)."""
    tfds = _tfds()
    features = builder.info.features
    named = features.items() if hasattr(features, "items") else ()
    images = [name for name, one in named if type(one) is tfds.features.Image]
    if not images:
        raise DataError(f"{builder.info.full_name} has no feature of images: {features}")
    labels = []
    for name, one in named:
        if isinstance(one, tfds.features.ClassLabel):
            labels.append(name)
        elif isinstance(one, tfds.features.FeaturesDict):
            labels += [f"{name}/{inner}" for inner, part in one.items() if _is_flag(part)]
        elif _is_flag(one):
            labels.append(name)
    return "image" if "image" in images else images[0], labels


def _is_class(features: dict[str, Any], label: str) -> bool:
    """Whether a label is a class, whose names are known."""
    return isinstance(features.get(label), _tfds().features.ClassLabel)


def _is_flag(feature: Any) -> bool:
    """Whether a feature is one true or false."""
    return getattr(feature, "shape", None) == () and np.dtype(feature.np_dtype) == np.bool_


def _plain_name(label: str) -> str:
    return label.rsplit("/", 1)[-1]


def _labels(builder: Any, split: str, names: list[str]) -> dict[str, np.ndarray]:
    """Name -> values of a split's rows."""
    if not names:
        return {}
    wanted: dict[str, Any] = {}
    for name in names:
        outer, _, inner = name.partition("/")
        if inner:
            wanted.setdefault(outer, {})[inner] = True
        else:
            wanted[outer] = True
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for example in _iterate(builder, split, _tfds().decode.PartialDecoding(wanted)):
        for name in names:
            outer, _, inner = name.partition("/")
            columns[name].append(example[outer][inner] if inner else example[outer])
    return {name: np.array(values) for name, values in columns.items()}


def _read(builder: Any, split: str, image: str) -> Iterator[dict[str, Any]]:
    """Examples with the image's bytes as they are on disk."""
    tfds = _tfds()
    skip = tfds.decode.PartialDecoding({image: True}, {image: tfds.decode.SkipDecoding()})
    return _iterate(builder, split, skip)


def _iterate(builder: Any, split: str, decoders: Any) -> Iterator[dict[str, Any]]:
    import tensorflow as tf

    # One file after another: the same order every time.
    config = _tfds().ReadConfig(interleave_cycle_length=1, try_autocache=False)
    try:
        dataset = builder.as_dataset(
            split=split, decoders=decoders, shuffle_files=False, read_config=config
        )
        yield from dataset.as_numpy_iterator()
    except (tf.errors.OpError, OSError) as error:
        raise DataError(
            f"{builder.data_path}: the split {split} is damaged or incomplete, prepare it anew: "
            f"{str(error).splitlines()[0][:150]}"
        ) from error


def _assign(
    counts: dict[str, int], seed: int, name: str, version: str
) -> tuple[dict[str, np.ndarray], dict[str, Any], list[str]]:
    """TFDS's split -> our split of each of its rows; what the card says; splits without use."""
    used: dict[str, str] = {}
    for split in counts:
        if split in _SPLIT_OF:
            used.setdefault(_SPLIT_OF[split], split)
    if not used and len(counts) == 1:
        used = {"train": next(iter(counts))}
    if "train" not in used:
        raise DataError(f"{name} has no split train, but {', '.join(counts) or 'none'}")
    starts = np.cumsum([0, *(counts[split] for split in used.values())])
    own = {
        ours: np.arange(counts[split]) + start
        for (ours, split), start in zip(used.items(), starts, strict=False)
    }
    rows, rule = divided(own, int(starts[-1]), seed, name, [version, counts])
    ours_of = np.empty(starts[-1], "<U5")
    for split, indices in rows.items():
        ours_of[indices] = split
    assigned = dict(zip(used.values(), np.split(ours_of, starts[1:-1]), strict=True))
    return assigned, rule, [split for split in counts if split not in assigned]


def _stamps(builder: Any) -> list[list[Any]]:
    """Name, bytes and time of change of the files of a prepared dataset."""
    folder = Path(str(builder.data_path))
    if not folder.is_dir():
        return []
    found = ((path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return [[path.name, status.st_size, status.st_mtime_ns] for path, status in found]
