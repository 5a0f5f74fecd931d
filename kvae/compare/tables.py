"""A comparison as text for a terminal, as CSV and as a page."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from kvae.compare import Comparison, Row
from kvae.compare.evaluations import Evaluation
from kvae.compare.paired import Paired
from kvae.errors import one_line
from kvae.evaluation.report.facts import Fact, measured
from kvae.evaluation.report.page import rendered
from kvae.evaluation.report.values import NORMAL_95, written

_COLUMNS = (
    "kind", "key", "metric", "model", "minus", "value", "low", "high", "rows", "differs_in",
)  # fmt: skip
_TITLE = 58  # columns of the terminal
_NONE = "-"
_OTHER = "differs"


class Reasons:
    """Why numbers do not compare, each with a number of its own in the order of their coming."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, name: str, why: str) -> int:
        """The number of a reason.

        Args:
            name: of the model whose protocol differs.
            why: in what.
        """
        return self.known.setdefault(f"{name}: {why}", len(self.known) + 1)

    def told(self) -> list[tuple[int, str]]:
        """All of them."""
        return [(number, text) for text, number in self.known.items()]


def terminal(comparison: Comparison) -> str:
    """The table and the differences, as lines."""
    reasons = Reasons()
    names = comparison.names
    blocks = {
        title: [(_title(row), [_cell(row, place, names, reasons) for place in range(len(names))])
                for row in rows]
        for title, rows in comparison.groups.items()
    }  # fmt: skip
    cells = [cells for block in blocks.values() for _, cells in block]
    widths = [max(map(len, (name, *column))) for name, *column in zip(names, *cells, strict=True)]
    lines = [_line("", names, widths)]
    for title, block in blocks.items():
        lines += ["", f"  {title}", *(_line(name, own, widths) for name, own in block)]
    if comparison.pairs:
        lines += ["", "  Differences on the same test rows, nats a row"]
        for title in dict.fromkeys(pair.title for pair in comparison.pairs):
            own = [pair for pair in comparison.pairs if pair.title == title]
            lines += [f"    {title}", *(_pair_line(pair, reasons) for pair in own)]
    lines += ["", "  95% intervals, of images the least and greatest of five sets, in brackets"]
    lines += [f"  ({number}) {text}" for number, text in reasons.told()]
    return "\n".join(lines)


def _title(row: Row) -> str:
    return f"{row.metric.title}{f', {row.column.lower()}' if row.column else ''}"


def _cell(row: Row, place: int, names: Sequence[str], reasons: Reasons) -> str:
    cell = row.cells[place]
    if cell.why:
        return f"{_OTHER} ({reasons.number(names[place], cell.why)})"
    if cell.value is None:
        return _NONE
    text = f"{cell.value.text}{f' {row.of[place]}' if row.of[place] else ''}"
    ends = cell.value.spread.partition(": ")[2].replace(" to ", ", ")
    return f"{text} [{ends}]" if ends else text


def _line(title: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    own = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    if len(title) > _TITLE:
        return f"    {title}\n    {'':{_TITLE}}  {own}".rstrip()
    return f"    {title:{_TITLE}}  {own}".rstrip()


def _pair_line(pair: Paired, reasons: Reasons) -> str:
    head = f"      {pair.name} minus {pair.minus}: "
    if pair.mean is None:
        return f"{head}{_OTHER} ({reasons.number(pair.name, pair.why)})"
    return f"{head}{_shown(pair)}"


def _shown(pair: Paired) -> str:
    value, error, low, high = _written(pair)
    tail = "; one row has much of the variance: the error is larger" if pair.is_heavy_tailed else ""
    return f"{value} ± {error} [{low}, {high}] on {pair.rows:,} rows; {pair.verdict}{tail}"


def _written(pair: Paired) -> list[str]:
    """The mean, its standard error and the ends of the interval, with the digits that are known."""
    assert pair.mean is not None and pair.stderr is not None
    decimals = max(0, min(7, 2 - _order(NORMAL_95 * pair.stderr or abs(pair.mean))))
    return [written(one, decimals) for one in (pair.mean, pair.stderr, *pair.ends)]


def _order(size: float) -> int:
    """Digits before the point; 0 and less where there are none."""
    import math

    return math.floor(math.log10(size)) + 1 if size else 0


def csv_text(comparison: Comparison) -> str:
    """The same, one number a row: what stands in `differs_in` has no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for rows in comparison.groups.values():
        for row in rows:
            for name, cell in zip(comparison.names, row.cells, strict=True):
                own: dict[str, Any] = {"differs_in": cell.why}
                if cell.value is not None:
                    value = cell.value
                    own |= {"value": value.number, "low": value.low, "high": value.high}
                elif not cell.why:
                    continue
                writer.writerow(
                    {"kind": "metric", "key": row.key, "metric": _title(row), "model": name, **own}
                )
    for pair in comparison.pairs:
        own = {"differs_in": pair.why}
        if pair.mean is not None:
            low, high = pair.ends
            own |= {"value": pair.mean, "low": low, "high": high, "rows": pair.rows}
        writer.writerow(
            {"kind": "difference", "key": pair.key, "metric": pair.title, "model": pair.name,
             "minus": pair.minus, **own}
        )  # fmt: skip
    return text.getvalue()


def html_text(comparison: Comparison) -> str:
    """The same as a page that needs no other file."""
    reasons = Reasons()
    names = comparison.names
    groups = {
        title: [
            (
                row,
                [
                    (name, cell.value, of, reasons.number(name, cell.why) if cell.why else None)
                    for name, cell, of in zip(names, row.cells, row.of, strict=True)
                ],
            )
            for row in rows
        ]
        for title, rows in comparison.groups.items()
    }
    pairs = [
        (pair, reasons.number(pair.name, pair.why) if pair.why else None,
         () if pair.why else _written(pair))
        for pair in comparison.pairs
    ]  # fmt: skip
    return rendered(
        "compare.html",
        names=names, groups=groups, pairs=pairs, reasons=reasons.told(),
        models=[(one.name, _facts(one)) for one in comparison.evaluations],
    )  # fmt: skip


def _facts(one: Evaluation) -> list[Fact]:
    """What is known of an evaluation; halves of pairs in somebody's text cannot be written."""
    known = measured(one.whole, one.folder)
    return [fact._replace(text=one_line(fact.text)) for fact in known]
