import numpy as np
import pytest

from kvae.data.gmm import random_mixture
from kvae.metrics.two_sample import MAX_ENERGY_ROWS, TwoSample, compare


def normal(count, dim=1, mean=0.0, seed=0):
    return mean + np.random.default_rng(seed).standard_normal((count, dim))


def both(a, b, seed=0):
    found = TwoSample(a, seed=seed).distances(b)
    return found["sliced_wasserstein"], found["energy_distance"]


def test_a_shift_in_one_dimension_is_its_wasserstein_distance():
    x = normal(500)
    for shift in (0.3, -2.0):
        assert both(x, x + shift)[0] == pytest.approx(abs(shift))


def test_wasserstein_by_hand_and_in_any_order():
    a, b = np.array([[0.0], [1.0], [5.0]]), np.array([[9.0], [1.0], [0.0]])
    assert both(a, b)[0] == pytest.approx(4 / 3)
    assert both(a, b[::-1])[0] == pytest.approx(4 / 3)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_a_shift_in_many_dimensions_is_seen_through_its_mean_projection(dim):
    from scipy.special import gammaln

    # E|u_1| of a uniform unit vector: gamma(D / 2) / (sqrt(pi) gamma((D + 1) / 2)).
    mean = np.exp(gammaln(dim / 2) - gammaln((dim + 1) / 2)) / np.sqrt(np.pi)
    x = normal(100, dim)
    shift = np.zeros(dim)
    shift[0] = 5.0
    assert both(x, x + shift)[0] == pytest.approx(5 * mean, rel=0.15)
    rotated = np.linalg.qr(normal(dim, dim))[0]
    assert both(x @ rotated, (x + shift) @ rotated)[0] == pytest.approx(5 * mean, rel=0.15)


def test_energy_by_hand():
    # Pairs: between 1, 3, 1, 1; within 0, 2, 2, 0 and 0, 2, 2, 0 (0, 2 against 1, 3).
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])
    assert both(a, b)[1] == pytest.approx(2 * 6 / 4 - 1 - 1)


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_the_energy_distance_of_two_normals_is_the_integral_of_their_cdfs(shift):
    from scipy.integrate import quad
    from scipy.stats import norm

    # Székely & Rizzo 2013, theorem 2: twice the integral of (F - G)^2.
    exact = 2 * quad(lambda t: (norm.cdf(t) - norm.cdf(t, shift)) ** 2, -9, 9 + shift)[0]
    found = np.mean(
        [both(normal(3000, seed=s), normal(3000, mean=shift, seed=s + 50))[1] for s in range(8)]
    )
    # The V-statistic adds the diagonal: 2 E|X - X'| / n.
    assert found - 2 * (2 / np.sqrt(np.pi)) / 3000 == pytest.approx(exact, rel=0.06)


def test_equal_samples_are_at_no_distance_and_it_does_not_matter_who_is_first():
    a, b = normal(400, 3), normal(400, 3, 0.5, seed=1)
    assert both(a, a) == pytest.approx((0, 0), abs=1e-12)
    assert both(a, b) == pytest.approx(both(b, a))
    assert min(both(a, b)) > 0


def test_distances_have_the_unit_of_the_points():
    a, b = normal(300, 2), normal(300, 2, 1.0, seed=1)
    assert both(1000 * a + 7, 1000 * b + 7) == pytest.approx(tuple(1000 * np.array(both(a, b))))


def test_energy_is_that_of_the_first_points_and_wasserstein_of_all():
    a, b = normal(MAX_ENERGY_ROWS + 500, 2), normal(MAX_ENERGY_ROWS + 500, 2, seed=1)
    changed = b.copy()
    changed[MAX_ENERGY_ROWS:] += 10
    before, after = both(a, b), both(a, changed)
    assert after[1] == before[1]
    assert after[0] > 5 * before[0]


def compared(sample, count=2000, num_parts=5):
    mixture = random_mixture(5, 3, 5.0, seed=0)
    rng = np.random.default_rng(0)
    between = TwoSample(mixture.sample(count, rng)[0], seed=0)
    parts = [between.distances(sample(mixture, count, rng)) for _ in range(num_parts)]
    perfect = [between.distances(mixture.sample(count, rng)[0]) for _ in range(10)]
    return compare(parts, perfect)


def test_the_truth_has_ratios_of_one_within_their_errors():
    found = compared(lambda mixture, count, rng: mixture.sample(count, rng)[0], num_parts=40)
    for name in ("sliced_wasserstein", "energy_distance"):
        ratio, stderr = found[f"{name}_ratio"], found[f"{name}_ratio_stderr"]
        assert ratio == pytest.approx(1, abs=3 * stderr)
        assert 0 < stderr < 0.25


def test_a_missing_mode_and_a_blur_are_far_from_one():
    def without_last(mixture, count, rng):
        x, component = mixture.sample(3 * count, rng)
        return x[component != 4][:count]

    def blurred(mixture, count, rng):
        return mixture.sample(count, rng)[0] + rng.standard_normal((count, 3))

    for sample in (without_last, blurred):
        found = compared(sample)
        assert found["energy_distance_ratio"] > 5
        assert found["sliced_wasserstein_ratio"] > 2


def test_ratios_and_their_errors_by_hand():
    found = compare([{"d": 1.0}, {"d": 3.0}], [{"d": 4.0}, {"d": 4.0}, {"d": 4.0}])
    assert found == pytest.approx(
        {"d": 2.0, "d_stderr": 1.0, "d_ratio": 0.5, "d_ratio_stderr": 0.25}
    )
    found = compare([{"d": 6.0}, {"d": 6.0}], [{"d": 2.0}, {"d": 4.0}])
    # The reference 3 is uncertain by a third, and so is the ratio 2.
    assert found["d_ratio_stderr"] == pytest.approx(2 / 3)


def test_no_ratio_to_copies():
    assert sorted(compare([{"d": 1.0}] * 2, [{"d": 0.0}] * 2)) == ["d", "d_stderr"]


def test_one_seed_gives_the_same_directions_and_another_others():
    a, b = normal(50, 3), normal(50, 3, 1.0, seed=1)
    assert both(a, b, seed=4) == both(a, b, seed=4)
    assert both(a, b, seed=4)[0] != both(a, b, seed=5)[0]


def test_points_that_cannot_be_compared_are_errors():
    between = TwoSample(normal(5, 2), seed=0)
    with pytest.raises(ValueError, match=r"other must be \(5, 2\) .* received \(4, 2\)"):
        between.distances(normal(4, 2))
    with pytest.raises(ValueError, match="other must be finite: 1 of 10"):
        between.distances(np.where(np.arange(10) == 3, np.nan, 0.0).reshape(5, 2))
    with pytest.raises(ValueError, match="received \\(5,\\)"):
        TwoSample(np.zeros(5), seed=0)


def test_one_reference_gives_a_ratio_without_an_error():
    generated = [{"energy_distance": value} for value in (1.0, 3.0)]
    assert compare(generated, [{"energy_distance": 4.0}]) == pytest.approx(
        {"energy_distance": 2.0, "energy_distance_stderr": 1.0, "energy_distance_ratio": 0.5}
    )
    with pytest.raises(ValueError, match="energy_distance of the references: at least one"):
        compare(generated, [])
