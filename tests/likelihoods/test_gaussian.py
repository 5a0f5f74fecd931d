import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kvae.errors import UsageError
from kvae.likelihoods.gaussian import Gaussian
from kvae.probability.distributions import below_diagonal
from kvae.probability.noise import SeededNoise


def _variance(likelihood, shape=(4,)):
    likelihood.build((None, *shape))
    return np.asarray(likelihood.current_variance())


def test_a_fixed_variance_is_that_number_and_has_no_weights():
    likelihood = Gaussian(0.1)
    assert _variance(likelihood) == pytest.approx(0.1)
    assert likelihood.weights == []


@pytest.mark.parametrize(
    ("variance", "shape"),
    [("shared", ()), ("optimal", ()), ("per-channel", (4,)), ("per-feature", (4,))],
)
def test_a_learned_variance_starts_where_it_is_told(variance, shape):
    found = _variance(Gaussian(variance, initial_variance=0.37))
    assert found.shape == shape
    np.testing.assert_allclose(found, 0.37, rtol=1e-5)


def test_a_learned_variance_cannot_pass_its_floor():
    likelihood = Gaussian("shared", variance_floor=0.01)
    likelihood.build((None, 4))
    likelihood.raw_variance.assign(-1e4)
    assert float(likelihood.current_variance()) == pytest.approx(0.01)


def test_gradient_descent_finds_the_maximum_likelihood_variance(rng):
    x = (rng.normal(size=(2000, 3)) * [0.2, 0.5, 1.0]).astype("float32")
    likelihood = Gaussian("per-feature")
    likelihood.build((None, 3))
    for _ in range(300):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(likelihood.distribution(tf.zeros_like(x)).log_prob(x))
        gradient = tape.gradient(loss, likelihood.raw_variance)
        likelihood.raw_variance.assign_sub(0.3 * gradient)
    np.testing.assert_allclose(likelihood.current_variance(), (x**2).mean(axis=0), rtol=0.02)


def test_log_prob_keeps_every_constant(rng):
    x = rng.normal(size=(5, 4)).astype("float32")
    likelihood = Gaussian(0.1)
    likelihood.build((None, 4))
    expected = stats.norm(0, np.sqrt(0.1)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(
        likelihood.distribution(np.zeros_like(x)).log_prob(x), expected, rtol=1e-5
    )


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), "wide"])
def test_a_wrong_variance_is_refused(variance):
    with pytest.raises(ValueError):
        Gaussian(variance)


def test_a_start_under_the_floor_is_refused():
    with pytest.raises(ValueError, match="above its floor"):
        Gaussian("shared", initial_variance=1e-7)


