"""What training raises: one member for each objective, listed in OBJECTIVES.

What goes with what is said here too, for the command line and for Python alike.
"""

from typing import Any

from kvae.errors import UsageError
from kvae.options import COUNT, NOT_NEGATIVE, POSITIVE_COUNT, Option
from kvae.registry import Member

BETA = Option("beta", 1.0, "weight of the rate (1: the ELBO)", NOT_NEGATIVE, metavar="X")
KL_WARMUP = Option(
    "kl_warmup_epochs", 0, "epochs over which that weight rises from 0", COUNT, metavar="EPOCHS",
    steps_name="kl_warmup_steps",
)  # fmt: skip
KL_CYCLE = Option(
    "kl_cycle_epochs", 0,
    "epochs of a cycle: the weight rises anew from 0 over each cycle's first half", COUNT,
    metavar="EPOCHS", steps_name="kl_cycle_steps",
)  # fmt: skip
FREE_BITS = Option(
    "free_bits", 0.0, "nats that each latent dimension may carry for nothing", NOT_NEGATIVE,
    metavar="NATS",
)  # fmt: skip
TC_WEIGHT = Option(
    "tc_weight", 1.0,
    "weight of the total correlation within the rate (beta-TCVAE; 1: the ELBO's; with --prior "
    "standard_normal), as estimated within a batch: with a --batch-size under 512 it is rather one "
    "of how much each dimension tells",
    NOT_NEGATIVE, metavar="X",
)  # fmt: skip
IWAE_DRAWS = Option(
    "iwae_draws", 8, "draws a row, whose bound is raised", POSITIVE_COUNT, metavar="K"
)


def _arguments() -> Any:
    """What `kvae.model.VAE` is told of an objective: its own options as they are."""
    return dict


OBJECTIVES: dict[str, Member] = {
    "elbo": Member(
        "the ELBO, its rate weighed (--beta, --free-bits, --tc-weight)", _arguments,
        (BETA, KL_WARMUP, KL_CYCLE, FREE_BITS, TC_WEIGHT),
    ),
    "iwae": Member("the bound of several draws (Burda et al. 2016)", _arguments, (IWAE_DRAWS,)),
}  # fmt: skip


def check_regularisers(
    objective: str, posterior: str, prior: str, free_bits: float, tc_weight: float
) -> None:
    """Refuse regularisers that the chosen parts have no formula for.

    Args:
        objective: a key of OBJECTIVES.
        posterior: a key of `kvae.posteriors.POSTERIORS`.
        prior: a key of `kvae.priors.PRIORS`.
        free_bits: nats a dimension, at least 0.
        tc_weight: at least 0.

    Raises:
        UsageError: they do not go together.
    """
    if not (free_bits >= 0 and tc_weight >= 0):
        raise UsageError(
            "free bits and a weight of the total correlation are at least 0, received "
            f"{free_bits} and {tc_weight}"
        )
    if free_bits and (posterior, prior, objective) != ("diagonal", "standard_normal", "elbo"):
        raise UsageError(
            "free bits are counted by dimension: they go with the posterior 'diagonal', the prior "
            f"'standard_normal' and the objective 'elbo', received {posterior!r}, {prior!r}, "
            f"{objective!r}"
        )
    if tc_weight != 1 and (posterior, objective) != ("diagonal", "elbo"):
        raise UsageError(
            "a weight of the total correlation goes with the posterior 'diagonal' and the "
            f"objective 'elbo', received {posterior!r} and {objective!r}"
        )


def check_tc_prior(prior: str, tc_weight: float) -> None:
    """Refuse to train another total correlation under a prior that has one of its own.

    Arguments and error are those of `check_regularisers`.
    """
    if tc_weight != 1 and prior != "standard_normal":
        raise UsageError(
            "the total correlation is a part of the rate under a prior whose dimensions are "
            f"independent: a weight of it goes with the prior 'standard_normal', received {prior!r}"
        )


def check_schedules(warmup: int, cycle: int, warmup_name: str, cycle_name: str) -> None:
    """Refuse two schedules of one weight.

    Args:
        warmup: steps or epochs of a warm-up, 0: none.
        cycle: of a cycle, likewise.
        warmup_name: what the user calls the first.
        cycle_name: and the second.

    Raises:
        UsageError: there are both.
    """
    if warmup and cycle:
        raise UsageError(f"{warmup_name} or {cycle_name}, not both: received {warmup} and {cycle}")
