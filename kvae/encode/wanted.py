"""What a model takes, and rows as it takes them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.data.images.crops import CELEBA_HEIGHT, CELEBA_WIDTH, CROPS
from kvae.data.images.decoding import Unreadable, fit, read
from kvae.data.images.files import MAX_BYTES
from kvae.data.images.pixels import ROUNDING
from kvae.data.tables.numbers import LARGEST, fits
from kvae.errors import UsageError

_TRAINED_ON = "which --binarize trained on: make them binary first"


class Wanted(NamedTuple):
    """What the model takes.

    Args:
        shape: of one x: `(features,)`, or `(height, width, channels)`.
        crop: what is kept of an image.
        columns: names of the features, where the model was trained on a table that has them.
        binarize: whether it was trained on levels or numbers that were made 0 and 1.
    """

    shape: tuple[int, ...]
    crop: str = "center"
    columns: tuple[str, ...] = ()
    binarize: bool = False

    @property
    def images(self) -> bool:
        """Whether x is an image."""
        return len(self.shape) == 3

    def decode(self, content: bytes) -> np.ndarray:
        """The pixels of an image file, as the signature `encode_bytes` sees them.

        Raises:
            Unreadable: it is no image, or none that can be used.
        """
        if len(content) > MAX_BYTES:
            raise Unreadable(f"is larger than {MAX_BYTES:,} bytes")
        image = read(content)
        aligned = image.size == (CELEBA_WIDTH, CELEBA_HEIGHT)
        crop = "center" if self.crop in CROPS and not aligned else self.crop
        return fit(image, crop, self.shape[0], self.shape[2], binarize=self.binarize)

    def check_files(self, path: Path) -> None:
        """See that image files can become x.

        Raises:
            UsageError: they cannot.
        """
        if not self.images:
            raise UsageError(f"{path} holds images, but the model takes vectors of {self.shape[0]}")
        height, width, channels = self.shape
        if height != width or channels not in (1, 3):
            raise UsageError(
                f"{path} holds image files, which become squares of 1 or 3 channels; the model "
                f"takes x of shape {self.shape}: give it arrays in .npy files"
            )


def checked(x: np.ndarray, wanted: Wanted) -> np.ndarray:
    """A row of numbers as the model takes it: uint8 or float32.

    Raises:
        Unreadable: they are not.
    """
    if x.shape != wanted.shape:
        raise Unreadable(f"is of shape {x.shape}, not {wanted.shape}")
    if x.dtype == np.uint8 and wanted.images:
        if wanted.binarize and not ((x == 0) | (x == 255)).all():
            raise Unreadable(f"holds other levels than 0 and 255, {_TRAINED_ON}")
        return x
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise Unreadable("holds numbers that are not finite")
    if not wanted.images:
        if not fits(x).all():
            raise Unreadable(f"holds a number of more than {LARGEST:g} in size")
        if wanted.binarize and not ((x == 0) | (x == 1)).all():
            raise Unreadable(f"holds other numbers than 0 and 1, {_TRAINED_ON}")
        return x
    if not (x.min() >= -ROUNDING and x.max() <= 1 + ROUNDING):
        raise Unreadable(f"is an image of levels {x.min():.4g} to {x.max():.4g}, not 0 to 1")
    x = np.clip(x, 0, 1)
    if wanted.binarize and not ((x == 0) | (x == 1)).all():
        raise Unreadable(f"holds other floats than 0 and 1, {_TRAINED_ON}")
    return x
