"""What Keras's `compile`, `fit`, `evaluate` and `predict` take of a VAE, and refuse."""

import inspect
from collections.abc import Iterator
from contextlib import nullcontext

import keras
import numpy as np

from kvae.border import Batch, arrays_of, batches_of, first_batches
from kvae.data.rows import in_parts, random_rows, rows_at_once
from kvae.errors import UsageError
from kvae.inputs import rows_of
from kvae.probability.streams import generator
from kvae.steps.beside import BesideGradients

_START_ROWS, _CALIBRATION_ROWS = 2_000, 50_000
# Keras begins at 2^15, with which the gradients of tens of nats already overflow: the first steps
# would be thrown away. It grows by itself.
_LOSS_SCALE = 2.0**7
#: Figure -> what a callback that watches it by mode "auto" should want.
_DIRECTIONS = {"loss": "min", "distortion": "min", "rate": "min", "elbo": "max"}


class Doors(BesideGradients):
    """Where data and options come in through Keras, before any step."""

    given_metrics = False

    def compile(
        self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None,
        weighted_metrics=None, **kwargs,
    ):  # fmt: skip
        """As `keras.Model.compile`.

        Args:
            optimizer: as in Keras.
            loss: none; what training minimises is the model's objective.
            loss_weights: likewise none.
            metrics: given float32 x as `y_true`, and as `y_pred` the decoder's mean at the draw
                from the posterior that the step took, both `(batch, *element_shape)`; of an
                objective of several draws each row as often.
            weighted_metrics: likewise, weighed by the weights of the rows.
            **kwargs: as in Keras.

        Raises:
            UsageError: a loss, or metrics that bear a name of the model's own figures.
        """
        if loss is not None or loss_weights is not None:
            raise UsageError(
                "compile takes no loss: a VAE minimises its objective (build_vae(objective=...), "
                f"kvae.objectives); received loss={loss!r}, loss_weights={loss_weights!r}"
            )
        optimizer = keras.optimizers.get(optimizer)
        if (
            self.dtype_policy.name == "mixed_float16"
            and kwargs.get("auto_scale_loss", True)
            and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        ):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=_LOSS_SCALE)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **kwargs)
        self.given_metrics = bool(metrics or weighted_metrics)
        if self.given_metrics:
            one = keras.ops.zeros((1, *self.element_shape), "float32")
            with _scope(self):
                self._compile_metrics.build(one, one)
            names = [metric.name for metric in self._compile_metrics.metrics]
            if taken := sorted({*names} & {*self._trackers}):
                raise UsageError(f"metrics: {', '.join(taken)} is a figure that the model has")

    def compile_from_config(self, config):
        """As Keras's, which leaves it to a model whose `compile` is its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def track_given(self, x, decoded, weight):
        """Take a batch into the metrics that `compile` was given."""
        if decoded is None:
            raise UsageError(
                "compile(metrics=...) needs what the objective decoded: its Outcome has none"
            )
        self._compile_metrics.update_state(x, decoded.mean(), sample_weight=weight)

    def fit(self, x=None, y=None, *args, start_prior=True, calibrate=True, **kwargs):
        """As `keras.Model.fit`, for arrays, `tf.data`, generators and loaders.

        Args:
            x: arrays are looked at whole, the first batch of anything else.
            y: the condition of a conditional model. Others read it for `class_weight` alone.
            *args: as in Keras. `sample_weight`, `class_weight` and the third part of a batch
                weigh the loss of each row, which is then a sum over the rows divided by their
                number; other figures are divided by the sum of the weights.
            start_prior: whether a prior that `VAE.start_prior` was not called for starts at the
                first rows of the data while the model has made no step.
            calibrate: whether the variance "optimal" is set to its best value at the end, by a
                pass over the data, of 50,000 rows at most.
            **kwargs: as in Keras.

        Raises:
            UsageError: x, conditions or weights that the model does not take, see
                `kvae.border.Border`.
        """
        bound = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs)
        given = bound.arguments
        del given["self"]
        loud = given.get("verbose", "auto") != 0
        start = start_prior and self._prior_waits()
        given["x"], some = self._look(given, self._rows_to_start() if start else 1)
        self._look_at_validation(given)
        _keep_weight(given)
        for callback in _callbacks(given.get("callbacks")):
            _direct(callback)
        if start:
            _tell(loud, self._start(some))
        if arrays_of(_pair(x)) is None:
            # The order of a stream is its own; Keras would say so in a warning each time.
            given.setdefault("shuffle", False)
        history = super().fit(**given)
        if calibrate and getattr(self.likelihood, "is_updated", False):
            _tell(loud, self._calibrate_on(given))
        return history

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.evaluate`; for what is refused see `fit`."""
        if not kwargs.get("_use_cached_eval_dataset"):  # of `fit`, which has looked
            bound = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, **kwargs)
            given = bound.arguments
            del given["self"]
            given["x"], _ = self._look(given)
            _keep_weight(given)
            return super().evaluate(**given)
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As `keras.Model.predict`: reconstructions; for what is refused see `fit`."""
        x, _ = self._look({"x": x})
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, **kwargs):
        """As `keras.Model.train_on_batch`; for what is refused see `fit`."""
        self._look({"x": x, "y": y, "sample_weight": sample_weight})
        return super().train_on_batch(x, y, sample_weight, class_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """As `keras.Model.test_on_batch`; for what is refused see `fit`."""
        self._look({"x": x, "y": y, "sample_weight": sample_weight})
        return super().test_on_batch(x, y, sample_weight, **kwargs)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; for what is refused see `fit`."""
        self._look({"x": x})
        return super().predict_on_batch(x)

    def _look(self, given, rows=1):
        """Check what a door was given; the x to go on with, and some of the data.

        Args:
            given: its arguments by name: x, y, sample_weight.
            rows: wanted of a stream; of arrays all are given.

        Returns:
            x, and a list of `Batch` of NumPy arrays.
        """
        x, border = given.get("x"), self.border
        if x is None:
            raise UsageError("x is missing")
        if isinstance(x, dict) or arrays_of(_pair(x)) is not None:
            data = border.batch((x, given.get("y"), given.get("sample_weight")))
            arrays = arrays_of(data.x)
            border.check(arrays)
            if data.weight is not None:
                border.check_weight(data.weight, len(rows_of(arrays)))
            # Of a list Keras would take each row for an input.
            return arrays if isinstance(x, list) else x, [data._replace(x=arrays)]
        if hasattr(x, "element_spec"):
            spec = rows_of(border.batch(x.element_spec).x)
            border.check_tensor(spec, blocks=True)
        found, x = first_batches(x, rows)
        batches = [border.batch(batch) for batch in found]
        for batch in batches:
            border.check_tensor(rows_of(batch.x), blocks=True)
        batches = [self._rows_of_block(batch) for batch in batches]
        for batch in batches:
            border.check(batch.x)
        return x, batches

    def _rows_of_block(self, batch):
        """The rows of all steps, where a batch is a block of them."""
        if not self.is_blocks(batch.x):
            return batch
        return Batch(*_map(lambda part: part.reshape(-1, *part.shape[2:]), tuple(batch)))

    def _look_at_validation(self, given):
        data = given.get("validation_data")
        if data is None:
            return
        if arrays_of(data) is not None or isinstance(data, tuple | list):
            parts = data if isinstance(data, tuple | list) else (data,)
            own = dict(zip(("x", "y", "sample_weight"), parts, strict=False))
            self._look(own)
            _keep_weight(own)
            given["validation_data"] = tuple(own.values())
        else:
            given["validation_data"], _ = self._look({"x": data})

    def _prior_waits(self):
        """Whether a prior has a start to make."""
        return not (self.prior_started or self.num_steps) and self.prior.has_start

    def _start(self, batches):
        """Start the prior at some rows of batches; what to say of it."""
        x = [batch.x for batch in batches]
        together = x[0] if len(x) == 1 else _map(lambda *parts: np.concatenate(parts), *x)
        count, rng = len(rows_of(together)), generator(self.seed, "prior start rows")
        rows = random_rows(count, self._rows_to_start(), rng)
        if not self.start_prior(_map(lambda part: part[rows], together)):
            return ""
        return f"the prior starts at {len(rows):,} rows; fit(start_prior=False) leaves it alone"

    def _rows_to_start(self):
        return max(_START_ROWS, self.prior.rows_to_start)

    def _calibrate_on(self, given):
        """Calibrate over the data of `fit`; what to say of it."""
        if isinstance(given["x"], Iterator) or given.get("class_weight"):
            return "the variance stays at its moving average: no further pass over these data"
        self.calibrate_weighed(self._again(given))
        return "the variance is now that of all data; fit(calibrate=False) skips this pass"

    def _again(self, given):
        """The data of `fit` once more, at most so many rows: pairs of x and weights."""
        x = given["x"]
        if arrays_of(_pair(x)) is None:
            for batch in batches_of(x, _CALIBRATION_ROWS):
                yield self._rows_of_block(self.border.batch(batch))
            return
        data = self.border.batch((x, given.get("y"), given.get("sample_weight")))
        arrays = arrays_of(data.x)
        count, rng = len(rows_of(arrays)), generator(self.seed, "calibration rows")
        weight = None if data.weight is None else np.asarray(data.weight)
        rows = random_rows(count, _CALIBRATION_ROWS, rng)
        for part in in_parts(rows, rows_at_once(rows_of(arrays))):
            own = _map(lambda array, part=part: array[part], arrays)
            yield own, None if weight is None else weight[part]


