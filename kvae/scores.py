"""What a model says of each row: a score, bounds of log p(x), means of latents."""

import math

import keras
import numpy as np

from kvae.data.conditions import Conditioned
from kvae.data.rows import rows_at_once, slices
from kvae.inputs import as_float, repeat_rows, rows_of
from kvae.options import POSITIVE_COUNT, Option, read_seed
from kvae.probability.noise import SeededNoise, row_seeds

NUM_SCORE_DRAWS = 16
NUM_DRAWS = 64  # of the importance-weighted bound, where nobody says another number
_DRAWS = Option("num_draws", NUM_DRAWS, "importance draws of each row", POSITIVE_COUNT)
# Numbers that the draws of one row, and of all rows, may fill at a time.
_CHUNK_ELEMENTS, _MOST_ELEMENTS = 2**14, 2**20


class Antithetic:
    """Noise, the same draws for all rows: draw 2k+1 is minus draw 2k.

    Args:
        draws: `(count,)` int32, their numbers.
        batch_size: of the rows, each of which has all draws in succession.
    """

    def __init__(self, draws, batch_size):
        self._draws, self._batch_size = draws, batch_size

    def normal(self, purpose, size):
        """`(batch_size * count, size)`, standard normal."""
        ops = keras.ops
        pairs = SeededNoise(ops.zeros_like(self._draws), self._draws // 2)
        sign = ops.cast(1 - 2 * (self._draws % 2), "float32")[:, None]
        return ops.tile(sign * pairs.normal(purpose, size), (self._batch_size, 1))


def score_terms(vae, x, posterior, draws):
    """Distortion and rate at some of the fixed draws of a score.

    Args:
        vae: the model.
        x: `(batch, ...)`, as the model takes it.
        posterior: q(z given x).
        draws: `(count,)` int32, their numbers.

    Returns:
        `ElboTerms` of `(batch * count,)`, the draws of a row in succession.
    """
    count = draws.shape[0]
    noise = Antithetic(draws, keras.ops.shape(rows_of(x))[0])
    return vae.elbo_terms(repeat_rows(x, count), noise, posterior=posterior.repeat(count))


def weight_draws(vae, x, seed, posterior, draws, densities):
    """Log-weights of some draws.

    Args:
        vae: the model.
        x: `(batch, ...)`, as the model takes it.
        seed: `(batch,)`, of each row.
        posterior: q(z given x).
        draws: `(count,)` int32, their numbers.
        densities: the p(z) to take.

    Returns:
        `(batch * count,)` nats for each density, the draws of a row in succession.
    """
    ops, count = keras.ops, draws.shape[0]
    batch = ops.shape(rows_of(x))[0]
    noise = SeededNoise(ops.repeat(seed, count, axis=0), ops.tile(draws, (batch,)))
    terms = vae.weight_terms(
        repeat_rows(x, count), noise, posterior=posterior.repeat(count), densities=densities
    )
    return [term.log_weight for term in terms]


def draws_at_once(vae, num_draws):
    """How many draws of a row go through the decoder at once, a power of two of at least 1."""
    return 2 ** int(math.log2(max(1, min(_CHUNK_ELEMENTS // _largest(vae), num_draws))))


def _largest(vae):
    """Numbers that a draw of one row fills; a full covariance is larger than x itself."""
    outputs = math.prod(vae.decoder.output_shape[1:])
    return max(outputs, math.prod(vae.encoder.output_shape[1:]))


class Scores:
    """The methods of a VAE that answer with a number, or a mean, for each row.

    They take arrays of any number of rows, a part at a time.
    """

    def score(self, x):
        """How well the model knows each row: its ELBO over 16 fixed draws, for ranking rows.

        The same draws for every row, whatever stands beside it; the numbers of the signature
        `score`.

        Args:
            x: an array `(rows, ...)`, as `fit` takes it; of a conditional model a pair (x,
                condition).

        Returns:
            NumPy `(rows,)`, nats; higher is likelier.

        Raises:
            UsageError: rows that `fit` would refuse.
        """

        def elbo(part, own, posterior, draws):
            del own
            return score_terms(self, part, posterior, draws).elbo

        found = _of_draws(self, checked_rows(self, x), NUM_SCORE_DRAWS, elbo)
        return np.concatenate([part.mean(axis=1) for part in found]).astype("float32")

    def log_likelihood(self, x, num_draws=NUM_DRAWS, seed=0):
        """The importance-weighted lower bound of log p(x) of each row.

        It rises with the number of draws, towards log p(x); of the prior, not of a sampler. The
        numbers of the signature `log_likelihood` with 64 draws and the seeds
        `kvae.probability.noise.row_seeds(seed, rows)`.

        Args:
            x: see `score`.
            num_draws: importance draws of each row, at least 1.
            seed: of all draws; row i depends on the seed, i and itself.

        Returns:
            NumPy `(rows,)`, nats.

        Raises:
            UsageError: rows that `fit` would refuse, or no such number of draws or seed.

        Source: Burda, Grosse, Salakhutdinov, arXiv:1509.00519, equation 8.
        """
        num_draws = _DRAWS.read(num_draws, "num_draws")
        seed, x = read_seed(seed), checked_rows(self, x)
        seeds = row_seeds(seed, len(x))

        def log_weight(part, own, posterior, draws):
            return weight_draws(self, part, seeds[own], posterior, draws, (self.prior,))[0]

        found = _of_draws(self, x, num_draws, log_weight)
        bounds = [np.logaddexp.reduce(part, axis=1) for part in found]
        return (np.concatenate(bounds) - math.log(num_draws)).astype("float32")

    def decode_mean(self, z, condition=None):
        """The mean of p(x given z).

        Args:
            z: `(batch, latent_dim)`.
            condition: `(batch, condition_dim)`, or `(condition_dim,)` for all; of a conditional
                model.

        Returns:
            `(batch, ...)` in the units of x; of images it may leave [0, 1] a little.

        Raises:
            UsageError: another shape, or no condition where one is needed.
        """
        z = keras.ops.convert_to_tensor(z, "float32")
        if condition is not None and np.ndim(condition) == 1:
            condition = np.broadcast_to(condition, (z.shape[0], len(condition)))
        return self.decode(z, condition).mean()


def _of_draws(vae, x, num_draws, function):
    """Some rows at a time the values of all draws, `(rows, num_draws)` float64.

    Args:
        vae: the model.
        x: all rows, from `checked_rows`.
        num_draws: how many of each.
        function: rows as the model takes them, their places, their posterior and the numbers of
            some draws -> `(rows * draws,)`.
    """
    at_once = draws_at_once(vae, num_draws)
    rows = max(1, min(rows_at_once(x), _MOST_ELEMENTS // (at_once * _largest(vae))))
    for own in slices(len(x), rows):
        part = as_float(x[own])
        posterior = vae.posterior(part)
        chunks = [
            keras.ops.convert_to_numpy(
                function(part, own, posterior, np.arange(draws.start, draws.stop, dtype="int32"))
            ).reshape(-1, draws.stop - draws.start)
            for draws in slices(num_draws, at_once)
        ]
        yield np.concatenate(chunks, axis=1).astype("float64")


def checked_rows(vae, x):
    """x as rows that can be sliced.

    Args:
        vae: the model.
        x: `(rows, ...)`; of a conditional model a pair (x, condition).

    Raises:
        UsageError: what the model's border does not let in.
    """
    if vae.condition_dim and isinstance(x, list | tuple):
        x = Conditioned(*map(np.asarray, x)) if len(x) == 2 else tuple(x)
    elif not isinstance(x, Conditioned):
        x = np.asarray(x)
    vae.border.check(x)
    return x
