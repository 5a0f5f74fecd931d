"""Maps of the latent space: by t-SNE (van der Maaten & Hinton 2008), and straight ones."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kvae.data.rows import chosen_rows
from kvae.figures import style
from kvae.figures.labels import name_groups
from kvae.metrics import require_finite
from kvae.probability.streams import generator

MAX_POINTS, MIN_POINTS, MAX_PERPLEXITY = 2000, 5, 30.0
# With steps of a tenth of the points (at this size four times scikit-learn's own choice), 600
# iterations end within 1% of the divergence that 1,000 of its own reach, in 0.6 of the time.
_ITERATIONS, _POINTS_PER_STEP = 600, 10
_LONGEST_NAME = 24


def shown_rows(count: int, seed: int) -> np.ndarray:
    """Give the rows that `draw_tsne` draws: all, or 2,000 at random in their order."""
    return chosen_rows(count, MAX_POINTS, generator(seed, "map rows"))


def draw_tsne(
    latents: np.ndarray,
    labels: np.ndarray,
    label_name: str,
    title: str,
    *,
    seed: int,
    class_names: Sequence[str] = (),
    path: str | Path | None = None,
) -> Figure:
    """Draw two maps of latents, coloured by a label: by t-SNE, and along straight axes.

    The straight axes are the two principal ones, or of two dimensions those themselves: t-SNE shows
    who is near whom, they show how far apart. At most 2,000 rows are drawn, those of `shown_rows`.
    A latent of one dimension needs no map: it is drawn as it is, strewn at random upwards.

    Args:
        latents: `(n, latent_dim)`, 5 rows or more.
        labels: `(n,)`: bool (the rarer value is drawn on top), whole numbers (a colour for each up
            to 50 of them, beyond that a colour bar) or floats (a colour bar).
        label_name: what the labels are; "" if they say nothing.
        title: above the maps.
        seed: of the choice of rows and of t-SNE.
        class_names: of the labels 0, 1, ..., if they are whole numbers with names.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the arrays are not as described, or not finite.
    """
    latents, labels = np.asarray(latents), np.asarray(labels)
    if latents.ndim != 2 or labels.shape != latents.shape[:1] or len(latents) < MIN_POINTS:
        raise ValueError(
            f"latents must be (n >= {MIN_POINTS}, latent_dim) with a label for each row: "
            f"received {latents.shape} and labels {labels.shape}"
        )
    require_finite("latents", latents)
    require_finite("labels", labels)
    if class_names and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise ValueError(
            f"labels must be below {len(class_names)}, the number of class names: "
            f"received {labels.min()} to {labels.max()}"
        )
    label_name = style.plain(label_name, _LONGEST_NAME)
    rows = shown_rows(len(latents), seed)
    shown = latents[rows].astype(np.float64)
    places, method = coordinates(shown, seed)
    count = f"{len(rows):,} of {len(latents):,} points"
    if latents.shape[1] == 1:
        figure = style.new_figure(7.6, 7.4, title, path)
        panels, points = [figure.add_subplot()], [places]
        style.caption(panels[0], f"{count}; {method}; seed {seed}")
        panels[0].spines["left"].set_visible(False)
    else:
        figure = style.new_figure(13.0, 7.2, title, path)
        panels = list(figure.subplots(1, 2))
        straight, words, names = _straight(shown)
        points = [places, straight]
        style.caption(panels[0], f"{count}; {method}; seed {seed}")
        style.caption(panels[1], words)
        panels[0].set(xticks=[])
        panels[0].spines[:].set_visible(False)
        panels[1].set(xlabel=names[0], ylabel=names[1])
        for axes in panels:
            axes.set(aspect="equal", adjustable="datalim")
    for axes in panels:
        style.clean(axes)
    panels[0].set(yticks=[])
    _draw(figure, panels, points, labels[rows], label_name, class_names)
    return style.finished(figure, path)


def coordinates(latents: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Give where the map by t-SNE, or the only one, has its rows; the last answer is kept.

    Args:
        latents: `(n, latent_dim)` float64.
        seed: of t-SNE.

    Returns:
        `(n, 2)` float64, and the words for how that was found.
    """
    rows = np.ascontiguousarray(latents)
    places, words = _coordinates(rows.tobytes(), rows.dtype.str, rows.shape, seed)
    return places.copy(), words


