"""How close reconstructions come to the data."""

from typing import Any

import numpy as np

from kvae.data.rows import rows_at_once, slices
from kvae.metrics import require_finite
from kvae.metrics.bootstrap import bootstrap_interval

SMALLEST_MSE = 1e-10
WINDOW_SIDE, WINDOW_STDDEV = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def mean_errors(rows: dict[str, np.ndarray], *, seed: int) -> dict[str, Any]:
    """Give the means of what `row_errors` gives.

    Args:
        rows: name -> `(n,)`, at least two rows.
        seed: of the bootstrap, 0 or more.

    Returns:
        JSON values. `mse_reconstruction`, and for images `psnr_db_reconstruction` and
        `ssim_reconstruction`: means over rows. For each `<name>_interval`, [low, high] of
        `bootstrap_interval`, holds the true mean in 95% of draws. For images
        `psnr_db_reconstruction_p5` and `psnr_db_reconstruction_p95`, quantiles over images.

    Raises:
        ValueError: there are fewer than two rows.
    """
    metrics: dict[str, Any] = {}
    for name, values in rows.items():
        key = f"{name}_reconstruction"
        metrics[key] = float(values.mean())
        metrics[f"{key}_interval"] = list(bootstrap_interval(values, seed=seed))
    if "psnr_db" in rows:
        low, high = np.quantile(rows["psnr_db"], [0.05, 0.95])
        metrics |= {
            "psnr_db_reconstruction_p5": float(low),
            "psnr_db_reconstruction_p95": float(high),
        }
    return metrics


def row_errors(x: np.ndarray, reconstruction: np.ndarray, *, images: bool) -> dict[str, np.ndarray]:
    """Give how close each reconstruction comes.

    Args:
        x: `(n, ...)`; images are `(n, height, width, channels)` floats in [0, 1], not bytes.
        reconstruction: of the same shape and units.
        images: whether a PSNR and an SSIM make sense.

    Returns:
        `(n,)` float64 each. `mse`: mean over elements, in the data's own units squared.
        For images `psnr_db`: 10 log10(1 / MSE), peak 1; an MSE counts as 1e-10 if it is less, so
        that an exact copy has 100 dB and not infinity.
        For images `ssim`: structural similarity (Wang et al. 2004, "Image quality assessment",
        equation 13 and section III-C), the mean over windows and channels, 1 for an exact copy and
        from -1. Windows are Gaussian, 11 pixels wide (or the image's smaller side) with a standard
        deviation of 1.5, and lie inside the image; K1 = 0.01, K2 = 0.03. For this one a
        reconstruction outside [0, 1] is clipped, as when it is shown. It is what `tf.image.ssim`
        is, in float64: that one's float32 is wrong by some 1e-4 where both images are flat.

    Raises:
        ValueError: the shapes differ, a value is not finite, or images have another shape, type
            or range.
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
    if images and x.ndim != 4:
        raise ValueError(f"images must be (n, height, width, channels): received {x.shape}")
    require_finite("x", x)
    require_finite("reconstruction", reconstruction)
    if images and (x.min() < 0 or x.max() > 1):
        raise ValueError(f"images must be in [0, 1]: received {x.min():g} to {x.max():g}")
    mse = _mse_of_rows(x, reconstruction)
    if not images:
        return {"mse": mse}
    return {"mse": mse, "psnr_db": psnr_of(mse), "ssim": _ssim_of_rows(x, reconstruction)}


def psnr_of(mse: np.ndarray) -> np.ndarray:
    """The peak signal-to-noise ratio, dB, of squared errors of images in [0, 1]."""
    return -10 * np.log10(np.maximum(mse, SMALLEST_MSE))


def _mse_of_rows(x: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Give `(n,)` float64, a few rows at a time: many images in float64 would not fit."""
    mse = np.empty(len(x))
    for rows in slices(len(x), rows_at_once(x)):
        error = np.subtract(x[rows], reconstruction[rows], dtype=np.float64)
        mse[rows] = np.square(error).reshape(len(error), -1).mean(1)
    return mse


def _ssim_of_rows(x: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Give `(n,)` float64, a few images at a time.

    A window is the product of one down and one across: the means over all windows of an image are
    two products of matrices, some 20 times faster than the convolutions of `tf.image.ssim`.
    """
    side = min(WINDOW_SIDE, *x.shape[1:3])
    down, across = (_windows(size, side) for size in x.shape[1:3])

    def means(values):
        return down @ values @ across.T

    ssim = np.empty(len(x))
    # In float64, and several arrays of them: fewer rows than of float32.
    for rows in slices(len(x), max(1, rows_at_once(x) // 8)):
        a = np.moveaxis(x[rows].astype(np.float64), 3, 1)
        b = np.moveaxis(np.clip(reconstruction[rows], 0, 1).astype(np.float64), 3, 1)
        mean_a, mean_b = means(a), means(b)
        product, squares = mean_a * mean_b, np.square(mean_a) + np.square(mean_b)
        levels = (2 * product + _C1) / (squares + _C1)
        covariance, variances = means(a * b) - product, means(a * a + b * b) - squares
        ssim[rows] = (levels * (2 * covariance + _C2) / (variances + _C2)).mean((1, 2, 3))
    return ssim


def _windows(size: int, side: int) -> np.ndarray:
    """The weights of each window along a line of pixels, `(size - side + 1, size)`."""
    weights = np.exp(-np.square(np.arange(side) - (side - 1) / 2) / (2 * WINDOW_STDDEV**2))
    found = np.zeros((size - side + 1, size))
    for first, row in enumerate(found):
        row[first : first + side] = weights / weights.sum()
    return found
