"""A batch of pictures on which shapes with soft edges are painted.

Lengths are in drawing units, in which the picture is 2 * EXTENT wide, so that a face looks the same
at every size; x points right and y down. The batch is axis -3 of every array: a number of each face
is `(batch, 1, 1)`, a field `(batch, height, width)`, a colour `(3, batch, 1, 1)` in [0, 1].

A shape is a signed distance (negative inside); its coverage of a pixel follows from the distance of
the pixel's centre, which costs one evaluation where supersampling costs many.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

EXTENT = 0.86

# A number shared by all faces, a number of each or a field.
Field = float | np.ndarray


class Frame(NamedTuple):
    """A moved and turned system of coordinates, one per picture.

    Args:
        x: where its origin is in the picture, `(batch, 1, 1)`.
        y: the same, downwards.
        cos: cosine of the clockwise turn.
        sin: its sine.
    """

    x: np.ndarray
    y: np.ndarray
    cos: np.ndarray
    sin: np.ndarray

    def place(self, u: Field, v: Field) -> tuple[np.ndarray, np.ndarray]:
        """Picture coordinates of the point (u, v) of this frame."""
        return self.x + self.cos * u - self.sin * v, self.y + self.sin * u + self.cos * v

    def moved(self, u: Field, v: Field) -> "Frame":
        """The same frame with its origin moved to its own point (u, v)."""
        x, y = self.place(u, v)
        return self._replace(x=x, y=y)

    def take(self, rows: np.ndarray) -> "Frame":
        """The frames of some rows of the batch."""
        return Frame(*(value[rows] for value in self))


@dataclass
class Window:
    """A rectangle of the pictures, seen in a frame.

    Args:
        rgb: `(3, batch, height, width)`, painted in place.
        u: coordinates of the pixels' centres in the frame, `(batch, height, width)`.
        v: the same, downwards.
        pixel: the side of a pixel.
    """

    rgb: np.ndarray
    u: np.ndarray
    v: np.ndarray
    pixel: float

    def paint(self, coverage: Field, color: np.ndarray) -> None:
        """Lay a colour over the window with an opacity in [0, 1]."""
        self.rgb += coverage * (color - self.rgb)

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Coverage of the shape with this signed distance."""
        return np.clip(0.5 - distance / self.pixel, 0.0, 1.0)

    def between(self, top: Field, bottom: Field, slope: Field = 0.0) -> np.ndarray:
        """Coverage of the band between two curves over u, exact however thin the band is.

        Args:
            top: v of the upper edge.
            bottom: v of the lower edge; the band is empty where it lies above `top`.
            slope: dv/du of the edges, which a steep edge needs to stay one pixel soft.
        """
        scale = 1.0 / (self.pixel * np.sqrt(1.0 + np.square(slope), dtype=np.float32))
        lower = np.clip(0.5 + (bottom - self.v) * scale, 0.0, 1.0)
        upper = np.clip(0.5 + (top - self.v) * scale, 0.0, 1.0)
        return np.maximum(lower - upper, 0.0)

    def stroke(self, distance: np.ndarray, half_width: Field) -> np.ndarray:
        """Coverage of a line around distance zero, exact when thinner than a pixel too."""
        outer = np.clip(0.5 + (half_width - distance) / self.pixel, 0.0, 1.0)
        inner = np.clip(0.5 - (half_width + distance) / self.pixel, 0.0, 1.0)
        return outer - inner


