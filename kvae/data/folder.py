"""Any folder of images, or a zip of one."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kvae.data import NO_BINARIZE, Dataset
from kvae.data.classes import LEFT_OUT, MAX_CLASSES, no_classes
from kvae.data.images.decoding import SUFFIXES
from kvae.data.images.files import Files, about_not_read, given_path, open_files, text_at
from kvae.data.images.sets import ImageOptions, Source, of_files
from kvae.data.splits import RULE, SPLITS, divided
from kvae.data.tables.csv import NUMBERS_ROWS, indices_of, is_index
from kvae.data.tables.dialects import records_of
from kvae.data.tables.numbers import is_value
from kvae.data.text import check_names
from kvae.errors import DataError, UsageError, escaped
from kvae.files import is_file

MIN_IMAGES = 10
LABEL = "class"
_SPLIT_FOLDERS = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid",
    "validation": "valid", "test": "test", "testing": "test",
}  # fmt: skip
_FLAGS = ({"-1", "1"}, {"0", "1"}, {"-1", "0", "1"}, {"false", "true"})


def load(
    *,
    data_dir: str | Path | None = None,
    labels_file: str | Path | None = None,
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
    """Load all images below a folder; the first time they are decoded into the cache.

    Folders train, valid (val, validation) and test at the top are the splits, completed as in
    `splits.divided`; without them the images are divided 80/10/10. The folders below are
    the classes, if every image lies in one and there are two or more. Rows are in the order of
    their paths within each split.

    Args:
        data_dir: a folder or a zip with JPEG, PNG, WebP, BMP, GIF or TIFF files; not written to.
        labels_file: table with a header, its cells between commas, semicolons, tabs or bars; one
            column, as a rule the first, holds paths below `data_dir`, or names, each other one
            labels: -1, 0, 1, true and false alone, or names of classes. pandas' index (columns at
            the left without a name) is left out, and so is a column with too many values for
            classes.
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
        Images `(rows, image_size, image_size, channels)`, uint8, memory-mapped; bool or int64
        labels, the latter numbers of `card["label_names"]`.

    Raises:
        UsageError: an option that is not allowed, or there is no such folder.
        DataError: no images, too many unreadable ones, or labels that do not fit.
    """
    return source(**locals()).dataset()


def outline(**options: Any) -> Dataset:
    """What `load` gives, without decoding: all pixels are grey. Arguments and errors as there."""
    return source(**options).outline()


def source(
    *,
    data_dir: str | Path | None = None,
    labels_file: str | Path | None = None,
    split_seed: int = 0,
    **image_options: Any,
) -> Source:
    """The images before any is opened. Arguments and errors as for `load`."""
    options = ImageOptions(**image_options)
    options.check()
    if data_dir is None:
        raise UsageError("--data-dir is needed for folder: a folder or a zip of images")
    files = open_files(given_path(data_dir, "a folder or a zip of images"))
    paths = sorted(files.with_suffix(*SUFFIXES))
    if len(paths) < MIN_IMAGES:
        others = "".join(f"; {note}" for note in about_not_read(files.not_read()))
        raise DataError(
            f"{files.root} holds {len(paths)} images ({', '.join(SUFFIXES)}), {MIN_IMAGES} at "
            f"least are needed; it holds {len(files.stamps):,} files in all{others}"
        )
    rows, rule, below, notes = _splits(files, paths, split_seed)
    if lost := [path for path in files.dangling if path.lower().endswith(SUFFIXES)]:
        fault = (
            f"{len(lost):,} links lead to no image, the first is {escaped(files.place(lost[0]))}"
        )
        if len(lost) > options.max_unreadable * (len(lost) + len(paths)):
            raise DataError(
                f"{fault}: more than --max-unreadable {options.max_unreadable:g} of all"
            )
        notes.append(f"{fault}: they are left out")
    ordered = [path for split in SPLITS for path in rows[split]]
    left_out: dict[str, str] = {}
    if labels_file is not None:
        top = _common_folder(paths)
        path = Path(labels_file).expanduser()
        labels, names, left_out = _labels_of_file(path, ordered, top, notes)
    else:
        labels, names = _labels_of_folders([below[path] for path in ordered], notes)
    return Source(
        name="folder", layout=_layout(files, rule, labels, labels_file),
        **of_files(files, rows), labels=labels,
        card={
            "source": {"folder": files.root.resolve().name},
            **rule,
            **({"label_names": names} if names else {}),
            **({LEFT_OUT: left_out} if left_out else {}),
        },
        color_by=next(iter(labels), ""), options=options, notes=tuple(notes),
    )  # fmt: skip


def _splits(
    files: Files, paths: list[str], seed: int
) -> tuple[dict[str, list[str]], dict[str, Any], dict[str, str], list[str]]:
    """Split -> paths; the card's words; path -> folder below that of its split; for people.

    A zip, and a folder that was packed with itself, have everything in one folder at the top.
    """
    top = _folder_of_splits(paths)
    below = {path: path.removeprefix(top) for path in paths}
    splits = {
        path: _SPLIT_FOLDERS.get(rest.split("/")[0].lower()) if path.startswith(top) else None
        for path, rest in below.items()
    }
    named = {
        split: np.array([i for i, path in enumerate(paths) if splits[path] == split], np.int64)
        for split in SPLITS
    }
    division, rule = divided(named, len(paths), seed, str(files.root), paths)
    rows = {split: [paths[i] for i in own] for split, own in division.items()}
    strays = [path for path, split in splits.items() if split is None]
    notes = []
    if rule["split"] != RULE:
        if strays:
            notes.append(
                f"{len(strays):,} images outside the folders train, valid and test are left out, "
                f"the first is {escaped(strays[0])}"
            )
    elif not strays:
        found = ", ".join(sorted({rest.split("/")[0] for rest in below.values()}))
        notes.append(
            f"of the folders train, valid and test there is only {found}: all images are divided "
            "at random"
        )
    if rule["split"] != RULE or not strays:  # else folders with such names are classes
        below = {path: rest.partition("/")[2] for path, rest in below.items()}
    return rows, rule, {path: str(PurePosixPath(p).parent) for path, p in below.items()}, notes


def _folder_of_splits(paths: list[str]) -> str:
    """The folder with folders train and test, or valid, in it; else the one with everything.

    It is the top or one below, where other images, as a cover, may lie beside it.
    """
    common = _common_folder(paths)
    found: dict[str, set[str]] = {common: set()}
    for path in paths:
        first, _, rest = path[len(common) :].partition("/")
        places = ((common, first), (f"{common}{first}/", rest.partition("/")[0]))
        for folder, name in places:
            if name.lower() in _SPLIT_FOLDERS:
                found.setdefault(folder, set()).add(_SPLIT_FOLDERS[name.lower()])
    order = (common, *sorted(found))
    return next((f for f in order if "train" in found[f] and len(found[f]) > 1), common)


def _common_folder(paths: list[str]) -> str:
    """The folders at the top that hold everything, with a slash at the end; those of splits not."""
    common = ""
    while True:
        tops = {path[len(common) :].partition("/")[:2] for path in paths}
        (top, slash), *others = tops
        if others or not slash or top.lower() in _SPLIT_FOLDERS:
            return common
        common += f"{top}/"


def _labels_of_folders(
    folders: list[str], notes: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    classes = sorted(set(folders))
    if len(classes) < 2 or "." in classes or len(classes) > MAX_CLASSES:
        if len(classes) > MAX_CLASSES:
            notes.append(
                f"{len(classes):,} subfolders are too many for classes ({MAX_CLASSES:,} at most): "
                "images have no labels"
            )
        return {}, {}
    check_names(classes, "the folders of classes, whose names are those of labels")
    codes = np.searchsorted(classes, folders).astype(np.int64)
    return {LABEL: codes}, {LABEL: classes}


def _labels_of_file(
    path: Path, paths: list[str], top: str, notes: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]], dict[str, str]]:
    """Labels of a table with a row for each image; its paths may leave out the folder `top`.

    Returns:
        Label -> values, label -> names of its classes, column that is none -> why.
    """
    header, rows = _header_and_rows(path)
    cells_of = [list(cells) for cells in zip(*rows, strict=True)]
    index = [i for i in indices_of(header) if is_index(cells_of[i])]
    notes += [NUMBERS_ROWS.format(path.name, i + 1) for i in index]
    others = [i for i in range(len(header)) if i not in index]
    key, names = _key_of(path, header, cells_of, others, paths, top)
    if key != others[0]:
        notes.append(f"{path.name}: the column {header[key]!r} names the images")
    labelled = [i for i in others if i != key]
    columns = [header[i] for i in labelled]
    if not columns:
        raise DataError(f"{path} has no labels beside the column {header[key]!r}")
    if len(set(columns)) != len(columns) or "" in columns:
        raise DataError(f"{path}: every label needs a name of its own, received {columns}")
    listed = _listed(cells_of[key])
    by_name = {name: [row[i] for i in labelled] for name, row in zip(listed, rows, strict=True)}
    if len(set(names)) < len(names) or len(by_name) < len(rows):
        repeated = Counter(names) - Counter(set(names)) or Counter(listed) - Counter(set(listed))
        twice = next(iter(repeated))
        raise DataError(
            f"{path}: {twice!r} stands for two images, or has two rows: give paths below the "
            "folder of the images, each once"
        )
    for name in names:
        if "" in by_name[name]:
            column = columns[by_name[name].index("")]
            raise DataError(f"{path}: {name} has no label in the column {column!r}")
    cells = {column: [by_name[name][i] for name in names] for i, column in enumerate(columns)}
    labels, classes, left_out = _encoded(path, cells)
    for column, fault in left_out.items():
        notes.append(f"{path.name}, column {column!r}: {fault}: it is left out")
    if not labels:
        notes.append(f"{path.name} has no labels that can be used: images have none")
    return labels, classes, left_out


def _header_and_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    if not is_file(path):
        raise UsageError(f"--labels-file {path}: no such file")
    found = [*records_of(str(path), text_at(path))]
    if len(found) < 2 or len(found[0][1]) < 2:
        raise DataError(
            f"{path}: wanted a header and a row for each image, an image's path and then labels, "
            f"received {len(found)} lines, the first with {len(found[0][1]) if found else 0} "
            "columns"
        )
    (first, header), *rest = found
    check_names(header, f"{path}, line {first}")
    for line, row in rest:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells, the header has {len(header)}")
    return header, [row for _, row in rest]


def _key_of(
    path: Path, header: list[str], cells_of: list[list[str]], others: list[int],
    paths: list[str], top: str,
) -> tuple[int, list[str]]:  # fmt: skip
    """The column that names every image, and what it calls each.

    Of several, one of paths or names with their endings: a number may be a name without one by
    chance.

    Raises:
        DataError: there is none, or two that give an image different rows.
    """
    # A column of labels seldom has a value for each image: it need not be searched.
    candidates = [i for i in others if len(set(cells_of[i])) >= len(paths)] or others
    names = {i: _names_in(set(_listed(cells_of[i])), paths, top) for i in candidates}

    def fit(i: int) -> tuple[int, int]:
        found = [name for name in names[i] if name]
        return len(found), sum(name.lower().endswith(SUFFIXES) for name in found)

    key = max(candidates, key=fit, default=None)
    if key is None:
        raise DataError(f"{path} has only columns without a name: none can name the images")
    if missing := names[key].count(""):
        absent = paths[names[key].index("")]
        numbers = "" if len(others) == len(header) else "; numbers without a header are no names"
        raise DataError(
            f"{path} has no row for {missing:,} of {len(paths):,} images, the first is {absent}; "
            f"below the header its first row is for {cells_of[key][0]!r}{numbers}"
        )
    for other in candidates:
        if other != key and fit(other) == fit(key):
            row, another = (
                dict(zip(_listed(cells_of[i]), range(len(cells_of[i])), strict=True))
                for i in (key, other)
            )
            if any(row[a] != another[b] for a, b in zip(names[key], names[other], strict=True)):
                raise DataError(
                    f"{path}: the columns {header[key]!r} and {header[other]!r} both name every "
                    "image, but in different rows: take one of them out"
                )
    return key, names[key]


def _listed(cells: list[str]) -> list[str]:
    return [cell.replace("\\", "/") for cell in cells]


def _names_in(listed: set[str], paths: list[str], top: str) -> list[str]:
    """What a table calls images: paths or names, with or without ending; "" for none."""

    def one(image: str) -> str:
        plain = PurePosixPath(image)
        bare = str(plain.with_suffix(""))
        paths = (image, image.removeprefix(top), bare, bare.removeprefix(top))
        names = (*paths, plain.name, plain.stem)
        return next((name for name in names if name in listed), "")

    return [one(image) for image in paths]


def _encoded(
    path: Path, cells: dict[str, list[str]]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]], dict[str, str]]:
    """Cells of each column as bools, or as numbers of its sorted classes; which are neither."""
    labels, names, left_out = {}, {}, {}
    for column, values in cells.items():
        classes = sorted(set(values))
        if any({value.lower() for value in classes} <= flags for flags in _FLAGS):
            labels[column] = np.array([value.lower() in ("1", "true") for value in values])
        elif fault := no_classes(
            len(classes), len(values), "numbers" if all(map(is_value, classes)) else "texts"
        ):
            left_out[column] = fault
        else:
            check_names(classes, f"{path}, column {column!r}")
            code_of = {name: code for code, name in enumerate(classes)}
            labels[column] = np.array([code_of[value] for value in values], np.int64)
            names[column] = classes
    return labels, names, left_out


def _layout(
    files: Files,
    rule: dict[str, Any],
    labels: dict[str, np.ndarray],
    labels_file: str | Path | None,
) -> str:
    kind = "zip" if files.is_zip else "folder"
    splits = "own splits" if rule["split"].startswith("own") else "split at random"
    of_file = "labels of a file" if labels_file else "classes by subfolder"
    return f"images in a {kind}, {splits}, {of_file if labels else 'no labels'}"
