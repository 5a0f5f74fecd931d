"""Checks of how training went, from its history and from the rows that it saw."""

import math

import numpy as np

from kvae.evaluation.doctor.advice import (
    HIGH_LEARNING_RATE,
    SCALE_FAR_OFF,
    fixed_variance,
    less_capacity,
    out_of_range,
    scale_is_off,
    slow_start,
    smaller_rate,
    try_one_of,
)
from kvae.evaluation.doctor.case import FEW_EPOCHS, MissingError, Told, figure
from kvae.evaluation.doctor.reconstructions import only_the_mean
from kvae.objectives import raises_elbo

OVERFIT_STDERRS = 5.0  # of the difference: beyond any chance
OVERFIT_PART = 0.1  # of the rate; every model knows its training rows a little better
OVERFIT_ERROR, SURELY_OVERFIT_ERROR = 1.25, 1.6  # times the error of training rows: of a thousand
# rows a model is best on new ones where it knows its own by a quarter better
PEAK_BEFORE = 0.6  # of the run; a peak after that is how training should end
LOST_PART = 0.05  # of all that was gained: more than validation wavers by
PEAK_NOISE = 4.0  # standard deviations: the best of fifty values lies over two above their mean
LEAST_PART = 0.001  # of the figure itself, or noise about a flat line would count
RISING_PART = 0.05  # of all that was gained, which a fifth more epochs would add
RISING_NOISE = 2.0  # standard deviations about the line: else the slope may be chance
SLOW_LEARNING_RATE = 1e-4  # of Adam: a tenth of its own default
VERY_SLOW_LEARNING_RATE = 2e-5  # no recipe of a VAE from scratch goes so low
DIVERGED_PART = 0.1  # of the figure itself, below its first epoch
SPIKE_PART, LEAST_SPIKE = 0.2, 0.01  # of the whole way, and of the figure itself, in one epoch
VERY_HIGH_LEARNING_RATE = 0.5  # several times what weights are
CLIP_NORM = 100  # Adam takes no notice of a bound that all steps meet: it ends rare large ones
LITTLE_LEARNED = 0.25  # of epochs: the best one lies in the first quarter
_ADAPTIVE = ("adam", "adamw", "nadam", "adamax")
_ELBO_PARTS = ("elbo_nats_prior", "distortion_nats_posterior", "rate_nats_prior")


def _not_finite(case):
    values = [value for series in case.history.values() for value in series]
    values += [case.metrics[name] for name in _ELBO_PARTS if case.metrics.get(name) is not None]
    if not values:
        raise MissingError
    wrong = sum(not math.isfinite(value) for value in values)
    if not wrong:
        return None
    evidence = f"{wrong:,} of {len(values):,} figures are not finite numbers."
    return Told("certain", evidence, _calmer(case))


def _fell(case):
    goal = case.goal()
    lost = goal[0] - goal[-1]
    if lost <= DIVERGED_PART * _size(goal):
        return None
    evidence = (
        f"Training ended {figure(lost)} nats below its {_first(case)} epoch, at "
        f"{figure(goal[-1])} against {figure(goal[0])}."
    )
    if _was_caught(case, goal):
        return Told("possible", f"{evidence[:-1]}; the best epoch was kept.", _calmer(case))
    return Told("likely", evidence, _calmer(case))


def _was_caught(case, goal):
    """Whether the ELBO is that of the best epoch rather than that of the last."""
    found = case.metrics.get("elbo_nats_prior")
    if found is None or not raises_elbo(case.config):
        return False
    return abs(found - goal.max()) < abs(found - goal[-1])


def _high_rate(case):
    """The rate is known: whether it is too high shows in what came of it."""
    rate = case.option("learning_rate")
    if not rate or case.option("optimizer", "adam") not in _ADAPTIVE:
        raise MissingError
    # What is out of range leaves no rate to blame, but for one that no training survives.
    if rate <= HIGH_LEARNING_RATE or out_of_range(case):
        return None
    evidence = f"The learning rate of {rate:g} is high for Adam"
    options = [f"--learning-rate {1e-3 if rate > VERY_HIGH_LEARNING_RATE else rate / 10:.1g}"]
    worse = _what_a_high_rate_does(case)
    if worse is None and rate <= VERY_HIGH_LEARNING_RATE:
        return None
    sure = "certain" if worse and rate > VERY_HIGH_LEARNING_RATE else "likely"
    return Told(sure, f"{evidence}{worse or ''}.", try_one_of(options))


