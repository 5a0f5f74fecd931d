"""What a condition does to the images of a conditional model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kvae.figures import style
from kvae.figures.grids import NARROW, as_colours, draw_grid

_LONGEST_LABEL = 28
_LAYOUT = "(conditions, latents, height, width, channels)"


def draw_conditions(
    rows: np.ndarray, names: Sequence[str], title: str, *, path: str | Path | None = None
) -> Figure:
    """Draw the same latents under several conditions: one in a row, a latent in a column.

    Args:
        rows: `(conditions, latents, height, width, channels)` floats in [0, 1] (what is outside is
            clipped), of 1 or 3 channels.
        names: of the conditions; underscores become spaces.
        title: above the grid.
        path: where it is written, as `style.finished` does; None: nowhere.

    Returns:
        The figure.

    Raises:
        ValueError: the images are not as described or not finite, or a row has no name.
    """
    cells = as_colours("rows", rows, _LAYOUT)
    if len(names) != len(cells):
        raise ValueError(f"{len(cells)} rows have a name each: received {list(names)}")
    labels = [style.plain(name.replace("_", " "), _LONGEST_LABEL) for name in names]
    gaps = [NARROW] * len(cells), [NARROW] * cells.shape[1]
    figure = draw_grid(title, cells, gaps, cell_size=96, row_labels=labels, path=path)
    return style.finished(figure, path)
