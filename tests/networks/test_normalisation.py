"""Group normalisation: Keras's, computed in another way in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.networks.normalisation import GroupNormalization

SHAPE = (5, 4, 3, 12)


def _pair(rng, shape=SHAPE, **options):
    """The layer, and Keras's own with the same weights."""
    layers = [kind(4, **options) for kind in (GroupNormalization, keras.layers.GroupNormalization)]
    for layer in layers:
        layer.build(shape)
    for ours, theirs in zip(*(layer.weights for layer in layers), strict=True):
        ours.assign(rng.normal(size=ours.shape))
        theirs.assign(ours)
    return layers


def _answers(layer, x, upstream, **training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        answer = layer(x, **training)
        loss = tf.reduce_sum(answer * upstream)
    return [answer, *tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("offset", "error"),
    [(0.0, 1e-5), (300.0, 1e-3)],  # far off, a square would round all away
)
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 2, 4)])
def test_it_and_its_gradients_are_those_of_keras(shape, offset, error, training, rng):
    x = rng.normal(size=shape) * np.arange(1, shape[-1] + 1) + offset
    x, upstream = (tf.constant(part, tf.float32) for part in (x, rng.normal(size=shape)))
    ours, theirs = _pair(rng, shape)
    found = _answers(ours, x, upstream, training=training)
    for one, wanted in zip(found, _answers(theirs, x, upstream), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=10 * error, atol=error)


def test_an_image_of_one_colour_has_numbers_and_gradients(rng):
    x = tf.fill(SHAPE, 40.0)
    answers = _answers(_pair(rng)[0], x, tf.ones(SHAPE), training=True)
    assert all(np.isfinite(answer).all() for answer in answers)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_other_forms_are_those_of_keras(options, rng):
    shape = (5, 12, 4, 3) if "axis" in options else SHAPE
    ours, theirs = _pair(rng, shape, **options)
    x = tf.constant(rng.normal(size=shape), tf.float32)
    np.testing.assert_allclose(ours(x, training=True), theirs(x), rtol=1e-5, atol=1e-5)


def test_training_alone_takes_the_quick_way(rng):
    layer = _pair(rng)[0]

    def operations(training):
        graph = tf.function(lambda x: layer(x, training=training))
        nodes = graph.get_concrete_function(tf.TensorSpec((None, *SHAPE[1:]))).graph
        return {node.type for node in nodes.get_operations()}

    assert "BatchMatMulV2" in operations(training=True)
    assert not operations(training=False) & {"BatchMatMulV2", "IdentityN"}


def test_a_file_brings_the_layer_back(tmp_path, rng):
    vae = kvae.build_vae((8, 8, 1), network="resnet", width=8, latent_dim=2)
    kinds = [type(layer) for layer in vae.encoder.layers]
    assert GroupNormalization in kinds
    path = tmp_path / "model.keras"
    vae.save(path)
    again = kvae.load_model(path)
    assert [type(layer) for layer in again.encoder.layers] == kinds
    x = rng.random((3, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(again.encoder(x), vae.encoder(x))
