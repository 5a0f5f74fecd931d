"""Everything evaluate.py writes about a published version: metrics.json, figures, a report."""

import json
import math
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import data
from kvae.data import GIVEN_ARRAYS, MIN_SPLIT_ROWS, Dataset, seen
from kvae.data.classes import LEFT_OUT
from kvae.data.conditions import Conditions, conditioned, conditions_of
from kvae.data.rows import rows_at_once
from kvae.errors import DataError, IncompleteError, UsageError, brief, one_line
from kvae.evaluation import drawing, measurements
from kvae.evaluation.doctor import diagnose
from kvae.evaluation.doctor import report as doctors_report
from kvae.evaluation.judging import train_features
from kvae.evaluation.naming import CAPTIONS_FILE, METRICS_FILE, REPORT_FILE, ROWS_FILE
from kvae.evaluation.observation import Observation
from kvae.evaluation.origin import origin
from kvae.evaluation.rows import write_rows
from kvae.evaluation.table import print_table
from kvae.features import AUTO, feature_net
from kvae.figures import FORMATS, MOVING, PRINTED
from kvae.figures.processes import Painters, num_processes
from kvae.files import or_note, replace_text, writable_folder
from kvae.options import one_of
from kvae.saying import say
from kvae.serving.versions import (
    MODEL_CARD,
    TRAIN_ROWS,
    Version,
    find_version,
    read_metadata,
)


class Job(NamedTuple):
    """What is to be evaluated, checked.

    Args:
        version: the published version.
        dataset: the data to measure it on.
        label: what colours the latent map; "" for nothing.
        folder: where to write, writable; None: nothing is written, no figure drawn.
        cache_dir: where decoded images and feature nets are kept; None: the default.
        conditions: the columns of a conditional model's condition.
    """

    version: Version
    dataset: Dataset
    label: str
    folder: Path | None
    cache_dir: str | None = None
    conditions: Conditions = Conditions()


def prepare(
    model: str,
    *,
    data_dir: str | None = None,
    labels_file: str | None = None,
    cache_dir: str | None = None,
    output: str | None = None,
    color_by: str | None = None,
    dataset: Dataset | None = None,
    writes: bool = True,
) -> Job:
    """Find the model and its data, and check all that needs no TensorFlow.

    Args:
        model: `saved`, `saved/<name>` or `saved/<name>/<number>`.
        data_dir: where the dataset is now; None: where it was in training.
        labels_file: where the labels of a folder of images are now; None: as in training.
        cache_dir: where decoded images are kept; None: the default, wherever training kept them.
        output: folder to write to; None: `saved/<name>/evaluation/<number>`.
        color_by: label that colours the latent map; None: the dataset's own.
        dataset: the data, if they are there already; None: they are loaded.
        writes: whether anything is written.

    Raises:
        UsageError: no such model, label or folder.
        DataError: the dataset cannot be read.
    """
    version = find_version(model)
    say(f"model      {version.path}")
    folder = Path(output) if output else version.evaluation
    if writes:
        writable_folder(folder, "--output")
    moved = {"data_dir": data_dir, "labels_file": labels_file, "cache_dir": cache_dir}
    metadata = read_metadata(version)
    dataset = _load(metadata, moved) if dataset is None else dataset
    dataset = _unseen(dataset, version, metadata)
    _check_data(dataset, metadata)
    label = _label(dataset, color_by)
    conditions = _conditions(dataset, metadata)
    return Job(version, dataset, label, folder if writes else None, cache_dir, conditions)


