"""Skin and what is on it: neck, ears, head, nose, mouth, eyes, brows."""

import numpy as np

from kvae.data.faces.canvas import (
    Canvas,
    Field,
    Window,
    circle,
    ellipse,
    glow,
    mix,
    paint_color,
    palette,
    segment,
)
from kvae.data.faces.model import HEAD_HEIGHT, Face, head_distance

EYE_LINE = 0.03
BROW_LINE = -0.115
NOSE_TIP = 0.165
MOUTH_LINE = 0.285
EAR_LINE = 0.06
NECK_BASE = 0.66
IRIS = ("6b3f22", "3f7fb8", "4f9160", "8b8f96")
LASH = paint_color("2d2024")
WHITE = paint_color("ffffff")
BLUSH = paint_color("f0606a")


def eye_spacing(face: Face) -> np.ndarray:
    """Half the distance between the eyes' middles."""
    return 0.142 + 0.045 * face["eye_spacing"]


def eye_width(face: Face) -> np.ndarray:
    """Half the width of an eye."""
    return 0.074 + 0.032 * face["eye_size"]


def ear_shift(face: Face, side: float) -> np.ndarray:
    """How far an ear moves outwards as the head turns: the far one hides, the near one hardly."""
    outwards = -side * face["turn"]
    return np.where(outwards > 0, 0.010, 0.050).astype(np.float32) * outwards


def arch(x: np.ndarray) -> np.ndarray:
    """A full arch: one at x = 0, zero from |x| = 1 on."""
    x2 = x * x
    return np.maximum(1.0 - x2, 0.0) * (1.0 + 0.4 * x2)


def neck(canvas: Canvas, face: Face) -> None:
    """Paint the neck, from the head to where the clothes begin, in the head's shade."""
    x, y = face.head.place(0.0, 0.25)
    top = x - face.body.x, y - face.body.y
    with canvas.window(face.body, -0.45, 0.1, 0.45, 0.95) as w:
        distance = segment(w.u, w.v, top, (0.0, NECK_BASE + 0.08)) - 0.145
        chest = ellipse(w.u, w.v - NECK_BASE - 0.12, 0.21, 0.15)
        x, y = w.u + face.body.x - face.head.x, w.v + face.body.y - face.head.y
        u = face.head.cos * x + face.head.sin * y
        v = face.head.cos * y - face.head.sin * x
        shade = glow(head_distance(u + 0.05 * face.light, v - 0.07, face), 0.10)
        side = np.clip(0.15 - 1.6 * w.u * face.light, 0.0, 0.5)
        color = mix(face.skin, face.skin_dark, np.maximum(0.85 * shade, side))
        w.paint(np.maximum(w.inside(distance), w.inside(chest)), color)


def ears(canvas: Canvas, face: Face) -> None:
    """Paint both ears, moved against the turn of the head."""
    for side in (-1.0, 1.0):
        frame = face.head.moved(side * (face.width - 0.005 + ear_shift(face, side)), EAR_LINE)
        with canvas.window(frame, -0.12, -0.15, 0.12, 0.15) as w:
            lit = np.clip(0.35 - 0.45 * side * face.light, 0.0, 1.0)
            color = mix(face.skin, face.skin_dark, lit)
            w.paint(w.inside(ellipse(w.u, w.v, 0.060, 0.098)), color)
            hollow = ellipse(w.u - 0.012 * side, w.v + 0.01, 0.034, 0.06)
            w.paint(0.55 * glow(hollow, 0.025), face.skin_dark)


def head(canvas: Canvas, face: Face) -> None:
    """Paint the head, rounded by a soft light from above and one side."""
    reach, height = face.width + 0.04, HEAD_HEIGHT + 0.04
    with canvas.window(face.head, -reach, -height, reach, height) as w:
        distance = head_distance(w.u, w.v, face)
        x, y = w.u / face.width, w.v / HEAD_HEIGHT
        facing = 0.75 * face.light * x - 0.55 * y - 0.28 * (x * x + y * y)
        color = mix(face.skin, face.skin_dark, 0.75 * np.clip(-0.25 - facing, 0.0, 1.0))
        color = mix(color, face.skin_light, 0.55 * np.clip(facing - 0.05, 0.0, 1.0))
        w.paint(w.inside(distance), color)
        rim = glow(np.abs(distance + 0.005), 0.035) * np.clip(0.2 + y, 0.0, 1.0)
        w.paint(0.35 * rim * w.inside(distance), face.skin_dark)


