"""A normalising flow of affine coupling layers as prior."""

import itertools

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.priors.base import Prior
from kvae.probability.distributions import LOG_2PI, sum_event
from kvae.probability.streams import generator

_LARGEST_LOG_SCALE = 3.0


@keras.saving.register_keras_serializable(package="kvae")
class Flow(Prior):
    """p(z) of z = f(u), u standard normal, f an invertible network with a known Jacobian.

    Each layer turns the space by a fixed random rotation, keeps the first half of the coordinates
    and shifts and scales the others by functions of it; an affine map of each coordinate comes
    last.

    Args:
        num_layers: coupling layers, at least 1.
        hidden_units: units of the two hidden layers of each.
        seed: of the rotations and the initial weights.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017,
    equations 4 to 8; rotations in place of permutations as in Kingma & Dhariwal, "Glow", 2018,
    but fixed.
    """

    kind = "flow"

    def __init__(self, num_layers=8, *, hidden_units=64, seed=0, **kwargs):
        super().__init__(**{"name": "flow", **kwargs})
        if num_layers < 1 or hidden_units < 1:
            raise UsageError(
                "num_layers and hidden_units must be at least 1, "
                f"received {num_layers} and {hidden_units}"
            )
        self.num_layers = int(num_layers)
        self.hidden_units = int(hidden_units)
        self.seed = int(seed)

    def build(self, latent_shape):
        """Make the weights for z of shape `(None, latent_dim)`, latent_dim at least 2."""
        self._latent_dim = dim = int(latent_shape[-1])
        if dim < 2:
            raise UsageError(f"a flow of coupling layers needs 2 dimensions, received {dim}")
        self._kept = dim // 2
        self.shift = self.add_weight(name="shift", shape=(dim,), initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=(dim,), initializer="zeros")
        rng = generator(self.seed, "flow turns")
        # Orthogonal: the turn's determinant is one, and its inverse the transpose.
        self._turns = [
            np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype("float32")
            for _ in range(self.num_layers)
        ]
        sizes = (self._kept, self.hidden_units, self.hidden_units, 2 * (dim - self._kept))
        seeds = generator(self.seed, "flow kernels").integers(2**31, size=(self.num_layers, 3))
        self._couplings = [
            self._dense_stack(sizes, layer, own) for layer, own in enumerate(seeds.tolist())
        ]

    def _dense_stack(self, sizes, layer, seeds):
        """Kernels and biases of one coupling; the last kernel small, so that f starts plain."""
        weights = []
        for place, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            last = place == len(sizes) - 2
            start = keras.initializers.VarianceScaling(1e-4 if last else 2.0, seed=seeds[place])
            name = f"coupling_{layer}_{place}"
            kernel = self.add_weight(
                name=f"{name}_kernel", shape=(inputs, outputs), initializer=start
            )
            bias = self.add_weight(name=f"{name}_bias", shape=(outputs,), initializer="zeros")
            weights.append((kernel, bias))
        return weights

    def _shift_and_log_scale(self, kept, stack):
        ops = keras.ops
        for kernel, bias in stack[:-1]:
            kept = ops.relu(ops.matmul(kept, kernel) + bias)
        kernel, bias = stack[-1]
        shift, raw = ops.split(ops.matmul(kept, kernel) + bias, 2, axis=-1)
        # Bounded: a scale without bound could leave float32 within a few layers.
        return shift, _LARGEST_LOG_SCALE * ops.tanh(raw / _LARGEST_LOG_SCALE)

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        ops = keras.ops
        u = (z - self.shift) * ops.exp(-self.log_scale)
        log_det = -ops.sum(self.log_scale)
        for turn, stack in zip(reversed(self._turns), reversed(self._couplings), strict=True):
            kept, moved = u[:, : self._kept], u[:, self._kept :]
            shift, log_scale = self._shift_and_log_scale(kept, stack)
            moved = (moved - shift) * ops.exp(-log_scale)
            u = ops.matmul(ops.concatenate([kept, moved], axis=-1), turn.T)
            log_det = log_det - sum_event(log_scale)
        return log_det - 0.5 * sum_event(LOG_2PI + ops.square(u))

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        ops = keras.ops
        z = noise.normal("latent", self._latent_dim)
        for turn, stack in zip(self._turns, self._couplings, strict=True):
            z = ops.matmul(z, turn)
            kept, moved = z[:, : self._kept], z[:, self._kept :]
            shift, log_scale = self._shift_and_log_scale(kept, stack)
            z = ops.concatenate([kept, shift + moved * ops.exp(log_scale)], axis=-1)
        return self.shift + z * ops.exp(self.log_scale)

    def initialize(self, latents, x):
        """Start as the normal with the mean and standard deviation of the latents."""
        del x
        self.shift.assign(latents.mean(axis=0))
        self.log_scale.assign(np.log(np.maximum(latents.std(axis=0), 1e-3)))

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_units": self.hidden_units,
            "seed": self.seed,
        }