def _what_a_high_rate_does(case):
    """Its sign in the figures, in words; None where there is none."""
    values = [value for series in case.history.values() for value in series]
    if not all(map(math.isfinite, values)):
        return ", and the figures stopped being finite"
    try:
        goal, _ = case.held_out_goal()
    except MissingError:
        goal = None
    if goal is not None and int(goal.argmax()) < LITTLE_LEARNED * len(goal):
        return f", and no epoch after number {int(goal.argmax()) + 1} was better than it"
    for check in (_fell, _jumped, only_the_mean):
        try:
            if check(case) is not None:
                return ", and training went wrong from there"
        except MissingError:
            continue
    active = case.metrics.get("active_units_posterior")
    return ", and no latent dimension is in use" if active == 0 else None


def _scale(case):
    """Data that no network's start is made for."""
    rms = case.number("rms_x")
    if not scale_is_off(case):
        return None
    far = rms > SCALE_FAR_OFF or rms < 1 / SCALE_FAR_OFF
    evidence = (
        f"The values that the networks see are about {rms:.2g} in size, and they start for values "
        "about 1."
    )
    return Told("certain" if far else "likely", evidence, "Try --standardize.")


def _jumped(case):
    goal = case.goal()
    drops = goal[:-1] - goal[1:]
    worst = int(drops.argmax())
    if drops[worst] <= max(SPIKE_PART * np.ptp(goal), LEAST_SPIKE * _size(goal)):
        return None
    epoch = worst + 2 + case.option("kl_warmup_epochs", 0)
    evidence = (
        f"In epoch {epoch} the training figure fell by {figure(drops[worst])} nats, "
        f"{drops[worst] / np.ptp(goal):.0%} of the whole way of the run."
    )
    return Told("likely", evidence, _calmer(case))


def _calmer(case):
    causes = out_of_range(case)
    if causes:
        return try_one_of(causes)
    options = [smaller_rate(case)]
    if case.option("mixed_precision", "auto") != "off":
        options.append("--mixed-precision off")
    if not case.option("clip_norm"):
        options.append(f"--clip-norm {CLIP_NORM:g}")
    return try_one_of([*options, *slow_start(case)])


def _first(case):
    return "first" if not case.option("kl_warmup_epochs") else "first full-beta"


def _size(goal):
    """What a change of a figure is compared with; at least a nat, for it may be near 0."""
    return max(1.0, float(np.median(np.abs(goal))))


def _few_epochs(case):
    if not case.epochs() or _goes_on(case):
        raise MissingError
    if case.epochs() >= FEW_EPOCHS:
        return None
    count = "1 epoch" if case.epochs() == 1 else f"{case.epochs()} epochs"
    evidence = f"Training took {count}, too few to see whether it had settled."
    return Told(_hardly_trained(case), evidence, "Try --epochs 20 or more.")


def _hardly_trained(case):
    """How sure it is that little training was too little."""
    try:
        return "possible" if only_the_mean(case) is None else "likely"
    except MissingError:
        return "possible"


def _warm_up_unfinished(case):
    cycle = case.option("kl_cycle_epochs", 0)
    warmup = case.option("kl_warmup_epochs", 0) or cycle / 2
    if not case.epochs() or _goes_on(case):
        raise MissingError
    if warmup < case.epochs():
        return None
    evidence = (
        f"The weight of the rate was to rise over {warmup:g} epochs, and training ended after "
        f"{case.epochs()}: the model was never trained with its beta."
    )
    flag = "--kl-cycle-epochs" if cycle else "--kl-warmup-epochs"
    return Told("certain", evidence, f"Try --epochs {math.ceil(3 * warmup)} or less {flag}.")


def _slow_rate(case):
    """A rate that falls to nothing hides that the figures would still rise."""
    rate = case.option("learning_rate")
    if not rate:
        raise MissingError
    if rate > VERY_SLOW_LEARNING_RATE:
        return None
    evidence = f"The learning rate of {rate:g} is little for Adam: it may not have got far."
    advice = f"Try --learning-rate {100 * rate:.1g} or more --epochs."
    return Told(_hardly_trained(case), evidence, advice)


