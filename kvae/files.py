"""Files that are whole or absent, names of folders, and locks between processes."""

import errno
import glob
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kvae.errors import DEBUGGING, UsageError, brief, one_line

WINDOWS = os.name == "nt"
#: What `is_folder_name` takes, for messages.
FOLDER_NAME = (
    "a folder name on every system: no leading '.', no '.' or space at the end, none of "
    '< > : " / \\ | ? *, nothing that cannot be printed, 255 bytes at most, and not CON, NUL and '
    "the like"
)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_LONGEST = 255  # bytes, of nearly all file systems
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
#: After which a temporary file that is still there is nobody's.
LEFT_SECONDS = 86400.0
# What file systems say that have no locks, or do not sync.
_NOT_HERE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def is_file(path: str | Path) -> bool:
    """Whether a user's path leads to a file.

    Raises:
        UsageError: it cannot be looked at: a name is too long, a folder may not be entered.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: str | Path) -> bool:
    """Whether a user's path leads to a folder. Raises as `is_file`."""
    return stat.S_ISDIR(_mode(path))


def exists(path: str | Path) -> bool:
    """Whether a user's path leads to anything. Raises as `is_file`."""
    return _mode(path) != 0


def user_path(given: str | Path) -> Path:
    """A path as a user writes it, "~" and "~name" being the folders of users.

    Raises:
        UsageError: there is no such user.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise UsageError(f"no such user's folder: {brief(str(given))}") from None


def _mode(path: str | Path) -> int:
    """The mode of what is there; 0: nothing is."""
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a null character
        return 0
    except OSError as error:
        raise UsageError(f"cannot look at {brief(str(path))}: {error.strerror}") from error


def writable_file(path: Path, option: str) -> None:
    """See that a file can be written there.

    Args:
        path: of the file, which may be there.
        option: the command-line option that names it.

    Raises:
        UsageError: it cannot.
    """
    if is_folder(path):
        raise UsageError(f"{option} names a file; received the folder {path}")
    folder = Path(os.path.realpath(path)).parent
    if not is_folder(folder):
        raise UsageError(f"{option}: cannot write {path}: no such folder: {folder}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{option}: cannot write {path}: {error.strerror}") from error


def writable_folder(folder: Path, option: str) -> None:
    """Make a folder and see that files can be written there.

    Args:
        folder: the folder.
        option: the command-line option that names another one.

    Raises:
        UsageError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}; {option} names another folder"
        ) from error


def json_within(path: Path, most_bytes: int) -> Any:
    """What a JSON file of bounded size holds, whose numbers are finite.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or no such JSON.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    return strict_json(content, is_finite=True)


def sha256_of(path: Path) -> str | None:
    """The SHA-256 of a file in hexadecimal digits; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def is_folder_name(name: str) -> bool:
    """Whether this is one visible folder's name, on Windows too: models move between machines."""
    return not (
        not name
        or name[0] == "."
        or name[-1] in ". "
        or _FORBIDDEN.search(name)
        or not name.isprintable()
        or len(name.encode()) > _LONGEST
        or _DEVICES.fullmatch(name.split(".")[0].rstrip())
    )


def strict_json(text: str | bytes, *, is_finite: bool = False) -> Any:
    """What a JSON text of unknown origin says.

    Args:
        text: of it; bytes are UTF-8.
        is_finite: whether numbers beyond float64, NaN and Infinity are refused.

    Raises:
        ValueError: it is no JSON, is nested too deep, or gives a name twice in one object.
    """
    finite: dict[str, Any] = {"parse_float": _finite, "parse_constant": _finite}
    try:
        return json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_object, **(finite if is_finite else {}),
        )  # fmt: skip
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no finite number")
    return value


def command_line(words: Sequence[str]) -> str:
    """A command as it is typed on this system, quoted."""
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)


def replace_text(path: Path, text: str) -> None:
    """Write a file of text anew, as `replace_bytes` does: UTF-8, ends of lines as given."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file anew: whoever reads it meanwhile finds the old one or the new one, whole.

    A link stays, and what it leads to is written. What killed processes left a day ago or longer
    goes.
    """
    replace_all({path: content})


def replace_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files as `replace_bytes` does, none before all are on the disk.

    Raises:
        OSError: one cannot be written; its `filename` is the temporary file's. But for an error
            while they are renamed all files are as before.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for given, content in contents.items():
            path = Path(os.path.realpath(given))
            _clear(path)
            new = path.with_name(f".{path.name}.{os.getpid()}")
            written.append((new, path))
            new.write_bytes(content)
            if path.exists():
                shutil.copymode(path, new)
            sync(new)
        for new, path in written:
            new.replace(path)
    finally:
        for new, _ in written:
            with suppress(OSError):
                new.unlink(missing_ok=True)
    for folder in {path.parent for _, path in written}:
        sync(folder)


@contextmanager
def or_note(name: str) -> Iterator[None]:
    """Say that a file could not be written, which costs nothing else; --debug raises why.

    Args:
        name: of the file.
    """
    try:
        yield
    except Exception as error:
        if DEBUGGING.is_on:
            raise
        told = one_line(f"{type(error).__name__}: {error}", 500)
        print(f"note: {name} could not be written, all else is: {told}", file=sys.stderr)


def _clear(path: Path) -> None:
    """Remove what writers of a file left behind that were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):  # another process removes it too
            if left.name.rpartition(".")[2].isdigit() and is_left(left):
                left.unlink()


def is_left(path: Path) -> bool:
    """Whether a temporary file or folder is a day old or more: who made it was killed.

    Raises:
        OSError: it is gone.
    """
    return time.time() - path.lstat().st_mtime > LEFT_SECONDS


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything that follows.

    Windows opens no folders: the order of their names is its own.
    """
    if WINDOWS and path.is_dir():
        return
    # Windows syncs what may be written alone; here it may be somebody's read-only file.
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_HERE:  # some file systems do so by themselves
            raise
    finally:
        os.close(descriptor)


@contextmanager
def alone(lock: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock that one process has at a time, until the end of the context or of the process.

    Where the file system has no locks, a note says so and work goes on.

    Args:
        lock: the file that stands for it. It is made where it lacks, and stays.
        busy: what to say if another process holds it; None: wait for that process.

    Raises:
        UsageError: another process holds it, and `busy` is given.
        OSError: the file cannot be opened.
    """
    # Not filelock's FileLock: that must write the file, which may be somebody else's, and where
    # there are no locks leaves marks that outlive a process.
    descriptor = _open(lock)
    try:
        if not _locked(descriptor, lock, wait=busy is None):
            raise UsageError(busy)
        yield
    finally:
        os.close(descriptor)


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks what may be written alone
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)


def _locked(descriptor: int, lock: Path, *, wait: bool) -> bool:
    from filelock import lock_descriptor  # not for --help

    try:
        return lock_descriptor(descriptor, blocking=wait)
    except OSError as error:
        if error.errno == errno.EBADF:  # NFS, and it may only be read
            reason = os.strerror(errno.EACCES)
            raise PermissionError(errno.EACCES, reason, str(lock)) from error
        if error.errno not in (*_NOT_HERE, errno.ENOLCK):
            raise
        print(
            f"note: {lock.parent} is on a file system without locks ({error.strerror}): nothing "
            "keeps other processes from writing there at the same time",
            file=sys.stderr,
        )
        return True
