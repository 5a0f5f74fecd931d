"""Is a likelihood as sure of its pixels as it may be?"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kvae.figures import style
from kvae.metrics import require_finite

NUM_GROUPS = 20
_BINS = 50
_SMALLEST = 1e-6
_LEAST_LOG_SPAN = 4.0


def draw_calibration(
    stddev: np.ndarray, error: np.ndarray, title: str, *, path: str | Path | None = None
) -> Figure:
    """Draw a likelihood's standard deviations against the errors that it makes.

    Where they differ, the pairs are sorted by standard deviation into 20 groups of equal size (or
    one for each value, if there are no more), and the root mean square of a group's errors is drawn
    over that of its standard deviations: on the diagonal if the likelihood is calibrated. If they
    are all the same, the errors, which should then be of images, are drawn as a histogram, and the
    standard deviation as a line through it.

    Args:
        stddev: `(n,)`, positive, of each pixel or image.
        error: `(n,)`, of the same ones: differences, or root mean squared differences, between x
            and the mean of the likelihood at draws of the posterior.
        title: above the panel; says of what the errors are.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    stddev, error = np.asarray(stddev, np.float64), np.abs(np.asarray(error, np.float64))
    if stddev.ndim != 1 or error.shape != stddev.shape:
        raise ValueError(
            f"stddev and error must both be (n,): received {stddev.shape} and {error.shape}"
        )
    require_finite("stddev", stddev)
    require_finite("error", error)
    if stddev.min() <= 0:
        raise ValueError(f"stddev must be positive: received {stddev.min():g}")
    figure = style.new_figure(7.0, 6.2, title, path)
    axes = figure.add_subplot()
    if np.ptp(stddev) <= 1e-6 * stddev.max():
        handles = _one_value(axes, float(stddev.mean()), error)
    else:
        handles = _many_values(axes, stddev, error)
    style.clean(axes)
    style.legend(figure, handles)
    return style.finished(figure, path)


def _one_value(axes: Axes, stddev: float, error: np.ndarray) -> list:
    """Draw a histogram of the errors with lines at their root mean square and at the stddev."""
    rms = float(np.sqrt(np.square(error).mean()))
    low = max(min(error.min(), stddev), _SMALLEST)
    high = max(error.max(), stddev)
    if high > _LEAST_LOG_SPAN * low:
        axes.set_xscale("log")
        edges = np.geomspace(low / 1.05, high * 1.05, _BINS + 1)
        _plain_ticks(axes.xaxis)
    else:
        room = 0.1 * ((high - low) or high)
        edges = np.linspace(low - room, high + room, _BINS + 1)
    axes.hist(np.maximum(error, edges[0]), edges, color=style.SERIES[0], alpha=0.45, zorder=1)
    axes.axvline(stddev, **_STDDEV)
    axes.axvline(rms, **_RMS)
    axes.set(xlim=edges[[0, -1]], xlabel="root mean squared error of an image", ylabel="images")
    style.caption(
        axes, f"one standard deviation for all, {stddev:.3g}; errors: root mean square {rms:.3g}, "
        f"{rms / stddev:.3g} times as large",
    )  # fmt: skip
    return [
        Patch(color=style.SERIES[0], alpha=0.45, label=f"errors of {len(error):,} images"),
        Line2D([], [], **_RMS, label="their root mean square"),
        Line2D([], [], **_STDDEV, label="standard deviation"),
    ]


def _many_values(axes: Axes, stddev: np.ndarray, error: np.ndarray) -> list:
    """Draw the root mean square error of groups over that of their standard deviations."""
    groups = _groups(stddev)
    said, made = (
        np.array([np.sqrt(np.square(values[rows]).mean()) for rows in groups])
        for values in (stddev, error)
    )
    ends = [min(said.min(), max(made.min(), _SMALLEST)), max(said.max(), made.max())]
    limits = np.array([ends[0] / 1.3, ends[1] * 1.3])
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    axes.plot(limits, limits, **_DIAGONAL)
    axes.plot(said, np.maximum(made, limits[0]), **_GROUP)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)
    axes.set(xlabel="standard deviation of the likelihood", ylabel="root mean squared error")
    look = {"fontsize": style.SMALL_SIZE, "color": style.MUTED, "transform": axes.transAxes}
    axes.text(0.02, 0.98, "larger errors than it says", va="top", **look)
    axes.text(0.98, 0.02, "smaller errors than it says", ha="right", **look)
    ratio = np.sqrt(np.square(error / stddev).mean())
    style.caption(
        axes, f"{len(groups)} groups, {len(stddev):,} pairs; error / standard deviation: "
        f"root mean square {ratio:.3g}",
    )  # fmt: skip
    return [
        Line2D([], [], **_GROUP, label="a group of similar standard deviations"),
        Line2D([], [], **_DIAGONAL, label="calibrated"),
    ]


def _groups(stddev: np.ndarray) -> list[np.ndarray]:
    """Give the rows of each group, the smallest standard deviations first."""
    values, which = np.unique(stddev, return_inverse=True)
    if len(values) <= NUM_GROUPS:
        return [np.flatnonzero(which == index) for index in range(len(values))]
    return np.array_split(np.argsort(stddev, kind="stable"), NUM_GROUPS)


def _plain_ticks(axis: Axis) -> None:
    """Write 0.02 and not two times ten to the minus two."""
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high < 200 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


_STDDEV = {"color": style.INK, "linewidth": 1.6, "zorder": 3}
_RMS = {"color": style.SERIES[0], "linewidth": 1.6, "linestyle": "--", "zorder": 2}
_DIAGONAL = {"color": style.INK, "linewidth": 1.0, "zorder": 1}
_GROUP = {
    "color": style.SERIES[0], "linewidth": 1.0, "marker": "o", "markersize": 5,
    "markeredgewidth": 0, "zorder": 2,
}  # fmt: skip
