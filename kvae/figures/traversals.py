"""What moves in an image when one thing moves in latent space: a dimension, or an attribute."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from kvae.figures import style
from kvae.figures.grids import GAP, NARROW, WIDE, as_colours, draw_grid, in_rows, signed
from kvae.metrics import require_finite

_LARGEST_MOVING, _STEP_MS, _END_MS = 160, 110, 500
_LONGEST_LABEL, _PALETTE_STRIDE = 28, 4
_LAYOUT = "(rows, steps, height, width, channels)"


def draw_traversals(
    rows: np.ndarray,
    row_labels: Sequence[str],
    values: Sequence[float],
    title: str,
    *,
    path: str | Path | None = None,
    gif_path: str | Path | None = None,
) -> Figure:
    """Draw what each latent dimension does: as a grid, and moving to and fro without end.

    In the GIF all dimensions move at once, each in a picture of its own; its 256 colours are the
    same in every frame, and images of over 160 pixels are made smaller by a whole number.

    Args:
        rows: `(dimensions, steps, height, width, channels)` floats in [0, 1] (what is outside is
            clipped), of 1 or 3 channels.
        row_labels: of each dimension, as "z7  4.1 nats".
        values: of the latent at each step, in standard deviations, rising.
        title: above both.
        path: where it is written, as `style.finished` does; None: nowhere.
        gif_path: where the moving pictures are written; None: they are not made.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described, values do not rise, or something is not finite.
    """
    cells = as_colours("rows", rows, _LAYOUT)
    _check_steps("values", values, cells.shape[1])
    if len(row_labels) != len(cells):
        raise ValueError(f"{len(cells)} rows have a label each: received {list(row_labels)}")
    labels = [style.plain(label, _LONGEST_LABEL) for label in row_labels]
    words = [signed(value) + ("\N{GREEK SMALL LETTER SIGMA}" if value else "") for value in values]
    gaps = [GAP] * len(cells), [NARROW] * len(words)
    figure = draw_grid(
        title, cells, gaps, cell_size=96, row_labels=labels, column_labels=words, path=path
    )  # fmt: skip
    if gif_path is not None:
        _write_moving(_frames(cells, labels, words, title), gif_path)
    return style.finished(figure, path)


def _frames(cells: np.ndarray, labels: list[str], words: list[str], title: str) -> list[np.ndarray]:
    """The pixels of each moment of the moving pictures."""
    small = _reduced(cells)
    lines = math.ceil(len(cells) / math.ceil(math.sqrt(2 * len(cells))))
    columns = math.ceil(len(cells) / lines)
    filled = np.array(labels + [""] * (-len(labels) % columns)).reshape(-1, columns)
    frames = [
        draw_grid(
            title, in_rows(small[:, step], columns), ([GAP] * len(filled), [GAP] * columns),
            cell_size=128, captions={0: f"each latent at {word}"}, notes=filled,
        )
        for step, word in enumerate(words)
    ]  # fmt: skip
    return [_pixels(frame) for frame in frames]


def draw_attributes(
    rows: np.ndarray,
    title: str,
    names: Sequence[str],
    strengths: Sequence[float],
    originals: np.ndarray,
    *,
    path: str | Path | None = None,
) -> Figure:
    """Draw images with less and more of an attribute beside the image that they were made from.

    Args:
        rows: `(rows, steps, height, width, channels)` floats in [0, 1] (what is outside is
            clipped), of 1 or 3 channels.
        title: above the grid; says what a strength of 1 is.
        names: of each row's attribute; underscores become spaces. Rows in succession with the same
            one are a block, and named once.
        strengths: of each step, rising; they head the columns.
        originals: `(rows, height, width, channels)`, set apart at the left.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described, strengths do not rise, or something is not
            finite.
    """
    cells = as_colours("rows", rows, _LAYOUT)
    real = as_colours("originals", originals, "(rows, height, width, channels)")
    _check_steps("strengths", strengths, cells.shape[1])
    if len(names) != len(cells) or real.shape != (len(cells), *cells.shape[2:]):
        raise ValueError(
            f"rows {rows.shape} have a name and an original each: "
            f"received {list(names)} and {originals.shape}"
        )
    labels = [style.plain(name.replace("_", " "), _LONGEST_LABEL) for name in names]
    row_gaps = [
        NARROW if label == below else WIDE
        for label, below in zip(labels, [*labels[1:], ""], strict=True)
    ]
    figure = draw_grid(
        title, np.concatenate([real[:, None], cells], axis=1),
        (row_gaps, [WIDE] + [NARROW] * len(strengths)), cell_size=96, row_labels=labels,
        column_labels=["original", *(signed(strength) for strength in strengths)], path=path,
    )  # fmt: skip
    return style.finished(figure, path)


def _check_steps(name: str, values: Sequence[float], steps: int) -> None:
    found = np.asarray(values, np.float64)
    require_finite(name, found)
    if found.shape != (steps,) or (np.diff(found) <= 0).any():
        raise ValueError(f"{name} must be {steps} rising numbers: received {list(values)}")


def _reduced(cells: np.ndarray) -> np.ndarray:
    """Average squares of pixels, so that no side is over 160 pixels; what is left over is cut."""
    factor = math.ceil(max(cells.shape[2:4]) / _LARGEST_MOVING)
    height, width = (side // factor for side in cells.shape[2:4])
    cut = cells[:, :, : height * factor, : width * factor]
    squares = cut.reshape(*cells.shape[:2], height, factor, width, factor, 3)
    return np.round(squares.mean((3, 5))).astype(np.uint8)


def _pixels(figure: Figure) -> np.ndarray:
    """Give a figure's `(height, width, 3)` uint8."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def _write_moving(frames: list[np.ndarray], path: str | Path) -> None:
    """Write a GIF that runs to the last frame and back, for ever."""
    # One palette for all and no dithering, or what stands still would flicker.
    sample = np.ascontiguousarray(np.concatenate(frames)[::_PALETTE_STRIDE, ::_PALETTE_STRIDE])
    palette = Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    mapped = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    durations = [_END_MS, *[_STEP_MS] * (len(frames) - 2), _END_MS][: len(frames)]
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    first, *others = (mapped[index] for index in order)
    first.save(
        path, format="GIF", save_all=True, append_images=others, loop=0,
        duration=[durations[index] for index in order], optimize=False,
    )  # fmt: skip
