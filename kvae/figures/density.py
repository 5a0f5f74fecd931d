"""A model's density beside the true one, in nats, on the same slices and the same scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from kvae.figures import style
from kvae.figures.slices import NATS_SHOWN, Slice
from kvae.metrics import require_finite

DIFFERENCE_NATS = 3.0
_CONTOURS = 8.0, 3.0  # nats under the peak
_CONTOUR = {"linewidth": 0.6, "alpha": 0.6}
_MINUS = "\N{MINUS SIGN}"


def draw_density(
    slices: Sequence[Slice],
    truth: Sequence[np.ndarray],
    models: Mapping[str, Sequence[np.ndarray]],
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw log p(x) of the truth and of models on slices, and what lies between them.

    All panels share one scale, which ends 12 nats under the highest true log density drawn. What
    is below counts as being there, in the differences too: where both are out of sight there is
    nothing to compare. A model's density may be zero (minus infinity in nats), which is below.
    One dimension is drawn as curves, two as colours with two contours of the truth.

    Args:
        slices: from `kvae.figures.slices.slices_of`; all along as many directions.
        truth: for each slice `(points,)` nats, at `Slice.points()`.
        models: one or two names -> likewise.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: not one density for each slice and point, one of the truth is not finite or one
            of a model is NaN, or there are no models or more than two.
    """
    style.series(models)
    densities = {"truth": truth, **models}
    if not slices or len(densities) != 1 + len(models):
        raise ValueError(f"at least one slice, and models not named truth: received {[*models]}")
    checked = {name: _checked(name, values, slices) for name, values in densities.items()}
    for part in checked["truth"]:
        require_finite("truth", part)
    top = max(float(values.max()) for values in checked["truth"])
    # An infinite value would leave a hole: it is drawn at the end of the scale, or beyond.
    checked = {
        name: [
            np.nan_to_num(part, neginf=top - NATS_SHOWN, posinf=top + NATS_SHOWN) for part in parts
        ]
        for name, parts in checked.items()
    }
    draw = _curves if len(slices[0].limits) == 1 else _maps
    return style.finished(draw(slices, checked, top, title, path), path)


def _checked(name: str, values: Sequence[np.ndarray], slices: Sequence[Slice]) -> list[np.ndarray]:
    wanted = [(one.size ** len(one.limits),) for one in slices]
    received = [np.shape(part) for part in values]
    if received != wanted:
        raise ValueError(
            f"{name} must be given at the slices' points {wanted}: received {received}"
        )
    parts = [np.asarray(part, np.float64) for part in values]
    missing = sum(np.count_nonzero(np.isnan(part)) for part in parts)
    if missing:
        count = sum(part.size for part in parts)
        raise ValueError(f"{name} must be numbers: {missing} of {count} values are NaN")
    return parts


def _panels(
    densities: dict[str, list[np.ndarray]], top: float
) -> list[tuple[str, list[np.ndarray], bool]]:
    """Give what is drawn: its name, its values on each slice, and whether it is a difference."""
    floor = top - NATS_SHOWN
    truth, *models = densities
    differences = [
        (
            f"{name} {_MINUS} {truth}",
            [
                np.maximum(values, floor) - np.maximum(true, floor)
                for values, true in zip(densities[name], densities[truth], strict=True)
            ],
            True,
        )
        for name in models
    ]
    return [(name, values, False) for name, values in densities.items()] + differences


def _maps(
    slices: Sequence[Slice],
    densities: dict[str, list[np.ndarray]],
    top: float,
    title: str,
    path: str | Path | None,
) -> Figure:
    """Draw rectangles: one slice's panels side by side, several slices as the columns."""
    panels, is_printed = _panels(densities, top), style.is_printed(path)
    figure, cells = _layout(len(slices), len(panels), title, path)
    scales = {
        False: {"cmap": "viridis", "norm": Normalize(top - NATS_SHOWN, top)},
        True: {"cmap": "RdBu_r", "norm": Normalize(-DIFFERENCE_NATS, DIFFERENCE_NATS)},
    }
    made: dict[bool, list[Axes]] = {False: [], True: []}
    drawn = {}
    for row, (name, values, is_difference) in enumerate(panels):
        for column, one in enumerate(slices):
            axes = figure.add_subplot(cells[row][column])
            drawn[is_difference] = _image(axes, one, values[column], scales[is_difference])
            ink = style.INK if is_difference else "white"
            _contours(axes, one, densities["truth"][column], top, ink)
            made[is_difference].append(axes)
            if len(slices) == 1:
                style.caption(axes, name)
                continue
            style.caption(axes, one.caption if row == 0 else "")
            if column == 0:
                # Two lines in print, where panels are lower than it is long.
                words = name.replace(f" {_MINUS}", f"\n{_MINUS}") if is_printed else name
                _name_row(axes, words)
            if row < len(panels) - 1:
                axes.set(xlabel="", xticklabels=[])
    words = {False: "log density, nats", True: "difference, nats"}
    for is_difference, axes in made.items():
        style.colour_bar(figure, drawn[is_difference], axes, words[is_difference], extend="both")
    lines = " and ".join(f"{nats:g}" for nats in sorted(_CONTOURS))
    label = f"the truth {lines} nats under its peak (darkest: {NATS_SHOWN:g} and more)"
    style.legend(figure, [Line2D([], [], **_CONTOUR, color=style.INK, label=label)])
    return figure


