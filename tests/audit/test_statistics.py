"""Statistics whose answers are known, and faults of the size that they are there to find."""

import numpy as np
import pytest
from scipy.stats import genpareto, multivariate_normal

from kvae.audit.independent import statistics

_DIMS = (1, 2, 4)
_ROWS = 8_000


def _normal(dim):
    root = np.tril(np.random.default_rng(dim).normal(size=(dim, dim))) + 2 * np.eye(dim)
    truth = multivariate_normal(np.arange(dim), root @ root.T)
    return truth, lambda rows, rng: truth.rvs(rows, random_state=rng).reshape(rows, dim)


def _log_prob(truth, more=0.0):
    return lambda z: truth.logpdf(z).reshape(len(z)) + more


@pytest.mark.parametrize("dim", _DIMS)
def test_an_integral_is_1_and_its_constant_is_seen(dim, rng):
    truth, drawn = _normal(dim)
    fitted, draws = drawn(2_000, rng), drawn(_ROWS, rng)
    for wanted in (1.0, 1.1):
        log_prob = _log_prob(truth, np.log(wanted))
        found, error = statistics.bridged(log_prob, fitted, draws, rng)
        assert error < 0.02
        assert abs(found - wanted) < 5 * error
        by_grid = statistics.by_quadrature(log_prob, draws)
        assert (by_grid is None) == (dim > 2)
        assert by_grid is None or abs(by_grid - wanted) < 1e-6


def test_the_error_of_an_integral_is_that_of_many(rng):
    truth, drawn = _normal(4)
    found = np.array(
        [statistics.bridged(_log_prob(truth), drawn(200, rng), drawn(300, rng), rng)
         for _ in range(30)]
    )  # fmt: skip
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.4)


def test_a_ridge_that_a_grid_misses_is_no_fault(rng):
    # Three in ten of the mass lie on a line between the points of every grid.
    normal = [multivariate_normal([0, 0], np.eye(2)), multivariate_normal([1, 0], [1, 1e-8])]
    draws = np.concatenate([one.rvs(count, random_state=rng) for one, count in
                            zip(normal, (700, 300), strict=True)])  # fmt: skip
    ridged = lambda z: np.logaddexp(*(  # noqa: E731
        one.logpdf(z) + np.log(share) for one, share in zip(normal, (0.7, 0.3), strict=True)
    ))  # fmt: skip
    assert statistics.by_quadrature(ridged, draws) is None
    found, error = statistics.bridged(ridged, draws[::2], draws[1::2], rng)
    assert abs(found - 1) < 5 * error


@pytest.mark.parametrize("dim", _DIMS)
def test_draws_of_a_density_are_known_from_others(dim, rng):
    truth, drawn = _normal(dim)
    draws = drawn(_ROWS, rng)
    largest, most = statistics.stein(_log_prob(truth, 3.0), draws, rng)  # whatever the constant
    assert largest < most
    middle = draws.mean(axis=0)
    for wrong in (middle + 1.06 * (draws - middle), draws + 0.1 * draws.std(axis=0)):
        largest, most = statistics.stein(_log_prob(truth), wrong, rng)
        assert largest > most


def test_ranks_of_independent_columns_are_not_correlated(rng):
    first, second = rng.standard_cauchy(size=(2, 1_000, 3))
    largest, most = statistics.rank_correlation(first, second)
    assert largest < most
    second[:, 2] += first[:, 0]
    largest, most = statistics.rank_correlation(first, second)
    assert largest > most


def test_pairs_that_can_be_exchanged_stay_below_the_bound_whatever_their_tails(rng):
    before, after = rng.standard_cauchy(size=(2, 500, 4)) ** 3
    largest, most = statistics.moved(before, after)
    assert largest < most
    before, after = rng.normal(size=(2, 500, 4))
    largest, most = statistics.moved(before, after + 0.5)
    assert largest > most
    assert statistics.moved(before, before)[0] == 0


def test_ranks_are_even_where_values_and_draws_are_alike(rng):
    value, among = rng.normal(size=(400, 2)), rng.normal(size=(31, 400, 2))
    distance, usual = statistics.ranks_of(value, among)
    assert distance < usual
    assert statistics.ranks_of(value, 0.7 * among)[0] > usual
    # All below all draws: a distribution of ranks at one end.
    assert statistics.ranks_of(value - 100, among)[0] == pytest.approx(31 / 32)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_shape_of_a_pareto_tail_is_found(shape, rng):
    weights = genpareto.rvs(shape, size=(2_000, 100), random_state=rng)
    found = statistics.pareto_shape(np.log(weights) + 700)  # whatever their unit
    assert np.median(found) == pytest.approx(shape, abs=0.08)


def test_equal_weights_have_no_tail():
    assert (statistics.pareto_shape(np.zeros((64, 3))) == -np.inf).all()


def test_numbers_that_are_not_finite_never_agree(rng):
    draws = rng.normal(size=(2_000, 3))

    def lost_in_the_tail(z):
        return np.where(np.abs(z).max(axis=1) > 2.5, np.nan, -0.5 * np.square(z).sum(axis=1))

    largest, most = statistics.stein(lost_in_the_tail, 2 * draws, rng)
    assert not largest <= most
    after = draws + 1.0
    after[0] = np.nan
    largest, most = statistics.moved(draws, after)
    assert not largest <= most
    largest, most = statistics.rank_correlation(np.ones((50, 1)), np.ones((50, 1)))
    assert not largest <= most
    columns = np.stack([np.zeros(5), np.ones(5)], axis=1)
    np.testing.assert_array_equal(statistics.in_errors(columns), [0.0, np.inf])
