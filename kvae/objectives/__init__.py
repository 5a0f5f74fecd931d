"""What training minimises: one file each, listed in OBJECTIVES."""

from kvae.errors import UsageError


def check_elbo(free_bits=0.0, tc_weight=1.0, *, posterior="diagonal", prior="standard_normal"):
    """Refuse regularisers that the chosen parts have no formula for.

    Args:
        free_bits: nats a dimension, at least 0.
        tc_weight: at least 0.
        posterior: a key of `kvae.posteriors.POSTERIORS`.
        prior: a key of `kvae.priors.PRIORS`.

    Raises:
        UsageError: they do not go together.
    """
    if not (free_bits >= 0 and tc_weight >= 0):
        raise UsageError(
            "free bits and a weight of the total correlation are at least 0, received "
            f"{free_bits} and {tc_weight}"
        )
    # Only there are the dimensions of the prior independent, so that either is a part of the rate.
    counted = (posterior, prior) == ("diagonal", "standard_normal")
    for what, given in (
        ("free bits", free_bits),
        ("a weight of the total correlation", tc_weight != 1),
    ):
        if given and not counted:
            raise UsageError(
                f"{what}: for the posterior 'diagonal' and the prior 'standard_normal' alone, "
                f"received {posterior!r} and {prior!r}"
            )


def check_iwae(*, updates_variance):
    """Refuse the variance that needs one draw a row.

    Args:
        updates_variance: whether training steps set the likelihood's variance.

    Raises:
        UsageError: they do.
    """
    if updates_variance:
        raise UsageError(
            "the variance 'optimal' is that of one draw a row: it goes with the objective 'elbo'; "
            "several draws have another best variance, which 'shared' learns"
        )
