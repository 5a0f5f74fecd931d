"""Grids of images; every pixel of an image is a whole number of pixels of the figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kvae.figures import style
from kvae.metrics import require_finite

NUM_GENERATED, GENERATED_COLUMNS = 20, 5
SHEET_COLUMNS = 12
RECONSTRUCTED_COLUMNS, MAX_RECONSTRUCTED_PAIRS = 10, 4
_MARGIN, _NARROW, _GAP, _WIDE = 28, 2, 6, 18
_POINT = style.DPI / 72


def save_generation(path: str | Path, images: np.ndarray, title: str) -> None:
    """Draw the first 20 images, four rows of five.

    Args:
        path: of the PNG.
        images: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of 1
            or 3 channels.
        title: above the grid.

    Raises:
        ValueError: the images are not as described, or not finite.
    """
    images = _colours("images", images, "(n, height, width, channels)")[:NUM_GENERATED]
    cells = _in_rows(images, GENERATED_COLUMNS)
    gaps = [_GAP] * len(cells), [_GAP] * GENERATED_COLUMNS
    _write_grid(path, title, cells, gaps, cell_size=160)


def save_sheet(path: str | Path, images: np.ndarray, title: str) -> None:
    """Draw images in rows of twelve.

    Args:
        path: of the PNG.
        images: see `save_generation`.
        title: above the grid.

    Raises:
        ValueError: see `save_generation`.
    """
    cells = _in_rows(_colours("images", images, "(n, height, width, channels)"), SHEET_COLUMNS)
    gaps = [_GAP] * len(cells), [_GAP] * SHEET_COLUMNS
    _write_grid(path, title, cells, gaps, cell_size=96)


def save_reconstruction(
    path: str | Path, originals: np.ndarray, reconstructions: np.ndarray, title: str
) -> None:
    """Draw the first 40 originals, ten in a row, each over its reconstruction.

    Args:
        path: of the PNG.
        originals: `(n, height, width, channels)` floats in [0, 1] (what is outside is clipped), of
            1 or 3 channels.
        reconstructions: of the same shape.
        title: above the grid.

    Raises:
        ValueError: the images are not as described or not finite, or the shapes differ.
    """
    if originals.shape != reconstructions.shape:
        raise ValueError(
            f"shapes must be equal: received originals {originals.shape}, "
            f"reconstructions {reconstructions.shape}"
        )
    rows = [
        _in_rows(
            _colours(name, images, "(n, height, width, channels)")[
                : RECONSTRUCTED_COLUMNS * MAX_RECONSTRUCTED_PAIRS
            ],
            RECONSTRUCTED_COLUMNS,
        )
        for name, images in (("originals", originals), ("reconstructions", reconstructions))
    ]
    pairs = len(rows[0])
    cells = np.stack(rows, axis=1).reshape(2 * pairs, *rows[0].shape[1:])
    gaps = [_NARROW, _WIDE] * pairs, [_GAP] * RECONSTRUCTED_COLUMNS
    _write_grid(
        path, title, cells, gaps, cell_size=96, row_labels=["original", "reconstruction"] * pairs
    )


def save_interpolation(
    path: str | Path, rows: np.ndarray, title: str, originals: np.ndarray | None = None
) -> None:
    """Draw what lies between pairs of images, one pair in a row.

    Args:
        path: of the PNG.
        rows: `(pairs, steps, height, width, channels)` floats in [0, 1] (what is outside is
            clipped), of 1 or 3 channels; the steps are at equal fractions from 0 to 1, which head
            the columns.
        title: above the grid.
        originals: `(pairs, 2, height, width, channels)`, the real images that the ends stand for;
            they are set apart at both sides. Without them only the steps are drawn.

    Raises:
        ValueError: the images are not as described or not finite, or there are under two steps.
    """
    layout = "(pairs, steps, height, width, channels)"
    cells = _colours("rows", rows, layout)
    steps = cells.shape[1]
    if steps < 2:
        raise ValueError(f"an interpolation has at least 2 steps: received {steps}")
    labels = [f"{step / (steps - 1):.2g}" for step in range(steps)]
    column_gaps = [_NARROW] * steps
    if originals is not None:
        real = _colours("originals", originals, layout)
        if real.shape != (len(cells), 2, *cells.shape[2:]):
            raise ValueError(
                f"originals must be two for each of the rows {rows.shape}: "
                f"received {originals.shape}"
            )
        cells = np.concatenate([real[:, :1], cells, real[:, 1:]], axis=1)
        labels = ["real", *labels, "real"]
        column_gaps = [_WIDE, *column_gaps[:-1], _WIDE, _GAP]
    gaps = [_GAP] * len(cells), column_gaps
    _write_grid(path, title, cells, gaps, cell_size=96, column_labels=labels)


def _colours(name: str, images: np.ndarray, layout: str) -> np.ndarray:
    """Check images and give them as uint8 RGB."""
    dimensions = layout.count(",") + 1
    if images.ndim != dimensions or images.shape[-1] not in (1, 3):
        raise ValueError(f"{name} must be {layout} with 1 or 3 channels: received {images.shape}")
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{name} must be floats in [0, 1]: received {images.dtype}")
    require_finite(name, images)
    levels = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:-1], 3))


def _in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images out in rows, the last one filled up with white."""
    blanks = -len(images) % columns
    filled = np.pad(images, [(0, blanks)] + [(0, 0)] * 3, constant_values=255)
    return filled.reshape(-1, columns, *images.shape[1:])