def _still_rising(case):
    goal, split = case.held_out_goal()
    if _goes_on(case):
        raise MissingError
    count = len(goal)
    window = max(3, math.ceil(count / 5))
    tail = goal[-window:]
    is_new = tail[-1] > goal[:-window].max()
    slope, noise = _line(tail)
    rise, gained = slope * (window - 1), goal.max() - goal[0]
    # Where the learning rate has fallen the curve bends: what is ahead is told by its end.
    last = _line(tail[-max(3, math.ceil(window / 2)) :])[0]
    ahead = min(min(slope, last) * count / 5, _left(case))
    least = max(RISING_NOISE * noise, LEAST_PART * _size(goal))
    if not is_new or rise <= least or ahead <= RISING_PART * gained:
        return None
    evidence = (
        f"The {split} figure still rose by {figure(slope)} nats an epoch over the last {window}: "
        f"a fifth more epochs would add {ahead / gained:.0%} of all that was gained."
    )
    options = [f"--epochs {2 * case.epochs()}"]
    rate = case.option("learning_rate")
    if rate and rate <= SLOW_LEARNING_RATE:
        options.append(f"--learning-rate {10 * rate:.1g} ({rate:g} is little)")
    return Told("likely", evidence, try_one_of(options))


def _line(values):
    """The slope of the line through values, and their standard deviation about it."""
    steps = np.arange(len(values))
    slope, start = np.polyfit(steps, values, 1)
    return slope, (values - (start + slope * steps)).std()


def _left(case):
    """How far the ELBO can rise at most, nats: up to the truth, where that is known."""
    try:
        return case.number("true_log_density_nats_test") - case.number("elbo_nats_prior")
    except MissingError:
        return math.inf


def _goes_on(case):
    """Whether the history ends before the run does."""
    return bool(case.history) and case.epochs() < case.option("epochs", 0)


def _train_far_above_test(case):
    train, test = case.number("elbo_nats_prior_train"), case.number("elbo_nats_prior")
    own = case.number("elbo_nats_prior_stderr")
    stderr = math.hypot(own, case.metrics.get("elbo_nats_prior_train_stderr", own))
    gap = train - test
    if gap <= max(OVERFIT_STDERRS * stderr, OVERFIT_PART * case.number("rate_nats_prior")):
        return None
    errors = [case.metrics.get(f"mse_reconstruction{split}") for split in ("", "_train")]
    # One variance for all: then the error is all that can be overfitted.
    plain = case.option("likelihood") == "gaussian" and (
        fixed_variance(case) or case.option("variance") in ("shared", "optimal", "per-channel")
    )
    ratio = errors[0] / errors[1] if plain and None not in errors and errors[1] else None
    if ratio is not None and ratio <= OVERFIT_ERROR:
        return None
    evidence = (
        f"The ELBO of training rows is {figure(gap)} nats above that of new rows "
        f"({figure(train)} against {figure(test)}), more than {OVERFIT_STDERRS:g} standard "
        "errors."
    )
    if ratio is not None:
        evidence = f"{evidence[:-1]}, and the error of new rows {ratio:.2g} times that of those."
    sure = "possible" if ratio is not None and ratio <= SURELY_OVERFIT_ERROR else "certain"
    return Told(sure, evidence, try_one_of(less_capacity(case)))


def _peak_long_past(case):
    held_out, train = case.goal("val_"), case.goal()
    if len(held_out) != len(train):
        raise MissingError
    best, count = int(held_out.argmax()), len(held_out)
    lost = held_out[best] - held_out[-3:].mean()
    if best + 1 > PEAK_BEFORE * count or train[-1] <= train[best]:
        return None
    gained = held_out[best] - held_out[0]
    noise = np.diff(held_out[best:]).std() / math.sqrt(2.0)
    if lost <= max(LOST_PART * gained, LEAST_PART * _size(held_out), PEAK_NOISE * noise):
        return None
    epoch = best + 1 + case.option("kl_warmup_epochs", 0)
    evidence = (
        f"Validation was best in epoch {epoch} of {case.epochs()} and then lost "
        f"{figure(lost)} nats, while training gained {figure(train[-1] - train[best])}."
    )
    if _is_not_overfitted(case):
        advice = f"Try --epochs {epoch}: it takes less time."
        return Told("possible", f"{evidence[:-1]}; the weights are not overfitted.", advice)
    return Told("likely", evidence, try_one_of([f"--epochs {epoch}", *less_capacity(case)]))


def _is_not_overfitted(case):
    """Whether training rows were measured, and are hardly likelier than new ones.

    A history may end in overfitting all the same: train.py keeps the best epoch's weights.
    """
    try:
        return _train_far_above_test(case) is None
    except MissingError:
        return False


#: Problem -> check; the surest of a problem's counts.
CHECKS = (
    ("learning rate too high", _high_rate),
    ("data out of range", _scale),
    ("diverged", _not_finite),
    ("diverged", _fell),
    ("overfitting", _train_far_above_test),
    ("overfitting", _peak_long_past),
    ("training too short", _warm_up_unfinished),
    ("training too short", _still_rising),
    ("training too short", _few_epochs),
    ("training too short", _slow_rate),
    ("unstable training", _jumped),
)
