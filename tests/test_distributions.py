import math

import keras
import numpy as np
import pytest
from scipy import stats

from kvae.distributions import Affine, Bernoulli, DiagonalNormal, event_size, sum_event
from kvae.noise import SeededNoise


def _normal(rng, rows=5, shape=(3, 2)):
    mean = rng.normal(size=(rows, *shape)).astype("float32")
    variance = rng.uniform(0.1, 3.0, size=(rows, *shape)).astype("float32")
    return mean, variance


def test_sum_event_keeps_the_batch():
    values = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    np.testing.assert_array_equal(sum_event(keras.ops.convert_to_tensor(values)), [66.0, 210.0])
    assert event_size(values) == 12


def test_normal_log_prob_is_scipys(rng):
    mean, variance = _normal(rng)
    x = rng.normal(size=mean.shape).astype("float32")
    expected = stats.norm(mean, np.sqrt(variance)).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(DiagonalNormal(mean, variance).log_prob(x), expected, rtol=1e-5)


def test_a_scalar_variance_counts_for_every_element(rng):
    mean, _ = _normal(rng)
    x = rng.normal(size=mean.shape).astype("float32")
    expected = stats.norm(mean, 0.5).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(DiagonalNormal(mean, 0.25).log_prob(x), expected, rtol=1e-5)
    assert DiagonalNormal(mean, 0.25).variance().shape == mean.shape


def test_params_are_means_then_softplus_variances():
    params = np.array([[1.0, 2.0, 0.0, -50.0]], "float32")
    posterior = DiagonalNormal.from_params(params)
    np.testing.assert_array_equal(posterior.mean(), [[1.0, 2.0]])
    np.testing.assert_allclose(posterior.variance(), [[math.log(2.0), 1e-8]], rtol=1e-5)
    assert DiagonalNormal.num_params(2) == 4


def test_normal_samples_have_its_moments():
    mean = np.tile(np.array([[1.0, -2.0]], "float32"), (20000, 1))
    variance = np.array([0.25, 4.0], "float32")
    noise = SeededNoise(np.arange(20000))
    sample = np.asarray(DiagonalNormal(mean, variance).sample(noise, "latent"))
    np.testing.assert_allclose(sample.mean(axis=0), [1.0, -2.0], atol=0.05)
    np.testing.assert_allclose(sample.var(axis=0), [0.25, 4.0], rtol=0.05)


def test_repeat_puts_copies_in_succession():
    repeated = DiagonalNormal(np.array([[1.0], [2.0]], "float32"), 0.5).repeat(2)
    np.testing.assert_array_equal(repeated.mean(), [[1.0], [1.0], [2.0], [2.0]])
    np.testing.assert_array_equal(repeated.variance(), np.full((4, 1), 0.5))


def test_bernoulli_probabilities_sum_to_one():
    logits = np.array([[0.3, -1.2]], "float32")
    outcomes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    log_probs = Bernoulli(np.repeat(logits, 4, axis=0)).log_prob(outcomes)
    assert np.exp(log_probs).sum() == pytest.approx(1.0, abs=1e-6)


def test_bernoulli_gives_grey_levels_no_probability():
    log_prob = Bernoulli(np.zeros((2, 2), "float32")).log_prob(
        np.array([[0.0, 1.0], [0.5, 1.0]], "float32")
    )
    assert float(log_prob[0]) == pytest.approx(-2 * math.log(2.0))
    assert float(log_prob[1]) == -math.inf


def test_bernoulli_moments_and_samples():
    logits = np.tile(np.array([[2.0, -1.0]], "float32"), (20000, 1))
    distribution = Bernoulli(logits)
    sample = np.asarray(distribution.sample(SeededNoise(np.arange(20000)), "observation"))
    assert set(np.unique(sample)) == {0.0, 1.0}
    np.testing.assert_allclose(sample.mean(axis=0), distribution.mean()[0], atol=0.02)
    np.testing.assert_allclose(sample.var(axis=0), distribution.variance()[0], atol=0.02)


def test_extreme_logits_keep_log_prob_and_gradients_finite():
    import tensorflow as tf

    logits = tf.constant([[-200.0, 200.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Bernoulli(logits).log_prob(tf.constant([[1.0, 0.0, 1.0]]))
    assert float(log_prob[0]) == pytest.approx(-400.0 - math.log(2.0))
    np.testing.assert_allclose(tape.gradient(log_prob, logits), [[1.0, -1.0, 0.5]])


def test_affine_is_the_density_in_the_units_of_x(rng):
    mean, variance = _normal(rng, shape=(2,))
    shift, scale = np.array([5.0, -1.0], "float32"), np.array([0.1, 20.0], "float32")
    moved = Affine(DiagonalNormal(mean, variance), shift, scale)
    x = (shift + scale * rng.normal(size=mean.shape)).astype("float32")
    expected = stats.norm(shift + scale * mean, scale * np.sqrt(variance)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(moved.log_prob(x), expected, rtol=1e-4)
    np.testing.assert_allclose(moved.variance(), scale**2 * variance, rtol=1e-6)


def test_a_scalar_scale_counts_for_every_element(rng):
    mean, variance = _normal(rng, shape=(4,))
    x = rng.normal(size=mean.shape).astype("float32")
    by_number = Affine(DiagonalNormal(mean, variance), 0.5, np.float32(3.0))
    by_array = Affine(DiagonalNormal(mean, variance), 0.5, np.full(4, 3.0, "float32"))
    np.testing.assert_allclose(by_number.log_prob(x), by_array.log_prob(x), rtol=1e-6)
