"""Hair: behind the head, around the face, on the chin."""

import numpy as np

from kvae.data.faces.canvas import (
    Canvas,
    Field,
    Window,
    box,
    circle,
    ellipse,
    glow,
    mix,
    paint_color,
    segment,
    smooth_max,
)
from kvae.data.faces.model import Face, head_distance

BALD, CROP, STRAIGHT, WAVY, CURLY, BUN, PIGTAILS = range(7)
STUBBLE, MOUSTACHE, GOATEE, FULL_BEARD = range(1, 5)
EAR_TOP = -0.04
LONG = (STRAIGHT, WAVY)


def _widths(style: int, face: Face) -> tuple[Field, Field, Field]:
    """How far hair stands out at the side and on top, and how far down it reaches."""
    length = face["hair_length"]
    if style == CROP:
        return 0.012 + 0.016 * length, 0.03 + 0.09 * length, 0.02 + 0.0 * length
    if style == STRAIGHT:
        return 0.062 + 0.0 * length, 0.080 + 0.0 * length, 0.06 + 0.80 * length
    if style == WAVY:
        return 0.065 + 0.03 * length, 0.09 + 0.0 * length, 0.08 + 0.74 * length
    if style == CURLY:
        return 0.035 + 0.15 * length, 0.07 + 0.11 * length, 0.08 + 0.42 * length
    return 0.015 + 0.0 * length, 0.05 + 0.0 * length, 0.02 + 0.0 * length


def _mass(u: Field, v: Field, style: int, face: Face) -> np.ndarray:
    """Distance to the outline of all hair that grows around the head."""
    side, above, bottom = _widths(style, face)
    width, height = face.width + side, 0.47 + above + EAR_TOP
    if style == CURLY:
        return _cloud(u, v, width, height, bottom)
    down = np.maximum(v - EAR_TOP, 0.0)
    if style == WAVY:
        swing = np.minimum(down * 3.0, 1.0) * 0.024
        u = u + swing * np.sin(15.0 * v + 1.0)
        v = v + 0.018 * np.sin(18.0 * u)
    dome = ellipse(u, v - EAR_TOP, width, height)
    middle, half = 0.5 * (bottom + EAR_TOP), 0.5 * (bottom - EAR_TOP)
    flare = 1.0 + (0.10 if style in LONG else -0.12) * down
    corner = np.minimum(0.13, half)
    sides = box(u / flare, v - middle + half, width, 2.0 * half, corner)
    return np.where(v < EAR_TOP, dome, sides)


def _cloud(u: Field, v: Field, width: Field, height: Field, bottom: Field) -> np.ndarray:
    angle = np.arctan2(v + 0.02, u)
    round_ = ellipse(u, v + 0.02, width, height) - 0.032 * np.abs(np.cos(9.5 * angle))
    low = v - bottom - 0.03 * np.abs(np.cos(13.0 * u + 0.6))
    return smooth_max(round_, low, 0.08)


def _opening(u: Field, v: Field, style: int, face: Face) -> np.ndarray:
    """Distance to the part of the head that front hair leaves free."""
    u = u - 0.03 * face["turn"]
    part = 0.45 * face["parting"]
    x = u / face.width - part
    if style == CROP:
        line = -0.345 + 0.07 * face["fringe"] + 0.05 * x * x + 0.010 * np.abs(np.sin(24.0 * u))
        inner = face.width * (0.93 + 0.0 * v)
    elif style == CURLY:
        line = -0.31 + 0.12 * face["fringe"] + 0.06 * x * x + 0.022 * np.abs(np.cos(13.0 * u + 0.4))
        inner = face.width * (0.92 - 0.10 * np.clip(v, 0.0, 0.5))
    else:
        away = np.abs(x)
        swept = -0.37 + 0.30 * away * (0.55 + 0.45 * away)
        bangs = -0.135 - 0.03 * x * x + 0.022 * np.abs(np.sin(15.0 * (u - part * face.width)))
        line = mix(swept, bangs, face["fringe"])
        tight = 0.90 if style in LONG else 0.95
        inner = face.width * (tight - 0.20 * np.clip(v + 0.1, 0.0, 0.6))
    return smooth_max((line - v) * 0.85, np.abs(u) - inner, 0.10)


