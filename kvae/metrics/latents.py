"""Which dimensions of the latent space carry anything about the data."""

import numpy as np

from kvae.metrics import require_finite

ACTIVE_FRACTION = 0.01


def active_fraction(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Give for each latent dimension how much of its spread comes from the data.

    Var_x[mean] / (Var_x[mean] + E_x[variance]): 0 if the posterior ignores x, near 1 if it pins
    the latent down. Unlike Var_x[mean] alone (Burda et al. 2016, "Importance Weighted
    Autoencoders", section 5), it does not change with the scale of the latent.

    Args:
        mean: `(n, latent_dim)` of q(z given x).
        variance: `(n, latent_dim)` of q(z given x), marginal.

    Returns:
        `(latent_dim,)` float64, from 0 to 1.

    Raises:
        ValueError: the shapes are not two equal `(n, latent_dim)`, a value is not finite, or a
            variance is negative.
    """
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if mean.ndim != 2 or mean.shape != variance.shape:
        raise ValueError(
            "mean and variance must both be (n, latent_dim): "
            f"received {mean.shape} and {variance.shape}"
        )
    require_finite("mean", mean)
    require_finite("variance", variance)
    if variance.min() < 0:
        raise ValueError(f"variance must not be negative: received {variance.min():g}")
    between, within = mean.var(0), variance.mean(0)
    total = between + within
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0)


def active_units(mean: np.ndarray, variance: np.ndarray) -> int:
    """Give the number of latent dimensions whose `active_fraction` is over 0.01.

    Args:
        mean: `(n, latent_dim)` of q(z given x).
        variance: `(n, latent_dim)` of q(z given x), marginal.

    Raises:
        ValueError: see `active_fraction`.
    """
    return int((active_fraction(mean, variance) > ACTIVE_FRACTION).sum())
