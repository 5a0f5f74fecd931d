"""What is said of trials: a line each, a table, and files of them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvae import files
from kvae.command import training_command
from kvae.options import flag
from kvae.tune.plan import Plan
from kvae.tune.space import shown
from kvae.tune.study import DONE, FAILED, PRUNED, REFUSED, RUNNING, Row

TABLE, RESULT = "trials.csv", "tuning.json"
_TOP = 10
_REPEATED = "repeated"


def best_of(plan: Plan, rows: Sequence[Row]) -> Row | None:
    """The best of the trials that came to their end; the earlier one of equals."""
    sign = 1 if plan.figure == "elbo" else -1
    done = [row for row in rows if row.state == DONE]
    return max(done, key=lambda row: (sign * row.value, -row.trial), default=None)  # type: ignore[operator]


def head(plan: Plan, folder: Path, wanted: int, there: int, *, prunes: bool) -> str:
    """What is about to happen.

    Args:
        plan: what is searched.
        folder: where it is kept.
        wanted: trials in all.
        there: how many of them are there already.
        prunes: whether trials end early.
    """
    better = "higher" if plan.figure == "elbo" else "lower"
    told = "from a quarter of the epochs on, once 5 trials came to their end" if prunes else "none"
    lines = [
        f"search     {wanted} trials in {folder}, {there} of them there; by validation",
        f"           {plan.figure}, nats, {better} is better; what trainings print is in logs/",
    ]
    for one in plan.space:
        lines.append(f"           {one.name} {one}{f' ({one.hint})' if one.hint else ''}")
    typed = {name: value for name, value in plan.given.items() if plan.shown(name) == flag(name)}
    fixed = [word for name, value in typed.items() for word in _words(name, value)]
    if of_file := len(plan.given) - len(typed):
        fixed.append(f"{'and ' if fixed else ''}{of_file} options of the file")
    return "\n".join(
        [*lines, *([f"fixed      {' '.join(fixed)}"] if fixed else []), f"pruning    {told}\n"]
    )


def line(plan: Plan, rows: Sequence[Row], place: int) -> str:
    """What is said of a trial when it ends."""
    row = next(row for row in rows if row.trial == place)
    best = best_of(plan, rows)
    told = {
        DONE: f"{plan.figure} {_number(row.value)}",
        PRUNED: f"pruned at epoch {row.epoch}, {plan.figure} {_number(row.value)}",
    }.get(row.state, f"{row.state}: {row.why}")
    if row.same_as is not None:
        told = f"as trial {row.same_as}"
    marks = [f"{plan.whose} own"] if place == 0 else []
    marks += ["best so far"] if best is not None and best.trial == place else []
    parts = [told, f"{row.seconds or 0:.0f} s", _values(row), *marks]
    return f"trial {place:<4} {'  '.join(part for part in parts if part)}"


def table(plan: Plan, rows: Sequence[Row]) -> str:
    """The ten best trials, and the first one."""
    sign = 1 if plan.figure == "elbo" else -1
    done = [row for row in rows if row.state == DONE and row.same_as is None]
    order = sorted(done, key=lambda row: (-sign * (row.value or 0.0), row.trial))
    kept = [row for rank, row in enumerate(order) if rank < _TOP or row.trial == 0]
    names = [one.name for one in plan.space]
    lines = [["trial", plan.figure, "epoch", "seconds", *names, ""]]
    for rank, row in enumerate(kept):
        mark = ", ".join(["best"] * (rank == 0) + [f"{plan.whose} own"] * (row.trial == 0))
        own = [_short(row.values[name]) if name in row.values else "-" for name in names]
        seconds = f"{row.seconds or 0:.0f}"
        lines.append([str(row.trial), _number(row.value), str(row.epoch), seconds, *own, mark])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(word.rjust(width) for word, width in zip(one[:-1], widths, strict=False)).rstrip()
        + f"  {one[-1]}".rstrip()
        for one in lines
    )


def summary(plan: Plan, rows: Sequence[Row], folder: Path) -> str:
    """The table, the best beside the first one, and what to type to train it."""
    counts = Counter(_REPEATED if row.same_as is not None else row.state for row in rows)
    told = {
        DONE: "to their end", PRUNED: "pruned", REFUSED: "refused", FAILED: "failed",
        _REPEATED: "with the values of an earlier one, not made again", RUNNING: "running still",
    }  # fmt: skip
    parts = ", ".join(f"{counts[state]} {words}" for state, words in told.items() if counts[state])
    best = best_of(plan, rows)
    head = f"{len(rows)} {'trial' if len(rows) == 1 else 'trials'}: {parts or 'none'}"
    if best is None:
        return f"\n{head}"
    return "\n".join([
        f"\n{table(plan, rows)}\n",
        head,
        f"best       {_against(plan, rows, best)}",
        "note       it was chosen on the valid split, whose figure flatters the best of many; "
        "evaluate.py\n           measures on the test split",
        f"train it:  {training_command(plan.config(_typed(plan, best)))}",
        f"written    {folder / TABLE}, {folder / RESULT}",
    ])  # fmt: skip


def write(folder: Path, plan: Plan, rows: Sequence[Row]) -> None:
    """Write trials.csv and tuning.json, each whole or as it was before.

    Raises:
        OSError: the folder cannot be written.
    """
    names = [one.name for one in plan.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", plan.figure, "epoch", "seconds", *names, "why"])
    for row in rows:
        own = [shown(row.values[name]) if name in row.values else "" for name in names]
        writer.writerow([row.trial, row.state, row.value, row.epoch, row.seconds, *own, row.why])
    files.replace_text(folder / TABLE, text.getvalue())
    best = best_of(plan, rows)
    found = {
        "figure": plan.figure,
        "search": {one.name: str(one) for one in plan.space},
        "best": best and best.trial,
        "command": best and training_command(plan.config(_typed(plan, best))),
        "trials": [row._asdict() for row in rows],
    }
    files.replace_text(folder / RESULT, json.dumps(found, indent=1) + "\n")


def _typed(plan: Plan, row: Row) -> dict[str, Any]:
    """The values of a trial that its command line needs: none where they are the preset's own."""
    return row.values if row.trial else dict(plan.own)


def _words(name: str, value: Any) -> list[str]:
    """A fixed option as it was typed."""
    if isinstance(value, bool):
        return [flag(name if value else f"no_{name}")]
    return [flag(name), str(value)]


def _against(plan: Plan, rows: Sequence[Row], best: Row) -> str:
    """The best trial beside the first one, in words."""
    told = f"{plan.figure} {_number(best.value)} of trial {best.trial}"
    own = next((row for row in rows if row.trial == 0), None)
    if own is None or own.value is None or own.state != DONE or best.value is None:
        return f"{told}; {plan.whose} own values have no figure"
    if best.trial == 0:
        return f"{told}: no trial was better than {plan.whose} own values"
    gain = abs(best.value - own.value)
    return f"{told}, {gain:.3g} nats better than {plan.whose} own values ({_number(own.value)})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)


def _values(row: Row) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in row.values.items())
