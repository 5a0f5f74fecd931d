"""What is wrong with a trained VAE as far as its numbers tell, and which options may help.

Rules of thumb over numbers that were measured elsewhere; no model is looked at here.
"""

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kvae.metrics.memorisation import CLOSE_QUANTILE
from kvae.objectives import raises_elbo

#: What `diagnose` can find, the most severe first.
PROBLEMS = {
    "diverged": "the loss stopped being finite, or ended far above where it began",
    "posterior collapse": "q(z given x) does not depend on x",
    "no better than the mean": "reconstructions are no nearer than the mean image of the data",
    "memorisation": "samples lie nearer to training rows than new data do",
    "overfitting": "training rows are far likelier than new ones",
    "training too short": "the figures were still rising when training ended",
    "beta far from 1": "the rate weighs more or less than in the ELBO",
    "variance too large": "the decoder believes its error larger than it is",
    "variance too small": "the decoder believes its error smaller than it is",
    "dead sampler": "what was fitted after training does not help samples",
    "prior gap": "the posteriors together are far from the prior, whose draws decode badly",
    "unstable training": "the loss jumped up on its way",
    "few units": "a small part of the latent dimensions does nearly all the work",
    "latent space too small": "every latent dimension is in full use, and the error still large",
}
SURE = ("certain", "likely", "possible")
# What is no news beside another problem that is more than possible: its consequences, or the same
# said twice.
_COVERS = {
    "diverged": ("overfitting", "training too short", "unstable training"),
    "posterior collapse": ("few units",),
    "dead sampler": ("prior gap",),
}
#: Features that samples are compared by, in the order of trust: the first one measured counts.
FEATURES = ("fid_keras_inception", "frechet_inception", "frechet_attributes", "frechet_pca")

WIDTH = 88  # columns of a report
COLLAPSED_NATS = 0.1  # a seventh of a bit tells hardly any two rows apart
TOLD_NATS = 1.0  # tell some three kinds of rows apart
MEAN_IMAGE_DB = 0.5  # a ninth less squared error than that of the mean
MEMORISED, SURELY_MEMORISED = 0.05, 0.2  # chance in 200 samples reaches 0.03
MEMORISED_STDERRS = 4.0  # beyond chance for both densities of any number of runs
OVERFIT_STDERRS = 5.0  # of the difference: beyond any chance
OVERFIT_PART = 0.1  # of the rate; every model knows its training rows a little better
OVERFIT_ERROR, SURELY_OVERFIT_ERROR = 1.25, 1.6  # times the error of training rows: of a thousand
# rows a model is best on new ones where it knows its own by a quarter better
PEAK_BEFORE = 0.6  # of the run; a peak after that is how training should end
LOST_PART = 0.05  # of all that was gained: more than validation wavers by
PEAK_NOISE = 4.0  # standard deviations: the best of fifty values lies over two above their mean
LEAST_PART = 0.001  # of the figure itself, or noise about a flat line would count
FEW_EPOCHS = 5  # not enough to see from the figures whether they have settled
RISING_PART = 0.05  # of all that was gained, which a fifth more epochs would add
RISING_NOISE = 2.0  # standard deviations about the line: else the slope may be chance
SLOW_LEARNING_RATE = 1e-4  # of Adam: a tenth of its own default
VERY_SLOW_LEARNING_RATE = 2e-5  # no recipe of a VAE from scratch goes so low
BETA_OFF = 2.0  # times 1; what lies between changes little
VARIANCE_OFF, VARIANCE_FAR_OFF = 2.0, 4.0  # times the error: as beta 2 and 4 would weigh it
SAMPLES_WORSE = 1.5  # times another Fréchet distance: samples are never quite as near
SAMPLER_FAR = 2.0  # times the reconstructions': those are the best that the decoder can do
SAMPLER_HARMS = 1.1  # times the prior's: above what sample sets differ by
COVERAGE_LOST = 0.5  # of the other coverage: whole kinds of data are left out
PRIOR_GAP_NATS = 3.0  # what chance adds is taken off; it wavers by less
PRIOR_GAP_PART = 0.05  # of the rate, which the gap is a part of
DIVERGED_PART = 0.1  # of the figure itself, below its first epoch
SPIKE_PART, LEAST_SPIKE = 0.2, 0.01  # of the whole way, and of the figure itself, in one epoch
FEW_PART, VERY_FEW_PART = 0.25, 0.1  # of the dimensions; half of them idle is common and harmless
FULL_FRACTION = 0.9  # of a dimension's spread is from the data: over one nat each
FULL_GAIN_DB = 8.0  # over the mean image: a sixth of its squared error is left
TINY_DIM = 8  # dimensions: too few for nearly all images


