"""Images whose places in a grid can be found, and what its words must not cover."""

import numpy as np


def flat(colours, size=16):
    """Flat images `(..., size, size, 3)`, one of each colour in bytes."""
    colours = np.asarray(colours, np.float32) / 255
    return np.broadcast_to(colours[..., None, None, :], (*colours.shape[:-1], size, size, 3)).copy()


def distinct(*shape):
    """Colours `(*shape, 3)` in bytes that the rest of a figure does not have."""
    index = np.arange(np.prod(shape)).reshape(shape)
    return np.stack([3 * index % 250, 250 - 2 * index, 77 + 0 * index], axis=-1)


_LEAST_MARGIN = 10


def _places(first, last, grain):
    return slice(*(max(0, round(pixels * grain)) for pixels in (first, last)))


def require_legible(figure, margin=_LEAST_MARGIN):
    """No text comes near the figure's edge, covers an image or another text."""
    every = [text.get_window_extent() for text in figure.texts]
    (axes,) = figure.axes
    assert (axes.bbox.min >= 0).all()
    assert (axes.bbox.max <= figure.bbox.max).all()
    is_cell = (axes.images[0].get_array() < 255).any(-1)
    grain = is_cell.shape[1] / axes.bbox.width  # pixels of the sheet in one of the figure
    for index, box in enumerate(every):
        assert (box.min > margin).all(), figure.texts[index]
        assert (box.max < figure.bbox.max - margin).all(), figure.texts[index]
        (left, bottom), (right, top) = (box.min - axes.bbox.min), (box.max - axes.bbox.min)
        rows = _places(axes.bbox.height - top, axes.bbox.height - bottom, grain)
        assert not is_cell[rows, _places(left, right, grain)].any(), figure.texts[index]
        for other in every[:index]:
            assert not box.overlaps(other), figure.texts[index]
