"""Runs that are cut somewhere, and all that they leave."""

import csv

import keras
import numpy as np

from kvae.config import resolve
from kvae.serving import versions
from kvae.training.keeping import checkpoints

PLAIN = {"prior": "standard_normal", "posterior": "diagonal", "sampler": "none"}
VECTORS = {
    "dataset": "gmm", "epochs": 4, "batch_size": 1000, "hidden_units": "8", "variance": "optimal",
    "jit_compile": False, **PLAIN,
}  # fmt: skip
IMAGES = {
    "dataset": "digits", "epochs": 3, "batch_size": 300, "latent_dim": 2, "ema_momentum": 0.9,
    "learning_rate_schedule": "cosine", "clip_norm": 5.0, "kl_warmup_epochs": 2, "beta": 2.0,
    **PLAIN,
}  # fmt: skip


class Cut(keras.callbacks.Callback):
    """Raise after a number of calls of the training graph in this process, or in validation."""

    def __init__(self, calls, *, in_validation=False):
        super().__init__()
        self._left, self._in_validation = calls, in_validation

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left and not self._in_validation:
            raise SystemError("cut")

    def on_test_begin(self, logs=None):
        if self._left <= 0 and self._in_validation:
            raise SystemError("cut")


def config_of(save, given):
    known = resolve({key: value for key, value in given.items() if key in ("dataset", "prior")})
    options = {**known.to_dict(), **given}
    return resolve({**options, "save": str(save)})


def state_of(save, name):
    """All that a run leaves: of the version, and of its last checkpoint."""
    version = versions.find_version(save / name)
    metadata = versions.read_metadata(version)
    last = checkpoints.read(save / name / "training" / checkpoints.FINISHED)
    options = {key: value for key, value in metadata["config"].items() if key != "save"}
    course = {key: value for key, value in metadata["course"].items() if key != "run"}
    with (save / name / "training" / "history.csv").open() as file:
        rows = [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]
    probe = dict(np.load(version.path / versions.PROBE))
    arrays = [*last.weights, *last.optimizer, *last.best_weights, last.train_rows]
    words = metadata["history"], options, course, rows, last.step, last.waited, last.record
    return words, arrays + [probe[key] for key in sorted(probe)]


def assert_equal(ours, theirs):
    assert ours[0] == theirs[0]
    assert len(ours[1]) == len(theirs[1])
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(one, other)
