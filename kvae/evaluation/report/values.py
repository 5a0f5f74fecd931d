"""Numbers of metrics.json as they are shown: digits that are known, and how sure they are."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from kvae.evaluation.naming import DENSITIES
from kvae.evaluation.table import SATURATING, rests_on_one_draw
from kvae.metrics.likelihood import BUG_STDERRS

MINUS = "\N{MINUS SIGN}"
#: Standard errors to either side of a mean that hold the truth 95 times of 100.
NORMAL_95 = 1.96
_MOST_DECIMALS = 7
_OF_THE_BOUND = ("log_likelihood_nats", "gap_nats")  # and "bits_per_dim_bound", of other units


class Value(NamedTuple):
    """A metric's value and what lies around it.

    Args:
        number: the value itself.
        text: the value with the digits that are known.
        low: the lower end of what lies around it; None: nothing is known of that.
        high: the upper end; None likewise.
        spread: the ends in words, what they are ends of; "" likewise.
    """

    number: float
    text: str
    low: float | None = None
    high: float | None = None
    spread: str = ""


def value_of(metrics: Mapping[str, Any], key: str) -> Value | None:
    """A metric as it is shown; None: there is no such number.

    Args:
        metrics: of metrics.json.
        key: of the metric.
    """
    number = metrics.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    ends, what = _ends(metrics, key, number)
    decimals = _decimals(number, ends)
    if _has_no_decimals(metrics, key):
        decimals = 0
    is_saturated = metrics.get("mutual_information_saturated_posterior")
    text = (SATURATING.get(key, "") if is_saturated else "") + written(number, decimals)
    if ends is None:
        return Value(number, text)
    low, high = ends
    spread = f"{what} {written(low, decimals)} to {written(high, decimals)}"
    return Value(number, text, low, high, spread)


def _ends(metrics, key, number):
    stderr = metrics.get(f"{key}_stderr")
    if stderr is not None:
        return (number - NORMAL_95 * stderr, number + NORMAL_95 * stderr), "95%:"
    interval = metrics.get(f"{key}_interval")
    if interval is not None:
        return tuple(interval), "95%:"
    reach = metrics.get(f"{key}_range")
    if reach is not None:
        return tuple(reach), "5 sets:"
    return None, ""


def _decimals(number, ends):
    """Two digits of half the width of what lies around a value; else four of the value."""
    if isinstance(number, int):
        return 0
    half = 0.0 if ends is None else (ends[1] - ends[0]) / 2
    size, digits = (half, 2) if half > 0 else (abs(number), 4)
    if not size:
        return 1
    return min(_MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(size))))


def _has_no_decimals(metrics, key):
    """Whether a bound rests on one draw, so that no decimals of it are known."""
    return any(
        key == f"{stem}_{density}" and rests_on_one_draw(metrics, density)
        for stem in _OF_THE_BOUND
        for density in DENSITIES
    )


def written(number: float, decimals: int) -> str:
    """A number with these decimals, thousands apart, and a minus sign."""
    text = f"{number:,.{decimals}f}"
    if text.startswith("-"):
        return f"{MINUS}{text[1:]}" if any(digit in text for digit in "123456789") else text[1:]
    return text


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """What must be known beside some of the numbers.

    Args:
        metrics: of metrics.json.
    """
    found = []
    for density in DENSITIES:
        if metrics.get(f"gap_is_a_bug_{density}"):
            found.append(
                f"BUG: the bound of the {density} lies above the true log-likelihood by over "
                f"{BUG_STDERRS} standard errors, more than chance explains. Please report it."
            )
        if rests_on_one_draw(metrics, density):
            found.append(
                f"One importance draw has nearly all the weight ({density}): the bound is far "
                "below log p(x), and no decimals of it are known."
            )
        wrong = metrics.get(f"not_finite_samples_{density}")
        if wrong:
            found.append(
                f"{wrong:,} samples of the {density} are not finite: nothing is said of them."
            )
    if metrics.get("aggregate_gap_is_heavy_tailed_prior"):
        found.append(
            "From the posteriors to the prior: one row has much of the variance, so that the error "
            "is larger than it seems."
        )
    return found
