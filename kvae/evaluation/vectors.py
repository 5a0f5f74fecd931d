"""The numbers that only vectors have: what samples tell, and how labels lie apart."""

from typing import Any

import numpy as np

from kvae.evaluation.naming import of
from kvae.evaluation.observation import Observation
from kvae.evaluation.yardstick import unit_of
from kvae.metrics.modes import (
    mode_metrics,
    outlier_fraction,
    true_log_density,
    weight_error_of_truth,
)
from kvae.metrics.separation import bayes_metrics, can_be_separated, separation_metrics
from kvae.metrics.two_sample import NUM_COMPARED, TwoSample, compare


def measure_vectors(observation: Observation) -> dict[str, Any]:
    """Hold samples against test points, and labels against where points lie.

    Args:
        observation: of vectors.

    Returns:
        Metrics, JSON values: of a Gaussian likelihood whether its variance is that of its errors;
        distances of samples, of a known mixture also modes and densities; where there are labels,
        how well they lie apart.
    """
    metrics: dict[str, Any] = {}
    if observation.mixture is not None:
        x = np.asarray(observation.dataset.test.x)
        metrics["outlier_fraction_test"] = outlier_fraction(x, observation.mixture)
    return (
        metrics
        | _size(observation)
        | _calibration(observation)
        | _samples(observation)
        | _separation(observation)
    )


def _size(observation):
    """How large the values are that the networks see."""
    x = np.asarray(observation.dataset.test.x, np.float64)
    metadata = observation.served.metadata
    model = metadata.get("model", {})
    if {"shift", "scale"} <= model.keys():
        x = (x - np.asarray(model["shift"])) / np.asarray(model["scale"])
    elif metadata.get("config", {}).get("standardize"):  # versions of kvae 0.1 say no more
        train = np.asarray(observation.dataset.train.x)
        x = (x - train.mean(0, dtype=np.float64)) / unit_of(train)
    return {"rms_x": float(np.sqrt(np.square(x).mean()))}


def _calibration(observation):
    """The likelihood's variance over its squared error, where that is its parameter."""
    if observation.served.metadata.get("config", {}).get("likelihood") != "gaussian":
        return {}
    variance, squared_error = observation.calibration
    error = float(squared_error.mean())
    return {"variance_ratio_draw": float(variance.mean()) / error} if error else {}


def _samples(observation):
    """What the samples of the prior, and those of the sampler, tell."""
    mixture, yardstick = observation.mixture, observation.yardstick
    between = TwoSample(yardstick.test, seed=yardstick.direction_seed)
    perfect = [between.distances(reference) for reference in yardstick.references]
    metrics: dict[str, Any] = {"num_generated": len(yardstick.sample_seeds)}
    for density, generated in observation.samples.items():
        some = generated[: NUM_COMPARED * len(yardstick.test)]
        parts = np.split(some / yardstick.unit, NUM_COMPARED)
        found = compare([between.distances(part) for part in parts], perfect)
        if mixture is not None:
            found |= mode_metrics(generated, mixture) | true_log_density(generated, mixture)
        metrics |= of(density, found)
    if mixture is not None:
        metrics["largest_relative_weight_error_bayes"] = weight_error_of_truth(
            mixture, metrics["num_generated"], seed=observation.seed
        )
    return metrics


def _separation(observation):
    dataset, mixture = observation.dataset, observation.mixture
    x, labels = np.asarray(dataset.test.x), dataset.test.labels.get(dataset.color_by)
    if labels is None or not can_be_separated(labels):
        return {}
    unit = 1.0 if mixture is not None else unit_of(np.asarray(dataset.train.x))
    metrics = {}
    for space, points in (("latent", observation.posterior.mean), ("x", x / unit)):
        found = separation_metrics(points, labels, seed=observation.seeds.separation)
        metrics |= {f"{name}_{space}": value for name, value in found.items()}
    return metrics | ({} if mixture is None else bayes_metrics(x, labels, mixture))
