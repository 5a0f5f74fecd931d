"""What the latent space costs: the rate of each dimension, and the rate against the distortion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kvae.figures import style
from kvae.metrics import require_finite

# Beyond this many, the bars are too narrow for the number of a dimension below each.
_MOST_NUMBERED = 40
_HISTORY_KEYS = "val_rate", "val_distortion"
_PASSIVE = "#aab3bd"


def draw_rates(
    rates: np.ndarray, active: np.ndarray, title: str, unit: str, *, path: str | Path | None = None
) -> Figure:
    """Draw a bar for each latent dimension, the highest first, in colour if it is active.

    Args:
        rates: `(latent_dim,)`, the rate of each dimension, or what else says how much it is used.
        active: `(latent_dim,)` bool.
        title: above the bars.
        unit: what a bar's height is, as "rate, nats".
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    rates, active = np.asarray(rates, np.float64), np.asarray(active)
    if rates.ndim != 1 or active.shape != rates.shape or active.dtype != bool:
        raise ValueError(
            "rates must be (latent_dim,) with a bool for each: "
            f"received {rates.shape} and {active.dtype} {active.shape}"
        )
    require_finite("rates", rates)
    order = np.argsort(-rates, kind="stable")
    count, used = len(rates), int(active.sum())
    figure = style.new_figure(8.4, 4.4, title, path)
    axes = figure.add_subplot()
    colours = np.where(active[order], style.SERIES[0], _PASSIVE)
    places, width = np.arange(count), 0.8 if count <= _MOST_NUMBERED else 1.0
    axes.bar(places, rates[order], width, color=colours)
    low, high = min(0.0, rates.min()), max(0.0, rates.max())
    span = (high - low) or 1.0
    if used < count:
        # A strip below them: most inactive dimensions have no bar to be seen.
        axes.bar(places, 0.02 * span, width, low - 0.03 * span, color=colours)
        low -= 0.03 * span
    room = max(0.1, 4 - count / 2)  # lone bars are not to fill the figure
    axes.set(xlim=(-0.5 - room, count - 0.5 + room), ylabel=style.plain(unit))
    axes.set_ylim(low, high + 0.04 * span)
    if count <= _MOST_NUMBERED:
        axes.set_xticks(range(count), [str(number + 1) for number in order])
        axes.set_xlabel("latent dimension")
    else:
        axes.set_xlabel("latent dimensions, the highest first")
    style.clean(axes)
    axes.tick_params(axis="x", length=0 if count <= _MOST_NUMBERED else 3)
    style.caption(axes, f"{used:,} of {count:,} latent dimensions active")
    handles = [
        Patch(color=colour, label=f"{words} ({number:,})")
        for colour, words, number in (
            (style.SERIES[0], "active", used), (_PASSIVE, "inactive", count - used)
        )
        if number
    ]  # fmt: skip
    style.legend(figure, handles)
    return style.finished(figure, path)


