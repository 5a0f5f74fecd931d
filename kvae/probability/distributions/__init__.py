"""Distributions over one event per row: the first axis is the batch, the others are the event.

`log_prob` sums over the event and keeps the batch: `(batch,)`, nats, in float32. Samples are
functions of noise that is handed in (see `kvae.probability.noise`), so that nothing here holds
random state.
"""

from kvae.probability.distributions.affine import Affine
from kvae.probability.distributions.discrete import Bernoulli, LogisticLevels
from kvae.probability.distributions.events import LOG_2PI, Draw, event_size, sum_event
from kvae.probability.distributions.field import FieldNormal, grid_of
from kvae.probability.distributions.normal import (
    DiagonalNormal,
    FullNormal,
    PrecisionNormal,
    kl_to_standard_normal,
    log_prob_of_pairs,
)
from kvae.probability.distributions.triangles import below_diagonal, lower_triangular

__all__ = [
    "LOG_2PI",
    "Affine",
    "Bernoulli",
    "DiagonalNormal",
    "Draw",
    "FieldNormal",
    "FullNormal",
    "LogisticLevels",
    "PrecisionNormal",
    "below_diagonal",
    "event_size",
    "grid_of",
    "kl_to_standard_normal",
    "log_prob_of_pairs",
    "lower_triangular",
    "sum_event",
]
