"""Files in a folder or in a zip, which is read without being extracted."""

import errno
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kvae.errors import DataError

#: Bytes of the largest file that is read: an image or a list.
MAX_BYTES = 2**28
_DRIVE = (
    "is a web page: Google Drive sends one when its download quota is exceeded; delete the file "
    "and download it again a day later, or from another mirror"
)


@dataclass(frozen=True)
class Files:
    """All files below one place.

    Args:
        root: the folder or the zip.
        is_zip: which of them it is.
        stamps: path below the root, with "/" -> its bytes, and a number that changes with its
            content (time of change in ns, or checksum).
        read: path -> content; may be called from several threads. Raises DataError, and
            `zipfile.BadZipFile` for damage to one file in a zip.
    """

    root: Path
    is_zip: bool
    stamps: dict[str, tuple[int, int]]
    read: Callable[[str], bytes]

    def named(self, *names: str) -> list[str]:
        """Paths of the files with one of these names, in any folder."""
        return [path for path in self.stamps if PurePosixPath(path).name in names]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Paths of the files that end in one of these, of either case."""
        return [path for path in self.stamps if path.lower().endswith(suffixes)]

    def place(self, path: str) -> str:
        """How to name a file in a message."""
        return f"{self.root}, {path}" if self.is_zip else str(self.root / path)


def open_files(path: Path) -> Files:
    """List the files of a folder or a zip.

    Args:
        path: of either.

    Raises:
        DataError: there is no such thing, or it cannot be read, or is not what its name says.
    """
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise DataError(f"no such file or folder: {path}")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return _open_zip(path)


def _open_folder(root: Path) -> Files:
    def read(path: str) -> bytes:
        return _content_of(root / path)

    return Files(root, False, dict(sorted(_walk(root))), read)


def _content_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return _of_bounded_size(content, str(path))


def _walk(root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Files below a folder; links are followed, hidden ones and what cannot be images skipped."""
    seen = set()
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    if entry.is_dir():
                        pending.append((folder / entry.name, f"{prefix}{entry.name}/"))
                    elif entry.is_file():
                        found = entry.stat()
                        yield prefix + entry.name, (found.st_size, found.st_mtime_ns)
        except OSError as error:
            raise DataError(f"cannot read {folder}: {error.strerror or error}") from error


def _open_zip(root: Path) -> Files:
    try:
        with root.open("rb") as file:
            start = file.read(64)
        if start.lstrip().startswith(b"<"):
            raise DataError(f"{root} {_DRIVE}")
        archive = zipfile.ZipFile(root)
    except OSError as error:
        raise DataError(f"cannot read {root}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{root} is not a zip, or is cut short: download it again ({error})"
        ) from error
    stamps = {}
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if info.is_dir():
            continue
        if ".." in parts or info.filename.startswith(("/", "\\")):
            raise DataError(
                f"{root} holds {info.filename[:80]!r}, a path that leads out of it: it was made to "
                "do harm, or is damaged"
            )
        if info.flag_bits & 1:
            raise DataError(f"{root} is encrypted: unpack it and give the folder")
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            stamps[info.filename] = (info.file_size, info.CRC)

    def read(path: str) -> bytes:
        place = f"{root}, {path}"
        try:
            with archive.open(path) as file:
                # The size that the zip claims may be a lie.
                content = file.read(MAX_BYTES + 1)
        except zipfile.BadZipFile:
            raise
        # Damage makes zipfile and the decompressors fail in many ways: bz2 with an OSError that has
        # no number, an offset before the file with EINVAL.
        except Exception as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise DataError(f"cannot read {root}: {error.strerror or error}") from error
            raise zipfile.BadZipFile(str(error) or type(error).__name__) from error
        return _of_bounded_size(content, place)

    return Files(root, True, dict(sorted(stamps.items())), read)


def _of_bounded_size(content: bytes, place: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise DataError(f"{place} is larger than {MAX_BYTES:,} bytes: it is no image and no list")
    return content


def text_of(files: Files, path: str) -> str:
    """A list's text.

    Args:
        files: where it is.
        path: of it.

    Raises:
        DataError: it cannot be read, or is a web page.
    """
    try:
        content = files.read(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{files.place(path)} is damaged: {error}") from error
    return _text(content, files.place(path))


def text_at(path: Path) -> str:
    """The text of a list that lies anywhere. Errors as for `text_of`."""
    return _text(_content_of(path), str(path))


def _text(content: bytes, place: str) -> str:
    text = content.decode("utf-8-sig", errors="replace")
    if text.lstrip().startswith("<"):
        raise DataError(f"{place} {_DRIVE}")
    return text
