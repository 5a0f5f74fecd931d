"""From factors to pictures: the order in which a face is painted, and what is behind it."""

from collections.abc import Callable, Mapping

import numpy as np

from kvae.data.faces import features, hair, wear
from kvae.data.faces.canvas import EXTENT, Canvas, Frame, Window, circle, glow, mix, palette
from kvae.data.faces.model import Face, face_of

PASTEL = ("fbcabd", "fde3ae", "d2eabf", "b4e4df", "b9d6f6", "d4caf3", "f8c8de")
DEEP = ("c2604f", "cf9640", "5f9562", "3d8b8c", "46689f", "6d5a9c", "ad5680")


def draw(factors: Mapping[str, np.ndarray], image_size: int) -> np.ndarray:
    """Paint one batch; see `faces.draw`, which checks its arguments."""
    face = face_of(factors)
    batch = len(face.light)
    canvas = Canvas(np.zeros((3, batch, image_size, image_size), np.float32))
    parts: tuple[Callable[[Canvas, Face], None], ...] = (
        background,
        hair.back,
        features.neck,
        wear.clothes,
        features.ears,
        features.head,
        hair.shadow,
        features.blush,
        features.nose,
        hair.beard,
        features.mouth,
        features.eyes,
        features.brows,
        wear.glasses,
        hair.front,
        wear.earrings,
        wear.hat,
    )
    for part in parts:
        part(canvas, face)
    pixels = np.clip(canvas.rgb * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 3, 0))


def background(canvas: Canvas, face: Face) -> None:
    """Fill the picture with a soft gradient and, in some styles, large quiet shapes."""
    tone = face["background_tone"]
    hue = face["background_hue"]
    base = mix(palette(PASTEL, hue, cyclic=True), palette(DEEP, hue, cyclic=True), tone)
    second = mix(
        palette(PASTEL, (hue + 0.14) % 1.0, cyclic=True),
        palette(DEEP, (hue + 0.14) % 1.0, cyclic=True),
        tone,
    )
    pale = mix(base, 1.0, 0.45)
    still = Frame(*(np.full_like(hue, value) for value in (0.0, 0.0, 1.0, 0.0)))
    styles = (_halo, _diagonal, _sun, _bokeh, _hills)
    for style, rows in face.kinds("background"):
        part = (color[:, rows] for color in (base, second, pale))
        with canvas.take(rows).window(still.take(rows), -EXTENT, -EXTENT, EXTENT, EXTENT) as w:
            styles[style](w, *part)


def _halo(w: Window, base: np.ndarray, second: np.ndarray, pale: np.ndarray) -> None:
    w.paint(1.0, base)
    w.paint(glow(circle(w.u, w.v + 0.1, 0.15), 1.1), pale)


def _diagonal(w: Window, base: np.ndarray, second: np.ndarray, pale: np.ndarray) -> None:
    w.paint(1.0, mix(pale, second, np.clip(0.5 + 0.30 * (w.u + 1.4 * w.v), 0.0, 1.0)))


def _sun(w: Window, base: np.ndarray, second: np.ndarray, pale: np.ndarray) -> None:
    w.paint(1.0, mix(second, base, np.clip(0.5 + 0.5 * w.v, 0.0, 1.0)))
    w.paint(w.inside(circle(w.u, w.v + 0.06, 0.78)), mix(pale, base, np.clip(w.v + 0.5, 0.0, 1.0)))


def _bokeh(w: Window, base: np.ndarray, second: np.ndarray, pale: np.ndarray) -> None:
    w.paint(1.0, mix(base, second, np.clip(0.5 + 0.5 * w.v, 0.0, 1.0)))
    spots = (
        (-0.72, -0.62, 0.22, 0.5),
        (0.66, -0.72, 0.15, 0.6),
        (0.80, -0.18, 0.24, 0.35),
        (-0.80, 0.10, 0.16, 0.5),
        (-0.42, -0.86, 0.12, 0.4),
        (0.72, 0.42, 0.14, 0.5),
        (-0.66, 0.56, 0.20, 0.3),
    )
    for x, y, radius, strength in spots:
        distance = circle(w.u - x, w.v - y, radius)
        w.paint(strength * np.clip(0.5 - distance / max(0.04, w.pixel), 0.0, 1.0), pale)


def _hills(w: Window, base: np.ndarray, second: np.ndarray, pale: np.ndarray) -> None:
    w.paint(1.0, mix(pale, base, np.clip(0.6 + 0.7 * w.v, 0.0, 1.0)))
    far = 0.16 + 0.10 * np.sin(3.1 * w.u + 0.6)
    near = 0.42 + 0.09 * np.sin(4.0 * w.u + 3.4)
    w.paint(w.between(far, 9.0, 0.3), mix(base, second, 0.8) * 0.94)
    w.paint(w.between(near, 9.0, 0.3), second * 0.86)
