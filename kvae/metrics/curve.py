"""How the importance-weighted bound rises towards log p(x) with the number of draws."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvae.data.rows import random_rows
from kvae.metrics.likelihood import PerRow, gap, importance_bounds, mean_and_stderr
from kvae.probability.streams import generator

CURVE_DRAWS = (1, 10, 100, 500)
LONG_DRAWS, LONG_ROWS = 5_000, 1_000


def num_draws_of_curves(rows: int, num_draws: int, *, draws_per_call: int, only_last: bool) -> int:
    """How many draws of one row each `bound_curves` takes.

    Args:
        rows: of x.
        num_draws: of the bound to report.
        draws_per_call: see `bound_curves`.
        only_last: see `bound_curves`.
    """

    def taken(counts: set[int]) -> int:
        calls, singles = zip(*(divmod(count, draws_per_call) for count in counts), strict=True)
        return max(calls) * draws_per_call + max(singles)

    smaller = set() if only_last else {count for count in CURVE_DRAWS if count < num_draws}
    goes_on = not only_last and CURVE_DRAWS[-1] <= num_draws < LONG_DRAWS
    more = taken({LONG_DRAWS}) * min(rows, LONG_ROWS) if goes_on else 0
    return taken(smaller | {num_draws}) * rows + more


def bound_curves(
    log_weight: PerRow,
    log_likelihood: PerRow,
    x: np.ndarray,
    true_log_prob: np.ndarray | None,
    *,
    num_draws: int,
    draws_per_call: int,
    seed: int,
    only_last: bool = False,
    names: Sequence[str] = (),
    keep: Callable[[np.ndarray], None] | None = None,
) -> list[list[dict[str, Any]]]:
    """Give the bound at `num_draws`, at fewer draws, and on some rows at many more.

    The points on all rows share their draws, so that their differences are sharper than their
    standard errors. 5,000 draws are taken of 1,000 random rows, with draws of their own, and stand
    beside the 500 draws of the same rows: the spread between rows is larger than what is compared.

    Args:
        log_weight: (x, seeds) -> `(densities, n)` nats, see `importance_bounds`.
        log_likelihood: (x, seeds) -> `(densities, n)` nats, the same with `draws_per_call` draws.
        x: `(n, ...)`.
        true_log_prob: `(n,)` nats, or None where the truth is not known.
        num_draws: of the bound to report, at least 1.
        draws_per_call: of `log_likelihood`, at least 1.
        seed: of all draws.
        only_last: leave out everything but the bound at `num_draws`.
        names: of the densities, for the message of an error; may be more or fewer than they are.
        keep: is given the bound of each row at `num_draws`, `(densities, n)` nats.

    Returns:
        For every density the points of `bound_point`: on all rows 1, 10, 100, 500 and 5,000 draws
        as far as they are fewer than `num_draws`, and `num_draws`; then on 1,000 rows, if
        `num_draws` is from 500 to 4,999, 500 and 5,000 draws (only the latter if `x` has no more
        rows).

    Raises:
        ValueError: see `importance_bounds` and `bound_point`.
    """
    rng = generator(seed, "bound curves")

    def bounds(rows, counts):
        return importance_bounds(
            log_weight, log_likelihood, x[rows], num_draws=counts, draws_per_call=draws_per_call,
            seed=int(rng.integers(2**31)),
        )  # fmt: skip

    smaller = set() if only_last else {k for k in (*CURVE_DRAWS, LONG_DRAWS) if k < num_draws}
    everything = np.arange(len(x))
    found = bounds(everything, smaller | {num_draws})
    if keep is not None:
        keep(found[num_draws])
    points = [(count, everything, bound) for count, bound in found.items()]
    most = CURVE_DRAWS[-1]
    if not only_last and most <= num_draws < LONG_DRAWS:
        some = random_rows(len(x), LONG_ROWS, rng, always=True)
        if len(some) < len(x):
            points.append((most, some, found[most][:, some]))
        points.append((LONG_DRAWS, some, bounds(some, {LONG_DRAWS})[LONG_DRAWS]))
    return [
        [
            bound_point(
                bound[which],
                count,
                None if true_log_prob is None else true_log_prob[rows],
                name=names[which] if which < len(names) else "",
            )
            for count, rows, bound in points
        ]
        for which in range(len(found[num_draws]))
    ]


def bound_point(
    bound: np.ndarray,
    num_draws: int,
    true_log_prob: np.ndarray | None = None,
    *,
    name: str = "",
) -> dict[str, Any]:
    """Give one point of the curve.

    Args:
        bound: `(n,)` nats, from `importance_bounds`.
        num_draws: its K.
        true_log_prob: `(n,)` nats, of the same rows; None where the truth is not known.
        name: of the density, for the message of an error.

    Returns:
        `num_draws`, `rows`, `bound_nats`, `bound_nats_stderr`, and with a truth what `gap` gives.

    Raises:
        ValueError: see `mean_and_stderr` and `gap`.
    """
    draws = f"{num_draws:,} draw" + "s" * (num_draws > 1)
    mean, stderr = mean_and_stderr(bound, f"the bound of {draws}" + (f" ({name})" if name else ""))
    point = {
        "num_draws": num_draws,
        "rows": len(bound),
        "bound_nats": mean,
        "bound_nats_stderr": stderr,
    }
    return point if true_log_prob is None else {**point, **gap(true_log_prob, bound)}
