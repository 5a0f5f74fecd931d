"""Everything evaluate.py writes about a published version: metrics.json and figures."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from kvae import data, illustrations, measurements
from kvae.data import MIN_SPLIT_ROWS, Dataset
from kvae.errors import DataError, UsageError
from kvae.metrics.likelihood import BUG_STDERRS
from kvae.runs import Version, find_version, read_metadata, writable_folder

METRICS_FILE = "metrics.json"
_BATCH = {"vectors": 2_000, "images": 250}


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
    labels_file: str | None = None,
    cache_dir: str | None = None,
    output: str | None = None,
    color_by: str | None = None,
) -> Job:
    """Find the model and its data, and check all that needs no TensorFlow.

    Args:
        model: `saved`, `saved/<name>` or `saved/<name>/<number>`.
        data_dir: where the dataset is now; None: where it was in training.
        labels_file: where the labels of a folder of images are now; None: as in training.
        cache_dir: where decoded images are kept; None: as in training.
        output: folder to write to; None: `saved/<name>/evaluation/<number>`.
        color_by: label that colours the latent map; None: the dataset's own.

    Raises:
        UsageError: no such model, label or folder.
        DataError: the dataset cannot be read.
    """
    version = find_version(model)
    print(f"model      {version.path}")
    folder = Path(output) if output else version.evaluation
    writable_folder(folder, "--output")
    moved = {"data_dir": data_dir, "labels_file": labels_file, "cache_dir": cache_dir}
    dataset = _load(read_metadata(version), moved)
    return Job(version, dataset, _label(dataset, color_by), folder)


def evaluate(job: Job, *, num_draws: int = 500, seed: int = 0) -> dict[str, Any]:
    """Measure a published version on the test split and draw its figures.

    Only the SavedModel's signatures are used: what is measured is what is served. The numbers are
    written before anything is drawn, so that a figure that fails does not cost them.

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
    print(f"measuring  {len(dataset.test.x):,} test rows, {num_draws} importance draws", flush=True)
    metrics, protocol = measurements.measure(served, dataset, num_draws=num_draws, seed=seed)
    text = json.dumps({**metrics, "protocol": protocol}, indent=1, allow_nan=False)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".evaluation-") as workshop:
        (Path(workshop) / METRICS_FILE).write_text(text)
        written = _move_all(Path(workshop), folder)
        _report(metrics)
        print("\ndrawing    figures", flush=True)
        illustrations.draw(
            Path(workshop), served, dataset, metrics=metrics, label=job.label, seed=seed
        )
        written += _move_all(Path(workshop), folder)
    print(f"wrote {', '.join(sorted(written))}\nto    {folder}")
    return {**metrics, "protocol": protocol}


def _move_all(workshop: Path, folder: Path) -> list[str]:
    """Move finished files, each at once; their names."""
    names = sorted(path.name for path in workshop.iterdir())
    for name in names:
        (workshop / name).replace(folder / name)
    return names


def _load(metadata: dict[str, Any], moved: dict[str, str | None]) -> Dataset:
    config = metadata["config"]
    known = data.options_of(config["dataset"])
    options = {name: config[name] for name in known if name in config}
    for name, value in moved.items():
        if value is None:
            continue
        if name not in known:
            raise UsageError(
                f"--{name.replace('_', '-')} does not apply to dataset {config['dataset']}"
            )
        options[name] = value
    dataset = data.load(config["dataset"], **options)
    shape = dataset.test.x.shape[1:]
    _check_card(dataset.card, metadata["data_card"])
    if len(dataset.test.x) < MIN_SPLIT_ROWS:
        raise DataError(
            f"{MIN_SPLIT_ROWS} test rows at least are needed to measure anything, the test split "
            f"of {config['dataset']} has {len(dataset.test.x)}"
        )
    wanted = tuple(metadata["model"]["element_shape"])
    if shape != wanted:
        raise UsageError(f"the model takes x of {wanted}, the data have {shape}")
    return dataset


# Of the data card: a fuller or damaged copy of the same data.
_MAY_CHANGE = ("counts", "missing", "not_listed", "unreadable")


def _check_card(now: dict[str, Any], then: dict[str, Any]) -> None:
    """The data must be those that the model was trained on; only their folder may differ."""
    now = json.loads(json.dumps(now))
    for key in sorted({*now, *then} - {"source"}):
        if now.get(key) == then.get(key):
            continue
        if key == "split_of" and key in now and key in then:
            raise UsageError(
                "the set of files has changed since training, and with it the random split: some "
                "of its test rows were trained on. Evaluate on the files of then, or train again"
            )
        if key not in _MAY_CHANGE:
            raise UsageError(
                f"these are not the data that the model was trained on: {key!r} of the data card "
                f"was {str(then.get(key))[:80]}, is {str(now.get(key))[:80]}"
            )
        print(f"note: {key} of the data was {then.get(key)} in training, is {now.get(key)}")


def _label(dataset: Dataset, color_by: str | None) -> str:
    label = color_by or dataset.color_by
    if label and label not in dataset.test.labels:
        allowed = ", ".join(dataset.test.labels) or "none: this dataset has no labels"
        raise UsageError(f"--color-by: choose one of {allowed}; received {label!r}")
    return label