def _write_grid(
    path: str | Path,
    title: str,
    cells: np.ndarray,
    gaps: tuple[list[int], list[int]],
    *,
    cell_size: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> None:
    """Draw uint8 RGB cells `(rows, columns, height, width, 3)`, enlarged to about `cell_size`."""
    scale = max(1, round(cell_size / max(cells.shape[2:4])))
    grid, tops, lefts = _paste(cells.repeat(scale, axis=2).repeat(scale, axis=3), *gaps)
    left = _MARGIN + round(0.62 * style.LABEL_SIZE * _POINT * max(map(len, row_labels), default=0))
    width = left + grid.shape[1] + _MARGIN
    title = style.wrapped(title, (width - 2 * _MARGIN) / style.DPI)
    top = _MARGIN + round((title.count("\n") + 1.6) * 1.2 * style.TITLE_SIZE * _POINT)
    top += round(1.6 * style.LABEL_SIZE * _POINT) if column_labels else 0
    height = top + grid.shape[0] + _MARGIN

    figure = Figure(figsize=(width / style.DPI, height / style.DPI), dpi=style.DPI)
    FigureCanvasAgg(figure)
    figure.figimage(grid, left, _MARGIN, origin="upper")
    pixels = {"transform": None}
    figure.text(_MARGIN, height - _MARGIN, title, va="top", **style.title_type(), **pixels)
    label = {"fontsize": style.LABEL_SIZE, "color": style.MUTED, **pixels}
    cell_height, cell_width = (scale * side for side in cells.shape[2:4])
    for text, row in zip(row_labels, tops, strict=False):
        middle = height - top - row - cell_height / 2
        figure.text(left - 2 * _GAP, middle, text, ha="right", va="center", **label)
    for text, column in zip(column_labels, lefts, strict=False):
        middle = left + column + cell_width / 2
        figure.text(middle, height - top + _GAP, text, ha="center", va="bottom", **label)
    style.write(figure, path)


def _paste(
    cells: np.ndarray, row_gaps: list[int], column_gaps: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put cells on white; give the picture and where the rows and the columns start."""
    rows, columns, height, width, _ = cells.shape
    tops = np.cumsum([0, *(height + gap for gap in row_gaps[: rows - 1])])
    lefts = np.cumsum([0, *(width + gap for gap in column_gaps[: columns - 1])])
    grid = np.full((tops[-1] + height, lefts[-1] + width, 3), 255, np.uint8)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            grid[top : top + height, left : left + width] = cells[row, column]
    return grid, tops, lefts
