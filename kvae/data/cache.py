"""Decoded images on disk: built once, memory-mapped afterwards, never seen half-written."""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from kvae.errors import DataError
from kvae.files import sync
from kvae.saying import progress

_ORPHAN_SECONDS = 24 * 3600
_PARTIAL = re.compile(r"\..+\.npy\.[0-9a-f]{32}\.tmp")


def default_cache_dir() -> Path:
    r"""The cache folder: $KVAE_CACHE_DIR, else kvae's among the user's caches.

    That is ~/.cache/kvae, or $XDG_CACHE_HOME/kvae, on Linux; ~/Library/Caches/kvae on macOS;
    %LOCALAPPDATA%\kvae\Cache on Windows.
    """
    if chosen := os.environ.get("KVAE_CACHE_DIR"):
        return Path(chosen)
    return platformdirs.user_cache_path("kvae", appauthor=False)


class Cached(NamedTuple):
    """What the cache holds.

    Args:
        array: `(rows, ...)`, uint8, read-only, without the rows that were left out.
        left_out: index of a row that could not be made -> why.
    """

    array: np.ndarray
    left_out: dict[int, str]


def cached_array(
    cache_dir: str | None,
    key: dict[str, Any],
    shape: tuple[int, ...],
    batches: Callable[[dict[int, str]], Iterable[np.ndarray]],
    *,
    describe: str,
    use_cache: bool = True,
) -> Cached:
    """A uint8 array on disk, built on first use.

    Safe against kills and against several processes that build the same array at once: a file
    gets its final name only when it is complete.

    Args:
        cache_dir: folder of the cache; None for `default_cache_dir()`.
        key: all that the content depends on, as JSON values; key["name"] begins the file's name.
        shape: `(rows, ...)` of the whole array, at least one row.
        batches: called only when the array must be built; yields uint8 `(any, ...)` in row order,
            and puts the rows that it leaves out, and why, into the dict that it is given.
        describe: the work in a word, beside the progress bar.
        use_cache: False: build it in memory, and neither read nor write the folder.

    Returns:
        The array, a memory map unless `use_cache` is False, and what is not in it.

    Raises:
        DataError: the batches hold more or fewer rows than `shape`, or are of another shape or
            type; or the folder cannot be written.
    """
    if not use_cache:
        return _in_memory(shape, batches, describe)
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


def _open_valid(path: Path, shape: tuple[int, ...]) -> Cached | None:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            file.seek(array.offset + array.nbytes)
            left_out = {int(row): str(why) for row, why in json.loads(file.read()).items()}
    except MemoryError:
        raise
    except Exception:  # damage of any kind: it is built anew
        return None
    wanted = (shape[0] - len(left_out), *shape[1:])
    right = array.dtype == np.uint8 and array.shape == wanted and array.flags.c_contiguous
    return Cached(array, left_out) if right else None


def _in_memory(
    shape: tuple[int, ...],
    batches: Callable[[dict[int, str]], Iterable[np.ndarray]],
    describe: str,
) -> Cached:
    array, rows = np.empty(shape, np.uint8), 0
    left_out: dict[int, str] = {}
    with progress(describe, shape[0], "images") as advance:
        for batch in _checked(batches(left_out), shape, left_out):
            array[rows : rows + len(batch)] = batch
            rows += len(batch)
            advance(len(batch))
    return Cached(array[:rows], left_out)


def _build(
    path: Path,
    shape: tuple[int, ...],
    batches: Callable[[dict[int, str]], Iterable[np.ndarray]],
    describe: str,
) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    left_out: dict[int, str] = {}
    try:
        with _blaming(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(path.parent)
            _write_header(partial, shape, "xb")
        rows = 0
        with progress(describe, shape[0], "images") as advance:
            for batch in _checked(batches(left_out), shape, left_out):
                with _blaming(path.parent):
                    _append(partial, batch.data)
                rows += len(batch)
                advance(len(batch))
        with _blaming(path.parent):
            _write_header(partial, (shape[0] - len(left_out), *shape[1:]), "r+b")
            # Behind the array, so that both are one file. Its end shows that nothing is missing.
            _append(partial, json.dumps(left_out).encode())
            sync(partial)
            _move(partial, path, shape)
    finally:
        with suppress(OSError):
            partial.unlink()


def _move(partial: Path, path: Path, shape: tuple[int, ...]) -> None:
    """Give a complete file its name."""
    try:
        partial.replace(path)
    except PermissionError:
        # Windows replaces no file that is mapped: another process was sooner with the same array.
        if _open_valid(path, shape) is None:
            raise


def _remove_orphans(folder: Path) -> None:
    """Delete what killed builds left: a build that lives writes more often than once a day."""
    for file in folder.glob(".*.npy.*.tmp"):
        with suppress(OSError):
            if (
                _PARTIAL.fullmatch(file.name)
                and time.time() - file.stat().st_mtime > _ORPHAN_SECONDS
            ):
                file.unlink()


def _write_header(path: Path, shape: tuple[int, ...], mode: str) -> None:
    """NumPy leaves room for any number of rows, so that a header can be written over another."""
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    with path.open(mode) as file:
        np.lib.format.write_array_header_1_0(file, header)


def _append(path: Path, content: bytes | memoryview) -> None:
    # Plain writes, not a writable memory map: on a full disk a map ends in SIGBUS. Opened anew for
    # each batch, so that what fails in closing is blamed on the folder too.
    with path.open("ab") as file:
        file.write(content)


def _checked(
    batches: Iterable[np.ndarray], shape: tuple[int, ...], left_out: dict[int, str]
) -> Iterator[np.ndarray]:
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
    if rows + len(left_out) != shape[0]:
        raise DataError(f"{shape[0]} rows wanted, got {rows} and {len(left_out)} left out")


@contextmanager
def _blaming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the cache folder {folder}: {error.strerror or error}; "
            "choose another with --cache-dir"
        ) from error
