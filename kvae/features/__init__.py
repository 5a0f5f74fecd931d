"""Networks that turn images into vectors, in which images can be compared: listed in FEATURES.

Pixels are a poor measure of how far two images are apart. Frechet distances, precision and recall,
and nearest neighbours are therefore taken between features. A member is a function

    make(dataset, *, inception_weights, cache_dir, seed) -> FeatureNet

and says in the description that stands beside every number what its features are: numbers of
different features cannot be held against each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvae.errors import UsageError
from kvae.files import is_file
from kvae.options import one_of
from kvae.registry import Member, find
from kvae.saying import say

if TYPE_CHECKING:  # the command line's --help lists the features, and needs no NumPy for it
    import numpy as np

    from kvae.data import Dataset

AUTO = "auto"
_LEAST_SKILL = 0.1  # what has learned less of its labels knows nothing of images
WEIGHTS_NAME = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


class FeatureNet(NamedTuple):
    """Images to vectors.

    Args:
        key: part of a metric's name, such as "frechet_attributes". Only Inception with the weights
            that Keras publishes is "fid_keras_inception": other features' distances are no FID.
        description: the protocol in words, the checksum of the weights included.
        extract: images `(n, height, width, 1 or 3)`, uint8 or float in [0, 1], to float32
            `(n, d)`. Floats are clipped and rounded to uint8 first, so that samples are treated
            like data. An image's features do not depend on the other images.
        skill: of what was trained on labels: how much of the way from always giving the commonest
            answer (0) to being always right (1) it has come, on held-out images; None of others.
    """

    key: str
    description: str
    extract: Callable[[np.ndarray], np.ndarray]
    skill: float | None = None


def _inception() -> Any:
    from kvae.features import inception

    return inception.make


def _attributes() -> Any:
    from kvae.features import attributes

    return attributes.make


def _pca() -> Any:
    from kvae.features import pca

    return pca.make


FEATURES = {
    "inception": Member("Inception v3 with ImageNet weights (--inception-weights)", _inception),
    "attributes": Member("a small network trained to name the data's own labels", _attributes),
    "pca": Member("principal components of the pixels", _pca),
}


def feature_net(
    name: str,
    dataset: Dataset,
    *,
    inception_weights: str | Path | None = None,
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> FeatureNet:
    """Make a network that turns images into features. Nothing is ever downloaded.

    Args:
        name: a key of FEATURES; or "auto": inception where there are weights, else attributes
            where there are labels that can be learned, else pca.
        dataset: images; features that are learned, are learned from its train split.
        inception_weights: the file; None looks where Keras keeps it.
        cache_dir: where trained networks are kept; None for `kvae.data.cache.default_cache_dir()`.
        seed: of what is trained, 0 or more.

    Raises:
        UsageError: unknown name, no images, no weights or damaged ones, or no labels to train with.
    """
    if dataset.kind != "images":
        raise UsageError(f"features are of images, and this dataset holds {dataset.kind}")
    if name != AUTO and name not in FEATURES:
        raise UsageError(f"features: {one_of((AUTO, *FEATURES), name)}")

    def made(name: str) -> FeatureNet:
        make = find(FEATURES, name, "features")
        return make(dataset, inception_weights=inception_weights, cache_dir=cache_dir, seed=seed)

    if name != AUTO:
        return made(name)
    net = made(_best(dataset, inception_weights))
    if net.skill is None or net.skill >= _LEAST_SKILL:
        return net
    say(f"features   pca: a network did not learn the labels ({net.skill:.0%} of what there is)")
    return made("pca")


def find_inception_weights(given: str | Path | None = None) -> Path | None:
    """The file of Inception's weights, or None if none is given and Keras has none either.

    Raises:
        UsageError: the given file does not exist.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not is_file(path):
            raise UsageError(f"--inception-weights {path}: no such file")
        return path
    path = default_inception_weights()
    return path if path.is_file() else None


def default_inception_weights() -> Path:
    """Where `keras.applications` keeps the file that it downloads."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return home / "models" / WEIGHTS_NAME


def extractor(
    net: Callable[[np.ndarray], np.ndarray],
    num_features: int,
    image_shape: tuple[int, ...] | None = None,
    *,
    most: int | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Make `FeatureNet.extract` of a network that takes one batch of uint8 images.

    Args:
        net: uint8 `(rows, height, width, channels)` to `(rows, num_features)`.
        num_features: d.
        image_shape: the only (height, width, channels) that it takes; None for any.
        most: images of a batch that its memory allows; None: as `kvae.data.rows.rows_at_once`.

    Returns:
        A function that raises ValueError for images of another shape or type, and for values, of
        pixels or features, that are not finite.
    """
    import numpy as np

    from kvae.data.rows import rows_at_once, slices
    from kvae.metrics import require_finite

    def extract(images: np.ndarray) -> np.ndarray:
        _check_images(images, image_shape)
        features = np.empty((len(images), num_features), np.float32)
        size = rows_at_once(images)
        for rows in slices(len(images), min(size, most or size)):
            features[rows] = net(_as_uint8(images[rows]))
            require_finite("features", features[rows])
        return features

    return extract


def _best(dataset: Dataset, inception_weights: str | Path | None) -> str:
    if find_inception_weights(inception_weights) is not None:
        return "inception"
    from kvae.features.attributes import heads_of

    return "attributes" if heads_of(dataset.train.labels, dataset.valid.labels) else "pca"


def _check_images(images: np.ndarray, image_shape: tuple[int, ...] | None) -> None:
    shape = tuple(images.shape)
    wanted = image_shape or ("height", "width", "1 or 3")
    if len(shape) != 4 or shape[3] not in (1, 3) or image_shape not in (None, shape[1:]):
        shown = ", ".join(str(size) for size in wanted)
        raise ValueError(f"images must be (n, {shown}), received {shape}")
    if images.dtype != "uint8" and images.dtype.kind != "f":
        raise ValueError(f"images must be uint8 or float in [0, 1], received {images.dtype}")


def _as_uint8(images: np.ndarray) -> np.ndarray:
    import numpy as np

    from kvae.data.images.pixels import as_levels
    from kvae.metrics import require_finite

    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    require_finite("images", images)
    return as_levels(images)
