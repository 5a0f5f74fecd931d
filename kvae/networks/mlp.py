"""Dense networks for vectors (and for images, flattened)."""

import math

import keras
import numpy as np

#: A small start of what no linear path feeds: spreads begin alike for all x.
_SPREAD_SCALE = 0.01
#: Before its softplus: beside a linear path posteriors start narrow, so that what data keep apart
#: is apart in latent space, where the prior starts. The standard deviation of a full one, the
#: variance of a diagonal one.
_POSTERIOR_START = math.log(math.expm1(0.1))


def _hidden(x, hidden_units, dtype):
    for units in hidden_units:
        x = keras.layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", dtype=dtype
        )(x)
    return x


def _mean_head(x, size, linear_input, name):
    """A float32 head; with a `linear_input`, beside a learned linear path that starts as identity.

    The path lets a network begin as the identity map and learn only what is not linear. The small
    start of the other kernel keeps that beginning.
    """
    means = _head(x, size, name, scale=0.01 if linear_input is not None else 1.0)
    if linear_input is None:
        return means
    linear = keras.layers.Dense(
        size, use_bias=False, kernel_initializer="identity", dtype="float32", name=f"{name}_linear"
    )(linear_input)
    return keras.layers.Add(dtype="float32")([means, linear])


def _head(x, size, name, scale):
    start = keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")
    return keras.layers.Dense(size, kernel_initializer=start, dtype="float32", name=name)(x)


def encoder(element_shape, latent_dim, num_params, *, dtype, hidden_units, linear_path):
    """See `kvae.networks`."""
    inputs = keras.Input(element_shape, name="x")
    flat = keras.layers.Flatten(dtype="float32")(inputs)
    x = _hidden(flat, hidden_units, dtype)
    mean = _mean_head(x, latent_dim, flat if linear_path else None, "posterior_mean")
    scale = _SPREAD_SCALE if linear_path else 1.0
    size = num_params - latent_dim
    spread = _head(x, size, "posterior_spread", scale)
    out = keras.layers.Concatenate(dtype="float32")([mean, spread])
    model = keras.Model(inputs, out, name="encoder")
    if linear_path:
        start = np.zeros(size, "float32")
        start[:latent_dim] = _POSTERIOR_START  # behind them are covariances
        model.get_layer("posterior_spread").bias.assign(start)
    return model


def decoder(latent_dim, element_shape, num_outputs, *, dtype, hidden_units, linear_path):
    """See `kvae.networks`."""
    inputs = keras.Input((latent_dim,), name="latent")
    x = _hidden(inputs, hidden_units, dtype)
    channels = element_shape[-1]
    places = math.prod(element_shape[:-1])
    linear = inputs if linear_path else None
    out = _mean_head(x, places * channels, linear, "likelihood_mean")
    out = keras.layers.Reshape(element_shape, dtype="float32")(out)
    if num_outputs > channels:
        size = num_outputs - channels
        spread = _head(x, places * size, "likelihood_spread", _SPREAD_SCALE if linear_path else 1.0)
        spread = keras.layers.Reshape((*element_shape[:-1], size), dtype="float32")(spread)
        out = keras.layers.Concatenate(dtype="float32")([out, spread])
    return keras.Model(inputs, out, name="decoder")
