"""What the parts of a drawn face share: frames, lengths and colours made from the factors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kvae.data.faces.canvas import Field, Frame, mix, palette

HEAD_HEIGHT = 0.47
PIVOT = 0.42
SKIN = ("ffe6d6", "f9d2b4", "eab588", "c98d5f", "9a6340", "6b4330")
HAIR = ("2b2730", "543626", "96643c", "f4cb72", "bd5527", "b9bac2")
CLOTHES = ("d9574c", "e8a33d", "6aa35f", "2f9290", "3f67b1", "7d58a6", "cf5c8c")


@dataclass(frozen=True)
class Face:
    """What the parts of a face need to know, for each picture of a batch.

    Args:
        factors: name -> value, float32 `(batch, 1, 1)`.
        head: origin in the middle of the head, turned with it.
        features: the head's frame, moved to where the face looks.
        body: origin in the middle of the picture, moved with the body.
        width: half the width of the head.
        light: horizontal direction of the light.
        skin: colour in even light.
        skin_dark: its colour in the shade.
        skin_light: its colour in full light.
        hair: colour in even light.
        hair_dark: its colour in the shade.
        hair_light: its gloss.
        cloth: colour of the clothes.
        hat: colour of the hat.
        hat_line: height above which a hat hides the hair.
    """

    factors: dict[str, np.ndarray]
    head: Frame
    features: Frame
    body: Frame
    width: np.ndarray
    light: np.ndarray
    skin: np.ndarray
    skin_dark: np.ndarray
    skin_light: np.ndarray
    hair: np.ndarray
    hair_dark: np.ndarray
    hair_light: np.ndarray
    cloth: np.ndarray
    hat: np.ndarray
    hat_line: np.ndarray

    def __getitem__(self, factor: str) -> np.ndarray:
        return self.factors[factor]

    def take(self, rows: np.ndarray) -> "Face":
        """The faces of some rows of the batch."""
        values: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, dict):
                values[part.name] = {name: one[rows] for name, one in value.items()}
            elif isinstance(value, Frame):
                values[part.name] = value.take(rows)
            else:
                values[part.name] = value[..., rows, :, :]
        return Face(**values)

    def kinds(self, factor: str) -> Iterator[tuple[int, np.ndarray]]:
        """Each value of a categorical factor that occurs, with the rows that have it."""
        values = self.factors[factor][:, 0, 0]
        for value in np.unique(values):
            yield int(value), np.flatnonzero(values == value)


def face_of(factors: Mapping[str, np.ndarray]) -> Face:
    """Turn factors `(batch,)` into frames, lengths and colours."""
    f = {name: np.asarray(value, np.float32)[:, None, None] for name, value in factors.items()}
    angle = 0.2 * f["tilt"]
    pivot = Frame(0.10 * f["head_x"], PIVOT + 0.05 * f["head_y"], np.cos(angle), np.sin(angle))
    head = pivot.moved(0.0, -PIVOT)
    one = np.ones_like(angle)
    skin = palette(SKIN, f["skin_tone"])
    hair = palette(HAIR, f["hair_color"] / (len(HAIR) - 1))
    hair = np.clip(hair * (1.0 + 0.18 * f["hair_shade"]) + 0.03 * f["hair_shade"], 0.0, 1.0)
    tint = np.array([0.78, 0.62, 0.58], np.float32)[:, None, None, None]
    return Face(
        factors=f,
        head=head,
        features=head.moved(0.07 * f["turn"], 0.0),
        body=Frame(0.06 * f["head_x"], 0.03 * f["head_y"] - 0.04, one, 0.0 * one),
        width=0.35 + 0.08 * f["face_width"],
        light=f["light"],
        skin=skin,
        skin_dark=skin * tint,
        skin_light=mix(skin, 1.0, 0.38),
        hair=hair,
        hair_dark=hair * np.array([0.63, 0.52, 0.49], np.float32)[:, None, None, None],
        hair_light=mix(hair, np.array([1.0, 0.93, 0.82], np.float32)[:, None, None, None], 0.42),
        cloth=palette(CLOTHES, f["clothes_hue"], cyclic=True),
        hat=palette(CLOTHES, (f["clothes_hue"] + 0.43) % 1.0, cyclic=True),
        hat_line=np.where(f["hat"] > 0, np.float32(-0.27), np.float32(-9.0)),
    )


def head_distance(u: Field, v: Field, face: Face, grow: float = 0.0) -> np.ndarray:
    """Distance to the outline of the head: an ellipse that narrows towards the chin."""
    height = HEAD_HEIGHT + grow
    y = v / height
    below = np.clip(y, 0.0, 1.0)
    width = (face.width + grow) * (1.0 - (0.33 - 0.27 * face["jaw"]) * below * below)
    x = u / width
    x2, y2 = x * x, y * y
    round_ = np.sqrt(x2 + y2) + 1e-6
    square = np.sqrt(np.sqrt(x2 * x2 + y2 * y2))
    radius = mix(round_, square, 0.12 + 0.30 * face["jaw"])
    slope = np.sqrt(x2 / (width * width) + y2 / (height * height) + 1e-6)
    return (radius - 1.0) * round_ / slope
