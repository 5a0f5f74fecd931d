"""The numbers of a published version, from its signatures and the test split.

Those of `_sampler` are of the density that was fitted after training (the signature `generate`, and
the second output of the densities), those of `_prior` of the training prior.
"""

import math
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kvae.data import Dataset
from kvae.data.conditions import Conditioned
from kvae.data.gmm import mixture_of
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import in_parts, random_rows, some_of
from kvae.evaluation.factors import can_be_disentangled, disentanglement
from kvae.evaluation.images import (
    MAX_CALIBRATION_ROWS,
    TrainFeatures,
    calibration,
    constant_psnr,
    measure_samples,
    signatures,
)
from kvae.evaluation.naming import DENSITIES, NAMES, of
from kvae.metrics.bootstrap import bootstrap_interval
from kvae.metrics.curve import bound_curves
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
    mean_and_stderr,
)
from kvae.metrics.modes import (
    mode_metrics,
    num_generated_for,
    outlier_fraction,
    true_log_density,
)
from kvae.metrics.protocol import descriptions
from kvae.metrics.reconstruction import mean_errors, row_errors
from kvae.metrics.separation import bayes_metrics, can_be_separated, separation_metrics
from kvae.metrics.two_sample import (
    MAX_COMPARED_ROWS,
    MAX_REFERENCES,
    NUM_COMPARED,
    TwoSample,
    compare,
)
from kvae.probability.streams import generator

# Hundreds of draws of a row cost a decoder's pass each: some rows stand for all.
_MAX_LIKELIHOOD_ROWS = {"vectors": 20_000, "images": 256}
_ELBO_DRAWS = 4
_NUM_SAMPLES = 10_000
_MAX_TRAIN_ROWS = 5_000
_MOMENT_ROWS = 10  # rows a dimension: of fewer, chance is as large as what is looked for
_PART = {2: 20_000, 4: 500}  # rows of vectors, of images, that are in memory as floats at once
_BITS = "minus the bound of the probability of all 256 levels, over the values of an image and ln 2"
_OUTPUTS = ("", "_sampler")  # ends of the names of what a density answers


