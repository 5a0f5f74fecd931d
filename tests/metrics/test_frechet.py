import numpy as np
import pytest

from kvae.metrics.frechet import Moments, frechet_distance, moments


def features(count=300, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dim)) @ rng.standard_normal((dim, dim)) + rng.random(dim)


def of(*parts):
    return moments(iter(parts))


def test_diagonal_gaussians_in_closed_form():
    mean_a, mean_b = np.array([0.0, 1.0, -2.0]), np.array([3.0, 1.0, 2.0])
    stddev_a, stddev_b = np.array([1.0, 2.0, 0.5]), np.array([1.0, 5.0, 1.5])
    a = Moments(mean_a, np.diag(stddev_a**2), 10)
    b = Moments(mean_b, np.diag(stddev_b**2), 10)
    # Squared distances of the means, 9 and 16, and of the standard deviations, 9 and 1.
    assert frechet_distance(a, b) == pytest.approx(35, rel=1e-14)


def test_one_feature_by_hand():
    # Means 2 and 7, variances 2 and 50: 5^2 + (sqrt(50) - sqrt(2))^2 = 25 + 32.
    distance = frechet_distance(of(np.array([[1.0], [3.0]])), of(np.array([[2.0], [12.0]])))
    assert distance == pytest.approx(57)


def test_it_is_the_formula_with_the_root_of_the_product():
    from scipy.linalg import sqrtm

    a, b = of(features()), of(1.3 * features(seed=1))
    root = sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_a_shift_of_all_rows_is_its_squared_length():
    x, shift = features(), np.linspace(-1, 3, 64)
    assert frechet_distance(of(x), of(x + shift)) == pytest.approx(np.square(shift).sum())


@pytest.mark.parametrize("count", [300, 20])
def test_a_rotation_of_both_changes_nothing_and_scales_are_squared(count):
    a, b = features(count), features(count, seed=1)
    rotation = np.linalg.qr(features(64))[0]
    distance = frechet_distance(of(a), of(b))
    assert frechet_distance(of(a @ rotation), of(b @ rotation)) == pytest.approx(distance)
    assert frechet_distance(of(3 * a), of(3 * b)) == pytest.approx(9 * distance)


@pytest.mark.parametrize("count", [300, 20])
@pytest.mark.parametrize("seed", range(5))
def test_equal_moments_are_at_no_distance_and_nothing_is_below(count, seed):
    a = of(features(count, seed=seed))
    scale = np.trace(a.covariance)
    assert 0 <= frechet_distance(a, a) < 1e-12 * scale
    almost = Moments(a.mean, a.covariance * (1 + 1e-15), count)
    assert 0 <= frechet_distance(a, almost) < 1e-12 * scale


def test_lines_that_cross_at_an_angle():
    # Variances s^2 and t^2 along unit vectors u and v: the trace of the root is s t |u.v|.
    rng = np.random.default_rng(0)
    u, v = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 64)))
    a = Moments(np.zeros(64), 4 * np.outer(u, u), 2)
    b = Moments(np.zeros(64), 9 * np.outer(v, v), 2)
    expected = 4 + 9 - 2 * 2 * 3 * abs(u @ v)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-13)


def test_sets_in_orthogonal_subspaces_share_no_spread():
    rotation = np.linalg.qr(features(64))[0]
    a = of(features(300, 32) @ rotation[:32])
    b = of(features(300, 32, seed=1) @ rotation[32:])
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance) + np.trace(b.covariance)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_a_collapsed_set_keeps_the_variance_of_the_other():
    x = features()
    collapsed = of(np.tile(x.mean(0), (5, 1)))
    expected = np.cov(x.T).trace()
    assert frechet_distance(of(x), collapsed) == pytest.approx(expected)
    assert frechet_distance(collapsed, collapsed) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("sizes", [[300], [1, 299], [1] * 20 + [280], [128, 128, 44]])
def test_parts_of_any_size_give_the_covariance_of_all(sizes):
    x = features()
    found = of(*np.split(x, np.cumsum(sizes)[:-1]))
    assert found.count == 300
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.T), rtol=1e-10, atol=1e-12)


def test_features_far_from_zero_lose_no_digits():
    rng = np.random.default_rng(0)
    steps = rng.integers(-8, 9, (1000, 3)).astype(np.float64)
    found = of(*np.split(steps + 2.0**30, 10))
    np.testing.assert_allclose(found.covariance, np.cov(steps.T), rtol=1e-6, atol=1e-6)


def test_float32_is_summed_in_float64_and_input_stays_as_it_is():
    x = features().astype(np.float32)
    before = x.copy()
    found = of(x[:100], x[100:])
    np.testing.assert_allclose(found.covariance, np.cov(before.T.astype(np.float64)), rtol=1e-9)
    np.testing.assert_array_equal(x, before)


def test_features_that_have_no_moments_are_errors():
    x = features(4, 3)
    with pytest.raises(ValueError, match="at least two rows: received 1"):
        of(x[:1])
    with pytest.raises(ValueError, match="at least two rows: received 0"):
        of()
    with pytest.raises(ValueError, match=r"part 1 must be \(n, 3\): received \(4, 2\)"):
        of(x, x[:, :2])
    with pytest.raises(ValueError, match=r"part 0 must be \(n, d\): received \(3,\)"):
        of(x[0])
    with pytest.raises(ValueError, match="part 1: at least one"):
        of(x, x[:0])
    with pytest.raises(ValueError, match="part 1 must be finite: 12 of 12"):
        of(x, x * np.nan)
    with pytest.raises(ValueError, match="the same features: received 3 and 2"):
        frechet_distance(of(x), of(x[:, :2]))
    with pytest.raises(ValueError, match="covariance must be finite: 9 of 9"):
        frechet_distance(of(x), Moments(x[0], np.full((3, 3), np.inf), 4))
