"""Densities of latents: priors and samplers, from their configuration and weights.

Each has `log_prob(z)` `(batch,)` in nats, and `draw(noise)` `(batch, latent_dim)`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

from kvae.audit.independent.archive import Beyond, Weights, kind
from kvae.audit.independent.distributions import LOG_2PI, inverse_of_lower
from kvae.audit.independent.flow import Flow
from kvae.audit.independent.noise import Noise

Array = np.ndarray


def _chosen(log_weights: Array, noise: Noise) -> Array:
    """Which component each row is from: the first whose cumulative weight is above its number."""
    weights = np.exp(log_weights)
    cumulative = np.cumsum(weights)
    places = np.searchsorted(cumulative / cumulative[-1], noise.uniform("component", 1)[:, 0],
                             side="right")  # fmt: skip
    return np.minimum(places, len(weights) - 1)


class StandardNormal:
    """Normal(0, I)."""

    def __init__(self, dim: int):
        self._dim = dim

    def log_prob(self, z: Array) -> Array:
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        return -0.5 * (np.square(z) + LOG_2PI).sum(axis=1)

    def draw(self, noise: Noise) -> Array:
        """One latent of each row, `(batch, latent_dim)`."""
        return noise.normal("latent", self._dim)

    def divergence(self, posterior: Any) -> Array:
        """KL(posterior, this), of its moments and its entropy."""
        cross = 0.5 * (np.square(posterior.mean()) + posterior.variance() + LOG_2PI).sum(axis=1)
        return cross - posterior.entropy()


class Mixture:
    """Normals of weights w and precisions L L^T, with L = tril(off, -1) + diag(e^log_diagonal)."""

    def __init__(self, logits: Array, means: Array, log_diagonal: Array, off_diagonal: Array):
        self._log_weights = logits - logsumexp(logits)
        self._means, self._log_dets = means, log_diagonal.sum(axis=1)
        places = np.arange(means.shape[1])
        self._roots = np.tril(off_diagonal, -1)
        self._roots[:, places, places] = np.exp(log_diagonal)

    def log_prob(self, z: Array) -> Array:
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        logs = []
        for mean, root, log_det in zip(self._means, self._roots, self._log_dets, strict=True):
            white = (z - mean) @ root
            logs.append(log_det - 0.5 * (np.square(white) + LOG_2PI).sum(axis=1))
        return logsumexp(np.stack(logs, axis=1) + self._log_weights, axis=1)

    def draw(self, noise: Noise) -> Array:
        """One latent of each row, `(batch, latent_dim)`."""
        component = _chosen(self._log_weights, noise)
        normal = noise.normal("latent", self._means.shape[1])
        inverse = inverse_of_lower(self._roots)[component]
        return self._means[component] + np.einsum("bij,bi->bj", inverse, normal)


class Vamp:
    """The posteriors of pseudo-inputs, mixed."""

    def __init__(self, logits: Array, posterior: Any, dim: int):
        self._log_weights = logits - logsumexp(logits)
        self._posterior, self._dim = posterior, dim

    def log_prob(self, z: Array) -> Array:
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        logs = []
        for component in range(len(self._log_weights)):
            same = self._posterior.taken(np.full(len(z), component))
            logs.append(same.log_prob(z))
        return logsumexp(np.stack(logs, axis=1) + self._log_weights, axis=1)

    def draw(self, noise: Noise) -> Array:
        """One latent of each row, `(batch, latent_dim)`."""
        component = _chosen(self._log_weights, noise)
        return self._posterior.taken(component).draw(noise.normal("latent", self._dim))


class SecondStage:
    """Draws of a VAE of latents; its density is an integral, and has no formula."""

    def __init__(self, vae: Any):
        self._vae = vae

    def log_prob(self, z: Array) -> Array:
        """There is none: raises Beyond."""
        raise Beyond("the density of a second stage, which is an integral")

    def draw(self, noise: Noise) -> Array:
        """One latent of each row, `(batch, latent_dim)`."""
        decoded = self._vae.decode(self._vae.prior.draw(noise))
        return decoded.draw(noise.normal("second_stage", self._vae.element_shape[0]))


def density(
    part: dict[str, Any], weights: Weights, dim: int, dtype: Any, *,
    posterior_of: Callable[[Array], Any], vae_of: Callable[[dict[str, Any], Weights], Any],
) -> Any:  # fmt: skip
    """A prior or sampler.

    Args:
        part: its configuration.
        weights: its own.
        dim: of z.
        dtype: in which it computes.
        posterior_of: x in the encoder's units -> q(z given x).
        vae_of: a model's configuration and weights -> the model.

    Raises:
        Beyond: there is no formula for it.
    """
    name = kind(part)
    own = [np.asarray(array, dtype) for array in weights.own]
    if name == "kvae>StandardNormal":
        return StandardNormal(dim)
    if name == "kvae>Mixture":
        return Mixture(*own)
    if name == "kvae>Vamp":
        logits, inputs = own
        return Vamp(logits, posterior_of(inputs), dim)
    if name == "kvae>Flow":
        return Flow(part["config"], own, dim)
    if name == "kvae>SecondStage":
        (inner,) = weights.parts
        return SecondStage(vae_of(part["config"]["vae"], inner))
    raise Beyond(f"the density {name}")
