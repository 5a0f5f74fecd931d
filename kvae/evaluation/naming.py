"""The names of files and of metrics: quantity and unit, then subject, then statistic.

`elbo_nats_prior_stderr` is the standard error of the ELBO, in nats, under the training prior.
"""

from collections.abc import Mapping
from typing import Any

#: What an evaluation writes beside its figures: numbers, those of each row, a page with all of it.
METRICS_FILE, ROWS_FILE, REPORT_FILE = "metrics.json", "rows.npz", "report.html"
#: Of its figures, to paste.
CAPTIONS_FILE = "captions.txt"
#: What latents are drawn from, and densities are of: the training prior, and what was fitted after.
PRIOR, SAMPLER = DENSITIES = ("prior", "sampler")
#: What metrics.json says of its keys.
NAMES = (
    "quantity, unit, subject, statistic; prior: the density of training, sampler: the one fitted "
    "after it, posterior: q(z given x), reconstruction: from posterior means, draw: from a "
    "posterior draw, floor: train images in place of samples, bayes: the data's own density, "
    "mean_image: the mean train image as every answer, latent, x: in that space, test, train: of "
    "those rows (others are of test rows), chance: of always the commonest answer"
)
_STATISTICS = ("_stderr", "_interval", "_range", "_p5", "_p95")
_SETTINGS = {"num_generated", "num_modes", "effective_sample_draws"}


def of(subject: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics under their names with a subject; settings keep theirs.

    Args:
        subject: "prior", "reconstruction", ...
        metrics: by quantity, unit and statistic.
    """
    named = {}
    for name, value in metrics.items():
        statistic = next((end for end in _STATISTICS if name.endswith(end)), "")
        stem = name.removesuffix(statistic)
        named[name if name in _SETTINGS else f"{stem}_{subject}{statistic}"] = value
    return named
