"""Where a copy of CelebA keeps its files, and what its two lists say."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.errors import DataError, UsageError

NUM_ATTRIBUTES = 40
PLACES = {
    "img_align_celeba/": ("img_align_celeba", "Img/img_align_celeba"),
    "list_attr_celeba.txt": ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt"),
    "list_eval_partition.txt": ("list_eval_partition.txt", "Eval/list_eval_partition.txt"),
}
VALUES = {"-1": False, "0": False, "1": True}


class Files(NamedTuple):
    """The parts of one copy.

    Args:
        images: folder of the JPEGs.
        attributes: the list of the 40 attributes.
        partition: the list of the splits.
    """

    images: Path
    attributes: Path
    partition: Path


class Attributes(NamedTuple):
    """The attribute list.

    Args:
        names: of the 40 attributes, in the list's order.
        rows: file name -> 40 bools, one byte each.
    """

    names: list[str]
    rows: dict[str, bytes]

    def of(self, files: list[str]) -> dict[str, np.ndarray]:
        """The labels of some images: name -> bool `(files,)`.

        Raises:
            DataError: an image is not in the list.
        """
        if absent := [file for file in files if file not in self.rows]:
            raise DataError(
                f"{len(absent):,} images of the partition list are not in the attribute list, "
                f"the first is {absent[0]}"
            )
        flat = np.frombuffer(b"".join(self.rows[file] for file in files), np.uint8)
        table = flat.reshape(len(files), len(self.names)) == 1
        return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(self.names)}


def find_files(data_dir: str | None) -> Files:
    """Find the parts of the official layout, the lists in `data_dir`, or in Anno/ and Eval/.

    Raises:
        UsageError: no folder given, no such folder, or a part of the layout is not there.
    """
    wanted = ", ".join(PLACES)
    if data_dir is None:
        raise UsageError(f"--data-dir is needed for celeba: a folder with {wanted}")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise UsageError(f"--data-dir {folder} is not a folder: wanted one with {wanted}")
    found, absent = [], []
    for part, places in PLACES.items():
        existing = [folder / place for place in places if _is_part(folder / place, part)]
        found.extend(existing[:1])
        if not existing:
            absent.append(f"{part} (looked for {' and '.join(places)})")
    if absent:
        raise UsageError(f"--data-dir {folder} has no {'; no '.join(absent)}")
    return Files(*found)


def _is_part(path: Path, part: str) -> bool:
    return path.is_dir() if part.endswith("/") else path.is_file()


def read_partition(path: Path) -> dict[str, int]:
    """Read the list of splits: file name -> 0 (train), 1 (valid) or 2 (test).

    Raises:
        DataError: the file cannot be read, is not a list, or a line is not a name and 0, 1 or 2.
    """
    partition = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise DataError(
                f"{path.name}, line {number}: wanted an image's name and 0, 1 or 2, "
                f"got {line.strip()[:80]!r}"
            )
        partition[fields[0]] = int(fields[1])
    return partition


def read_attributes(path: Path) -> Attributes:
    """Read the list of attributes; its first line, a count that may be wrong, is not used.

    Raises:
        DataError: the file cannot be read, is not a list, has not 40 names, or a line is not a
            name and 40 values -1 or 1 (0 is read as -1).
    """
    names: list[str] = []
    rows = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) < 2 and not names:
            continue
        if not names:
            names = _checked_names(fields, path, number)
        elif fields:
            file, *values = fields
            if len(values) != len(names) or not set(values) <= VALUES.keys():
                raise DataError(
                    f"{path.name}, line {number}: wanted an image's name and {len(names)} values "
                    f"-1 or 1, got {line.strip()[:80]!r}"
                )
            rows[file] = bytes([VALUES[value] for value in values])
    return Attributes(names or _checked_names([], path, 2), rows)


def _checked_names(names: list[str], path: Path, number: int) -> list[str]:
    if len(set(names)) == len(names) == NUM_ATTRIBUTES:
        return names
    raise DataError(
        f"{path.name}, line {number}: wanted {NUM_ATTRIBUTES} different attribute names, "
        f"got {len(names)}: {' '.join(names)[:80]!r}"
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if text.lstrip().startswith("<"):
        raise DataError(
            f"{path} is a web page, not a list: Google Drive sends one when its download quota is "
            "exceeded; delete the file and download it again a day later, or from another mirror"
        )
    return text.split("\n")
