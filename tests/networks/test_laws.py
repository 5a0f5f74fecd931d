"""Laws that every kind of network obeys, at every size."""

import keras
import numpy as np
import pytest

from kvae.errors import UsageError
from kvae.networks import NETWORKS, conv

SHAPES = [(8, 8, 1), (9, 13, 3), (28, 28, 1), (33, 47, 2), (64, 64, 3), (100, 75, 3)]


def _pair(name, shape, extra=0, dtype="float32"):
    nets = NETWORKS[name].load()
    options = {"hidden_units": (16,), "linear_path": True, "dtype": dtype}
    return nets.encoder(shape, 5, 10, **options), nets.decoder(
        5, shape, shape[-1] + extra, **options
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_decoder_gives_back_the_shape_that_the_encoder_takes(name, shape, rng):
    encoder, decoder = _pair(name, shape, extra=2)
    x = rng.random((2, *shape)).astype("float32")
    params = encoder(x)
    assert params.shape == (2, 10)
    out = decoder(params[:, :5])
    assert out.shape == (2, *shape[:-1], 2 + shape[-1])
    # Different images have different codes, and different codes different images.
    assert np.abs(params[0] - params[1]).max() > 1e-6
    assert np.abs(out[0] - out[1]).max() > 1e-6


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_corner_of_the_image_reaches_the_code_and_is_drawn(name, rng):
    shape = (13, 9, 2)
    encoder, decoder = _pair(name, shape)
    x = rng.random((1, *shape)).astype("float32")
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        changed = x.copy()
        changed[0, row, column] += 1.0
        assert np.abs(encoder(changed) - encoder(x)).max() > 1e-6
    out = np.asarray(decoder(rng.normal(size=(64, 5)).astype("float32")))
    assert (out.std(axis=0) > 0).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_heads_answer_float32_under_mixed_precision(name, policy, rng):
    encoder, decoder = _pair(name, (8, 8, 1), dtype=policy)
    params = encoder(rng.random((2, 8, 8, 1)).astype("float32"))
    computed = [layer.compute_dtype for layer in encoder.layers + decoder.layers]
    assert policy.removeprefix("mixed_") in computed
    assert params.dtype == decoder(params[:, :5]).dtype == "float32"


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_networks_are_read_back_from_their_config(name, rng):
    encoder, _ = _pair(name, (9, 13, 3))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoder))
    again.set_weights(encoder.get_weights())
    x = rng.random((2, 9, 13, 3)).astype("float32")
    np.testing.assert_array_equal(again(x), encoder(x))


def _sizes(model, kind):
    layers = [layer for layer in model.layers if type(layer) is kind]
    return [layer.output.shape[1:] for layer in layers]


def test_conv_at_64_is_the_network_of_the_report():
    """The convolutions over a whole map are dense layers: 4 x 4 x 64 to 256, and back."""
    encoder, decoder = _pair("conv", (64, 64, 3))
    halved = [(32, 32, 32), (16, 16, 32), (8, 8, 64), (4, 4, 64)]
    assert _sizes(encoder, keras.layers.Conv2D) == halved
    assert _sizes(encoder, keras.layers.Dense) == [(256,), (10,)]
    assert _sizes(decoder, keras.layers.Dense) == [(256,), (1024,)]
    doubled = [(8, 8, 64), (16, 16, 32), (32, 32, 32), (64, 64, 3)]
    assert _sizes(decoder, keras.layers.Conv2DTranspose) == doubled
    convolutions = [
        layer
        for model in (encoder, decoder)
        for layer in model.layers
        if "Conv" in str(type(layer))
    ]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    assert {layer.strides for layer in convolutions} == {(2, 2)}


@pytest.mark.parametrize("shape", [(7, 64, 3), (64, 257, 1), (300, 300, 3), (10,)])
def test_conv_refuses_sizes_out_of_range(shape):
    with pytest.raises(UsageError, match="8 to 256"):
        conv.encoder(shape, 2, 4, hidden_units=(), linear_path=True, dtype="float32")


def test_conv_takes_its_largest_size():
    encoder, decoder = _pair("conv", (256, 256, 1))
    assert encoder.input_shape == decoder.output_shape == (None, 256, 256, 1)


def _mlp_error(linear_path, rng):
    nets = NETWORKS["mlp"].load()
    options = {"hidden_units": (64, 64), "linear_path": linear_path, "dtype": "float32"}
    encoder, decoder = nets.encoder((3,), 3, 6, **options), nets.decoder(3, (3,), 3, **options)
    x = rng.normal(size=(100, 3)).astype("float32")
    return np.abs(decoder(encoder(x)[:, :3]) - x).mean()


def test_mlp_with_a_linear_path_starts_near_the_identity_and_without_does_not(rng):
    assert _mlp_error(True, rng) < 0.25
    assert _mlp_error(False, rng) > 0.5


def test_mlp_without_a_linear_path_is_plain():
    nets = NETWORKS["mlp"].load()
    encoder = nets.encoder((3,), 2, 4, hidden_units=(8, 8), linear_path=False, dtype="float32")
    kinds = [type(layer).__name__ for layer in encoder.layers]
    assert kinds == ["InputLayer", "Flatten", *["Dense"] * 4, "Concatenate"]
