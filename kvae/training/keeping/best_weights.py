"""The weights that were best on the valid split, and which figure says so."""

import math
from typing import Any

import keras
import numpy as np

from kvae.config import Config
from kvae.data import Dataset
from kvae.objectives import raises_elbo
from kvae.training.keeping.checkpoints import Checkpoint, Record
from kvae.training.keeping.comparing import chosen_by, measured_by

START = -1  # the "epoch" of the weights that training starts from


class BestWeights(keras.callbacks.Callback):
    """Keep the best weights in memory; checkpoints take them from here.

    Up to the first epoch that counts the ELBO chooses: the run may end before.

    Args:
        config: of the run.
        dataset: its card, and the rows that the weights are chosen on.

    Attributes:
        weights: the best so far; None: none yet.
        record: of them.
        waited: epochs at the full beta since the best one.
    """

    def __init__(self, config: Config, dataset: Dataset):
        super().__init__()
        self._measured_by = measured_by(config, dataset)
        self._figure, self._counts = chosen_by(config), counts_of(config)
        self._is_full = full_beta(config)
        self._has_counted = False
        self.weights: list[np.ndarray] | None = None
        self.record: Record | None = None
        self.waited = 0

    def on_epoch_end(self, epoch, logs=None):
        """Keep the weights if they are the best so far."""
        self._consider(epoch, logs)

    def measured(self, vae, figures):
        """Take the weights that training starts from for the first that may be the best.

        Args:
            vae: the model.
            figures: of the valid split, by name.
        """
        self.set_model(vae)
        self._consider(START, {f"val_{name}": value for name, value in figures.items()})

    def _consider(self, epoch, logs):
        counts = self._counts(epoch)
        if self._has_counted and not counts:
            return
        is_first = counts and not self._has_counted
        figure = self._figure if counts else "elbo"
        found = Record(figure, float(logs[f"val_{figure}"]), epoch + 1, self._measured_by)
        is_best = is_first or self.record is None or found.height > self.record.height
        weights = self.model.get_weights() if is_best and math.isfinite(found.value) else None
        if weights is None or not all(np.isfinite(weight).all() for weight in weights):
            self.waited += self.record is not None and self._is_full(epoch)
            return
        self.weights, self.record, self.waited = weights, found, 0
        self._has_counted = counts

    def start(self, vae, record):
        """Take a model's weights for the best.

        Args:
            vae: the model.
            record: what is known of its weights; measured on other data it says nothing here.
        """
        self.set_model(vae)
        is_ours = record is not None and record.measured_by == self._measured_by
        self.weights, self.record = vae.get_weights(), record if is_ours else None

    def state(self) -> dict[str, Any]:
        """What a `kvae.training.keeping.checkpoints.Checkpoint` holds of it."""
        return {
            "best_weights": self.weights or [], "record": self.record, "waited": self.waited,
            "has_counted": self._has_counted,
        }  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what `state` said."""
        self.weights = checkpoint.best_weights or None
        self.record, self.waited = checkpoint.record, checkpoint.waited
        self._has_counted = checkpoint.has_counted


def counts_of(config):
    """Whether an epoch, from 0, or START may be the best.

    Where the goal is not the ELBO, those before beta is at its full value had another goal, whose
    loss cannot be compared.
    """
    return (lambda epoch: True) if raises_elbo(config.to_dict()) else full_beta(config)


def full_beta(config):
    """Whether beta is at its full value in an epoch, from 0, or at START.

    Of cycles in those that are all at the full value, or the last ones.
    """
    warmup, cycle = config.get("kl_warmup_epochs", 0), config.get("kl_cycle_epochs", 0)
    if cycle:
        return lambda epoch: epoch != START and epoch % cycle >= min(cycle / 2, cycle - 1)
    return lambda epoch: epoch >= (warmup or START)
