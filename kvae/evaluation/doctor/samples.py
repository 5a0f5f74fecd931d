"""Checks of samples, and of the density that they come from."""

from kvae.evaluation.doctor.advice import less_capacity, try_one_of
from kvae.evaluation.doctor.case import MissingError, Told
from kvae.metrics.memorisation import CLOSE_QUANTILE

MEMORISED, SURELY_MEMORISED = 0.05, 0.2  # chance in 200 samples reaches 0.03
MEMORISED_STDERRS = 4.0  # beyond chance for both densities of any number of runs
SAMPLES_WORSE = 1.5  # times another Fréchet distance: samples are never quite as near
SAMPLER_FAR = 2.0  # times the reconstructions': those are the best that the decoder can do
SAMPLER_HARMS = 1.1  # times the prior's: above what sample sets differ by
COVERAGE_LOST = 0.5  # of the other coverage: whole kinds of data are left out
PRIOR_GAP_NATS = 3.0  # what chance adds is taken off; it wavers by less
PRIOR_GAP_PART = 0.05  # of the rate, which the gap is a part of
LEAST_GAP_NATS = 1.0  # of rate less mutual information, which chance makes larger, of vectors
TOLD_PART = 0.6  # of what n rows can tell: more mutual information is understated


def _memorised(case):
    found = case.of_samples("memorised_fraction")
    evidence = (
        f"{found:.1%} of the {case.density()}'s samples are as sharp as a training row, and nearer "
        "to it than new data are; at most 1% is expected."
    )
    advice = try_one_of([*less_capacity(case), "fewer --epochs"])
    if found > MEMORISED:
        return Told("certain" if found > SURELY_MEMORISED else "likely", evidence, advice)
    share = case.metrics.get("nearest_train_share", 1.0)
    error = case.metrics.get("memorised_fraction_stderr", 0.0)
    # A copy of a row that was not looked at seems new: of a tenth of the rows a tenth is seen.
    excess = found - CLOSE_QUANTILE
    if excess <= max((MEMORISED - CLOSE_QUANTILE) * share, MEMORISED_STDERRS * error):
        return None
    evidence += f" Only {share:.1%} of the training rows were looked at."
    return Told("possible", evidence, advice)


def _gap_in_nats(case):
    rate = case.number("rate_nats_prior")
    gaps = case.known("aggregate_gap_nats_prior", "moments_kl_nats_prior")
    gap = next(iter(gaps.values()))
    if gap <= max(PRIOR_GAP_NATS, PRIOR_GAP_PART * rate):
        return None
    evidence = (
        f"The posteriors together are {gap:.1f} nats or more from the prior, of a rate of "
        f"{rate:.1f}: draws from the prior fall where the decoder was not trained."
    )
    return _bridged(case, evidence)


def _gap_in_information(case):
    rate = case.number("rate_nats_prior")
    told, limit = (
        case.number(f"mutual_information{kind}_nats_posterior") for kind in ("", "_limit")
    )
    # Of few rows more cannot be told apart, and what is not told would be called a gap.
    if told > TOLD_PART * limit:
        raise MissingError
    gap = rate - told
    if gap <= max(LEAST_GAP_NATS, PRIOR_GAP_PART * rate):
        return None
    evidence = (
        f"Of a rate of {rate:.1f} nats z tells {told:.1f} about x: the other {gap:.1f} are how far "
        "the posteriors together are from the prior, whose draws fall where the decoder was not "
        "trained."
    )
    return _bridged(case, evidence)


def _gap_not_finite(case):
    wrong = case.number("not_finite_samples_prior")
    if not wrong:
        return None
    told = _bridged(case, f"{wrong:.0f} of the prior's samples are not finite.")
    return told._replace(sure="certain") if case.fitted_sampler() == "none" else told


def _gap_in_samples(case):
    feature, (prior, best) = case.frechet("prior", "reconstruction")
    best = max(best, case.floor(feature))
    if prior <= SAMPLES_WORSE * best:
        return None
    return _bridged(case, _worse(feature, prior, "reconstructions or other data", best))


def _gap_to_sampler(case):
    feature, (prior, sampler) = case.frechet("prior", "sampler")
    if prior <= SAMPLES_WORSE * sampler:
        return None
    return _bridged(case, _worse(feature, prior, "those of the sampler", sampler))


