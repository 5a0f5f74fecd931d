"""Which rows a model was trained on, so that another run does not test it on them.

A row is known by 8 bytes of a checksum of its numbers: the same rows under another seed, in another
order or among more files are found again; images that are decoded otherwise (another crop or size),
rows that were rounded, or made binary by draws of another seed or at another place, are others.
"""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import Dataset, Split
from kvae.data.rows import in_parts, rows_at_once
from kvae.errors import DataError

#: Of more rows nothing is kept: 40 MB.
MAX_ROWS = 5_000_000
_BYTES = 8


def marks(x: Any) -> np.ndarray | None:
    """What rows are known by.

    Args:
        x: `(rows, ...)`, `Conditioned` or not.

    Returns:
        `(rows,)` uint64, in the order of the rows; None: there are too many.
    """
    if len(x) > MAX_ROWS:
        return None
    found = np.empty(len(x), "<u8")
    at = 0
    for part in in_parts(x, rows_at_once(x)):
        rows = np.ascontiguousarray(np.asarray(part))
        rows = rows + np.zeros((), rows.dtype)  # -0 is 0
        for row in rows.reshape(len(rows), -1):
            digest = hashlib.blake2b(row.tobytes(), digest_size=_BYTES).digest()
            found[at] = int.from_bytes(digest, "little")
            at += 1
    return found


def united(own: np.ndarray | None, before: np.ndarray | None) -> np.ndarray | None:
    """All rows that weights have seen, each as often as in the run that saw it more often.

    Args:
        own: of the train split; None: not known.
        before: that the weights which training started from had seen; None: none.

    Returns:
        `(n,)` uint64, rising; None: not known, or too many.
    """
    if own is None or before is None:
        return None if own is None else np.sort(own)
    most = Counter(own.tolist()) | Counter(before.tolist())
    if most.total() > MAX_ROWS:
        return None
    return np.sort(np.fromiter(most.elements(), "<u8", most.total()))


def without(dataset: Dataset, seen: np.ndarray | None) -> tuple[Dataset, dict[str, int]]:
    """A dataset whose valid and test split hold no row that a model was trained on before.

    A row that the train split holds as often is no other row: equal rows of a table stay.

    Args:
        dataset: its train split stays as it is.
        seen: from `united`; None: nothing is known.

    Returns:
        The dataset, and how many rows were left out of "valid" and "test"; empty where none were.
    """
    own = None if seen is None else marks(dataset.train.x)
    if seen is None or own is None:
        return dataset, {}
    left: Counter[int] = Counter(seen.tolist())
    left.subtract(own.tolist())
    counts: dict[str, int] = {}
    changed: dict[str, Any] = {}
    for name in ("test", "valid"):  # what is reported on first
        split = getattr(dataset, name)
        found = marks(split.x)
        keep = np.ones(len(split.x), bool)
        for place, mark in enumerate([] if found is None else found.tolist()):
            if left[mark] > 0:
                left[mark] -= 1
                keep[place] = False
        if not keep.all():
            counts[name] = int((~keep).sum())
            labels = {label: values[keep] for label, values in split.labels.items()}
            changed[name] = Split(split.x[keep], labels)
    return replace(dataset, **changed), counts


def read(path: Path) -> np.ndarray | None:
    """What `write` wrote; None: the file is not there.

    Raises:
        DataError: it is damaged.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(found, np.ndarray) or found.dtype != np.uint64 or found.ndim != 1:
        raise DataError(f"{path} is damaged: whole numbers of 8 bytes in a row are wanted")
    return found


def write(path: Path, seen: np.ndarray) -> None:
    """Write rows that a model was trained on."""
    np.save(path, np.sort(seen))
