"""Differences of likelihoods on the same test rows: sharper than those of their means."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kvae.compare.evaluations import Evaluation
from kvae.compare.protocols import difference
from kvae.evaluation.naming import ROWS_FILE
from kvae.evaluation.report.card import GROUPS, Metric
from kvae.evaluation.report.values import NORMAL_95
from kvae.evaluation.rows import BOUNDS, VALUES
from kvae.metrics.likelihood import is_heavy_tailed, mean_and_stderr

_LEAST_ROWS = 2  # for a standard error


class Paired(NamedTuple):
    """One model less another, of the rows that both were measured on.

    Args:
        key: of the metric in metrics.json.
        title: of it, with its density.
        name: of the model.
        minus: of the other.
        mean: of the differences, nats a row; None: there is none.
        stderr: the standard error of that.
        rows: how many.
        is_heavy_tailed: whether one row has much of the variance, and the error is larger.
        why: there is none, in words; "" where there is.
    """

    key: str
    title: str
    name: str
    minus: str
    mean: float | None = None
    stderr: float | None = None
    rows: int = 0
    is_heavy_tailed: bool = False
    why: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval that holds the true mean 95 times of 100."""
        assert self.mean is not None and self.stderr is not None
        return self.mean - NORMAL_95 * self.stderr, self.mean + NORMAL_95 * self.stderr

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        low, high = self.ends
        if low > 0:
            return f"{self.name} is higher"
        return f"{self.minus} is higher" if high < 0 else "chance may explain it"


def differences(evaluations: Sequence[Evaluation]) -> list[Paired]:
    """Hold every evaluation against the first, under each density that both have.

    Args:
        evaluations: at least two.
    """
    first, *others = evaluations
    return [
        _difference(key, other, first)
        for key in VALUES
        for other in others
        if key in other.whole and key in first.whole
    ]


def _metric(key: str) -> tuple[Metric, str]:
    """The metric that has a key, and what its column is called."""
    return next(
        (metric, group.columns[column])
        for group in GROUPS
        for metric in group.metrics
        for column, own in metric.keys.items()
        if own == key
    )


def _difference(key: str, own: Evaluation, other: Evaluation) -> Paired:
    metric, density = _metric(key)
    told: dict[str, Any] = {
        "key": key, "title": f"{metric.title}, {density.lower()}", "name": own.name,
        "minus": other.name,
    }  # fmt: skip
    why = difference(metric, own.whole, other.whole)
    if why:
        return Paired(**told, why=why)
    lacking = [one.name for one in (own, other) if key not in one.rows]
    if lacking:
        return Paired(**told, why=f"no {ROWS_FILE} with it: measure {', '.join(lacking)} again")
    if len(own.rows[key]) != len(other.rows[key]) or (
        key in BOUNDS and not np.array_equal(own.rows["rows"], other.rows["rows"])
    ):
        return Paired(**told, why="other rows of the test split")
    values = own.rows[key] - other.rows[key]
    if len(values) < _LEAST_ROWS:
        return Paired(**told, why="one row alone, of which no error is known")
    mean, stderr = mean_and_stderr(values, f"the difference of {key}")
    return Paired(
        **told, mean=mean, stderr=stderr, rows=len(values), is_heavy_tailed=is_heavy_tailed(values)
    )
