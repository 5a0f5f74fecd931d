"""Laws that every kind of network obeys, at every size."""

from unittest import mock

import keras
import numpy as np
import pytest

import kvae
from kvae.errors import UsageError
from kvae.networks import NETWORKS, conv_large, facts
from kvae.options import arguments
from kvae.probability.posteriors import POSTERIORS

SHAPES = [(8, 8, 1), (9, 13, 3), (28, 28, 1), (33, 47, 2), (64, 64, 3), (100, 75, 3)]
# The large network at one size that it takes and one that no power of two divides.
PAIRS = [
    (name, shape)
    for name in NETWORKS
    for shape in (SHAPES if name != "conv-large" else [(16, 16, 1), (21, 18, 3)])
]

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)


def _pair(name, shape, extra=0, dtype="float32", filters=(4, 8, 8, 16), **options):
    """Encoder and decoder; the large network with few filters, unless they are given."""
    nets, declared = NETWORKS[name].load(), NETWORKS[name].options
    values = {option.name: option.default for option in declared}
    options = {**values, "hidden_units": (16,), "width": 8, **options}
    own = {**arguments(declared, options), "dtype": dtype}
    with mock.patch.object(conv_large, "_FILTERS", filters):
        return nets.encoder(shape, 5, 10, **own), nets.decoder(5, shape, shape[-1] + extra, **own)


def _small(name):
    """A shape of odd sizes that the network takes."""
    return (21, 18, 3) if name == "conv-large" else (9, 13, 3)


@pytest.mark.parametrize(("name", "shape"), PAIRS)
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
    shape = _small(name)
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
    shape = _small(name)
    encoder, decoder = _pair(name, shape, dtype=policy)
    params = encoder(rng.random((2, *shape)).astype("float32"))
    computed = [layer.compute_dtype for layer in encoder.layers + decoder.layers]
    assert policy.removeprefix("mixed_") in computed
    assert params.dtype == decoder(params[:, :5]).dtype == "float32"


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_networks_are_read_back_from_their_config(name, rng):
    shape = _small(name)
    encoder, _ = _pair(name, shape)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoder))
    again.set_weights(encoder.get_weights())
    x = rng.random((2, *shape)).astype("float32")
    np.testing.assert_array_equal(again(x), encoder(x))


def _sizes(model, kind):
    layers = [layer for layer in model.layers if isinstance(layer, kind)]
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
        if isinstance(layer, CONVOLUTIONS)
    ]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    assert {layer.strides for layer in convolutions} == {(2, 2)}


def test_conv_large_at_64_is_the_network_of_the_papers():
    encoder, decoder = _pair("conv-large", (64, 64, 3), filters=conv_large._FILTERS)
    assert _sizes(encoder, keras.layers.Conv2D) == [
        (32, 32, 128), (16, 16, 256), (8, 8, 512), (4, 4, 1024)
    ]  # fmt: skip
    assert _sizes(decoder, keras.layers.Dense) == [(8 * 8 * 1024,)]
    assert _sizes(decoder, keras.layers.Conv2DTranspose) == [
        (16, 16, 512), (32, 32, 256), (64, 64, 128), (64, 64, 3)
    ]  # fmt: skip
    convolutions = [
        layer for layer in encoder.layers + decoder.layers if isinstance(layer, CONVOLUTIONS)
    ]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}


@pytest.mark.parametrize("training", [False, True])
def test_rows_of_a_resnet_do_not_depend_on_one_another(training, rng):
    encoder, decoder = _pair("resnet", (20, 20, 3))
    for network, x in (
        (encoder, rng.random((4, 20, 20, 3))), (decoder, rng.normal(size=(4, 5)))
    ):  # fmt: skip
        x = x.astype("float32")
        alone = network(x[:1], training=training)
        np.testing.assert_allclose(network(x, training=training)[:1], alone, atol=1e-5)


def test_width_and_depth_of_a_resnet():
    def convolutions(**options):
        encoder, _ = _pair("resnet", (64, 64, 3), **options)
        return _sizes(encoder, keras.layers.Conv2D)

    # A block is two convolutions; the largest map has none.
    halved = [(32, 32, 16), (16, 16, 32), (8, 8, 64), (4, 4, 128)]
    for depth in (1, 2):
        expected = [shape for i, shape in enumerate(halved) for _ in range(1 + 2 * depth * (i > 0))]
        assert convolutions(width=16, depth=depth) == expected


def test_a_residual_block_starts_as_the_identity(rng):
    encoder, _ = _pair("resnet", (64, 64, 3), depth=2)
    sums = [layer for layer in encoder.layers if type(layer) is keras.layers.Add]
    assert len(sums) == 6
    x = rng.random((3, 64, 64, 3)).astype("float32")
    for layer in sums:
        before, after = keras.Model(encoder.inputs[0], [layer.input[0], layer.output])(x)
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", [name for name in NETWORKS if facts(name).image_sizes])
@pytest.mark.parametrize("shape", [(7, 64, 3), (64, 257, 1), (300, 300, 3), (10,)])
def test_sizes_out_of_range_are_refused(name, shape):
    with pytest.raises(UsageError, match="to 256"):
        kvae.build_vae(shape, latent_dim=2, network=name)


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_the_largest_size_is_taken(name):
    encoder, decoder = _pair(name, (256, 256, 1))
    assert encoder.input_shape == decoder.output_shape == (None, 256, 256, 1)


def _mlp_error(linear_path, rng):
    nets = NETWORKS["mlp"].load()
    own = {"hidden_units": (64, 64), "linear_path": linear_path, "dtype": "float32"}
    encoder, decoder = nets.encoder((3,), 3, 6, **own), nets.decoder(3, (3,), 3, **own)
    x = rng.normal(size=(100, 3)).astype("float32")
    return np.abs(decoder(encoder(x)[:, :3]) - x).mean()


def test_mlp_with_a_linear_path_starts_near_the_identity_and_without_does_not(rng):
    assert _mlp_error(True, rng) < 0.25
    assert _mlp_error(False, rng) > 0.5


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_posteriors_beside_a_linear_path_start_narrow(posterior, rng):
    family = POSTERIORS[posterior].load()
    own = {"dtype": "float32", "hidden_units": (64, 64), "linear_path": True}
    encoder = NETWORKS["mlp"].load().encoder((3,), 3, family.num_params(3), **own)
    found = family.from_params(encoder(rng.normal(size=(100, 3)).astype("float32")))
    stddev = np.sqrt(found.variance())  # beside means that spread as x does, by 1
    assert stddev.min() > 0.05 and stddev.max() < 0.4


def test_mlp_without_a_linear_path_is_plain():
    nets = NETWORKS["mlp"].load()
    encoder = nets.encoder((3,), 2, 4, dtype="float32", hidden_units=(8, 8), linear_path=False)
    kinds = [type(layer).__name__ for layer in encoder.layers]
    assert kinds == ["InputLayer", "Flatten", *["Dense"] * 4, "Concatenate"]
