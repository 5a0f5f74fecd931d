"""Does a model make every component in its share?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from kvae.figures import style
from kvae.metrics import require_finite
from kvae.metrics.modes import RELATIVE_TOLERANCE

MAX_RATIO = 2.0
_BAND = {"facecolor": style.FAINT, "edgecolor": "none", "zorder": 0}
_WEIGHT = {"color": style.INK, "linewidth": 1.2}


def draw_recall(
    weights: np.ndarray,
    shares: Mapping[str, np.ndarray],
    captured: Mapping[str, np.ndarray],
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw each component's weight and its share of generated samples, the largest weight first.

    Above are the shares themselves, below they are divided by the weight, so that rare components
    are seen too; both over a band of 20% around the weight. What is more than twice its weight ends
    at the frame. A component that was not captured has a cross.

    Args:
        weights: `(K,)`, positive, K from 1 to 50.
        shares: one or two models -> `(K,)`, from 0 to 1.
        captured: the same models -> `(K,)` bool.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described.
    """
    weights = np.asarray(weights, np.float64)
    checked = _checked(weights, shares, captured)
    order = np.argsort(-weights, kind="stable")
    count = len(weights)
    figure = style.new_figure(min(13.0, max(6.0, 2.4 + 0.42 * count)), 6.2, title, path)
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(3, 2)).subplots(sharex=True)
    _bars(upper, weights[order], {name: part[order] for name, part in checked.items()})
    ones = np.ones(count)
    ratios = {name: (part / weights)[order] for name, part in checked.items()}
    _bars(lower, ones, ratios)
    band = (1 + RELATIVE_TOLERANCE) * weights.max()
    highest = max(band, *(part.max() for part in checked.values()))
    upper.set(ylim=(0, 1.04 * highest), ylabel="share of the points")
    lower.set(ylim=(0, MAX_RATIO), yticks=(0, 0.5, 1, 1.5, 2), ylabel="share / weight")
    room = max(0.1, 1.5 - count / 2)  # lone bars are not to fill the figure
    lower.set(xlabel="component", xlim=(-0.5 - room, count - 0.5 + room), xticks=range(count))
    lower.set_xticklabels([str(component) for component in order])
    _say_what_is_beyond(lower, ratios)
    for axes in (upper, lower):
        style.clean(axes)
        axes.tick_params(axis="x", length=0)
    _crosses(lower, {name: np.asarray(captured[name], bool)[order] for name in checked})
    kept = (f"{name} {np.sum(captured[name])} of {count}" for name in checked)
    style.caption(upper, "captured: " + ", ".join(kept))
    _legend(figure, list(checked), all(np.all(part) for part in captured.values()))
    return style.finished(figure, path)


def _checked(
    weights: np.ndarray, shares: Mapping[str, np.ndarray], captured: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    style.series(shares)
    require_finite("weights", weights)
    if weights.ndim != 1 or len(weights) > style.MAX_GROUPS or weights.min() <= 0:
        raise ValueError(
            f"weights must be 1 to {style.MAX_GROUPS} positive numbers: received {weights}"
        )
    if list(captured) != list(shares):
        raise ValueError(f"shares are of {list(shares)}, captured is of {list(captured)}")
    checked = {name: np.asarray(part, np.float64) for name, part in shares.items()}
    for name, part in checked.items():
        if part.shape != weights.shape or np.shape(captured[name]) != weights.shape:
            raise ValueError(
                f"shares and captured of {name} must be {weights.shape}: "
                f"received {part.shape} and {np.shape(captured[name])}"
            )
        require_finite(f"shares of {name}", part)
        if part.min() < 0 or part.max() > 1 + 1e-9:
            raise ValueError(
                f"shares of {name} must be from 0 to 1: received {part.min():g} to {part.max():g}"
            )
    return checked


def _places(names: Mapping[str, object]) -> dict[str, float]:
    """Give the middle of each model's bar within a component's place, and their width."""
    width = _width(names)
    return {name: (index - (len(names) - 1) / 2) * width for index, name in enumerate(names)}


def _width(names: Mapping[str, object]) -> float:
    return 0.7 / len(names)


def _bars(axes: Axes, weights: np.ndarray, heights: Mapping[str, np.ndarray]) -> None:
    colours, width = style.series(heights), _width(heights)
    for index, weight in enumerate(weights):
        low, high = ((1 + sign * RELATIVE_TOLERANCE) * weight for sign in (-1, 1))
        axes.add_patch(Rectangle((index - 0.45, low), 0.9, high - low, **_BAND))
    axes.hlines(weights, np.arange(len(weights)) - 0.45, np.arange(len(weights)) + 0.45, **_WEIGHT)
    for name, middle in _places(heights).items():
        places = np.arange(len(weights)) + middle
        axes.bar(places, heights[name], 0.86 * width, color=colours[name], alpha=0.85, zorder=1.5)


def _say_what_is_beyond(axes: Axes, ratios: Mapping[str, np.ndarray]) -> None:
    for name, middle in _places(ratios).items():
        for index in np.flatnonzero(ratios[name] > MAX_RATIO):
            axes.annotate(
                f"{ratios[name][index]:.3g}", (index + middle, MAX_RATIO), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom",
                fontsize=style.SMALL_SIZE, color=style.INK,
            )  # fmt: skip


def _crosses(axes: Axes, captured: Mapping[str, np.ndarray]) -> None:
    for name, middle in _places(captured).items():
        missed = np.flatnonzero(~captured[name])
        axes.plot(missed + middle, np.full(len(missed), 0.12), **_CROSS)


_CROSS = {"color": style.INK, "marker": "x", "linestyle": "none", "markersize": 4.5, "zorder": 3}


def _legend(figure: Figure, names: list[str], all_captured: bool) -> None:
    handles: list = [
        Patch(color=colour, alpha=0.85, label=name) for name, colour in style.series(names).items()
    ]
    handles += [
        Line2D([], [], **_WEIGHT, label="weight of the component"),
        Patch(**_BAND, label=f"within {RELATIVE_TOLERANCE:.0%} of it"),
    ]
    if not all_captured:
        handles.append(Line2D([], [], **_CROSS, label="not captured"))
    style.legend(figure, handles)
