"""A map of the latent space by t-SNE (van der Maaten & Hinton 2008)."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from kvae.figures import style
from kvae.metrics import require_finite

MAX_POINTS, MIN_POINTS, MAX_PERPLEXITY = 3000, 5, 30.0


def shown_rows(count: int, seed: int) -> np.ndarray:
    """Give the rows that `save_tsne` draws: all, or 3,000 at random in their order."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_POINTS, replace=False))


def save_tsne(
    path: str | Path, latents: np.ndarray, labels: np.ndarray, label_name: str, seed: int
) -> np.ndarray:
    """Draw a two-dimensional map of latents, coloured by a label.

    At most 3,000 rows are drawn, those of `shown_rows`. A latent of one dimension needs no map: it
    is drawn as it is, strewn at random upwards.

    Args:
        path: of the PNG.
        latents: `(n, latent_dim)`, 5 rows or more.
        labels: `(n,)`: bool (the rarer value is drawn on top), whole numbers (a colour for each up
            to 50 of them, beyond that a colour bar) or floats (a colour bar).
        label_name: what the labels are.
        seed: of the choice of rows and of t-SNE.

    Returns:
        `(min(n, 3000), 2)` float64, where the rows of `shown_rows(n, seed)` were drawn.

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
    rows = shown_rows(len(latents), seed)
    coordinates, method = _coordinates(latents[rows].astype(np.float64), seed)
    count = f"{len(rows):,} of {len(latents):,} points"
    figure = style.new_figure(7.6, 7.4, f"The latent space, coloured by {label_name}")
    axes = figure.add_subplot()
    _draw(figure, axes, coordinates, labels[rows], label_name)
    style.clean(axes)
    if latents.shape[1] > 1:
        axes.set(xticks=[], aspect="equal", adjustable="datalim")
        axes.spines[:].set_visible(False)
    axes.set(yticks=[])
    axes.spines["left"].set_visible(False)
    style.caption(axes, f"{count}; {method}; seed {seed}")
    style.write(figure, path)
    return coordinates


def _coordinates(latents: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Give where to draw the rows, and the words for how that was found."""
    if latents.shape[1] == 1:
        # A stream of its own: labels may well have been drawn from the plain seed.
        upwards = np.random.default_rng((seed, 1)).uniform(0, 1, len(latents))
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
    tsne = TSNE(2, perplexity=perplexity, init=init, random_state=seed)
    words = f"t-SNE, perplexity {perplexity:g}: near means alike, far means little"
    # Its threads wait for each other at every step: on a busy machine, minutes instead of seconds.
    with threadpool_limits(1):
        return tsne.fit_transform(centred.astype(np.float32)).astype(np.float64), words


def _draw(
    figure: Figure, axes: Axes, points: np.ndarray, labels: np.ndarray, label_name: str
) -> None:
    if labels.dtype == bool:
        _draw_two(figure, axes, points, labels, label_name)
    elif np.issubdtype(labels.dtype, np.integer) and len(np.unique(labels)) <= style.MAX_GROUPS:
        _draw_groups(figure, axes, points, labels, label_name)
    else:
        drawn = axes.scatter(*points.T, c=labels, s=9, linewidths=0, alpha=0.8, cmap="viridis")
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, pad=0.02)
        bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=style.SMALL_SIZE, labelcolor=style.MUTED, length=0)
        bar.set_label(label_name, fontsize=style.SMALL_SIZE, color=style.MUTED)


def _draw_two(
    figure: Figure, axes: Axes, points: np.ndarray, labels: np.ndarray, label_name: str
) -> None:
    rarer = labels.mean() <= 0.5
    handles = []
    for value in (not rarer, rarer):
        own = labels == value
        colour = style.COLOURS[5] if value else style.COLOURS[0]
        axes.scatter(*points[own].T, c=colour, s=9, linewidths=0, alpha=0.7)
        words = f"{'yes' if value else 'no'} ({own.sum():,})"
        look = {"linestyle": "none", "marker": "o", "markersize": 5, "markeredgewidth": 0}
        handles.append(Line2D([], [], color=colour, label=words, **look))
    style.legend(figure, handles, label_name)


def _draw_groups(
    figure: Figure, axes: Axes, points: np.ndarray, labels: np.ndarray, label_name: str
) -> None:
    values, groups = np.unique(labels, return_inverse=True)
    many = len(values) > len(style.COLOURS)
    style.scatter(axes, points, groups, s=12 if many else 9)
    handles = style.group_handles(np.arange(len(values)))
    look = {"fontsize": style.LABEL_SIZE, "fontweight": "bold", "va": "center", "xytext": (0, 0)}
    if many:  # small and above their group, which they might hide
        look = {"fontsize": style.SMALL_SIZE, "va": "bottom", "xytext": (0, 3)}
    look["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    for group, (value, handle) in enumerate(zip(values, handles, strict=True)):
        handle.set_label(str(value))
        own = points[groups == group]
        # The point nearest to the median is one of the group's own, even if the group is a ring.
        place = own[np.linalg.norm(own - np.median(own, axis=0), axis=1).argmin()]
        axes.annotate(
            str(value), place, textcoords="offset points", ha="center", color=style.INK, **look
        )
    style.legend(figure, handles, label_name)
