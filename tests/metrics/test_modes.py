import numpy as np
import pytest
from scipy.stats import chi2

from kvae.data.gmm import Mixture, random_mixture
from kvae.metrics.modes import (
    mode_metrics,
    num_generated_for,
    outlier_fraction,
    true_log_density,
    weight_error_of_truth,
)

CORNERS = Mixture([0.1, 0.2, 0.3, 0.4], 20 * np.eye(4, 3), np.tile(np.eye(3), (4, 1, 1)))


def placed(counts):
    """Points exactly on the means, so that every share is known exactly."""
    return np.repeat(CORNERS.means, counts, axis=0)


def test_shares_exactly_right():
    metrics = mode_metrics(placed([100, 200, 300, 400]), CORNERS)
    assert metrics["num_generated"] == 1000
    assert metrics["num_modes"] == metrics["modes_captured"] == 4
    assert metrics["mode_captured"] == [True] * 4
    assert metrics["outlier_fraction"] == 0
    assert metrics["weights_kl_nats"] == pytest.approx(0, abs=1e-12)
    assert metrics["largest_relative_weight_error"] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(metrics["mode_shares"], [0.1, 0.2, 0.3, 0.4])


def test_a_mode_that_is_never_made():
    metrics = mode_metrics(placed([0, 2000, 3000, 5000]), CORNERS)
    # 0.3 is right, 0.4 is 25% over, 0.1 is missing; 3 standard errors are 0.015 at most.
    assert metrics["mode_captured"] == [False, True, True, False]
    assert metrics["modes_captured"] == 2
    assert metrics["weights_kl_nats"] == pytest.approx(0.5 * np.log(0.5 / 0.4))
    assert metrics["largest_relative_weight_error"] == pytest.approx(1)


def test_one_point_again_and_again():
    metrics = mode_metrics(placed([0, 0, 0, 1000]), CORNERS)
    assert metrics["modes_captured"] == 0
    assert metrics["weights_kl_nats"] == pytest.approx(np.log(1 / 0.4))
    assert metrics["largest_relative_weight_error"] == pytest.approx(1.5)


def test_the_edge_of_captured_is_a_fifth_of_the_weight():
    # 100,000 points: 3 standard errors of weight 0.1 are 0.0028, so the fifth decides.
    inside = mode_metrics(placed([11_900, 20_000, 30_000, 38_100]), CORNERS)
    outside = mode_metrics(placed([12_100, 20_000, 30_000, 37_900]), CORNERS)
    assert inside["mode_captured"][0]
    assert not outside["mode_captured"][0]


def test_few_points_are_given_their_chance():
    # 100 points: 3 standard errors of weight 0.1 are 0.09, so up to 0.19 may be chance.
    assert mode_metrics(placed([18, 18, 28, 36]), CORNERS)["mode_captured"][0]
    assert not mode_metrics(placed([20, 18, 28, 34]), CORNERS)["mode_captured"][0]


def test_points_far_from_everything_are_outliers_and_still_count_in_the_shares():
    points = placed([100, 200, 300, 400])
    points[:100] += 5  # 8.7 standard deviations from its mean, nearer to it than to any other
    metrics = mode_metrics(points, CORNERS)
    assert metrics["outlier_fraction"] == 0.1
    assert sum(metrics["mode_shares"]) == pytest.approx(1)


@pytest.mark.parametrize("count", [100, 10_000])
def test_points_around_the_modes_capture_none_of_them(count):
    """4.5 standard deviations from the mean of a mode, in its share, and from all others more."""
    mixture = random_mixture(10, 3, 12.0, seed=0)
    rng = np.random.default_rng(0)
    _, component = mixture.sample(count, rng)
    direction = rng.standard_normal((count, 3))
    direction *= 4.5 / np.linalg.norm(direction, axis=1, keepdims=True)
    lower = np.linalg.cholesky(mixture.covariances)[component]
    points = mixture.means[component] + np.einsum("nij,nj->ni", lower, direction)
    metrics = mode_metrics(points, mixture)
    assert (metrics["modes_captured"], metrics["outlier_fraction"]) == (0, 1)
    assert metrics["weights_kl_nats"] < 0.1  # the shares alone would not tell
    assert metrics["mode_shares_within"] == [0] * 10


