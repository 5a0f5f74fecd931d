import numpy as np
import pytest

from kvae import data
from kvae.data import Dataset, Split
from kvae.features import feature_net, pca


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_all_components_of_small_images_keep_their_distances(digits):
    x = digits.test.x[:50]
    features = feature_net("pca", digits).extract(x)
    assert features.shape == (50, 64)
    flat = x.reshape(50, -1) / 255
    np.testing.assert_allclose(
        np.linalg.norm(features[:, None] - features, axis=-1),
        np.linalg.norm(flat[:, None] - flat, axis=-1),
        atol=1e-5,
    )


def test_they_are_the_directions_of_largest_variance(digits, monkeypatch):
    monkeypatch.setattr(pca, "MAX_FEATURES", 5)
    net = feature_net("pca", digits)
    features = net.extract(digits.train.x).astype(np.float64)
    flat = digits.train.x.reshape(len(digits.train.x), -1) / 255
    largest = np.linalg.eigvalsh(np.cov(flat.T))[::-1]
    np.testing.assert_allclose(np.cov(features.T), np.diag(largest[:5]), atol=1e-3)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    assert f"{largest[:5].sum() / largest.sum():.1%} of their variance" in net.description
    assert "first 5 principal components" in net.description and net.key == "frechet_pca"


def test_a_seed_gives_the_same_features_and_name(digits, monkeypatch):
    monkeypatch.setattr(pca, "MAX_ROWS", 100)
    first, again, other = (feature_net("pca", digits, seed=seed) for seed in (0, 0, 1))
    x = digits.test.x
    np.testing.assert_array_equal(first.extract(x), again.extract(x))
    assert first.description == again.description != other.description
    assert "of 100 train images" in first.description


def test_few_or_large_images_are_enough(monkeypatch):
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (30, 10, 10, 1), dtype=np.uint8))
    few = Dataset("images", split, split, split)
    assert feature_net("pca", few).extract(split.x).shape == (30, 29)
    monkeypatch.setattr(pca, "_MAX_NUMBERS", 10 * 100)
    assert "of 10 train images" in feature_net("pca", few).description
