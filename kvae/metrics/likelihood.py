"""How likely a model finds data: importance-weighted bounds on log p(x), and their gap."""

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy.special import logsumexp

from kvae.metrics import require_finite
from kvae.probability.streams import generator

PerRow = Callable[[np.ndarray, np.ndarray], np.ndarray]

BUG_STDERRS = 3
TAIL_SHARE, MIN_TAIL_ROWS = 0.1, 200  # normal values have a twentieth at most
ONE_DRAW = 1.5  # effective draws: one has nearly all the weight
WEIGHT_DRAWS, MAX_WEIGHT_ROWS, LOW_QUANTILE = 64, 1_000, 0.05


def mean_and_stderr(values: np.ndarray, name: str = "values") -> tuple[float, float]:
    """Give the mean and its standard error.

    Args:
        values: `(n,)`, independent, at least two.
        name: what they are, for the message of an error.

    Returns:
        The mean, and the standard deviation (n - 1) over the root of n; the values' unit.

    Raises:
        ValueError: a value is not finite, or there are fewer than two.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"{name}: a standard error needs shape (n,), n >= 2: received {values.shape}"
        )
    require_finite(name, values)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def is_heavy_tailed(values: np.ndarray) -> bool:
    """Whether the standard error of a mean rests on a single value.

    Of a distribution without a variance the largest squared deviation is a part of their sum that
    does not vanish with more values, and the standard error falls short of the truth until a larger
    one comes.

    Args:
        values: `(n,)`; of fewer than 200 nothing is said.

    Returns:
        Whether one value has over a tenth of the sum of squared deviations.
    """
    squared = np.square(np.asarray(values, np.float64) - np.mean(values))
    return len(squared) >= MIN_TAIL_ROWS and bool(squared.max() > TAIL_SHARE * squared.sum())


def importance_bounds(
    log_weight: PerRow,
    log_likelihood: PerRow,
    x: np.ndarray,
    *,
    num_draws: Iterable[int],
    draws_per_call: int,
    seed: int,
) -> dict[int, np.ndarray]:
    """Give the importance-weighted bound on log p(x) for several numbers of draws.

    The bound of K draws is the mean over draws of log (1 / K) sum_k p(x, z_k) / q(z_k given x); it
    rises with K towards log p(x) (Burda et al. 2016, "Importance Weighted Autoencoders", theorem
    1). Each bound takes exactly K draws: as many calls of `log_likelihood` as fit, the rest from
    `log_weight`, combined by the number of their draws. The bounds share their draws, so that all
    together cost hardly more than the largest. A few vectors are kept, whatever the number of
    draws.

    Args:
        log_weight: (x, seeds) -> `(..., n)` nats, the log weight of one draw; the leading axes are
            densities that are measured by the same draws.
        log_likelihood: (x, seeds) -> `(..., n)` nats, the log-mean-exp of `draws_per_call` draws.
        x: `(n, ...)`, all rows at once: cut into parts under one seed, the parts would share draws.
        num_draws: every K, at least 1.
        draws_per_call: of `log_likelihood`, at least 1.
        seed: decides the seeds, int64 in [0, 2^63), drawn anew for every row and call; two are
            equal with a chance of about (rows x calls)^2 / 2^64.

    Returns:
        For each K `(..., n)` float64, nats; a row for which a call answers NaN is NaN.

    Raises:
        ValueError: a number of draws is under 1, none is given, or a call answers another shape.
    """
    wanted = sorted(set(num_draws))
    if not wanted or wanted[0] < 1 or draws_per_call < 1:
        raise ValueError(
            "num_draws and draws_per_call must be at least 1: "
            f"received {wanted} and {draws_per_call}"
        )
    calls = {count: divmod(count, draws_per_call) for count in wanted}
    rng = generator(seed, "importance draws")
    num_full, num_single = (set(column) for column in zip(*calls.values(), strict=True))
    full = _log_sums(log_likelihood, x, num_full, draws_per_call, rng)
    single = _log_sums(log_weight, x, num_single, 1, rng)
    shapes = {one.shape for one in (*full.values(), *single.values()) if one.shape}
    if len(shapes) > 1:
        raise ValueError(f"all calls must answer the same densities: received {sorted(shapes)}")
    with np.errstate(invalid="ignore"):  # NaN is passed on, not warned about
        return {
            count: np.logaddexp(full[calls[count][0]], single[calls[count][1]]) - math.log(count)
            for count in wanted
        }


def _log_sums(
    function: PerRow, x: np.ndarray, wanted: set[int], draws: int, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Give the log of the summed weights after each wanted number of calls of `draws` draws."""
    total = np.array(-np.inf)
    found = {0: total}
    for call in range(1, max(wanted) + 1):
        log_mean = np.asarray(function(x, rng.integers(2**63, size=len(x))), np.float64)
        if log_mean.shape[-1:] != (len(x),):
            raise ValueError(f"a call must answer (..., {len(x)}): received {log_mean.shape}")
        with np.errstate(invalid="ignore"):
            total = np.logaddexp(total, log_mean + math.log(draws))
        if call in wanted:
            found[call] = total
    return found


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
    mean, stderr = mean_and_stderr(true_log_prob - model_log_likelihood, "the gap")
    return {"gap_nats": mean, "gap_nats_stderr": stderr}


def effective_sample_metrics(log_weights: np.ndarray) -> dict[str, float]:
    """Give how many of the importance draws do the work.

    The effective sample size of a row's weights is (sum w)^2 / sum w^2 (Kong 1992, "A note on
    importance sampling using standardized weights"): all draws if the weights are equal, one if
    one of them outweighs the rest. The bound of a row with a small one is far from its limit.

    Args:
        log_weights: `(draws, n)` nats, of single draws.

    Returns:
        `effective_sample_fraction`: the mean over rows of the size over the number of draws, from
        1 / draws to 1; `effective_sample_fraction_p5`: its 5% quantile over rows;
        `effective_sample_draws`.

    Raises:
        ValueError: a value is not finite, or the shape is not `(draws, n)`.
    """
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.ndim != 2:
        raise ValueError(f"log_weights must be (draws, n): received {log_weights.shape}")
    require_finite("log_weights", log_weights)
    log_size = 2 * logsumexp(log_weights, axis=0) - logsumexp(2 * log_weights, axis=0)
    fraction = np.exp(log_size) / len(log_weights)
    return {
        "effective_sample_fraction": float(fraction.mean()),
        "effective_sample_fraction_p5": float(np.quantile(fraction, LOW_QUANTILE)),
        "effective_sample_draws": len(log_weights),
    }