class Finding(NamedTuple):
    """One problem.

    Args:
        problem: a key of `PROBLEMS`.
        sure: "certain", "likely" or "possible".
        evidence: a sentence with the numbers.
        advice: a sentence with the options of train.py to try.
    """

    problem: str
    sure: str
    evidence: str
    advice: str


class Diagnosis(list[Finding]):
    """Findings, and which of `PROBLEMS` there were numbers for.

    Args:
        findings: the most severe first.
        looked_for: keys of `PROBLEMS`.
    """

    def __init__(self, findings: Sequence[Finding], looked_for: Sequence[str]) -> None:
        super().__init__(findings)
        self.looked_for = tuple(looked_for)


def diagnose(
    metrics: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
) -> Diagnosis:
    """Say what looks wrong.

    All three may lack anything: what cannot be looked at is left out. What is only possible stands
    after what is likely or certain; otherwise the order is that of `PROBLEMS`.

    Args:
        metrics: of unseen rows: `rate_nats`, `distortion_nats`, `elbo_nats`, `elbo_nats_stderr`;
            `train_elbo_nats` of as many training rows; `active_units`, `latent_dim`,
            `active_fraction_per_dim`, `rate_per_dim_nats`; `variance_ratio`, the likelihood's
            variance over the mean squared error at posterior draws; `psnr_db`, and
            `constant_psnr_db` of the mean image; `prior_gap_nats`, a lower bound of KL(aggregate
            posterior, prior); for F in `FEATURES` `F_reconstructions`, `F_prior`, `F_sampler`,
            Fréchet distances, and `F_floor` of training rows; for S `sampler` and `prior`
            `memorised_fraction_S` (0.01 is expected, `memorised_fraction_stderr` its error), held
            against the `nearest_train_share` of training rows, `coverage_S` and
            `not_finite_samples_S`; `coverage_floor`; `prior_moments_kl_nats`; `reconstruction_mse`
            and `train_reconstruction_mse`, `train_elbo_nats_stderr`; `sampler`, the one that the
            model has (also in `protocol`).
        config: see `kvae.config.Config.to_dict`.
        history: of each epoch: `loss`, `elbo`, and the same of the valid split as `val_*`.

    Returns:
        The findings, and what was looked for.
    """
    case = _Case(metrics, config, history)
    found: dict[str, Finding] = {}
    looked_for = []
    for problem, check in _CHECKS:
        try:
            told = check(case)
        except _MissingError:
            continue
        looked_for.append(problem)
        known = found.get(problem)
        if told is not None and (known is None or _is_surer(told, known)):
            found[problem] = Finding(problem, *told)
    for problem, covered in _COVERS.items():
        if problem in found and found[problem].sure != "possible":
            found = {name: one for name, one in found.items() if name not in covered}
    order = list(PROBLEMS)
    findings = sorted(
        found.values(), key=lambda one: (one.sure == "possible", order.index(one.problem))
    )
    return Diagnosis(findings, [name for name in order if name in looked_for])


def report(findings: Sequence[Finding]) -> str:
    """Findings in words for a terminal, 88 columns wide.

    Args:
        findings: from `diagnose`.
    """
    if not findings:
        looked_for = ", ".join(getattr(findings, "looked_for", ()))
        text = "nothing wrong found" + (f"; looked for: {looked_for}" if looked_for else "")
        return textwrap.fill(text, WIDTH)
    lines = []
    for number, finding in enumerate(findings, 1):
        lines.append(f"{number}. {finding.problem} ({finding.sure})")
        for text in (finding.evidence, finding.advice):
            lines.append(_wrapped(text))
    return "\n".join(lines)