@lru_cache(maxsize=1)  # a figure that is written twice is a map that takes long once
def _coordinates(
    content: bytes, dtype: str, shape: tuple[int, ...], seed: int
) -> tuple[np.ndarray, str]:
    latents = np.frombuffer(content, dtype).reshape(shape)
    if latents.shape[1] == 1:
        upwards = generator(seed, "map heights").uniform(0, 1, len(latents))
        words = "the only latent dimension to the right, chance upwards"
        return np.stack([latents[:, 0], upwards], axis=1), words
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(MAX_PERPLEXITY, (len(latents) - 1) / 3)
    # Only ratios of distances matter to t-SNE, but its numbers do not bear every scale.
    spread = latents.std(0).max()
    centred = (latents - latents.mean(0)) / (spread if spread > 0 else 1)
    # A collapsed posterior has one mean for every x, and then no principal axis to start from.
    init = "pca" if spread > 0 else "random"
    tsne = TSNE(
        2, perplexity=perplexity, init=init, random_state=seed, max_iter=_ITERATIONS,
        learning_rate=max(50.0, len(latents) / _POINTS_PER_STEP),
    )  # fmt: skip
    words = f"t-SNE, perplexity {perplexity:.2g}: near means alike, far means little"
    # Its threads wait for each other at every step: on a busy machine, minutes instead of seconds.
    with threadpool_limits(1):
        return tsne.fit_transform(centred.astype(np.float32)).astype(np.float64), words


def _straight(latents: np.ndarray) -> tuple[np.ndarray, str, tuple[str, str]]:
    """Give where to draw the rows along straight axes, how those were found, and their names."""
    if latents.shape[1] == 2:
        return latents, "the two latent dimensions as they are", ("dimension 1", "dimension 2")
    centred = latents - latents.mean(0)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    # Either end of an axis may be the right one: that with the largest part is.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    shares = variances[:-3:-1].clip(0) / max(variances.sum(), np.finfo(float).tiny)
    names = [f"principal axis {i + 1} ({share:.0%})" for i, share in enumerate(shares)]
    words = f"the first two principal axes, {shares.sum():.0%} of the variance"
    return centred @ axes, words, (names[0], names[1])


def _draw(
    figure: Figure,
    panels: list[Axes],
    points: list[np.ndarray],
    labels: np.ndarray,
    label_name: str,
    class_names: Sequence[str],
) -> None:
    if not label_name:
        for axes, own in zip(panels, points, strict=True):
            style.scatter(axes, own, np.zeros(len(own), int), s=9)
    elif labels.dtype == bool:
        _draw_two(figure, panels, points, labels, label_name)
    elif np.issubdtype(labels.dtype, np.integer) and len(np.unique(labels)) <= style.MAX_GROUPS:
        _draw_groups(figure, panels, points, labels, label_name, class_names)
    else:
        look = {"s": 9, "linewidths": 0, "alpha": 0.8, "cmap": "viridis"}
        for axes, own in zip(panels, points, strict=True):
            drawn = axes.scatter(*own.T, c=labels, **look)
        style.colour_bar(figure, drawn, panels, label_name)


def _draw_two(
    figure: Figure, panels: list[Axes], points: list[np.ndarray], labels: np.ndarray,
    label_name: str,
) -> None:  # fmt: skip
    rarer = labels.mean() <= 0.5
    handles = []
    for value in (not rarer, rarer):
        own = labels == value
        colour = style.COLOURS[5] if value else style.COLOURS[0]
        for axes, places in zip(panels, points, strict=True):
            axes.scatter(*places[own].T, c=colour, s=9, linewidths=0, alpha=0.7)
        words = f"{'yes' if value else 'no'} ({own.sum():,})"
        look = {"linestyle": "none", "marker": "o", "markersize": 5, "markeredgewidth": 0}
        handles.append(Line2D([], [], color=colour, label=words, **look))
    style.legend(figure, handles, label_name)


def _draw_groups(
    figure: Figure,
    panels: list[Axes],
    points: list[np.ndarray],
    labels: np.ndarray,
    label_name: str,
    class_names: Sequence[str],
) -> None:
    values, groups = np.unique(labels, return_inverse=True)
    words = [str(class_names[value] if class_names else value) for value in values]
    names = [style.plain(text, _LONGEST_NAME) for text in words]
    # The rarest last: drawn over the others, it is not hidden by them.
    last = np.argsort(-np.bincount(groups)[groups], kind="stable")
    many = len(values) > len(style.COLOURS)
    for axes, places in zip(panels, points, strict=True):
        style.scatter(axes, places[last], groups[last], s=12 if many else 9)
    handles = style.group_handles(np.arange(len(values)))
    for name, handle in zip(names, handles, strict=True):
        handle.set_label(name)
    style.legend(figure, handles, label_name)
    for axes, places in zip(panels, points, strict=True):
        name_groups(figure, axes, places, groups, names)
