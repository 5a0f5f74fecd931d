"""The numbers of a published version: those that all data have, and all of them together."""

import math
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kvae.data.rows import random_rows, some_of
from kvae.evaluation.images import measure_images
from kvae.evaluation.naming import DENSITIES, NAMES, of
from kvae.evaluation.observation import Observation, reconstructed
from kvae.evaluation.rows import checksum
from kvae.evaluation.vectors import measure_vectors
from kvae.evaluation.yardstick import reference_sizes
from kvae.likelihoods import LIKELIHOODS, facts
from kvae.metrics.curve import bound_curves, num_draws_of_curves
from kvae.metrics.latents import (
    active_fraction,
    active_units,
    aggregate_metrics,
    gaussian_prior_gap,
    rate_per_dim,
)
from kvae.metrics.likelihood import (
    BUG_STDERRS,
    MAX_WEIGHT_ROWS,
    WEIGHT_DRAWS,
    effective_sample_metrics,
    is_heavy_tailed,
    mean_and_stderr,
)
from kvae.metrics.protocol import descriptions
from kvae.metrics.reconstruction import mean_errors, row_errors
from kvae.probability.streams import generator
from kvae.saying import progress

# Hundreds of draws of a row cost a decoder's pass each: some rows stand for all.
_MAX_LIKELIHOOD_ROWS = {"vectors": 20_000, "images": 256}
_ELBO_DRAWS = 4
_MAX_TRAIN_ROWS = 5_000
_OUTPUTS = ("", "_sampler")  # ends of the names of what a density answers
_MOMENT_ROWS = 10  # rows a dimension: of fewer, chance is as large as what is looked for
_BITS = "minus the bound of the probability of all 256 levels, over the values of an image and ln 2"


