"""Convolutions: Keras's, with a gradient by weights computed in another way in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.networks import convolutions


def _answers(layer, x, upstream, **training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        answer = layer(x, **training)
        loss = tf.reduce_sum(tf.cast(answer, "float32") * upstream)
    return [answer, *tape.gradient(loss, [x, *layer.trainable_variables])]


def _pair(kind, filters, side, step, shape, **options):
    """The layer, and Keras's own with the same weights."""
    given = {"strides": step, "padding": "same", "activation": "relu", **options}
    layers = [getattr(home, kind)(filters, side, **given) for home in (convolutions, keras.layers)]
    for layer in layers:
        layer.build(shape)
    layers[1].set_weights(layers[0].get_weights())
    return layers


@pytest.fixture
def everywhere(monkeypatch):
    """Products whatever gains."""
    monkeypatch.setattr(convolutions, "_is_quick", lambda *_: True)


@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose"])
@pytest.mark.parametrize(
    ("side", "step", "places"),
    [
        (3, 1, (4, 5)),
        (4, 2, (6, 4)),
        (5, 2, (8, 6)),
        (5, 1, (2, 3)),
        (2, 2, (4, 2)),
        (3, 3, (6, 6)),
    ],
)  # fmt: skip
def test_it_and_its_gradients_are_those_of_keras(everywhere, kind, side, step, places, rng):
    shape = (3, *places, 4)
    ours, theirs = _pair(kind, 2, side, step, shape)
    x = tf.constant(rng.normal(size=shape), tf.float32)
    upstream = tf.constant(rng.normal(size=theirs(x).shape), tf.float32)
    found = _answers(ours, x, upstream, training=True)
    for one, wanted in zip(found, _answers(theirs, x, upstream), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("places", [(7, 8), (5, 5), (3, 4)])
def test_so_they_are_where_the_map_is_no_multiple_of_the_step(everywhere, places, rng):
    shape = (3, *places, 4)
    ours, theirs = _pair("Conv2D", 2, 5, 2, shape, use_bias=False)
    x = tf.constant(rng.normal(size=shape), tf.float32)
    upstream = tf.constant(rng.normal(size=theirs(x).shape), tf.float32)
    found = _answers(ours, x, upstream, training=True)
    for one, wanted in zip(found, _answers(theirs, x, upstream), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "places", "filters", "dtype", "training", "quick"),
    [
        ("Conv2D", 8, 128, "mixed_bfloat16", True, True),  # to 4x4
        ("Conv2DTranspose", 4, 128, "mixed_bfloat16", True, True),
        ("Conv2DTranspose", 8, 128, "mixed_bfloat16", True, False),  # needs 256
        ("Conv2D", 8, 32, "mixed_bfloat16", True, False),
        ("Conv2D", 8, 128, "mixed_bfloat16", False, False),
        ("Conv2D", 8, 128, "float32", True, False),
    ],
)
def test_training_on_small_maps_in_bfloat16_alone_takes_the_quick_way(
    kind, places, filters, dtype, training, quick
):
    shape = (None, places, places, 128)
    layer, _ = _pair(kind, filters, 4, 2, shape, dtype=dtype)

    @tf.function(input_signature=[tf.TensorSpec(shape)])
    def trained(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(x, training=training), "float32"))
        return tape.gradient(loss, layer.trainable_variables)

    kinds = {node.type for node in trained.get_concrete_function().graph.get_operations()}
    assert ("MatMul" in kinds) is quick
    assert ("Conv2DBackpropFilter" in kinds) is not quick


def test_bfloat16_rounds_it_as_keras_does(rng):
    shape = (4, 8, 8, 128)
    ours, theirs = _pair("Conv2D", 128, 4, 2, shape, dtype="mixed_bfloat16")
    x = tf.constant(rng.normal(size=shape), tf.bfloat16)
    upstream = tf.constant(rng.normal(size=(4, 4, 4, 128)), tf.float32)
    found = _answers(ours, x, upstream, training=True)
    for one, wanted in zip(found, _answers(theirs, x, upstream), strict=True):
        one, wanted = (tf.cast(part, tf.float32).numpy() for part in (one, wanted))
        np.testing.assert_allclose(one, wanted, atol=2e-2 * np.abs(wanted).max())
