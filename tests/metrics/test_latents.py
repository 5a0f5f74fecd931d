import math

import numpy as np
import pytest

from kvae.metrics.latents import (
    MAX_AGGREGATE_ROWS,
    active_fraction,
    active_units,
    aggregate_metrics,
    gaussian_prior_gap,
    rate_per_dim,
)


def test_fractions_by_hand():
    mean = np.array([[-1.0, 0.0, 5.0], [1.0, 0.0, 5.0]])
    variance = np.array([[1.0, 1.0, 0.0], [5.0, 1.0, 0.0]])
    # Variance of the means 1 against a mean variance of 3; a collapsed one; a constant one.
    np.testing.assert_allclose(active_fraction(mean, variance), [0.25, 0, 0])
    assert active_units(mean, variance) == 1


def test_the_exact_posterior_of_ppca_is_active_where_the_signal_is():
    # x_d = s_d z_d + noise: q has variance 1 / (1 + s^2), so the fraction is s^2 / (1 + s^2).
    scale = np.array([3.0, 1.0, 0.2, 0.05])
    rng = np.random.default_rng(0)
    x = scale * rng.standard_normal((200_000, 4)) + rng.standard_normal((200_000, 4))
    mean = x * scale / (1 + scale**2)
    variance = np.broadcast_to(1 / (1 + scale**2), mean.shape)
    np.testing.assert_allclose(
        active_fraction(mean, variance), scale**2 / (1 + scale**2), rtol=0.02
    )
    assert active_units(mean, variance) == 3


def test_the_scale_of_a_latent_does_not_matter():
    rng = np.random.default_rng(0)
    mean, variance = rng.standard_normal((50, 3)), rng.random((50, 3))
    scale = np.array([1e-4, 1.0, 1e4])
    np.testing.assert_allclose(
        active_fraction(mean * scale, variance * scale**2), active_fraction(mean, variance)
    )


def test_the_threshold_is_one_hundredth():
    mean = np.array([[-1.0, -1.0], [1.0, 1.0]])
    assert active_units(mean, np.array([[98.9, 99.1]] * 2)) == 1


def test_impossible_input_is_an_error():
    with pytest.raises(ValueError, match="mean must be finite"):
        active_units(np.array([[np.nan]]), np.ones((1, 1)))
    with pytest.raises(ValueError, match="negative: received -1"):
        active_units(np.zeros((2, 1)), np.array([[1.0], [-1.0]]))
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(2, 2\)"):
        active_units(np.zeros((2, 1)), np.ones((2, 2)))


# The rate of each dimension


