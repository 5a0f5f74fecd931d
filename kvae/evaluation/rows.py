"""rows.npz: what the likelihoods of an evaluation are of each test row, beside metrics.json."""

import hashlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kvae import files
from kvae.data import seen
from kvae.errors import DataError, one_line

#: The values that a file may hold, nats; of the first all test rows have one, of the others `rows`.
ELBO = "elbo_nats_prior"
BOUNDS = ("log_likelihood_nats_prior", "log_likelihood_nats_sampler")
VALUES = (ELBO, *BOUNDS)
_MAX_BYTES = 2**28  # of 5 million rows and three values each some 160 MB
_CLOSE = 1e-9  # of a mean of float64 that was written as text
#: What reading a damaged file of arrays raises.
DAMAGED = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def checksum(x: Any) -> str | None:
    """What a test split is known by: two with the same have the same rows in the same order.

    Args:
        x: `(rows, ...)`, `Conditioned` or not.

    Returns:
        32 hexadecimal digits; None: there are too many rows.
    """
    marks = seen.marks(x)
    return None if marks is None else hashlib.blake2b(marks.tobytes(), digest_size=16).hexdigest()


def write_rows(path: Path, each_row: Mapping[str, np.ndarray]) -> None:
    """Write the file; whoever reads it meanwhile finds the old one or the new one, whole.

    Args:
        path: of the file.
        each_row: `elbo_nats_prior` `(test rows,)`, the ELBO of each test row, the mean of four
            draws; `rows` `(n,)`, the places in the test split of those whose bound was taken;
            `log_likelihood_nats_prior` and, where the sampler has a density,
            `log_likelihood_nats_sampler` `(n,)`. Nats; float64, but for the places.
    """
    arrays = {
        name: np.asarray(values, np.int64 if name == "rows" else np.float64)
        for name, values in each_row.items()
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    files.replace_bytes(path, content.getvalue())


def read_rows(path: Path, metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `write_rows` was given, once it is known to be what these metrics are the means of.

    Args:
        path: of the file.
        metrics: of metrics.json beside it.

    Returns:
        Arrays by name; empty where there is no file: kvae 0.1 wrote none.

    Raises:
        DataError: the file is damaged, or of another evaluation.
    """
    whole = arrays_of(path)
    found = {name: whole[name] for name in ("rows", *VALUES) if name in whole}
    for name in VALUES:
        if name in found:
            _check(path, name, found, metrics)
    return found


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of no great size, by name; empty where there is no file.

    Raises:
        DataError: it is damaged, or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise DataError(f"{path} holds more than {_MAX_BYTES:,} bytes: {size:,}")
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        return {}
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read: {one_line(str(error), 300)}") from error


def _check(path, name, found, metrics):
    values = found[name]
    if name in BOUNDS:
        places = found.get("rows")
        if places is None or places.dtype != np.int64 or places.shape != values.shape:
            raise DataError(
                f"{path} must hold in `rows` the place of each value of {name}, whole numbers of "
                f"the shape {values.shape}; it holds "
                f"{'none' if places is None else f'{places.dtype} {places.shape}'}"
            )
    is_of_rows = values.ndim == 1 and values.dtype == np.float64 and len(values) > 0
    mean = metrics.get(name)
    is_mean = mean is not None and is_of_rows
    if not is_mean or not abs(values.mean() - mean) <= _CLOSE * max(1.0, abs(mean)):
        raise DataError(
            f"{path} is not of the metrics.json beside it: the mean of {name} must be "
            f"{mean}; evaluate again to write both"
        )
