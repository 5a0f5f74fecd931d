"""How a model's bound on log p(x) rises with the number of importance draws."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kvae.figures import style
from kvae.metrics import require_finite

_KEYS = "num_draws", "rows", "bound_nats", "bound_nats_stderr"
_LEAST_DECADES = 0.3
_GAP_KEYS = "gap_nats", "gap_nats_stderr"


def draw_bound(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], title: str, *, path: str | Path | None = None
) -> Figure:
    """Draw bounds over the number of draws: under the true log-likelihood where that is known.

    With a truth, what is drawn is the negative gap with the standard error of its paired
    differences: the truth is the line at zero, and the bound rises to it. Without one, the bound
    itself. Points that were made on fewer rows than the others are hollow, and joined among
    themselves. The numbers stand below, but for those of a K too close to a larger one.

    Args:
        curves: one or two models -> points, each with the keys `num_draws`, `rows`, `bound_nats`,
            `bound_nats_stderr`, and with a truth `gap_nats`, `gap_nats_stderr`; nats.
        title: above the panel.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: keys are missing or not the same everywhere, there are no points, or a number is
            not finite.
    """
    colours = style.series(curves)
    has_truth = _check(curves)
    points = {name: _points(curve, has_truth) for name, curve in curves.items()}
    most = max(int(part[:, 1].max()) for part in points.values())
    numbers = [
        (name, part[part[:, 1] == rows])
        for name, part in points.items()
        for rows in np.unique(part[:, 1])[::-1]
    ]
    figure = style.new_figure(7.6, 5.2 + 0.18 * len(numbers), title, path)
    grid = figure.add_gridspec(2, 1, height_ratios=(4, 0.18 * len(numbers)))
    axes, table = grid.subplots(sharex=True)
    if has_truth:
        axes.axhline(0, color=style.INK, linewidth=1.2, zorder=1)
    for name, own in numbers:
        _curve(axes, own, own[0, 1] < most, colours[name])
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.08)
    words = "bound \N{MINUS SIGN} true log-likelihood, nats" if has_truth else "bound, nats"
    axes.set_ylabel(words)
    style.clean(axes)
    error = "of the paired differences" if has_truth else "over rows, which all points share"
    style.caption(axes, f"{most:,} rows; bars: standard error {error}")
    _table(axes, table, numbers, most, colours)
    _legend(figure, points, colours, most, has_truth)
    return style.finished(figure, path)


def _check(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Check all points and say whether the truth is known."""
    every = [(name, point) for name, curve in curves.items() for point in curve]
    if not all(curves.values()):
        raise ValueError(f"every curve needs a point: received {dict(curves)}")
    has_truth = all("gap_nats" in point for _, point in every)
    for name, point in every:
        wanted = _KEYS + (_GAP_KEYS if has_truth or "gap_nats" in point else ())
        missing = [key for key in wanted if key not in point]
        if missing or ("gap_nats" in point) != has_truth:
            raise ValueError(
                f"points need {', '.join(_KEYS)}, and all or none of them "
                f"{', '.join(_GAP_KEYS)}: received {sorted(point)} of {name}"
            )
        require_finite(f"a point of {name}", np.array([point[key] for key in wanted], float))
        if point["num_draws"] < 1:
            raise ValueError(f"a bound has at least 1 draw: received {point['num_draws']}")
    return has_truth


def _points(curve: Sequence[Mapping[str, Any]], has_truth: bool) -> np.ndarray:
    """Give draws, rows, height and its standard error of each point, by rows, then draws."""
    sign, key = (-1, "gap_nats") if has_truth else (1, "bound_nats")
    listed = [
        (point["num_draws"], point["rows"], sign * point[key], point[f"{key}_stderr"])
        for point in curve
    ]
    return np.array(sorted(listed, key=lambda point: (-point[1], point[0])), np.float64)


def _curve(axes: Axes, points: np.ndarray, hollow: bool, colour: str) -> None:
    axes.errorbar(
        points[:, 0], points[:, 2], points[:, 3], color=colour, linewidth=1.3, elinewidth=1.0,
        capsize=2.5, markersize=5, marker="o", zorder=2,
        markerfacecolor="white" if hollow else colour, linestyle=":" if hollow else "-",
    )  # fmt: skip


def _table(
    axes: Axes,
    table: Axes,
    numbers: list[tuple[str, np.ndarray]],
    most: int,
    colours: Mapping[str, str],
) -> None:
    """Put ticks and numbers under the curves, where there is room for them."""
    shown: list[float] = []
    for draws in sorted({draws for _, part in numbers for draws in part[:, 0]}, reverse=True):
        if not shown or math.log10(shown[-1] / draws) >= _LEAST_DECADES:
            shown.append(draws)
    axes.set_xticks(shown, [f"{draws:,.0f}" for draws in shown])
    axes.minorticks_off()
    axes.set_xlabel("importance draws, K")
    axes.xaxis.set_tick_params(labelbottom=True)
    look = {"fontsize": style.SMALL_SIZE, "va": "center"}
    for index, (name, part) in enumerate(numbers):
        hollow = part[0, 1] < most
        words = f"on {part[0, 1]:,.0f} rows" if hollow else name
        left = table.get_yaxis_transform()
        table.text(-0.01, index, words, transform=left, ha="right", color=colours[name], **look)
        for draws, _, height, _ in part:
            if draws in shown:
                number = f"{height:.4f}".replace("-", "\N{MINUS SIGN}")
                table.text(draws, index, number, ha="center", color=colours[name], **look)
    table.set_ylim(len(numbers) - 0.5, -0.5)
    table.axis("off")


def _legend(
    figure: Figure, points: Mapping[str, np.ndarray], colours: Mapping[str, str], most: int,
    has_truth: bool,
) -> None:  # fmt: skip
    look = {"marker": "o", "markersize": 5}
    handles = [Line2D([], [], color=colours[name], label=name, **look) for name in points]
    for rows in np.unique(np.concatenate([part[:, 1] for part in points.values()])):
        if rows < most:
            hollow = {"color": style.MUTED, "linestyle": ":", "markerfacecolor": "white", **look}
            handles.append(Line2D([], [], **hollow, label=f"on {int(rows):,} of the rows"))
    if has_truth:
        handles.append(Line2D([], [], color=style.INK, linewidth=1.2, label="the truth"))
    style.legend(figure, handles)
