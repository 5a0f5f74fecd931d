"""Densities of rows: what an encoder or a decoder says of each row, and its logs, means and draws.

Every class has `log_prob(x)` `(batch,)` in nats, `mean()`, `variance()`, and `draw(normal)` or
`draw(uniform)` of the noise that `noise_kind` names, `(batch, numbers of an event)`.
"""

import math

import numpy as np
from scipy.special import expit, log_expit, logit, logsumexp

Array = np.ndarray
LOG_2PI = math.log(2 * math.pi)
_LEVELS = 256
_LEAST_VARIANCE = 1e-12  # of levels, by definition
_ROWS_AT_ONCE = 2**21  # numbers, where every level of a pixel is looked at


def softplus(x: Array) -> Array:
    """log(1 + e^x)."""
    return np.logaddexp(0, x).astype(x.dtype)


def summed(x: Array) -> Array:
    """The sum of each row."""
    return x.reshape(len(x), -1).sum(axis=1)


def below(entries: Array, size: int) -> Array:
    """Matrices with entries strictly below the diagonal, `(..., size, size)`, and zeros elsewhere.

    Args:
        entries: `(..., size (size - 1) / 2)`. Place p of the square of the rows below the first,
            row after row, holds entry size - 1 + p, and behind the last one they come backwards.
        size: rows and columns.
    """
    count, side = entries.shape[-1], size - 1
    matrix = np.zeros((*entries.shape[:-1], size, size), entries.dtype)
    for row in range(side):
        for column in range(row + 1):
            place = row * side + column
            taken = side + place if side + place < count else 2 * count - 1 - (side + place)
            matrix[..., row + 1, column] = entries[..., taken]
    return matrix


def inverse_of_lower(root: Array) -> Array:
    """Inverses of lower-triangular matrices `(..., size, size)`."""
    # A row of all at a time: of many small matrices a call each would take far longer.
    size = root.shape[-1]
    found = np.zeros_like(root)
    for row in range(size):
        found[..., row, row] = 1
        found[..., row, :row] = -np.einsum("...k,...kj->...j", root[..., row, :row],
                                           found[..., :row, :row])  # fmt: skip
        found[..., row, : row + 1] /= root[..., row, row, None]
    return found


class Diagonal:
    """Normal, elements independent; mean `(batch, ...)` and variances that broadcast to it."""

    noise_kind = "normal"

    def __init__(self, mean: Array, variance: Array):
        self._mean, self._variance = mean, np.broadcast_to(variance, mean.shape)

    @classmethod
    def of_encoder(cls, params: Array) -> "Diagonal":
        """Means, then variances less 1e-8 before their softplus."""
        dim = params.shape[1] // 2
        return cls(params[:, :dim], softplus(params[:, dim:]) + params.dtype.type(1e-8))

    def mean(self) -> Array:
        """`(batch, ...)`."""
        return self._mean

    def variance(self) -> Array:
        """Of each element by itself, `(batch, ...)`."""
        return self._variance

    def entropy(self) -> Array:
        """`(batch,)`, nats."""
        return summed(0.5 * (1 + LOG_2PI + np.log(self._variance)))

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        distance = (x - self._mean) / np.sqrt(self._variance)
        return -summed(0.5 * np.square(distance) + 0.5 * np.log(self._variance) + 0.5 * LOG_2PI)

    def draw(self, normal: Array) -> Array:
        """A sample of each row from normal numbers, `(batch, numbers of an event)`."""
        return self._mean + np.sqrt(self._variance) * normal.reshape(self._mean.shape)

    def taken(self, rows: Array) -> "Diagonal":
        """The rows of these numbers."""
        return Diagonal(self._mean[rows], self._variance[rows])


