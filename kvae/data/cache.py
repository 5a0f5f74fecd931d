"""Decoded images on disk: built once, memory-mapped afterwards, never seen half-written."""

import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kvae.errors import DataError


def default_cache_dir() -> Path:
    """The cache folder: $KVAE_CACHE_DIR, else $XDG_CACHE_HOME/kvae, else ~/.cache/kvae."""
    if chosen := os.environ.get("KVAE_CACHE_DIR"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "kvae"
    return Path("~/.cache/kvae").expanduser()


def cached_array(
    cache_dir: str | None,
    key: dict[str, Any],
    shape: tuple[int, ...],
    batches: Callable[[], Iterable[np.ndarray]],
    *,
    describe: str,
) -> np.memmap:
    """A read-only uint8 array on disk, built on first use.

    Safe against kills and against several processes that build the same array at once: a file
    gets its final name only when it is complete.

    Args:
        cache_dir: folder of the cache; None for `default_cache_dir()`.
        key: all that the content depends on, as JSON values; key["name"] begins the file's name.
        shape: `(rows, ...)` of the whole array, at least one row.
        batches: called only when the array must be built; yields uint8 `(any, ...)` in row order.
        describe: text beside the progress bar on stderr.

    Returns:
        Memory map of `shape`, uint8, read-only.

    Raises:
        DataError: the batches hold more or fewer rows than `shape`, or are of another shape or
            type; or the folder cannot be written.
    """
    folder = Path(cache_dir).expanduser() if cache_dir is not None else default_cache_dir()
    path = folder / _file_name(key, shape)
    found = _open_valid(path, shape)
    if found is None:
        _build(path, shape, batches, describe)
        found = _open_valid(path, shape)
    if found is None:
        raise DataError(f"the cache file {path} changed while it was opened: run again")
    return found


def _file_name(key: dict[str, Any], shape: tuple[int, ...]) -> str:
    canonical = json.dumps({"key": key, "shape": list(shape)}, sort_keys=True)
    return f"{key['name']}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}.npy"


def _open_valid(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        size = path.stat().st_size
    except (OSError, ValueError):
        return None
    right = array.dtype == np.uint8 and array.shape == tuple(shape) and array.flags.c_contiguous
    return array if right and size == array.offset + array.nbytes else None


def _build(
    path: Path,
    shape: tuple[int, ...],
    batches: Callable[[], Iterable[np.ndarray]],
    describe: str,
) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _blaming(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            _start(partial, shape)
        # In a log file a bar that moves ten times a second is a wall of text.
        interval = 0.1 if sys.stderr.isatty() else 15.0
        with tqdm(total=shape[0], desc=describe, unit=" images", mininterval=interval) as progress:
            for batch in _checked(batches(), shape):
                with _blaming(path.parent):
                    _append(partial, batch)
                progress.update(len(batch))
        with _blaming(path.parent):
            _sync(partial)
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def _start(path: Path, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    with path.open("xb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def _append(path: Path, batch: np.ndarray) -> None:
    # Plain writes, not a writable memory map: on a full disk a map ends in SIGBUS. Opened anew for
    # each batch, so that what fails in closing is blamed on the folder too.
    with path.open("ab") as file:
        file.write(batch.data)


def _sync(path: Path) -> None:
    with path.open("ab") as file:
        os.fsync(file.fileno())


def _checked(batches: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    rows = 0
    for batch in batches:
        if batch.dtype != np.uint8 or batch.shape[1:] != tuple(shape[1:]):
            raise DataError(
                f"rows of uint8 {tuple(shape[1:])} wanted, got {batch.dtype} {batch.shape[1:]}"
            )
        rows += len(batch)
        if rows > shape[0]:
            raise DataError(f"{shape[0]} rows wanted, got {rows} or more")
        yield np.ascontiguousarray(batch)
    if rows < shape[0]:
        raise DataError(f"{shape[0]} rows wanted, got {rows}")


@contextmanager
def _blaming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the cache folder {folder}: {error.strerror or error}; "
            "choose another with --cache-dir"
        ) from error
