"""Images pasted in rows and columns: each of their pixels is a whole number of the figure's."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kvae.data.images.pixels import as_levels
from kvae.figures import style
from kvae.metrics import require_finite

NARROW, GAP, WIDE = 2, 6, 18
IMAGES = "(n, height, width, channels)"
_MARGIN, _LEAST_WIDTH = 28, 480
_POINT = style.DPI / 72
# Type, gaps and margins grow with larger cells: seen whole, all grids look alike.
_USUAL_CELL = 128


def as_colours(name: str, images: np.ndarray, layout: str = IMAGES) -> np.ndarray:
    """Check images and give them as colours.

    Args:
        name: what they are, for the message.
        images: floats in [0, 1] (what is outside is clipped), of 1 or 3 channels.
        layout: the names of their dimensions, as "(n, height, width, channels)".

    Returns:
        uint8 RGB, of the same shape but for the channels.

    Raises:
        ValueError: they are not as described, or not finite.
    """
    dimensions = layout.count(",") + 1
    if images.ndim != dimensions or images.shape[-1] not in (1, 3):
        raise ValueError(f"{name} must be {layout} with 1 or 3 channels: received {images.shape}")
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{name} must be floats in [0, 1]: received {images.dtype}")
    require_finite(name, images)
    levels = as_levels(images)
    return np.broadcast_to(levels, (*levels.shape[:-1], 3))


def in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay colours out in rows, the last one filled up with white."""
    blanks = -len(images) % columns
    filled = np.pad(images, [(0, blanks)] + [(0, 0)] * 3, constant_values=255)
    return filled.reshape(-1, columns, *images.shape[1:])


def signed(value: float) -> str:
    """Write a number with its sign, zero without."""
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def draw_grid(
    title: str,
    cells: np.ndarray,
    gaps: tuple[Sequence[int], Sequence[int]],
    *,
    cell_size: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    captions: Mapping[int, str] | None = None,
    notes: np.ndarray | None = None,
) -> Figure:
    """Draw cells under a title, at the left of each row its label, over each column its own.

    Args:
        title: above the grid, wrapped to its width.
        cells: `(rows, columns, height, width, 3)`, uint8 RGB.
        gaps: pixels below each row and at the right of each column, for cells of 128 pixels or
            less; those of the last row and column count for nothing.
        cell_size: about how many pixels the longer side of a cell is enlarged to; a cell that is
            larger stays as it is.
        row_labels: the same one for rows in succession is written once, in their middle.
        column_labels: centred over each column.
        captions: column -> what stands over it and those at its right. Instead of column labels.
        notes: `(rows, columns)` of str, below each cell; gaps grow where they need it.
    """
    scale = max(1, round(cell_size / max(cells.shape[2:4])))
    cells = cells.repeat(scale, axis=2).repeat(scale, axis=3)
    rows, _, cell_height, cell_width, _ = cells.shape
    zoom = max(1.0, max(cell_height, cell_width) / _USUAL_CELL)
    row_gaps, column_gaps = (np.round(zoom * np.array(part)).astype(int) for part in gaps)
    margin, near = round(zoom * _MARGIN), round(zoom * GAP)
    title_size, label_size, small_size = (
        zoom * size for size in (style.TITLE_SIZE, style.LABEL_SIZE, style.SMALL_SIZE)
    )

    under = np.zeros(rows, int)
    if notes is not None:
        under[(notes != "").any(1)] = round(1.7 * small_size * _POINT)
        row_gaps = row_gaps + under
        column_gaps = np.maximum(column_gaps, _widest(notes.flat, small_size) + near - cell_width)
    over = round(1.6 * label_size * _POINT) if column_labels or captions else 0
    labels_width = _widest(row_labels, label_size)
    left = margin + (labels_width + 2 * near if labels_width else 0)
    picture, tops, lefts = _paste(cells, row_gaps, column_gaps)
    width = max(left + picture.shape[1] + margin, round(zoom * _LEAST_WIDTH))
    title = style.wrapped(title, (width - 2 * margin) / zoom / style.DPI)
    top = margin + round((title.count("\n") + 1.6) * 1.2 * title_size * _POINT) + over
    bottom = margin + under[-1]
    height = top + picture.shape[0] + bottom

    # Half a pixel, because matplotlib cuts what is no whole number of them.
    size = (width + 0.5) / style.DPI, (height + 0.5) / style.DPI
    figure = Figure(figsize=size, dpi=style.DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.figimage(picture, left, bottom, origin="upper")
    pixels = {"transform": None}
    look = style.title_type() | {"fontsize": title_size}
    figure.text(margin, height - margin, title, va="top", **look, **pixels)
    label = {"fontsize": label_size, "color": style.MUTED, **pixels}
    for text, first, last in _runs(row_labels):
        middle = height - top - (tops[first] + tops[last] + cell_height) / 2
        figure.text(left - 2 * near, middle, text, ha="right", va="center", **label)
    for text, column in zip(column_labels, lefts, strict=False):
        middle = left + column + cell_width / 2
        figure.text(middle, height - top + near, text, ha="center", va="bottom", **label)
    for column, text in (captions or {}).items():
        place = left + lefts[column], height - top + near
        figure.text(*place, style.plain(text), va="bottom", **label | {"color": style.INK})
    for row, column in np.argwhere(notes != "") if notes is not None else ():
        place = left + lefts[column] + cell_width / 2, height - top - tops[row] - cell_height - near
        small = label | {"fontsize": small_size}
        figure.text(*place, notes[row, column], ha="center", va="top", **small)
    return figure


def _widest(texts: Sequence[str], size: float) -> int:
    """Give how many pixels the widest of some texts takes."""
    figure = Figure(dpi=style.DPI)
    renderer = FigureCanvasAgg(figure).get_renderer()
    drawn = (figure.text(0, 0, text, fontsize=size) for text in texts if text)
    return max((round(text.get_window_extent(renderer).width) for text in drawn), default=0)


def _runs(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Give each label with the first and last of the rows in succession that share it."""
    runs: list[tuple[str, int, int]] = []
    for row, label in enumerate(labels):
        first = runs.pop()[1] if runs and runs[-1][0] == label else row
        runs.append((label, first, row))
    return runs


def _paste(
    cells: np.ndarray, row_gaps: np.ndarray, column_gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put cells on white; give the picture and where the rows and the columns start."""
    rows, columns, height, width, _ = cells.shape
    tops = np.cumsum([0, *(height + row_gaps[: rows - 1])])
    lefts = np.cumsum([0, *(width + column_gaps[: columns - 1])])
    grid = np.full((tops[-1] + height, lefts[-1] + width, 3), 255, np.uint8)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            grid[top : top + height, left : left + width] = cells[row, column]
    return grid, tops, lefts
