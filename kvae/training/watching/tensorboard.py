"""--tensorboard: figures of each epoch, and now and then what the model makes, for TensorBoard."""

import glob
import sys
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kvae.data.conditions import Conditioned
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import some_of
from kvae.errors import DEBUGGING
from kvae.figures import images as image_figures
from kvae.figures import vectors as vector_figures
from kvae.inputs import as_float
from kvae.metrics.latents import active_fraction, rate_per_dim
from kvae.probability.streams import generator

_ROWS, _IMAGES = 1000, 20
_MOST_DIMENSIONS = 64  # that have a curve each


class TensorBoard(keras.callbacks.Callback):
    """Write event files; stands behind the callbacks that end training.

    `folder/<name>-<number>/train` and `/valid` have figures under the same names, so that they
    share a chart. What the model makes stands under `valid`, after the first epoch, the last and
    each so many between: always of the same rows and seeds. No random number of training is drawn.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
    """

    def __init__(self, config, dataset):
        super().__init__()
        self._config, self._dataset = config, dataset
        rng = generator(config.seed, "rows of tensorboard")
        self._rows = some_of(dataset.valid.x, _ROWS, rng)
        self._writers, self._is_broken = None, False
        self._step = self._shown = 0  # the last epoch, from 1, and the last that was looked at

    def on_epoch_begin(self, epoch, logs=None):
        """Open files: of a new run in a folder of its own, of one that goes on in the last one."""
        if self._writers is None:
            self._try(lambda: self._open(goes_on=epoch > 0))

    def on_epoch_end(self, epoch, logs=None):
        """Write figures, and what is due beside them."""
        self._step = step = epoch + 1
        is_due = step == 1 or step % self._config.tensorboard_every == 0
        is_last = step == self._config.epochs or self.model.stop_training
        self._try(lambda: self._write_figures(step, logs or {}))
        if is_due or is_last:
            self._try(lambda: self._write_looks(step))

    def on_train_end(self, logs=None):
        """Look at what a callback behind this one has ended."""
        if self.model.stop_training and self._shown < self._step:
            self._try(lambda: self._write_looks(self._step))

    def _try(self, act):
        """Go on without what cannot be written or drawn: training must not be lost for it."""
        if self._is_broken:
            return
        try:
            act()
        except Exception as error:  # of the file system, of TensorFlow, of a figure
            if DEBUGGING.is_on:
                raise
            self._is_broken = True
            first = (str(error).splitlines() or [type(error).__name__])[0]
            print(
                f"note: --tensorboard {self._config.tensorboard}: {first}; training goes on "
                "without it",
                file=sys.stderr,
            )

    def _open(self, *, goes_on):
        folder = run_folder(self._config.tensorboard, self._config.name, goes_on=goes_on)
        self._writers = {
            name: tf.summary.create_file_writer(str(folder / name)) for name in ("train", "valid")
        }

    def _write_figures(self, step, logs):
        for name, value in logs.items():
            is_valid = name.startswith("val_")
            with self._writers["valid" if is_valid else "train"].as_default(step):
                tf.summary.scalar(name.removeprefix("val_"), float(value))
        self._flush()

    def _write_looks(self, step):
        self._shown = step
        vae = self.model
        if vae.has_sampler:  # one of several machines must make no variable, which others wait for
            vae = vae.with_sampler(None)
        with self._writers["valid"].as_default(step):
            _write_dimensions(vae, self._rows)
            draw = _images if self._dataset.kind == "images" else _points
            for name, figure in draw(vae, self._dataset, self._rows, self._config.seed):
                tf.summary.image(name, _pixels(figure))
        self._flush()

    def _flush(self):
        for writer in (self._writers or {}).values():
            writer.flush()


def run_folder(folder, name, *, goes_on):
    """Make the folder of a run that starts, or find that of one that goes on.

    Args:
        folder: of all runs.
        name: of the model.
        goes_on: whether the newest folder of that name is taken, if there is one.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ends = [path.name.removeprefix(f"{name}-") for path in folder.glob(f"{glob.escape(name)}-*")]
    newest = max((int(end) for end in ends if end.isdecimal()), default=0)
    if goes_on and newest:
        return folder / f"{name}-{newest}"
    while True:
        newest += 1
        with suppress(FileExistsError):  # another run takes it at this moment
            (folder / f"{name}-{newest}").mkdir()
            return folder / f"{name}-{newest}"


def _write_dimensions(vae, rows):
    """What each dimension of z carries, as far as the model lets one say so."""
    posterior = vae.posterior(as_float(rows))
    mean, variance = map(keras.ops.convert_to_numpy, (posterior.mean(), posterior.variance()))
    # With another prior or posterior the rate is no sum over dimensions.
    is_sum = vae.posterior_kind == "diagonal" and vae.prior.kind == "standard_normal"
    name = "rate_of_dimension_nats" if is_sum else "active_fraction_of_dimension"
    values = rate_per_dim(mean, variance) if is_sum else active_fraction(mean, variance)
    what = "mean of KL(q, p), nats" if is_sum else "Var[mean] / (Var[mean] + E[variance])"
    words = f"{what}, of each dimension of q(z given x), on {len(mean)} valid rows"
    tf.summary.histogram(name, values, description=words)
    for place, value in enumerate(values[:_MOST_DIMENSIONS]):
        tf.summary.scalar(f"{name}/{place + 1:02d}", value, description=words)


def _images(vae, dataset, rows, seed):
    """Name -> figure: reconstructions of valid images, and samples of the prior."""
    shown = rows[:_IMAGES]
    x, again, samples = _made(vae, shown, seed)
    if dataset.value_range is None:  # of any numbers: from the least to the greatest
        low, size = x.min(), np.ptp(x) or 1.0
        x, again, samples = ((part - low) / size for part in (x, again, samples))
    yield "reconstructions", image_figures.draw_reconstruction(x, again, "Valid images")
    yield (
        "samples",
        image_figures.draw_generations({"from the prior": samples}, f"Samples of seed {seed}"),
    )


def _points(vae, dataset, rows, seed):
    """Name -> figure: reconstructions of valid points, and samples of the prior beside points."""
    x, again, samples = _made(vae, rows, seed)
    alone = np.zeros(len(x), int)
    yield (
        "reconstructions",
        vector_figures.draw_reconstruction(
            x, again, alone, "Valid points and their reconstructions"
        ),
    )
    unit = x.std(0, dtype=np.float64)  # columns of a table have units of their own
    unit = np.where(unit > 0, unit, 1.0)
    yield "samples", vector_figures.draw_generation(
        x / unit, alone, samples / unit, alone,
        f"Valid points and samples of seed {seed} from the prior; columns over their spread",
    )  # fmt: skip


def _made(vae, rows, seed):
    """Rows as floats, their reconstructions, and as many samples under the same conditions."""
    condition = rows.condition if isinstance(rows, Conditioned) else None
    x = rows.x if isinstance(rows, Conditioned) else rows
    made = vae(as_float(rows)), vae.generate(len(rows), seed=seed, condition=condition)
    return as_unit_interval(np.asarray(x)), *map(keras.ops.convert_to_numpy, made)


def _pixels(figure):
    """A figure as one RGB image, `(1, height, width, 3)` uint8."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[None, ..., :3]
