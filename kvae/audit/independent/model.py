"""A VAE from its file: posterior, decoder, prior and sampler, and what its signatures answer."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import logsumexp

from kvae.audit.independent.archive import Beyond, Weights, kind
from kvae.audit.independent.distributions import Diagonal, Full, Moved
from kvae.audit.independent.graph import Network
from kvae.audit.independent.likelihoods import likelihood
from kvae.audit.independent.noise import Noise
from kvae.audit.independent.priors import StandardNormal, density

Array = np.ndarray
_POSTERIORS: dict[str, Any] = {"diagonal": Diagonal, "full": Full}
_SCORE_DRAWS = 16
#: Outputs of `log_weight` and `log_likelihood` that are of the sampler's density.
OF_SAMPLER = "_sampler"


def _beside(values: Array, condition: Array | None) -> Array:
    """Values `(batch, ..., n)` with a condition behind them, the same at every place."""
    if condition is None:
        return values
    places = condition.reshape(len(condition), *[1] * (values.ndim - 2), condition.shape[-1])
    spread = np.broadcast_to(places, (*values.shape[:-1], condition.shape[-1]))
    return np.concatenate([values, spread], axis=-1)


class Model:
    """What a file says, in one precision. A part beyond the audit is refused where it is needed.

    Args:
        config: of the file, from `kvae.audit.independent.archive.read`.
        weights: of the file.
        dtype: in which all is computed.
        num_draws: of the bound in `log_likelihood`.
        directions: `(attributes, latent_dim)`, of the signature `edit`; None: none.

    Raises:
        Beyond: it is no VAE.
    """

    def __init__(
        self, config: dict[str, Any], weights: Weights, *, dtype: Any = np.float64,
        num_draws: int = 64, directions: Any = None,
    ):  # fmt: skip
        if kind(config) != "kvae>VAE":
            raise Beyond(f"the model {kind(config)}")
        self._config, self._weights, self._dtype = config["config"], weights, dtype
        self.num_draws, self._directions = num_draws, directions
        #: Suffix of outputs -> `(draws, batch)`: log weights of the last `log_likelihood`.
        self.log_weights: dict[str, Array] = {}
        self._made: dict[str, Any] = {}
        self.condition_dim: int = self._config["condition_dim"]
        shapes = [
            self._config[name]["config"]["layers"][0]["config"]["batch_shape"][1:]
            if kind(self._config[name]) == "Functional" else None
            for name in ("encoder", "decoder")
        ]  # fmt: skip
        if shapes[0] is None or shapes[1] is None:
            raise Beyond("networks that are no functional models")
        *places, channels = shapes[0]
        self.element_shape = (*places, channels - self.condition_dim)
        self.latent_dim: int = shapes[1][0] - self.condition_dim
        self._shift, self._scale = (
            np.asarray(self._config[name], np.float32).astype(dtype) for name in ("shift", "scale")
        )

    def _part(self, name: str, make: Callable[[], Any]) -> Any:
        """A part of the model, made when it is first asked for."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _network(self, name: str) -> Network:
        return self._part(
            name, lambda: Network(self._config[name], self._weights.at(name), self._dtype)
        )

    def _own(self, name: str) -> Weights:
        return self._weights.part(self._config[name]["config"]["name"])

    def _density(self, name: str) -> Any:
        def vae_of(config: dict[str, Any], weights: Weights) -> "Model":
            return Model(config, weights, dtype=self._dtype)

        return self._part(
            name,
            lambda: density(
                self._config[name], self._own(name), self.latent_dim, self._dtype,
                posterior_of=self._posterior_of_standardised, vae_of=vae_of,
            ),
        )  # fmt: skip

    @property
    def prior(self) -> Any:
        """p(z)."""
        return self._density("prior")

    @property
    def has_sampler(self) -> bool:
        """Whether `generate` draws from another density than the prior."""
        return self._config["sampler"] is not None

    @property
    def sampler(self) -> Any:
        """What `generate` draws from."""
        return self._density("sampler") if self.has_sampler else self.prior

    def posterior(self, x: Array, condition: Array | None = None) -> Any:
        """q(z given x)."""
        return self._posterior_of_standardised(_beside((x - self._shift) / self._scale, condition))

    def _posterior_of_standardised(self, x: Array) -> Any:
        family = self._config["posterior"]
        if family not in _POSTERIORS:
            raise Beyond(f"the posterior {family!r}")
        return _POSTERIORS[family].of_encoder(self._network("encoder")(x))

    def decode(self, z: Array, condition: Array | None = None) -> Moved:
        """p(x given z)."""
        of = self._part(
            "likelihood",
            lambda: likelihood(
                self._config["likelihood"], self._own("likelihood"), self.element_shape[-1],
                self._dtype,
            ),
        )  # fmt: skip
        return Moved(of(self._network("decoder")(_beside(z, condition))), self._shift, self._scale)

    def noise(self, seed: Array, draw: Any = 0, sign: Any = 1) -> Noise:
        """Of rows, by their seeds."""
        return Noise(seed, draw, sign, self._dtype)

    def observed(self, decoded: Moved, noise: Noise) -> Array:
        """A draw from p(x given z)."""
        count = int(np.prod(self.element_shape))
        if decoded.noise_kind == "pairs":
            return decoded.draw(noise.uniform("observation", 2 * count))
        made = noise.normal if decoded.noise_kind == "normal" else noise.uniform
        return decoded.draw(made("observation", count))

    # What the signatures answer: every function takes arrays by the names of a signature's inputs.

    def answer(self, signature: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What a signature answers.

        Args:
            signature: its name.
            inputs: name -> `(batch, ...)`.

        Returns:
            Output's name -> `(batch, ...)`; without those that are beyond the audit where others of
            the signature are not.

        Raises:
            Beyond: a part that it needs, or the signature itself.
        """
        given = {
            name: values if name == "seed" else np.asarray(values, self._dtype)
            for name, values in inputs.items()
        }
        if signature not in self.SIGNATURES:
            raise Beyond(f"the signature {signature!r}")
        return self.SIGNATURES[signature](self, **given)

    def _reconstruct(self, x: Array, condition: Array | None = None) -> dict[str, Array]:
        mean = self.posterior(x, condition).mean()
        return {"reconstruction": self.decode(mean, condition).mean()}

    def _encode(self, x: Array, condition: Array | None = None) -> dict[str, Array]:
        posterior = self.posterior(x, condition)
        return {"mean": posterior.mean(), "variance": posterior.variance()}

    def _drawn(self, posterior: Any, noise: Noise) -> Array:
        return posterior.draw(noise.normal("posterior", self.latent_dim))

    def _sample_posterior(
        self, x: Array, seed: Array, condition: Array | None = None
    ) -> dict[str, Array]:
        return {"latent": self._drawn(self.posterior(x, condition), self.noise(seed))}

    def _decode(self, latent: Array, condition: Array | None = None) -> dict[str, Array]:
        decoded = self.decode(latent, condition)
        return {"decoded": decoded.mean(), "decoded_variance": decoded.variance()}

    def _generate(
        self, seed: Array, condition: Array | None = None, *, of_prior: bool = False
    ) -> dict[str, Array]:
        noise = self.noise(seed)
        latent = (self.prior if of_prior else self.sampler).draw(noise)
        decoded = self.decode(latent, condition)
        images = len(self.element_shape) == 3
        sample = decoded.mean() if images else self.observed(decoded, noise)
        return {"sample": sample, "latent": latent}

    def _interpolate(
        self, start: Array, end: Array, fraction: Array,
        start_condition: Array | None = None, end_condition: Array | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        share = fraction[:, None]
        first, last = self.posterior(start, start_condition), self.posterior(end, end_condition)
        latent = first.mean() + share * (last.mean() - first.mean())
        condition = None
        if start_condition is not None and end_condition is not None:
            condition = start_condition + share * (end_condition - start_condition)
        return {"interpolated": self.decode(latent, condition).mean(), "latent": latent}

    def _edit(
        self, x: Array, attribute_strength: Array, condition: Array | None = None
    ) -> dict[str, Array]:
        if self._directions is None:
            raise Beyond("edits without directions in kvae.json")
        vectors = np.asarray(self._directions, np.float32).astype(self._dtype)
        latent = self.posterior(x, condition).mean() + attribute_strength @ vectors
        return {"edited": self.decode(latent, condition).mean()}

    def _terms(
        self, x: Array, condition: Array | None, posterior: Any, noise: Noise
    ) -> tuple[Array, Array, Array]:
        """z ~ q, -log p(x given z) and log q(z given x)."""
        z = self._drawn(posterior, noise)
        return z, -self.decode(z, condition).log_prob(x), posterior.log_prob(z)

    def _score(self, x: Array, condition: Array | None = None) -> dict[str, Array]:
        posterior, zeros = self.posterior(x, condition), np.zeros(len(x), np.int64)
        distortions, rates = [], []
        for draw in range(_SCORE_DRAWS):
            # Pairs of one draw and its negative, the same for all rows.
            noise = self.noise(zeros, draw // 2, 1 - 2 * (draw % 2))
            z, distortion, log_q = self._terms(x, condition, posterior, noise)
            distortions.append(distortion)
            closed = isinstance(self.prior, StandardNormal)
            rates.append(
                self.prior.divergence(posterior) if closed else log_q - self.prior.log_prob(z)
            )
        distortion, rate = np.mean(distortions, axis=0), np.mean(rates, axis=0)
        return {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}

    def densities(self) -> dict[str, Any]:
        """Suffix of outputs -> density, of those that have one."""
        found = {"": self.prior}
        if self.has_sampler and kind(self._config["sampler"]) != "kvae>SecondStage":
            found[OF_SAMPLER] = self.sampler
        return found

    def _log_weight(
        self, x: Array, seed: Array, condition: Array | None = None
    ) -> dict[str, Array]:
        posterior = self.posterior(x, condition)
        z, distortion, log_q = self._terms(x, condition, posterior, self.noise(seed))
        logs = {suffix: one.log_prob(z) for suffix, one in self.densities().items()}
        weights = {
            f"log_weight{suffix}": log_p - log_q - distortion for suffix, log_p in logs.items()
        }
        return {**weights, "distortion": distortion, "rate": log_q - logs[""]}

    def _log_likelihood(
        self, x: Array, seed: Array, condition: Array | None = None
    ) -> dict[str, Array]:
        posterior, densities = self.posterior(x, condition), self.densities()
        logs: dict[str, list[Array]] = {suffix: [] for suffix in densities}
        for draw in range(self.num_draws):
            z, distortion, log_q = self._terms(x, condition, posterior, self.noise(seed, draw))
            for suffix, one in densities.items():
                logs[suffix].append(one.log_prob(z) - log_q - distortion)
        self.log_weights = {suffix: np.stack(found) for suffix, found in logs.items()}
        return {
            f"log_likelihood{suffix}": logsumexp(found, axis=0) - math.log(len(found))
            for suffix, found in logs.items()
        }

    SIGNATURES: Mapping[str, Callable[..., dict[str, Array]]] = {
        "serving_default": _reconstruct,
        "encode": _encode,
        "sample_posterior": _sample_posterior,
        "decode": _decode,
        "generate": _generate,
        "generate_from_prior": lambda self, seed, condition=None: self._generate(
            seed, condition, of_prior=True
        ),
        "interpolate": _interpolate,
        "edit": _edit,
        # Of files that are as large as x, and need no resizing: their pixels.
        "encode_bytes": lambda self, image_bytes, condition=None: self._encode(
            image_bytes / 255, condition
        ),
        "reconstruct_bytes": lambda self, image_bytes, condition=None: self._reconstruct(
            image_bytes / 255, condition
        ),
        "score": _score,
        "log_weight": _log_weight,
        "log_likelihood": _log_likelihood,
    }
