import numpy as np
import pytest
from sklearn.cluster import KMeans

from kvae.priors.clusters import are_enough, clusters
from kvae.priors.mixture import Mixture


def test_variance_within_is_that_of_the_nearest_centres(rng):
    rows = rng.normal(size=(300, 2)) * [1.0, 3.0]
    centres, variance = clusters(rows, 6, np.random.default_rng(0))
    squared = np.square(rows[:, None] - centres)
    own = squared.sum(axis=-1).argmin(axis=1)
    np.testing.assert_allclose(variance, squared[np.arange(300), own].mean(axis=0), rtol=0.02)


def test_clusters_are_as_tight_as_those_of_scikit_learn(rng):
    rows = rng.normal(size=(2000, 4)) + 6 * rng.normal(size=(12, 4))[rng.integers(12, size=2000)]
    found = [clusters(rows, 30, np.random.default_rng(seed))[1].sum() for seed in range(5)]
    theirs = [
        KMeans(30, n_init=1, max_iter=20, random_state=seed).fit(rows).inertia_ / len(rows)
        for seed in range(5)
    ]
    assert np.mean(found) < 1.03 * np.mean(theirs)


def test_clusters_move_and_stretch_with_the_rows(rng):
    rows = rng.normal(size=(200, 3))
    centres, variance = clusters(rows, 5, np.random.default_rng(1))
    moved, stretched = clusters(-4 * rows + 7, 5, np.random.default_rng(1))
    np.testing.assert_allclose(moved, -4 * centres + 7)
    np.testing.assert_allclose(stretched, 16 * variance)


@pytest.mark.parametrize("different", [1, 3])
def test_rows_that_are_mostly_equal_have_finite_clusters(different):
    rows = np.repeat(np.arange(different, dtype="float32")[:, None], 100, axis=0)
    centres, variance = clusters(rows, 8, np.random.default_rng(0))
    assert set(centres.ravel()) == set(range(different))
    np.testing.assert_array_equal(variance, [0.0])


def test_rows_that_are_not_finite_are_no_error():
    rows = np.full((100, 2), np.inf)
    with np.errstate(invalid="ignore"):
        assert clusters(rows, 8, np.random.default_rng(0))[0].shape == (8, 2)


def test_of_many_rows_some_are_looked_at():
    rows = np.arange(50_000.0)[:, None]
    centres, variance = clusters(rows, 4, np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(centres[:, 0]), [6250, 18750, 31250, 43750], rtol=0.1)
    np.testing.assert_allclose(variance, 12500**2 / 12, rtol=0.1)


def test_many_clusters_are_not_sought_whatever_the_rows():
    assert are_enough(2000, 200) and are_enough(10**6, 1000)
    assert not are_enough(1999, 200)
    assert not are_enough(10**6, 1001)


@pytest.mark.parametrize("count, rows", [(1, 2000), (30, 2000), (300, 3000), (1000, 10_000)])
def test_a_mixture_asks_for_as_many_rows_as_show_its_clusters(count, rows):
    prior = Mixture(num_components=count)
    assert prior.rows_wanted == rows and are_enough(prior.rows_wanted, count)
    assert Mixture(num_components=20_000).rows_wanted >= 20_000