class Full:
    """Normal of vectors, covariance R R^T, R = (I + B) diag(stddev)."""

    noise_kind = "normal"

    def __init__(self, mean: Array, stddev: Array, root: Array):
        self._mean, self._stddev, self._root = mean, stddev, root

    @classmethod
    def of_encoder(cls, params: Array) -> "Full":
        """Means; standard deviations less 1e-4 before their softplus; the entries of B."""
        dim = next(n for n in range(params.shape[1] + 1) if n * (n + 3) // 2 == params.shape[1])
        stddev = softplus(params[:, dim : 2 * dim]) + params.dtype.type(1e-4)
        unit = np.eye(dim, dtype=params.dtype) + below(params[:, 2 * dim :], dim)
        return cls(params[:, :dim], stddev, unit * stddev[:, None, :])

    def mean(self) -> Array:
        """`(batch, ...)`."""
        return self._mean

    def variance(self) -> Array:
        """Of each element by itself, `(batch, ...)`."""
        return np.einsum("bij,bij->bi", self._root, self._root)

    def entropy(self) -> Array:
        """`(batch,)`, nats."""
        return 0.5 * self._mean.shape[1] * (1 + LOG_2PI) + np.log(self._stddev).sum(axis=1)

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        white = np.linalg.solve(self._root, (x - self._mean)[..., None])[..., 0]
        return -summed(0.5 * np.square(white) + np.log(self._stddev) + 0.5 * LOG_2PI)

    def draw(self, normal: Array) -> Array:
        """A sample of each row from normal numbers, `(batch, numbers of an event)`."""
        return self._mean + np.einsum("bij,bj->bi", self._root, normal)

    def taken(self, rows: Array) -> "Full":
        """The rows of these numbers."""
        return Full(self._mean[rows], self._stddev[rows], self._root[rows])


class Precision:
    """Normal along the last axis, inverse covariance P P^T, P = (I + B) diag(e^log_precision)."""

    noise_kind = "normal"

    def __init__(self, mean: Array, log_precision: Array, entries: Array):
        self._mean, self._log_precision = mean, log_precision
        dim = mean.shape[-1]
        unit = np.eye(dim, dtype=mean.dtype) + below(entries, dim)
        self._root = unit * np.exp(log_precision)[..., None, :]

    def mean(self) -> Array:
        """`(batch, ...)`."""
        return self._mean

    def variance(self) -> Array:
        """Of each element by itself, `(batch, ...)`."""
        inverse = inverse_of_lower(self._root)
        return np.einsum("...ij,...ij->...j", inverse, inverse)

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        white = np.einsum("...ij,...i->...j", self._root, x - self._mean)
        return summed(self._log_precision - 0.5 * np.square(white) - 0.5 * LOG_2PI)

    def draw(self, normal: Array) -> Array:
        """A sample of each row from normal numbers, `(batch, numbers of an event)`."""
        white = normal.reshape(self._mean.shape)
        inverse = inverse_of_lower(self._root)
        return self._mean + np.einsum("...ij,...i->...j", inverse, white)


class Field:
    """A normal image whose neighbouring pixels err together, the mean of their variances given.

    Of each axis the eigenvectors of its Laplacian, a path's, are found by LAPACK; their order and
    the sign that makes the first entry positive are part of what draws are.
    """

    noise_kind = "normal"

    def __init__(self, mean: Array, variance: Array, edge_weight: float):
        self._mean = mean
        (down, self._rows), (right, self._columns) = (_path(n) for n in mean.shape[1:3])
        covariance = 1 / (1 + edge_weight * (down[:, None] + right))
        self._spectrum = (variance * covariance / covariance.mean())[..., None]

    def mean(self) -> Array:
        """`(batch, height, width, channels)`."""
        return self._mean

    def variance(self) -> Array:
        """Of each pixel."""
        of_pixels = np.square(self._rows) @ self._spectrum[..., 0] @ np.square(self._columns).T
        return np.broadcast_to(of_pixels[..., None], self._mean.shape).astype(self._mean.dtype)

    def log_prob(self, x: Array) -> Array:
        """Nats: of independent coefficients in the eigenvectors."""
        rows, columns = (v.astype(x.dtype) for v in (self._rows, self._columns))
        error = np.einsum("ik,bijc,jl->bklc", rows, x - self._mean, columns, optimize=True)
        spectrum = self._spectrum.astype(x.dtype)
        return -0.5 * summed(np.square(error) / spectrum + np.log(2 * np.pi * spectrum))

    def draw(self, normal: Array) -> Array:
        """A normal number for each coefficient."""
        rows, columns = (v.astype(normal.dtype) for v in (self._rows, self._columns))
        scaled = np.sqrt(self._spectrum).astype(normal.dtype) * normal.reshape(self._mean.shape)
        return self._mean + np.einsum("ik,bklc,jl->bijc", rows, scaled, columns, optimize=True)


def _path(count: int) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of the Laplacian of so many points in a row."""
    step = np.diff(np.eye(count), axis=0)
    values, vectors = np.linalg.eigh(step.T @ step)
    return values, vectors * np.sign(vectors[0])


class Bits:
    """Elements that are 0 or 1, by the log odds of 1; others have probability zero."""

    noise_kind = "uniform"

    def __init__(self, logits: Array):
        self._logits = logits

    def mean(self) -> Array:
        """`(batch, ...)`."""
        return expit(self._logits)

    def variance(self) -> Array:
        """Of each element by itself, `(batch, ...)`."""
        return expit(self._logits) * expit(-self._logits)

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        logs = np.where(x == 1, log_expit(self._logits), log_expit(-self._logits))
        return summed(np.where((x == 0) | (x == 1), logs, -np.inf)).astype(x.dtype)

    def draw(self, uniform: Array) -> Array:
        """A sample of each row from uniform numbers, `(batch, numbers of an event)`."""
        return (uniform.reshape(self._logits.shape) < self.mean()).astype(self._logits.dtype)


class Levels:
    """Grey levels k/255 of pixels: what mixtures of logistics have within half a level of each.

    The masses of 0 and of 1 have the tails.

    Args:
        means: `(batch, height, width, components, channels)`.
        scales: of that shape.
        logits: `(batch, height, width, components)`, of the mixture's weights.
    """

    noise_kind = "pairs"

    def __init__(self, means: Array, scales: Array, logits: Array):
        self._means, self._scales = means, scales
        self._log_weights = logits - logsumexp(logits, axis=-1, keepdims=True)

    def mean(self) -> Array:
        """Of what is cut at 0 and 1, not rounded: the integral of 1 - F from 0 to 1."""
        up, down = (
            softplus((self._means - edge) / self._scales) for edge in (0, 1)
        )  # fmt: skip
        return self._mixed(self._scales * (up - down))

    def variance(self) -> Array:
        """Of the levels themselves, over all 256 of them; 1e-12 at least."""
        pixels = max(1, _ROWS_AT_ONCE // (_LEVELS * self._means[0].size))
        parts = [
            self._variance_of(slice(start, start + pixels))
            for start in range(0, len(self._means), pixels)
        ]
        return np.maximum(np.concatenate(parts), self._means.dtype.type(_LEAST_VARIANCE))

    def _variance_of(self, rows: slice) -> Array:
        means, scales = self._means[rows, ..., None], self._scales[rows, ..., None]
        levels = np.arange(_LEVELS, dtype=means.dtype)
        inside = expit(((levels[1:] - 0.5) / 255 - means) / scales)
        zero, one = np.zeros_like(inside[..., :1]), np.ones_like(inside[..., :1])
        masses = np.diff(np.concatenate([zero, inside, one], axis=-1), axis=-1)
        weights = np.exp(self._log_weights[rows])[..., None, None]
        masses = (weights * masses).sum(axis=-3)
        mean = (masses * levels).sum(axis=-1, keepdims=True)
        return (masses * np.square(levels - mean)).sum(axis=-1) / 255**2

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        level = np.round(np.clip(x, 0, 1) * 255)[..., None, :]
        upper = np.where(level == 255, np.inf, (level + 0.5) / 255)
        lower = np.where(level == 0, -np.inf, (level - 0.5) / 255)
        high = (upper - self._means) / self._scales
        low = (lower - self._means) / self._scales
        # F(high) - F(low), on the side of the logistic where both are small.
        flip = high + low > 0
        high, low = np.where(flip, -low, high), np.where(flip, -high, low)
        top, bottom = log_expit(high), log_expit(low)
        mass = top + np.log1p(-np.exp(bottom - top))
        pixel = logsumexp(mass.sum(axis=-1) + self._log_weights, axis=-1)
        return summed(pixel).astype(x.dtype)

    def draw(self, uniform: Array) -> Array:
        """Levels of each row, from two uniform numbers for each of its elements: `(batch, 2 n)`.

        Signatures serve no such draws: which numbers they are from is the audit's own choice.
        """
        shape = (*self._means.shape[:3], self._means.shape[-1])
        first, second = (part.reshape(shape) for part in np.split(uniform, 2, axis=1))
        # All channels of a pixel are of one component.
        ends = np.cumsum(np.exp(self._log_weights), axis=-1)[..., :-1]
        chosen = (first[..., :1] > ends).sum(axis=-1)[..., None, None]
        mean, scale = (
            np.take_along_axis(part, chosen, axis=3)[..., 0, :]
            for part in (self._means, self._scales)
        )
        return np.round(np.clip(mean + scale * logit(second), 0, 1) * 255) / 255

    def _mixed(self, values: Array) -> Array:
        return np.einsum("bhwk,bhwkc->bhwc", np.exp(self._log_weights), values)


class Moved:
    """The distribution of shift + scale y, for y from `base`."""

    def __init__(self, base, shift: Array, scale: Array):
        self._base, self._shift, self._scale = base, shift, scale
        self.noise_kind = base.noise_kind

    def mean(self) -> Array:
        """`(batch, ...)`."""
        return self._shift + self._scale * self._base.mean()

    def variance(self) -> Array:
        """Of each element by itself, `(batch, ...)`."""
        return np.square(self._scale) * self._base.variance()

    def log_prob(self, x: Array) -> Array:
        """Log density or mass at x `(batch, ...)`: `(batch,)`, nats."""
        y = (x - self._shift) / self._scale
        log_scale = np.broadcast_to(np.log(self._scale), x.shape[1:]).sum()
        return self._base.log_prob(y) - log_scale

    def draw(self, noise: Array) -> Array:
        """A sample of each row, from numbers of the kind of `noise_kind`."""
        return self._shift + self._scale * self._base.draw(noise)
