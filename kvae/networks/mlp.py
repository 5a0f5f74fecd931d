"""Dense networks for vectors (and for images, flattened)."""

import math

import keras


def _hidden(x, hidden_units, dtype):
    for units in hidden_units:
        x = keras.layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", dtype=dtype
        )(x)
    return x


def _head(x, num_outputs, linear_input, num_linear, name):
    """A float32 head; its first outputs also get a learned linear path that starts as identity.

    The path lets a network begin as the identity map and learn only what is not linear. The small
    start of the other kernel keeps that beginning.
    """
    scale = 0.01 if num_linear else 1.0
    out = keras.layers.Dense(
        num_outputs,
        kernel_initializer=keras.initializers.VarianceScaling(scale, "fan_avg", "uniform"),
        dtype="float32",
        name=name,
    )(x)
    if not num_linear:
        return out
    linear = keras.layers.Dense(
        num_linear,
        use_bias=False,
        kernel_initializer="identity",
        dtype="float32",
        name=f"{name}_linear",
    )(linear_input)
    if num_outputs > num_linear:
        rest = out[:, num_linear:]
        return keras.layers.Concatenate(dtype="float32")([out[:, :num_linear] + linear, rest])
    return keras.layers.Add(dtype="float32")([out, linear])


def encoder(element_shape, latent_dim, num_params, *, hidden_units, linear_path, dtype):
    """See `kvae.networks`."""
    inputs = keras.Input(element_shape, name="x")
    flat = keras.layers.Flatten(dtype="float32")(inputs)
    x = _hidden(flat, hidden_units, dtype)
    out = _head(x, num_params, flat, latent_dim if linear_path else 0, "posterior")
    return keras.Model(inputs, out, name="encoder")


def decoder(latent_dim, element_shape, params_per_channel, *, hidden_units, linear_path, dtype):
    """See `kvae.networks`."""
    inputs = keras.Input((latent_dim,), name="latent")
    x = _hidden(inputs, hidden_units, dtype)
    size = math.prod(element_shape)
    out = _head(x, size * params_per_channel, inputs, size if linear_path else 0, "likelihood")
    return keras.Model(
        inputs, _split_channels(out, element_shape, params_per_channel), name="decoder"
    )


def _split_channels(out, element_shape, params_per_channel):
    shape = (*element_shape[:-1], element_shape[-1] * params_per_channel)
    return keras.layers.Reshape(shape, dtype="float32")(out)
