"""How likely a model finds data: the importance-weighted bound on log p(x), and its gap."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from kvae.metrics import require_finite

PerRow = Callable[[np.ndarray, np.ndarray], np.ndarray]


def mean_and_stderr(values: np.ndarray) -> tuple[float, float]:
    """Give the mean and its standard error.

    Args:
        values: `(n,)`, independent, at least two.

    Returns:
        The mean, and the standard deviation (n - 1) over the root of n; the values' unit.

    Raises:
        ValueError: a value is not finite, or there are fewer than two.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"a standard error needs (n,) values, n >= 2: received {values.shape}")
    require_finite("values", values)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def log_mean_exp(log_weights: np.ndarray) -> np.ndarray:
    """Give the log of the mean weight of each row.

    Args:
        log_weights: `(draws, n)` nats.

    Returns:
        `(n,)` float64, nats.
    """
    log_weights = np.asarray(log_weights, np.float64)
    return logsumexp(log_weights, axis=0) - math.log(len(log_weights))


def importance_log_likelihood(
    log_weight: PerRow,
    log_likelihood: PerRow,
    x: np.ndarray,
    *,
    num_draws: int,
    draws_per_call: int,
    seed: int,
) -> np.ndarray:
    """Give the importance-weighted bound on log p(x) of exactly `num_draws` draws.

    The bound of K draws is the mean over draws of log (1 / K) sum_k p(x, z_k) / q(z_k given x); it
    rises with K towards log p(x) (Burda et al. 2016, "Importance Weighted Autoencoders", theorem
    1). As many calls of `log_likelihood` as fit are made, the rest with `log_weight`; their means
    are combined by the number of their draws. One vector of n numbers is kept, whatever the
    number of draws.

    Args:
        log_weight: (x, seeds) -> `(n,)` nats, the log weight of one draw.
        log_likelihood: (x, seeds) -> `(n,)` nats, the log-mean-exp of `draws_per_call` draws.
        x: `(n, ...)`, all rows at once: cut into parts under one seed, the parts would share draws.
        num_draws: K, at least 1.
        draws_per_call: of `log_likelihood`, at least 1.
        seed: decides the seeds, int64 in [0, 2^63), drawn anew for every row and call by
            `numpy.random.default_rng(seed)`; two are equal with a chance of about
            (rows x calls)^2 / 2^64.

    Returns:
        `(n,)` float64, nats; a row for which a call answers NaN is NaN.

    Raises:
        ValueError: a number of draws is under 1, or a call answers another shape than `(n,)`.
    """
    if num_draws < 1 or draws_per_call < 1:
        raise ValueError(
            "num_draws and draws_per_call must be at least 1: "
            f"received {num_draws} and {draws_per_call}"
        )
    rng = np.random.default_rng(seed)
    full_calls, single_draws = divmod(num_draws, draws_per_call)
    log_sum = np.full(len(x), -np.inf)
    for function, calls, draws in (
        (log_likelihood, full_calls, draws_per_call),
        (log_weight, single_draws, 1),
    ):
        for _ in range(calls):
            log_mean = np.asarray(function(x, rng.integers(2**63, size=len(x))), np.float64)
            if log_mean.shape != log_sum.shape:
                raise ValueError(f"a call must answer {log_sum.shape}: received {log_mean.shape}")
            with np.errstate(invalid="ignore"):  # NaN is passed on, not warned about
                log_sum = np.logaddexp(log_sum, log_mean + math.log(draws))
    return log_sum - math.log(num_draws)


def gap(true_log_prob: np.ndarray, model_log_likelihood: np.ndarray) -> dict[str, float]:
    """Give the mean of log p_true(x) - log p_model(x) over data from p_true.

    It estimates KL(p_true, p_model); from above, if the model's log-likelihood is a lower bound.
    The standard error is of the paired differences, far smaller than that of either mean.

    Args:
        true_log_prob: `(n,)` nats.
        model_log_likelihood: `(n,)` nats, of the same rows.

    Returns:
        `gap_nats`, `gap_nats_stderr`.

    Raises:
        ValueError: a value is not finite, the shapes differ, or there are fewer than two rows.
    """
    true_log_prob = np.asarray(true_log_prob, np.float64)
    model_log_likelihood = np.asarray(model_log_likelihood, np.float64)
    if true_log_prob.shape != model_log_likelihood.shape:
        raise ValueError(
            "the gap is between the same rows: received shapes "
            f"{true_log_prob.shape} and {model_log_likelihood.shape}"
        )
    require_finite("true_log_prob", true_log_prob)
    require_finite("model_log_likelihood", model_log_likelihood)
    mean, stderr = mean_and_stderr(true_log_prob - model_log_likelihood)
    return {"gap_nats": mean, "gap_nats_stderr": stderr}
