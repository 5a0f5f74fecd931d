"""How all figures look: colours, sizes of type, markers."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

DPI = 150
INK, MUTED, FAINT = "#20252b", "#66707c", "#dfe3e8"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 12, 9, 7.5
# Petroff 2021, "Accessible Color Sequences for Data Visualization": ten colours that stay distinct
# with every kind of colour vision; the order puts its greys and browns last.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd",
    "#e76300", "#b9ac70", "#717581", "#a96b59", "#94a4a2",
)  # fmt: skip
MARKERS = "o^sDv"
MAX_GROUPS = len(COLOURS) * len(MARKERS)


def new_figure(width: float, height: float, title: str) -> Figure:
    """Start a figure whose parts find their own places.

    Args:
        width: inches.
        height: inches.
        title: above everything, at the left; wrapped to the width.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    figure.suptitle(wrapped(title, width), x=0.12 / width, ha="left", **title_type())
    return figure


def title_type() -> dict[str, object]:
    """Give the text properties of a figure's title."""
    return {"fontsize": TITLE_SIZE, "color": INK, "fontweight": "bold"}


def wrapped(title: str, width: float) -> str:
    """Break a title into lines that fit into `width` inches."""
    # A bold letter of DejaVu Sans is 0.7 of its size wide on average; an inch has 72 points.
    return textwrap.fill(title, max(10, int(72 * width / (0.7 * TITLE_SIZE))))


def clean(axes: Axes, title: str = "") -> None:
    """Take the clutter off two- or three-dimensional axes, and set their type."""
    axes.set_title(title, loc="left", fontsize=LABEL_SIZE, color=INK)
    axes.tick_params(labelsize=SMALL_SIZE, labelcolor=MUTED, color=FAINT)
    for axis in axes._axis_map.values():
        axis.label.set(fontsize=SMALL_SIZE, color=MUTED)
    if axes.name == "3d":
        axes.tick_params(pad=-2)
        for axis in axes._axis_map.values():
            axis.set_pane_color("white")
            axis.line.set_color(FAINT)
            axis._axinfo["grid"].update(color=FAINT, linewidth=0.5)
            axis.labelpad = -6
    else:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)


def scatter(axes: Axes, points: np.ndarray, groups: np.ndarray, **look: object) -> None:
    """Draw points, coloured (and beyond ten groups marked) by group.

    Args:
        axes: two- or three-dimensional.
        points: `(n, 2)` or `(n, 3)`; later rows are drawn over earlier ones.
        groups: `(n,)` integers from 0 to 49.
        **look: passed on to `Axes.scatter`.
    """
    look = {"s": 7, "linewidths": 0, "alpha": 0.75, **look}
    colours = np.array(COLOURS)[groups % len(COLOURS)]
    for index in np.unique(groups // len(COLOURS)):
        own = groups // len(COLOURS) == index
        axes.scatter(*points[own].T, c=colours[own], marker=MARKERS[index], **look)


def group_legend(figure: Figure, groups: np.ndarray, title: str) -> None:
    """Put a legend of groups under the figure.

    Args:
        figure: whose width decides the columns.
        groups: integers from 0 to 49, those to be listed.
        title: what a group is.
    """
    handles = [
        Line2D(
            [], [], linestyle="none", markersize=5, markeredgewidth=0, label=str(group),
            color=COLOURS[group % len(COLOURS)], marker=MARKERS[group // len(COLOURS)],
        )
        for group in groups
    ]  # fmt: skip
    columns = min(len(handles), max(5, int(figure.get_figwidth() / 0.5)))
    legend(figure, handles, title, columns)


def legend(figure: Figure, handles: list, title: str = "", columns: int = 6) -> None:
    """Put a legend under the figure."""
    box = figure.legend(
        handles=handles, title=title, ncols=columns, loc="outside lower center", frameon=False,
        fontsize=SMALL_SIZE, labelcolor=INK, handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip
    box.get_title().set(fontsize=SMALL_SIZE, color=MUTED)


def sparse(count: int, limit: int) -> np.ndarray:
    """Give at most `limit` of `count` rows, in order; always the same ones."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, limit, replace=False))


def write(figure: Figure, path: str | Path) -> None:
    """Write a PNG; the same figure gives the same bytes."""
    figure.savefig(path, format="png", dpi=figure.dpi, metadata={"Software": None})
