"""Laws that every likelihood obeys."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import make_x

from kvae.likelihoods import LIKELIHOODS, accepts
from kvae.noise import SeededNoise

SHAPE = (3, 2)


def _made(name, params):
    layer = LIKELIHOODS[name].load()()
    layer.build((None, *SHAPE))
    return layer, layer.distribution(keras.ops.convert_to_tensor(params))


@pytest.fixture(params=list(LIKELIHOODS))
def name(request):
    return request.param


def test_probabilities_of_one_element_sum_or_integrate_to_one(name):
    grid = np.array([0.0, 1.0]) if name == "bernoulli" else np.linspace(-9, 9, 20001)
    layer = LIKELIHOODS[name].load()()
    layer.build((None, 1))
    params = np.full((len(grid), layer.params_per_channel), 0.4, "float32")
    density = np.exp(layer.distribution(params).log_prob(grid[:, None].astype("float32")))
    step = 1.0 if name == "bernoulli" else grid[1] - grid[0]
    assert density.sum() * step == pytest.approx(1.0, abs=1e-4)


def test_samples_have_the_mean_and_variance_it_names(name, rng):
    params = np.repeat(rng.normal(size=(1, *SHAPE)), 20000, axis=0).astype("float32")
    _, distribution = _made(name, params)
    sample = np.asarray(distribution.sample(SeededNoise(np.arange(20000)), "observation"))
    np.testing.assert_allclose(sample.mean(axis=0), distribution.mean()[0], atol=0.03)
    np.testing.assert_allclose(sample.var(axis=0), distribution.variance()[0], rtol=0.08)


def test_rows_are_scored_on_their_own(name, rng):
    params, x = rng.normal(size=(4, *SHAPE)).astype("float32"), make_x(SHAPE, name, rows=4)
    _, together = _made(name, params)
    for row in range(4):
        _, alone = _made(name, params[row : row + 1])
        np.testing.assert_allclose(
            together.log_prob(x)[row], alone.log_prob(x[row : row + 1])[0], rtol=1e-6
        )


def test_extreme_parameters_keep_values_and_gradients_finite(name):
    params = tf.constant(np.array([-1e3, -30.0, 0.0, 30.0, 1e3, 1e-3], "float32").reshape(1, 3, 2))
    x = make_x(SHAPE, name, rows=1)
    layer = LIKELIHOODS[name].load()()
    layer.build((None, *SHAPE))
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = layer.distribution(params).log_prob(x)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()


def test_it_is_read_back_from_its_config(name):
    layer = LIKELIHOODS[name].load()()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_it_is_known_what_it_accepts(name):
    grey = np.array([[0, 128, 255]], "uint8")
    assert accepts(name, make_x(SHAPE, name))
    assert accepts(name, np.array([[0, 255]], "uint8"))
    assert accepts(name, grey) == accepts(name, grey / np.float32(255)) == (name != "bernoulli")
    for bad in (np.nan, np.inf):
        assert not accepts(name, np.array([[0.0, bad]], "float32"))