def _color(w: Window, style: int, face: Face) -> np.ndarray:
    """Strands from the parting, a band of gloss near the crown, shade below."""
    side, above, _ = _widths(style, face)
    x, y = w.u / (face.width + side), (w.v - EAR_TOP) / (0.47 + above + EAR_TOP)
    if style == CURLY:
        strands = 0.7 * _curls(w.u, w.v)
    else:
        wave = 0.05 * np.sin(15.0 * w.v + 1.0) if style == WAVY else 0.0
        spread = 0.32 + 0.68 * np.clip(1.0 + y, 0.0, 1.0)
        strands = np.sin(24.0 * (x - 0.45 * face["parting"] + wave) / spread)
    lit = 0.50 * face.light * x - 0.30 * y + 0.20 * strands
    color = mix(face.hair, face.hair_dark, np.clip(0.30 - lit, 0.0, 0.85))
    ring = np.sqrt(x * x + y * y) - 0.76
    gloss = glow(np.abs(ring), 0.17) * np.clip(0.1 - y + 0.5 * face.light * x, 0.0, 1.0)
    return mix(color, face.hair_light, 0.75 * gloss * (0.72 + 0.28 * strands))


def _curls(u: Field, v: Field) -> np.ndarray:
    """A pattern of rings in staggered rows, from -1 to 1."""
    line = np.floor(v / 0.085)
    x = (u + 0.05 * (line % 2.0) + 0.02 * np.sin(9.0 * v)) % 0.10 - 0.05
    y = v - (line + 0.5) * 0.085 + 0.015 * np.sin(14.0 * u)
    radius = np.sqrt(x * x + y * y)
    return np.cos(radius * 95.0 - 0.6) * glow(radius, 0.075)


def _reach(style: int, face: Face) -> tuple[Field, Field, Field, Field]:
    side, above, bottom = _widths(style, face)
    width = 1.15 * (face.width + side) + 0.06
    return -width, -(0.47 + above + 0.08), width, bottom + 0.08


def back(canvas: Canvas, face: Face) -> None:
    """Paint the hair behind the head, darker; a bun or pigtails in their own light."""
    for style, rows in face.kinds("hair_shape"):
        if style in (BALD, CROP):
            continue
        part, some = canvas.take(rows), face.take(rows)
        if style == BUN:
            _bun(part, some)
        if style == PIGTAILS:
            _pigtails(part, some)
        with part.window(some.head, *_reach(style, some)) as w:
            distance = np.maximum(_mass(w.u, w.v, style, some), some.hat_line - w.v)
            w.paint(w.inside(distance), some.hair_dark * 0.92)


def _bun(canvas: Canvas, face: Face) -> None:
    radius = 0.11 + 0.09 * face["hair_length"]
    frame = face.head.moved(-0.02 * face["turn"], -0.50 - 0.55 * radius)
    with canvas.window(frame, -0.25, -0.25, 0.25, 0.25) as w:
        outline = circle(w.u, w.v, radius) - 0.008 * np.cos(5.0 * np.arctan2(w.v, w.u) + 0.7)
        seen = w.inside(
            np.maximum(outline, np.where(face.hat_line > -1.0, np.float32(9.0), np.float32(-9.0)))
        )
        swirl = np.sin(42.0 * circle(w.u, w.v, 0.0) + 2.0 * np.arctan2(w.v, w.u))
        lit = 3.0 * (face.light * w.u - w.v) + 0.22 * swirl
        color = mix(face.hair, face.hair_dark, np.clip(0.35 - lit, 0.0, 0.9))
        color = mix(color, face.hair_light, 0.6 * np.clip(lit - 0.15, 0.0, 0.8))
        w.paint(seen, color)


def _pigtails(canvas: Canvas, face: Face) -> None:
    drop = 0.16 + 0.50 * face["hair_length"]
    for side in (-1.0, 1.0):
        frame = face.head.moved(side * (face.width + 0.01), 0.02)
        with canvas.window(frame, -0.32, -0.12, 0.32, drop + 0.2) as w:
            u = side * w.u
            along = np.clip(w.v / drop, 0.0, 1.0)
            bow = u - 0.03 - 0.11 * np.sin(2.6 * along)
            thick = 0.045 + 0.30 * along * (1.0 - along) * (1.0 - 0.4 * along) + 0.01
            tail = segment(bow, w.v, (0.0, 0.0), (0.0, drop)) - thick
            strands = np.sin(60.0 * bow / (0.4 + 6.0 * thick) + 2.0 * along)
            lit = 1.2 * face.light * side * bow + 0.25 * strands - 0.35 * along + 0.15
            color = mix(face.hair, face.hair_dark, np.clip(0.35 - lit, 0.0, 0.9))
            color = mix(color, face.hair_light, 0.5 * np.clip(lit - 0.2, 0.0, 0.8))
            w.paint(w.inside(tail * 0.85), color)
            w.paint(w.inside(ellipse(u - 0.03, w.v - 0.01, 0.055, 0.032)), face.cloth)


