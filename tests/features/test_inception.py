import hashlib
import inspect
import sys

import keras
import numpy as np
import pytest

from kvae import features
from kvae.data import Dataset, Split
from kvae.errors import UsageError
from kvae.features import feature_net, inception

ROWS = Split(np.zeros((10, 8, 8, 3), np.uint8))
DATA = Dataset("images", ROWS, ROWS, ROWS)
KERNEL = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, -1.0]])


def network():
    """The contract of Inception without its top; its features are of the mean colour."""
    inputs = keras.Input((299, 299, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(mean))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of weights in the layout of those that Keras publishes."""
    monkeypatch.setattr(inception, "_network", network)
    known = network()
    known.set_weights([KERNEL, np.array([0.25, 0.0])])
    path = tmp_path / "weights.h5"
    known.save(path)
    return path


def _net(weights):
    return feature_net("inception", DATA, inception_weights=weights)


def test_the_network_sees_colours_from_minus_one_to_one(weights):
    colors = np.array([[0, 0, 0], [255, 255, 255], [51, 102, 204]], np.uint8)
    wanted = (colors / 127.5 - 1) @ KERNEL + [0.25, 0.0]
    for size in (8, 64, 320):
        x = np.broadcast_to(colors[:, None, None], (3, size, size, 3))
        np.testing.assert_allclose(_net(weights).extract(x), wanted, atol=2e-3)


def test_grey_is_the_colour_of_three_equal_channels(weights):
    grey = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8)
    extract = _net(weights).extract
    np.testing.assert_array_equal(extract(grey), extract(np.repeat(grey, 3, axis=-1)))


def test_large_images_are_averaged_not_sampled(weights):
    # A third of the size: without antialiasing only the middle column of three would be seen.
    x = np.zeros((1, 30, 897, 3), np.uint8)
    x[:, :, ::3] = 255
    wanted = np.full(3, 85 / 127.5 - 1) @ KERNEL + [0.25, 0.0]
    np.testing.assert_allclose(_net(weights).extract(x)[0], wanted, atol=1e-2)


def test_only_published_weights_earn_the_name_fid(weights, monkeypatch):
    content = weights.read_bytes()
    other = _net(weights)
    assert other.key == "frechet_inception" and "no FID" in other.description
    assert hashlib.sha256(content).hexdigest()[:16] in other.description
    monkeypatch.setattr(inception, "PUBLISHED_MD5", hashlib.md5(content).hexdigest())
    published = _net(weights)
    assert published.key == "fid_keras_inception" and "no FID" not in published.description


def test_what_is_published_is_what_keras_says():
    source = inspect.getsource(sys.modules[keras.applications.InceptionV3.__module__])
    assert inception.PUBLISHED_MD5 in source
    assert inception.PUBLISHED_IN + features.WEIGHTS_NAME in source.replace('"\n    "', "")


def test_the_network_is_float32_in_a_mixed_precision_run(weights):
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    plain = _net(weights).extract(x)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(_net(weights).extract(x), plain)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_without_weights_it_says_where_they_belong(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="--inception-weights FILE") as error:
        feature_net("inception", DATA)
    assert str(tmp_path / "models" / features.WEIGHTS_NAME) in str(error.value)


def test_a_file_of_something_else_is_one_line(weights, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(weights.read_bytes()[:3000])
    text = tmp_path / "page.h5"
    text.write_text("<html>not found</html>\n")
    other = tmp_path / "other.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]).save(other)
    unnamed = tmp_path / "weights"
    unnamed.write_bytes(weights.read_bytes())
    for path in (cut, text, other, unnamed):
        with pytest.raises(UsageError, match="does not hold the weights") as error:
            _net(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
