"""What a training tells a search after each epoch."""

import math
from collections.abc import Callable

import keras

from kvae.config import Config
from kvae.training.keeping.best_weights import full_beta
from kvae.training.keeping.comparing import chosen_by


class Reporting(keras.callbacks.Callback):
    """Tell the figure of each epoch that compares, and end training where the answer is yes.

    Epochs before beta is at its full value have another goal, and are not told.

    Args:
        config: of the run.
        told: is given an epoch, from 0, and the figure of the valid split; says whether to end.
    """

    def __init__(self, config: Config, told: Callable[[int, float], bool]) -> None:
        super().__init__()
        self._figure, self._counts, self._told = chosen_by(config), full_beta(config), told

    def on_epoch_end(self, epoch, logs=None):
        """Tell the figure."""
        if not self._counts(epoch) or self.model.stop_training:
            return
        value = float(logs[f"val_{self._figure}"])
        if math.isfinite(value) and self._told(epoch, value):
            self.model.stop_training = True
