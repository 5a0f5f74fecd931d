import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kvae.likelihoods.gaussian import Gaussian


def _variance(likelihood, shape=(4,)):
    likelihood.build((None, *shape))
    return np.asarray(likelihood.current_variance())


def test_a_fixed_variance_is_that_number_and_has_no_weights():
    likelihood = Gaussian(0.1)
    assert _variance(likelihood) == pytest.approx(0.1)
    assert likelihood.weights == []


@pytest.mark.parametrize(("variance", "shape"), [("shared", ()), ("per-feature", (4,))])
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
