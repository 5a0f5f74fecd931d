"""A normal distribution over images whose neighbouring pixels err together."""

import functools
import math

import keras
import numpy as np

from kvae.probability.distributions.events import LOG_2PI, event_size, sum_event


class FieldNormal:
    """A normal distribution over images, a Gaussian Markov random field around its mean.

    With e = x - mean, the log density of a channel is, up to constants,
    -(sum of e^2 + edge_weight * sum of squared differences of e between neighbours) / (2 c),
    neighbours being pixels side by side and one above the other. Its covariance is
    c (I + edge_weight L)^-1, where L is the Laplacian of the grid: cosines are the eigenvectors, so
    that the normalising constant is exact. c is chosen for the variances to have the mean that is
    asked for. Channels are independent, of one covariance.

    Args:
        mean: `(batch, height, width, channels)`.
        variance: positive, a scalar: of an element, the mean over the image.
        edge_weight: of differences, at least 0; 0: independent pixels.

    Source: Rue & Held, "Gaussian Markov random fields", 2005, section 2.6.
    """

    def __init__(self, mean, variance, edge_weight):
        self._mean = mean
        self._variance = variance
        self._edge_weight = edge_weight
        self._grid = grid_of(tuple(mean.shape[1:3]), edge_weight)

    def mean(self):
        """`(batch, height, width, channels)`."""
        return self._mean

    def variance(self):
        """Marginal variances, `(batch, height, width, channels)`: larger towards the borders."""
        of_pixels = self._variance * self._grid.relative_variance
        return keras.ops.broadcast_to(of_pixels, keras.ops.shape(self._mean))

    def log_prob(self, x):
        """Log density at x `(batch, height, width, channels)`: `(batch,)`, nats."""
        ops = keras.ops
        error = x - self._mean
        down, right = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
        squared = sum_event(ops.square(error)) + self._edge_weight * (
            sum_event(ops.square(down)) + sum_event(ops.square(right))
        )
        per_element = LOG_2PI + ops.log(self._variance) - self._grid.mean_log_precision
        squared = self._grid.mean_variance * squared / self._variance
        return -0.5 * (event_size(error) * per_element + squared)

    def sample(self, noise, purpose):
        """Draw one sample a row, see `DiagonalNormal.sample`."""
        ops, (height, width) = keras.ops, self._mean.shape[1:3]
        white = noise.normal(purpose, event_size(self._mean))
        white = ops.reshape(white, (-1, *self._mean.shape[1:]))
        scaled = ops.sqrt(self._variance) * self._grid.root_spectrum * white
        error = ops.einsum("ki,bklc,lj->bijc", _cosines(height), scaled, _cosines(width))
        return self._mean + error


class Grid:
    """What a `FieldNormal` needs of the size of an image, for variances whose mean is 1.

    Args:
        size: height and width.
        edge_weight: of differences.

    Attributes:
        mean_variance: of (I + edge_weight L)^-1.
        mean_log_precision: log of the determinant of the inverse covariance, over the pixels.
        relative_variance: float32 `(height, width, 1)`.
        root_spectrum: root of the covariance's eigenvalues, float32 `(height, width, 1)`.
    """

    def __init__(self, size, edge_weight):
        down, right = (2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n) for n in size)
        eigenvalues = 1.0 + edge_weight * (down[:, None] + right)
        self.mean_variance = float((1.0 / eigenvalues).mean())
        spectrum = 1.0 / (self.mean_variance * eigenvalues)
        self.mean_log_precision = -float(np.log(spectrum).mean())
        squares = [np.square(_cosines(n), dtype=np.float64) for n in size]
        marginal = squares[0].T @ spectrum @ squares[1]
        self.relative_variance = marginal[..., None].astype(np.float32)
        self.root_spectrum = np.sqrt(spectrum)[..., None].astype(np.float32)


@functools.cache
def grid_of(size, edge_weight):
    """The `Grid` of one size `(height, width)` and weight."""
    return Grid(size, edge_weight)


@functools.cache
def _cosines(count):
    """The orthonormal discrete cosine transform, a frequency a row, float32 `(count, count)`."""
    places = np.arange(count)
    rows = np.cos(math.pi * np.outer(places, places + 0.5) / count)
    rows *= np.sqrt(np.where(places == 0, 1.0, 2.0) / count)[:, None]
    return rows.astype(np.float32)