def evaluate(
    job: Job,
    *,
    num_draws: int = 500,
    features: str = "auto",
    inception_weights: str | None = None,
    num_samples: int | None = None,
    seed: int = 0,
    figure_format: str = FORMATS[0],
    command: str | None = None,
) -> dict[str, Any]:
    """Measure a published version on the test split and draw its figures.

    Only the SavedModel's signatures are used: what is measured is what is served. Figures are drawn
    meanwhile, by other processes; the numbers are written before it is known whether all could be
    drawn, so that one that fails costs neither them nor another figure. Beside metrics.json stand
    rows.npz, what likelihoods are of each row, report.html, a page with all of it, and
    MODEL_CARD.md.

    Args:
        job: from `prepare`.
        num_draws: importance draws of the log-likelihood, at least 1.
        features: what judges samples of images, a key of `kvae.features.FEATURES` or "auto".
        inception_weights: file of the weights of InceptionV3 without its top.
        num_samples: images in a set of samples, at most as many as there are test images; None:
            10,000.
        seed: of all draws.
        figure_format: one of `kvae.figures.FORMATS`, which each figure is written as beside its
            PNG.
        command: what was typed, for the record; None: nothing was.

    Returns:
        What metrics.json holds.

    Raises:
        UsageError: the features cannot be had.
        IncompleteError: a figure or a page could not be made; all else is written.
    """
    # It imports TensorFlow: not before `prepare` has passed.
    from kvae.serving.served import ServedModel

    dataset, folder = job.dataset, job.folder
    # What judges images has learned from levels.
    is_judged = dataset.kind == "images" and dataset.value_range is not None
    if not is_judged and (features != AUTO or inception_weights or num_samples is not None):
        rows = "images of any numbers" if dataset.kind == "images" else "vectors"
        raise UsageError(
            "--features, --inception-weights and --num-samples are for images in [0, 1]; the rows "
            f"of this dataset are {rows}"
        )
    given = job.conditions.of(dataset.test.labels) if job.conditions.dim else None
    served = ServedModel(job.version, rows_at_once(dataset.test.x), given)
    train = None
    if is_judged:
        net = feature_net(
            features, dataset, inception_weights=inception_weights, cache_dir=job.cache_dir
        )
        say(f"features   {net.description}", flush=True)
        train = train_features(net, dataset, seed)
    dataset = conditioned(dataset, job.conditions)
    say(f"measuring  {len(dataset.test.x):,} test rows, {num_draws} importance draws", flush=True)
    # Before the numbers: the checkout may be another when they are done.
    made_by = origin(served.metadata["versions"], seed=seed, command=command)
    observation = Observation(
        served, dataset, seed=seed, train=train, num_samples=num_samples, label=job.label
    )

    metadata = served.metadata
    each_row: dict[str, np.ndarray] = {}

    def measured():
        metrics, protocol = measurements.measure(
            observation, num_draws=num_draws, each_row=each_row
        )
        diagnosis = diagnose(
            {**metrics, "sampler": metadata["sampler"]},
            config=metadata["config"], history=metadata["history"],
        )  # fmt: skip
        whole = {
            "origin": made_by,
            **metrics,
            "findings": [finding._asdict() for finding in diagnosis],
            "looked_for": list(diagnosis.looked_for),
            "protocol": protocol,
        }
        return metrics, diagnosis, whole, json.dumps(whole, indent=1, allow_nan=False)

    if folder is None:
        metrics, diagnosis, whole, _ = measured()
        print_table(metrics)
        print(f"\n{doctors_report(diagnosis)}")
        return whole
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".evaluation-") as workshop,
        Painters(num_processes(), [figure_format] if figure_format in PRINTED else []) as painters,
    ):
        numbers, figures = Path(workshop) / METRICS_FILE, Path(workshop) / "figures"
        figures.mkdir()
        with painters.attempt("latent_tsne.png"):
            drawing.draw_map(figures, observation, paint=painters)
        metrics, diagnosis, whole, text = measured()
        numbers.write_text(text, encoding="utf-8")
        # Of an earlier evaluation these say other numbers than the new metrics.json: they go before
        # it comes, so that at no time they stand beside it.
        for name in (ROWS_FILE, REPORT_FILE, CAPTIONS_FILE, MODEL_CARD):
            (folder / name).unlink(missing_ok=True)
        numbers.replace(folder / METRICS_FILE)
        if each_row:
            write_rows(folder / ROWS_FILE, each_row)
        print_table(metrics)
        print(f"\n{doctors_report(diagnosis)}")
        say(flush=True)
        drawing.draw(
            figures, observation, metrics=metrics, paint=painters, attempt=painters.attempt
        )
        painters.finish()
        failed = _told(painters.failed)
        for name in failed:
            (figures / name).unlink(missing_ok=True)
            (figures / name).with_suffix(f".{MOVING}").unlink(missing_ok=True)  # drawn beside it
        _remove_older(folder, failed, figures)
        drawn = _move_all(figures, folder)
    written = [METRICS_FILE, *([ROWS_FILE] if each_row else []), *drawn]
    pages = _pages(folder, job.version, metadata, whole, drawn, failed, observation.heading)
    say(f"wrote {', '.join(sorted([*written, *pages]))}\nto    {folder}", is_result=True)
    missing = [*failed, *sorted({REPORT_FILE, CAPTIONS_FILE, MODEL_CARD.name} - {*pages})]
    if missing:
        raise IncompleteError(f"the evaluation in {folder} is written", [", ".join(missing)], whole)
    return whole


