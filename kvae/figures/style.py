"""How all figures look: colours, sizes of type, markers."""

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kvae.data.rows import chosen_rows
from kvae.figures import PRINTED
from kvae.probability.streams import generator

DPI = 150
INK, MUTED, FAINT = "#20252b", "#5f6975", "#d9dee4"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 11, 9, 7.5
# Of what is printed: the text of an A4 page with margins of 25 mm, and its height with a caption.
PRINT_WIDTH, PRINT_HEIGHT = 160 / 25.4, 230 / 25.4
_PRINT_TITLE_SIZE, _PRINT_DPI, _TYPE_SHARE = 9, 300, 0.85
_BESIDE_AXES = 0.45  # inches, of ticks and their label
# Petroff 2021, "Accessible Color Sequences for Data Visualization", its second grey replaced by a
# dark green and greys and browns put last: any two differ by 18 or more in CIELAB, with normal
# colour vision and with protanopia, deuteranopia and tritanopia as Machado 2009 simulates them.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd",
    "#e76300", "#b9ac70", "#1b4d3e", "#a96b59", "#717581",
)  # fmt: skip
# What belongs to the prior and what to the sampler fitted after training, in every figure.
SERIES = (COLOURS[0], COLOURS[5])
MARKERS = "o^sDv"
MAX_GROUPS = len(COLOURS) * len(MARKERS)


def new_figure(width: float, height: float, title: str, path: str | Path | None = None) -> Figure:
    """Start a figure whose parts find their own places.

    Args:
        width: inches, on a screen; in print those of a column, with type of the same size.
        height: inches, on a screen.
        title: above everything, at the left; wrapped to the width.
        path: where the figure will be written.
    """
    pad = 0.12
    if is_printed(path):
        pad = 0.03
        if width > PRINT_WIDTH:
            # Type does not shrink with the panels, and takes its share of the height.
            height = min(height * (PRINT_WIDTH / width) ** _TYPE_SHARE, PRINT_HEIGHT)
            width = PRINT_WIDTH
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=pad, h_pad=min(pad, 0.1))
    look = title_type(path)
    words = wrapped(title, width - 2 * pad, look["fontsize"])
    figure.suptitle(words, x=pad / width, ha="left", **look)
    figure.set_label(title)
    return figure


def is_printed(path: str | Path | None) -> bool:
    """Whether a figure will be a PDF or SVG, which are as wide as a column; all else is a PNG."""
    return path is not None and Path(path).suffix.removeprefix(".").lower() in PRINTED


def title_type(path: str | Path | None = None) -> dict[str, Any]:
    """Give the text properties of a figure's title."""
    size = _PRINT_TITLE_SIZE if is_printed(path) else TITLE_SIZE
    return {"fontsize": size, "color": INK, "fontweight": "bold"}


def wrapped(title: str, width: float, size: float = TITLE_SIZE) -> str:
    """Break a title into lines that fit into `width` inches, of bold letters of `size` points."""
    # A bold letter of DejaVu Sans is 0.67 of its size wide on average; an inch has 72 points.
    return _even(plain(title), max(10, int(72 * width / (0.67 * size))))


def _even(text: str, letters: int) -> str:
    """Break text into as few lines as have room, all about as long: none holds a word alone."""
    lines = textwrap.wrap(text, letters)
    least = max(map(len, text.split()), default=letters)
    for fewer in range(least, letters):
        if len(even := textwrap.wrap(text, fewer)) == len(lines):
            return "\n".join(even)
    return "\n".join(lines)


def plain(text: str, limit: int = 1000) -> str:
    """Make text from elsewhere fit for drawing: shortened, and no dollar starts a formula."""
    text = text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return text.replace("$", r"\$")


def caption(axes: Axes, text: str) -> None:
    """Put a line over axes, at the left; of narrow axes several."""
    place = axes.get_subplotspec()
    share = len(place.colspan) / place.get_gridspec().ncols if place else 1.0
    # A letter is 0.55 of its size wide on average.
    width = share * axes.get_figure().get_figwidth() - _BESIDE_AXES
    letters = int(72 * width / (0.55 * LABEL_SIZE))
    if max(map(len, text.split("\n"))) > letters:
        text = _even(text, max(10, letters))
    axes.set_title(text, loc="left", fontsize=LABEL_SIZE, color=INK)


