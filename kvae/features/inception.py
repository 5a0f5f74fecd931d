"""Inception v3 with the ImageNet weights that Keras publishes: the features of FID."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae.data import Dataset
from kvae.errors import UsageError
from kvae.features import (
    FeatureNet,
    default_inception_weights,
    extractor,
    find_inception_weights,
)

SIZE = 299
PUBLISHED_IN = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
PUBLISHED_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
_MOST_ROWS = 32  # of 299x299, whatever the size of the images


def make(
    dataset: Dataset,
    *,
    inception_weights: str | Path | None,
    cache_dir: str | Path | None,
    seed: int,
) -> FeatureNet:
    """Load the network from a file of weights.

    These are Keras's weights, not those of the first TensorFlow release (Szegedy et al. 2016,
    "Rethinking the Inception architecture") that most published FIDs are computed with (Heusel et
    al. 2017, "GANs trained by a two time-scale update rule", appendix): the scale is alike, the
    values are not the same.

    Args:
        dataset: not needed.
        inception_weights: see `kvae.features.find_inception_weights`.
        cache_dir: not needed.
        seed: not needed.

    Returns:
        2,048 features of images of any size. The key is "fid_keras_inception" for the published
        weights, "frechet_inception" for others.

    Raises:
        UsageError: there is no file of weights, or it is something else.
    """
    del dataset, cache_dir, seed
    path = find_inception_weights(inception_weights)
    if path is None:
        raise UsageError(
            f"--features inception: there are no weights at {default_inception_weights()}; put "
            f"the file of that name from {PUBLISHED_IN} there, or name it with "
            "--inception-weights FILE"
        )
    content = path.read_bytes()
    published = hashlib.md5(content, usedforsecurity=False).hexdigest() == PUBLISHED_MD5
    network = _load(path)
    # TensorFloat-32 rounds products of float32 to 10 bits: a GPU's features would differ.
    tf.config.experimental.enable_tensor_float_32_execution(False)

    # Compiled because Keras keeps every layer's output until the last: 9 GB for 64 images.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def forward(x):
        x = keras.ops.image.resize(
            keras.ops.cast(x, "float32"), (SIZE, SIZE), interpolation="bilinear", antialias=True,
            data_format="channels_last",
        )  # fmt: skip
        return network(x / 127.5 - 1.0, training=False)

    def net(images: np.ndarray) -> np.ndarray:
        x = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        return forward(x).numpy()

    num_features = network.output_shape[-1]
    origin = (
        "of ImageNet, as Keras publishes them"
        if published
        else "NOT as Keras publishes them: no FID"
    )
    description = (
        f"keras.applications InceptionV3, weights (sha256 "
        f"{hashlib.sha256(content).hexdigest()[:16]}, {origin}); images as uint8, grey ones "
        f"repeated to 3 channels, resized to {SIZE}x{SIZE} (bilinear, antialiased where that "
        f"shrinks them), scaled to [-1, 1]; {num_features:,} features, the mean over the last map"
    )
    key = "fid_keras_inception" if published else "frechet_inception"
    return FeatureNet(key, description, extractor(net, num_features, most=_MOST_ROWS))


def _network() -> Any:
    return keras.applications.InceptionV3(
        include_top=False, pooling="avg", weights=None, input_shape=(SIZE, SIZE, 3)
    )


def _load(path: Path) -> Any:
    with _float32():
        network = _network()
    try:
        network.load_weights(path)
    except Exception as error:  # of many kinds: the file is not ours
        reason = " ".join(str(error).split())[:150]
        raise UsageError(
            f"{path} does not hold the weights of Keras's InceptionV3 without its top: {reason}"
        ) from error
    return network


@contextmanager
def _float32() -> Iterator[None]:
    """Build layers in float32, whatever a mixed-precision run has set."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