def _pages(
    folder: Path,
    version: Version,
    metadata: dict[str, Any],
    whole: dict[str, Any],
    drawn: list[str],
    failed: dict[str, str],
    heading: str,
) -> list[str]:
    """Write what people read; the names of the files, without one that failed."""
    from kvae.evaluation import report  # Jinja2 is for this alone
    from kvae.evaluation.report import model_card
    from kvae.evaluation.report.captions import captions_text

    found = []
    with or_note(REPORT_FILE):
        report.write(folder / REPORT_FILE, version, metadata, whole, drawn, failed)
        found.append(REPORT_FILE)
    with or_note(CAPTIONS_FILE):
        text = captions_text(
            drawn, whole, heading,
            images=len(metadata["model"]["element_shape"]) == 3, history=metadata["history"],
        )  # fmt: skip
        replace_text(folder / CAPTIONS_FILE, text)
        found.append(CAPTIONS_FILE)
    with or_note(MODEL_CARD.name):
        model_card.write(folder / MODEL_CARD, version, metadata, whole)
        found.append(MODEL_CARD.name)
    return found


def _told(failed: dict[str, Exception]) -> dict[str, str]:
    """Say which figures could not be drawn; the name of each, and why."""
    told = {
        name: one_line(f"{type(error).__name__}: {error}", 500) for name, error in failed.items()
    }
    for name, why in told.items():
        print(f"note: {name} could not be drawn, all else is: {why}", file=sys.stderr)
    return told


def _remove_older(folder: Path, failed: Iterable[str], workshop: Path) -> None:
    """Remove the figures of an earlier evaluation that no new one takes the place of."""
    new = {path.name for path in workshop.iterdir()}
    for stem in {Path(name).stem for name in [*failed, *new]}:
        for ending in (*FORMATS, MOVING):
            if (name := f"{stem}.{ending}") not in new:
                (folder / name).unlink(missing_ok=True)


def _move_all(workshop: Path, folder: Path) -> list[str]:
    """Move finished files, each at once; their names."""
    names = sorted(path.name for path in workshop.iterdir())
    for name in names:
        (workshop / name).replace(folder / name)
    return names


def _load(metadata: dict[str, Any], moved: dict[str, str | None]) -> Dataset:
    config = metadata["config"]
    if "dataset" not in config:
        raise UsageError(
            "this version does not say what it was trained on: publish it with --like VERSION, a "
            "version trained on the same data"
        )
    if data.key_of(config["dataset"]) not in data.DATASETS:
        raise UsageError(
            f"dataset {config['dataset']!r} is not known: pass --import FILE, the file that adds it"
        )
    known = data.options_of(config["dataset"])
    # Nothing is written where a version says, which may be somebody else's.
    options = {name: config[name] for name in known if name in config and name != "cache_dir"}
    data.check_options(config["dataset"], options)
    for name, value in moved.items():
        if value is None:
            continue
        if name not in known:
            raise UsageError(
                f"--{name.replace('_', '-')} does not apply to dataset {config['dataset']}"
            )
        options[name] = value
    if moved["data_dir"] is None and options.get("data_dir"):
        data.check_made(config["dataset"], options["data_dir"])
    if metadata["data_card"].get("source") == GIVEN_ARRAYS and not options.get("data_dir"):
        raise UsageError(
            "this version was trained on arrays given in Python: kvae.evaluate(version, dataset) "
            "measures it there; of vectors --data-dir FILE of the same numbers does"
        )
    return data.load(config["dataset"], **options)


