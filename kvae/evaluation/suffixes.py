"""The names of numbers of prior and sampler.

A key with the suffix `_sampler` is of the sampler that was fitted after training (the signature
`generate`, and the second output of the densities); one without is of the training prior.
"""

from typing import Any

SUFFIXES = ("", "_sampler")
DENSITIES = ("prior", "sampler")  # what the suffixes stand for
_SHARED = {"num_generated", "num_modes", "effective_sample_draws"}


def suffixed(metrics: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Metrics under their names with a suffix, `_stderr` staying last."""
    if not suffix:
        return metrics
    named = {}
    for name, value in metrics.items():
        stem = name.removesuffix("_stderr")
        if stem not in _SHARED:
            named[stem + suffix + name[len(stem) :]] = value
    return named
