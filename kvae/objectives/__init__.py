"""What training minimises: one file for each objective, listed in OBJECTIVES.

A member is a class that derives from `kvae.objectives.base.Objective`.

What goes with what is said here too, for the command line and for Python alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kvae import lazy
from kvae.errors import UsageError
from kvae.options import COUNT, NOT_NEGATIVE, Option, whole_range
from kvae.registry import Member, facts_of

if TYPE_CHECKING:
    from kvae.objectives.base import Objective
    from kvae.objectives.elbo import Elbo
    from kvae.objectives.iwae import Iwae

__all__ = ["OBJECTIVES", "Elbo", "Iwae", "Objective", "ObjectiveMember", "ObjectiveName"]
ObjectiveName = Literal["elbo", "iwae"]

__getattr__, __dir__ = lazy.names(
    __name__,
    {
        "Elbo": "kvae.objectives.elbo",
        "Iwae": "kvae.objectives.iwae",
        "Objective": "kvae.objectives.base",
    },
)

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
    "iwae_draws",
    8,
    "draws a row, whose bound is raised",
    whole_range(1, 10**6),
    metavar="K",
    argument="draws",
)

PLAIN, DREG = "plain", "dreg"
IWAE_GRADIENT = Option(
    "iwae_gradient", PLAIN,
    "of the encoder: 'dreg', doubly reparametrised, has the same mean and less variance, for one "
    "more pass through the decoder a step",
    choices=(PLAIN, DREG), argument="gradient", before=PLAIN,
)  # fmt: skip


def _elbo() -> Any:
    from kvae.objectives import elbo

    return elbo.Elbo


def _iwae() -> Any:
    from kvae.objectives import iwae

    return iwae.Iwae


def check_elbo(
    *, posterior: str, prior: str, free_bits: float = 0, tc_weight: float = 1,
    kl_warmup_epochs: int = 0, kl_cycle_epochs: int = 0, **others: Any,
) -> None:  # fmt: skip
    """Refuse regularisers that the chosen parts have no formula for, and two schedules of beta.

    Args:
        posterior: a key of `kvae.probability.posteriors.POSTERIORS`.
        prior: a key of `kvae.priors.PRIORS`.
        free_bits: nats a dimension, at least 0.
        tc_weight: at least 0.
        kl_warmup_epochs: of a warm-up, 0: none.
        kl_cycle_epochs: of a cycle, 0: none.
        **others: not looked at.

    Raises:
        UsageError: they do not go together.
    """
    del others
    check_schedules(kl_warmup_epochs, kl_cycle_epochs, "--kl-warmup-epochs", "--kl-cycle-epochs")
    if not (free_bits >= 0 and tc_weight >= 0):
        raise UsageError(
            "free bits and a weight of the total correlation are at least 0, received "
            f"{free_bits} and {tc_weight}"
        )
    # Only under such a prior are both a part of the rate.
    fits = (posterior, prior) == ("diagonal", "standard_normal")
    for what, is_given in (
        ("free bits are counted by latent dimension (--free-bits): they", free_bits > 0),
        ("a weight of the total correlation (--tc-weight)", tc_weight != 1),
    ):
        if is_given and not fits:
            verb = "go" if what.endswith("they") else "goes"
            raise UsageError(
                f"{what} {verb} with the posterior 'diagonal' and the prior 'standard_normal' "
                f"alone, received the posterior {posterior!r} and the prior {prior!r}"
            )


def check_iwae(
    *, updates_variance: bool, normalises_by_batch: bool = False, iwae_gradient: str = PLAIN,
    **others: Any,
) -> None:  # fmt: skip
    """Refuse a variance that training steps set from one draw a row, and batches that tie draws.

    Args:
        updates_variance: whether the likelihood has such a one: the Gaussian's "optimal".
        normalises_by_batch: whether what a network says of a row depends on the batch.
        iwae_gradient: "plain" or "dreg".
        **others: not looked at.

    Raises:
        UsageError: it has, or the gradient is "dreg" where a network normalises by batch.
    """
    del others
    if updates_variance:
        raise UsageError(
            "the variance 'optimal' is that of one draw a row: it goes with the objective 'elbo'; "
            "several draws have another best variance, which 'shared' learns"
        )
    if normalises_by_batch and iwae_gradient == DREG:
        raise UsageError(
            "the gradient 'dreg' (--iwae-gradient) weighs each draw by itself: it does not go with "
            "batch normalisation, which ties the draws of a batch together; the gradient 'plain' "
            "does, or another network"
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


@dataclass(frozen=True)
class ObjectiveMember(Member):
    """An objective, and with what it goes.

    Args:
        check: raises UsageError for parts that it does not go with; its keywords are `posterior`,
            `prior` (names), `updates_variance` and `normalises_by_batch` (see `check_iwae`), and
            the member's own options.
    """

    check: Callable[..., None] = lambda **_: None


#: What `raises_elbo` looks at: options that make another goal of the ELBO.
_OF_THE_GOAL = (BETA, FREE_BITS, TC_WEIGHT)

OBJECTIVES: dict[str, Member] = {
    "elbo": ObjectiveMember(
        "the ELBO, its rate weighed (--beta, --free-bits, --tc-weight)", _elbo,
        (BETA, KL_WARMUP, KL_CYCLE, FREE_BITS, TC_WEIGHT), check=check_elbo,
    ),
    "iwae": ObjectiveMember(
        "the bound of several draws (Burda et al. 2016)", _iwae, (IWAE_DRAWS, IWAE_GRADIENT),
        check=check_iwae,
    ),
}  # fmt: skip


def facts(name: str) -> ObjectiveMember:
    """What is known of an objective, a key of OBJECTIVES, before it is imported."""
    return facts_of(OBJECTIVES[name], ObjectiveMember)


def raises_elbo(options: Mapping[str, Any]) -> bool:
    """Whether training raises the ELBO itself, however beta rises to 1.

    Args:
        options: of a run, by name; what is not there is at its default.
    """
    usual = {"objective": "elbo"} | {option.name: option.default for option in _OF_THE_GOAL}
    return all(options.get(name) in (None, value) for name, value in usual.items())
