"""Pictures of vectors: as they are up to three dimensions, else along their principal axes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from kvae.figures import style
from kvae.figures.panels import View, panels, view_of
from kvae.metrics import require_finite
from kvae.probability.streams import generator

MAX_POINTS, MAX_DIMENSIONS, MAX_PATHS = 3000, 6, 8
_BINS = 120
_LONGEST_NAME, _TICKS = 24, 5


def draw_generation(
    true_x: np.ndarray,
    true_component: np.ndarray,
    generated_x: np.ndarray,
    generated_component: np.ndarray,
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw true and generated points within the same limits, coloured by component.

    One dimension is drawn as histograms, two as they are, three as a solid and its projections,
    more along the first three principal axes of the true points. At most 3,000 points of each are
    drawn (histograms hold all).

    Args:
        true_x: `(n, D)`.
        true_component: `(n,)` integers from 0 to 49.
        generated_x: `(m, D)`.
        generated_component: `(m,)` integers from 0 to 49, the likeliest component for instance.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    true_x, true_component = _checked("true_x", true_x, true_component)
    generated_x, generated_component = _checked("generated_x", generated_x, generated_component)
    _require_same_width("generated_x", generated_x, "true_x", true_x)
    view = view_of(true_x, generated_x)
    solid = view.shown == 3
    # In print there is no room for the solid, whose numbers the projections carry.
    columns = 3 if style.is_printed(path) else 4
    size = (3.25 * columns, 7.6) if solid else (10.0, 5.4)
    figure = style.new_figure(*size, title + view.note, path)
    grid = figure.add_gridspec(2, columns) if solid else figure.add_gridspec(1, 2)
    sides = ("true", true_x, true_component), ("generated", generated_x, generated_component)
    shared = None
    for side, (name, x, component) in enumerate(sides):
        if view.shown == 1:
            shared = figure.add_subplot(grid[side], sharey=shared)
            _histogram(shared, view, x, component, outline=true_x)
            style.caption(shared, _caption(name, len(x), view.inside(x)))
        else:
            cells = [grid[side, column] for column in range(columns)] if solid else [grid[side]]
            _cloud(list(panels(cells, view).items()), name, view, x, component)
    _legend(
        figure,
        np.union1d(true_component, generated_component),
        [_OUTLINE_HANDLE] if view.shown == 1 else [],
    )
    return style.finished(figure, path)


def draw_reconstruction(
    x: np.ndarray,
    reconstruction: np.ndarray,
    component: np.ndarray,
    title: str,
    *,
    names: Sequence[str] = (),
    path: str | Path | None = None,
) -> Figure:
    """Draw every dimension of the reconstruction against the same dimension of x.

    At most six dimensions and 3,000 points are drawn; the errors in the captions are of all points.

    Args:
        x: `(n, D)`.
        reconstruction: `(n, D)`.
        component: `(n,)` integers from 0 to 49.
        names: of the dimensions, such as those of a table's columns; () numbers them.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    x, component = _checked("x", x, component)
    reconstruction, _ = _checked("reconstruction", reconstruction, component)
    _require_same_width("reconstruction", reconstruction, "x", x)
    dim = x.shape[1]
    count = min(dim, MAX_DIMENSIONS)
    columns = min(count, 3)
    rows = -(-count // columns)
    what = "columns" if names else "dimensions"
    title += f" (the first {count} of {dim} {what})" if count < dim else ""
    figure = style.new_figure(max(5.0, 3.8 * columns), 3.9 * rows + 0.9, title, path)
    chosen = style.sparse(len(x), MAX_POINTS)
    for index in range(count):
        axes = figure.add_subplot(rows, columns, index + 1)
        pairs = np.stack([x[:, index], reconstruction[:, index]], axis=1)
        _against(axes, pairs[chosen], component[chosen])
        rmse = np.sqrt(np.square(pairs[:, 0] - pairs[:, 1]).mean())
        name = style.plain(names[index], _LONGEST_NAME) if names else f"dimension {index + 1}"
        error = f"{rmse:,.0f}" if rmse >= 1000 else f"{rmse:.3g}"
        style.caption(axes, f"{name}: root mean squared error {error}")
    _legend(figure, np.unique(component), [])
    return style.finished(figure, path)


def draw_interpolation(
    paths: np.ndarray, background_x: np.ndarray, title: str, *, path: str | Path | None = None
) -> Figure:
    """Draw the ways between pairs of points over the data, each in a colour of its own.

    At most eight ways and 3,000 points of the data are drawn; the data are grey, so that only the
    ways have colours.

    Args:
        paths: `(pairs, steps, D)`, the steps at equal fractions from 0 to 1.
        background_x: `(n, D)`, data.
        title: above the panels.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    background_x, _ = _checked("background_x", background_x, np.zeros(len(background_x), int))
    if paths.ndim != 3 or paths.shape[1] < 2:
        raise ValueError(f"paths must be (pairs, steps >= 2, D): received {paths.shape}")
    require_finite("paths", paths)
    ways = np.asarray(paths[:MAX_PATHS], np.float64)
    _require_same_width("paths", ways, "background_x", background_x)
    view = view_of(background_x, ways.reshape(-1, ways.shape[2]))
    solid = view.shown == 3
    figure = style.new_figure(*((9.0, 9.2) if solid else (8.0, 6.4)), title + view.note, path)
    ways = view.project(ways)
    shown = view.project(background_x[style.sparse(len(background_x), MAX_POINTS)])
    if view.shown == 1:
        axes = figure.add_subplot()
        axes.set(xlabel="fraction (of the data: any)", ylabel=view.labels[0], ylim=view.limits[0])
        style.clean(axes)
        fraction = np.linspace(0, 1, ways.shape[1])
        ways = np.stack([np.broadcast_to(fraction, ways.shape[:2]), ways[..., 0]], axis=2)
        strewn = generator(0, "strewn points").uniform(0, 1, len(shown))
        _ways(axes, ways, np.stack([strewn, shown[:, 0]], axis=1))
    else:
        grid = figure.add_gridspec(2, 2) if solid else figure.add_gridspec(1, 1)
        if solid and style.is_printed(path):  # of a solid's labels the layout knows nothing
            figure.get_layout_engine().set(wspace=0.08)
        for kind, axes in panels(list(grid), view).items():
            _ways(axes, ways[..., kind], shown[:, kind])
    lines = [
        Line2D([], [], color=colour, linewidth=1.6, label=f"pair {index}")
        for index, colour in enumerate(_WAY_COLOURS[: len(ways)], start=1)
    ]
    ends = [Line2D([], [], color=style.MUTED, linestyle="none", **end) for end in _ENDS]
    style.legend(figure, lines + ends)
    return style.finished(figure, path)


def _checked(name: str, x: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, component = np.asarray(x, np.float64), np.asarray(component)
    if x.ndim != 2 or component.shape != x.shape[:1]:
        raise ValueError(
            f"{name} must be (n, D) with a component for each row: "
            f"received {x.shape} and components {component.shape}"
        )
    require_finite(name, x)
    whole = np.issubdtype(component.dtype, np.integer)
    if not whole or component.min() < 0 or component.max() >= style.MAX_GROUPS:
        raise ValueError(
            f"components of {name} must be whole numbers from 0 to {style.MAX_GROUPS - 1}: "
            f"received {component.dtype} from {component.min()} to {component.max()}"
        )
    return x, component.astype(np.int64)


def _legend(figure: Figure, components: np.ndarray, others: list[Line2D]) -> None:
    """Name the components, unless there is one alone: nothing to tell it from."""
    handles = style.group_handles(components) if len(components) > 1 else []
    if handles or others:
        style.legend(figure, handles + others, "component" if handles else "")


def _require_same_width(name: str, x: np.ndarray, other_name: str, other: np.ndarray) -> None:
    if x.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"{name} and {other_name} must have the same dimensions: "
            f"received {x.shape} and {other.shape}"
        )


def _caption(name: str, count: int, inside: np.ndarray) -> str:
    drawn, lost = len(inside), np.count_nonzero(~inside)
    points = f"{drawn:,} points" if drawn == count else f"{drawn:,} of {count:,} points"
    return f"{name}: {points}" + (f",\n{lost:,} of them outside the frame" if lost else "")


def _cloud(
    made: list[tuple[tuple[int, ...], Axes]],
    name: str,
    view: View,
    x: np.ndarray,
    component: np.ndarray,
) -> None:
    chosen = style.sparse(len(x), MAX_POINTS)
    shown = view.project(x[chosen])
    inside = view.inside(shown)
    for kind, axes in made:
        style.scatter(axes, shown[inside][:, kind], component[chosen][inside])
    style.caption(made[0][1], _caption(name, len(x), inside))


_OUTLINE = {"color": style.INK, "linewidth": 0.8}
_OUTLINE_HANDLE = Line2D([], [], **_OUTLINE, label="all true points")


def _histogram(
    axes: Axes, view: View, x: np.ndarray, component: np.ndarray, outline: np.ndarray
) -> None:
    """Draw a density of stacked components, and the density of all of `outline` over it."""
    edges = np.linspace(*view.limits[0], _BINS + 1)
    groups = np.unique(component)
    area = len(x) * (edges[1] - edges[0])
    axes.hist(
        [x[component == group, 0] for group in groups],
        edges,
        stacked=True,
        weights=[np.full((component == group).sum(), 1 / area) for group in groups],
        color=[style.COLOURS[group % len(style.COLOURS)] for group in groups],
    )
    weight = 1 / (len(outline) * (edges[1] - edges[0]))
    axes.hist(
        outline[:, 0], edges, histtype="step", weights=np.full(len(outline), weight),
        **_OUTLINE,
    )  # fmt: skip
    axes.set(xlim=view.limits[0], xlabel=view.labels[0], ylabel="density")
    style.clean(axes)


def _against(axes: Axes, pairs: np.ndarray, component: np.ndarray) -> None:
    view = view_of(pairs[:, :1], pairs[:, 1:])
    axes.plot(view.limits[0], view.limits[0], color=style.MUTED, linewidth=0.7)
    style.scatter(axes, pairs, component)
    axes.set(xlim=view.limits[0], ylim=view.limits[0], aspect="equal")
    axes.set(xlabel="x", ylabel="reconstruction")
    axes.locator_params(nbins=_TICKS)  # long numbers would run into one another
    style.clean(axes)


# The pale ones last: a thin line of them is hard to see.
_WAY_COLOURS = tuple(style.COLOURS[index] for index in (0, 1, 2, 3, 7, 5, 8, 4))
_DATA = {"s": 6, "c": "#c8ced5", "linewidths": 0, "alpha": 0.6, "zorder": 1}
_ENDS = [
    {"marker": "o", "markersize": 7, "markerfacecolor": "white", "label": "fraction 0"},
    {"marker": "s", "markersize": 6, "label": "fraction 1"},
]


def _ways(axes: Axes, ways: np.ndarray, data: np.ndarray) -> None:
    axes.scatter(*data.T, **_DATA, **({"depthshade": False} if axes.name == "3d" else {}))
    casing = [withStroke(linewidth=3.4, foreground="white")]
    for way, colour in zip(ways, _WAY_COLOURS, strict=False):
        look = {"color": colour, "zorder": 5}
        axes.plot(*way.T, linewidth=1.6, path_effects=casing, **look)
        axes.plot(*way[1:-1].T, linestyle="none", marker=".", markersize=6, **look)
        for index, end in zip((0, -1), _ENDS, strict=True):
            axes.plot(*way[[index]].T, linestyle="none", markeredgewidth=1.6, **look, **end)
