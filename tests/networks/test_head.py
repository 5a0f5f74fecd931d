"""The last layer of a decoder: Keras's transposed convolution, computed in another way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.errors import UsageError
from kvae.networks.head import Head

FEW, MANY = 3, 16  # channels


def _pair(filters, shape, rng, **options):
    """The layer, and Keras's own with the same weights."""
    ours = Head(filters, **options)
    theirs = keras.layers.Conv2DTranspose(filters, 4, strides=2, padding="same", **options)
    for layer in (ours, theirs):
        layer.build(shape)
    for weight, same in zip(ours.weights, theirs.weights, strict=True):
        weight.assign(rng.normal(size=weight.shape))
        same.assign(weight)
    return ours, theirs


def _gradients(layer, x, weights, training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, **training) * weights)
    return tape.gradient(loss, [x, *layer.trainable_variables])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("filters", "size"), [(1, (1, 1)), (FEW, (4, 7)), (FEW, (6, 2)), (MANY, (3, 3))]
)
def test_it_is_the_transposed_convolution_of_keras(filters, size, training, rng):
    x = tf.constant(rng.normal(size=(2, *size, 5)), tf.float32)
    ours, theirs = _pair(filters, x.shape, rng, activation="softplus")
    expected = theirs(x)
    np.testing.assert_allclose(ours(x, training=training), expected, rtol=1e-4, atol=1e-5)
    weights = tf.constant(rng.normal(size=expected.shape), tf.float32)
    pairs = zip(
        _gradients(ours, x, weights, {"training": training}),
        _gradients(theirs, x, weights, {}),
        strict=True,
    )
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        {"kernel_size": 3}, {"strides": 1}, {"padding": "valid"}, {"output_padding": 1},
        {"use_bias": False}, {"data_format": "channels_first"},
    ],
)  # fmt: skip
def test_another_transposed_convolution_is_refused(other):
    with pytest.raises(UsageError, match=f"Head: {next(iter(other))} is .* only; received"):
        Head(FEW, **other)


def _operations(layer, x, training):
    graph = tf.function(lambda x: layer(x, training=training)).get_concrete_function(x).graph
    return {operation.type for operation in graph.get_operations()}


def test_few_channels_are_a_convolution_without_a_gradient_of_their_own_where_none_is_asked_for(
    rng,
):
    x = tf.zeros((1, 4, 4, 5))
    few, many = (_pair(filters, x.shape, rng)[0] for filters in (FEW, MANY))
    assert _operations(few, x, False) >= {"Conv2D", "DepthToSpace"}
    assert not _operations(few, x, False) & {"Conv2DBackpropInput", "IdentityN"}
    assert "DepthToSpace" in _operations(few, x, True)
    assert "Conv2DBackpropInput" in _operations(many, x, False)


@pytest.mark.parametrize("network", ["conv", "resnet"])
def test_models_that_were_saved_with_the_layer_of_keras_load_and_answer_the_same(
    network, tmp_path, rng, monkeypatch
):
    module = getattr(kvae.networks, network)
    with monkeypatch.context() as old:
        old.setattr(
            module, "Head",
            lambda filters, **own: keras.layers.Conv2DTranspose(
                filters, 4, strides=2, padding="same", **own
            ),
        )  # fmt: skip
        saved = kvae.build_vae((16, 16, 3), latent_dim=2, network=network)
    assert type(saved.decoder.get_layer("likelihood")) is keras.layers.Conv2DTranspose
    saved.save(tmp_path / "old.keras")
    loaded = kvae.load_model(tmp_path / "old.keras")
    new = kvae.build_vae((16, 16, 3), latent_dim=2, network=network)
    assert type(new.decoder.get_layer("likelihood")) is Head
    new.set_weights(loaded.get_weights())
    z = rng.normal(size=(3, 2)).astype("float32")
    expected = saved.decode(z).mean()
    np.testing.assert_array_equal(loaded.decode(z).mean(), expected)
    np.testing.assert_allclose(new.decode(z).mean(), expected, rtol=1e-4, atol=1e-5)
    assert [w.path.split("/")[-2:] for w in new.decoder.weights[-2:]] == [
        w.path.split("/")[-2:] for w in saved.decoder.weights[-2:]
    ]
