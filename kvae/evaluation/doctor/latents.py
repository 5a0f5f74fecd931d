"""Checks of the use of the latent space."""

import math

import numpy as np

from kvae.evaluation.doctor.advice import more_rate, try_one_of
from kvae.evaluation.doctor.case import Told

FEW_PART, VERY_FEW_PART = 0.25, 0.1  # of the dimensions; half of them idle is common and harmless
FULL_FRACTION = 0.9  # of a dimension's spread is from the data: over one nat each
FULL_GAIN_DB = 8.0  # over the mean image: a sixth of its squared error is left
TINY_DIM = 8  # dimensions: too few for nearly all images


def _few_by_rate(case):
    rates = np.maximum(case.numbers("rate_per_dim_nats_prior"), 0.0)
    if not np.square(rates).sum():
        return None
    effective = rates.sum() ** 2 / np.square(rates).sum()
    return _few(case, effective, len(rates), "(participation ratio of their rates)")


def _few_active(case):
    return _few(
        case, case.number("active_units_posterior"), case.number("latent_dim"), "(active units)"
    )


def _few(case, used, dim, how):
    if used > FEW_PART * dim:
        return None
    evidence = f"About {used:.2g} of {dim:.0f} latent dimensions do nearly all the work {how}."
    sure = "likely" if used <= VERY_FEW_PART * dim else "possible"
    smaller = f"--latent-dim {max(2, math.ceil(2 * used))} (if the data need no more)"
    return Told(sure, evidence, try_one_of([smaller, *more_rate(case)]))


def _full(case):
    fractions = case.numbers("active_fraction_per_dim_posterior")
    gain = case.number("psnr_db_reconstruction") - case.number("psnr_db_mean_image")
    if fractions.min() < FULL_FRACTION or gain >= FULL_GAIN_DB:
        return None
    dim = len(fractions)
    evidence = (
        f"All {dim} latent dimensions are in full use (the least by {fractions.min():.0%}), and "
        f"reconstructions are only {max(0.0, gain):.1f} dB better than the mean image."
    )
    sure = "likely" if dim <= TINY_DIM else "possible"
    return Told(sure, evidence, f"Try --latent-dim {4 * dim if dim <= TINY_DIM else 2 * dim}.")


#: Problem -> check; the surest of a problem's counts.
CHECKS = (
    ("few units", _few_by_rate),
    ("few units", _few_active),
    ("latent space too small", _full),
)
