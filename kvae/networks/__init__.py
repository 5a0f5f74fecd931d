"""Encoders and decoders: one file for each kind of network, listed in NETWORKS.

A member is a module with two functions that return functional Keras models:

    encoder(element_shape, latent_dim, num_params, *, hidden_units, dtype)
        x (batch, *element_shape) -> (batch, num_params), the first latent_dim of them the means
    decoder(latent_dim, element_shape, params_per_channel, *, hidden_units, dtype)
        latent (batch, latent_dim) -> (batch, ..., channels * params_per_channel)

Layers compute in `dtype` (a Keras dtype policy); the heads are float32.
"""

from typing import Any

from kvae.registry import Member


def _mlp() -> Any:
    from kvae.networks import mlp

    return mlp


def _conv() -> Any:
    from kvae.networks import conv

    return conv


NETWORKS = {
    "mlp": Member("dense layers (--hidden-units), beside a linear path", _mlp),
    "conv": Member("strided convolutions, images of 8 to 256 pixels", _conv),
}
