"""Axes on which vectors of any dimension can be drawn."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec

from kvae.figures import style


@dataclass(frozen=True)
class View:
    """What is shown of D dimensions, and within which limits.

    Args:
        offset: `(D,)`, subtracted first.
        axes: `(D, shown)`, 1 to 3 columns; then multiplied with.
        labels: of the shown axes.
        limits: `(shown, 2)`, lowest and highest.
    """

    offset: np.ndarray
    axes: np.ndarray
    labels: tuple[str, ...]
    limits: np.ndarray

    @property
    def shown(self) -> int:
        """How many axes are shown, 1 to 3."""
        return self.axes.shape[1]

    @property
    def note(self) -> str:
        """What a title must add: that the axes are not the dimensions."""
        if self.axes.shape[0] == self.shown:
            return ""
        return " (along the data's first three principal axes, with their share of its variance)"

    def project(self, x: np.ndarray) -> np.ndarray:
        """Give `(n, shown)` for `(n, D)`."""
        return (x - self.offset) @ self.axes

    def inside(self, shown: np.ndarray) -> np.ndarray:
        """Say of each projected row whether it is within the limits."""
        return ((shown >= self.limits[:, 0]) & (shown <= self.limits[:, 1])).all(1)


def view_of(reference: np.ndarray, other: np.ndarray) -> View:
    """Choose a view that fits `reference`, and `other` as far as it does not dwarf it.

    Up to three dimensions are shown as they are, more along the first three principal axes of
    `reference`. The limits hold all of `reference`, and of `other` all but the outermost half
    percent at either end, if it is at most half the width of `reference` further out: a few points
    gone astray must not shrink the rest to a dot.

    Args:
        reference: `(n, D)`.
        other: `(m, D)`.
    """
    dim = reference.shape[1]
    offset, axes = np.zeros(dim), np.eye(dim)
    labels = tuple(f"dimension {index + 1}" for index in range(dim))
    if dim > 3:
        offset = reference.mean(0)
        variances, axes = np.linalg.eigh(np.cov((reference - offset).T, bias=True))
        axes = axes[:, :-4:-1]
        shares = variances[:-4:-1] / max(variances.sum(), np.finfo(float).tiny)
        labels = tuple(f"principal axis {i + 1} ({share:.0%})" for i, share in enumerate(shares))
    shown, other = (reference - offset) @ axes, (other - offset) @ axes
    low, high = shown.min(0), shown.max(0)
    width = np.maximum(high - low, 1e-6 * np.maximum(1, np.abs(high)))
    lowest, highest = np.quantile(other, [0.005, 0.995], axis=0)
    low = np.minimum(low, np.maximum(lowest, low - 0.5 * width)) - 0.03 * width
    high = np.maximum(high, np.minimum(highest, high + 0.5 * width)) + 0.03 * width
    return View(offset, axes, labels, np.stack([low, high], axis=1))


def panels(cells: list[SubplotSpec], view: View) -> dict[tuple[int, ...], Axes]:
    """Make the axes that show a view: one panel, or a solid and its three projections.

    Args:
        cells: where they go: one for two shown axes, four for three; three without the solid.
        view: of two or three shown axes.

    Returns:
        The shown axes of a panel, as (0, 1), -> the panel.
    """
    kinds = [(0, 1)] if view.shown == 2 else [(0, 1, 2), (0, 1), (0, 2), (1, 2)][-len(cells) :]
    made = {}
    for cell, kind in zip(cells, kinds, strict=True):
        figure = cell.get_gridspec().figure
        axes = figure.add_subplot(cell, projection="3d" if len(kind) == 3 else None)
        for letter, shown in zip("xyz", kind, strict=False):
            getattr(axes, f"set_{letter}lim")(view.limits[shown])
            getattr(axes, f"set_{letter}label")(view.labels[shown])
        style.clean(axes)
        made[kind] = axes
    return made
