"""What a face wears: clothes, glasses, earrings, hats."""

import numpy as np

from kvae.data.faces.canvas import (
    Canvas,
    Window,
    box,
    circle,
    convex,
    ellipse,
    glow,
    mix,
    paint_color,
    segment,
)
from kvae.data.faces.features import (
    EAR_LINE,
    EYE_LINE,
    NECK_BASE,
    ear_shift,
    eye_spacing,
    eye_width,
)
from kvae.data.faces.model import Face

TEE, STRIPED, SHIRT, TURTLENECK, VNECK = range(5)
ROUND, SQUARE, SUNGLASSES = range(1, 4)
COLLAR = ((0.125, 0.560), (0.215, 0.655), (0.150, 0.790), (0.010, 0.745))
CREAM = paint_color("fbf3e4")
GOLD = paint_color("e8b64a")


def clothes(canvas: Canvas, face: Face) -> None:
    """Paint shoulders and clothes over the chest."""
    for style, rows in face.kinds("clothes"):
        part, some = canvas.take(rows), face.take(rows)
        with part.window(some.body, -1.1, 0.40, 1.1, 1.1) as w:
            _garment(w, style, some)


def _garment(w: Window, style: int, face: Face) -> None:
    x = np.abs(w.u)
    beyond = np.maximum(x - 0.52, 0.0)
    line = NECK_BASE - 0.01 + 0.30 * w.u * w.u + 4.5 * beyond * beyond
    shoulder = w.between(line, 9.0, 0.6 * x + 9.0 * beyond)
    if style == VNECK:
        hole = np.maximum(0.80 * (x - 0.17) + 0.62 * (w.v - NECK_BASE), NECK_BASE - 0.2 - w.v)
    else:
        hole = ellipse(w.u, w.v - NECK_BASE + 0.03, 0.185, 0.115)
    cloth = shoulder * (1.0 - w.inside(hole))
    dark = face.cloth * 0.72
    lit = 0.45 * face.light * w.u - 0.9 * (w.v - line) + 0.15
    color = mix(face.cloth, dark, np.clip(0.25 - lit, 0.0, 0.9))
    color = mix(color, mix(face.cloth, 1.0, 0.3), np.clip(lit, 0.0, 0.5))
    if style == STRIPED:
        wave = np.clip(
            (np.abs((w.v - 0.14 * w.u * w.u) % 0.11 - 0.055) - 0.030) / w.pixel + 0.5, 0, 1
        )
        color = mix(color, CREAM * (1.0 - np.clip(0.20 - lit, 0.0, 0.15)), wave)
    w.paint(cloth, color)
    if style == SHIRT:
        _collar(w, cloth, dark, face)
    elif style == TURTLENECK:
        _roll(w, dark, face)
    else:
        ring = np.abs(hole - 0.018) - 0.018
        w.paint(0.9 * w.inside(ring) * cloth, mix(face.cloth, dark, 0.55))


def _collar(w: Window, cloth: np.ndarray, dark: np.ndarray, face: Face) -> None:
    seam = w.stroke(w.u, 0.006) * (w.v > NECK_BASE + 0.08)
    w.paint(0.8 * seam * cloth, dark)
    for height in (0.83, 0.94):
        w.paint(w.inside(circle(w.u - 0.022, w.v - height, 0.014)) * cloth, CREAM)
    x = np.abs(w.u)
    flap = convex(x, w.v, COLLAR) - 0.012
    w.paint(0.30 * glow(flap, 0.035) * cloth, dark * 0.8)
    w.paint(w.inside(flap), mix(CREAM, face.cloth, 0.10 + 0.15 * np.clip(x, 0.0, 1.0)))


def _roll(w: Window, dark: np.ndarray, face: Face) -> None:
    shape = box(w.u, w.v - NECK_BASE + 0.01, 0.185, 0.115, 0.05)
    ribs = 0.5 + 0.5 * np.sin(62.0 * w.u)
    side = np.clip(0.25 - 1.5 * w.u * face.light, 0.0, 0.6)
    color = mix(mix(face.cloth, 1.0, 0.10), dark, np.clip(side + 0.22 * ribs, 0.0, 1.0))
    w.paint(0.4 * glow(shape, 0.04) * (w.v > NECK_BASE - 0.02), dark)
    w.paint(w.inside(shape), color)


