"""Everything evaluate.py writes about a published version: metrics.json and figures."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import data
from kvae.data import Dataset, Split
from kvae.data.gmm import Mixture
from kvae.data.pixels import as_unit_interval
from kvae.errors import UsageError
from kvae.figures import images as image_figures
from kvae.figures import latent as latent_figures
from kvae.figures import vectors as vector_figures
from kvae.metrics.latents import active_units
from kvae.metrics.likelihood import gap, importance_log_likelihood, mean_and_stderr
from kvae.metrics.modes import mode_metrics, num_generated_for, outlier_fraction
from kvae.metrics.reconstruction import reconstruction_metrics
from kvae.runs import Version, find_version, read_metadata

METRICS_FILE = "metrics.json"
_BATCH = {"vectors": 10_000, "images": 250}
# Hundreds of draws of an image cost a decoder's pass each: some rows stand for all.
_MAX_LIKELIHOOD_IMAGES = 256
_ELBO_DRAWS = 4
_PAIRS, _STEPS = 6, 10


class Job(NamedTuple):
    """What is to be evaluated, checked.

    Args:
        version: the published version.
        dataset: the data to measure it on.
        label: what colours the latent map; "" for nothing.
        folder: where to write, writable.
    """

    version: Version
    dataset: Dataset
    label: str
    folder: Path


def prepare(
    model: str,
    *,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    output: str | None = None,
    color_by: str | None = None,
) -> Job:
    """Find the model and its data, and check all that needs no TensorFlow.

    Args:
        model: `saved`, `saved/<name>` or `saved/<name>/<number>`.
        data_dir: where the dataset is now; None: where it was in training.
        cache_dir: where decoded images are kept; None: as in training.
        output: folder to write to; None: `saved/<name>/evaluation/<number>`.
        color_by: label that colours the latent map; None: the dataset's own.

    Raises:
        UsageError: no such model, label or folder.
        DataError: the dataset cannot be read.
    """
    version = find_version(model)
    print(f"model      {version.path}")
    folder = _writable(Path(output) if output else version.evaluation)
    dataset = _load(read_metadata(version), data_dir, cache_dir)
    return Job(version, dataset, _label(dataset, color_by), folder)


def evaluate(job: Job, *, num_draws: int = 500, seed: int = 0) -> dict[str, Any]:
    """Measure a published version on the test split and draw its figures.

    Only the SavedModel's signatures are used: what is measured is what is served.

    Args:
        job: from `prepare`.
        num_draws: importance draws of the log-likelihood, at least 1.
        seed: of all draws.

    Returns:
        What metrics.json holds.
    """
    from kvae.served import ServedModel  # imports TensorFlow: not before `prepare` has passed

    dataset, folder = job.dataset, job.folder
    served = ServedModel(job.version, _BATCH[dataset.kind])
    metrics = _metrics(served, dataset, num_draws, seed)
    protocol = _protocol(served, dataset, num_draws, seed, metrics.pop("_counts"))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".evaluation-") as workshop:
        _figures(Path(workshop), served, dataset, job.label, seed)
        text = json.dumps({**metrics, "protocol": protocol}, indent=1, allow_nan=False)
        (Path(workshop) / METRICS_FILE).write_text(text)
        written = sorted(path.name for path in Path(workshop).iterdir())
        for name in written:
            (Path(workshop) / name).replace(folder / name)
    _report(metrics)
    print(f"\nwrote {', '.join(written)}\nto    {folder}")
    return {**metrics, "protocol": protocol}


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}; --output names another folder"
        ) from error
    return folder


def _load(metadata: dict[str, Any], data_dir: str | None, cache_dir: str | None) -> Dataset:
    config = metadata["config"]
    known = data.options_of(config["dataset"])
    options = {name: config[name] for name in known if name in config}
    for name, value in (("data_dir", data_dir), ("cache_dir", cache_dir)):
        if value is None:
            continue
        if name not in known:
            raise UsageError(
                f"--{name.replace('_', '-')} does not apply to dataset {config['dataset']}"
            )
        options[name] = value
    dataset = data.load(config["dataset"], **options)
    shape = dataset.test.x.shape[1:]
    wanted = tuple(metadata["model"]["element_shape"])
    if shape != wanted:
        raise UsageError(f"the model takes x of {wanted}, the data have {shape}")
    return dataset


def _label(dataset: Dataset, color_by: str | None) -> str:
    label = color_by or dataset.color_by
    if label and label not in dataset.test.labels:
        allowed = ", ".join(dataset.test.labels) or "none: this dataset has no labels"
        raise UsageError(f"--color-by: choose one of {allowed}; received {label!r}")
    return label


def _mixture(dataset: Dataset) -> Mixture | None:
    card = dataset.card.get("mixture")
    return None if card is None else Mixture.from_card(card)


# Numbers


def _metrics(served, dataset, num_draws, seed):
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
    mixture = _mixture(dataset)
    if mixture is not None:
        metrics |= _mixture_metrics(served, mixture, x, found, streams[3])
        counts["generated"] = metrics["num_generated"]
    return {**metrics, "_counts": counts}


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


def _generate(served, count, seed):
    seeds = np.random.default_rng(seed).integers(2**63, size=count)
    return served.call("generate", seed=seeds)["sample"]


def _mixture_metrics(served, mixture, x, log_likelihood, seed):
    true_log_prob = mixture.log_prob(x)
    true_mean, true_stderr = mean_and_stderr(true_log_prob)
    generated = _generate(served, num_generated_for(mixture), seed)
    return {
        "true_log_likelihood_nats": true_mean,
        "true_log_likelihood_nats_stderr": true_stderr,
        **gap(true_log_prob, log_likelihood),
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
        "versions": served.metadata["versions"],
    }


_SHOWN = (
    ("elbo_nats", "ELBO, nats", "{:.4f}"),
    ("distortion_nats", "distortion, nats", "{:.4f}"),
    ("rate_nats", "rate, nats", "{:.4f}"),
    ("log_likelihood_nats", "log-likelihood bound, nats", "{:.4f}"),
    ("true_log_likelihood_nats", "true log-likelihood, nats", "{:.4f}"),
    ("gap_nats", "gap (true minus model), nats", "{:.4f}"),
    ("reconstruction_mse", "reconstruction MSE", "{:.6f}"),
    ("psnr_db", "reconstruction PSNR, dB", "{:.2f}"),
    ("outlier_fraction", "outliers among samples", "{:.4f}"),
    ("true_outlier_fraction", "outliers among test points", "{:.4f}"),
    ("weights_kl_nats", "KL(sample shares, weights), nats", "{:.5f}"),
    ("largest_relative_weight_error", "largest relative weight error", "{:.3f}"),
)


def _report(metrics):
    """The table in the terminal."""
    print()
    for key, title, form in _SHOWN:
        if key in metrics:
            stderr = metrics.get(f"{key}_stderr")
            error = "" if stderr is None else f"  ± {form.format(stderr)}"
            print(f"  {title:36}{form.format(metrics[key]):>12}{error}")
    print(f"  {'active units':36}{metrics['active_units']:>12} of {metrics['latent_dim']}")
    if "modes_captured" in metrics:
        print(f"  {'modes captured':36}{metrics['modes_captured']:>12} of {metrics['num_modes']}")
    if "gap_nats" in metrics and metrics["gap_nats"] < -3 * metrics["gap_nats_stderr"]:
        print(
            "\n  BUG: the model's bound lies above the true log-likelihood by more than three "
            "standard errors, which cannot be. Please report it."
        )


# Figures


def _figures(folder, served, dataset, label, seed):
    test = dataset.test
    rng = np.random.default_rng([seed, 1])
    if dataset.kind == "images":
        _image_figures(folder, served, test, rng)
    else:
        _vector_figures(folder, served, dataset, rng)
    latents = served.call("encode", x=test.x)["mean"]
    labels = test.labels[label] if label else np.zeros(len(latents), int)
    latent_figures.save_tsne(folder / "latent_tsne.png", latents, labels, label or "nothing", seed)


def _interpolations(served, x, rng):
    """Random pairs of rows `(pairs, 2, ...)`, and what lies between: `(pairs, steps, ...)`."""
    pairs = rng.permutation(len(x))[: 2 * min(_PAIRS, len(x) // 2)].reshape(-1, 2)
    start, end = (np.repeat(x[pairs[:, side]], _STEPS, axis=0) for side in (0, 1))
    fraction = np.tile(np.linspace(0, 1, _STEPS, dtype=np.float32), len(pairs))
    found = served.call("interpolate", start=start, end=end, fraction=fraction)["interpolated"]
    return x[pairs], found.reshape(len(pairs), _STEPS, *x.shape[1:])


def _image_figures(folder, served, test: Split, rng):
    name = served.version.name
    image_figures.save_generation(
        folder / "generation.png",
        _generate(served, 20, int(rng.integers(2**31))),
        f"{name}: generated",
    )
    rows = np.sort(rng.permutation(len(test.x))[:20])
    originals = as_unit_interval(test.x[rows])
    reconstructions = served.call("serving_default", x=originals)["reconstruction"]
    image_figures.save_reconstruction(
        folder / "reconstruction.png", originals, reconstructions, f"{name}: test images"
    )
    ends, between = _interpolations(served, test.x, rng)
    image_figures.save_interpolation(
        folder / "interpolation.png",
        between,
        f"{name}: between test images, a straight line in latent space",
        as_unit_interval(ends),
    )


def _vector_figures(folder, served, dataset, rng):
    name, test, mixture = served.version.name, dataset.test, _mixture(dataset)
    component = test.labels[dataset.color_by]
    generated = _generate(served, min(5000, len(test.x)), int(rng.integers(2**31)))
    generated_component = mixture.responsibilities(generated).argmax(axis=1)
    vector_figures.save_generation(
        folder / "generation.png", test.x, component, generated, generated_component,
        f"{name}: true and generated points",
    )  # fmt: skip
    reconstruction = served.call("serving_default", x=test.x)["reconstruction"]
    vector_figures.save_reconstruction(
        folder / "reconstruction.png", test.x, reconstruction, component, f"{name}: test points"
    )
    _, between = _interpolations(served, test.x, rng)
    vector_figures.save_interpolation(
        folder / "interpolation.png", between, test.x, component,
        f"{name}: between test points, a straight line in latent space",
    )  # fmt: skip