def shadow(canvas: Canvas, face: Face) -> None:
    """Darken the forehead and temples where the front hair or a hat hangs over them."""
    for style, rows in face.kinds("hair_shape"):
        part, some = canvas.take(rows), face.take(rows)
        reach = some.width + 0.02
        with part.window(some.head, -reach, -0.5, reach, 0.5) as w:
            skin = w.inside(head_distance(w.u, w.v, some))
            brim = some.hat_line + 0.12 - w.v
            near = -brim
            if style != BALD:
                side = 0.02 * some.light
                hair = -_opening(w.u + side, w.v - 0.03, style, some)
                bottom = _widths(style, some)[2]
                near = np.minimum(near, np.maximum(hair, 1.5 * (w.v - bottom - 0.02)))
            w.paint(0.55 * skin * glow(near, 0.07), some.skin_dark)


def front(canvas: Canvas, face: Face) -> None:
    """Paint the hair around the face, and locks that fall over the shoulders."""
    for style, rows in face.kinds("hair_shape"):
        if style == BALD:
            continue
        part, some = canvas.take(rows), face.take(rows)
        with part.window(some.head, *_reach(style, some)) as w:
            distance = np.maximum(_mass(w.u, w.v, style, some), some.hat_line - w.v)
            distance = smooth_max(distance, -_opening(w.u, w.v, style, some), 0.035)
            w.paint(w.inside(distance), _color(w, style, some))


def beard(canvas: Canvas, face: Face) -> None:
    """Paint stubble, a moustache, a goatee or a full beard in the colour of the hair."""
    for style, rows in face.kinds("beard"):
        if style == 0:
            continue
        part, some = canvas.take(rows), face.take(rows)
        reach = some.width + 0.08
        with part.window(some.head, -reach, -0.05, reach, 0.60) as w:
            u = w.u - 0.07 * some["turn"]
            strands = np.sin(46.0 * u * (1.0 - 0.4 * w.v))
            lit = 0.9 * some.light * u - 0.5 * w.v + 0.12 * strands
            color = mix(some.hair, some.hair_dark, np.clip(0.45 - lit, 0.0, 0.9))
            if style in (STUBBLE, FULL_BEARD):
                _jaw_hair(w, u, style, color, some)
            if style == GOATEE:
                chin = ellipse(u, w.v - 0.44, 0.135, 0.105) - 0.006 * np.abs(np.sin(30.0 * u))
                edge = head_distance(w.u, w.v - 0.02, some, 0.02)
                w.paint(w.inside(smooth_max(chin, edge, 0.05)), color)
            if style != STUBBLE:
                _moustache(w, u, color, some)


def _jaw_hair(w: Window, u: Field, style: int, color: np.ndarray, face: Face) -> None:
    full = style == FULL_BEARD
    x = np.abs(u) / face.width
    cheek = 0.20 - 0.26 * np.clip(x - 0.35, 0.0, 1.0) ** 2 * 2.0 - 0.02 * np.cos(5.0 * x)
    edge = head_distance(w.u, w.v - (0.02 if full else 0.0), face, 0.022 if full else 0.0)
    lips = ellipse(u, w.v - 0.300, 0.150, 0.062)
    shape = np.maximum(np.maximum(edge, 0.9 * (cheek - w.v)), -lips)
    if full:
        w.paint(w.inside(shape + 0.006 * np.abs(np.sin(34.0 * u))), color)
        return
    soft = glow(np.maximum(cheek - w.v, -lips) + 0.03, 0.06) * w.inside(edge)
    w.paint(0.34 * soft, mix(color, paint_color("3a3038"), 0.3))
    lip = ellipse(u, w.v - 0.225, 0.13, 0.022)
    w.paint(0.28 * glow(lip, 0.04), mix(color, paint_color("3a3038"), 0.3))


def _moustache(w: Window, u: Field, color: np.ndarray, face: Face) -> None:
    x = np.abs(u) / 0.165
    line = 0.222 + 0.055 * x * x
    thick = 0.034 * np.clip(1.0 - x, 0.0, 1.0) ** 0.5 * (0.62 + 0.38 * np.clip(6.0 * x, 0.0, 1.0))
    slope = 0.65 * x
    w.paint(w.between(line - thick, line + thick, slope), color)