def glasses(canvas: Canvas, face: Face) -> None:
    """Paint glasses before the eyes, with arms that reach the ears."""
    for style, rows in face.kinds("glasses"):
        if style == 0:
            continue
        part, some = canvas.take(rows), face.take(rows)
        reach = some.width + 0.12
        with part.window(some.features, -reach, -0.22, reach, 0.26) as w:
            _spectacles(w, style, some)


def _spectacles(w: Window, style: int, face: Face) -> None:
    apart = eye_spacing(face)
    wide = np.minimum(eye_width(face) + 0.042, apart - 0.020)
    u, v = np.abs(w.u) - apart, w.v - EYE_LINE - 0.008
    if style == ROUND:
        lens, half = circle(u, v, wide), 0.0095
    elif style == SQUARE:
        lens, half = box(u, v, wide + 0.004, 0.80 * wide, 0.035), 0.015
    else:
        lens, half = box(u, v - 0.006 + 0.10 * u, wide + 0.008, 0.82 * wide, 0.065), 0.011
    rim = paint_color({ROUND: "c9973c", SQUARE: "2a2730", SUNGLASSES: "241f29"}[style])
    ear = face.width + 0.012 - 0.07 * face["turn"] * np.sign(w.u)
    arm = segment(np.abs(w.u), v, (apart + wide, -0.02), (ear, -0.03))
    bridge = np.abs(v + 0.022 + 0.5 * np.square(w.u)) + np.maximum(np.abs(w.u) - apart + wide, 0.0)
    frame = np.maximum(w.stroke(lens, half), w.stroke(bridge, 0.8 * half))
    w.paint(0.30 * glow(np.abs(lens - 0.01), 0.030), face.skin_dark)
    if style == SUNGLASSES:
        w.paint(
            0.90 * w.inside(lens),
            mix(paint_color("2b2436"), paint_color("8d6a76"), np.clip(0.5 + 4.0 * v, 0.0, 1.0)),
        )
    else:
        w.paint(0.13 * w.inside(lens), paint_color("dff1ff"))
    glare = np.abs(u + 0.75 * v + 0.25 * wide) - 0.20 * wide
    w.paint(0.26 * w.inside(glare) * w.inside(lens), paint_color("ffffff"))
    w.paint(w.stroke(arm, 0.8 * half), rim)
    w.paint(frame, rim)


def earrings(canvas: Canvas, face: Face) -> None:
    """Paint a gold drop below each ear."""
    rows = np.flatnonzero(face["earrings"][:, 0, 0] > 0)
    if not len(rows):
        return
    part, some = canvas.take(rows), face.take(rows)
    for side in (-1.0, 1.0):
        across = side * (some.width + 0.006 + ear_shift(some, side))
        with part.window(some.head.moved(across, EAR_LINE + 0.12), -0.1, -0.1, 0.1, 0.1) as w:
            w.paint(w.inside(circle(w.u, w.v + 0.02, 0.016)), GOLD)
            w.paint(w.inside(circle(w.u, w.v - 0.024, 0.032)), GOLD)
            w.paint(0.8 * w.inside(circle(w.u - 0.01 * some.light, w.v - 0.014, 0.010)), CREAM)


def hat(canvas: Canvas, face: Face) -> None:
    """Paint a hat over the hair."""
    styles = (None, _beanie, _cap, _fedora, _beret)
    for style, rows in face.kinds("hat"):
        paint = styles[style]
        if paint is not None:
            part, some = canvas.take(rows), face.take(rows)
            with part.window(some.head, -1.0, -1.0, 1.0, 0.1) as w:
                paint(w, some)


def _shaded(w: Window, face: Face, base: np.ndarray, middle: float) -> np.ndarray:
    lit = 0.9 * face.light * w.u - 1.1 * (w.v - middle)
    color = mix(base, base * 0.66, np.clip(0.15 - lit, 0.0, 1.0))
    return mix(color, mix(base, 1.0, 0.4), 0.8 * np.clip(lit - 0.05, 0.0, 0.7))