def _layout(
    num_slices: int, num_panels: int, title: str, path: str | Path | None
) -> tuple[Figure, list[list[SubplotSpec]]]:
    """Give the figure, and for each panel of `_panels` the cells of its slices."""
    if num_slices > 1:
        side = 2.7 if num_panels == 3 else 2.35
        figure = style.new_figure(
            (side + 0.5) * num_slices + 1.6, (side + 0.1) * num_panels + 1.4, title, path
        )
        grid = figure.add_gridspec(num_panels, num_slices)
        return figure, [
            [grid[row, column] for column in range(num_slices)] for row in range(num_panels)
        ]
    rows = 1 if num_panels == 3 else 2
    figure = style.new_figure(12.2, 3.85 * rows + 0.75, title, path)
    grid = figure.add_gridspec(rows, 3)
    places = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]  # a difference is under its model
    return figure, [[grid[place]] for place in places[:num_panels]]


def _image(axes: Axes, one: Slice, values: np.ndarray, scale: dict) -> AxesImage:
    (left, right), (bottom, top) = one.limits
    width, height = right - left, top - bottom
    drawn = axes.imshow(
        values.reshape(one.size, one.size), extent=(left, right, bottom, top), origin="lower",
        aspect="equal" if np.isclose(width, height) else "auto", interpolation="nearest", **scale,
    )  # fmt: skip
    axes.set_box_aspect(1)
    axes.locator_params(nbins=5)
    axes.set(xlabel=one.labels[0], ylabel=one.labels[1])
    style.clean(axes)
    return drawn


def _contours(axes: Axes, one: Slice, truth: np.ndarray, top: float, colour: str) -> None:
    levels = [top - nats for nats in _CONTOURS if truth.min() < top - nats < truth.max()]
    if levels:
        axes.contour(
            one.ticks(0), one.ticks(1), truth.reshape(one.size, one.size), levels,
            colors=colour, linewidths=_CONTOUR["linewidth"], alpha=_CONTOUR["alpha"],
            linestyles="solid",
        )  # fmt: skip


def _name_row(axes: Axes, name: str) -> None:
    axes.annotate(
        name, xy=(0, 0.5), xycoords=axes.yaxis.label, xytext=(-6, 0), textcoords="offset points",
        ha="right", va="center", rotation=90, fontsize=style.LABEL_SIZE, fontweight="bold",
        color=style.INK,
    )  # fmt: skip


def _curves(
    slices: Sequence[Slice],
    densities: dict[str, list[np.ndarray]],
    top: float,
    title: str,
    path: str | Path | None,
) -> Figure:
    """Draw segments, the columns: the density, its log, and the differences of the logs."""
    truth, *models = densities
    colours = style.series(models)
    look = {truth: {"color": style.INK, "linewidth": 2.4, "alpha": 0.4}}
    look |= {name: {"color": colours[name], "linewidth": 1.1} for name in models}
    looks = [*look.values(), *(look[name] for name in models)]
    width = 9.0 if len(slices) == 1 else 4.0 * len(slices) + 0.5
    figure = style.new_figure(width, 8.0, title, path)
    grid = figure.add_gridspec(3, len(slices), height_ratios=(3, 3, 2))
    rows = [[figure.add_subplot(grid[row, i]) for i in range(len(slices))] for row in range(3)]
    for (_, values, is_difference), line in zip(_panels(densities, top), looks, strict=True):
        for column, one in enumerate(slices):
            if is_difference:
                rows[2][column].plot(one.ticks(0), values[column], **line)
                continue
            # A model's spike may be anything; three nats above the truth it is out of the frame.
            density = np.exp(np.minimum(values[column], top + 3))
            rows[0][column].plot(one.ticks(0), density, **line)
            rows[1][column].plot(one.ticks(0), values[column], **line)
    limits = (
        (0, 1.4 * np.exp(top)),
        (top - NATS_SHOWN, top + 0.7),
        (-DIFFERENCE_NATS, DIFFERENCE_NATS),
    )
    labels = "density", "log density, nats", f"model {_MINUS} truth, nats"
    for row, (made, limit, label) in enumerate(zip(rows, limits, labels, strict=True)):
        for column, (axes, one) in enumerate(zip(made, slices, strict=True)):
            axes.locator_params(axis="x", nbins=6)
            axes.set(xlim=one.limits[0], ylim=limit, ylabel="" if column else label)
            style.clean(axes)
            if row == 0:
                style.caption(axes, one.caption)
            if row == 2:
                axes.axhline(0, color=style.MUTED, linewidth=0.7, zorder=0)
                axes.set_xlabel(one.labels[0], fontsize=style.SMALL_SIZE, color=style.MUTED)
            else:
                axes.tick_params(labelbottom=False)
    style.legend(figure, [Line2D([], [], **line, label=name) for name, line in look.items()])
    return figure
