"""Trainings that end before their last epoch: --patience, --max-minutes, a user's callback."""

import keras


class Ending(keras.callbacks.Callback):
    """End training early where the options say so; the run is a finished one all the same.

    Stands behind the callback that keeps the best weights.

    Args:
        config: all options.
        kept: `kvae.training.keeping.best_weights.BestWeights` of the run.
        steps: of an epoch.
        calls: of an epoch in which they are made; between two of them time is looked at.
        seconds: a function: of training so far, those before the run went on with them.
        others: callbacks of the user's own, which may end training too.
        first_call: made of the first epoch, in which a run goes on.

    Attributes:
        reason: why training ended early, in words; "" where it did not.
    """

    def __init__(self, config, kept, steps, calls, seconds, others=(), *, first_call=0):
        super().__init__()
        self._config, self._kept, self._steps, self._calls = config, kept, steps, calls
        self._seconds, self._others = seconds, others
        self._end = 60 * config.max_minutes or float("inf")
        self._epoch, self._made, self.reason = 0, 0, ""
        self._first_call = first_call  # of an epoch that was cut

    def on_epoch_begin(self, epoch, logs=None):
        """Count epochs."""
        self._epoch, self._made = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        """End after the call in which the time is up, but for the very last one."""
        self._made = self._first_call + batch + 1
        if self._seconds() < self._end or self._is_over() or self.model.stop_training:
            return
        self._stop(f"{self._step()}: --max-minutes {self._config.max_minutes:g}")

    def on_epoch_end(self, epoch, logs=None):
        """End where the best epoch is long past."""
        self._first_call = 0
        patience, waited = self._config.patience, self._kept.waited
        is_last = epoch + 1 == self._config.epochs
        if not patience or waited < patience or is_last or self.model.stop_training:
            return
        self._stop(
            f"after epoch {epoch + 1} of {self._config.epochs}: {waited} "
            f"{'epoch' if waited == 1 else 'epochs'} without a better validation "
            f"{self._kept.record.figure} than {self._kept.record.place}, --patience {patience}"
        )

    def seconds_left(self):
        """Until --max-minutes ends training; infinity where it does not."""
        return self._end - self._seconds()

    def on_train_end(self, logs=None):
        """Say that it was a callback that ended training, where it was none of the options."""
        if self.model.stop_training and self._others and not (self.reason or self._is_over()):
            place = f"after epoch {self._epoch + 1} of {self._config.epochs}"
            if self._made < self._calls:
                place = self._step()
            names = " or ".join(type(callback).__name__ for callback in self._others)
            self.reason = f"{place}: stop_training was set by a callback ({names})"

    def _is_over(self):
        """Whether the very last step has been made."""
        return self._epoch + 1 == self._config.epochs and self._made == self._calls

    def _step(self):
        """The step that was made last, in words."""
        steps = self._steps * self._made // self._calls
        return (
            f"in epoch {self._epoch + 1} of {self._config.epochs}, after step {steps:,} of "
            f"{self._steps:,}"
        )

    def _stop(self, reason):
        self.reason = reason
        self.model.stop_training = True
