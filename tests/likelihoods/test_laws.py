"""Laws that every likelihood obeys."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import make_x

from kvae.likelihoods import LEARNED_VARIANCES, LIKELIHOODS, accepts
from kvae.probability.noise import SeededNoise

LEVELS = "discretized-logistic"
EDGES = "gaussian of neighbours"
CASES = {
    **{name: (name, {}) for name in LIKELIHOODS if name != "gaussian"},
    f"{LEVELS} of 3": (LEVELS, {"num_components": 3}),
    **{f"gaussian {v}": ("gaussian", {"variance": v}) for v in (0.1, *LEARNED_VARIANCES)},
    EDGES: ("gaussian", {"variance": 0.1, "edge_weight": 2.0}),
}


def _shape(case):
    """Of one x: an image for what is only for images."""
    return (2, 3, 2) if case == EDGES or CASES[case][0] == LEVELS else (3, 2)


def _layer(case, shape=None):
    name, options = CASES[case]
    shape = shape or _shape(case)
    layer = LIKELIHOODS[name].load()(**options)
    layer.build((None, *shape))
    return layer


def _made(case, params):
    layer = _layer(case)
    return layer, layer.distribution(keras.ops.convert_to_tensor(params))


def _outputs(case):
    *places, channels = _shape(case)
    return (*places, _layer(case).num_outputs(channels))


@pytest.fixture(params=list(CASES))
def name(request):
    return request.param


def test_probabilities_of_one_element_sum_or_integrate_to_one(name):
    grids = {"bernoulli": np.array([0.0, 1.0]), LEVELS: np.arange(256) / 255}
    grid = grids.get(CASES[name][0], np.linspace(-9, 9, 20001))
    element = (1,) * len(_shape(name)) if len(_shape(name)) == 3 else (1,)
    layer = _layer(name, shape=element)
    params = np.full((len(grid), *element[:-1], layer.num_outputs(1)), 0.4, "float32")
    x = grid.reshape(-1, *element).astype("float32")
    density = np.exp(layer.distribution(params).log_prob(x))
    step = 1.0 if CASES[name][0] in grids else grid[1] - grid[0]
    assert density.sum() * step == pytest.approx(1.0, abs=1e-4)


def test_samples_have_the_mean_and_variance_it_names(name, rng):
    if CASES[name][0] == LEVELS:
        return  # variances that rest on levels too rare to be drawn: tests of its own
    params = np.repeat(rng.normal(size=(1, *_outputs(name))), 20000, axis=0).astype("float32")
    _, distribution = _made(name, params)
    sample = np.asarray(distribution.sample(SeededNoise(np.arange(20000)), "observation"))
    variance = np.asarray(distribution.variance()[0])
    error = np.abs(sample.mean(axis=0) - distribution.mean()[0])
    assert (error < 5 * np.sqrt(variance / 20000)).all()
    np.testing.assert_allclose(sample.var(axis=0), variance, rtol=0.08)


def test_rows_are_scored_on_their_own(name, rng):
    params = rng.normal(size=(4, *_outputs(name))).astype("float32")
    x = make_x(_shape(name), CASES[name][0], rows=4)
    _, together = _made(name, params)
    for row in range(4):
        _, alone = _made(name, params[row : row + 1])
        np.testing.assert_allclose(
            together.log_prob(x)[row], alone.log_prob(x[row : row + 1])[0], rtol=1e-5
        )


def test_extreme_parameters_keep_values_and_gradients_finite(name):
    count = math.prod(_outputs(name))
    values = np.resize(np.array([-1e3, -30.0, 0.0, 30.0, 1e3, 1e-3, 1.0], "float32"), count)
    params = tf.constant(values.reshape(1, *_outputs(name)))
    x = make_x(_shape(name), CASES[name][0], rows=1)
    layer = _layer(name)
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = layer.distribution(params).log_prob(x)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()


def test_it_is_read_back_from_its_config(name):
    layer = _layer(name)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_it_is_known_what_it_accepts(name):
    shape, (name, _) = _shape(name), CASES[name]
    grey = np.array([0, 128, 255], "uint8").reshape(1, 1, 3, 1)
    assert accepts(name, make_x(shape, name))
    assert accepts(name, np.array([0, 255], "uint8").reshape(1, 1, 2, 1))
    assert accepts(name, grey) == accepts(name, grey / np.float32(255)) == (name != "bernoulli")
    for bad in (np.nan, np.inf):
        assert not accepts(name, np.array([0.0, bad], "float32").reshape(1, 1, 2, 1))
