"""How close reconstructions come to the data."""

import numpy as np

from kvae.metrics import require_finite

SMALLEST_MSE = 1e-10
_ROWS_AT_ONCE = 256


def reconstruction_metrics(
    x: np.ndarray, reconstruction: np.ndarray, *, images: bool
) -> dict[str, float]:
    """Give the squared error, and for images the signal-to-noise ratio.

    Args:
        x: `(n, ...)`; images are floats in [0, 1], not bytes.
        reconstruction: of the same shape and units.
        images: whether a PSNR makes sense.

    Returns:
        `reconstruction_mse`: mean over rows and elements, in the data's own units squared. For
        images `psnr_db`: mean over images of 10 log10(1 / MSE of the image), peak 1; an image's
        MSE counts as 1e-10 if it is less, so that an exact copy has 100 dB and not infinity.

    Raises:
        ValueError: the shapes differ, a value is not finite, or images are not in [0, 1].
    """
    if x.shape != reconstruction.shape:
        raise ValueError(
            f"shapes must be equal: received x {x.shape}, reconstruction {reconstruction.shape}"
        )
    if images and not (
        np.issubdtype(x.dtype, np.floating) and np.issubdtype(reconstruction.dtype, np.floating)
    ):
        raise ValueError(
            "images must be floats in [0, 1]: "
            f"received x {x.dtype}, reconstruction {reconstruction.dtype}"
        )
    require_finite("x", x)
    require_finite("reconstruction", reconstruction)
    if images and (x.min() < 0 or x.max() > 1):
        raise ValueError(f"images must be in [0, 1]: received {x.min():g} to {x.max():g}")
    mse = _mse_of_rows(x, reconstruction)
    metrics = {"reconstruction_mse": float(mse.mean())}
    if images:
        metrics["psnr_db"] = float((-10 * np.log10(np.maximum(mse, SMALLEST_MSE))).mean())
    return metrics


def _mse_of_rows(x: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Give `(n,)` float64, a few rows at a time: many images in float64 would not fit."""
    mse = np.empty(len(x))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        error = np.subtract(x[rows], reconstruction[rows], dtype=np.float64)
        mse[rows] = np.square(error).reshape(len(error), -1).mean(1)
    return mse
