"""Which options may help."""

from kvae.likelihoods import LIKELIHOODS, facts

VARIANCE_TINY = 1e-6  # of data of unit scale: float32's own rounding of them
BETA_HUGE = 1e3  # a thousandth of a nat costs a nat
SCALE_OFF, SCALE_FAR_OFF = 1e3, 1e6  # times 1 either way: networks start for inputs about 1
HIGH_LEARNING_RATE = 0.03  # of Adam, whose steps are about that in every weight: weights are 0.1
NATS_OFF = 1e12  # no data of unit scale under a variance of theirs come near


def slow_start(case):
    """A warm-up, where it is allowed and there is none."""
    has_schedule = case.option("kl_warmup_epochs") or case.option("kl_cycle_epochs")
    if has_schedule or case.option("objective", "elbo") != "elbo":
        return []
    return ["--kl-warmup-epochs 10"]


def smaller_rate(case):
    """A third of the learning rate, where that is known."""
    rate = case.option("learning_rate")
    return f"--learning-rate {rate / 3:.1g}" if rate else "a smaller --learning-rate"


def out_of_range(case):
    """What puts the loss out of a range that any learning rate could cope with, as advice.

    Args:
        case: metrics `rms_x` of the data in the decoder's units, the options, and the history.
    """
    options = []
    if case.option("beta", 1) > BETA_HUGE:
        options.append(f"--beta 1 (in place of {case.option('beta'):g})")
    variance = fixed_variance(case)
    if variance and variance < VARIANCE_TINY:
        options.append(f"--variance {learned_variance(case)} (in place of {variance:g})")
    rescaled = "--standardize (or data of a scale about 1)"
    if not can_standardize(case):
        rescaled = "data of a scale about 1"
    if scale_is_off(case):
        options.append(rescaled)
    if not options and "rms_x" not in case.metrics and _has_huge_figures(case):
        options += [rescaled, "a larger --variance"]
    return options


def scale_is_off(case):
    """Whether x, as the networks see it, is of another order than 1."""
    rms = case.metrics.get("rms_x")
    return rms is not None and rms > 0 and not 1 / SCALE_OFF <= rms <= SCALE_OFF


def can_standardize(case):
    """Whether --standardize may be given, and is not."""
    likelihood = case.option("likelihood", "gaussian")
    takes_it = likelihood in LIKELIHOODS and facts(likelihood).standardizes
    return takes_it and case.option("standardize") is False


def _has_huge_figures(case):
    """Whether they were far out after one epoch, and not by the steps' size."""
    if case.option("learning_rate", 0) > HIGH_LEARNING_RATE:
        return False
    first = [values[0] for values in case.history.values() if len(values)]
    return any(abs(value) > NATS_OFF for value in first if value == value)


def better_density(case):
    """What brings samples nearer to the data: what the numbers and options leave to blame."""
    options = []
    ratio, variance = case.metrics.get("variance_ratio_draw"), fixed_variance(case)
    if ratio and variance and not 0.5 <= ratio <= 2.0:
        options.append(f"--variance {learned_variance(case)}")
    if case.option("linear_path") is False:
        options.append("--linear-path")
    if can_standardize(case) and case.option("network") == "mlp":
        options.append("--standardize")
    if case.fitted_sampler() == "none":
        options.append("--sampler auto")
    if case.option("prior") == "standard_normal":
        options.append("--prior mixture")
    components = case.option("prior_components")
    if components and case.option("prior") == "mixture":
        options.append(f"--prior-components {2 * components}")
    return [*options, "a larger --latent-dim", f"--epochs {2 * case.epochs() or 50}"]


def less_capacity(case):
    """What keeps a model from learning its training rows by heart."""
    options = ["more training data"]
    if case.option("network", "") == "mlp":
        options.append("smaller --hidden-units")
    elif not case.option("flip"):
        options.append("--flip (if mirrored images are as good)")
    return [*options, "a smaller --latent-dim"]


def more_rate(case):
    """Options that let more through the latent space."""
    options = []
    if case.option("beta", 1) > 1:
        options.append("--beta 1")
    if fixed_variance(case):
        options.append(f"--variance {learned_variance(case)}")
    options += slow_start(case)
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


def fixed_variance(case):
    """The number that --variance is, or None."""
    variance = case.option("variance")
    is_read = case.option("likelihood", "gaussian") == "gaussian"
    return variance if is_read and isinstance(variance, int | float) else None


def learned_variance(case):
    """A calibrated variance that the objective can have."""
    return "shared" if case.option("objective") == "iwae" else "optimal"


def try_one_of(options):
    """A sentence of advice, of one option or more."""
    *first, last = options
    return f"Try {', '.join(first)} or {last}." if first else f"Try {last}."