def _beanie(w: Window, face: Face) -> None:
    wide = face.width + 0.045
    pompom = circle(w.u, w.v + 0.70, 0.085) - 0.010 * np.abs(
        np.sin(5.0 * np.arctan2(w.v + 0.70, w.u))
    )
    w.paint(w.inside(pompom), _shaded(w, face, CREAM, -0.70))
    dome = np.maximum(ellipse(w.u, w.v + 0.22, wide, 0.43), w.v + 0.22)
    across = w.u / np.sqrt(np.maximum(1.0 - np.square((w.v + 0.22) / 0.46), 0.05))
    knit = 0.06 * np.sin(46.0 * across)
    w.paint(w.inside(dome), _shaded(w, face, face.hat, -0.42) * (1.0 + knit))
    cuff = box(w.u, w.v + 0.275 - 0.20 * w.u * w.u, wide + 0.015, 0.085, 0.045)
    w.paint(0.4 * glow(cuff, 0.03) * w.inside(dome), face.hat * 0.5)
    ribs = 0.09 * np.sin(58.0 * w.u)
    w.paint(w.inside(cuff), _shaded(w, face, mix(face.hat, CREAM, 0.18), -0.28) * (1.0 + ribs))


def _cap(w: Window, face: Face) -> None:
    wide = face.width + 0.045
    dome = np.maximum(ellipse(w.u, w.v + 0.20, wide, 0.42), w.v + 0.20)
    w.paint(w.inside(circle(w.u, w.v + 0.62, 0.03)), face.hat * 0.7)
    w.paint(w.inside(dome), _shaded(w, face, face.hat, -0.42))
    for seam in (0.0, 0.62):
        curve = np.abs(w.u) - seam * wide * np.sqrt(
            np.maximum(1.0 - np.square((w.v + 0.2) / 0.42), 0)
        )
        w.paint(0.5 * w.stroke(curve, 0.005) * w.inside(dome), face.hat * 0.6)
    badge = ellipse(w.u - 0.06 * face["turn"], w.v + 0.42, 0.095, 0.075)
    w.paint(w.inside(badge), CREAM)
    u = w.u - 0.06 * face["turn"]
    x = u / (face.width + 0.02)
    rise = np.maximum(1.0 - x * x, 0.0)
    top, bottom = -0.215 - 0.10 * rise, -0.215 + 0.080 * np.sqrt(rise + 1e-4)
    ends = np.clip(30.0 * rise, 0.0, 1.0)
    w.paint(0.5 * w.inside(dome) * glow(top - w.v, 0.05), face.hat * 0.5)
    under = np.clip(4.5 * (w.v + 0.29), 0.0, 1.0)
    color = mix(mix(face.hat, CREAM, 0.35), face.hat * 0.66, under)
    w.paint(w.between(top, bottom, 0.5 * x) * ends, color)
    edge = w.between(bottom - 0.022, bottom, 0.5 * x)
    w.paint(0.8 * edge * ends, face.hat * 0.52)


def _fedora(w: Window, face: Face) -> None:
    y = np.clip((w.v + 0.68) / 0.42, 0.0, 1.0)
    wide = (face.width - 0.01) * (0.80 + 0.20 * y)
    pinch = 0.035 * glow(np.abs(w.u), 0.14)
    crown = box(w.u * 0.36 / wide, w.v + 0.46 - pinch * (w.v < -0.45), 0.36, 0.22, 0.11)
    w.paint(w.inside(crown), _shaded(w, face, face.hat, -0.45))
    sag = 0.16 * w.u * w.u
    ribbon = w.between(-0.385 + sag * 0.3, -0.25, 0.1)
    w.paint(ribbon * w.inside(crown), mix(face.hat * 0.36, paint_color("2b2233"), 0.5))
    brim = ellipse(w.u, w.v + 0.245 - 0.10 * w.u * w.u, face.width + 0.26, 0.085)
    w.paint(w.inside(brim), _shaded(w, face, face.hat, -0.22))
    under = w.inside(brim) * glow(-(w.v + 0.215 - 0.10 * w.u * w.u), 0.03)
    w.paint(0.55 * under, face.hat * 0.5)


def _beret(w: Window, face: Face) -> None:
    u, v = w.u + 0.07, w.v + 0.42
    u, v = u + 0.18 * v, v - 0.18 * u
    w.paint(
        w.inside(segment(w.u, w.v, (-0.03, -0.60), (0.01, -0.69)) - 0.016),
        face.hat * 0.7,
    )
    puff = ellipse(u, v, face.width + 0.13, 0.21)
    w.paint(w.inside(puff), _shaded(w, face, face.hat, -0.44))
    band = box(w.u, w.v + 0.262 - 0.16 * w.u * w.u, face.width + 0.025, 0.034, 0.03)
    w.paint(w.inside(band), face.hat * 0.58)
