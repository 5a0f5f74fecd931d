"""Draws and densities by what must hold of any model, and what is said of this one."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import logsumexp

from kvae.audit.independent import statistics
from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import OF_SAMPLER, Model
from kvae.audit.independent.noise import STREAMS
from kvae.audit.rows import Rows
from kvae.audit.verdicts import (
    AGREES,
    DIFFERS,
    ERRORS,
    Line,
    compared_with_chance,
    not_checked,
    reported,
)

#: Numbers of all draws of a density together, and how many rows these are.
_NUMBERS, _LEAST, _MOST = 2**16, 2_000, 10_000
_FITTED = 5_000  # draws that a proposal is fitted to
_VAGUE = 0.05  # standard error of an integral of which nothing is said
_GRID = 2e-3  # by which a converged quadrature may be off
#: Pairs of latent and x, draws of q for each, and numbers of x that decoders may answer in all.
_PAIRS, _LEAST_PAIRS, _DRAWS, _FEW_DRAWS, _DECODED = 512, 16, 31, 7, 2**20
_LEAST_RANKED = 100
_STUCK = 0.1  # share of pairs that moved under which nothing is said
_SEEDS, _WIDTH = 4096, 4  # numbers of each stream
#: What seeds that are near, and those that are far, differ by.
_APART = (1, 2**32, 2**62)
_TOO_HEAVY = 0.7  # Pareto's k, over which the mean of weights cannot be trusted


def of_draws(model: Model, rows: Rows) -> list[Line]:
    """Lines about densities, draws, pairs and weights.

    Args:
        model: in float64; it is the version's where the lines of the signatures agree.
        rows: whose conditions pairs are made under.
    """
    rng = np.random.default_rng(0)
    lines: list[Line] = []
    for name in ("prior", *(["sampler"] if model.has_sampler else [])):
        lines += _lines(f"{name}: its density", partial(_density, model, name, rng))
    lines += _lines("noise: seeds, draws and streams apart", partial(_apart, model, rng))
    lines += _lines("pairs of z and x", partial(_pairs, model, rows, rng))
    return [*lines, *_lines("weights", partial(_weights, model))]


def _lines(what: str, make: Callable[[], list[Line]]) -> list[Line]:
    try:
        with np.errstate(all="ignore"):
            return make()
    except Beyond as error:
        return [not_checked(what, f"beyond the audit: {error}")]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [not_checked(what, f"the audit fails: {type(error).__name__}: {error}")]


def _noise(model: Model, count: int, rng: np.random.Generator) -> Any:
    return model.noise(rng.integers(2**63, size=count))


def _density(model: Model, name: str, rng: np.random.Generator) -> list[Line]:
    """Whether a density integrates to one, and its draws are of it."""
    density = getattr(model, name)
    count = int(np.clip(_NUMBERS // model.latent_dim, _LEAST, _MOST))
    draws = density.draw(_noise(model, count, rng))
    density.log_prob(draws[:1])  # where it has none, nothing is drawn in vain
    what = f"{name}: integrates to one"
    by_grid = statistics.by_quadrature(density.log_prob, draws)
    if by_grid is not None:
        difference = abs(by_grid - 1)
        verdict = AGREES if difference <= _GRID else DIFFERS
        lines = [Line(what, verdict, 1, difference, _GRID, "on a grid")]
    else:
        fitted = density.draw(_noise(model, _FITTED, rng))
        found, error = statistics.bridged(density.log_prob, fitted, draws, rng)
        if not error <= _VAGUE:
            lines = [not_checked(what, f"chance alone may move it by {ERRORS * error:.2g}")]
        else:
            lines = [compared_with_chance(what, 1.0, float(found), float(error), count)]
    largest, most = statistics.stein(density.log_prob, draws, rng)
    return [*lines, _by_chance(f"{name}: draws are of its density", largest, most, count)]


def _by_chance(what: str, largest: float, most: float, rows: int, note: str = "") -> Line:
    """A line of statistics in standard errors, and what chance alone makes of the largest."""
    verdict = AGREES if largest <= most else DIFFERS  # NaN differs
    return Line(what, verdict, rows, largest, most, f"in standard errors{note}")


def _apart(model: Model, rng: np.random.Generator) -> list[Line]:
    """Whether seeds that are near or far, draws and streams know nothing of each other."""
    seeds = rng.integers(2**61, size=_SEEDS)
    latent = model.sampler.draw(model.noise(seeds))
    pairs = [(latent, model.sampler.draw(model.noise(seeds + apart))) for apart in _APART]
    sources = [*((stream, 0) for stream in STREAMS), ("posterior", 1)]
    numbers = [model.noise(seeds, draw).normal(stream, _WIDTH) for stream, draw in sources]
    pairs += itertools.combinations(numbers, 2)
    found = [statistics.rank_correlation(*pair, of=len(pairs)) for pair in pairs]
    # As far as it is from what chance makes of each; NaN is the farthest.
    largest, most = max(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0] / one[1])
    return [_by_chance("noise: seeds, draws and streams apart", largest, most, _SEEDS)]


def _pairs(model: Model, rows: Rows, rng: np.random.Generator) -> list[Line]:
    """What q makes of x whose z is known, since the model drew both.

    z is an exact draw of the posterior. Of it and of draws of q one is chosen by importance
    weights: an exact draw once more, however far q is from the posterior, so that the two can be
    exchanged. Draws and densities of prior, likelihood and posterior must fit each other for that.

    Source: Andrieu, Doucet & Holenstein, "Particle Markov chain Monte Carlo methods", JRSS B 2010;
    Geweke, "Getting it right", JASA 2004.
    """
    numbers = math.prod(model.element_shape)
    draws = _DRAWS if _DECODED // (numbers * (_DRAWS + 1)) >= _LEAST_RANKED else _FEW_DRAWS
    count = int(np.clip(_DECODED // (numbers * (draws + 1)), _LEAST_PAIRS, _PAIRS))
    seeds = rng.integers(2**63, size=count)
    condition = rows.condition
    if condition is not None:
        condition = condition[rng.integers(len(condition), size=count)].astype(np.float64)
    noise = model.noise(seeds)
    known = model.prior.draw(noise)
    x = model.observed(model.decode(known, condition), noise)
    posterior = model.posterior(x, condition)
    drawn = np.stack(
        [posterior.draw(model.noise(seeds, draw).normal("posterior", model.latent_dim))
         for draw in range(draws)]
    )  # fmt: skip
    every = np.concatenate([known[None], drawn])
    logs = np.stack(
        [[model.prior.log_prob(z), model.decode(z, condition).log_prob(x), posterior.log_prob(z)]
         for z in every]
    )  # fmt: skip
    weights = logs[:, 0] + logs[:, 1] - logs[:, 2]
    gumbel = rng.gumbel(size=weights.shape)
    chosen = np.argmax(weights + gumbel, axis=0)
    tested = np.concatenate(
        [every, np.square(every - known.mean(axis=0)), np.moveaxis(logs, 1, 2)], axis=2
    )
    share = float((chosen > 0).mean())
    what = "pairs: what weights choose is of the posterior"
    largest, most = statistics.moved(tested[0], tested[chosen, np.arange(count)])
    # Signs alone of n that moved lead to sqrt(n): twice the bound, where a fault can show.
    if share < _STUCK or (chosen > 0).sum() < 4 * most**2:
        why = f"{share:.0%} of {count} pairs moved, too few to tell a fault"
        lines = [not_checked(what, why)]
    else:
        lines = [_by_chance(what, largest, most, count, f"; {share:.0%} moved")]
    return [*lines, _ranks(known, drawn)]


def _ranks(known: np.ndarray, drawn: np.ndarray) -> Line:
    what, count = "q: ranks of the true z", len(known)
    if count < _LEAST_RANKED:
        return not_checked(what, f"of such large x the audit makes {count} pairs alone")
    distance, usual = statistics.ranks_of(known, drawn)
    verdict = "q is not the posterior" if distance > usual else "as of an exact posterior"
    return reported(what, count, distance, usual, f"farthest from even ranks: {verdict}")


def _weights(model: Model) -> list[Line]:
    """Pareto's k of the weights that `log_likelihood` took the mean of."""
    lines = []
    for suffix, logs in model.log_weights.items():
        what = f"weights{' of the sampler' if suffix == OF_SAMPLER else ''}: Pareto k"
        logs = logs[:, np.isfinite(logs).all(axis=0)]
        if logs.size == 0:
            lines.append(not_checked(what, "no weights that are finite"))
            continue
        shapes = statistics.pareto_shape(logs)
        over = float((shapes > _TOO_HEAVY).mean())
        size = np.exp(2 * logsumexp(logs, axis=0) - logsumexp(2 * logs, axis=0))
        note = (
            f"{over:.0%} of rows over {_TOO_HEAVY}, of {len(logs)} draws each, "
            f"{np.median(size):.3g} of them effective"
        )
        lines.append(reported(what, len(shapes), float(shapes.max()), _TOO_HEAVY, note))
    return lines