def _worse(feature, prior, others, distance):
    return (
        f"The prior's samples are {prior / distance:.1f} times as far from the data as {others} "
        f"({feature} {prior:.4g} against {distance:.4g})."
    )


def _bridged(case, evidence):
    """A gap matters less where `generate` draws from a sampler."""
    if case.fitted_sampler() == "none":
        tried = case.option("sampler") == "auto"
        options = ["--prior vamp", "--prior flow"] if tried else ["--sampler auto"]
        if case.option("beta", 1) < 1:
            options.append("--beta 1")
        return Told("likely", evidence, try_one_of(options))
    advice = (
        "The sampler that generate draws from bridges it (--sampler auto takes the best one); "
        "--prior vamp or --prior flow would narrow it in training."
    )
    return Told("possible", evidence, advice)


def _not_fitted(case):
    wanted = case.option("sampler", "none")
    # "auto" may have found that none is needed.
    if wanted in ("none", "auto"):
        raise MissingError
    if case.fitted_sampler() != "none":
        return None
    evidence = f"--sampler {wanted} was asked for, but its fit failed: the model has none."
    return Told("certain", evidence, try_one_of(["--sampler auto", "a smaller --latent-dim"]))


def _not_finite_samples(case):
    wrong = case.number("not_finite_samples_sampler")
    if not wrong:
        return None
    evidence = f"{wrong:.0f} of the sampler's samples are not finite."
    return Told("certain", evidence, _other_sampler(case))


def _no_help(case):
    feature, (sampler, prior, best) = case.frechet("sampler", "prior", "reconstruction")
    best = max(best, case.floor(feature))
    useless = sampler >= prior > SAMPLES_WORSE * best
    # One that brings samples far nearer than the prior's is of use, however far there is to go.
    far = sampler > SAMPLER_FAR * best and SAMPLER_FAR * sampler > prior
    if not useless and not far:
        return None
    evidence = (
        f"The sampler's samples are {sampler / best:.1f} times as far from the data as "
        f"reconstructions or other data ({feature} {sampler:.4g} against {best:.4g}; the prior's "
        f"{prior:.4g})."
    )
    return Told("likely", evidence, _other_sampler(case))


def _harms(case):
    feature, (sampler, prior) = case.frechet("sampler", "prior")
    if sampler <= SAMPLER_HARMS * prior:
        return None
    evidence = (
        f"The sampler's samples are farther from the data than the prior's ({feature} "
        f"{sampler:.4g} against {prior:.4g})."
    )
    return Told("certain", evidence, _other_sampler(case))


def _covers_less(case):
    sampler = case.number("coverage_sampler")
    found = case.known("coverage_prior", "coverage_floor")
    prior, floor = (found.get(f"coverage_{kind}", 0.0) for kind in ("prior", "floor"))
    if sampler < COVERAGE_LOST * prior and not _beats_prior(case):
        sure, others = "likely", f"those of the prior {prior:.1%}"
    elif sampler < COVERAGE_LOST * floor:
        # No sampler covers as much as data do: the decoder has its part in it.
        sure, others = "possible", f"training rows {floor:.1%}"
    else:
        return None
    evidence = f"The sampler's samples cover {sampler:.1%} of the data, {others}."
    return Told(sure, evidence, _other_sampler(case))


def _beats_prior(case):
    """Whether the sampler's samples are nearer to the data than the prior's."""
    try:
        _, (sampler, prior) = case.frechet("sampler", "prior")
    except MissingError:
        return False
    return sampler < prior


def _other_sampler(case):
    options = ["--sampler auto"] if case.option("sampler") != "auto" else []
    options += [] if _beats_prior(case) else ["--sampler none"]
    return try_one_of([*options, "a smaller --latent-dim, whose density is easier"])


#: Problem -> check; the surest of a problem's counts.
CHECKS = (
    ("memorisation", _memorised),
    ("dead sampler", _not_fitted),
    ("dead sampler", _not_finite_samples),
    ("dead sampler", _harms),
    ("dead sampler", _no_help),
    ("dead sampler", _covers_less),
    ("prior gap", _gap_in_nats),
    ("prior gap", _gap_in_information),
    ("prior gap", _gap_not_finite),
    ("prior gap", _gap_in_samples),
    ("prior gap", _gap_to_sampler),
)
