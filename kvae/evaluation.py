"""Everything evaluate.py writes about a published version: metrics.json and figures."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from kvae import data, illustrations, measurements
from kvae.data import Dataset
from kvae.errors import DataError, UsageError
from kvae.runs import Version, find_version, read_metadata, writable_folder

_MIN_ROWS = 10
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
    folder = Path(output) if output else version.evaluation
    writable_folder(folder, "--output")
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
    print(f"measuring  {len(dataset.test.x):,} test rows, {num_draws} importance draws", flush=True)
    metrics, protocol = measurements.measure(served, dataset, num_draws=num_draws, seed=seed)
    print("drawing    four figures", flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".evaluation-") as workshop:
        illustrations.draw(Path(workshop), served, dataset, label=job.label, seed=seed)
        text = json.dumps({**metrics, "protocol": protocol}, indent=1, allow_nan=False)
        (Path(workshop) / METRICS_FILE).write_text(text)
        written = sorted(path.name for path in Path(workshop).iterdir())
        for name in written:
            (Path(workshop) / name).replace(folder / name)
    _report(metrics)
    print(f"\nwrote {', '.join(written)}\nto    {folder}")
    return {**metrics, "protocol": protocol}


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
    _check_card(dataset.card, metadata["data_card"])
    if len(dataset.test.x) < _MIN_ROWS:
        raise DataError(
            f"{_MIN_ROWS} test rows at least are needed to measure anything, the test split of "
            f"{config['dataset']} has {len(dataset.test.x)}"
        )
    wanted = tuple(metadata["model"]["element_shape"])
    if shape != wanted:
        raise UsageError(f"the model takes x of {wanted}, the data have {shape}")
    return dataset


def _check_card(now: dict[str, Any], then: dict[str, Any]) -> None:
    """The data must be those that the model was trained on; only their folder may differ."""
    now = json.loads(json.dumps(now))
    for key in sorted({*now, *then} - {"source"}):
        if now.get(key) == then.get(key):
            continue
        if key not in ("counts", "missing"):
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
    if metrics.get("gap_is_a_bug"):
        print(
            "\n  BUG: the model's bound lies above the true log-likelihood by more than three "
            "standard errors, which cannot be. Please report it."
        )
