"""The independent properties of a drawn face, and how often each occurs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kvae.errors import UsageError


class Factor(NamedTuple):
    """One independent property of a face.

    Args:
        kind: "categorical" or "continuous".
        help: one line of meaning.
        values: names of the values 0, 1, ... of a categorical factor.
        chances: probability of each value.
        low: least value of a continuous factor.
        high: greatest value.
        zero: probability that a continuous factor is exactly `low`.
    """

    kind: str
    help: str
    values: tuple[str, ...] = ()
    chances: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0
    zero: float = 0.0


def _one_of(help: str, **chances: float) -> Factor:
    return Factor("categorical", help, tuple(chances), tuple(chances.values()))


def _range(help: str, low: float = 0.0, high: float = 1.0, zero: float = 0.0) -> Factor:
    return Factor("continuous", help, low=low, high=high, zero=zero)


FACTORS = {
    "skin_tone": _range("from pale (0) to deep brown (1)"),
    "face_width": _range("from narrow to wide"),
    "jaw": _range("from a pointed to a square jaw"),
    "hair_color": _one_of(
        "colour of hair, brows and beard",
        black=0.2,
        dark_brown=0.2,
        light_brown=0.2,
        blond=0.18,
        red=0.12,
        gray=0.1,
    ),
    "hair_shade": _range("darker or lighter than the colour's middle", -1.0),
    "hair_shape": _one_of(
        "how the hair is worn",
        bald=0.07,
        crop=0.19,
        straight=0.24,
        wavy=0.2,
        curly=0.14,
        bun=0.08,
        pigtails=0.08,
    ),
    "hair_length": _range("reach of hair, height of a crop, size of curls or bun"),
    "fringe": _range("how far the front hair covers the forehead"),
    "parting": _range("side on which the hair parts", -1.0),
    "brow_weight": _range("from thin to bushy brows"),
    "brow_raise": _range("from lowered to raised brows", -1.0),
    "eye_color": _one_of("colour of the iris", brown=0.4, blue=0.25, green=0.2, gray=0.15),
    "eye_size": _range("from small to large eyes"),
    "eye_open": _range("from narrow to wide open eyes"),
    "eye_spacing": _range("from close to far apart"),
    "gaze": _range("where the eyes look, left to right", -1.0),
    "nose_size": _range("from small to big"),
    "smile": _range("from a slight frown to a broad smile", -1.0),
    "mouth_open": _range("from closed to wide open", zero=0.45),
    "lip_color": _range("from bare lips to red lipstick"),
    "blush": _range("from plain to rosy cheeks"),
    "beard": _one_of(
        "hair on the face", none=0.72, stubble=0.08, moustache=0.06, goatee=0.05, full=0.09
    ),
    "glasses": _one_of("glasses", none=0.76, round=0.09, square=0.1, sunglasses=0.05),
    "earrings": _one_of("earrings", no=0.75, yes=0.25),
    "hat": _one_of("hat", none=0.76, beanie=0.07, cap=0.06, fedora=0.06, beret=0.05),
    "clothes": _one_of("clothes", tee=0.24, striped=0.2, shirt=0.2, turtleneck=0.18, vneck=0.18),
    "clothes_hue": _range("colour of clothes and, opposite, of the hat; a circle"),
    "tilt": _range("lean of the head, left to right", -1.0),
    "turn": _range("turn of the face, left to right", -1.0),
    "head_x": _range("head from left to right", -1.0),
    "head_y": _range("head from high to low", -1.0),
    "light": _range("light from the left or the right", -1.0),
    "background": _one_of("what is behind", halo=0.2, diagonal=0.2, sun=0.2, bokeh=0.2, hills=0.2),
    "background_hue": _range("its hue; a circle"),
    "background_tone": _range("from pastel to deep"),
}


def sample_factors(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the factors of faces, independently of one another.

    Args:
        count: number of faces.
        rng: where the numbers come from; the first faces do not depend on `count`.

    Returns:
        name -> `(count,)`, int64 for categorical and float32 for continuous factors.
    """
    uniform = rng.random((count, len(FACTORS)))
    return {
        name: _quantile(factor, uniform[:, column])
        for column, (name, factor) in enumerate(FACTORS.items())
    }


def _quantile(factor: Factor, uniform: np.ndarray) -> np.ndarray:
    if factor.kind == "categorical":
        edges = np.cumsum(factor.chances)[:-1]
        return np.searchsorted(edges, uniform, side="right").astype(np.int64)
    scaled = np.maximum(uniform - factor.zero, 0.0) / (1.0 - factor.zero)
    return (factor.low + (factor.high - factor.low) * scaled).astype(np.float32)


def check_factors(factors: Mapping[str, np.ndarray]) -> int:
    """Check that every factor is given, for the same number of faces and in its range.

    Args:
        factors: name -> `(count,)`.

    Returns:
        The number of faces.

    Raises:
        UsageError: a factor is missing, unknown, of another length or out of its range.
    """
    if set(factors) != set(FACTORS):
        odd = ", ".join(sorted(set(factors) ^ set(FACTORS)))
        raise UsageError(f"exactly the factors in FACTORS are wanted; missing or unknown: {odd}")
    shapes = {np.shape(value) for value in factors.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise UsageError(f"factors must all have the shape (count,), got {sorted(shapes)}")
    for name, factor in FACTORS.items():
        _check_range(name, factor, np.asarray(factors[name]))
    return int(next(iter(shapes))[0])


def _check_range(name: str, factor: Factor, values: np.ndarray) -> None:
    low, high = factor.low, factor.high
    if factor.kind == "categorical":
        low, high = 0, len(factor.values) - 1
        if not np.all(np.equal(np.floor(values), values)):
            raise UsageError(f"factor {name!r} is an integer from 0 to {high}")
    if not np.all((values >= low) & (values <= high)):
        raise UsageError(f"factor {name!r} must be from {low} to {high}")


def describe_factors() -> dict[str, Any]:
    """FACTORS as JSON values, for a data card."""
    return {
        name: {"kind": factor.kind, "help": factor.help}
        | (
            {"values": list(factor.values)}
            if factor.kind == "categorical"
            else {"low": factor.low, "high": factor.high}
        )
        for name, factor in FACTORS.items()
    }