# Group by group: the key, its title, how it is written, and the key that it is out of.
_SHOWN = {
    "test points, nats": (
        ("elbo_nats", "ELBO", "{:.4f}", None),
        ("distortion_nats", "distortion", "{:.4f}", None),
        ("rate_nats", "rate", "{:.4f}", None),
        ("log_likelihood_nats", "log-likelihood, bound", "{:.4f}", None),
        ("true_log_likelihood_nats", "log-likelihood, true", "{:.4f}", None),
        ("bits_per_dim_bound", "bits per dimension, bound", "{:.4f}", None),
        ("gap_nats", "gap, true minus bound", "{:.4f}", None),
    ),
    "importance weights": (
        (
            "effective_sample_fraction",
            "effective share of {effective_sample_draws} draws",
            "{:.3f}",
            None,
        ),
        ("effective_sample_fraction_p5", "the same, 5% quantile over rows", "{:.3f}", None),
    ),
    "reconstruction and latents": (
        ("reconstruction_mse", "reconstruction MSE", "{:.6f}", None),
        ("psnr_db", "reconstruction PSNR, dB", "{:.2f}", None),
        ("active_units", "active units", "{}", "latent_dim"),
    ),
    "generated points": (
        ("modes_captured", "modes captured", "{}", "num_modes"),
        ("largest_relative_weight_error", "largest relative weight error", "{:.3f}", None),
        ("weights_kl_nats", "KL(shares, weights), nats", "{:.5f}", None),
        ("outlier_fraction", "outliers", "{:.4f}", None),
        ("true_outlier_fraction", "outliers among test points", "{:.4f}", None),
        ("generated_true_log_density_nats", "true log-density, nats", "{:.4f}", None),
        ("test_true_log_density_nats", "true log-density of test points", "{:.4f}", None),
        ("sliced_wasserstein", "sliced Wasserstein distance", "{:.4f}", None),
        ("sliced_wasserstein_ratio", "its ratio, 1 is perfect", "{:.2f}", None),
        ("energy_distance", "energy distance", "{:.5f}", None),
        ("energy_distance_ratio", "its ratio, 1 is perfect", "{:.2f}", None),
    ),
}
_SEPARATION = (
    ("k-NN accuracy", ("knn_accuracy_latent", "knn_accuracy_x", "bayes_accuracy")),
    ("silhouette", ("silhouette_latent", "silhouette_x", "")),
    ("adjusted Rand index of a fit", ("ari_latent", "ari_x", "ari_bayes")),
)


def _report(metrics):
    """The table in the terminal: the prior, and beside it the sampler if there is one."""
    columns = ("",) + ("_sampler",) * any(name.endswith("_sampler") for name in metrics)
    if len(columns) > 1:
        print(f"\n  {'':38}{'prior':>12}{'sampler':>26}", end="")
    for group, shown in _SHOWN.items():
        rows = [
            (
                title.format_map(metrics),
                [_cell(metrics, key, suffix, form, whole) for suffix in columns],
            )
            for key, title, form, whole in shown
            if any(key + suffix in metrics for suffix in columns)
        ]
        _print_rows(group, rows)
        if group == "test points, nats":
            _print_rows(*_curve(metrics, columns))
        if group == "importance weights" and _rests_on_one_draw(metrics):
            print("    one draw has nearly all the weight: the bound is far below log p(x)")
    _print_separation(metrics)
    if metrics.get("gap_is_a_bug") or metrics.get("gap_is_a_bug_sampler"):
        print(
            "\n  BUG: the model's bound lies above the true log-likelihood by over "
            f"{BUG_STDERRS} standard\n  errors, more than chance explains. Please report it."
        )


def _rests_on_one_draw(metrics):
    draws = metrics.get("effective_sample_draws")
    return draws is not None and metrics["effective_sample_fraction"] * draws < 1.5


def _cell(metrics, key, suffix, form, whole=None):
    if key + suffix not in metrics:
        return ""
    value = f"{form.format(metrics[key + suffix]):>12}"
    if whole:
        return f"{value} of {metrics[whole]}"
    stderr = metrics.get(f"{key}{suffix}_stderr")
    return value if stderr is None else f"{value} ± {form.format(stderr)}"


def _curve(metrics, columns):
    """The gap, or without a truth the bound, against the number of draws."""
    curves = [metrics.get("bound_curve" + suffix, []) for suffix in columns]
    key = "gap_nats" if any("gap_nats" in point for point in curves[0]) else "bound_nats"
    rows = []
    for which, point in enumerate(curves[0]):
        title = f"K = {point['num_draws']:,} on {point['rows']:,} rows"
        cells = [_cell(curve[which], key, "", "{:.4f}") if curve else "" for curve in curves]
        rows.append((title, cells))
    return f"{key.removesuffix('_nats')} with K draws, nats", rows


def _print_rows(group, rows):
    if rows:
        print(f"\n  {group}")
    for title, cells in rows:
        print(f"    {title:36}{''.join(f'{cell:26}' for cell in cells)}".rstrip())


def _print_separation(metrics):
    if "knn_accuracy_latent" not in metrics:
        return
    truth = "true posterior" if "bayes_accuracy" in metrics else ""
    print(f"\n  {'labels apart':38}{'latent':>12}{'data':>12}{truth:>16}".rstrip())
    for title, keys in _SEPARATION:
        latent, data_, best = (_cell(metrics, key, "", "{:.4f}") for key in keys)
        print(f"    {title:36}{latent:>12}{data_:>12}{best:>16}".rstrip())
