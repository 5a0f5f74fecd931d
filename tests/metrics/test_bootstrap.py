import tracemalloc

import numpy as np
import pytest

from kvae.metrics.bootstrap import bootstrap_interval


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        low, high = bootstrap_interval(rng.exponential(size=150), seed=seed, num_resamples=150)
        held += low < 1 < high
    # Nearly three standard errors of 300 sets, and the percent or two that percentiles lack.
    assert 0.90 < held / 300 < 0.98


@pytest.mark.parametrize(("level", "quantile"), [(0.95, 1.960), (0.8, 1.282)])
def test_the_ends_are_those_of_the_normal_for_many_values(level, quantile):
    values = np.random.default_rng(1).normal(5, 3, 1000)
    low, high = bootstrap_interval(values, seed=0, level=level, num_resamples=4000)
    stderr = values.std() / np.sqrt(1000)
    assert (low - values.mean()) / stderr == pytest.approx(-quantile, abs=0.12)
    assert (high - values.mean()) / stderr == pytest.approx(quantile, abs=0.12)


def test_two_values_by_hand():
    # The means 0, 1/2, 1 have the chances 1/4, 1/2, 1/4.
    two = np.array([0.0, 1.0])
    assert bootstrap_interval(two, seed=0) == (0, 1)
    assert bootstrap_interval(two, seed=0, level=0.4) == (0.5, 0.5)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval(np.full(100, 0.75), seed=0) == (0.75, 0.75)


def test_units_and_seeds():
    values = np.random.default_rng(0).random(50)
    first = bootstrap_interval(values, seed=1)
    assert first == bootstrap_interval(values, seed=1)
    assert first != bootstrap_interval(values, seed=2)
    moved = bootstrap_interval(10 - 4 * values, seed=1)
    assert moved == pytest.approx((10 - 4 * first[1], 10 - 4 * first[0]))


def test_ratios_of_means_hold_the_true_ratio_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        over = rng.exponential(size=150)
        values = 3 * over * rng.uniform(0.5, 1.5, 150)
        low, high = bootstrap_interval(values, over=over, seed=seed, num_resamples=150)
        held += low < 3 < high
    assert 0.90 < held / 300 < 0.98


def test_a_ratio_that_never_varies_has_an_interval_of_no_width():
    over = np.random.default_rng(0).random(50) + 0.1
    assert bootstrap_interval(2 * over, over=over, seed=0) == pytest.approx((2, 2))
    for wrong in (over[:3], over - 1):
        with pytest.raises(ValueError, match="over must be positive, as many as values"):
            bootstrap_interval(over, over=wrong, seed=0)


def test_resamples_are_not_held_at_once():
    values = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    bootstrap_interval(values, seed=0, num_resamples=100)
    assert tracemalloc.get_traced_memory()[1] < 10 * values.nbytes
    tracemalloc.stop()


def test_impossible_input_is_an_error():
    with pytest.raises(ValueError, match=r"n >= 2: received \(1,\)"):
        bootstrap_interval(np.ones(1), seed=0)
    with pytest.raises(ValueError, match=r"received \(3, 2\)"):
        bootstrap_interval(np.ones((3, 2)), seed=0)
    with pytest.raises(ValueError, match="values must be finite: 1 of 2"):
        bootstrap_interval(np.array([1.0, np.nan]), seed=0)
    with pytest.raises(ValueError, match="received 1 and 1000"):
        bootstrap_interval(np.ones(3), seed=0, level=1)
    with pytest.raises(ValueError, match=r"received 0\.95 and 0"):
        bootstrap_interval(np.ones(3), seed=0, num_resamples=0)
