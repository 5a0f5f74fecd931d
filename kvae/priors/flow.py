"""A normalising flow of affine coupling layers as prior."""

import math

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.priors import FLOW_BLOCKS, FLOW_LAYERS, FLOW_UNITS
from kvae.priors.base import Prior
from kvae.probability.distributions import LOG_2PI, sum_event
from kvae.probability.streams import generator

#: Of one coupling, and of all of them: e^30 times 1e4 still has a square in float32.
_LARGEST_LOG_SCALE, _LARGEST_IN_ALL = 3.0, 30.0
_LEAST_STDDEV = 1e-3


@keras.saving.register_keras_serializable(package="kvae")
class Flow(Prior):
    """p(z) of z = f(u), u standard normal, f an invertible network with a known Jacobian.

    Each layer turns the space by a fixed random rotation, keeps the first half of the coordinates,
    shifts and scales the others by functions of it, and then shifts and scales every coordinate by
    a learned number, its normalisation. The functions are residual networks of the inverse
    hyperbolic sine of the kept half: they grow with the logarithm of what is far away.

    All couplings together scale a coordinate by a factor between e^-30 and e^30, each by at most
    e^3; the scales of the normalisation are free.

    Args:
        num_layers: couplings, at least 1.
        hidden_units: width of their networks, at least 1.
        num_blocks: residual blocks of two layers in each network. 0: the flow of kvae 0.1, with two
            plain layers of the coordinates themselves, scales bounded in each coupling alone, and
            a normalisation after the last coupling only.
        seed: of the rotations and the initial weights.

    Raises:
        UsageError: an argument is not allowed.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, for
    couplings with residual networks; Kingma & Dhariwal, "Glow", NeurIPS 2018, section 3, for the
    normalisation, which starts from data, and for mixing by a matrix, which is fixed here.
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
        normalised = (dim,) if self._is_plain else (self.num_layers, dim)
        self.shift = self.add_weight(name="shift", shape=normalised, initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=normalised, initializer="zeros")
        rng = generator(self.seed, "flow turns")
        self._turns = np.stack([self._turn(dim, rng) for _ in range(self.num_layers)])
        hidden = 2 if self._is_plain else 1 + 2 * self.num_blocks
        sizes = [self._kept, *[self.hidden_units] * hidden, 2 * (dim - self._kept)]
        # Small at the end of each block, and of the whole, so that f starts plain.
        gains = [2.0] * hidden + [1e-4]
        if not self._is_plain:
            gains[2:-1:2] = [0.1] * self.num_blocks
        seeds = generator(self.seed, "flow kernels")
        make = self._dense_each if self._is_plain else self._dense
        self._dense_weights = make(sizes, gains, seeds)

    @staticmethod
    def _turn(dim, rng):
        """The matrix `(dim, dim)` of one layer, orthogonal: its inverse is the transpose."""
        return np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype("float32")

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
        """What each layer has, stacked, `(num_layers, ...)`, and the log determinant of the rest.

        Shift, log scale and turn, then kernels and biases.
        """
        ops = keras.ops
        # Not convert_to_tensor, which under TensorFlow gives Keras's own variable back.
        shift, log_scale = self.shift.value, self.log_scale.value
        log_det = ops.sum(log_scale)
        if self._is_plain:
            beside = ((self.num_layers - 1, 0), (0, 0))
            shift, log_scale = (ops.pad(one[None], beside) for one in (shift, log_scale))
            each = zip(*self._dense_weights, strict=True)
            networks = [ops.stack([one.value for one in weights]) for weights in each]
        else:
            networks = [weights.value for weights in self._dense_weights]
        return [shift, log_scale, ops.convert_to_tensor(self._turns), *networks], log_det

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
        return shift, self._bound * ops.tanh(raw / self._bound)

    def _undo(self, z, layer):
        """One layer from z to u, and the log of what its coupling scales by, `(batch,)`."""
        ops = keras.ops
        shift, log_scale, turn, *weights = layer
        z = (z - shift) * ops.exp(-log_scale)
        kept, moved = z[:, : self._kept], z[:, self._kept :]
        shift, log_scale = self._shift_and_log_scale(kept, weights)
        z = ops.concatenate([kept, (moved - shift) * ops.exp(-log_scale)], axis=-1)
        return ops.matmul(z, ops.transpose(turn)), sum_event(log_scale)

    def _do(self, u, layer):
        """One layer from u to z."""
        ops = keras.ops
        shift, log_scale, turn, *weights = layer
        u = ops.matmul(u, turn)
        kept, moved = u[:, : self._kept], u[:, self._kept :]
        of_kept, log_scale_of_kept = self._shift_and_log_scale(kept, weights)
        u = ops.concatenate([kept, of_kept + moved * ops.exp(log_scale_of_kept)], axis=-1)
        return shift + u * ops.exp(log_scale)

    def log_prob(self, z):
        """Log density at z `(batch, latent_dim)`: `(batch,)`, nats."""
        ops = keras.ops
        layers, log_det = self._stacked()
        last = self.num_layers - 1

        def undo(step, u, log_det):
            u, scaled = self._undo(u, [ops.take(each, last - step, axis=0) for each in layers])
            return u, log_det - scaled

        z = ops.convert_to_tensor(z)
        u, log_det = _looped(self.num_layers, undo, z, ops.zeros_like(z[:, 0]) - log_det)
        return log_det - 0.5 * sum_event(LOG_2PI + ops.square(u))

    def sample(self, noise):
        """Draw one latent a row, `(batch, latent_dim)`."""
        ops = keras.ops
        layers, _ = self._stacked()

        def do(step, u):
            return (self._do(u, [ops.take(each, step, axis=0) for each in layers]),)

        return _looped(self.num_layers, do, noise.normal("latent", self._latent_dim))[0]

    def initialize(self, latents, x):
        """Start every normalisation at the mean and standard deviation of what it sees of latents.

        Between random turns that makes the flow nearly the normal with their covariance.
        """
        del x
        ops = keras.ops
        layers, _ = self._stacked()
        seen, starts = np.asarray(latents, "float32"), []
        for step in reversed(range(self.num_layers)):
            mean, log_stddev = seen.mean(axis=0), np.log(np.maximum(seen.std(axis=0), _LEAST_STDDEV))
            starts.insert(0, (mean, log_stddev))
            if self._is_plain:
                break
            rest = [each[step] for each in layers[2:]]
            seen = ops.convert_to_numpy(self._undo(ops.convert_to_tensor(seen), [*starts[0], *rest])[0])
        for weight, start in zip((self.shift, self.log_scale), zip(*starts, strict=True), strict=True):
            weight.assign(np.reshape(start, weight.shape))

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
