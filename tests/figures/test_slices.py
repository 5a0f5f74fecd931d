import numpy as np
import pytest

from kvae.data.gmm import Mixture, random_mixture
from kvae.figures.slices import MAX_POINTS, NATS_SHOWN, Slice, centres, slices_of


def curved(mixture, warp=0.5):
    return Mixture(mixture.weights, mixture.means, mixture.covariances, warp)


@pytest.mark.parametrize("warp", [0.0, 0.7])
def test_a_component_is_highest_at_its_centre(warp):
    mixture = random_mixture(1, 3, 5.0, 0)
    mixture = curved(mixture, warp)
    centre = centres(mixture)
    highest = mixture.log_prob(centre)
    around = centre + 0.05 * np.random.default_rng(0).normal(size=(200, 3))
    assert (mixture.log_prob(around) < highest).all()


def test_the_grid_runs_along_the_directions_from_the_origin():
    directions = np.array([[0, 1], [1, 0], [0, 0]], float)
    found = Slice(np.array([5.0, 0, 7]), directions, np.array([[0, 3], [10, 40.0]]), (), "", 3)
    np.testing.assert_allclose(found.ticks(0), [0.5, 1.5, 2.5])
    points = found.points()
    np.testing.assert_allclose(points[:4], [[20, 0.5, 7], [20, 1.5, 7], [20, 2.5, 7], [30, 0.5, 7]])
    assert len(points) == 9


@pytest.mark.parametrize(
    ("count", "dim", "warp"),
    [(1, 1, 0.0), (50, 1, 0.0), (1, 2, 1.0), (10, 2, 0.0), (50, 2, 0.0), (50, 2, 0.5)],
)
def test_up_to_two_dimensions_are_shown_whole(count, dim, warp):
    mixture = curved(random_mixture(count, dim, 5.0, 0), warp)
    (found,) = slices_of(mixture)
    limits = found.limits
    assert ((centres(mixture) > limits[:, 0]) & (centres(mixture) < limits[:, 1])).all()
    np.testing.assert_array_equal(found.points().shape, (found.size**dim, dim))
    # All but nothing of the mass is inside, and the grid is fine enough to integrate it.
    cell = np.prod(np.ptp(limits, axis=1) / found.size)
    mass = np.exp(mixture.log_prob(found.points())).sum() * cell
    assert mass == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dim", [1, 2])
def test_what_would_be_too_small_to_see_gets_windows(dim):
    mixture = random_mixture(5, dim, 1000.0, 0)
    found = slices_of(mixture)
    order = np.argsort(-mixture.weights)
    for one, component in zip(found, order[[0, 2, 4]], strict=True):
        assert f"component {component} " in one.caption
        cell = np.prod(np.ptp(one.limits, axis=1) / one.size)
        mass = np.exp(mixture.log_prob(one.points())).sum() * cell
        assert mass == pytest.approx(mixture.weights[component], rel=0.02)


@pytest.mark.parametrize(("count", "dim"), [(2, 3), (10, 3), (10, 8), (50, 8), (50, 32)])
def test_slices_of_many_dimensions_pass_through_the_largest_and_the_smallest(count, dim):
    mixture = curved(random_mixture(count, dim, 5.0, 0))
    order = np.argsort(-mixture.weights)
    found = slices_of(mixture)
    assert len(found) == 3
    assert sum(one.size**2 for one in found) <= MAX_POINTS
    passed = [order[:1], order[-1:], order[:3]]
    for one, components in zip(found, passed, strict=True):
        np.testing.assert_allclose(one.directions.T @ one.directions, np.eye(2), atol=1e-12)
        from_origin = centres(mixture)[components] - one.origin
        coordinates = from_origin @ one.directions
        np.testing.assert_allclose(coordinates @ one.directions.T, from_origin, atol=1e-9)
        assert (coordinates > one.limits[:, 0]).all()
        assert (coordinates < one.limits[:, 1]).all()
    for one in found[:2]:  # coordinates there are the data's own
        np.testing.assert_array_equal(one.points()[:, 1:-1], np.tile(one.origin[1:-1], (6400, 1)))
        np.testing.assert_allclose(one.points()[: one.size, 0], one.ticks(0))


def test_one_component_alone_is_cut_along_its_two_longest_axes():
    covariance = np.diag([1.0, 9.0, 4.0])
    found = slices_of(Mixture([1.0], np.ones((1, 3)), covariance[None]))
    assert len(found) == 2
    np.testing.assert_allclose(np.abs(found[1].directions), [[0, 0], [1, 0], [0, 1]], atol=1e-12)


@pytest.mark.parametrize("warp", [0.0, 0.5])
def test_a_frame_holds_what_is_within_twelve_nats_and_little_else(warp):
    mixture = curved(random_mixture(1, 3, 5.0, 1), warp)
    first = slices_of(mixture)[0]
    values = mixture.log_prob(first.points()).reshape(first.size, first.size)
    seen = values > values.max() - NATS_SHOWN
    border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    assert not border.any()
    width = np.ptp(first.limits, axis=1)
    extent = width * [seen.any(0).mean(), seen.any(1).mean()]
    assert extent.max() > 0.8 * width.max()