def clean(axes: Axes) -> None:
    """Take the clutter off two- or three-dimensional axes, and set their type."""
    axes.tick_params(labelsize=SMALL_SIZE, labelcolor=MUTED, color=FAINT)
    solid = axes.name == "3d"
    for axis in (axes.xaxis, axes.yaxis, *([axes.zaxis] if solid else [])):
        axis.label.set(fontsize=SMALL_SIZE, color=MUTED)
        if solid:
            axis.set_pane_color("white")
            axis.line.set_color(FAINT)
            axis._axinfo["grid"].update(color=FAINT, linewidth=0.5)
            axis.labelpad = -12
    if solid:
        # The projections beside it carry the numbers; here they would only crowd the solid.
        axes.tick_params(labelbottom=False, labelleft=False, labelright=False, labeltop=False)
    else:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)


def series(names: Iterable[str]) -> dict[str, str]:
    """Give each of up to two named series its colour; raises ValueError for none or more."""
    names = list(names)
    if not 1 <= len(names) <= len(SERIES):
        raise ValueError(f"one or {len(SERIES)} series can be told apart: received {names}")
    return dict(zip(names, SERIES, strict=False))


def colour_bar(
    figure: Figure, drawn: ScalarMappable, axes: list[Axes], label: str, extend: str = "neither"
) -> Colorbar:
    """Put a colour bar at the right of axes that share their colours.

    Args:
        figure: that the axes are in.
        drawn: what the colours are of.
        axes: beside which it stands.
        label: with the unit.
        extend: whether there are values beyond its ends, as `Figure.colorbar` takes it.
    """
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, pad=0.02, extend=extend)
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL_SIZE, labelcolor=MUTED, length=0)
    bar.set_label(label, fontsize=SMALL_SIZE, color=MUTED)
    return bar


def scatter(axes: Axes, points: np.ndarray, groups: np.ndarray, **look: object) -> None:
    """Draw points, coloured (and beyond ten groups marked) by group.

    Args:
        axes: two- or three-dimensional.
        points: `(n, 2)` or `(n, 3)`; later rows are drawn over earlier ones.
        groups: `(n,)` integers from 0 to 49.
        **look: passed on to `Axes.scatter`.
    """
    look = {"s": 8, "linewidths": 0, "alpha": 0.7, **look}
    if axes.name == "3d":
        look["depthshade"] = False  # it would fade the far half to nothing
    colours = np.array(COLOURS)[groups % len(COLOURS)]
    for index in np.unique(groups // len(COLOURS)):
        own = groups // len(COLOURS) == index
        axes.scatter(*points[own].T, c=colours[own], marker=MARKERS[index], **look)


def group_handles(groups: np.ndarray) -> list[Line2D]:
    """Give the legend's entries for `groups`, integers from 0 to 49, as `scatter` draws them."""
    return [
        Line2D(
            [], [], linestyle="none", markersize=5, markeredgewidth=0, label=str(group),
            color=COLOURS[group % len(COLOURS)], marker=MARKERS[group // len(COLOURS)],
        )
        for group in groups
    ]  # fmt: skip


def legend(figure: Figure, handles: list, title: str = "") -> None:
    """Put a legend under the figure, as wide as the figure allows."""
    width = sum(0.36 + 0.075 * len(handle.get_label()) for handle in handles)
    rows = math.ceil(width / (figure.get_figwidth() - 0.5))
    box = figure.legend(
        handles=handles, title=title, ncols=math.ceil(len(handles) / rows), frameon=False,
        loc="outside lower center", fontsize=SMALL_SIZE, labelcolor=INK, handletextpad=0.3,
        columnspacing=1.2,
    )  # fmt: skip
    box.get_title().set(fontsize=SMALL_SIZE, color=MUTED)


def sparse(count: int, limit: int) -> np.ndarray:
    """Give at most `limit` of `count` rows, in order; always the same ones."""
    return chosen_rows(count, limit, generator(0, "points shown"))


def finished(figure: Figure, path: str | Path | None) -> Figure:
    """The figure, written where there is a path: as PDF or SVG by its ending, else as PNG.

    The same figure gives the same bytes. Words stay words in a PDF, with their font, and in an SVG.
    """
    if path is None:
        return figure
    if not is_printed(path):
        figure.savefig(path, format="png", dpi=figure.dpi, metadata={"Software": None})
        return figure
    ending = Path(path).suffix.removeprefix(".").lower()
    unsaid = ("Creator", "Producer", "CreationDate") if ending == "pdf" else ("Creator", "Date")
    fonts = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "kvae"}
    with rc_context(fonts):
        figure.savefig(
            path, format=ending, dpi=_PRINT_DPI,
            metadata={"Title": figure.get_label(), **dict.fromkeys(unsaid)},
        )  # fmt: skip
    return figure