def _pair(x):
    """A pair that was given as a list."""
    return tuple(x) if isinstance(x, list) and len(x) == 2 else x


def _map(function, *x):
    """A function of the parts of pairs or batches; None, a missing weight, stays."""
    if x[0] is None:
        return None
    if isinstance(x[0], tuple):
        return tuple(_map(function, *parts) for parts in zip(*x, strict=True))
    return function(*x)


def _keep_weight(given):
    """Put weights where y is missing, of which nothing is read: without y Keras drops them."""
    if given.get("sample_weight") is not None and given.get("y") is None:
        given["y"] = given["sample_weight"]


def _scope(model):
    strategy = getattr(model, "distribute_strategy", None)
    return nullcontext() if strategy is None else strategy.scope()


def _tell(loud, sentence):
    if loud and sentence:
        print(sentence, flush=True)


def _callbacks(given):
    if isinstance(given, keras.callbacks.CallbackList):
        return given.callbacks
    return given if isinstance(given, list | tuple) else [given]


def _direct(callback):
    """Tell a callback that watches a figure by mode "auto" which way is better."""
    figure = str(getattr(callback, "monitor", "")).removeprefix("val_")
    if getattr(callback, "mode", "") == "auto" and figure in _DIRECTIONS:
        callback.mode = _DIRECTIONS[figure]
