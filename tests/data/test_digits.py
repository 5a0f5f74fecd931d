import numpy as np
import pytest
from sklearn.datasets import load_digits

from kvae.data import digits

SPLITS = ("train", "valid", "test")


def test_the_splits_hold_every_digit_image_once():
    dataset = digits.load()
    rows = np.concatenate([getattr(dataset, name).x for name in SPLITS]).reshape(1797, 64)
    source = np.round(load_digits().data * 255 / 16)
    assert dataset.train.x.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(source, axis=0))
    assert len(np.unique(source, axis=0)) == 1797  # so equal sets mean disjoint, complete splits


def test_labels_stay_beside_their_images():
    bunch = load_digits()
    digit_of = {
        np.round(row * 255 / 16).astype(np.uint8).tobytes(): digit
        for row, digit in zip(bunch.data, bunch.target, strict=True)
    }
    dataset = digits.load()
    for name in SPLITS:
        split = getattr(dataset, name)
        assert split.labels["digit"].dtype == np.int64
        assert [digit_of[image.tobytes()] for image in split.x] == list(split.labels["digit"])


def test_every_split_has_the_digits_in_the_same_proportion():
    dataset = digits.load()
    whole = np.bincount(load_digits().target) / 1797
    for name in SPLITS:
        share = np.bincount(getattr(dataset, name).labels["digit"]) / dataset.card["counts"][name]
        np.testing.assert_allclose(share, whole, atol=1 / 270)


def test_the_split_is_the_same_each_time():
    first, second = digits.load(), digits.load()
    for name in SPLITS:
        np.testing.assert_array_equal(getattr(first, name).x, getattr(second, name).x)
    assert first.card["counts"] == {"train": 1257, "valid": 270, "test": 270}
    assert first.train.x.shape == (1257, 8, 8, 1)
    assert first.train.labels.keys() == {first.color_by}


@pytest.mark.parametrize("name", SPLITS)
def test_binarize_puts_the_threshold_at_one_half(name):
    grey = getattr(digits.load(), name)
    binary = getattr(digits.load(binarize=True), name)
    np.testing.assert_array_equal(binary.x, 255 * (grey.x / 255 > 0.5))
    np.testing.assert_array_equal(binary.labels["digit"], grey.labels["digit"])
    assert binary.x.dtype == np.uint8
    assert set(np.unique(binary.x)) == {0, 255}