def blush(canvas: Canvas, face: Face) -> None:
    """Paint a soft flush on the cheeks."""
    for side in (-1.0, 1.0):
        frame = face.features.moved(side * (0.62 * face.width - 0.01), 0.17)
        with canvas.window(frame, -0.14, -0.11, 0.14, 0.11) as w:
            flush = glow(np.sqrt(np.square(w.u / 0.125) + np.square(w.v / 0.095)), 1.0)
            w.paint((0.05 + 0.50 * face["blush"]) * flush, mix(face.skin, BLUSH, 0.8))


def nose(canvas: Canvas, face: Face) -> None:
    """Paint the nose: a shade on the side away from the light, a lit ridge, two nostrils."""
    frame = face.features.moved(0.035 * face["turn"], NOSE_TIP)
    size = 0.8 + 0.5 * face["nose_size"]
    with canvas.window(frame, -0.14, -0.26, 0.14, 0.10) as w:
        u, v = w.u / size, w.v / size
        away = -np.clip(3.0 * face.light, -1.0, 1.0)
        ridge = ellipse(u - 0.032 * away, v + 0.07, 0.016, 0.085)
        w.paint(0.38 * np.abs(face.light) * glow(ridge, 0.035), face.skin_dark)
        under = ellipse(u, v - 0.016, 0.05, 0.016)
        w.paint(0.65 * glow(under, 0.035), face.skin_dark)
        ball = circle(u + 0.008 * away, v + 0.012, 0.010)
        w.paint(0.75 * glow(ball, 0.045), face.skin_light)
        for side in (-1.0, 1.0):
            nostril = ellipse(u - 0.030 * side, v - 0.027, 0.013, 0.007)
            w.paint(0.75 * glow(nostril, 0.012), face.skin_dark * 0.62)


def mouth(canvas: Canvas, face: Face) -> None:
    """Paint lips that curve with the smile and part over teeth and tongue when it opens."""
    smile, opening = face["smile"], face["mouth_open"]
    width = 0.125 + 0.035 * np.maximum(smile, 0.0) - 0.020 * opening
    frame = face.features.moved(0.01 * face["turn"], MOUTH_LINE)
    with canvas.window(frame, -0.2, -0.13, 0.2, 0.22) as w:
        x = w.u / width
        x2 = x * x
        rise = arch(x)
        bend = np.where(smile > 0, 0.064, 0.030).astype(np.float32) * smile
        slope = 2.0 * (bend + 0.03 + 0.08 * opening) * x / width
        line = bend * (0.55 - np.minimum(x2, 1.2))
        gap = opening * (0.045 + 0.035 * np.maximum(smile, 0.0) + 0.03 * opening)
        top, bottom = line - 0.30 * gap * rise, line + 1.2 * gap * rise
        bow = 0.026 * rise * (1.0 - 0.35 * np.maximum(1.0 - 9.0 * x2, 0.0))
        lips = mix(mix(face.skin, paint_color("b8474f"), 0.5), paint_color("c8203c"), _rouge(face))
        full = 0.030 + 0.010 * face["lip_color"]
        shade = w.between(bottom + full, bottom + full + 0.028 * rise, slope)
        w.paint(0.35 * shade * rise, face.skin_dark)
        w.paint(w.between(top - bow, top + 0.006 * rise, slope), lips * 0.90)
        w.paint(w.between(bottom - 0.004 * rise, bottom + full * rise, slope), lips)
        shine = ellipse(w.u - 0.02 * face.light, w.v - bottom - 0.5 * full, 0.035, 0.004)
        w.paint(0.40 * glow(shine, 0.016), mix(lips, 1.0, 0.5))
        inner = w.between(top, bottom, slope)
        w.paint(inner, paint_color("571a24"))
        tongue = ellipse(w.u, w.v - bottom - 0.012, 0.07, 0.045)
        w.paint(inner * w.inside(tongue), paint_color("d9656c"))
        teeth = w.between(top, top + np.minimum(0.036, 0.55 * gap) * rise, slope)
        w.paint(np.minimum(inner, teeth), paint_color("fffaf2"))
        closed = w.between(line - 0.0075, line + 0.0075, slope) * (x2 < 1.0)
        ends = np.clip((1.0 - np.abs(x)) * 6.0, 0.0, 1.0)
        crease = face.skin_dark * np.array([0.55, 0.42, 0.45], np.float32)[:, None, None, None]
        w.paint(0.85 * closed * ends * np.clip(1.0 - 4.0 * opening, 0.0, 1.0), crease)
        corner = circle(np.abs(w.u) - width, w.v - bend * (0.55 - 1.0), 0.004)
        w.paint(0.6 * glow(corner, 0.020), face.skin_dark)


