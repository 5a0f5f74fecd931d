"""Names beside groups of points, where they hide as little as possible."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke

from kvae.figures import style

# Costs of a place, in pixels of way from the group. A group's points cost as much together as
# those of any other, so that a rare group's few are dear.
_COVERED_GROUP, _BLOCKED, _AMBIGUOUS = 10_000.0, 100_000.0, 60.0
_RADII, _ANGLES = (0, 12, 20, 30, 42, 56, 72, 90, 110, 135, 165, 200), 24
_PADDING, _LEAST_LEADER, _LARGEST_SPREAD = 4.0, 14.0, 0.8


def name_groups(
    figure: Figure, axes: Axes, points: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> None:
    """Write the name of each group beside it; a thin line leads there if it is not near.

    Rare groups choose first. A group that is spread over the whole map has no place to be named at,
    and gets no name.

    Args:
        figure: complete but for the names: what came later would move the axes.
        axes: two-dimensional, within the figure.
        points: `(n, 2)`, as drawn on the axes.
        groups: `(n,)` integers from 0.
        names: of the groups.
    """
    figure.draw_without_rendering()
    pixels = axes.transData.transform(points)
    spread = _spread(pixels)
    sizes = np.bincount(groups, minlength=len(names))
    costs = _COVERED_GROUP / sizes[groups]
    taken: list[np.ndarray] = []
    for group in np.argsort(sizes, kind="stable"):
        own = pixels[groups == group]
        if len(own) == 0 or _spread(own) > _LARGEST_SPREAD * spread:
            continue
        half = _half_size(figure, axes, names[group])
        places = _candidates(own)
        free = _blocked(axes, places, half, taken) + _covered(places, half, pixels, costs)
        way = _distances(places, half, own)
        others = _distances(places, half, pixels[groups != group])
        best = places[np.argmin(free + way + _AMBIGUOUS * (others < way))]
        taken.append(np.stack([best - half, best + half]))
        _write(axes, names[group], best, own, half)


def _spread(pixels: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(pixels - np.median(pixels, axis=0), axis=1)))


def _look() -> dict:
    return {
        "fontsize": style.LABEL_SIZE, "fontweight": "bold", "color": style.INK, "ha": "center",
        "va": "center", "in_layout": False, "zorder": 6,
    }  # fmt: skip


def _half_size(figure: Figure, axes: Axes, name: str) -> np.ndarray:
    text = axes.text(0, 0, name, transform=None, **_look())
    box = text.get_window_extent(figure.canvas.get_renderer())
    text.remove()
    return np.array([box.width, box.height]) / 2 + _PADDING


def _candidates(own: np.ndarray) -> np.ndarray:
    """Give places `(m, 2)` around the group's middle and around its outermost points."""
    angles = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    middle = np.median(own, axis=0)
    reach = np.quantile((own - middle) @ rays.T, 0.95, axis=0).clip(0)[:, None]
    return np.concatenate(
        [middle + rays * radius for radius in _RADII]
        + [middle + rays * (reach + radius) for radius in _RADII]
    )


def _covered(
    places: np.ndarray, half: np.ndarray, pixels: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    return (np.abs(pixels - places[:, None]) < half).all(2) @ costs


def _distances(places: np.ndarray, half: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Give how far each place's box is from the nearest of the pixels."""
    outside = np.maximum(np.abs(pixels - places[:, None]) - half, 0)
    return np.sqrt(np.square(outside).sum(2).min(1))


def _blocked(
    axes: Axes, places: np.ndarray, half: np.ndarray, taken: list[np.ndarray]
) -> np.ndarray:
    frame = axes.get_window_extent()
    low, high = places - half, places + half
    wrong = ((low < frame.min) | (high > frame.max)).any(1).astype(float)
    for other_low, other_high in taken:
        wrong += ((low < other_high) & (high > other_low)).all(1)
    return _BLOCKED * wrong


def _write(axes: Axes, name: str, place: np.ndarray, own: np.ndarray, half: np.ndarray) -> None:
    nearest = own[np.linalg.norm(own - place, axis=1).argmin()]
    inverse = axes.transData.inverted()
    if _distances(place[None], half, own)[0] > _LEAST_LEADER:
        line = inverse.transform(np.stack([place, nearest]))
        axes.plot(*line.T, color=style.MUTED, linewidth=0.6, zorder=5, scalex=False, scaley=False)
    # The outline apart: with one, letters would be shapes, which nobody can select in a PDF.
    outline = {"path_effects": [Stroke(linewidth=2, foreground="white")], "zorder": 5.9}
    axes.text(*inverse.transform(place), name, **_look() | outline)
    axes.text(*inverse.transform(place), name, **_look())
