"""Black and white out of grey: the same threshold wherever images become x."""

import io

import celeba_testing
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kvae import data
from kvae.config import resolve
from kvae.data.images.decoding import decode
from kvae.data.images.pixels import binary
from kvae.encode.sources import Wanted
from kvae.errors import UsageError
from kvae.serving.image_bytes import images_of
from kvae.training.preflight import check

SPLITS = ("train", "valid", "test")


def written(levels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures():
    """Files of 8x8 noise, one of them of all levels next to the threshold."""
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 256, (8, 8), dtype=np.uint8) for _ in range(29)]
    return [written(one) for one in [*levels, np.arange(96, 160, dtype=np.uint8).reshape(8, 8)]]


@pytest.fixture(scope="module")
def places(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    folder = root / "folder"
    folder.mkdir()
    for number, content in enumerate(pictures):
        (folder / f"{number}.png").write_bytes(content)
    return {
        "folder": folder,
        "celeba": celeba_testing.write(root / "celeba", celeba_testing.official()),
    }


def test_the_threshold_is_one_half_of_255():
    np.testing.assert_array_equal(
        binary(np.array([0, 127, 128, 255], np.uint8)), np.array([0, 0, 255, 255], np.uint8)
    )


@pytest.mark.parametrize("name", ["folder", "celeba"])
def test_levels_are_black_or_white_and_a_cache_without_it_stays(name, places, tmp_path):
    def loaded(**options):
        return data.load(
            name, data_dir=str(places[name]), cache_dir=str(tmp_path), image_size=8, **options
        )

    grey, before = loaded(), set(tmp_path.iterdir())
    black_and_white, again = loaded(binarize=True), loaded(binarize=False)
    assert len(before) == 1
    assert len(set(tmp_path.iterdir())) == 2
    for split in SPLITS:
        x = getattr(black_and_white, split).x
        np.testing.assert_array_equal(x, binary(getattr(grey, split).x))
        np.testing.assert_array_equal(getattr(again, split).x, getattr(grey, split).x)
    assert black_and_white.card["binarize"] is True
    assert "binarize" not in grey.card  # as cards of models that older versions trained
    assert {**grey.card, "binarize": True} == black_and_white.card


def test_a_bernoulli_likelihood_takes_them_before_any_is_decoded(places, tmp_path):
    given = {
        "dataset": "folder", "data_dir": str(places["folder"]), "image_size": 8, "network": "mlp",
        "likelihood": "bernoulli", "save": str(tmp_path), "latent_dim": 2,
    }  # fmt: skip
    with pytest.raises(UsageError, match="--binarize makes them"):
        check(resolve(given))
    check(resolve({**given, "binarize": True}))


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3)])
def test_served_and_encoded_pixels_are_those_of_training(pictures, size, channels):
    graph = tf.function(lambda x: images_of(x, "center", size, channels, binarize=True))
    found = graph(tf.constant(pictures)).numpy() * 255
    wanted = np.stack([decode(one, "center", size, channels, binarize=True) for one in pictures])
    assert set(np.unique(wanted)) == {0, 255}
    # Where the libraries round a resized level otherwise a pixel may fall on the other side.
    levels = np.stack([decode(one, "center", size, channels) for one in pictures]).astype(int)
    sure = (np.abs(levels - 127.5) > 1.5) | (size == 8)
    np.testing.assert_array_equal(found[sure], wanted[sure])
    encoded = Wanted((size, size, channels), "center", binarize=True)
    np.testing.assert_array_equal([encoded.decode(one) for one in pictures], wanted)