def measure(
    observation: Observation,
    *,
    num_draws: int,
    each_row: dict[str, np.ndarray] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure on the test split.

    Args:
        observation: of a version; what draws figures is given the same.
        num_draws: importance draws of the log-likelihood, at least 1.
        each_row: what `kvae.evaluation.rows.write_rows` keeps is put here; None: nowhere.

    Returns:
        The metrics, under names that `kvae.evaluation.naming` explains, and the protocol that they
        were taken by; JSON values.
    """
    # The threads of NumPy, SciPy and scikit-learn cost more than they gain at these sizes;
    # TensorFlow keeps its own.
    with threadpool_limits(1):
        each_row = {} if each_row is None else each_row
        metrics, num_rows = _densities(observation, num_draws, each_row)
        metrics |= _latents(observation)
        if observation.auc is not None:
            metrics["auc_latent"] = observation.auc
        metrics |= _train_side(observation)
        metrics |= mean_errors(observation.reconstruction.errors, seed=observation.seed)
        if observation.dataset.kind == "vectors":
            metrics |= measure_vectors(observation)
        protocol = _protocol(observation, metrics, num_rows)
        if observation.dataset.kind == "images":
            found, how = measure_images(observation)
            metrics, protocol = metrics | found, protocol | how
    return metrics, protocol


def _densities(observation, num_draws, each_row):
    """The ELBO of all test rows, the bound and its weights of some; how many these are."""
    served, seeds, x = observation.served, observation.seeds, observation.dataset.test.x
    kind, mixture = observation.dataset.kind, observation.mixture
    metrics = _elbo(served, x, seeds.elbo, each_row)
    rows = random_rows(
        len(x), _MAX_LIKELIHOOD_ROWS[kind], generator(seeds.likelihood_rows, "likelihood rows")
    )
    # The density that is known is that of x, not of x given a condition.
    known = mixture is not None and not observation.is_conditioned
    truth = mixture.log_prob(x[rows]) if known else None
    each_row["rows"] = rows
    metrics |= _likelihood(
        served, x[rows], truth, num_draws, kind == "vectors", seeds.likelihood, each_row
    )
    metrics |= _bits(served, x, metrics)
    metrics |= _effective_sample(served, x[rows], seeds.effective_sample)
    return metrics, len(rows)


def _elbo(served, x, seed, each_row):
    """The ELBO and its parts, each row at draws of its own, so that errors average out."""
    rng = generator(seed, "elbo draws")
    draws = [
        served.call("log_weight", x=x, seed=rng.integers(2**63, size=len(x)))
        for _ in range(_ELBO_DRAWS)
    ]
    values = np.mean([draw["log_weight"] for draw in draws], axis=0)
    elbo, stderr = mean_and_stderr(values, "the ELBO (prior)")
    each_row["elbo_nats_prior"] = values
    metrics = {"elbo_nats_prior": elbo, "elbo_nats_prior_stderr": stderr}
    for name, subject in (("distortion", "posterior"), ("rate", "prior")):
        rows = np.mean([draw[name] for draw in draws], axis=0, dtype=np.float64)
        mean, stderr = mean_and_stderr(rows, f"the {name}")
        metrics |= of(subject, {f"{name}_nats": mean, f"{name}_nats_stderr": stderr})
    if "log_weight_sampler" in draws[0]:
        # Both densities at the same draws: what the weights differ by is their log ratio.
        ratio = [draw["log_weight_sampler"] - draw["log_weight"] for draw in draws]
        rows = np.mean(ratio, axis=0)
        gap, stderr = mean_and_stderr(rows, "the prior gap")
        metrics |= {
            "aggregate_gap_nats_prior": gap,
            "aggregate_gap_nats_prior_stderr": stderr,
            "aggregate_gap_is_heavy_tailed_prior": is_heavy_tailed(rows),
        }
    return metrics


def _latents(observation):
    """What the latents carry, and how far their aggregate is from the prior."""
    mean, variance = observation.posterior
    metrics = {
        "active_units_posterior": active_units(mean, variance),
        "latent_dim": mean.shape[1],
        "active_fraction_per_dim_posterior": active_fraction(mean, variance).tolist(),
    }
    if observation.served.metadata.get("config", {}).get("posterior") != "diagonal":
        return metrics
    normal, (draws, choice_seed) = observation.has_rates_per_dim, observation.draws
    metrics |= aggregate_metrics(
        mean, variance, draws, standard_normal_prior=normal, seed=choice_seed
    )
    if normal:
        metrics["rate_per_dim_nats_prior"] = rate_per_dim(mean, variance).tolist()
        if len(draws) >= _MOMENT_ROWS * draws.shape[1]:
            metrics |= gaussian_prior_gap(draws)
    return metrics


def _train_side(observation):
    """The ELBO and the error of train rows."""
    served, seeds, dataset = observation.served, observation.seeds, observation.dataset
    # As many as there are test rows: what differs is not the number.
    most = min(len(dataset.test.x), _MAX_TRAIN_ROWS)
    train = some_of(dataset.train.x, most, generator(seeds.train_rows, "train rows"))
    found = _elbo(served, train, seeds.train_elbo, {})
    mse = [
        row_errors(np.asarray(part), reconstruction, images=False)["mse"]
        for part, reconstruction in reconstructed(served, train)
    ]
    return {
        **of("train", {key: found[key] for key in ("elbo_nats_prior", "elbo_nats_prior_stderr")}),
        "mse_reconstruction_train": float(np.concatenate(mse).mean()),
    }


def _asker(served, signature, advance=lambda _: None, draws=1):
    """The log densities that a signature answers, `(1, n)`, or `(2, n)` with the sampler's."""

    def ask(x, seed):
        found = served.call(signature, x=x, seed=seed)
        advance(draws * len(x))
        return np.stack([found[signature + s] for s in _OUTPUTS if signature + s in found])

    return ask


def _likelihood(served, x, truth, num_draws, curve, seed, each_row):
    """The bound at `num_draws`, and if asked how it rises towards there and beyond."""

    def keep(bounds):
        named = zip(DENSITIES, bounds, strict=False)
        each_row.update({f"log_likelihood_nats_{density}": bound for density, bound in named})

    per_call = served.metadata["num_draws"]
    total = num_draws_of_curves(len(x), num_draws, draws_per_call=per_call, only_last=not curve)
    with progress("measuring", total, "draws") as advance:
        curves = bound_curves(
            _asker(served, "log_weight", advance),
            _asker(served, "log_likelihood", advance, per_call),
            x, truth, num_draws=num_draws, draws_per_call=per_call, seed=seed,
            only_last=not curve, names=DENSITIES, keep=keep,
        )  # fmt: skip
    metrics = {"num_draws": num_draws}
    for density, points in zip(DENSITIES, curves, strict=False):
        last = next(point for point in points if point["num_draws"] == num_draws)
        metrics |= of(density, _headline(last))
        if curve:
            metrics[f"bound_curve_{density}"] = points
    if truth is not None:
        mean, stderr = mean_and_stderr(truth, "the true log-likelihood")
        metrics |= {"true_log_density_nats_test": mean, "true_log_density_nats_test_stderr": stderr}
    return metrics


def _bits(served, x, metrics):
    """Bits per dimension, where x has probabilities and not only a density."""
    if served.metadata.get("config", {}).get("likelihood") != "discretized-logistic":
        return {}
    scale = math.prod(x.shape[1:]) * math.log(2.0)
    found = {}
    for density in DENSITIES:
        key = f"log_likelihood_nats_{density}"
        if key in metrics:
            found[f"bits_per_dim_bound_{density}"] = -metrics[key] / scale
            found[f"bits_per_dim_bound_{density}_stderr"] = metrics[f"{key}_stderr"] / scale
    return found


def _headline(point):
    """A point of the curve under the names of the whole."""
    named = {
        "log_likelihood_nats": point["bound_nats"],
        "log_likelihood_nats_stderr": point["bound_nats_stderr"],
    }
    if "gap_nats" not in point:
        return named
    gap, stderr = point["gap_nats"], point["gap_nats_stderr"]
    # A lower bound cannot lie above the truth by more than chance.
    is_a_bug = gap < -BUG_STDERRS * stderr
    return {**named, "gap_nats": gap, "gap_nats_stderr": stderr, "gap_is_a_bug": is_a_bug}


def _effective_sample(served, x, seed):
    rng = generator(seed, "effective sample")
    x = x[random_rows(len(x), MAX_WEIGHT_ROWS, rng, always=True)]
    ask = _asker(served, "log_weight")
    draws = [ask(x, rng.integers(2**63, size=len(x))) for _ in range(WEIGHT_DRAWS)]
    metrics = {}
    for density, log_weights in zip(DENSITIES, np.stack(draws, axis=1), strict=False):
        metrics |= of(density, effective_sample_metrics(log_weights))
    return metrics


def _protocol(observation, metrics, num_rows):
    """What must stand beside the numbers for them to mean anything."""
    served, dataset, mixture = observation.served, observation.dataset, observation.mixture
    counts = {"test": len(dataset.test.x), "log_likelihood": num_rows}
    references = {}
    if "num_generated" in metrics:
        counts["generated"] = metrics["num_generated"]
        references["num_references"] = reference_sizes(dataset, mixture)[1]
    return {
        "model": f"{served.version.name}/{served.version.number}",
        "fingerprint": served.metadata["fingerprint"],
        "split": "test",
        "test_checksum": checksum(dataset.test.x),
        "nats": _nats(served),
        "rows": counts,
        "sampler": observation.sampler,
        "names": NAMES,
        **_given(served),
        "elbo_distortion_rate": f"{_ELBO_DRAWS} draws a row, own seeds; the rate at those draws",
        "log_likelihood": f"importance-weighted bound of {metrics['num_draws']} draws, own seeds",
        **references,
        **({"auc_label": f"of the label {observation.label}"} if "auc_latent" in metrics else {}),
        **({"bits_per_dim_bound_prior": _BITS} if "bits_per_dim_bound_prior" in metrics else {}),
        **descriptions(
            metrics,
            known_truth=mixture is not None,
            num_references=references.get("num_references", 0),
        ),
        "data_card": _short_card(dataset.card, mixture),
    }


def _nats(served):
    """What likelihoods are of: those of a density and of probabilities cannot be compared."""
    name = served.metadata.get("config", {}).get("likelihood")
    if name not in LIKELIHOODS:
        return f"of the likelihood {name}"
    return "of probabilities" if facts(name).has_probabilities else "of a density"


def _given(served):
    """Of a conditional model, what its numbers are given."""
    names = served.metadata.get("condition", {}).get("names")
    words = "densities are of x given these labels; samples are made under those of test rows: "
    return {"condition": words + ", ".join(names)} if names else {}


def _short_card(card, mixture):
    """The data card, of a mixture its size alone: kvae.json holds every number of it."""
    if mixture is None:
        return card
    size = {
        "components": mixture.num_components,
        "dim": mixture.dim,
        "warp": float(mixture.warp),
    }
    return {**card, "mixture": size}
