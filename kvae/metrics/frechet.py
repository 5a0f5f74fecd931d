"""The Fréchet distance between the Gaussians of two sets of features."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kvae.metrics import require_finite


@dataclass(frozen=True, eq=False)
class Moments:
    """What a Gaussian knows of a set of features.

    Attributes:
        mean: `(d,)` float64.
        covariance: `(d, d)` float64, over n - 1.
        count: n, the rows that they were taken of.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @cached_property
    def root(self) -> np.ndarray:
        """R `(d, rank)` with R R' the covariance, without the directions of rounding errors.

        Found once, however many Gaussians this one is compared with.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        known = values > values[-1] * len(values) * np.finfo(np.float64).eps
        return vectors[:, known] * np.sqrt(values[known])


def moments(parts: Iterable[np.ndarray]) -> Moments:
    """Give the mean and covariance of features that come in parts.

    Each part is taken about its own mean and then merged (Chan, Golub & LeVeque 1983, "Algorithms
    for computing the sample variance"), so that features far from zero lose no digits. What is
    kept is `(d, d)`, however many rows there are.

    Args:
        parts: `(n, d)` each, n of any size from 1, d that of the first; read once.

    Raises:
        ValueError: a part has another shape or a value that is not finite, or there are fewer than
            two rows in all.
    """
    count = 0
    mean = scatter = np.zeros(0)
    for number, part in enumerate(parts):
        part = np.asarray(part, np.float64)
        dim = len(mean) if count else part.shape[-1:]
        if part.ndim != 2 or (count and part.shape[1] != dim):
            wanted = dim if count else "d"
            raise ValueError(f"part {number} must be (n, {wanted}): received {part.shape}")
        require_finite(f"part {number}", part)
        part_mean = part.mean(0)
        centred = part - part_mean
        part_scatter = centred.T @ centred
        if not count:
            count, mean, scatter = len(part), part_mean, part_scatter
            continue
        total = count + len(part)
        shift = part_mean - mean
        scatter += part_scatter + np.outer(shift, shift) * (count * len(part) / total)
        mean = mean + shift * (len(part) / total)
        count = total
    if count < 2:
        raise ValueError(f"a covariance needs at least two rows: received {count}")
    return Moments(mean, scatter / (count - 1), count)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Give the squared Fréchet (Wasserstein-2) distance between two Gaussians.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017, "GANs trained by a two
    time-scale update rule", equation 6; Dowson & Landau 1982). On Inception features this is the
    FID; on others it must not be called so. It is biased upwards by small samples, so that only
    distances of equal counts compare.

    The trace of the root is the sum of the roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2).
    They are taken as the singular values of S_a^(1/2) S_b^(1/2), the same numbers without a root
    of rounding errors: covariances of fewer rows than features are singular.

    Args:
        a: from `moments`.
        b: of as many features.

    Returns:
        In the features' unit squared, never negative; 0 for equal moments but for rounding, some
        1e-13 of the traces.

    Raises:
        ValueError: the numbers of features differ, or a value is not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"both must have the same features: received {len(a.mean)} and {len(b.mean)}"
        )
    for one in (a, b):
        require_finite("mean", one.mean)
        require_finite("covariance", one.covariance)
    overlap = np.linalg.svd(a.root.T @ b.root, compute_uv=False).sum()
    between = np.square(a.mean - b.mean).sum()
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap
    # The spread alone is never negative but for the rounding of a difference.
    return float(between + max(0.0, spread))
