"""Files that are whole or absent, and locks between processes."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvae.errors import UsageError


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


def replace_text(path: Path, text: str) -> None:
    """Write a file anew: whoever reads it meanwhile finds the old text or the new one, whole."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text)
    sync(new)
    new.replace(path)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything that follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some file systems do so by themselves
            raise
    finally:
        os.close(descriptor)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same file, which stays."""
    # Not opened for writing: it may be somebody else's.
    descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
