"""Data: splits without common rows, and the card's counts."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from kvae.audit.verdicts import AGREES, DIFFERS, ERRORS, Line, not_checked, stated
from kvae.data import Dataset, seen
from kvae.data.conditions import Conditioned
from kvae.serving.versions import TRAIN_ROWS, Version

#: Rows whose nearest neighbours are looked for; of more, the first of a random order.
_NEIGHBOURS, _NUMBERS = 5_000, 2**24
_NEAR = 0.05  # of the usual distance between neighbours


def of_data(dataset: Dataset, version: Version, metadata: dict[str, Any]) -> list[Line]:
    """Lines about the splits.

    Args:
        dataset: the data, as the model takes them.
        version: that was trained on them.
        metadata: of its kvae.json.
    """
    lines = [stated("data: counts of the card", _counts(dataset, metadata))]
    marks = {name: seen.marks(getattr(dataset, name).x) for name in ("train", "valid", "test")}
    if any(found is None for found in marks.values()):
        return [*lines, not_checked("data: rows of several splits", "there are too many rows")]
    known: Any = marks
    lines.append(_trained_on(version, known))
    train = set(known["train"].tolist())
    others = train | set(known["valid"].tolist())
    equal = sum(mark in others for mark in known["test"].tolist())
    lines.append(_of_chance("data: test rows equal to train or valid rows", equal,
                            len(known["test"]), len(known["train"]) - len(train),
                            len(known["train"])))  # fmt: skip
    lines.append(_near(dataset))
    return lines


def _counts(dataset: Dataset, metadata: dict[str, Any]) -> list[str]:
    said = metadata["data_card"].get("counts", {})
    left_out = metadata.get("course", {}).get("left_out", {})
    faults = []
    for name, count in said.items():
        here, gone = len(getattr(dataset, name).x), left_out.get(name, 0)
        if here not in (count, count - gone):
            faults.append(f"{here:,} {name} rows, the card says {count:,}")
    return faults


def _trained_on(version: Version, marks: dict[str, np.ndarray]) -> Line:
    """Whether the rows that the version says it was trained on are the train rows, and no other."""
    what = "data: rows trained on"
    then = seen.read(version.path / TRAIN_ROWS)
    if then is None:
        return not_checked(what, "the version does not say which they were")
    trained, train = set(then.tolist()), set(marks["train"].tolist())
    faults = []
    lacking = len(train - trained)
    if lacking:
        faults.append(f"{lacking:,} train rows are not among them")
    for name in ("valid", "test"):
        found = sum(mark in trained and mark not in train for mark in marks[name].tolist())
        if found:
            faults.append(f"{found:,} {name} rows are among them")
    return Line(what, DIFFERS if faults else AGREES, len(then), note="; ".join(faults))


def _of_chance(what: str, found: int, rows: int, usual: int, of: int) -> Line:
    """Hold a count of test rows against what is usual among train rows, which chance moves."""
    share = usual / max(of, 1)
    most = rows * share
    most += ERRORS * float(np.sqrt(most * (1 + rows / max(of, 1)))) if usual else 0.0
    verdict = DIFFERS if found > most else AGREES
    note = f"{usual:,} of {of:,} train rows have such another" if usual else ""
    return Line(what, verdict, rows, float(found), most, note)


def _near(dataset: Dataset) -> Line:
    """Whether test rows lie nearer to train rows than train rows to each other."""
    what = "data: test rows near train rows"
    width = int(np.prod(dataset.train.x.shape[1:]))
    train = _some(dataset.train.x, max(2, _NUMBERS // width))
    test = _some(dataset.test.x, min(_NEIGHBOURS, len(train)))
    asked = train[: len(test)]
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    train, test, asked = train / scale, test / scale, asked / scale
    own, others = _nearest(train, asked, 2)[:, 1], _nearest(train, test, 1)[:, 0]
    if not np.median(own):
        return not_checked(what, "most train rows have an equal one")
    bound = _NEAR * float(np.median(own))
    line = _of_chance(what, int((others < bound).sum()), len(test), int((own < bound).sum()),
                      len(asked))  # fmt: skip
    of = f"nearer than {bound:.2g}, a twentieth of what is usual"
    some = f"; {len(train):,} of {len(dataset.train.x):,} train rows"
    return Line(what, line.verdict, line.rows, line.largest, line.tolerance,
                of + (some if len(train) < len(dataset.train.x) else ""))  # fmt: skip


def _some(x: Any, most: int) -> np.ndarray:
    """Rows `(n, numbers)` float32, random ones if there are more."""
    places = np.arange(len(x))
    if len(x) > most:
        places = np.random.default_rng(0).permutation(len(x))[:most]
    x = x.x if isinstance(x, Conditioned) else x
    return np.asarray(x[np.sort(places)], np.float32).reshape(len(places), -1)


def _nearest(rows: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """Distances to the nearest rows, `(asked, count)`; a tree helps in few dimensions alone."""
    if rows.shape[1] <= 10:
        return cKDTree(rows).query(asked, count)[0].reshape(len(asked), count)
    squares, found = np.square(rows).sum(axis=1), []
    for start in range(0, len(asked), 256):
        part = asked[start : start + 256]
        near = squares - 2 * part @ rows.T
        places = np.argpartition(near, count - 1, axis=1)[:, :count]
        exact = np.linalg.norm(part[:, None, :] - rows[places], axis=2)
        found.append(np.sort(exact, axis=1))
    return np.concatenate(found)