def test_rates_by_hand():
    mean = np.array([[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    variance = np.array([[1.0, 1.0, math.e], [1.0, 1.0, math.e**2]])
    # KL = (m^2 + v - 1 - log v) / 2.
    by_hand = [0.0, (0.5 + 4.5) / 2, (math.e + math.e**2 - 2 - 3) / 4]
    np.testing.assert_allclose(rate_per_dim(mean, variance), by_hand, atol=1e-15)


def test_a_rate_needs_a_positive_variance():
    with pytest.raises(ValueError, match="variance must be positive: received 0"):
        rate_per_dim(np.zeros((2, 1)), np.array([[1.0], [0.0]]))


# The posteriors of all rows together


def _aggregate(mean, variance, *, rng, standard_normal_prior=True, seed=0):
    variance = np.broadcast_to(variance, mean.shape)
    draws = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
    metrics = aggregate_metrics(
        mean, variance, draws, standard_normal_prior=standard_normal_prior, seed=seed
    )
    return metrics, draws


def test_a_linear_gaussian_encoder_has_the_closed_forms(rng):
    # z = a x + noise with x normal: q(z) is normal with covariance C = a a^T + diag(v).
    direction, variance = np.array([1.2, -0.8, 0.3]), np.array([0.5, 0.4, 1.1])
    mean = rng.standard_normal((2_000, 1)) * direction
    metrics, _ = _aggregate(mean, variance, rng=rng)
    covariance = np.outer(direction, direction) + np.diag(variance)
    log_det, diagonal = np.linalg.slogdet(covariance)[1], np.diag(covariance)
    information = 0.5 * (log_det - np.log(variance).sum())
    correlation = 0.5 * (np.log(diagonal).sum() - log_det)
    divergence = 0.5 * (diagonal - 1 - np.log(diagonal)).sum()
    assert metrics["mutual_information_nats_posterior"] == pytest.approx(information, abs=0.05)
    assert metrics["total_correlation_nats_posterior"] == pytest.approx(correlation, abs=0.05)
    assert metrics["dimension_wise_kl_nats_prior"] == pytest.approx(divergence, abs=0.05)
    assert metrics["mutual_information_saturated_posterior"] is False
    assert min(information, correlation, divergence) > 0.1


def test_the_three_parts_are_the_whole_rate_at_the_draws(rng):
    mean, variance = rng.standard_normal((123, 4)), rng.uniform(0.01, 2, (123, 4))
    metrics, draws = _aggregate(mean, variance, rng=rng)
    log_q = -0.5 * (np.log(variance) + (draws - mean) ** 2 / variance)
    rate = (log_q + 0.5 * draws**2).sum(1).mean()
    parts = (
        "mutual_information_nats_posterior",
        "total_correlation_nats_posterior",
        "dimension_wise_kl_nats_prior",
    )
    assert sum(metrics[name] for name in parts) == pytest.approx(rate)


def test_identical_independent_posteriors_tell_nothing(rng):
    metrics, _ = _aggregate(np.full((60, 3), 0.7), np.array([0.2, 1.0, 3.0]), rng=rng)
    assert metrics["mutual_information_nats_posterior"] == pytest.approx(0, abs=1e-12)
    assert metrics["total_correlation_nats_posterior"] == pytest.approx(0, abs=1e-12)
    assert not metrics["mutual_information_saturated_posterior"]


@pytest.mark.parametrize(
    ("group", "saturated"),
    [(range(8), True), ([0, 0, 1, 2, 3, 4, 5, 6], True), ([0, 0, 1, 1, 2, 2, 3, 3], False)],
)
def test_posteriors_far_apart_tell_the_group_and_no_more(rng, group, saturated):
    mean = 1e3 * np.array(group)[:, None] * [1.0, 1.0]
    metrics, _ = _aggregate(mean, 0.1, rng=rng)
    # The entropy of the groups; each pair lacks a quarter of log 2 of the log 8 of eight rows.
    shares = np.unique(group, return_counts=True)[1] / 8
    entropy = -(shares * np.log(shares)).sum()
    assert metrics["mutual_information_nats_posterior"] == pytest.approx(entropy)
    assert metrics["mutual_information_limit_nats_posterior"] == pytest.approx(math.log(8))
    assert metrics["mutual_information_saturated_posterior"] is saturated
    # Each dimension tells the group, so that knowing one leaves nothing of the other.
    assert metrics["total_correlation_nats_posterior"] == pytest.approx(entropy)


def test_at_most_two_thousand_random_rows_are_taken(rng):
    count = MAX_AGGREGATE_ROWS + 500
    mean = np.zeros((count, 1))
    mean[MAX_AGGREGATE_ROWS:] = 100.0
    metrics, _ = _aggregate(mean, 1.0, rng=rng)
    share = 500 / count
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert metrics["mutual_information_limit_nats_posterior"] == pytest.approx(math.log(2_000))
    assert metrics["mutual_information_nats_posterior"] == pytest.approx(entropy, rel=0.1)


def test_another_prior_has_no_dimension_wise_divergence(rng):
    metrics, _ = _aggregate(np.zeros((9, 1)), 1.0, rng=rng, standard_normal_prior=False)
    assert "dimension_wise_kl_nats_prior" not in metrics


def test_impossible_draws_are_an_error():
    one, options = np.ones((3, 2)), {"standard_normal_prior": True, "seed": 0}
    with pytest.raises(ValueError, match=r"received \(3, 1\) and \(3, 2\)"):
        aggregate_metrics(one, one, np.ones((3, 1)), **options)
    with pytest.raises(ValueError, match="2 rows at least"):
        aggregate_metrics(one[:1], one[:1], one[:1], **options)
    with pytest.raises(ValueError, match="draws must be finite"):
        aggregate_metrics(one, one, one * np.inf, **options)
    with pytest.raises(ValueError, match="must be positive"):
        aggregate_metrics(one, one * 0, one, **options)


# Their moments against the prior's


def _by_chance(rows, dim):
    """To first order."""
    return dim * (dim + 3) / (4 * rows)


def _whitened(rng, rows=500, dim=3):
    draws = rng.standard_normal((rows, dim))
    draws -= draws.mean(0)
    return draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws.T, bias=True))).T


def test_the_moments_of_the_prior_are_no_gap(rng):
    draws = _whitened(rng)
    # Far from normal, and yet without a gap: only the moments count.
    signs = np.array([[-1.0], [1.0]] * 10)
    for some in (draws, signs):
        found = gaussian_prior_gap(some)["moments_kl_nats_prior"]
        assert found == pytest.approx(-_by_chance(*some.shape), rel=0.1)


def test_the_gap_is_the_divergence_of_two_normals(rng):
    root = np.array([[2.0, 0, 0], [0.5, 1.0, 0], [0.0, -0.3, 0.4]])
    shift = np.array([0.5, -1.0, 2.0])
    found = gaussian_prior_gap(_whitened(rng) @ root.T + shift)["moments_kl_nats_prior"]
    covariance = root @ root.T
    truth = 0.5 * (np.trace(covariance) + shift @ shift - 3 - np.linalg.slogdet(covariance)[1])
    assert found + _by_chance(500, 3) == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize(("rows", "dim"), [(400, 10), (60, 20)])
def test_chance_is_taken_off(rng, rows, dim):
    found = [
        gaussian_prior_gap(rng.standard_normal((rows, dim)))["moments_kl_nats_prior"]
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200) < 0.1 * _by_chance(rows, dim)


def test_moments_without_a_density_are_an_error(rng):
    with pytest.raises(ValueError, match=r"n > latent_dim: received \(3, 3\)"):
        gaussian_prior_gap(np.eye(3))
    with pytest.raises(ValueError, match="subspace"):
        gaussian_prior_gap(np.repeat(rng.standard_normal((9, 1)), 2, axis=1) * [1.0, 0.0])
