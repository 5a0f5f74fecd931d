"""Files of a version that are looked at before anything is computed: damage is said at once."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import files
from kvae.errors import DataError, one_line
from kvae.evaluation.naming import METRICS_FILE, ROWS_FILE
from kvae.evaluation.rows import arrays_of
from kvae.keras_files import check_model
from kvae.serving.versions import KERAS_MODEL, PROBE, Version, read_metadata

_MAX_BYTES = 2**26  # of metrics.json


class Opened(NamedTuple):
    """What a version's files say.

    Args:
        folder: of its evaluation, there or not.
        metadata: of kvae.json.
        probe: arrays of probe.npz; empty where there is none.
        metrics: of metrics.json; None: the version was not evaluated.
        each_row: arrays of rows.npz; empty where there is none.
    """

    folder: Path
    metadata: dict[str, Any]
    probe: dict[str, np.ndarray]
    metrics: dict[str, Any] | None
    each_row: dict[str, np.ndarray]


def opened(version: Version) -> Opened:
    """Read a version's small files, and see that its model's file is whole.

    Raises:
        DataError: one of them is missing or damaged.
    """
    metadata = read_metadata(version)
    model = version.path / KERAS_MODEL
    if not model.is_file():
        raise DataError(f"{model} is missing")
    if not zipfile.is_zipfile(model):
        raise DataError(f"{model} is damaged: it is no .keras file")
    check_model(model)
    probe = arrays_of(version.path / PROBE)
    return Opened(version.evaluation, metadata, probe, *_evaluation(version.evaluation))


def _evaluation(folder: Path) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """What metrics.json and rows.npz say."""
    path = folder / METRICS_FILE
    try:
        metrics = files.json_within(path, _MAX_BYTES)
        if not isinstance(metrics, dict):
            raise ValueError("it holds no object")
    except FileNotFoundError:
        return None, {}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {one_line(str(error), 300)}") from error
    return metrics, arrays_of(folder / ROWS_FILE)
