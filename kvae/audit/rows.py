"""Which rows a version is asked about, and what else its signatures want."""

import io
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import Model
from kvae.data import Dataset
from kvae.data.conditions import Conditioned

MAX_ROWS = 256
#: Numbers in all rows of an input together, and in those of signatures of many draws.
_NUMBERS, _LEAST = 2**18, 16
_MANY_DRAWS = ("score", "log_likelihood")
_FEWER, _LEAST_OF_MANY_DRAWS = 4, 4  # times, of images
IMAGE_BYTES = "image_bytes"
_WEYL = 0x9E3779B97F4A7C15  # odd, so that its multiples reach every 64-bit word


class Rows(NamedTuple):
    """Rows of x and what belongs to them.

    Args:
        x: `(rows, ...)` float32, as signatures take it.
        condition: `(rows, condition_dim)` float32, or None.
        origin: where they come from, one line.
    """

    x: np.ndarray
    condition: np.ndarray | None
    origin: str


def count_for(element_shape: tuple[int, ...]) -> int:
    """How many rows of a shape are looked at: 256, or fewer large ones."""
    return max(_LEAST, min(MAX_ROWS, _NUMBERS // math.prod(element_shape)))


def of_test(dataset: Dataset) -> Rows:
    """Rows of the test split, evenly from its first to its last.

    Args:
        dataset: its rows as the model takes them, `Conditioned` ones of a conditional model.
    """
    x = dataset.test.x
    count = min(len(x), count_for(x.shape[1:]))
    some = x[np.linspace(0, len(x) - 1, count).astype(int)]
    found = np.asarray(some)
    found = found / np.float32(255) if found.dtype == np.uint8 else found.astype(np.float32)
    condition = some.condition if isinstance(some, Conditioned) else None
    name = dataset.card.get("name", "the data")
    return Rows(found, condition, f"{count} of the {len(x):,} test rows of {name}")


def generated(model: Model, bounded: bool) -> Rows:
    """Rows that the model itself generates, by the audit's own formulas; noise where it has none.

    Args:
        model: in float64.
        bounded: whether they are cut to [0, 1], as images are.
    """
    count = count_for(model.element_shape)
    noise = model.noise(seeds(count))
    condition = None
    if model.condition_dim:
        condition = (noise.uniform("second_stage", model.condition_dim) < 0.5).astype(np.float32)
    try:
        x = model.observed(model.decode(model.prior.draw(noise), condition), noise)
        origin = f"{count} rows that the model generates"
    except Beyond as error:
        # Of zeros and ones: no likelihood refuses them.
        bits = noise.uniform("observation", math.prod(model.element_shape)) < 0.5
        x = bits.reshape(count, *model.element_shape).astype(np.float64)
        origin = f"{count} rows of noise, since the audit cannot generate any: {error}"
    return Rows((np.clip(x, 0, 1) if bounded else x).astype(np.float32), condition, origin)


def seeds(count: int) -> np.ndarray:
    """Seeds that are neighbours and seeds that are far apart, of both signs: `(count,)` int64."""
    near = np.arange(count, dtype=np.uint64)
    far = near * np.uint64(_WEYL)
    return np.where(near % 2 == 0, near // 2, far).view(np.int64)


def inputs_of(
    signature: str, described: dict[str, Any], rows: Rows, model: Model
) -> dict[str, np.ndarray]:
    """What a signature is sent.

    Args:
        signature: its name.
        described: its inputs, as kvae.json has them.
        rows: what it is asked about.
        model: whose prior the latents are from, in float64.

    Returns:
        Name -> `(rows, ...)`; of image files their pixels, uint8, see `as_sent`.

    Raises:
        Beyond: it wants an input that the audit does not know.
    """
    count = len(rows.x)
    if signature in _MANY_DRAWS and rows.x.ndim == 4:
        count = max(_LEAST_OF_MANY_DRAWS, count // _FEWER)
    x, condition = rows.x[:count], rows.condition
    condition = None if condition is None else condition[:count]
    noise = model.noise(seeds(count))

    def made(name: str) -> np.ndarray:
        if name in ("x", "start", "end"):
            return x[::-1] if name == "end" else x
        if name == "seed":
            return seeds(count)
        if name == IMAGE_BYTES:
            return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)
        if name == "fraction":
            return np.linspace(0, 1, count)
        if name == "latent":
            return np.asarray(model.prior.draw(noise))
        if name == "attribute_strength":
            return noise.normal("observation", described[name]["shape"][1])
        if condition is not None and name in ("condition", "start_condition", "end_condition"):
            return condition[::-1] if name == "end_condition" else condition
        raise Beyond(f"an input {name!r}")

    found = {name: np.ascontiguousarray(made(name)) for name in described}
    return {
        name: array if name in ("seed", IMAGE_BYTES) else array.astype(np.float32)
        for name, array in found.items()
    }


def as_sent(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs as a server takes them: pixels as PNG files, `(rows,)` bytes."""
    return {
        name: np.array([_png(image) for image in array]) if name == IMAGE_BYTES else array
        for name, array in inputs.items()
    }


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def as_received(
    inputs: Mapping[str, np.ndarray], element_shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The inverse of `as_sent`.

    Raises:
        Beyond: a file has another size than x: what is kept of it the audit does not compute.
    """
    return {
        name: np.stack([_pixels(bytes(file), element_shape) for file in array])
        if name == IMAGE_BYTES else array
        for name, array in inputs.items()
    }  # fmt: skip


def _pixels(file: bytes, element_shape: tuple[int, ...]) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(file)))
    if image.shape[:2] != element_shape[:2]:
        raise Beyond(f"a file of {image.shape[:2]} pixels for x of {element_shape}")
    return image.reshape(element_shape)