def _unseen(dataset: Dataset, version: Version, metadata: dict[str, Any]) -> Dataset:
    """Without the rows that the training left out, since its weights had seen them before."""
    if not metadata.get("course", {}).get("left_out"):
        return dataset
    dataset, left_out = seen.without(dataset, seen.read(version.path / TRAIN_ROWS))
    for name, count in left_out.items():
        say(f"left out   {count:,} {name} rows: the model was trained on them, in an earlier run")
    return dataset


def _check_data(dataset: Dataset, metadata: dict[str, Any]) -> None:
    """Refuse data that the model was not trained on, too few to measure, or of another shape."""
    _check_card(dataset.card, metadata["data_card"])
    if len(dataset.test.x) < MIN_SPLIT_ROWS:
        raise DataError(
            f"{MIN_SPLIT_ROWS} test rows at least are needed to measure anything, the test split "
            f"of {dataset.card.get('name', 'the data')} has {len(dataset.test.x)}"
        )
    shape, wanted = dataset.test.x.shape[1:], tuple(metadata["model"]["element_shape"])
    if shape != wanted:
        raise UsageError(f"the model takes x of {wanted}, the data have {shape}")


_ROUNDING = 1e-9  # of numbers in data cards, by another processor
# Of the data card: a fuller or damaged copy of the same data.
_MAY_CHANGE = ("counts", "missing", "not_listed", "unreadable")


def _check_card(now: dict[str, Any], then: dict[str, Any]) -> None:
    """The data must be those that the model was trained on; only their folder may differ."""
    if not then:  # published without data
        return
    now = json.loads(json.dumps(now))
    for key in sorted({*now, *then} - {"source", LEFT_OUT}):
        if _are_same(now.get(key), then.get(key)):
            continue
        if key == "split_of" and key in now and key in then:
            raise UsageError(
                "the set of files has changed since training, and with it the random split: some "
                "of its test rows were trained on. Evaluate on the files of then, or train again"
            )
        if key not in _MAY_CHANGE:
            raise UsageError(
                f"these are not the data that the model was trained on: {key!r} of the data card "
                f"was {brief(then.get(key))}, is {brief(now.get(key))}"
            )
        say(
            f"note: {key} of the data was {brief(then.get(key))} in training, is "
            f"{brief(now.get(key))}"
        )


def _are_same(now: Any, then: Any) -> bool:
    """Whether entries of data cards are equal; numbers up to what another processor rounds."""
    if isinstance(now, dict) and isinstance(then, dict):
        return now.keys() == then.keys() and all(_are_same(now[key], then[key]) for key in now)
    if isinstance(now, list) and isinstance(then, list):
        return len(now) == len(then) and all(map(_are_same, now, then))
    if isinstance(now, float) and isinstance(then, float):
        return math.isclose(now, then, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return bool(now == then)


def _conditions(dataset: Dataset, metadata: dict[str, Any]) -> Conditions:
    """The columns that the model was trained with."""
    then = metadata.get("condition", {"labels": [], "names": []})
    missing = [label for label in then["labels"] if label not in dataset.train.labels]
    if missing:
        raise UsageError(
            f"the model was trained with the labels {', '.join(then['labels'])} as conditions; "
            f"these data have no {', '.join(missing)}"
        )
    found = conditions_of(dataset, then["labels"])
    if found.names != then["names"]:
        raise UsageError(
            f"the model was trained with the conditions {', '.join(then['names'])}; in these data "
            f"they are {', '.join(found.names)}"
        )
    return found


def _label(dataset: Dataset, color_by: str | None) -> str:
    label = color_by or dataset.color_by
    if label and label not in dataset.test.labels:
        if fault := dataset.card.get(LEFT_OUT, {}).get(label):
            raise UsageError(f"--color-by {label}: {fault}")
        if not dataset.test.labels:
            raise UsageError(f"--color-by: this dataset has no labels; received {brief(label)}")
        raise UsageError(f"--color-by: {one_of(dataset.test.labels, label)}")
    return label
