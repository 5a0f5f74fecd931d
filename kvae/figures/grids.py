"""Images pasted in rows and columns; in a PNG each of their pixels is a whole number of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kvae.data.images.pixels import as_levels
from kvae.figures import style
from kvae.metrics import require_finite

NARROW, GAP, WIDE = 2, 6, 18
IMAGES = "(n, height, width, channels)"
# Pixels of a PNG whose cells have the usual size.
_MARGIN, _PRINT_MARGIN, _LEAST_WIDTH = 28, 4, 480
_POINT = style.DPI / 72
# Type, gaps and margins grow with larger cells: seen whole, all grids look alike.
_USUAL_CELL = 128
# In print type has its own size, and the cells what room that leaves.
_LARGEST_CELL = 1.25  # inches
_FINER, _MOST_TRIED = 1.02, 300  # from a size that is tried to the next, and how many there are


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
    path: str | Path | None = None,
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
        path: where the figure will be written: one for print is as wide as a column.
    """
    scale = max(1, round(cell_size / max(cells.shape[2:4])))
    cells = cells.repeat(scale, axis=2).repeat(scale, axis=3)
    cell_height, cell_width = cells.shape[2:4]
    zoom = max(1.0, max(cell_height, cell_width) / _USUAL_CELL)
    row_gaps, column_gaps = (np.round(zoom * np.array(part)).astype(int) for part in gaps)
    is_printed = style.is_printed(path)
    grown = 1.0 if is_printed else zoom
    title_type = style.title_type(path)
    title_size = title_type.pop("fontsize")
    sheet = _Sheet(
        title, cells, row_gaps, column_gaps, row_labels, bool(column_labels or captions), notes,
        title_size=title_size, margin=_PRINT_MARGIN if is_printed else _MARGIN, grown=grown,
    )  # fmt: skip
    places = _in_print(sheet) if is_printed else sheet.places(zoom)
    picture = _paste(cells, places.tops, places.lefts)

    # Half a pixel, because matplotlib cuts what is no whole number of them.
    size = np.array([places.width + 0.5, places.height + 0.5])
    inches = size / places.per_inch
    figure = Figure(figsize=(inches[0], inches[1]), dpi=style.DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_label(title)
    left, top, near = places.left, places.top, places.near
    high, wide = picture.shape[:2]
    axes = figure.add_axes(
        (left / size[0], (places.height - top - high) / size[1], wide / size[0], high / size[1])
    )
    axes.imshow(picture, interpolation="none", aspect="auto")
    axes.axis("off")

    def write(x: float, y: float, text: str, points: float, **look: Any) -> None:
        look = {"color": style.MUTED, **look}
        place = x / size[0], (places.height - y) / size[1]
        figure.text(*place, text, fontsize=grown * points, **look)

    write(places.margin, places.margin, places.title, title_size, va="top", **title_type)
    for text, first, last in _runs(row_labels):
        middle = top + (places.tops[first] + places.tops[last] + cell_height) / 2
        write(left - 2 * near, middle, text, style.LABEL_SIZE, ha="right", va="center")
    for text, column in zip(column_labels, places.lefts, strict=False):
        middle = left + column + cell_width / 2
        write(middle, top - near, text, style.LABEL_SIZE, ha="center", va="bottom")
    for column, text in (captions or {}).items():
        place = left + places.lefts[column], top - near
        write(*place, style.plain(text), style.LABEL_SIZE, va="bottom", color=style.INK)
    for row, column in np.argwhere(notes != "") if notes is not None else ():
        middle = left + places.lefts[column] + cell_width / 2
        below = top + places.tops[row] + cell_height + near
        write(middle, below, notes[row, column], style.SMALL_SIZE, ha="center", va="top")
    return figure


class _Places(NamedTuple):
    """Where all of a grid stands, in pixels of its picture, from the left and from the top.

    Args:
        per_inch: pixels in an inch of the figure.
        title: in lines.
        tops: of the rows, within the picture.
        lefts: of the columns, within the picture.
        margin: around all.
        near: between a cell and what is written beside it.
        left: of the picture.
        top: of the picture.
        width: of the figure.
        height: of the figure.
    """

    per_inch: float
    title: str
    tops: np.ndarray
    lefts: np.ndarray
    margin: int
    near: int
    left: int
    top: int
    width: int
    height: int


class _Sheet:
    """A grid whose type may have any size beside its cells.

    Args:
        title: above it.
        cells: `(rows, columns, height, width, 3)`, as large as they are drawn.
        row_gaps: pixels below each row.
        column_gaps: pixels at the right of each column.
        row_labels: at the left of the rows.
        has_heads: whether something stands over the columns.
        notes: below the cells.
        title_size: points.
        margin: around all, in pixels of a PNG whose cells have the usual size.
        grown: how many times as large as its usual size type is.
    """

    def __init__(
        self,
        title: str,
        cells: np.ndarray,
        row_gaps: np.ndarray,
        column_gaps: np.ndarray,
        row_labels: Sequence[str],
        has_heads: bool,
        notes: np.ndarray | None,
        *,
        title_size: float,
        margin: int,
        grown: float,
    ):
        self._title, self.cells, self._notes = title, cells, notes
        self._row_gaps, self._column_gaps, self._has_heads = row_gaps, column_gaps, has_heads
        self._title_size, self._margin, self._grown = title_size, margin, grown
        self._labels_width = _widest(row_labels, grown * style.LABEL_SIZE) / grown
        words = [] if notes is None else list(notes.flat)
        self._notes_width = _widest(words, grown * style.SMALL_SIZE) / grown

    def places(self, unit: float) -> _Places:
        """Where all stands.

        Args:
            unit: pixels of the picture in one of a PNG whose cells have the usual size.
        """
        rows, columns, cell_height, cell_width, _ = self.cells.shape
        row_gaps, column_gaps, point = self._row_gaps, self._column_gaps, unit * _POINT
        margin, near = round(unit * self._margin), round(unit * GAP)
        under = np.zeros(rows, int)
        if self._notes is not None:
            under[(self._notes != "").any(1)] = round(1.7 * point * style.SMALL_SIZE)
            row_gaps = row_gaps + under
            room = round(unit * self._notes_width) + near - cell_width
            column_gaps = np.maximum(column_gaps, room)
        over = round(1.6 * point * style.LABEL_SIZE) if self._has_heads else 0
        labels_width = round(unit * self._labels_width)
        left = margin + (labels_width + 2 * near if labels_width else 0)
        tops = np.cumsum([0, *(cell_height + row_gaps[: rows - 1])])
        lefts = np.cumsum([0, *(cell_width + column_gaps[: columns - 1])])
        width = max(left + int(lefts[-1]) + cell_width + margin, round(unit * _LEAST_WIDTH))
        inches = (width - 2 * margin) / unit / style.DPI
        title = style.wrapped(self._title, inches, self._title_size)
        lines = title.count("\n") + 1.6
        top = margin + round(lines * 1.2 * point * self._title_size) + over
        height = top + int(tops[-1]) + cell_height + margin + int(under[-1])
        per_inch = style.DPI * unit / self._grown
        return _Places(per_inch, title, tops, lefts, margin, near, left, top, width, height)


def _in_print(sheet: _Sheet) -> _Places:
    """Give the cells as much of a column as the type leaves, and no more than of a page."""
    unit = max(sheet.cells.shape[2:4]) / _LARGEST_CELL / style.DPI
    for _ in range(_MOST_TRIED):
        places = sheet.places(unit)
        wide, high = places.width / places.per_inch, places.height / places.per_inch
        if wide <= style.PRINT_WIDTH and high <= style.PRINT_HEIGHT:
            break
        unit *= _FINER
    return places


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


def _paste(cells: np.ndarray, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Put cells on white."""
    height, width = cells.shape[2:4]
    grid = np.full((tops[-1] + height, lefts[-1] + width, 3), 255, np.uint8)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            grid[top : top + height, left : left + width] = cells[row, column]
    return grid
