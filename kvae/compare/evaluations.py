"""What was measured of a model: metrics.json and rows.npz, found by its version or their folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import files
from kvae.command import program
from kvae.errors import DataError, UsageError, one_line
from kvae.evaluation.naming import METRICS_FILE, ROWS_FILE
from kvae.evaluation.rows import read_rows
from kvae.serving.versions import find_version, read_metadata

#: A model beside another one.
LEAST = 2
_MAX_BYTES = 2**26


class Evaluation(NamedTuple):
    """One of those that are compared.

    Args:
        name: what it is called here, unlike any other.
        folder: where it was written.
        whole: of metrics.json.
        rows: of rows.npz; empty where there is none.
    """

    name: str
    folder: Path
    whole: dict[str, Any]
    rows: dict[str, np.ndarray]


def read(places: Sequence[str]) -> list[Evaluation]:
    """The evaluations that are meant, in this order.

    Args:
        places: `saved/<name>`, `saved/<name>/<number>`, or a folder that evaluate.py wrote to.

    Raises:
        UsageError: fewer than two, one of them twice, or one that was not evaluated.
        DataError: a file is damaged, or of another version than stands there now.
    """
    if len(places) < LEAST:
        raise UsageError(
            f"at least {LEAST} models are needed to compare them, for example saved/gmm/1 "
            f"saved/gmm/2; received {', '.join(places) or 'none'}"
        )
    found = [_read(place) for place in places]
    folders = [one.folder.resolve() for one in found]
    twice = [str(folder) for folder in folders if folders.count(folder) > 1]
    if twice:
        raise UsageError(f"each evaluation can be compared once; received twice: {twice[0]}")
    names = [one.name for one in found]
    if len(set(names)) < len(names):  # of other folders
        found = [one._replace(name=place) for one, place in zip(found, places, strict=True)]
    return found


def _read(place: str) -> Evaluation:
    folder = Path(place)
    if (folder / METRICS_FILE).is_file():
        whole = _metrics(folder / METRICS_FILE)
    else:
        version = find_version(place)
        folder = version.evaluation
        evaluate = files.command_line([*program("evaluate"), "--model", str(version.path)])
        if not (folder / METRICS_FILE).is_file():
            raise UsageError(
                f"{version.path} has no {METRICS_FILE} in {folder}: measure it first, {evaluate}"
            )
        whole = _metrics(folder / METRICS_FILE)
        now, then = read_metadata(version)["fingerprint"], whole["protocol"].get("fingerprint")
        if now != then:
            raise DataError(
                f"{folder / METRICS_FILE} is of another model than {version.path}: its fingerprint "
                f"is {then}, that of the model {now}; measure it again, {evaluate}"
            )
    name = whole["protocol"].get("model") or folder.name
    return Evaluation(str(name), folder, whole, read_rows(folder / ROWS_FILE, whole))


def _metrics(path: Path) -> dict[str, Any]:
    """What a metrics.json says, once it is known to be one."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES:,} bytes")
        whole = files.strict_json(content, is_finite=True)
        protocol = whole.get("protocol") if isinstance(whole, dict) else None
        if not isinstance(protocol, dict):
            raise ValueError("it has no protocol")
        for name, part in (("data_card", protocol), ("rows", protocol), ("origin", whole)):
            if not isinstance(part.get(name, {}), dict):
                raise ValueError(f"{name} must be an object")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is no metrics.json: {one_line(str(error), 300)}") from error
    return whole
