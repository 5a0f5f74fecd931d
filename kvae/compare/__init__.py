"""kvae compare: published models side by side, as far as their numbers compare."""

from collections.abc import Sequence
from typing import NamedTuple

from kvae.compare.evaluations import Evaluation, read
from kvae.compare.paired import Paired, differences
from kvae.compare.protocols import check_data, difference
from kvae.evaluation.report.card import DATA, GROUPS, Metric
from kvae.evaluation.report.values import Value, value_of


class Cell(NamedTuple):
    """A number of a model.

    Args:
        value: it; None: the model has none, or one of another protocol.
        why: in what the protocol differs from that of the first model that has the number; "".
    """

    value: Value | None
    why: str = ""


class Row(NamedTuple):
    """A number of all models.

    Args:
        metric: what it is.
        column: which of the metric's columns; "" where it has one.
        key: in metrics.json.
        cells: one a model.
        of: what it is out of, as each model says; "" for nothing.
    """

    metric: Metric
    column: str
    key: str
    cells: list[Cell]
    of: list[str]


class Comparison(NamedTuple):
    """What `compare` finds.

    Args:
        evaluations: that were compared, the first of which the others are held against.
        groups: title -> rows.
        pairs: differences of likelihoods, each model less the first.
    """

    evaluations: list[Evaluation]
    groups: dict[str, list[Row]]
    pairs: list[Paired]

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [one.name for one in self.evaluations]


def compare(places: Sequence[str]) -> Comparison:
    """Put evaluations side by side.

    A number stands beside that of the first model that has it where both were taken by the same
    protocol: data, split, rows, seed, number of draws, features.

    Args:
        places: `saved/<name>`, `saved/<name>/<number>`, or folders that evaluate.py wrote to; two
            at least.

    Raises:
        UsageError: fewer than two, one that was not evaluated, or evaluations on other data.
        DataError: a file is damaged.
    """
    evaluations = read(places)
    check_data(evaluations)
    groups = {}
    for group in GROUPS:
        rows = [
            _row(group, metric, column, evaluations)
            for metric in group.metrics
            for column, key in metric.keys.items()
            if any(value_of(one.whole, key) for one in evaluations)
        ]
        if rows:
            groups[group.title] = rows
    return Comparison(evaluations, groups, differences(evaluations))


def _row(group, metric, column, evaluations):
    key = metric.keys[column]
    values = [value_of(one.whole, key) for one in evaluations]
    first = next(one for one, value in zip(evaluations, values, strict=True) if value)
    of_data = column == DATA
    cells = []
    for one, value in zip(evaluations, values, strict=True):
        is_held = value and one is not first
        why = difference(metric, one.whole, first.whole, of_data=of_data) if is_held else ""
        cells.append(Cell(None if why else value, why))
    of = [f"of {one.whole[metric.of]:,}" if metric.of in one.whole else "" for one in evaluations]
    heading = group.columns[column] if len(group.columns) > 1 else ""
    return Row(metric, heading, key, cells, of)
