"""Files in a folder or in a zip, which is read without being extracted."""

import errno
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kvae.data.images.decoding import OTHER_SUFFIXES
from kvae.data.text import utf8
from kvae.errors import DataError, UsageError, escaped, one_line

#: Bytes of the largest file that is read: an image or a list.
MAX_BYTES = 2**28
_ARCHIVES = {
    b"\x1f\x8b": "a .gz file",
    b"7z\xbc\xaf": "a .7z file",
    b"Rar!": "a .rar file",
    b"BZh": "a .bz2 file",
    b"\xfd7zXZ": "an .xz file",
}
_DRIVE = (
    "is a web page: Google Drive sends one when its download quota is exceeded; delete the file "
    "and download it again a day later, or from another mirror"
)


class FileRefused(DataError):
    """One file is gone, closed to us or too large; the others may be read all the same."""


@dataclass(frozen=True)
class Files:
    """All files below one place.

    Args:
        root: the folder or the zip.
        is_zip: which of them it is.
        stamps: path below the root, with "/" -> its bytes, and a number that changes with its
            content (time of change in ns, or checksum).
        read: path -> content; may be called from several threads. Raises DataError, FileRefused if
            it is this file's fault alone, and `zipfile.BadZipFile` for damage to one in a zip.
        dangling: links that lead to nothing.
    """

    root: Path
    is_zip: bool
    stamps: dict[str, tuple[int, int]]
    read: Callable[[str], bytes]
    dangling: list[str]

    def named(self, *names: str) -> list[str]:
        """Paths of the files with one of these names, in any folder."""
        return [path for path in self.stamps if PurePosixPath(path).name in names]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Paths of the files that end in one of these, of either case."""
        return [path for path in self.stamps if path.lower().endswith(suffixes)]

    def not_read(self) -> dict[str, int]:
        """As `not_read` of these files."""
        return not_read(self.stamps)

    def place(self, path: str) -> str:
        """How to name a file; what shows it escapes it."""
        return f"{self.root}, {path}" if self.is_zip else str(self.root / path)


def not_read(paths: Iterable[str]) -> dict[str, int]:
    """How the names of images end that are not read -> of how many; the most first."""
    endings = (
        PurePosixPath(path).suffix.lower()
        for path in paths
        if path.lower().endswith(OTHER_SUFFIXES)
    )
    return dict(Counter(endings).most_common())


def about_not_read(counts: Mapping[str, int]) -> list[str]:
    """A sentence about images that `not_read` counted; none where there are none."""
    if not counts:
        return []
    count = sum(counts.values())
    kinds = ", ".join(f"{ending} {number:,}" for ending, number in counts.items())
    return [
        f"{count:,} {'file' if count == 1 else 'files'} with endings that are not read ({kinds}) "
        "are left out: convert them to PNG or JPEG"
    ]


def given_path(given: str | os.PathLike[str], wanted: str, option: str = "--data-dir") -> Path:
    """A path that the user typed.

    Args:
        given: the path; "~" is the user's own folder.
        wanted: what should be there, for the message.
        option: where it was typed.

    Raises:
        UsageError: there is nothing.
    """
    try:
        path = Path(given).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long; of an unknown user
        reason = getattr(error, "strerror", None) or str(error)
        shown = one_line(str(given), 200)
        raise UsageError(f"{option} {shown}: {reason}; wanted {wanted}") from error
    if not there:
        raise UsageError(f"{option} {escaped(str(given))}: no such file or folder; wanted {wanted}")
    return path


def open_files(path: Path, *, deep: bool = True) -> Files:
    """List the files of a folder or a zip.

    Args:
        path: of either.
        deep: whether those in folders of a folder are listed too.

    Raises:
        DataError: there is no such thing, or it cannot be read, or is not what its name says.
    """
    try:
        if path.is_dir():
            return _open_folder(path, deep)
        if not path.exists():
            raise DataError(f"no such file or folder: {path}")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return _open_zip(path)


def _open_folder(root: Path, deep: bool) -> Files:
    def read(path: str) -> bytes:
        return _content_of(root / path)

    found = dict(sorted(_walk(root, deep)))
    stamps = {path: stamp for path, stamp in found.items() if stamp is not None}
    return Files(root, False, stamps, read, [path for path in found if path not in stamps])


def _content_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        own = isinstance(error, FileNotFoundError | PermissionError)
        kind = FileRefused if own else DataError  # a disk that fails has no other files either
        raise kind(f"cannot read {escaped(str(path))}: {error.strerror or error}") from error
    return _of_bounded_size(content, str(path))


def _walk(root: Path, deep: bool) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Files below a folder, hidden ones skipped; links are followed, None for those to nothing."""
    pending: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            status = folder.stat()
            own = (status.st_dev, status.st_ino)
            if own in above:  # a link to a folder above would lead in for ever
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    if entry.is_dir():
                        if not deep:
                            continue
                        inner = (folder / entry.name, f"{prefix}{entry.name}/", above | {own})
                        pending.append(inner)
                    elif entry.is_file():
                        found = entry.stat()
                        yield prefix + entry.name, (found.st_size, found.st_mtime_ns)
                    elif entry.is_symlink():
                        yield prefix + entry.name, None
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
        kind = next((name for mark, name in _ARCHIVES.items() if start.startswith(mark)), "")
        advice = (
            f"is {kind}, which is not read: unpack it and give the folder"
            if kind
            else f"is not a zip, or is cut short: download it again ({error})"
            if start.startswith(b"PK") or root.suffix.lower() == ".zip"
            else "is neither a folder nor a zip"
        )
        raise DataError(f"{root} {advice}") from error
    stamps, members = {}, {}
    for info in archive.infolist():
        # Some programs write the other slash.
        name = info.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.endswith("/"):
            continue
        if ".." in parts or name.startswith("/"):
            raise DataError(
                f"{root} holds {info.filename[:80]!r}, a path that leads out of it: it was made to "
                "do harm, or is damaged"
            )
        if info.flag_bits & 1:
            raise DataError(f"{root} is encrypted: unpack it and give the folder")
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            stamps[name], members[name] = (info.file_size, info.CRC), info

    def read(path: str) -> bytes:
        place = f"{root}, {path}"
        try:
            with archive.open(members[path]) as file:
                # The size that the zip claims may be a lie.
                content = file.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, MemoryError):
            raise
        # Damage makes zipfile and the decompressors fail in many ways: bz2 with an OSError that has
        # no number, an offset before the file with EINVAL.
        except Exception as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise DataError(f"cannot read {root}: {error.strerror or error}") from error
            raise zipfile.BadZipFile(str(error) or type(error).__name__) from error
        return _of_bounded_size(content, place)

    return Files(root, True, dict(sorted(stamps.items())), read, [])


def _of_bounded_size(content: bytes, place: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise FileRefused(
            f"{escaped(place)} is larger than {MAX_BYTES:,} bytes, the most of an image or list: "
            "take it away, or write it smaller"
        )
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
        raise DataError(f"{escaped(files.place(path))} is damaged: {error}") from error
    return _text(content, files.place(path))


def text_at(path: Path) -> str:
    """The text of a list that lies anywhere. Errors as for `text_of`."""
    return _text(_content_of(path), str(path))


def _text(content: bytes, place: str) -> str:
    place = escaped(place)
    if content.lstrip().startswith(b"<"):
        raise DataError(f"{place} {_DRIVE}")
    return utf8(content, place)
