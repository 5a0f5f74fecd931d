"""A normalising flow of affine coupling layers as prior."""

import math

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.priors import FLOW_BLOCKS, FLOW_LAYERS, FLOW_UNITS
from kvae.priors.base import Prior
from kvae.probability.distributions import LOG_2PI, sum_event
from kvae.probability.streams import generator

#: Of one coupling, and of all of them: e^30 times 1e4 has a square in float32.
_LARGEST_LOG_SCALE, _LARGEST_IN_ALL = 3.0, 30.0
_NEAR = 10.0  # standard deviations, where couplings have faded to a half
_LEAST_STDDEV = 1e-3


@keras.saving.register_keras_serializable(package="kvae")
class Flow(Prior):
    """p(z) of z = f(u), u standard normal, f an invertible network with a known Jacobian.

    Each layer shifts and scales every coordinate by learned numbers, its normalisation, puts the
    coordinates in another order, keeps the first half of them, and shifts and scales the others by
    functions of it, residual networks. The orders are random but fixed; every second layer swaps
    the halves, so that two layers move every coordinate. Behind the last one a normalisation leads
    to the units of z.

    Networks see asinh of the kept half k, and what they say is divided by 1 + mean((k / 10)^2): far
    from the data, ten standard deviations and more, couplings fade. So f is invertible in float32
    at any distance: without this a trained flow blows up the rounding of points ten times as far
    off as data. All couplings together scale a coordinate by a factor between e^-30 and e^30, each
    by at most e^3; the scales of the normalisation are free.

    Args:
        num_layers: couplings, at least 1.
        hidden_units: width of their networks, at least 1.
        num_blocks: residual blocks of two layers in each network. 0: the flow of kvae 0.1, with two
            plain layers, random rotations, the last normalisation only, scales bounded in each
            coupling alone, and couplings that do not fade.
        seed: of the orders and the initial weights.

    Raises:
        UsageError: an argument is not allowed.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, for
    couplings with residual networks; Kingma & Dhariwal, "Glow", NeurIPS 2018, section 3.1, for the
    normalisation, which starts from data.
    """

    kind = "flow"

    def __init__(
        self, num_layers=FLOW_LAYERS.default, *, hidden_units=FLOW_UNITS.default,
        num_blocks=FLOW_BLOCKS.default, seed=0, **kwargs,
    ):  # fmt: skip
        super().__init__(**{"name": "flow", **kwargs})
        self.num_layers = FLOW_LAYERS.read(num_layers, "num_layers")
        self.hidden_units = FLOW_UNITS.read(hidden_units, "hidden_units")
        self.num_blocks = FLOW_BLOCKS.read(num_blocks, "num_blocks")
        self.seed = int(seed)
        self._is_plain = self.num_blocks == 0
        most = _LARGEST_IN_ALL / self.num_layers
        self._bound = _LARGEST_LOG_SCALE if self._is_plain else min(_LARGEST_LOG_SCALE, most)

    def build(self, latent_shape):
        """Make the weights for z of shape `(None, latent_dim)`, latent_dim at least 2."""
        self._latent_dim = dim = int(latent_shape[-1])
        if dim < 2:
            raise UsageError(f"a flow of coupling layers needs 2 dimensions, received {dim}")
        self._kept = dim // 2
        self.shift = self.add_weight(name="shift", shape=(dim,), initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=(dim,), initializer="zeros")
        if not self._is_plain:
            each = {"shape": (self.num_layers, dim), "initializer": "zeros"}
            self.layer_shift = self.add_weight(name="layer_shift", **each)
            self.layer_log_scale = self.add_weight(name="layer_log_scale", **each)
        rng, count = generator(self.seed, "flow turns"), range(self.num_layers)
        self._turns = np.stack([self._turn(dim, rng, layer) for layer in count], dtype="float32")
        hidden = 2 if self._is_plain else 1 + 2 * self.num_blocks
        sizes = [self._kept, *[self.hidden_units] * hidden, 2 * (dim - self._kept)]
        # Small at the end of each block, and of the whole, so that f starts plain.
        gains = [2.0] * hidden + [1e-4]
        if not self._is_plain:
            gains[2:-1:2] = [0.1] * self.num_blocks
        seeds = generator(self.seed, "flow kernels")
        make = self._dense_each if self._is_plain else self._dense
        self._dense_weights = make(sizes, gains, seeds)

    def _turn(self, dim, rng, layer):
        """The matrix `(dim, dim)` of one layer, orthogonal: its inverse is the transpose."""
        if self._is_plain:
            return np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        if layer % 2:  # what the layer before it moved is kept
            return np.roll(np.eye(dim), -self._kept, axis=1)
        return np.eye(dim)[rng.permutation(dim)]

    def _dense(self, sizes, gains, rng):
        """Kernels and biases, of all couplings together."""
        weights = []
        for place, gain in enumerate(gains):
            inputs, outputs = sizes[place : place + 2]
            start = keras.initializers.TruncatedNormal(
                # A normal that is cut at two standard deviations has 0.88 of its width.
                stddev=math.sqrt(gain / inputs) / 0.87962566, seed=int(rng.integers(2**31))
            )  # fmt: skip
            kernel = self.add_weight(
                name=f"kernel_{place}", shape=(self.num_layers, inputs, outputs), initializer=start
            )
            bias = self.add_weight(
                name=f"bias_{place}", shape=(self.num_layers, outputs), initializer="zeros"
            )
            weights += [kernel, bias]
        return weights

    def _dense_each(self, sizes, gains, rng):
        """Kernels and biases, a list of each coupling, in the order that files of 0.1 have."""
        couplings = []
        for layer, seeds in enumerate(rng.integers(2**31, size=(self.num_layers, 3)).tolist()):
            weights = []
            for place, gain in enumerate(gains):
                inputs, outputs = sizes[place : place + 2]
                start = keras.initializers.VarianceScaling(gain, seed=seeds[place])
                name = f"coupling_{layer}_{place}"
                kernel = self.add_weight(
                    name=f"{name}_kernel", shape=(inputs, outputs), initializer=start
                )
                bias = self.add_weight(name=f"{name}_bias", shape=(outputs,), initializer="zeros")
                weights += [kernel, bias]
            couplings.append(weights)
        return couplings

    def _stacked(self):
        """What each layer has, `(num_layers, ...)`: shift, log scale, turn, kernels and biases."""
        ops = keras.ops
        # Not convert_to_tensor, which under TensorFlow gives Keras's own variable back.
        if self._is_plain:
            normalisation = [np.zeros((self.num_layers, self._latent_dim), "float32")] * 2
            couplings = zip(*self._dense_weights, strict=True)
            networks = [ops.stack([one.value for one in weights]) for weights in couplings]
        else:
            normalisation = [self.layer_shift.value, self.layer_log_scale.value]
            networks = [weights.value for weights in self._dense_weights]
        # Gathering layers makes gradients sparse under TensorFlow; reshaping makes them dense.
        normalisation = [ops.reshape(each, each.shape) for each in normalisation]
        networks = [ops.reshape(each, each.shape) for each in networks]
        return [*normalisation, ops.convert_to_tensor(self._turns), *networks]

    def _shift_and_log_scale(self, kept, weights):
        ops = keras.ops

        def dense(inputs, place):
            return ops.matmul(inputs, weights[2 * place]) + weights[2 * place + 1]

        if self._is_plain:
            hidden = ops.relu(dense(ops.relu(dense(kept, 0)), 1))
        else:
            hidden = dense(ops.arcsinh(kept), 0)
            for block in range(self.num_blocks):
                inner = ops.relu(dense(ops.relu(hidden), 2 * block + 1))
                hidden = hidden + dense(inner, 2 * block + 2)
            hidden = ops.relu(hidden)
        shift, raw = ops.split(dense(hidden, len(weights) // 2 - 1), 2, axis=-1)
        # Bounded: a scale without bound could leave float32 within a few layers.
        log_scale = self._bound * ops.tanh(raw / self._bound)
        if self._is_plain:
            return shift, log_scale
        far = self._distance(kept)
        return shift / far, log_scale / far

    @staticmethod
    def _distance(kept):
        """How far off a row is: about 1 among data, and growing with the square, `(batch, 1)`."""
        ops = keras.ops
        return 1.0 + ops.mean(ops.square(kept / _NEAR), axis=-1, keepdims=True)

    def _undo(self, z, layer):
        """One layer from z to u, and the log of what it scales by, `(batch,)`."""
        ops = keras.ops
        shift, log_scale, turn, *weights = layer
        kept, moved = z[:, : self._kept], z[:, self._kept :]
        of_kept, log_scale_of_kept = self._shift_and_log_scale(kept, weights)
        z = ops.concatenate([kept, (moved - of_kept) * ops.exp(-log_scale_of_kept)], axis=-1)
        z = (ops.matmul(z, ops.transpose(turn)) - shift) * ops.exp(-log_scale)
        return z, sum_event(log_scale_of_kept) + ops.sum(log_scale)

    def _do(self, u, layer):
        """One layer from u to z."""
        ops = keras.ops
        shift, log_scale, turn, *weights = layer
        u = ops.matmul(shift + u * ops.exp(log_scale), turn)
        kept, moved = u[:, : self._kept], u[:, self._kept :]
        of_kept, log_scale_of_kept = self._shift_and_log_scale(kept, weights)
        return ops.concatenate([kept, of_kept + moved * ops.exp(log_scale_of_kept)], axis=-1)

    def inverse(self, z):
        """What z is made of.

        Args:
            z: `(batch, latent_dim)`.

        Returns:
            u with f(u) = z, `(batch, latent_dim)`, and the log determinant of du/dz, `(batch,)`.
        """
        ops = keras.ops
        layers, last = self._stacked(), self.num_layers - 1

        def undo(step, u, log_det):
            u, scaled = self._undo(u, [ops.take(each, last - step, axis=0) for each in layers])
            return u, log_det - scaled

        u = (ops.convert_to_tensor(z) - self.shift) * ops.exp(-self.log_scale)
        log_det = ops.zeros_like(u[:, 0]) - ops.sum(self.log_scale)
        return _looped(self.num_layers, undo, u, log_det)

    def forward(self, u):
        """f(u), of u and as `(batch, latent_dim)`."""
        ops = keras.ops
        layers = self._stacked()

        def do(step, u):
            return (self._do(u, [ops.take(each, step, axis=0) for each in layers]),)

        (z,) = _looped(self.num_layers, do, ops.convert_to_tensor(u))
        return self.shift + z * ops.exp(self.log_scale)

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        u, log_det = self.inverse(z)
        return log_det - 0.5 * sum_event(LOG_2PI + keras.ops.square(u))

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        return self.forward(noise.normal("latent", self._latent_dim))

    def initialize(self, latents, x):
        """Start every normalisation at the mean and standard deviation of what it sees of latents.

        What f makes the latents of has then mean zero and variance one in each coordinate.
        """
        del x
        ops = keras.ops
        seen = np.asarray(latents, "float32")
        (shift, log_scale), seen = _normalised(seen)
        self.shift.assign(shift)
        self.log_scale.assign(log_scale)
        if self._is_plain:
            return
        starts, nothing = [], ops.zeros((self._latent_dim,))
        for step in reversed(range(self.num_layers)):
            _, _, *rest = (each[step] for each in self._stacked())
            seen, _ = self._undo(ops.convert_to_tensor(seen), [nothing, nothing, *rest])
            start, seen = _normalised(ops.convert_to_numpy(seen))
            starts.insert(0, start)
        shifts, log_scales = zip(*starts, strict=True)
        self.layer_shift.assign(np.stack(shifts))
        self.layer_log_scale.assign(np.stack(log_scales))

    def get_config(self):
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_units": self.hidden_units,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The constructor of a configuration; those of kvae 0.1 know no blocks."""
        return super().from_config({"num_blocks": 0, **config})


def _normalised(rows):
    """Mean and log standard deviation of each column, and the rows less one over the other."""
    mean = rows.mean(axis=0)
    log_stddev = np.log(np.maximum(rows.std(axis=0), _LEAST_STDDEV))
    return (mean, log_stddev), (rows - mean) * np.exp(-log_stddev)


def _looped(count, body, *start):
    """The values of a loop, which the graph holds once, however many its rounds.

    Args:
        count: of rounds.
        body: the number of a round and the values before it -> those after it, a tuple.
        *start: the values at first, tensors whose shapes stay.
    """
    ops = keras.ops
    if keras.backend.backend() == "tensorflow":  # whose XLA must know the number of rounds
        found = ops.while_loop(
            lambda step, *_: step < count, lambda step, *values: (step + 1, *body(step, *values)),
            (0, *start), maximum_iterations=count,
        )  # fmt: skip
        return found[1:]
    # JAX takes gradients of this loop alone.
    return ops.fori_loop(0, count, lambda step, values: tuple(body(step, *values)), tuple(start))
