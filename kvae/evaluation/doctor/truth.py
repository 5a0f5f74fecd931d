"""Checks of samples and densities against what the data are: other data, or a known mixture."""

from kvae.evaluation.doctor.advice import better_density, try_one_of
from kvae.evaluation.doctor.case import MissingError, Told, figure
from kvae.metrics.likelihood import ONE_DRAW

RATIO_FAR, RATIO_VERY_FAR = 2.0, 5.0  # times as far as other data: chance in few rows reaches 1.5
ENERGY_FAR = 4.0  # the energy distance goes with the square of a shift
OUTLIERS, MANY_OUTLIERS = 0.02, 0.1  # of samples; one in a thousand of true points
TRUE_OUTLIERS = 3.0  # times those of test points, where these have many
TRUTH_GAP_NATS, TRUTH_GAP_WIDE = 0.3, 2.0  # of log p(x); recipes that work are a tenth away
GAP_STDERRS = 5.0  # beyond any chance
SAMPLER_WORSE = 1.5  # times the prior's ratio


def _missed(case):
    captured = case.of_samples("modes_captured")
    count = case.number("num_modes")
    if captured >= count:
        return None
    evidence = (
        f"{captured:.0f} of {count:.0f} modes are captured by samples of the {case.density()}: the "
        "others have too few samples within them, or too many."
    )
    sure = "likely" if captured == count - 1 else "certain"
    return Told(sure, evidence, try_one_of(better_density(case)))


def _outliers(case):
    fraction = case.of_samples("outlier_fraction")
    true = case.metrics.get("outlier_fraction_test") or 0.0
    if fraction <= max(OUTLIERS, TRUE_OUTLIERS * true):
        return None
    evidence = (
        f"{fraction:.1%} of the {case.density()}'s samples lie where the data have none "
        f"({true:.1%} of test points do)."
    )
    sure = "certain" if fraction > MANY_OUTLIERS else "likely"
    return Told(sure, evidence, try_one_of(better_density(case)))


def _far(case):
    sliced = case.of_samples("sliced_wasserstein_ratio")
    try:
        energy = case.of_samples("energy_distance_ratio")
    except MissingError:
        energy = 0.0
    if sliced <= RATIO_FAR and energy <= RATIO_FAR:
        return None
    evidence = (
        f"The {case.density()}'s samples are {sliced:.1f} times as far from test rows as other "
        f"data are by the sliced Wasserstein distance, {energy:.1f} times by the energy distance."
    )
    sure = "certain" if sliced > RATIO_VERY_FAR else "likely"
    if sliced <= RATIO_FAR and energy <= ENERGY_FAR:
        sure = "possible"
    return Told(sure, evidence, try_one_of(better_density(case)))


def _far_below(case):
    kind = case.density()
    # A second stage has samples and no density.
    kind = kind if f"gap_nats_{kind}" in case.metrics else "prior"
    gap, stderr = case.number(f"gap_nats_{kind}"), case.number(f"gap_nats_{kind}_stderr")
    if gap <= max(TRUTH_GAP_NATS, GAP_STDERRS * stderr):
        return None
    evidence = (
        f"Log p(x) of the {kind} is {figure(gap)} nats below the truth on test rows, as far as "
        "its bound tells."
    )
    sure = "certain" if gap > TRUTH_GAP_WIDE else "likely"
    draws = case.metrics.get("effective_sample_draws", 0)
    fraction = case.metrics.get(f"effective_sample_fraction_{kind}", 1.0)
    if draws and fraction * draws < ONE_DRAW:
        # It says more of the posteriors than of the density.
        posteriors = ["--posterior full"] if case.option("posterior") == "diagonal" else []
        return Told(
            "possible", f"{evidence[:-1]}, in which one draw has nearly all the weight.",
            try_one_of([*posteriors, "--objective iwae"]),
        )  # fmt: skip
    return Told(sure, evidence, try_one_of(better_density(case)))


def _sampler_farther(case):
    sampler, prior = (
        case.number(f"sliced_wasserstein_ratio_{kind}") for kind in ("sampler", "prior")
    )
    if sampler <= max(RATIO_FAR, SAMPLER_WORSE * prior):
        return None
    evidence = (
        f"The sampler's samples are {sampler:.1f} times as far from test rows as other data are, "
        f"the prior's {prior:.1f} times."
    )
    options = ["--sampler auto"] if case.option("sampler") != "auto" else []
    return Told("certain", evidence, try_one_of([*options, "--sampler none"]))


#: Problem -> check; the surest of a problem's counts.
CHECKS = (
    ("modes missed", _missed),
    ("samples unlike the data", _outliers),
    ("samples unlike the data", _far),
    ("far below the true density", _far_below),
    ("dead sampler", _sampler_farther),
)
