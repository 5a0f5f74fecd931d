"""Principal components of the pixels: features of images without labels."""

import hashlib
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from kvae.data import Dataset
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import chosen_rows
from kvae.features import FeatureNet, extractor
from kvae.probability.streams import generator

MAX_FEATURES = 64
MAX_ROWS = 10_000
_MAX_NUMBERS = 2**27  # of the fit, 512 MB: fewer rows of large images


def make(
    dataset: Dataset,
    *,
    inception_weights: str | Path | None,
    cache_dir: str | Path | None,
    seed: int,
) -> FeatureNet:
    """Fit principal components to the train split.

    They see light, colour and pose but no detail: distances in them are those of blurred images.

    Args:
        dataset: images.
        inception_weights: not needed.
        cache_dir: not needed.
        seed: of the rows that are used and of the randomised fit.

    Returns:
        The coordinates on at most 64 components, in units of a pixel's range, not whitened.
    """
    del inception_weights, cache_dir
    x = dataset.train.x
    shape = x.shape[1:]
    most = min(MAX_ROWS, max(2, _MAX_NUMBERS // int(np.prod(shape))))
    rows = chosen_rows(len(x), most, generator(seed, "pca rows"))
    count = len(rows)
    flat = as_unit_interval(x[rows]).reshape(count, -1)
    fit = PCA(
        min(MAX_FEATURES, count - 1, flat.shape[1]), svd_solver="randomized", random_state=seed
    ).fit(flat)
    components = np.asarray(fit.components_, np.float64)
    mean = np.asarray(fit.mean_, np.float64)

    def net(images: np.ndarray) -> np.ndarray:
        return (as_unit_interval(images).reshape(len(images), -1) - mean) @ components.T

    digest = hashlib.sha256(mean.tobytes() + components.tobytes()).hexdigest()[:16]
    description = (
        f"the first {len(components)} principal components (sha256 {digest}) of the pixels of "
        f"{count:,} train images, {fit.explained_variance_ratio_.sum():.1%} of their variance; "
        f"images as uint8 over 255, {shape[0]}x{shape[1]}x{shape[2]}, not resized; no network, so "
        "fine detail does not count"
    )
    return FeatureNet("frechet_pca", description, extractor(net, len(components), shape))
