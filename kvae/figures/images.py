"""Images of a model: what it makes, makes again, makes between others, and where it fails."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kvae.figures import style
from kvae.figures.grids import GAP, NARROW, WIDE, as_colours, draw_grid, in_rows
from kvae.metrics import require_finite

NUM_GENERATED, GENERATED_COLUMNS = 20, 5
SHEET_COLUMNS = 12
PAIR_COLUMNS, MAX_RECONSTRUCTED, MAX_WORST = 10, 40, 20
NUM_NEIGHBOURS = 5
_BETWEEN_BLOCKS = 48


def draw_generations(
    images: Mapping[str, np.ndarray], title: str, *, path: str | Path | None = None
) -> Figure:
    """Draw the first 20 images of one source, or of two side by side, four rows of five each.

    Args:
        images: source, as "from the prior" -> `(n, height, width, channels)` floats in [0, 1]
            (what is outside is clipped), of 1 or 3 channels; two sources have images of one size.
        title: above all.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: there are no or over two sources, or the images are not as described, or not
            finite.
    """
    style.series(images)
    shapes = {name: part.shape[1:] for name, part in images.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"images of both sources must be of one size: received {shapes}")
    checked = [as_colours(name, part)[:NUM_GENERATED] for name, part in images.items()]
    most = max(map(len, checked))
    blocks = [
        in_rows(np.pad(part, [(0, most - len(part))] + [(0, 0)] * 3, constant_values=255),
                GENERATED_COLUMNS)
        for part in checked
    ]  # fmt: skip
    cells = np.concatenate(blocks, axis=1)
    column_gaps = ([GAP] * (GENERATED_COLUMNS - 1) + [_BETWEEN_BLOCKS]) * len(blocks)
    captions = {index * GENERATED_COLUMNS: name for index, name in enumerate(images)}
    gaps = [GAP] * len(cells), column_gaps
    figure = draw_grid(title, cells, gaps, cell_size=160, captions=captions, path=path)
    return style.finished(figure, path)


def draw_sheet(images: np.ndarray, title: str, *, path: str | Path | None = None) -> Figure:
    """Draw images in rows of twelve.

    Args:
        images: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of 1
            or 3 channels.
        title: above the grid.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described, or not finite.
    """
    cells = in_rows(as_colours("images", images), SHEET_COLUMNS)
    gaps = [GAP] * len(cells), [GAP] * SHEET_COLUMNS
    return style.finished(draw_grid(title, cells, gaps, cell_size=96, path=path), path)


def draw_reconstruction(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw the first 40 originals, ten in a row, each over its reconstruction.

    Args:
        originals: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of
            1 or 3 channels.
        reconstructions: of the same shape.
        title: above the grid.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described or not finite, or the shapes differ.
    """
    _require_same_shape(originals, reconstructions)
    rows = np.arange(min(len(originals), MAX_RECONSTRUCTED))
    return _pairs(path, title, originals[rows], reconstructions[rows])


