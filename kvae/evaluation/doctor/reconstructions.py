"""Checks of reconstructions and the rate."""

from kvae.evaluation.doctor.advice import (
    VARIANCE_TINY,
    fixed_variance,
    learned_variance,
    less_capacity,
    more_rate,
    smaller_rate,
    try_one_of,
)
from kvae.evaluation.doctor.case import FEW_EPOCHS, MissingError, Told, figure

COLLAPSED_NATS = 0.1  # a seventh of a bit tells hardly any two rows apart
TOLD_NATS = 1.0  # tell some three kinds of rows apart
MEAN_IMAGE_DB = 0.5  # a ninth less squared error than that of the mean
BETA_OFF = 2.0  # times 1; what lies between changes little
VARIANCE_OFF, VARIANCE_FAR_OFF = 2.0, 4.0  # times the error: as beta 2 and 4 would weigh it


def _no_active_unit(case):
    active, dim = case.number("active_units_posterior"), case.number("latent_dim")
    if active > 0:
        return None
    evidence = f"None of {dim:.0f} latent dimensions is active{_for_beta(case)}."
    return Told("certain", evidence, try_one_of(_awaken(case)))


def _no_rate(case):
    rate = case.number("rate_nats_prior")
    if rate >= COLLAPSED_NATS:
        return None
    evidence = f"The rate is {rate:.3g} nats: z tells nothing about x{_for_beta(case)}."
    return Told("certain", evidence, try_one_of(_awaken(case)))


def _awaken(case):
    # An encoder that has hardly been trained says nothing either.
    more = ["--epochs 20"] if 0 < case.epochs() < FEW_EPOCHS else []
    return [*more, *more_rate(case), smaller_rate(case)]


def _for_beta(case):
    beta = case.option("beta", 1)
    return f", because beta {beta:g} makes every nat cost {beta:g}" if beta > BETA_OFF else ""


def only_the_mean(case):
    """Reconstructions that are hardly nearer than the mean image."""
    psnr, constant = case.number("psnr_db_reconstruction"), case.number("psnr_db_mean_image")
    if psnr - constant >= MEAN_IMAGE_DB:
        return None
    evidence = f"Reconstructions reach {psnr:.2f} dB, the mean image alone {constant:.2f} dB"
    advice = try_one_of([*more_rate(case), "more --epochs"])
    rate = case.known("psnr_db_reconstruction", "rate_nats_prior").get("rate_nats_prior", 0.0)
    if rate < TOLD_NATS:
        return Told("certain", f"{evidence}: nothing of an image comes back.", advice)
    evidence += f", though z carries {figure(rate)} nats: hardly anything of an image comes back."
    return Told("likely", evidence, advice)


def _beta(case):
    beta = case.option("beta")
    if beta is None:
        raise MissingError
    if 1 / BETA_OFF <= beta <= BETA_OFF:
        return None
    counts = f"Beta is {beta:g}: the loss counts the rate {beta:g} times"
    try:
        rate, distortion = case.number("rate_nats_prior"), case.number("distortion_nats_posterior")
        counts += f" ({beta:g} x {figure(rate)} nats beside a distortion of {figure(distortion)})"
    except MissingError:
        pass
    effect = (
        "which is why little is let through z and details are lost"
        if beta > 1
        else "which is why posteriors may stray from the prior, whose draws then decode badly"
    )
    advice = "Try --beta 1"
    variance = fixed_variance(case)
    if variance and beta:
        advice += f"; --beta 1 --variance {beta * variance:.3g} trains the same means as now"
    return Told("certain", f"{counts}, {effect}.", f"{advice}.")


def _variance_too_large(case):
    ratio = _variance_ratio(case)
    if ratio <= VARIANCE_OFF:
        return None
    evidence = (
        f"The decoder believes its squared error {ratio:.1f} times as large as it is: details pay "
        "less than they cost, so outputs are blurry and the rate is low."
    )
    sure = "certain" if ratio > VARIANCE_FAR_OFF else "likely"
    return Told(sure, evidence, _calibrate(case, ratio, [f"--epochs {2 * case.epochs() or 50}"]))


def _variance_too_small(case):
    ratio = _variance_ratio(case)
    if ratio >= 1 / VARIANCE_OFF:
        return None
    evidence = (
        f"The true squared error is {1 / ratio:.1f} times what the decoder believes: noise is paid "
        "for as if it were detail, and the rate is high."
    )
    sure = "certain" if ratio < 1 / VARIANCE_FAR_OFF else "likely"
    return Told(sure, evidence, _calibrate(case, ratio, less_capacity(case)))


def _variance_tiny(case):
    """A fixed variance that no error reaches, where nothing could be measured."""
    variance = fixed_variance(case)
    if variance is None:
        raise MissingError
    if variance >= VARIANCE_TINY or "variance_ratio_draw" in case.metrics:
        return None
    evidence = (
        f"The variance of {variance:g} is below what float32 tells apart in data of a scale about "
        "1: every error costs more than anything else could."
    )
    advice = f"Try --variance {learned_variance(case)} in place of {variance:g}."
    return Told("certain", evidence, advice)


def _variance_ratio(case):
    ratio = case.number("variance_ratio_draw")
    if case.option("likelihood", "gaussian") != "gaussian" or ratio <= 0:
        raise MissingError
    if case.option("edge_weight", 0.0):  # the likeliest variance is not the mean squared error
        raise MissingError
    return ratio


def _calibrate(case, ratio, otherwise):
    """Options that bring the variance to the error; a learned one is off for another reason."""
    fixed = fixed_variance(case)
    if fixed:
        learned = learned_variance(case)
        return f"Try --variance {learned}, or --variance {fixed / ratio:.2g} in place of {fixed:g}."
    moved = case.option("variance") in ("shared", "per-channel", "per-feature")
    better = moved and learned_variance(case) == "optimal"
    return try_one_of(["--variance optimal", *otherwise] if better else otherwise)


#: Problem -> check; the surest of a problem's counts.
CHECKS = (
    ("posterior collapse", _no_active_unit),
    ("posterior collapse", _no_rate),
    ("no better than the mean", only_the_mean),
    ("beta far from 1", _beta),
    ("variance too large", _variance_too_large),
    ("variance too small", _variance_too_small),
    ("variance too small", _variance_tiny),
)
