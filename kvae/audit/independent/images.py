"""How images compare: structural similarity, a network's features, and the Fréchet distance."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import correlate1d

from kvae.audit.independent.layers import FORMULAS

Array = np.ndarray
_SIDE, _STDDEV = 11, 1.5
_FIRST, _SECOND = 0.01**2, 0.03**2
_LARGE = 64  # pixels, from which a network's first convolution goes four at a time


def similarity(x: Array, other: Array) -> Array:
    """SSIM of images in [0, 1], `(rows, height, width, channels)`: `(rows,)`.

    By correlation with a Gaussian window, where it lies inside the image.

    Source: Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment", 2004, equation 13.
    """
    side = min(_SIDE, *x.shape[1:3])
    window = np.exp(-0.5 * np.square((np.arange(side) - (side - 1) / 2) / _STDDEV))
    window /= window.sum()
    first = side // 2
    inside = [slice(first, first + size - side + 1) for size in x.shape[1:3]]

    def mean(values: Array) -> Array:
        for axis in (1, 2):
            values = correlate1d(values, window, axis=axis)
        return values[:, inside[0], inside[1]]

    a, b = x.astype(np.float64), np.clip(other, 0, 1).astype(np.float64)
    mean_a, mean_b = mean(a), mean(b)
    within_a, within_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _FIRST) * (2 * both + _SECOND)
    below = (mean_a**2 + mean_b**2 + _FIRST) * (within_a + within_b + _SECOND)
    return (above / below).mean(axis=(1, 2, 3))


def features(weights: Sequence[Array], levels: Array) -> Array:
    """What the network that names labels makes of images, `(rows, 128)`.

    Args:
        weights: of each convolution its kernel, and its normalisation's scale, centre, mean and
            variance; of the dense layer kernel and bias.
        levels: uint8 `(rows, height, width, channels)`.
    """
    *convolutions, kernel, bias = weights
    x = levels / kernel.dtype.type(127.5) - 1
    longest = max(levels.shape[1:3])
    step = 4 if longest >= _LARGE else 2
    for start in range(0, len(convolutions), 5):
        own, *normal = convolutions[start : start + 5]
        config = {"name": "", "strides": (step, step)}
        x = FORMULAS["Conv2D"](config, [own], x)
        plain = {"name": "", "axis": -1, "scale": True, "center": True, "epsilon": 1e-3}
        x = np.maximum(FORMULAS["BatchNormalization"](plain, normal, x), 0)
        step = 2
    flat = x.reshape(len(x), -1)
    return FORMULAS["Dense"]({"name": "", "activation": "silu"}, [kernel, bias], flat)


def frechet(first: Array, second: Array) -> float:
    """The squared Fréchet distance between the normals of two sets of features `(rows, d)`.

    Source: Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982.
    """
    (mean_a, cov_a), (mean_b, cov_b) = (
        (part.mean(axis=0), np.cov(part, rowvar=False)) for part in (first, second)
    )
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0)).sum()
    between = np.square(mean_a - mean_b).sum()
    return float(between + np.trace(cov_a) + np.trace(cov_b) - 2 * roots)