def measure(
    served: Any,
    dataset: Dataset,
    *,
    num_draws: int,
    seed: int,
    train: TrainFeatures | None = None,
    num_samples: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure on the test split.

    Args:
        served: a `kvae.serving.served.ServedModel`, or anything with its `call`, `version`,
            `metadata`.
        dataset: the data.
        num_draws: importance draws of the log-likelihood, at least 1.
        seed: of all draws.
        train: what judges samples of images; None: they are not judged.
        num_samples: see `kvae.evaluation.images.measure_samples`; None: 10,000.

    Returns:
        The metrics, and the protocol that they were taken by; JSON values.
    """
    # The threads of NumPy, SciPy and scikit-learn cost more than they gain at these sizes;
    # TensorFlow keeps its own.
    with threadpool_limits(1):
        metrics, protocol = _measure(served, dataset, num_draws, seed)
        if dataset.kind == "images":
            found, how = _of_images(served, dataset, train, num_samples, seed)
            metrics, protocol = metrics | found, protocol | how
    return metrics, protocol


def _of_images(served, dataset, train, num_samples, seed):
    """What only images have."""
    rng = generator(seed, "image measurements")
    rows = np.sort(rng.permutation(len(dataset.test.x))[:MAX_CALIBRATION_ROWS])
    found = calibration(served, dataset.test.x[rows], int(rng.integers(2**31)))
    error = float(found["squared_error"].mean())
    metrics = {
        "mse_draw": error,
        "psnr_db_mean_image": constant_psnr(dataset),
    }
    protocol = {}
    if error:
        metrics["variance_ratio_draw"] = float(found["variance"].mean()) / error
        protocol["variance_ratio_draw"] = (
            "the likelihood's mean variance over the mean squared error, both at one posterior "
            f"draw of {len(rows):,} test images; 1 is calibrated; variance_ratio_interval: 95% "
            "bootstrap over the images"
        )
    if found["squared_error"].all():
        metrics["variance_ratio_draw_interval"] = list(
            bootstrap_interval(found["variance"], over=found["squared_error"], seed=seed)
        )
    # Images drawn anew to one factor have no conditions.
    if can_be_disentangled(dataset) and not isinstance(dataset.test.x, Conditioned):
        found, how = disentanglement(served, dataset, seed=int(rng.integers(2**31)))
        metrics, protocol = metrics | found, protocol | how
    if train is not None:
        found, how = measure_samples(
            served,
            dataset,
            train,
            num_samples=_NUM_SAMPLES if num_samples is None else num_samples,
            seed=int(rng.integers(2**31)),
        )
        metrics, protocol = metrics | found, protocol | how
    return metrics, protocol


def _measure(served, dataset, num_draws, seed):
    x = dataset.test.x
    mixture = mixture_of(dataset.card)
    streams = generator(seed, "measurements").integers(2**31, size=9).tolist()
    metrics = {**_elbo(served, x, streams[0])}
    rows = random_rows(
        len(x), _MAX_LIKELIHOOD_ROWS[dataset.kind], generator(streams[1], "likelihood rows")
    )
    # The density that is known is that of x, not of x given a condition.
    known = mixture is not None and not isinstance(x, Conditioned)
    truth = mixture.log_prob(x[rows]) if known else None
    vectors = dataset.kind == "vectors"
    metrics |= _likelihood(served, x[rows], truth, num_draws, vectors, streams[2])
    metrics |= _bits(served, x, metrics)
    metrics |= _effective_sample(served, x[rows], streams[3])
    posterior = served.call("encode", x=x)
    metrics |= _latents(served, x, posterior, streams[6])
    # As many as there are test rows: what differs is not the number.
    train = some_of(
        dataset.train.x, min(len(x), _MAX_TRAIN_ROWS), generator(streams[7], "train rows")
    )
    found = _elbo(served, train, streams[8])
    train_elbo = {key: found[key] for key in ("elbo_nats_prior", "elbo_nats_prior_stderr")}
    metrics |= of("train", train_elbo)
    metrics["mse_reconstruction_train"] = float(
        _row_errors(served, train, images=False)["mse"].mean()
    )
    metrics |= mean_errors(_row_errors(served, x, images=not vectors), seed=seed)
    if mixture is not None:
        metrics["outlier_fraction_test"] = outlier_fraction(np.asarray(x), mixture)
    if vectors:
        metrics |= _samples(served, dataset, mixture, streams[4])
        metrics |= _separation(dataset, mixture, posterior["mean"], streams[5])
    return metrics, _protocol(served, dataset, mixture, metrics, len(rows), seed)


def _elbo(served, x, seed):
    """The ELBO and its parts, each row at draws of its own, so that errors average out."""
    rng = generator(seed, "elbo draws")
    draws = [
        served.call("log_weight", x=x, seed=rng.integers(2**63, size=len(x)))
        for _ in range(_ELBO_DRAWS)
    ]
    elbo, stderr = mean_and_stderr(
        np.mean([draw["log_weight"] for draw in draws], axis=0), "the ELBO (prior)"
    )
    metrics = {"elbo_nats_prior": elbo, "elbo_nats_prior_stderr": stderr}
    for name, subject in (("distortion", "posterior"), ("rate", "prior")):
        rows = np.mean([draw[name] for draw in draws], axis=0, dtype=np.float64)
        mean, stderr = mean_and_stderr(rows, f"the {name}")
        metrics |= of(subject, {f"{name}_nats": mean, f"{name}_nats_stderr": stderr})
    if "log_weight_sampler" in draws[0]:
        # Both densities at the same draws: what the weights differ by is their log ratio.
        ratio = [draw["log_weight_sampler"] - draw["log_weight"] for draw in draws]
        gap, stderr = mean_and_stderr(np.mean(ratio, axis=0), "the prior gap")
        metrics |= {"aggregate_gap_nats_prior": gap, "aggregate_gap_nats_prior_stderr": stderr}
    return metrics


def _latents(served, x, posterior, seed):
    """What the latents carry, and how far their aggregate is from the prior."""
    rng = generator(seed, "latents")
    mean, variance = posterior["mean"], posterior["variance"]
    active = active_fraction(mean, variance)
    metrics = {
        "active_units_posterior": active_units(mean, variance),
        "latent_dim": mean.shape[1],
        "active_fraction_per_dim_posterior": active.tolist(),
    }
    seeds = rng.integers(2**63, size=len(x))
    config = served.metadata.get("config", {})
    if config.get("posterior") != "diagonal":
        return metrics
    normal = config.get("prior") == "standard_normal"
    draws = served.call("sample_posterior", x=x, seed=seeds)["latent"]
    metrics |= aggregate_metrics(
        mean, variance, draws, standard_normal_prior=normal, seed=int(rng.integers(2**31))
    )
    if normal:
        metrics["rate_per_dim_nats_prior"] = rate_per_dim(mean, variance).tolist()
        if len(draws) >= _MOMENT_ROWS * draws.shape[1]:
            metrics |= gaussian_prior_gap(draws)
    return metrics


def _row_errors(served, x, *, images):
    """As `kvae.metrics.reconstruction.row_errors`, a part at a time."""
    parts = []
    for rows in in_parts(x, _PART[x.ndim]):
        part = as_unit_interval(rows)
        found = served.call("serving_default", x=part)["reconstruction"]
        parts.append(row_errors(np.asarray(part), found, images=images))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _asker(served, signature):
    """The log densities that a signature answers, `(1, n)`, or `(2, n)` with the sampler's."""

    def ask(x, seed):
        found = served.call(signature, x=x, seed=seed)
        return np.stack([found[signature + s] for s in _OUTPUTS if signature + s in found])

    return ask


def _likelihood(served, x, truth, num_draws, curve, seed):
    """The bound at `num_draws`, and if asked how it rises towards there and beyond."""
    curves = bound_curves(
        _asker(served, "log_weight"), _asker(served, "log_likelihood"), x, truth,
        num_draws=num_draws, draws_per_call=served.metadata["num_draws"], seed=seed,
        only_last=not curve, names=DENSITIES,
    )  # fmt: skip
    metrics = {"num_draws": num_draws}
    for subject, points in zip(DENSITIES, curves, strict=False):
        last = next(point for point in points if point["num_draws"] == num_draws)
        metrics |= of(subject, _headline(last))
        if curve:
            metrics[f"bound_curve_{subject}"] = points
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
    for subject in DENSITIES:
        key = f"log_likelihood_nats_{subject}"
        if key in metrics:
            found[f"bits_per_dim_bound_{subject}"] = -metrics[key] / scale
            found[f"bits_per_dim_bound_{subject}_stderr"] = metrics[f"{key}_stderr"] / scale
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
    x = x[np.sort(rng.permutation(len(x))[:MAX_WEIGHT_ROWS])]
    ask = _asker(served, "log_weight")
    draws = [ask(x, rng.integers(2**63, size=len(x))) for _ in range(WEIGHT_DRAWS)]
    metrics = {}
    for subject, log_weights in zip(DENSITIES, np.stack(draws, axis=1), strict=False):
        metrics |= of(subject, effective_sample_metrics(log_weights))
    return metrics


def _sampler(served):
    return served.metadata.get("sampler", "none")


def _samples(served, dataset, mixture, seed):
    """What the samples of the prior, and those of the sampler, tell."""
    rng = generator(seed, "compared samples")
    test, references, unit = _yardstick(dataset, mixture, rng)
    between = TwoSample(test, seed=rng.integers(2**31))
    perfect = [between.distances(reference) for reference in references]
    count = NUM_COMPARED * len(test)
    if mixture is not None:
        count = max(count, num_generated_for(mixture))
    seeds = rng.integers(2**63, size=count)
    metrics = {"num_generated": count}
    for subject, signature in signatures(served).items():
        generated = served.call(signature, seed=seeds)["sample"]
        parts = np.split(generated[: NUM_COMPARED * len(test)] / unit, NUM_COMPARED)
        found = compare([between.distances(part) for part in parts], perfect)
        if mixture is not None:
            found |= mode_metrics(generated, mixture) | true_log_density(generated, mixture)
        metrics |= of(subject, found)
    return metrics


def _yardstick(dataset, mixture, rng):
    """Test points to compare with, samples that are as good as can be, and their unit."""
    test, train = (rng.permutation(np.asarray(split.x)) for split in (dataset.test, dataset.train))
    count, num_references = _reference_sizes(dataset, mixture)
    if mixture is not None:
        references = [mixture.sample(count, rng)[0] for _ in range(num_references)]
        return test[:count], references, np.ones(mixture.dim)
    unit = _unit(train)
    # Samples that shared rows would agree with one another more than fresh ones do.
    references = np.split(train[: count * num_references] / unit, num_references)
    return test[:count] / unit, references, unit


def _reference_sizes(dataset, mixture):
    """How many points a reference sample has, and how many of these samples there are."""
    count = min(len(dataset.test.x), MAX_COMPARED_ROWS)
    if mixture is not None:
        return count, MAX_REFERENCES
    count = min(count, len(dataset.train.x))
    return count, min(MAX_REFERENCES, len(dataset.train.x) // count)


def _unit(train):
    """A table's columns have units of their own: distances are taken in standard deviations."""
    stddev = train.std(0, dtype=np.float64)
    return np.where(stddev > 0, stddev, 1.0)


def _separation(dataset, mixture, latents, seed):
    x, labels = np.asarray(dataset.test.x), dataset.test.labels.get(dataset.color_by)
    if labels is None or not can_be_separated(labels):
        return {}
    unit = 1.0 if mixture is not None else _unit(np.asarray(dataset.train.x))
    metrics = {}
    for space, points in (("latent", latents), ("x", x / unit)):
        found = separation_metrics(points, labels, seed=seed)
        metrics |= {f"{name}_{space}": value for name, value in found.items()}
    return metrics | ({} if mixture is None else bayes_metrics(x, labels, mixture))


def _protocol(served, dataset, mixture, metrics, num_rows, seed):
    """What must stand beside the numbers for them to mean anything."""
    counts = {"test": len(dataset.test.x), "log_likelihood": num_rows}
    references = {}
    if "num_generated" in metrics:
        counts["generated"] = metrics["num_generated"]
        references["num_references"] = _reference_sizes(dataset, mixture)[1]
    return {
        "model": f"{served.version.name}/{served.version.number}",
        "fingerprint": served.metadata["fingerprint"],
        "split": "test",
        "rows": counts,
        "sampler": _sampler(served),
        "names": NAMES,
        **_given(served),
        "elbo_distortion_rate": f"{_ELBO_DRAWS} draws a row, own seeds; the rate at those draws",
        "log_likelihood": f"importance-weighted bound of {metrics['num_draws']} draws, own seeds",
        **references,
        **({"bits_per_dim_bound_prior": _BITS} if "bits_per_dim_bound_prior" in metrics else {}),
        **descriptions(
            metrics,
            known_truth=mixture is not None,
            num_references=references.get("num_references", 0),
        ),
        "seed": seed,
        "data_card": _short_card(dataset.card, mixture),
        "versions": {
            "trained": served.metadata["versions"],
            "evaluated": {name: version(name) for name in ("tensorflow", "numpy", "scikit-learn")},
        },
    }


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
