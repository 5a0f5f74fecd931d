"""What is wrong with a trained VAE as far as its numbers tell, and which options may help.

Rules of thumb over numbers that were measured elsewhere; no model is looked at here.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kvae.evaluation.doctor import latents, reconstructions, samples, training, truth
from kvae.evaluation.doctor.case import FEATURES, Case, MissingError

__all__ = ["FEATURES", "PROBLEMS", "SURE", "WIDTH", "Diagnosis", "Finding", "diagnose", "report"]

#: What `diagnose` can find, the most severe first.
PROBLEMS = {
    "data out of range": "the networks see values of another order than 1",
    "learning rate too high": "steps are too large for anything to be learned",
    "diverged": "the loss stopped being finite, or ended far above where it began",
    "posterior collapse": "q(z given x) does not depend on x",
    "no better than the mean": "reconstructions are no nearer than the mean image of the data",
    "memorisation": "samples are as near to training rows, and as sharp, as copies are",
    "modes missed": "samples leave out kinds of data, or make them too often",
    "samples unlike the data": "samples lie away from test rows, or where the data have none",
    "far below the true density": "log p(x) is far below that of the data",
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
    "learning rate too high": ("diverged", "training too short", "unstable training"),
    "data out of range": ("diverged", "training too short", "unstable training"),
    "diverged": ("overfitting", "training too short", "unstable training"),
    "posterior collapse": ("few units",),
    "dead sampler": ("prior gap", "samples unlike the data"),
}
WIDTH = 88  # columns of a report
_CHECKS = (
    *training.CHECKS, *reconstructions.CHECKS, *samples.CHECKS, *truth.CHECKS, *latents.CHECKS,
)  # fmt: skip


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
        metrics: of unseen rows: `rate_nats_prior`, `distortion_nats_posterior`, `elbo_nats_prior`,
            `elbo_nats_prior_stderr`; `elbo_nats_prior_train` of as many training rows;
            `active_units_posterior`, `latent_dim`, `active_fraction_per_dim_posterior`,
            `rate_per_dim_nats_prior`; `variance_ratio_draw`, the likelihood's variance over the
            mean squared error at posterior draws; `psnr_db_reconstruction`, and
            `psnr_db_mean_image` of the mean image; `aggregate_gap_nats_prior`, a lower bound of
            KL(aggregate posterior, prior); `mutual_information_nats_posterior` and its `_limit_`;
            `rms_x`, the root mean square of x as the networks see it; for F in `FEATURES`
            `F_reconstruction`, `F_prior`, `F_sampler`, Fréchet distances, and `F_floor` of training
            rows; for S `sampler` and `prior` `memorised_fraction_S` (0.01 at most is expected,
            `memorised_fraction_stderr` its error), held against the `nearest_train_share` of
            training rows, `coverage_S`, `not_finite_samples_S`, `modes_captured_S` (of
            `num_modes`), `outlier_fraction_S` (and `_test`), `gap_nats_S` and its `_stderr`,
            `sliced_wasserstein_ratio_S` and `energy_distance_ratio_S`;
            `effective_sample_fraction_S`; `coverage_floor`; `moments_kl_nats_prior`;
            `mse_reconstruction` and `mse_reconstruction_train`, `elbo_nats_prior_train_stderr`;
            `sampler`, the one that the model has (also in `protocol`).
        config: see `kvae.config.Config.to_dict`; `optimizer`, its name, where it is not "adam".
        history: of each epoch: `loss`, `elbo`, and the same of the valid split as `val_*`.

    Returns:
        The findings, and what was looked for.
    """
    case = Case(metrics, config, history)
    found: dict[str, Finding] = {}
    looked_for = []
    for problem, check in _CHECKS:
        try:
            told = check(case)
        except MissingError:
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


def _is_surer(told, known):
    return SURE.index(told.sure) < SURE.index(known.sure)
