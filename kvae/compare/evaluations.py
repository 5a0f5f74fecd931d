"""What was measured of a model: metrics.json and rows.npz, found by its version or their folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import files
from kvae.command import program
from kvae.errors import DataError, UsageError, brief, one_line
from kvae.evaluation.naming import METRICS_FILE, ROWS_FILE
from kvae.evaluation.report.card import GROUPS
from kvae.evaluation.rows import read_rows
from kvae.serving.versions import find_version, read_metadata

#: A model beside another one.
LEAST = 2
_MAX_BYTES = 2**26
_LONGEST_NAME = 300  # of a model, as it is shown
# Of any number: far above all that are measured, and sums of a few are numbers still.
_LARGEST = 1e100
_NUMBER = f"a number from -{_LARGEST:g} to {_LARGEST:g}"
_ERROR = f"a number from 0 to {_LARGEST:g}"
# Beside the metrics themselves, what is reckoned with.
_COUNTS = {one.of for group in GROUPS for one in group.metrics} - {None}
_NUMBERS = ("effective_sample_draws", "num_draws")


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
        found = [
            one._replace(name=one_line(place)) for one, place in zip(found, places, strict=True)
        ]
    return found


def _read(place: str) -> Evaluation:
    folder = Path(place)
    if files.is_file(folder / METRICS_FILE):
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
    name = one_line(str(whole["protocol"].get("model") or folder.name), _LONGEST_NAME)
    return Evaluation(name, folder, whole, read_rows(folder / ROWS_FILE, whole))


def _metrics(path: Path) -> dict[str, Any]:
    """What a metrics.json says, once it is known to be one."""
    try:
        whole = files.json_within(path, _MAX_BYTES)
        protocol = whole.get("protocol") if isinstance(whole, dict) else None
        if not isinstance(protocol, dict):
            raise ValueError("it has no protocol")
        _check(whole, protocol)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is no metrics.json: {one_line(str(error), 300)}") from error
    return whole


def _check(whole, protocol):
    """See that what numbers and tables are made of is of the kind that evaluations write.

    Raises:
        ValueError: something is not.
    """
    for name, part in (("data_card", protocol), ("rows", protocol), ("origin", whole)):
        _must(isinstance(part.get(name, {}), dict), name, "an object", part.get(name))
    origin = whole.get("origin", {})
    versions, commit = origin.get("versions", {}), origin.get("commit")
    _must(isinstance(versions, dict), "origin.versions", "an object", versions)
    for name in ("trained", "evaluated"):
        own = versions.get(name, {})
        _must(isinstance(own, dict), f"origin.versions.{name}", "an object", own)
    _must(commit is None or isinstance(commit, str), "origin.commit", "a text or null", commit)
    for name in _COUNTS & whole.keys():
        is_count = isinstance(whole[name], int) and _is_number(whole[name]) and whole[name] >= 0
        _must(is_count, name, "a whole number, 0 or more", whole[name])
    keys = [key for group in GROUPS for one in group.metrics for key in one.keys.values()]
    for key in (*_NUMBERS, *keys):
        value, error = whole.get(key), whole.get(f"{key}_stderr")
        _must(value is None or _is_number(value), key, _NUMBER, value)
        is_error = error is None or (_is_number(error) and error >= 0)
        _must(is_error, f"{key}_stderr", _ERROR, error)
        for name in (f"{key}_interval", f"{key}_range"):
            ends = whole.get(name)
            _must(ends is None or _are_ends(ends), name, "two numbers, the lower first", ends)


def _must(is_so, name, what, received):
    if not is_so:
        raise ValueError(f"{name} must be {what}; received {brief(received)}")


def _is_number(value):
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= _LARGEST


def _are_ends(value):
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return is_pair and value[0] <= value[1]
