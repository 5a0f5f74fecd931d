"""Trainings that end before their last epoch: --patience and --max-minutes."""

import time

import keras


class Ending(keras.callbacks.Callback):
    """End training early where the options say so; the run is a finished one all the same.

    Stands behind the callback that keeps the best weights.

    Args:
        config: all options.
        kept: `kvae.training.kept_weights.BestWeights` of the run.
        steps: of an epoch.
        calls: of an epoch in which they are made; between two of them time is looked at.

    Attributes:
        reason: why training ended early, in words; "" where it did not.
    """

    def __init__(self, config, kept, steps, calls):
        super().__init__()
        self._config, self._kept, self._steps, self._calls = config, kept, steps, calls
        self._epoch, self._end, self.reason = 0, float("inf"), ""

    def on_train_begin(self, logs=None):
        """Start the clock."""
        if self._config.max_minutes:
            self._end = time.monotonic() + 60 * self._config.max_minutes

    def on_epoch_begin(self, epoch, logs=None):
        """Count epochs."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """End after the call in which the time is up, but for the very last one."""
        is_last = self._epoch + 1 == self._config.epochs and batch + 1 == self._calls
        if time.monotonic() < self._end or is_last or self.model.stop_training:
            return
        steps = self._steps * (batch + 1) // self._calls
        self._stop(
            f"in epoch {self._epoch + 1} of {self._config.epochs}, after step {steps:,} of "
            f"{self._steps:,}: --max-minutes {self._config.max_minutes:g}"
        )

    def on_epoch_end(self, epoch, logs=None):
        """End where the best epoch is long past."""
        patience, waited = self._config.patience, self._kept.waited
        is_last = epoch + 1 == self._config.epochs
        if not patience or waited < patience or is_last or self.model.stop_training:
            return
        self._stop(
            f"after epoch {epoch + 1} of {self._config.epochs}: {waited} "
            f"{'epoch' if waited == 1 else 'epochs'} without a better validation "
            f"{self._kept.record.figure} than {self._kept.record.place}, --patience {patience}"
        )

    def _stop(self, reason):
        self.reason = reason
        self.model.stop_training = True