def draw_rate_distortion(
    points: Mapping[str, tuple[float, float]],
    history: Mapping[str, Sequence[float]],
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw a model's rate and distortion, the way there in training, and lines of equal ELBO.

    On such a line, rate + distortion is the same (Alemi et al. 2018, "Fixing a Broken ELBO"): a
    model is better across them to the lower left, and spends differently along one. The first
    epochs are often so far off that nothing else could be seen; a second panel shows the last half
    of the epochs, if it takes up little of the first.

    Args:
        points: one or two names, as "test" -> (rate, distortion), nats per example.
        history: "val_rate" and "val_distortion" of each epoch, nats per example; empty if it is
            not known.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the numbers are not as described, or not finite.
    """
    colours = style.series(points)
    ends = {name: np.asarray(point, np.float64) for name, point in points.items()}
    for name, end in ends.items():
        require_finite(f"the point {name}", end)
        if end.shape != (2,):
            raise ValueError(f"a point is (rate, distortion): received {points[name]} of {name}")
    way = _way(history)
    every = np.concatenate([np.stack(list(ends.values())), way])
    near = np.concatenate([np.stack(list(ends.values())), way[len(way) // 2 :]])
    views = [_limits(every)]
    if len(way) > 1 and np.prod(np.ptp(_limits(near), 1) / np.ptp(views[0], 1)) < _ZOOM_BELOW:
        views.append(_limits(near))
    figure = style.new_figure(6.4 * len(views) if len(views) > 1 else 7.6, 5.6, title, path)
    panels = np.ravel(figure.subplots(1, len(views)))
    for axes, view in zip(panels, views, strict=True):
        axes.set(xlim=view[0], ylim=view[1])
        _equal_elbo(axes, view)
        axes.plot(*way.T, **_WAY)
        for first in way[:1]:
            axes.annotate("epoch 1", first, **_FIRST)
        for name, end in ends.items():
            axes.plot(*end, **_END, color=colours[name])
        axes.set(xlabel="rate, nats per example", ylabel="distortion, nats per example")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, steps=_STEPS))
            axis.set_major_formatter(FuncFormatter(_number))
        style.clean(axes)
    if len(views) > 1:
        (left, right), (low, high) = views[1]
        frame = Rectangle((left, low), right - left, high - low, **_FRAME)
        panels[0].add_patch(frame)
        style.caption(panels[0], f"all {len(way):,} epochs; framed: the right panel")
        style.caption(panels[1], f"the last {len(way) - len(way) // 2:,} epochs")
    handles = [Line2D([], [], **_END, color=colours[name], label=name) for name in ends]
    if len(way):
        handles.append(Line2D([], [], **_WAY, label="validation, each epoch"))
    handles.append(Line2D([], [], **_EQUAL, label="equal ELBO"))
    style.legend(figure, handles)
    return style.finished(figure, path)


_ZOOM_BELOW, _STEPS = 0.1, (1, 2, 5, 10)
_WAY = {
    "color": style.MUTED, "linewidth": 1.1, "marker": "o", "markersize": 2.6,
    "markeredgewidth": 0, "zorder": 3,
}  # fmt: skip
_END = {
    "marker": "o", "markersize": 8, "markeredgecolor": "white", "linestyle": "none", "zorder": 4,
}  # fmt: skip
_FIRST = {
    "xytext": (6, 0), "textcoords": "offset points", "va": "center", "zorder": 4,
    "fontsize": style.SMALL_SIZE, "color": style.INK, "annotation_clip": True,
}  # fmt: skip
_EQUAL = {"color": "#b7bfc8", "linewidth": 0.8, "zorder": 1}
_FRAME = {"facecolor": "none", "edgecolor": style.INK, "linewidth": 0.8, "zorder": 5}


def _way(history: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Give `(epochs, 2)`, rate and distortion."""
    if not history:
        return np.empty((0, 2))
    missing = [key for key in _HISTORY_KEYS if key not in history]
    if missing or len({len(history[key]) for key in _HISTORY_KEYS}) > 1:
        raise ValueError(
            f"history must have {' and '.join(_HISTORY_KEYS)} of the same epochs: "
            f"received { ({key: len(values) for key, values in history.items()}) }"
        )
    way = np.stack([np.asarray(history[key], np.float64) for key in _HISTORY_KEYS], axis=1)
    require_finite("history", way)
    return way


def _limits(points: np.ndarray) -> np.ndarray:
    """Give `(2, 2)`, lowest and highest rate and distortion to be seen, with some room."""
    low, high = points.min(0), points.max(0)
    room = np.where(high > low, 0.08 * (high - low), 0.05 * np.maximum(1, np.abs(high)))
    return np.stack([low - room, high + room], axis=1)


def _equal_elbo(axes: Axes, view: np.ndarray) -> None:
    """Draw lines of equal ELBO; write it at the right end, or where they cross the diagonal."""
    low, high = view[:, 0], view[:, 1]
    look = {"va": "center", "fontsize": style.SMALL_SIZE, "color": style.MUTED, "zorder": 2}
    for total in MaxNLocator(7, steps=_STEPS).tick_values(low.sum(), high.sum()):
        fraction = (total - low.sum()) / (high - low).sum()
        if not 0.02 < fraction < 0.98:
            continue
        axes.plot(view[0], total - view[0], **_EQUAL, scalex=False, scaley=False)
        words = f"ELBO {_number(0.0 - total)}"
        if low[1] <= total - high[0]:
            place = high[0] + 0.01 * (high - low)[0], total - high[0]
            axes.text(*place, words, ha="left", **look)
        elif fraction > 0.1:  # no label reaches over the left axis
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axes.text(*(low + fraction * (high - low)), words, ha="center", bbox=box, **look)


def _number(value: float, _: int = 0) -> str:
    return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")
