"""No rows are answered with no rows, whatever TensorFlow convolves with (see test_onednn.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.networks import NETWORKS
from kvae.networks.no_rows import answered
from kvae.options import arguments

SHAPE = (16, 16, 3)


def _networks(name):
    nets, declared = NETWORKS[name].load(), NETWORKS[name].options
    options = {option.name: option.default for option in declared}
    own = {**arguments(declared, options), "dtype": "float32"}
    return nets.encoder(SHAPE, 2, 4, **own), nets.decoder(2, SHAPE, 3, **own)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mlp"])
def test_no_rows_have_the_shape_of_rows(name, rng):
    for network in _networks(name):
        shape = network.input_shape[1:]

        def ask(x, network=network):
            return answered(network, x, False)

        graph = tf.function(ask, input_signature=[tf.TensorSpec((None, *shape))])
        x = rng.normal(size=(3, *shape)).astype("float32")
        expected = network(x)
        for found in (graph(x[:0]), ask(tf.constant(x[:0])), ask(x[:0])):
            assert found.shape == (0, *expected.shape[1:])
        np.testing.assert_allclose(graph(x), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(ask(x), expected)


def test_a_number_of_rows_that_is_known_costs_nothing():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    of = {}
    for rows in (3, None):
        graph = tf.function(
            lambda x: answered(network, x, False), input_signature=[tf.TensorSpec((rows, 2))]
        ).get_concrete_function()
        of[rows] = {operation.type for operation in graph.graph.get_operations()}
    assert "Pad" in of[None] and "Pad" not in of[3]