def _rouge(face: Face) -> np.ndarray:
    return np.clip(1.6 * face["lip_color"] - 0.5, 0.0, 1.0)


def eyes(canvas: Canvas, face: Face) -> None:
    """Paint both eyes, the same light in each."""
    for side in (-1.0, 1.0):
        _eye(canvas, face, side)


def _eye(canvas: Canvas, face: Face, side: float) -> None:
    width = eye_width(face)
    wide = 0.62 + 0.38 * face["eye_open"]
    frame = face.features.moved(side * eye_spacing(face), EYE_LINE)
    with canvas.window(frame, -0.17, -0.16, 0.17, 0.14) as w:
        x = side * w.u / width
        rise = arch(x)
        slope = 1.7 * x * wide
        tilt = -0.10 * width * x
        top = tilt - 0.86 * width * wide * rise
        low = 0.66 - 0.20 * np.maximum(face["smile"], 0.0)
        bottom = tilt + low * width * wide * rise
        socket = ellipse(w.u, w.v, 1.2 * width, 0.95 * width)
        w.paint(0.22 * glow(socket, 0.05), face.skin_dark)
        crease = w.between(top - 0.030, top - 0.020, slope) * (np.abs(x) < 0.9)
        w.paint(0.45 * crease, face.skin_dark)
        ball = w.between(top, bottom, slope)
        shade = np.clip(0.40 - (w.v - top) / (0.9 * width), 0.0, 0.4)
        w.paint(ball, mix(WHITE, paint_color("8f8aa5"), shade))
        _iris(w.u - 0.32 * width * face["gaze"], w.v + 0.06 * width, w, ball, face)
        lid = w.between(top - (0.011 + 0.007 * np.clip(x, 0.0, 1.0)), top + 0.007, slope)
        w.paint(lid * (np.abs(x) < 1.0), LASH)
        flick = segment(x, w.v / width, (0.85, -0.22), (1.22, -0.40)) * width
        w.paint(0.9 * w.stroke(flick, 0.008), LASH)
        lower = w.between(bottom, bottom + 0.007, slope) * (np.abs(x) < 1.0)
        w.paint(0.45 * lower, face.skin_dark * 0.7)


def _iris(u: Field, v: Field, w: Window, ball: np.ndarray, face: Face) -> None:
    width = eye_width(face)
    radius = 0.60 * width
    distance = circle(u, v, 0.0)
    color = palette(IRIS, face["eye_color"] / (len(IRIS) - 1))
    bright = np.clip(0.55 + 0.45 * v / radius, 0.0, 1.0)
    color = mix(color * 0.62, mix(color, 1.0, 0.22), bright)
    w.paint(ball * w.inside(distance - radius), color)
    w.paint(0.6 * ball * w.stroke(distance - radius, 0.006), LASH)
    w.paint(ball * w.inside(distance - 0.50 * radius), paint_color("17131a"))
    spot = circle(u - 0.22 * width * face.light, v + 0.24 * width, 0.17 * width)
    w.paint(ball * w.inside(spot), WHITE)
    glint = circle(u + 0.22 * width * face.light, v - 0.26 * width, 0.08 * width)
    w.paint(0.8 * ball * w.inside(glint), WHITE)


def brows(canvas: Canvas, face: Face) -> None:
    """Paint the brows, thicker towards the nose."""
    raised = face["brow_raise"]
    half = 0.104
    for side in (-1.0, 1.0):
        frame = face.features.moved(side * (eye_spacing(face) + 0.008), BROW_LINE - 0.026 * raised)
        with canvas.window(frame, -0.16, -0.12, 0.16, 0.10) as w:
            x = side * w.u / half
            line = -0.030 * (1.0 - np.square(x - 0.12)) + 0.011 * x * (0.2 + raised)
            thick = (0.009 + 0.014 * face["brow_weight"]) * np.clip(1.05 - 0.45 * x, 0.3, 1.4)
            ends = np.clip((1.04 - np.abs(x)) * 7.0, 0.0, 1.0)
            hair = w.between(line - thick * ends, line + thick * ends, 0.4)
            w.paint(0.86 * hair * (ends > 0), mix(face.hair_dark, LASH, 0.15))