class Canvas:
    """Pictures of a batch, or of some of its rows.

    Args:
        rgb: `(3, batch, size, size)` float32 in [0, 1].
        rows: indices of the rows that are painted on; all if not given.
    """

    def __init__(self, rgb: np.ndarray, rows: np.ndarray | None = None):
        self.rgb = rgb
        self.rows = rows
        self.size = rgb.shape[-1]
        self.pixel = 2.0 * EXTENT / self.size

    def take(self, rows: np.ndarray) -> "Canvas":
        """The pictures of some rows; painting on them paints on this canvas."""
        return Canvas(self.rgb, rows if self.rows is None else self.rows[rows])

    @contextmanager
    def window(
        self, frame: Frame, left: Field, top: Field, right: Field, bottom: Field
    ) -> Iterator[Window]:
        """Open the pixels of a box given in a frame; they are written back on leaving.

        Pictures share one rectangle of pixels, large enough for the box of each: a shape must lie
        inside its box, or its picture would depend on the others in the batch.
        """
        corners = [frame.place(u, v) for u in (left, right) for v in (top, bottom)]
        columns = self._pixels(np.stack([corner[0] for corner in corners]))
        lines = self._pixels(np.stack([corner[1] for corner in corners]))
        where = (slice(None), slice(None) if self.rows is None else self.rows, lines, columns)
        x = self._centres(columns)[None, None, :] - frame.x
        y = self._centres(lines)[None, :, None] - frame.y
        u = frame.cos * x + frame.sin * y
        v = frame.cos * y - frame.sin * x
        rgb = self.rgb[where]
        yield Window(rgb, u, v, self.pixel)
        if self.rows is not None:
            self.rgb[where] = rgb

    def _pixels(self, coordinates: np.ndarray) -> slice:
        first = int(np.floor((coordinates.min() + EXTENT) / self.pixel)) - 1
        last = int(np.ceil((coordinates.max() + EXTENT) / self.pixel)) + 1
        return slice(min(max(first, 0), self.size), min(max(last, 0), self.size))

    def _centres(self, pixels: slice) -> np.ndarray:
        index = np.arange(pixels.start, pixels.stop, dtype=np.float32)
        return (index + 0.5) * np.float32(self.pixel) - np.float32(EXTENT)


def ellipse(u: Field, v: Field, width: Field, height: Field) -> np.ndarray:
    """Distance to an ellipse with these half axes, right to first order at its edge."""
    x, y = u / width, v / height
    radius = np.sqrt(x * x + y * y) + 1e-6
    return (radius - 1.0) * radius / np.sqrt(np.square(x / width) + np.square(y / height) + 1e-6)


def circle(u: Field, v: Field, radius: Field) -> np.ndarray:
    """Distance to a circle."""
    return np.sqrt(u * u + v * v) - radius


def box(u: Field, v: Field, width: Field, height: Field, corner: Field) -> np.ndarray:
    """Distance to a box with these half sides and rounded corners."""
    x, y = np.abs(u) - (width - corner), np.abs(v) - (height - corner)
    outside = np.sqrt(np.square(np.maximum(x, 0.0)) + np.square(np.maximum(y, 0.0)))
    return outside + np.minimum(np.maximum(x, y), 0.0) - corner


def segment(u: Field, v: Field, start: tuple[Field, Field], end: tuple[Field, Field]) -> np.ndarray:
    """Distance to a straight line between two points."""
    du, dv = end[0] - start[0], end[1] - start[1]
    x, y = u - start[0], v - start[1]
    along = np.clip((x * du + y * dv) / (du * du + dv * dv), 0.0, 1.0)
    return np.sqrt(np.square(x - along * du) + np.square(y - along * dv))


def convex(u: np.ndarray, v: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Distance to a convex polygon; its corners in clockwise order, as seen with v downwards."""
    distance = np.full_like(u, -9.0)
    for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(np.hypot(next_x - x, next_y - y))
        across = ((u - x) * (next_y - y) - (v - y) * (next_x - x)) / length
        distance = np.maximum(distance, across)
    return distance


def smooth_max(first: Field, second: Field, width: float) -> np.ndarray:
    """The intersection of two shapes with its corner rounded over `width`."""
    overlap = np.maximum(width - np.abs(first - second), 0.0)
    return np.maximum(first, second) + overlap * overlap * (0.25 / width)


def glow(distance: np.ndarray, width: Field) -> np.ndarray:
    """One where `distance` is at most 0, falling smoothly to zero at `width`."""
    t = np.clip(1.0 - distance / width, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(first: Field, second: Field, fraction: Field) -> np.ndarray:
    """The straight line from `first` (fraction 0) to `second` (fraction 1)."""
    return np.add(first, fraction * (second - first))


def palette(colors: tuple[str, ...], position: np.ndarray, *, cyclic: bool = False) -> np.ndarray:
    """Colours along a row of colours.

    Args:
        colors: hexadecimal digits "rrggbb", at even distances.
        position: in [0, 1], `(batch, 1, 1)`.
        cyclic: position 1 is the first colour again.

    Returns:
        float32 `(3, batch, 1, 1)`.
    """
    stops = np.array([list(bytes.fromhex(color)) for color in colors], np.float64) / 255.0
    if cyclic:
        stops = np.concatenate([stops, stops[:1]])
    places = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(position, places, channel) for channel in stops.T]).astype(
        np.float32
    )


def paint_color(color: str) -> np.ndarray:
    """One colour, "rrggbb", for all faces: `(3, 1, 1, 1)`."""
    return palette((color, color), np.zeros((1, 1, 1)))
