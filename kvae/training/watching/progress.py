"""What is said of a training while it runs: a line an epoch, and in a terminal how far one is."""

import math
import time
from collections import deque

import keras

from kvae.saying import clear, draw, duration, say
from kvae.training.keeping.comparing import chosen_by

_FIGURES = ("elbo", "distortion", "rate")
_WIDTH, _NARROWEST = 79, 9  # of a line, and of a column of figures
_MANY_EPOCHS = 10_000  # whose number is not told in each line
_HEADER_EVERY = 20  # lines
_LINE_SECONDS = 0.5  # between two lines, about
_DRAW_SECONDS, _QUIET_SECONDS = 0.25, 1.0  # between two looks within an epoch, and before the first
_LAPS = 10  # epochs that the time left is read off: as many as lie between looks of TensorBoard
_WARM_SECONDS = 30.0  # of an epoch beside which compiling is little


class Progress(keras.callbacks.Callback):
    """Print a line of each epoch; where epochs are short, of every second, fifth, tenth ...

    The first and the last have one always, and a line names the best epoch that had none. Stands
    behind the callbacks that keep weights and end training.

    Args:
        config: all options.
        kept: `kvae.training.keeping.best_weights.BestWeights` of the run.
        ending: `kvae.training.endings.Ending` of the run.
        steps: of an epoch.
        calls: of an epoch in which they are made.
        clock: seconds, which never go back.
        first_call: made of the first epoch, in which a run goes on.
    """

    def __init__(
        self, config, kept, ending, steps, calls, clock=time.monotonic, *, first_call=0
    ):  # fmt: skip
        super().__init__()
        self._config, self._kept, self._ending = config, kept, ending
        self._steps, self._calls, self._now = steps, calls, clock
        self._pace, self._table = Pace(calls, clock), Table(config)
        self._waiting, self._shown = None, None  # an epoch without a line; the last that has one
        self._epoch, self._first_call, self._drawn = 0, first_call, -math.inf

    def on_epoch_begin(self, epoch, logs=None):
        """Start the watch of an epoch."""
        self._epoch = epoch
        self._pace.begin()

    def on_train_batch_end(self, batch, logs=None):
        """Say how far the epoch is, in a terminal."""
        self._pace.call()
        made, of_call = self._first_call + batch + 1, self._pace.of_call()
        if of_call is not None:
            step, left = self._steps * made // self._calls, of_call * (self._calls - made)
            self._draw(f"step {step:,} of {self._steps:,}, {duration(left)} left in this epoch")

    def on_test_begin(self, logs=None):
        """Say that the valid split is looked at, in a terminal."""
        self._draw("valid split")

    def on_test_end(self, logs=None):
        """Leave the last line to others."""
        clear()

    def on_epoch_end(self, epoch, logs=None):
        """Print the line of an epoch, or keep it in case it is the last."""
        self._pace.end()
        self._first_call = 0
        self._waiting = epoch, dict(logs or {})
        is_last = epoch + 1 >= self._config.epochs or self.model.stop_training
        if is_last or self._shown is None or (epoch + 1) % self._stride() == 0:
            self._print(is_last)

    def on_train_end(self, logs=None):
        """Print the line of the last epoch, if it has none."""
        if self._waiting:
            self._print(is_last=True)
        clear()

    def _stride(self):
        """Of how many epochs one has a line: 1, 2, 5, 10, 20, ..."""
        least = 0.999 * _LINE_SECONDS / max(self._pace.of_epoch() or _LINE_SECONDS, 1e-6)
        digit = 10 ** max(0, math.floor(math.log10(max(1.0, least))))
        return next(n * digit for n in (1, 2, 5, 10) if n * digit >= least)

    def _print(self, is_last):
        (epoch, logs), self._waiting = self._waiting, None
        best = self._kept.record.epoch if self._kept.record else 0
        mark = f"best {best}" if best > (self._shown or 0) else ""
        left = "" if is_last else self._left(epoch)
        for line in self._table.lines(epoch, logs, left, "best" if best == epoch + 1 else mark):
            say(line, flush=True)
        self._shown = epoch + 1

    def _left(self, epoch):
        """The time left in words; "" where nothing can be said yet."""
        seconds = self._pace.of_epoch()
        if seconds is None:
            return ""
        left = min(seconds * (self._config.epochs - epoch - 1), self._ending.seconds_left())
        return f"{'< ' if self._config.patience else ''}{duration(left)}"

    def _draw(self, text):
        """Write over the last line of a terminal, now and then; in a pipe nothing."""
        now = self._now()
        if now - self._drawn > _DRAW_SECONDS and now - self._pace.begun > _QUIET_SECONDS:
            draw(f"epoch {self._epoch + 1}/{self._config.epochs}: {text}")
            self._drawn = now


