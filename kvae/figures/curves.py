"""How a training went, epoch by epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kvae.figures import style

_NAMES = {"elbo": "ELBO", "loss": "loss", "distortion": "distortion", "rate": "rate"}
_INNER, _REACH = (0.1, 0.9), 1.5  # what is shown: the inner numbers, and as far again beside them
_FEW_EPOCHS, _FIRST_REACH = 6, 4.0  # of which the first alone may be left out
_STEPS = (1, 2, 5, 10)
_MOST_MARKED = 40  # epochs that have a marker each
_VALID = {"color": style.COLOURS[3], "linewidth": 1.6, "zorder": 4}
_TRAIN = {"color": style.MUTED, "linewidth": 1.0, "zorder": 3}
_BEST = {
    "marker": "o", "markersize": 7, "color": style.COLOURS[3], "markeredgecolor": "white",
    "markeredgewidth": 1.2, "linestyle": "none", "zorder": 6,
}  # fmt: skip
_START = {
    "marker": "D", "markersize": 5, "markerfacecolor": "white", "markeredgecolor": style.COLOURS[3],
    "markeredgewidth": 1.3, "linestyle": "none", "zorder": 5, "clip_on": False,
}  # fmt: skip
_RISING = {"facecolor": "#f1f3f6", "edgecolor": "none", "zorder": 0}


def draw_curves(
    history: Mapping[str, Sequence[float]],
    title: str,
    *,
    best: int | None = None,
    chosen_by: str = "elbo",
    start: Mapping[str, float] | None = None,
    rising: Sequence[tuple[float, float]] = (),
    path: str | Path | None = None,
) -> Figure:
    """Draw figures of the train and of the valid split over the epochs.

    The ELBO stands above distortion and rate, whose sum it is the negative of; beside it the loss,
    where that chose the best epoch. The first epochs are often so far off that nothing else could
    be seen: what lies beyond a panel is told in words there.

    Args:
        history: "elbo", "distortion", "rate", where `chosen_by` wants it "loss", and each with
            "val_" before it -> value of each epoch, nats per example. Others are ignored, numbers
            that are not finite left out.
        title: above the panels.
        best: the epoch, from 1, whose weights were kept; 0: those at the start; None: not known.
        chosen_by: "elbo" or "loss": the figure of the valid split that says which is best.
        start: figure -> value on the valid split of the weights that training started from.
        rising: first and last epoch, from 1, of each time in which beta is not at its full value.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: a figure is missing, there are no epochs, or not as many of all.
    """
    names = ["elbo", "distortion", "rate"] if chosen_by == "elbo" else [*_NAMES]
    epochs = _check(history, names)
    figure = style.new_figure(8.4, 6.0, title, path)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.35, 1))
    places = {
        "elbo": grid[0, :] if chosen_by == "elbo" else grid[0, 0], "loss": grid[0, 1],
        "distortion": grid[1, 0], "rate": grid[1, 1],
    }  # fmt: skip
    start = start or {}
    for name in names:
        axes = figure.add_subplot(places[name])
        curves = [np.asarray(history[key], np.float64) for key in (f"val_{name}", name)]
        begun = start.get(name)
        _panel(axes, curves, begun, rising)
        if best is not None:
            _mark(axes, best, curves[0], begun)
        room = max(0.4, 0.015 * epochs)
        axes.set_xlim((0 if start else 1) - room, epochs + room)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
        axes.set(xlabel="epoch", ylabel="nats per example")
        style.clean(axes)
        style.caption(axes, _NAMES[name])
    kept = "" if best is None else _kept(best, chosen_by, history, start)
    _legend(figure, kept, start, rising)
    return style.finished(figure, path)


def _check(history: Mapping[str, Sequence[float]], names: Sequence[str]) -> int:
    """Give the number of epochs."""
    keys = [key for name in names for key in (name, f"val_{name}")]
    missing = [key for key in keys if key not in history]
    lengths = {len(history[key]) for key in keys if key in history}
    if missing or len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"history must have {', '.join(keys)} of the same epochs, one at least: received "
            f"{ ({key: len(values) for key, values in history.items()}) }"
        )
    return lengths.pop()


def _panel(
    axes: Axes,
    curves: Sequence[np.ndarray],
    start: float | None,
    rising: Sequence[tuple[float, float]],
) -> None:
    """Draw the curves of the valid and the train split, and tell what lies beyond."""
    epochs = np.arange(1, len(curves[0]) + 1)
    curves = [np.where(np.isfinite(values), values, np.nan) for values in curves]
    look = {"marker": "o", "markersize": 3} if len(epochs) <= _MOST_MARKED else {}
    for values, own in zip(curves, (_VALID, _TRAIN), strict=True):
        axes.plot(epochs, values, **own, **look)
    for first, last in rising:
        axes.axvspan(first - 0.5, last + 0.5, **_RISING)
    low, high = _limits(curves, start)
    axes.set_ylim(low, high)
    told = []
    if start is not None and low <= start <= high:
        axes.plot(0, start, **_START)
    elif start is not None:  # its marker is not clipped: it would stand anywhere in the figure
        told.append(f"start, {_number(start)}")
    beyond = np.any([(values < low) | (values > high) for values in curves], axis=0)
    if beyond.any():
        far = np.concatenate([values[beyond] for values in curves])
        ends = [end for end in (np.nanmin(far),) if end < low]
        ends += [end for end in (np.nanmax(far),) if end > high]
        told.append(f"{_epochs(epochs[beyond])}, {' and '.join(map(_number, ends))}")
    if told:
        words = f"beyond: {'; '.join(told)}"
        axes.set_title(words, loc="right", fontsize=style.SMALL_SIZE, color=style.MUTED)


def _limits(curves: Sequence[np.ndarray], start: float | None) -> tuple[float, float]:
    """Give the lowest and the highest number to be seen, with some room."""
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = values.min(), values.max()
    if len(curves[0]) > 2:
        others = np.concatenate([curve[1:] for curve in curves])
        others = others[np.isfinite(others)] if np.isfinite(others).any() else values
        is_few = len(curves[0]) < _FEW_EPOCHS
        inner = np.quantile(others, (0, 1) if is_few else _INNER)
        reach = (_FIRST_REACH if is_few else _REACH) * (inner[1] - inner[0])
        near = values[(values >= inner[0] - reach) & (values <= inner[1] + reach)]
        low, high = near.min(), near.max()
    if start is not None and abs(start - (low + high) / 2) <= 2 * (high - low):
        low, high = min(low, start), max(high, start)
    room = 0.07 * (high - low) or 0.05 * max(1.0, abs(high))
    return float(low - room), float(high + room)


def _mark(axes: Axes, best: int, values: np.ndarray, start: float | None) -> None:
    """Mark the best epoch."""
    axes.axvline(best, color=style.COLOURS[3], linewidth=0.8, linestyle=":", zorder=1)
    height = start if best == 0 else values[best - 1] if best <= len(values) else None
    low, high = axes.get_ylim()
    if height is not None and low <= height <= high:
        axes.plot(best, height, **_BEST)


def _kept(
    best: int, chosen_by: str, history: Mapping[str, Sequence[float]], start: Mapping[str, float]
) -> str:
    """Say which weights were kept."""
    values = [start.get(chosen_by), *history[f"val_{chosen_by}"]]
    value = values[best] if best < len(values) else None
    words = f"kept: epoch {best}" if best else "kept: weights at the start"
    if value is None:
        return words
    return f"{words}, valid {_NAMES[chosen_by]} {_number(value, digits=5)}"


def _epochs(numbers: np.ndarray) -> str:
    """Say which epochs these are."""
    if len(numbers) == 1:
        return f"epoch {numbers[0]}"
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return f"epochs {numbers[0]} to {numbers[-1]}"
    return f"{len(numbers)} epochs"


def _number(value: float, _: object = None, *, digits: int = 4) -> str:
    """Write a number with as many digits as it takes, and a minus sign."""
    size = max(abs(value), 1e-12)
    text = f"{value:,.0f}" if size >= 10 ** (digits - 1) else f"{value:.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _legend(
    figure: Figure, kept: str, start: Mapping[str, float], rising: Sequence[tuple[float, float]]
) -> None:
    handles: list = [
        Line2D([], [], **_VALID, label="valid split"),
        Line2D([], [], **_TRAIN, label="train split"),
    ]
    if kept:
        handles.append(Line2D([], [], **_BEST, label=kept))
    if start:
        handles.append(Line2D([], [], **_START, label="weights at the start"))
    if rising:
        handles.append(Patch(**_RISING, label="beta is not at its full value"))
    style.legend(figure, handles)
