"""What must be equal for two numbers to be held against each other, and what is not."""

from collections.abc import Mapping, Sequence
from typing import Any

from kvae.compare.evaluations import Evaluation
from kvae.data import BINARIZE, DRAWN, STATIC
from kvae.data.classes import LEFT_OUT
from kvae.errors import UsageError, brief, one_line
from kvae.evaluation.report.card import Metric

# Of the data card: where the data came from, and how many rows other splits have.
_MAY_DIFFER = {"source", LEFT_OUT, "counts", "missing", "not_listed", "unreadable"}
#: Of the protocol, what all metrics need.
_CHECKSUM = "test_checksum"
_ALL = ("split", _CHECKSUM, "condition")
_NOT_RECORDED = "not recorded"
_LONGEST = 500  # of a text of the protocol, as it is shown


def check_data(evaluations: Sequence[Evaluation]) -> None:
    """Refuse evaluations on other data: no number of theirs compares.

    Raises:
        UsageError: the data cards say other data, other crops, sizes or splits.
    """
    first, *others = evaluations
    for other in others:
        cards = [one.whole["protocol"].get("data_card", {}) for one in (first, other)]
        for key in sorted({*cards[0], *cards[1]} - _MAY_DIFFER):
            then, now = (card.get(key) for card in cards)
            if _of_rows(key, then) != _of_rows(key, now):
                raise UsageError(
                    f"{first.name} and {other.name} were measured on other data, so that none of "
                    f"their numbers compares: {key!r} of the data card is {brief(then)} and "
                    f"{brief(now)}"
                )


def _of_rows(key, value):
    """A value of the data card as rows are measured: "dynamic" has the draws of "static"."""
    return STATIC if key == BINARIZE.name and value in DRAWN else value


def difference(
    metric: Metric, own: Mapping[str, Any], other: Mapping[str, Any], *, of_data: bool = False
) -> str:
    """In what the protocol of a metric differs, in words; "" where it is equal.

    What neither side records is equal, but for the checksum of the test rows: without it nobody
    knows whether they are the same.

    Args:
        metric: that is compared.
        own: metrics.json of what is held against the other.
        other: likewise, of what it is held against.
        of_data: whether it is of the data alone: no model is asked, and nothing is drawn.
    """
    asked = [(name, _protocol(own, name), _protocol(other, name)) for name in _ALL]
    asked.append(("seed", *(whole.get("origin", {}).get("seed") for whole in (own, other))))
    # Settings before the sentences that repeat them.
    for name in dict.fromkeys(("test", *metric.counts)):
        counts = (whole["protocol"].get("rows", {}).get(name) for whole in (own, other))
        asked.append((f"{name.replace('_', '-')} rows", *counts))
    if "log_likelihood" in metric.protocol and not of_data:
        asked.append(("draws", own.get("num_draws"), other.get("num_draws")))
    names = (*(("nats",) if metric.of_density else ()), *metric.protocol)
    if not of_data:
        asked += [(name, _protocol(own, name), _protocol(other, name)) for name in names]
    for name, mine, theirs in asked:
        why = _apart(name, mine, theirs)
        if why:
            return f"{name.replace('_', ' ')}: {why}"
    return ""


def _apart(name, mine, theirs):
    """In what two values of a protocol differ, in words; "" where they are equal."""
    if name == _CHECKSUM and None in (mine, theirs):
        where = "" if theirs is not None else " there" if mine is not None else " on either side"
        return f"{_NOT_RECORDED}{where}: the rows cannot be known to be the same"
    if mine == theirs:
        return ""
    other = f"{_NOT_RECORDED} there" if theirs is None else f"not {_told(theirs)}"
    return f"{_told(mine)}, {other}"


def _protocol(whole, name):
    return whole["protocol"].get(name)


def _told(value):
    if value is None:
        return _NOT_RECORDED
    return one_line(value, _LONGEST) if isinstance(value, str) else brief(value)
