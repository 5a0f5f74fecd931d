"""Whether the parts of a model fit together."""

import keras

from kvae import priors
from kvae.errors import UsageError
from kvae.likelihoods.base import Likelihood
from kvae.priors import PRIORS
from kvae.priors.base import Prior


def check_parts(encoder, decoder, likelihood, prior, posterior_family, condition_dim):
    """Refuse parts that do not fit: broadcasting would let a wrong number of outputs pass.

    Args:
        encoder: as for `kvae.VAE`.
        decoder: likewise.
        likelihood: likewise.
        prior: likewise.
        posterior_family: a class of `kvae.probability.distributions`.
        condition_dim: as for `kvae.VAE`.

    Raises:
        UsageError: which output has which shape, and which is wanted.
    """
    if not hasattr(likelihood, "distribution") or not isinstance(prior, Prior):
        raise UsageError(
            "a likelihood (kvae.likelihoods) and then a prior (kvae.priors) are wanted, received "
            f"{_received(likelihood)} and {_received(prior)}; build_vae takes their names"
        )
    _check_own("likelihood", likelihood, Likelihood, ("num_outputs", "distribution"))
    _check_own("prior", prior, Prior, ("log_prob", "sample"))
    if condition_dim and prior.kind in PRIORS and priors.facts(prior.kind).pseudo_inputs:
        raise UsageError(
            f"the prior {prior.kind!r} is not for conditions: its pseudo-inputs have none"
        )
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        _check_network(name, network)
    latent_dim = decoder.input_shape[-1] - condition_dim
    *places, channels = encoder.input_shape[1:]
    shape = (*places, channels - condition_dim)
    if min(latent_dim, shape[-1]) < 1:
        raise UsageError(
            f"the inputs of encoder {encoder.input_shape} and decoder {decoder.input_shape} leave "
            f"nothing beside a condition of {condition_dim} numbers"
        )
    wanted = {
        "encoder": (posterior_family.num_params(latent_dim),),
        "decoder": (*shape[:-1], likelihood.num_outputs(shape[-1])),
    }
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        found = tuple(network.output_shape[1:])
        if found != wanted[name]:
            means = {"encoder": "means, then variances before their softplus", "decoder": ""}[name]
            raise UsageError(
                f"for x of shape {shape} and {latent_dim} latent dimensions the {name}'s output "
                f"must have shape {wanted[name]}{means and f' ({means})'}, received {found}"
            )


def _received(part):
    return f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__


def _check_own(kind, part, base, methods):
    """Refuse a part of somebody's own that lacks what its base class asks for."""
    if isinstance(part, type):
        raise UsageError(
            f"the {kind} must be an object, received the class {part.__name__}: "
            f"{part.__name__}(...) makes one"
        )
    own = type(part).__name__
    if isinstance(part, keras.layers.Layer) and not hasattr(part, "built"):
        raise UsageError(
            f"the {kind} {own} does not call super().__init__(**kwargs) in its __init__"
        )
    if not isinstance(getattr(part, "kind", None), str):
        raise UsageError(f'the {kind} {own} needs a name: kind = "..." in its class')
    missing = [
        name for name in methods  # which an object may have of its own
        if getattr(getattr(part, name, None), "__func__", None) is getattr(base, name)
    ]  # fmt: skip
    if missing:
        raise UsageError(f"the {kind} {own} lacks what it must define: {' and '.join(missing)}")


def _check_network(name, network):
    """Refuse what is no network of one input and one output, both of known shapes."""
    try:
        shapes = {"input": network.input_shape, "output": network.output_shape}
    except (AttributeError, ValueError):  # not built, or subclassed
        raise UsageError(
            f"the {name} must be a Keras model whose input and output shapes are known, functional "
            "or a Sequential that begins with keras.Input: received "
            f"{_received(network)}. A model of a class of its own becomes one by "
            "keras.Model(x, model(x)) with x = keras.Input(shape)"
        ) from None
    for what, shape in shapes.items():
        if not isinstance(shape, tuple) or any(isinstance(part, tuple | list) for part in shape):
            count = len(keras.tree.flatten(getattr(network, f"{what}s")))
            raise UsageError(
                f"the {name} must have one {what}, a tensor: received {count}. "
                + (
                    "Of an encoder that is the posterior's parameters side by side, means and then "
                    "variances before their softplus, with no draw from it"
                    if (name, what) == ("encoder", "output")
                    else "A condition follows on its last axis"
                )
            )
        if None in shape[1:]:
            raise UsageError(f"the {name}'s {what} must be of a known shape, received {shape}")
    if first := next(_channels_first(network), None):
        raise UsageError(
            f"images are (height, width, channels): the {name}'s layer {first!r} has the "
            "data_format 'channels_first'; give it data_format='channels_last'"
        )


def _channels_first(network):
    """Names of the layers, inner ones too, that take the channels before the places."""
    for layer in getattr(network, "layers", ()):
        if getattr(layer, "data_format", None) == "channels_first":
            yield layer.name
        yield from _channels_first(layer)


def halves(networks):
    """Whether a layer of some networks computes in float16, whose gradients need a scaled loss."""
    return any(
        layer.compute_dtype == "float16" or halves([layer])
        for network in networks
        for layer in getattr(network, "layers", ())
    )
