"""A normalising flow of affine couplings: z from u and back, and the log determinant.

Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017.
"""

from typing import Any

import numpy as np

from kvae.audit.independent.distributions import LOG_2PI
from kvae.audit.independent.noise import Noise

Array = np.ndarray
_MOST, _MOST_IN_ALL, _NEAR = 3.0, 30.0, 10.0
_TURNS = 16  # the number of NumPy's stream that orders and rotations are from


class Flow:
    """z = shift + scale * f(u), f a chain of layers: normalise, reorder, couple.

    Args:
        config: `num_layers`, `num_blocks` (0: two plain layers a network, rotations, no
            normalisation but the last, couplings that do not fade) and `seed` are read.
        own: its weights.
        dim: of z.
    """

    def __init__(self, config: dict[str, Any], own: list[Array], dim: int):
        self._layers, self._blocks = config["num_layers"], config.get("num_blocks", 0)
        self._dim, self._kept, plain = dim, dim // 2, self._blocks == 0
        self._bound = _MOST if plain else min(_MOST, _MOST_IN_ALL / self._layers)
        self._shift, self._log_scale, *rest = own
        nothing = np.zeros((self._layers, dim), self._shift.dtype)
        if plain:
            self._centres, self._log_scales = nothing, nothing
            networks = [rest[6 * layer : 6 * layer + 6] for layer in range(self._layers)]
        else:
            self._centres, self._log_scales, *kernels = rest
            networks = [[array[layer] for array in kernels] for layer in range(self._layers)]
        self._networks = [list(zip(one[::2], one[1::2], strict=True)) for one in networks]
        rng = np.random.default_rng([config["seed"], _TURNS])
        self._turns = [self._turn(rng, layer) for layer in range(self._layers)]

    def _turn(self, rng: np.random.Generator, layer: int) -> Array:
        """A matrix that a row is multiplied by: an order of coordinates, or a rotation."""
        if self._blocks == 0:
            turn = np.linalg.qr(rng.normal(size=(self._dim, self._dim)))[0]
        elif layer % 2:
            turn = np.roll(np.eye(self._dim), -self._kept, axis=1)
        else:
            turn = np.eye(self._dim)[rng.permutation(self._dim)]
        # By definition numbers of float32.
        return turn.astype(np.float32).astype(self._shift.dtype)

    def _coupling(self, kept: Array, layer: int) -> tuple[Array, Array]:
        """What the other half is moved by, and the log of what it is scaled by."""
        network = self._networks[layer]
        if self._blocks == 0:
            hidden = kept
            for kernel, bias in network[:-1]:
                hidden = np.maximum(hidden @ kernel + bias, 0)
        else:
            kernel, bias = network[0]
            hidden = np.arcsinh(kept) @ kernel + bias
            for block in range(self._blocks):
                branch = hidden
                for kernel, bias in network[1 + 2 * block : 3 + 2 * block]:
                    branch = np.maximum(branch, 0) @ kernel + bias
                hidden = hidden + branch
            hidden = np.maximum(hidden, 0)
        kernel, bias = network[-1]
        shift, raw = np.split(hidden @ kernel + bias, 2, axis=1)
        log_scale = self._bound * np.tanh(raw / self._bound)
        if self._blocks == 0:
            return shift, log_scale
        far = 1 + np.square(kept / _NEAR).mean(axis=1, keepdims=True)
        return shift / far, log_scale / far

    def log_prob(self, z: Array) -> Array:
        """Log density at z, by the change of variables to u."""
        u = (z - self._shift) / np.exp(self._log_scale)
        log_det = np.full(len(z), -self._log_scale.sum())
        for layer in reversed(range(self._layers)):
            kept, other = u[:, : self._kept], u[:, self._kept :]
            shift, log_scale = self._coupling(kept, layer)
            u = np.concatenate([kept, (other - shift) / np.exp(log_scale)], axis=1)
            u = (u @ self._turns[layer].T - self._centres[layer]) / np.exp(self._log_scales[layer])
            log_det = log_det - log_scale.sum(axis=1) - self._log_scales[layer].sum()
        return log_det - 0.5 * (np.square(u) + LOG_2PI).sum(axis=1)

    def draw(self, noise: Noise) -> Array:
        """f of normal numbers."""
        u = noise.normal("latent", self._dim)
        for layer in range(self._layers):
            u = (self._centres[layer] + u * np.exp(self._log_scales[layer])) @ self._turns[layer]
            kept, other = u[:, : self._kept], u[:, self._kept :]
            shift, log_scale = self._coupling(kept, layer)
            u = np.concatenate([kept, shift + other * np.exp(log_scale)], axis=1)
        return self._shift + u * np.exp(self._log_scale)
