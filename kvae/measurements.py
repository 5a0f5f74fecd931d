"""The numbers of a published version, from its signatures and the test split."""

from importlib.metadata import version
from typing import Any

import numpy as np

from kvae.data import Dataset
from kvae.data.gmm import mixture_of
from kvae.data.pixels import as_unit_interval
from kvae.metrics.latents import active_units
from kvae.metrics.likelihood import gap, importance_log_likelihood, mean_and_stderr
from kvae.metrics.modes import mode_metrics, num_generated_for, outlier_fraction
from kvae.metrics.reconstruction import reconstruction_metrics

# Hundreds of draws of an image cost a decoder's pass each: some rows stand for all.
_MAX_LIKELIHOOD_IMAGES = 256
_ELBO_DRAWS = 4


def measure(
    served: Any, dataset: Dataset, *, num_draws: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure on the test split.

    Args:
        served: a `kvae.served.ServedModel`, or anything with its `call`, `version`, `metadata`.
        dataset: the data.
        num_draws: importance draws of the log-likelihood, at least 1.
        seed: of all draws.

    Returns:
        The metrics, and the protocol that they were taken by; JSON values.
    """
    x = dataset.test.x
    streams = np.random.default_rng(seed).integers(2**31, size=4)
    metrics = {**_elbo(served, x, streams[0])}
    likelihood_rows = _likelihood_rows(dataset, streams[1])
    found = _log_likelihood(served, x[likelihood_rows], num_draws, streams[2])
    metrics["log_likelihood_nats"], metrics["log_likelihood_nats_stderr"] = mean_and_stderr(found)
    metrics["num_draws"] = num_draws
    posterior = served.call("encode", x=x)
    metrics["active_units"] = active_units(posterior["mean"], posterior["variance"])
    metrics["latent_dim"] = posterior["mean"].shape[1]
    reconstruction = served.call("serving_default", x=x)["reconstruction"]
    metrics |= reconstruction_metrics(
        as_unit_interval(x), reconstruction, images=dataset.kind == "images"
    )
    counts = {"test": len(x), "log_likelihood": len(likelihood_rows)}
    mixture = mixture_of(dataset.card)
    if mixture is not None:
        metrics |= _mixture_metrics(served, mixture, x, found, streams[3])
        counts["generated"] = metrics["num_generated"]
    return metrics, _protocol(served, dataset, num_draws, seed, counts)


def _elbo(served, x, seed):
    """The ELBO and its parts, each row at draws of its own, so that errors average out."""
    rng = np.random.default_rng(seed)
    draws = [
        served.call("log_weight", x=x, seed=rng.integers(2**63, size=len(x)))
        for _ in range(_ELBO_DRAWS)
    ]
    elbo, stderr = mean_and_stderr(np.mean([draw["log_weight"] for draw in draws], axis=0))
    distortion, rate = (
        float(np.mean([draw[name] for draw in draws], dtype="float64"))
        for name in ("distortion", "rate")
    )
    return {
        "elbo_nats": elbo,
        "elbo_nats_stderr": stderr,
        "distortion_nats": distortion,
        "rate_nats": rate,
    }


def _likelihood_rows(dataset, seed):
    num_rows = len(dataset.test.x)
    if dataset.kind == "vectors" or num_rows <= _MAX_LIKELIHOOD_IMAGES:
        return np.arange(num_rows)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(num_rows, _MAX_LIKELIHOOD_IMAGES, replace=False))


def _log_likelihood(served, x, num_draws, seed):
    def ask(signature):
        return lambda x, seeds: served.call(signature, x=x, seed=seeds)[signature]

    return importance_log_likelihood(
        ask("log_weight"), ask("log_likelihood"), x,
        num_draws=num_draws, draws_per_call=served.metadata["num_draws"], seed=seed,
    )  # fmt: skip


def _mixture_metrics(served, mixture, x, log_likelihood, seed):
    true_log_prob = mixture.log_prob(x)
    true_mean, true_stderr = mean_and_stderr(true_log_prob)
    seeds = np.random.default_rng(seed).integers(2**63, size=num_generated_for(mixture))
    generated = served.call("generate", seed=seeds)["sample"]
    found = gap(true_log_prob, log_likelihood)
    return {
        "true_log_likelihood_nats": true_mean,
        "true_log_likelihood_nats_stderr": true_stderr,
        **found,
        # A lower bound cannot lie above the truth by more than chance.
        "gap_is_a_bug": found["gap_nats"] < -3 * found["gap_nats_stderr"],
        **mode_metrics(generated, mixture),
        "true_outlier_fraction": outlier_fraction(x, mixture),
    }


def _protocol(served, dataset, num_draws, seed, counts):
    """What must stand beside the numbers for them to mean anything."""
    return {
        "model": f"{served.version.name}/{served.version.number}",
        "fingerprint": served.metadata["fingerprint"],
        "split": "test",
        "rows": counts,
        "elbo_distortion_rate": f"{_ELBO_DRAWS} draws a row, own seeds; the rate at those draws",
        "log_likelihood": f"importance-weighted bound of {num_draws} draws, own seeds",
        "seed": seed,
        "data_card": {key: value for key, value in dataset.card.items() if key != "mixture"},
        "versions": {
            "trained": served.metadata["versions"],
            "evaluated": {name: version(name) for name in ("tensorflow", "numpy", "scikit-learn")},
        },
    }
