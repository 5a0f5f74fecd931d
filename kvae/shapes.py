"""Whether the parts of a model fit together, and arrays fit a model."""

import numpy as np

from kvae import likelihoods, priors
from kvae.errors import UsageError
from kvae.likelihoods import LIKELIHOODS, accepts
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
            f"{type(likelihood).__name__} and {type(prior).__name__}; build_vae takes their names"
        )
    if condition_dim and prior.kind in PRIORS and priors.facts(prior.kind).pseudo_inputs:
        raise UsageError(
            f"the prior {prior.kind!r} is not for conditions: its pseudo-inputs have none"
        )
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
            raise UsageError(
                f"for x of shape {shape} and {latent_dim} latent dimensions the {name}'s output "
                f"must have shape {wanted[name]}, received {found}"
            )


def check_array(x, element_shape, likelihood):
    """Refuse a NumPy array that a model has no density for.

    Args:
        x: `(rows, ...)`, without its condition.
        element_shape: of one x.
        likelihood: a member of `kvae.likelihoods`.

    Raises:
        UsageError: another shape, or values that the likelihood has no density for.
    """
    if x.shape[1:] != element_shape:
        raise UsageError(f"x must be of shape (rows, *{element_shape}), received {x.shape}")
    if not accepts(likelihood.kind, x):
        kind = likelihood.kind
        takes = likelihoods.facts(kind).takes if kind in LIKELIHOODS else "finite numbers"
        raise UsageError(
            f"the likelihood {kind!r} has no density for some values of x: it is for {takes}"
        )


def check_condition_array(condition, shape):
    """Refuse a condition that is not `shape` and finite: UsageError."""
    found = np.shape(condition)
    if found != shape or not np.isfinite(np.asarray(condition, "float64")).all():
        raise UsageError(
            f"the condition must be of shape {shape} and finite, received "
            f"{'none' if condition is None else found}"
        )
