"""Which options may help."""


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