def test_what_lies_within_is_held_against_its_part_of_the_weight():
    """A fifth below 0.999 w decides, not a fifth below w."""
    points = placed([100_000 // 10, 20_000, 30_000, 40_000])
    for outside, captured in ((2_005, True), (2_012, False)):
        moved = points.copy()
        moved[:outside] += 4.0  # beyond the radius, still nearest to its own mode
        assert mode_metrics(moved, CORNERS)["mode_captured"][0] == captured


def test_the_outlier_radius_in_three_dimensions_is_4_03():
    def at(distance):
        return CORNERS.means[1] + np.array([[0, 0, -distance]])

    assert outlier_fraction(at(4.02), CORNERS) == 0
    assert outlier_fraction(at(4.04), CORNERS) == 1


@pytest.mark.parametrize("dim", [1, 3, 16])
def test_one_true_point_in_a_thousand_is_an_outlier_in_any_dimension(dim):
    mixture = random_mixture(3, dim, 40.0, seed=0)
    points, _ = mixture.sample(200_000, np.random.default_rng(0))
    assert outlier_fraction(points, mixture) == pytest.approx(0.001, abs=4e-4)


def test_points_between_two_equal_components_count_half_for_each():
    mixture = Mixture([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    assert mode_metrics(np.zeros((10, 1)), mixture)["mode_shares"] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("separation", [0.2, 5.0])
def test_the_truth_captures_every_mode_of_every_mixture(separation):
    for seed in range(10):
        mixture = random_mixture(10, 3, separation, seed)
        points, _ = mixture.sample(num_generated_for(mixture), np.random.default_rng(seed))
        metrics = mode_metrics(points, mixture)
        assert metrics["modes_captured"] == 10
        assert metrics["outlier_fraction"] < 0.002
        # 2 n KL is about chi-squared with 9 degrees of freedom.
        assert metrics["weights_kl_nats"] < chi2.ppf(1 - 1e-6, 9) / (2 * len(points))


def test_a_broad_gaussian_in_the_right_place_is_caught():
    mixture = random_mixture(10, 3, 5.0, seed=0)
    points, _ = mixture.sample(10_000, np.random.default_rng(0))
    blurred = np.random.default_rng(1).multivariate_normal(points.mean(0), np.cov(points.T), 10_000)
    metrics = mode_metrics(blurred, mixture)
    assert metrics["outlier_fraction"] > 0.5
    assert metrics["modes_captured"] < 5


def test_a_single_component_is_captured():
    mixture = random_mixture(1, 2, 5.0, seed=0)
    metrics = mode_metrics(mixture.sample(1001, np.random.default_rng(0))[0], mixture)
    assert (metrics["modes_captured"], metrics["weights_kl_nats"]) == (1, 0)


def test_how_many_samples_are_enough():
    def equal(count, *, lift=0.0):
        weights = np.full(count, (1 - lift) / count)
        weights[0] += lift
        return Mixture(weights, np.zeros((count, 1)), np.ones((count, 1, 1)))

    assert num_generated_for(equal(10)) == 10_000
    assert num_generated_for(equal(20)) == 10_000
    assert num_generated_for(equal(21)) == 100_000
    assert num_generated_for(equal(10, lift=0.9)) == 100_000
    assert num_generated_for(equal(10, lift=0.73)) == 10_000  # 2.7%
    assert num_generated_for(equal(10, lift=0.76)) == 100_000  # 2.4%


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_an_error(value):
    points = placed([1, 1, 1, 1])
    points[2, 1] = value
    with pytest.raises(ValueError, match="finite: 1 of 12"):
        mode_metrics(points, CORNERS)
    with pytest.raises(ValueError, match="finite: 1 of 12"):
        outlier_fraction(points, CORNERS)


def test_no_samples_and_the_wrong_width_are_errors():
    with pytest.raises(ValueError, match="at least one"):
        mode_metrics(np.zeros((0, 3)), CORNERS)
    with pytest.raises(ValueError, match=r"\(rows, 3\)"):
        mode_metrics(np.zeros((5, 2)), CORNERS)


def test_the_true_log_density_of_samples_by_hand():
    mixture = Mixture([1.0], [[0.0]], [[[4.0]]])
    at = -np.log(2) - 0.5 * np.log(2 * np.pi)
    found = true_log_density(np.array([[0.0], [2.0]]), mixture)
    # 0 and one standard deviation away: half a nat less; their mean has a quarter as its error.
    assert found == pytest.approx(
        {
            "true_log_density_nats": at - 0.25,
            "true_log_density_nats_stderr": 0.25,
        }
    )


def test_true_samples_have_minus_the_entropy_and_narrow_ones_more():
    mixture = Mixture([1.0], np.zeros((1, 2)), [np.diag([1.0, 9.0])])
    points = mixture.sample(100_000, np.random.default_rng(0))[0]
    entropy = 1 + np.log(2 * np.pi) + np.log(3)
    found = true_log_density(points, mixture)
    error = found["true_log_density_nats_stderr"]
    assert found["true_log_density_nats"] == pytest.approx(-entropy, abs=4 * error)
    narrow = true_log_density(0.5 * points, mixture)["true_log_density_nats"]
    # The squared distance, 2 on average, shrinks to a quarter: 0.75 nats.
    assert narrow == pytest.approx(-entropy + 0.75, abs=0.02)
    with pytest.raises(ValueError, match="generated must be finite: 1 of 4"):
        true_log_density(np.array([[0, np.nan], [0, 0]]), mixture)


def test_a_sample_where_the_true_density_is_zero_is_an_error_that_says_so():
    mixture = Mixture([1.0], [[0.0]], [[[1.0]]])
    with (
        pytest.raises(ValueError, match="the true log-density of the samples must be finite: 1 of"),
        np.errstate(over="ignore"),
    ):
        true_log_density(np.array([[0.0], [1e200]]), mixture)


@pytest.mark.parametrize("separation", [0.2, 5.0])
def test_the_weight_error_of_a_perfect_sample_is_that_of_perfect_samples(separation):
    mixture = random_mixture(10, 3, separation, seed=0)
    rng = np.random.default_rng(0)
    found = [
        mode_metrics(mixture.sample(1000, rng)[0], mixture)["largest_relative_weight_error"]
        for _ in range(100)
    ]
    expected = weight_error_of_truth(mixture, 1000, seed=0)
    assert np.mean(found) == pytest.approx(expected, rel=0.1)
    # A quarter of the points, twice the error.
    fewer = weight_error_of_truth(mixture, 250, seed=0)
    assert fewer == pytest.approx(2 * expected, rel=1e-6)


def test_one_mode_has_no_weight_error():
    mixture = random_mixture(1, 2, 5.0, seed=0)
    assert weight_error_of_truth(mixture, 100, seed=0) == pytest.approx(0, abs=1e-9)