def test_a_full_covariance_holds_what_the_decoder_regresses(rng):
    """Density against scipy's, for a covariance worked out from the definition."""
    likelihood = Gaussian("full", initial_variance=1.0, variance_floor=1e-12)
    likelihood.build((None, 3))
    params = rng.normal(size=(1, likelihood.num_outputs(3))).astype("float32")
    distribution = likelihood.distribution(params)
    unit = np.eye(3) + np.asarray(below_diagonal(params[0, 6:], 3))
    scale = np.exp(params[0, 3:6])
    precision = unit @ np.diag(scale**2) @ unit.T
    x = rng.normal(size=(1, 3)).astype("float32")
    expected = stats.multivariate_normal(params[0, :3], np.linalg.inv(precision)).logpdf(x)
    np.testing.assert_allclose(distribution.log_prob(x)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(
        distribution.variance()[0], np.diag(np.linalg.inv(precision)), rtol=1e-4
    )
    sample = likelihood.distribution(np.tile(params, (40_000, 1))).sample(
        SeededNoise(np.arange(40_000)), "observation"
    )
    np.testing.assert_allclose(np.cov(np.asarray(sample).T), np.linalg.inv(precision), atol=0.1)


@pytest.mark.parametrize("variance", ["heteroscedastic", "full"])
def test_a_variance_from_the_decoder_starts_where_told_and_keeps_its_floor(variance):
    likelihood = Gaussian(variance, initial_variance=0.3, variance_floor=1e-8)
    likelihood.build((None, 2))
    params = np.zeros((1, likelihood.num_outputs(2)), "float32")
    np.testing.assert_allclose(likelihood.distribution(params).variance(), 0.3, rtol=1e-5)
    near = Gaussian(variance, initial_variance=0.02, variance_floor=1 / 255**2)
    near.build((None, 2))
    np.testing.assert_allclose(near.distribution(params).variance(), 0.02, rtol=1e-5)
    params[0, 2:4] = 1e3
    np.testing.assert_allclose(likelihood.distribution(params).variance(), 1e-8, rtol=1e-3)


def test_a_full_covariance_of_images_is_that_of_a_pixels_colours(rng):
    likelihood = Gaussian("full")
    likelihood.build((None, 2, 2, 3))
    params = rng.normal(size=(1, 2, 2, likelihood.num_outputs(3))).astype("float32")
    x = rng.normal(size=(1, 2, 2, 3)).astype("float32")
    pixels = Gaussian("full")
    pixels.build((None, 3))
    alone = pixels.distribution(params.reshape(4, -1)).log_prob(x.reshape(4, 3))
    np.testing.assert_allclose(
        likelihood.distribution(params).log_prob(x)[0], np.sum(alone), rtol=1e-5
    )


def test_a_variance_per_channel_is_that_of_the_last_axis(rng):
    likelihood = Gaussian("per-channel")
    assert _variance(likelihood, (5, 4, 3)).shape == (3,)
    likelihood.raw_variance.assign([-2.0, 0.0, 3.0])
    variance = np.asarray(likelihood.current_variance())
    x = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    expected = stats.norm(0, np.sqrt(variance)).logpdf(x).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        likelihood.distribution(np.zeros_like(x)).log_prob(x), expected, rtol=1e-5
    )


@pytest.mark.parametrize("edge_weight", [0.0, 3.0])
def test_the_optimal_variance_is_read_off_the_distortion(edge_weight, rng):
    x, mean = rng.normal(size=(2, 50, 2, 3, 1)).astype("float32")
    likelihood = Gaussian("optimal", edge_weight=edge_weight, initial_variance=0.7)
    likelihood.build((None, 2, 3, 1))
    distortion = -likelihood.distribution(mean).log_prob(x)
    error = x - mean
    differences = np.square(np.diff(error, axis=1)).sum() + np.square(np.diff(error, axis=2)).sum()
    expected = (np.square(error).sum() + edge_weight * differences) / error.size
    # Of a grid of 2 x 3 the Laplacian's eigenvalues are 0, 1, 3 of three places plus 0, 2 of two.
    eigenvalues = np.add.outer([0, 2], [0, 1, 3])
    expected *= np.mean(1 / (1 + edge_weight * eigenvalues))
    assert float(likelihood.mean_squared_error_of(distortion)) == pytest.approx(expected, rel=1e-5)
    likelihood.update(distortion)
    moved = float(likelihood.current_variance())
    assert moved == pytest.approx(0.95 * 0.7 + 0.05 * expected, rel=1e-5)
    # At that value no other variance finds the data likelier.
    likelihood.mean_squared_error.assign([expected])
    best = float(np.mean(likelihood.distribution(mean).log_prob(x)))
    for factor in (0.98, 1.02):
        likelihood.mean_squared_error.assign([expected * factor])
        assert np.mean(likelihood.distribution(mean).log_prob(x)) < best


def test_an_edge_weight_goes_with_images_and_one_variance():
    for variance in ("per-channel", "per-feature", "heteroscedastic", "full"):
        with pytest.raises(UsageError, match=rf"edge_weight 2.0 and variance {variance}"):
            Gaussian(variance, edge_weight=2)
    for bad in (-1, float("nan"), 1001):
        with pytest.raises(UsageError, match="edge_weight"):
            Gaussian(edge_weight=bad)
    with pytest.raises(UsageError, match=r"images .* x of shape \(6,\)"):
        Gaussian(edge_weight=2).build((None, 6))


def test_the_optimal_variance_has_a_floor_and_no_gradient():
    likelihood = Gaussian("optimal", variance_floor=0.01)
    likelihood.build((None, 4))
    assert likelihood.trainable_weights == []
    likelihood.mean_squared_error.assign([1e-9])
    assert float(likelihood.current_variance()) == pytest.approx(0.01)