def draw_worst(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    scores_db: np.ndarray,
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw the 20 worst of some reconstructions, the worst first, each under its original.

    Args:
        originals: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of
            1 or 3 channels.
        reconstructions: of the same shape.
        scores_db: `(n,)`, the peak signal-to-noise ratio of each, decibels; written below it.
        title: above the grid.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described or not finite, or the shapes differ.
    """
    _require_same_shape(originals, reconstructions)
    scores_db = np.asarray(scores_db, np.float64)
    require_finite("scores_db", scores_db)
    if scores_db.shape != originals.shape[:1]:
        raise ValueError(
            f"scores_db must be one for each of {len(originals)} images: received {scores_db.shape}"
        )
    rows = np.argsort(scores_db, kind="stable")[:MAX_WORST]
    words = [f"{score:.1f} dB".replace("-", "\N{MINUS SIGN}") for score in scores_db[rows]]
    return _pairs(path, title, originals[rows], reconstructions[rows], words)


def draw_interpolation(
    rows: np.ndarray,
    title: str,
    originals: np.ndarray | None = None,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw what lies between pairs of images, one pair in a row.

    Args:
        rows: `(pairs, steps, height, width, channels)` floats in [0, 1] (what is outside is
            clipped), of 1 or 3 channels; the steps are at equal fractions from 0 to 1, which head
            the columns.
        title: above the grid.
        originals: `(pairs, 2, height, width, channels)`, the real images that the ends stand for;
            they are set apart at both sides. Without them only the steps are drawn.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described or not finite, or there are under two steps.
    """
    layout = "(pairs, steps, height, width, channels)"
    cells = as_colours("rows", rows, layout)
    steps = cells.shape[1]
    if steps < 2:
        raise ValueError(f"an interpolation has at least 2 steps: received {steps}")
    labels = [f"{step / (steps - 1):.2g}" for step in range(steps)]
    column_gaps = [NARROW] * steps
    if originals is not None:
        real = as_colours("originals", originals, layout)
        if real.shape != (len(cells), 2, *cells.shape[2:]):
            raise ValueError(
                f"originals must be two for each of the rows {rows.shape}: "
                f"received {originals.shape}"
            )
        cells = np.concatenate([real[:, :1], cells, real[:, 1:]], axis=1)
        labels = ["real", *labels, "real"]
        column_gaps = [WIDE, *column_gaps[:-1], WIDE, GAP]
    gaps = [GAP] * len(cells), column_gaps
    figure = draw_grid(title, cells, gaps, cell_size=96, column_labels=labels, path=path)
    return style.finished(figure, path)


def draw_neighbours(
    samples: np.ndarray,
    neighbours: np.ndarray,
    distances: np.ndarray,
    title: str,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw each sample beside the five images of the training data that are nearest to it.

    Args:
        samples: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of 1
            or 3 channels.
        neighbours: `(n, 5, height, width, channels)`, the nearest first.
        distances: `(n, 5)`, written below each; what they are, the title says.
        title: above the grid.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described, or something is not finite.
    """
    samples_shape, wanted = samples.shape, (len(samples), NUM_NEIGHBOURS, *samples.shape[1:])
    if neighbours.shape != wanted or np.shape(distances) != wanted[:2]:
        raise ValueError(
            f"samples {samples_shape} have neighbours {wanted} with distances {wanted[:2]}: "
            f"received {neighbours.shape} and {np.shape(distances)}"
        )
    require_finite("distances", np.asarray(distances, np.float64))
    near = as_colours("neighbours", neighbours, "(n, 5, height, width, channels)")
    cells = np.concatenate([as_colours("samples", samples)[:, None], near], axis=1)
    notes = np.array([["", *(f"{distance:.3g}" for distance in row)] for row in distances])
    figure = draw_grid(
        title, cells, ([GAP] * len(cells), [WIDE] + [GAP] * NUM_NEIGHBOURS), cell_size=128,
        column_labels=["sample", "nearest", "2nd", "3rd", "4th", "5th"], notes=notes, path=path,
    )  # fmt: skip
    return style.finished(figure, path)


def _require_same_shape(originals: np.ndarray, reconstructions: np.ndarray) -> None:
    if originals.shape != reconstructions.shape:
        raise ValueError(
            f"shapes must be equal: received originals {originals.shape}, "
            f"reconstructions {reconstructions.shape}"
        )


def _pairs(
    path: str | Path | None,
    title: str,
    originals: np.ndarray,
    reconstructions: np.ndarray,
    words: list[str] | None = None,
) -> Figure:
    """Draw originals, ten in a row, each over its reconstruction and words below that."""
    upper = in_rows(as_colours("originals", originals), PAIR_COLUMNS)
    lower = in_rows(as_colours("reconstructions", reconstructions), PAIR_COLUMNS)
    pairs = len(upper)
    cells = np.stack([upper, lower], axis=1).reshape(2 * pairs, *upper.shape[1:])
    notes = None
    if words is not None:
        notes = np.full((pairs, 2, PAIR_COLUMNS), "", dtype=object)
        filled = words + [""] * (pairs * PAIR_COLUMNS - len(words))
        notes[:, 1] = np.reshape(filled, (pairs, PAIR_COLUMNS))
        notes = notes.reshape(2 * pairs, PAIR_COLUMNS)
    figure = draw_grid(
        title, cells, ([NARROW, WIDE] * pairs, [GAP] * PAIR_COLUMNS), cell_size=96,
        row_labels=["original", "reconstruction"] * pairs, notes=notes, path=path,
    )  # fmt: skip
    return style.finished(figure, path)