def _wrapped(text):
    # Neither "--beta" nor it and its value may be torn apart by the end of a line.
    joined = re.sub(r"(--[a-z-]+) ", "\\1\N{NO-BREAK SPACE}", text)
    wrapped = textwrap.fill(
        joined, WIDTH, initial_indent="   ", subsequent_indent="   ",
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return wrapped.replace("\N{NO-BREAK SPACE}", " ")


class _MissingError(Exception):
    """A number that a check needs is not there."""


class _Told(NamedTuple):
    """A finding whose problem is known from its check."""

    sure: str
    evidence: str
    advice: str


def _is_surer(told, known):
    return SURE.index(told.sure) < SURE.index(known.sure)


class _Case:
    """What is known of one model; asking for what is not known ends the check."""

    def __init__(self, metrics, config, history):
        self.metrics, self.config, self.history = metrics, config, history

    def number(self, name):
        """A metric, finite."""
        value = self.metrics.get(name)
        if value is None or not math.isfinite(value):
            raise _MissingError
        return float(value)

    def numbers(self, name):
        """A metric of each latent dimension, `(latent_dim,)`, finite."""
        values = np.asarray(self.metrics.get(name, ()), np.float64)
        if not values.size or not np.isfinite(values).all():
            raise _MissingError
        return values

    def known(self, *names):
        """Those of the metrics that are there, by name; at least one."""
        found = {}
        for name in names:
            try:
                found[name] = self.number(name)
            except _MissingError:
                continue
        if not found:
            raise _MissingError
        return found

    def option(self, name, default=None):
        """An option of the run."""
        value = self.config.get(name)
        return default if value is None else value

    def epochs(self):
        """How many were run, or else asked for."""
        done = max((len(values) for values in self.history.values()), default=0)
        return done or self.option("epochs", 0)

    def goal(self, prefix=""):
        """What training raised, of each epoch from the end of the warm-up on, nats.

        The ELBO, or minus the loss where that is something else. Within a warm-up or cycles of
        beta neither says how training goes.
        """
        if self.option("kl_cycle_epochs"):
            raise _MissingError
        name = f"{prefix}elbo"
        if raises_elbo(self.config) and name in self.history:
            values = np.asarray(self.history[name], np.float64)
        else:
            values = -np.asarray(self.history.get(f"{prefix}loss", ()), np.float64)
        values = values[self.option("kl_warmup_epochs", 0) :]
        if len(values) < FEW_EPOCHS or not np.isfinite(values).all():
            raise _MissingError
        return values

    def held_out_goal(self):
        """The goal on the valid split, or where there is none on the train split."""
        try:
            return self.goal("val_"), "validation"
        except _MissingError:
            return self.goal(), "training"

    def frechet(self, *kinds):
        """The distances of the first feature that has all of them."""
        for feature in FEATURES:
            try:
                return feature, [self.number(f"{feature}_{kind}") for kind in kinds]
            except _MissingError:
                continue
        raise _MissingError

    def floor(self, feature):
        """How far other data are from the test rows: chance alone puts samples that far."""
        value = self.metrics.get(f"{feature}_floor")
        return value if value is not None and math.isfinite(value) else 0.0

    def fitted_sampler(self):
        """The sampler that the model has, or was to have; "none"."""
        fitted = self.metrics.get("sampler") or self.metrics.get("protocol", {}).get("sampler")
        return fitted or self.option("sampler", "none")


def _figure(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


# Training

_ELBO_PARTS = ("elbo_nats", "distortion_nats", "rate_nats")


def _not_finite(case):
    values = [value for series in case.history.values() for value in series]
    values += [case.metrics[name] for name in _ELBO_PARTS if case.metrics.get(name) is not None]
    if not values:
        raise _MissingError
    wrong = sum(not math.isfinite(value) for value in values)
    if not wrong:
        return None
    evidence = f"{wrong:,} of {len(values):,} figures are not finite numbers."
    return _Told("certain", evidence, _calmer(case))


def _fell(case):
    goal = case.goal()
    lost = goal[0] - goal[-1]
    if lost <= DIVERGED_PART * _scale(goal):
        return None
    evidence = (
        f"Training ended {_figure(lost)} nats below its {_first(case)} epoch, at "
        f"{_figure(goal[-1])} against {_figure(goal[0])}."
    )
    if _was_caught(case, goal):
        return _Told("possible", f"{evidence[:-1]}; the best epoch was kept.", _calmer(case))
    return _Told("likely", evidence, _calmer(case))


def _was_caught(case, goal):
    """Whether the ELBO is that of the best epoch rather than that of the last."""
    found = case.metrics.get("elbo_nats")
    if found is None or not raises_elbo(case.config):
        return False
    return abs(found - goal.max()) < abs(found - goal[-1])


def _jumped(case):
    goal = case.goal()
    drops = goal[:-1] - goal[1:]
    worst = int(drops.argmax())
    if drops[worst] <= max(SPIKE_PART * np.ptp(goal), LEAST_SPIKE * _scale(goal)):
        return None
    epoch = worst + 2 + case.option("kl_warmup_epochs", 0)
    evidence = (
        f"In epoch {epoch} the training figure fell by {_figure(drops[worst])} nats, "
        f"{drops[worst] / np.ptp(goal):.0%} of the whole way of the run."
    )
    return _Told("likely", evidence, _calmer(case))


def _calmer(case):
    options = [_smaller_rate(case)]
    if case.option("mixed_precision", "auto") != "off":
        options.append("--mixed-precision off")
    return _try([*options, *_slow_start(case)])


def _slow_start(case):
    """A warm-up, where it is allowed and there is none."""
    has_schedule = case.option("kl_warmup_epochs") or case.option("kl_cycle_epochs")
    if has_schedule or case.option("objective", "elbo") != "elbo":
        return []
    return ["--kl-warmup-epochs 10"]


def _smaller_rate(case):
    rate = case.option("learning_rate")
    return f"--learning-rate {rate / 3:.1g}" if rate else "a smaller --learning-rate"


def _first(case):
    return "first" if not case.option("kl_warmup_epochs") else "first full-beta"


def _scale(goal):
    """What a change of a figure is compared with; at least a nat, for it may be near 0."""
    return max(1.0, float(np.median(np.abs(goal))))


def _few_epochs(case):
    if not case.epochs() or _goes_on(case):
        raise _MissingError
    if case.epochs() >= FEW_EPOCHS:
        return None
    count = "1 epoch" if case.epochs() == 1 else f"{case.epochs()} epochs"
    evidence = f"Training took {count}, too few to see whether it had settled."
    return _Told(_hardly_trained(case), evidence, "Try --epochs 20 or more.")


def _hardly_trained(case):
    """How sure it is that little training was too little."""
    try:
        return "possible" if _only_the_mean(case) is None else "likely"
    except _MissingError:
        return "possible"


def _warm_up_unfinished(case):
    cycle = case.option("kl_cycle_epochs", 0)
    warmup = case.option("kl_warmup_epochs", 0) or cycle / 2
    if not case.epochs() or _goes_on(case):
        raise _MissingError
    if warmup < case.epochs():
        return None
    evidence = (
        f"The weight of the rate was to rise over {warmup:g} epochs, and training ended after "
        f"{case.epochs()}: the model was never trained with its beta."
    )
    flag = "--kl-cycle-epochs" if cycle else "--kl-warmup-epochs"
    return _Told("certain", evidence, f"Try --epochs {math.ceil(3 * warmup)} or less {flag}.")


def _slow_rate(case):
    """A rate that falls to nothing hides that the figures would still rise."""
    rate = case.option("learning_rate")
    if not rate:
        raise _MissingError
    if rate > VERY_SLOW_LEARNING_RATE:
        return None
    evidence = f"The learning rate of {rate:g} is little for Adam: it may not have got far."
    advice = f"Try --learning-rate {100 * rate:.1g} or more --epochs."
    return _Told(_hardly_trained(case), evidence, advice)


def _still_rising(case):
    goal, split = case.held_out_goal()
    if _goes_on(case):
        raise _MissingError
    count = len(goal)
    window = max(3, math.ceil(count / 5))
    tail = goal[-window:]
    steps = np.arange(window)
    slope, start = np.polyfit(steps, tail, 1)
    rise, noise = slope * (window - 1), (tail - (start + slope * steps)).std()
    ahead, gained = slope * count / 5, goal.max() - goal[0]
    least = max(RISING_NOISE * noise, LEAST_PART * _scale(goal))
    is_new = tail[-1] > goal[:-window].max()
    if not is_new or rise <= least or ahead <= RISING_PART * gained:
        return None
    evidence = (
        f"The {split} figure still rose by {_figure(slope)} nats an epoch over the last {window}: "
        f"a fifth more epochs would add {ahead / gained:.0%} of all that was gained."
    )
    options = [f"--epochs {2 * case.epochs()}"]
    rate = case.option("learning_rate")
    if rate and rate <= SLOW_LEARNING_RATE:
        options.append(f"--learning-rate {10 * rate:.1g} ({rate:g} is little)")
    return _Told("likely", evidence, _try(options))


def _goes_on(case):
    """Whether the history ends before the run does."""
    return bool(case.history) and case.epochs() < case.option("epochs", 0)


def _train_far_above_test(case):
    train, test = case.number("train_elbo_nats"), case.number("elbo_nats")
    own = case.number("elbo_nats_stderr")
    stderr = math.hypot(own, case.metrics.get("train_elbo_nats_stderr", own))
    gap = train - test
    if gap <= max(OVERFIT_STDERRS * stderr, OVERFIT_PART * case.number("rate_nats")):
        return None
    errors = [case.metrics.get(f"{name}reconstruction_mse") for name in ("", "train_")]
    # One variance for all: then the error is all that can be overfitted.
    plain = case.option("likelihood") == "gaussian" and (
        _fixed_variance(case) or case.option("variance") in ("shared", "optimal", "per-channel")
    )
    ratio = errors[0] / errors[1] if plain and None not in errors and errors[1] else None
    if ratio is not None and ratio <= OVERFIT_ERROR:
        return None
    evidence = (
        f"The ELBO of training rows is {_figure(gap)} nats above that of new rows "
        f"({_figure(train)} against {_figure(test)}), more than {OVERFIT_STDERRS:g} standard "
        "errors."
    )
    if ratio is not None:
        evidence = f"{evidence[:-1]}, and the error of new rows {ratio:.2g} times that of those."
    sure = "possible" if ratio is not None and ratio <= SURELY_OVERFIT_ERROR else "certain"
    return _Told(sure, evidence, _try(_less_capacity(case)))


def _peak_long_past(case):
    held_out, train = case.goal("val_"), case.goal()
    if len(held_out) != len(train):
        raise _MissingError
    best, count = int(held_out.argmax()), len(held_out)
    lost = held_out[best] - held_out[-3:].mean()
    if best + 1 > PEAK_BEFORE * count or train[-1] <= train[best]:
        return None
    gained = held_out[best] - held_out[0]
    noise = np.diff(held_out[best:]).std() / math.sqrt(2.0)
    if lost <= max(LOST_PART * gained, LEAST_PART * _scale(held_out), PEAK_NOISE * noise):
        return None
    epoch = best + 1 + case.option("kl_warmup_epochs", 0)
    evidence = (
        f"Validation was best in epoch {epoch} of {case.epochs()} and then lost "
        f"{_figure(lost)} nats, while training gained {_figure(train[-1] - train[best])}."
    )
    if _is_not_overfitted(case):
        advice = f"Try --epochs {epoch}: it takes less time."
        return _Told("possible", f"{evidence[:-1]}; the weights are not overfitted.", advice)
    return _Told("likely", evidence, _try([f"--epochs {epoch}", *_less_capacity(case)]))


def _is_not_overfitted(case):
    """Whether training rows were measured, and are hardly likelier than new ones.

    A history may end in overfitting all the same: train.py keeps the best epoch's weights.
    """
    try:
        return _train_far_above_test(case) is None
    except _MissingError:
        return False


def _less_capacity(case):
    options = ["more training data"]
    if case.option("network", "") == "mlp":
        options.append("smaller --hidden-units")
    elif not case.option("flip"):
        options.append("--flip (if mirrored images are as good)")
    return [*options, "a smaller --latent-dim"]


# Reconstructions and the rate


def _no_active_unit(case):
    active, dim = case.number("active_units"), case.number("latent_dim")
    if active > 0:
        return None
    evidence = f"None of {dim:.0f} latent dimensions is active{_for_beta(case)}."
    return _Told("certain", evidence, _try(_awaken(case)))


def _no_rate(case):
    rate = case.number("rate_nats")
    if rate >= COLLAPSED_NATS:
        return None
    evidence = f"The rate is {rate:.3g} nats: z tells nothing about x{_for_beta(case)}."
    return _Told("certain", evidence, _try(_awaken(case)))


def _awaken(case):
    # An encoder that has hardly been trained says nothing either.
    more = ["--epochs 20"] if 0 < case.epochs() < FEW_EPOCHS else []
    return [*more, *_more_rate(case), _smaller_rate(case)]


def _for_beta(case):
    beta = case.option("beta", 1)
    return f", because beta {beta:g} makes every nat cost {beta:g}" if beta > BETA_OFF else ""


def _more_rate(case):
    """Options that let more through the latent space."""
    options = []
    if case.option("beta", 1) > 1:
        options.append("--beta 1")
    if _fixed_variance(case):
        options.append(f"--variance {_learned(case)}")
    options += _slow_start(case)
    if _takes_free_bits(case) and not case.option("free_bits"):
        options.append("--free-bits 0.1")
    return options


def _takes_free_bits(case):
    """Whether the rate is a sum over dimensions."""
    return (
        case.option("posterior", "diagonal") == "diagonal"
        and case.option("prior") == "standard_normal"
        and case.option("objective", "elbo") == "elbo"
    )


def _fixed_variance(case):
    """The number that --variance is, or None."""
    variance = case.option("variance")
    is_read = case.option("likelihood", "gaussian") == "gaussian"
    return variance if is_read and isinstance(variance, int | float) else None


def _only_the_mean(case):
    psnr, constant = case.number("psnr_db"), case.number("constant_psnr_db")
    if psnr - constant >= MEAN_IMAGE_DB:
        return None
    evidence = f"Reconstructions reach {psnr:.2f} dB, the mean image alone {constant:.2f} dB"
    advice = _try([*_more_rate(case), "more --epochs"])
    rate = case.known("psnr_db", "rate_nats").get("rate_nats", 0.0)
    if rate < TOLD_NATS:
        return _Told("certain", f"{evidence}: nothing of an image comes back.", advice)
    evidence += f", though z carries {_figure(rate)} nats: hardly anything of an image comes back."
    return _Told("likely", evidence, advice)


def _beta(case):
    beta = case.option("beta")
    if beta is None:
        raise _MissingError
    if 1 / BETA_OFF <= beta <= BETA_OFF:
        return None
    counts = f"Beta is {beta:g}: the loss counts the rate {beta:g} times"
    try:
        rate, distortion = case.number("rate_nats"), case.number("distortion_nats")
        counts += f" ({beta:g} x {_figure(rate)} nats beside a distortion of {_figure(distortion)})"
    except _MissingError:
        pass
    effect = (
        "which is why little is let through z and details are lost"
        if beta > 1
        else "which is why posteriors may stray from the prior, whose draws then decode badly"
    )
    advice = "Try --beta 1"
    variance = _fixed_variance(case)
    if variance and beta:
        advice += f"; --beta 1 --variance {beta * variance:.3g} trains the same means as now"
    return _Told("certain", f"{counts}, {effect}.", f"{advice}.")


def _variance_too_large(case):
    ratio = _variance_ratio(case)
    if ratio <= VARIANCE_OFF:
        return None
    evidence = (
        f"The decoder believes its squared error {ratio:.1f} times as large as it is: details pay "
        "less than they cost, so outputs are blurry and the rate is low."
    )
    sure = "certain" if ratio > VARIANCE_FAR_OFF else "likely"
    return _Told(sure, evidence, _calibrate(case, ratio, [f"--epochs {2 * case.epochs() or 50}"]))


def _variance_too_small(case):
    ratio = _variance_ratio(case)
    if ratio >= 1 / VARIANCE_OFF:
        return None
    evidence = (
        f"The true squared error is {1 / ratio:.1f} times what the decoder believes: noise is paid "
        "for as if it were detail, and the rate is high."
    )
    sure = "certain" if ratio < 1 / VARIANCE_FAR_OFF else "likely"
    return _Told(sure, evidence, _calibrate(case, ratio, _less_capacity(case)))


def _variance_ratio(case):
    ratio = case.number("variance_ratio")
    if case.option("likelihood", "gaussian") != "gaussian" or ratio <= 0:
        raise _MissingError
    return ratio


def _calibrate(case, ratio, otherwise):
    """Options that bring the variance to the error; a learned one is off for another reason."""
    fixed = _fixed_variance(case)
    if fixed:
        learned = _learned(case)
        return f"Try --variance {learned}, or --variance {fixed / ratio:.2g} in place of {fixed:g}."
    moved = case.option("variance") in ("shared", "per-channel", "per-feature")
    better = moved and _learned(case) == "optimal"
    return _try(["--variance optimal", *otherwise] if better else otherwise)


def _learned(case):
    """A calibrated variance that the objective can have."""
    return "shared" if case.option("objective") == "iwae" else "optimal"


# Samples


def _memorised(case):
    names = [f"memorised_fraction_{kind}" for kind in ("sampler", "prior")]
    found = case.known(*names)
    worst = max(found, key=lambda name: found[name])
    evidence = (
        f"{found[worst]:.1%} of the {worst.rpartition('_')[2]}'s samples lie nearer to a training "
        "row than new data do; 1% is expected."
    )
    advice = _try([*_less_capacity(case), "fewer --epochs"])
    if found[worst] > MEMORISED:
        return _Told("certain" if found[worst] > SURELY_MEMORISED else "likely", evidence, advice)
    seen = case.known(*names, "nearest_train_share", "memorised_fraction_stderr")
    share, error = seen.get("nearest_train_share", 1.0), seen.get("memorised_fraction_stderr", 0.0)
    # A copy of a row that was not looked at seems new: of a tenth of the rows a tenth is seen.
    excess = found[worst] - CLOSE_QUANTILE
    if excess <= max((MEMORISED - CLOSE_QUANTILE) * share, MEMORISED_STDERRS * error):
        return None
    evidence += f" Only {share:.1%} of the training rows were looked at."
    return _Told("possible", evidence, advice)


def _gap_in_nats(case):
    rate = case.number("rate_nats")
    gaps = case.known("prior_gap_nats", "prior_moments_kl_nats")
    gap = next(iter(gaps.values()))
    if gap <= max(PRIOR_GAP_NATS, PRIOR_GAP_PART * rate):
        return None
    evidence = (
        f"The posteriors together are {gap:.1f} nats or more from the prior, of a rate of "
        f"{rate:.1f}: draws from the prior fall where the decoder was not trained."
    )
    return _bridged(case, evidence)


def _gap_not_finite(case):
    wrong = case.number("not_finite_samples_prior")
    if not wrong:
        return None
    told = _bridged(case, f"{wrong:.0f} of the prior's samples are not finite.")
    return told._replace(sure="certain") if case.fitted_sampler() == "none" else told


def _gap_in_samples(case):
    feature, (prior, best) = case.frechet("prior", "reconstructions")
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
        return _Told("likely", evidence, _try(options))
    advice = (
        "The sampler that generate draws from bridges it (--sampler auto takes the best one); "
        "--prior vamp or --prior flow would narrow it in training."
    )
    return _Told("possible", evidence, advice)


def _not_fitted(case):
    wanted = case.option("sampler", "none")
    # "auto" may have found that none is needed.
    if wanted in ("none", "auto"):
        raise _MissingError
    if case.fitted_sampler() != "none":
        return None
    evidence = f"--sampler {wanted} was asked for, but its fit failed: the model has none."
    return _Told("certain", evidence, _try(["--sampler auto", "a smaller --latent-dim"]))


def _not_finite_samples(case):
    wrong = case.number("not_finite_samples_sampler")
    if not wrong:
        return None
    evidence = f"{wrong:.0f} of the sampler's samples are not finite."
    return _Told("certain", evidence, _other_sampler(case))


def _no_help(case):
    feature, (sampler, prior, best) = case.frechet("sampler", "prior", "reconstructions")
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
    return _Told("likely", evidence, _other_sampler(case))


def _harms(case):
    feature, (sampler, prior) = case.frechet("sampler", "prior")
    if sampler <= SAMPLER_HARMS * prior:
        return None
    evidence = (
        f"The sampler's samples are farther from the data than the prior's ({feature} "
        f"{sampler:.4g} against {prior:.4g})."
    )
    return _Told("certain", evidence, _other_sampler(case))


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
    return _Told(sure, evidence, _other_sampler(case))


def _beats_prior(case):
    """Whether the sampler's samples are nearer to the data than the prior's."""
    try:
        _, (sampler, prior) = case.frechet("sampler", "prior")
    except _MissingError:
        return False
    return sampler < prior


def _other_sampler(case):
    options = ["--sampler auto"] if case.option("sampler") != "auto" else []
    options += [] if _beats_prior(case) else ["--sampler none"]
    return _try([*options, "a smaller --latent-dim, whose density is easier"])


# Use of the latent space


def _few_by_rate(case):
    rates = np.maximum(case.numbers("rate_per_dim_nats"), 0.0)
    if not np.square(rates).sum():
        return None
    effective = rates.sum() ** 2 / np.square(rates).sum()
    return _few(case, effective, len(rates), "(participation ratio of their rates)")


def _few_active(case):
    return _few(case, case.number("active_units"), case.number("latent_dim"), "(active units)")


def _few(case, used, dim, how):
    if used > FEW_PART * dim:
        return None
    evidence = f"About {used:.2g} of {dim:.0f} latent dimensions do nearly all the work {how}."
    sure = "likely" if used <= VERY_FEW_PART * dim else "possible"
    smaller = f"--latent-dim {max(2, math.ceil(2 * used))} (if the data need no more)"
    return _Told(sure, evidence, _try([smaller, *_more_rate(case)]))


def _full(case):
    fractions = case.numbers("active_fraction_per_dim")
    gain = case.number("psnr_db") - case.number("constant_psnr_db")
    if fractions.min() < FULL_FRACTION or gain >= FULL_GAIN_DB:
        return None
    dim = len(fractions)
    evidence = (
        f"All {dim} latent dimensions are in full use (the least by {fractions.min():.0%}), and "
        f"reconstructions are only {max(0.0, gain):.1f} dB better than the mean image."
    )
    sure = "likely" if dim <= TINY_DIM else "possible"
    return _Told(sure, evidence, f"Try --latent-dim {4 * dim if dim <= TINY_DIM else 2 * dim}.")


def _try(options):
    *first, last = options
    return f"Try {', '.join(first)} or {last}." if first else f"Try {last}."


_CHECKS: tuple[tuple[str, Callable[[_Case], _Told | None]], ...] = (
    ("diverged", _not_finite),
    ("diverged", _fell),
    ("posterior collapse", _no_active_unit),
    ("posterior collapse", _no_rate),
    ("no better than the mean", _only_the_mean),
    ("memorisation", _memorised),
    ("overfitting", _train_far_above_test),
    ("overfitting", _peak_long_past),
    ("training too short", _warm_up_unfinished),
    ("training too short", _still_rising),
    ("training too short", _few_epochs),
    ("training too short", _slow_rate),
    ("beta far from 1", _beta),
    ("variance too large", _variance_too_large),
    ("variance too small", _variance_too_small),
    ("dead sampler", _not_fitted),
    ("dead sampler", _not_finite_samples),
    ("dead sampler", _harms),
    ("dead sampler", _no_help),
    ("dead sampler", _covers_less),
    ("prior gap", _gap_in_nats),
    ("prior gap", _gap_not_finite),
    ("prior gap", _gap_in_samples),
    ("prior gap", _gap_to_sampler),
    ("unstable training", _jumped),
    ("few units", _few_by_rate),
    ("few units", _few_active),
    ("latent space too small", _full),
)