class Pace:
    """How long epochs take: the last ones, or the first without what compiles.

    Args:
        calls: of an epoch.
        clock: seconds, which never go back.

    Attributes:
        begun: when the epoch began.
    """

    def __init__(self, calls, clock):
        self._calls, self._now = calls, clock
        self._laps, self._guess, self._ended = deque(maxlen=_LAPS), None, None
        self.begun, self._ends, self._made = 0.0, (0.0, 0.0), 0  # ends of the first and last call

    def begin(self):
        """An epoch begins."""
        self.begun, self._made = self._now(), 0

    def call(self):
        """A call is made."""
        now, self._made = self._now(), self._made + 1
        self._ends = (self._ends[0] if self._made > 1 else now, now)

    def end(self):
        """An epoch ends, its pass over the valid split too."""
        now = self._now()
        if self._ended is None:
            self._guess = self._without_compiling(now)
        else:
            self._laps.append(now - self._ended)
        self._ended = now

    def of_epoch(self):
        """Seconds of an epoch and what stands between it and the next; None: not known yet."""
        return sum(self._laps) / len(self._laps) if self._laps else self._guess

    def of_call(self):
        """Seconds of a call in this epoch; None: not known yet."""
        first, last = self._ends
        return (last - first) / (self._made - 1) if self._made > 1 else None

    def _without_compiling(self, now):
        """What the first epoch, or what was left of it, would have taken."""
        of_call, seconds = self.of_call(), now - self.begun
        if of_call is None:
            return seconds if seconds > _WARM_SECONDS else None
        return now - self._ends[1] + self._calls * of_call


class Table:
    """The lines of epochs, in columns.

    Args:
        config: all options.
    """

    def __init__(self, config):
        self._chosen_by, self._epochs = chosen_by(config), config.epochs
        self._headings, self._count = {}, 0  # of the figures that have a column, by their names

    def lines(self, epoch, logs, left, mark):
        """The line of an epoch, and one of headings where one is due.

        Args:
            epoch: from 0.
            logs: its figures, by name; those of the valid split begin with "val_".
            left: the time left, in words.
            mark: what is said of the best epoch.
        """
        self._headings = self._headings or self._chosen(logs)
        cells = [figure(logs.get(name, math.nan)) for name in self._headings]
        found = [self._line(self._of(epoch + 1), self._headings, cells, left, mark)]
        if self._count % _HEADER_EVERY == 0:
            words = self._headings.values()
            found.insert(0, self._line("epoch", self._headings, words, "left", ""))
        self._count += 1
        return found

    def _chosen(self, logs):
        """The figures that have a column, see `_headings`."""
        found = {f"val_{name}": name for name in _FIGURES}
        found[f"val_{self._chosen_by}"] = self._chosen_by
        found[self._chosen_by] = f"train {self._chosen_by}"
        for name in logs:
            if name.startswith("val_") and name != "val_loss" and name not in found:
                more = {**found, name: name.removeprefix("val_")}
                widest = self._line("", more, more.values(), "", f"best {self._epochs}")
                found = more if len(widest) <= _WIDTH else found
        return found

    def _of(self, number):
        return f"{number}/{self._epochs}" if self._epochs < _MANY_EPOCHS else str(number)

    def _line(self, number, headings, cells, left, mark):
        widths = [max(_NARROWEST, len(heading)) for heading in headings.values()]
        cells = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
        places = max(len("epoch"), len(self._of(self._epochs)))
        return " ".join([f"{number:>{places}}", *cells, f"{left:>8}", f" {mark}"]).rstrip()


def figure(value):
    """A number in nine characters at most, with so many decimals as its size lets one see."""
    for limit, decimals in ((1.0, 4), (1e2, 3), (1e4, 2), (1e6, 1)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.2e}" if math.isfinite(value) else str(value)
