"""What Keras's `compile`, `fit`, `evaluate` and `predict` take of a VAE, and refuse."""

import inspect
import math
from collections.abc import Iterator
from contextlib import nullcontext

import keras
import numpy as np

from kvae.border import Batch, arrays_of, batches_of, first_batches, without_lists
from kvae.data.rows import in_parts, random_rows, rows_at_once
from kvae.errors import UsageError
from kvae.inputs import rows_of
from kvae.probability.streams import generator
from kvae.steps.beside import BesideGradients

_CALIBRATION_ROWS = 50_000
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

    def seen_by_metrics(self, outcome):
        """The outcome, of what was decoded the mean alone, which given metrics see; else nothing.

        A distribution is no value that JAX hands out of a gradient.
        """
        if not self.given_metrics:
            return outcome._replace(decoded=None)
        if outcome.decoded is None:
            raise UsageError(
                "compile(metrics=...) needs what the objective decoded: its Outcome has none"
            )
        return outcome._replace(decoded=outcome.decoded.mean())

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
        given = _bound(keras.Model.fit, self, x, y, *args, **kwargs)
        loud = given.get("verbose", "auto") != 0
        if given.get("class_weight") and given.get("y") is None and arrays_of(x) is not None:
            raise UsageError("class_weight needs y, the class of each row")
        start = start_prior and self._prior_waits()
        some = self._look(given, self.prior.rows_wanted if start else 1)
        self._look_at_validation(given)
        for callback in _callbacks(given.get("callbacks")):
            _direct(callback)
        if start and some:
            _tell(loud, self._start([_first(batch, _split(given, batch)) for batch in some]))
        del some  # a block of steps may be large
        if arrays_of(given["x"]) is None:
            # The order of a stream is its own; Keras would say so in a warning each time.
            given.setdefault("shuffle", False)
        self.before_fit()
        history = super().fit(**given)
        losses = history.history.get("loss", [])
        if losses and not math.isfinite(losses[-1]):
            _tell(
                loud,
                "the loss is not finite, and so is the model: a smaller learning rate may help, or "
                "a look at the values of a stream after its first batch",
            )
        if calibrate and getattr(self.likelihood, "is_updated", False):
            _tell(loud, self._calibrate_on(given))
        return history

    def before_fit(self):
        """What a backend does before its first step."""

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.evaluate`; for what is refused see `fit`."""
        if kwargs.get("_use_cached_eval_dataset"):  # of `fit`, which has looked
            return super().evaluate(x, y, *args, **kwargs)
        given = _bound(keras.Model.evaluate, self, x, y, *args, **kwargs)
        self._look(given)
        return super().evaluate(**given)

    def predict(self, x, *args, **kwargs):
        """As `keras.Model.predict`: reconstructions; for what is refused see `fit`."""
        given = {"x": x}
        self._look(given)
        return super().predict(given["x"], *args, **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, **kwargs):
        """As `keras.Model.train_on_batch`; for what is refused see `fit`."""
        given = {"x": x, "y": y, "sample_weight": sample_weight}
        self._look(given)
        return super().train_on_batch(**given, class_weight=class_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """As `keras.Model.test_on_batch`; for what is refused see `fit`."""
        given = {"x": x, "y": y, "sample_weight": sample_weight}
        self._look(given)
        return super().test_on_batch(**given, **kwargs)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; for what is refused see `fit`."""
        given = {"x": x}
        self._look(given)
        return super().predict_on_batch(given["x"])

    def _look(self, given, rows=1):
        """Check what a door was given; some of the data.

        Args:
            given: its arguments by name: x, y, sample_weight. Lists become arrays in it, and an
                iterator, of which some is read, one of all.
            rows: wanted of a stream; of arrays all are given.

        Returns:
            A list of `Batch` of NumPy arrays; none of what TensorFlow has distributed.
        """
        border = self.border
        if given.get("x") is None:
            raise UsageError("x is missing")
        for name in ("x", "y", "sample_weight"):
            is_pair = name == "x" and self.condition_dim > 0
            if given.get(name) is not None:
                given[name] = without_lists(given[name], is_pair=is_pair)
        x = given["x"]
        if isinstance(x, dict) or arrays_of(x) is not None:
            data = border.batch((x, given.get("y"), given.get("sample_weight")))
            batches = [data._replace(x=arrays_of(data.x))]
            if not self.condition_dim:
                _refuse_targets(batches[0].x, given.get("y"))
            _keep_weight(given)
        else:
            if hasattr(x, "element_spec"):
                spec = rows_of(border.batch(x.element_spec).x)
                if not hasattr(spec, "shape"):
                    return []
                border.check_tensor(spec, blocks=True)
            found, given["x"] = first_batches(x, border.rows_of_batch, rows)
            batches = [border.batch(batch) for batch in found]
            for batch in batches:
                border.check_tensor(rows_of(batch.x), blocks=True)
            batches = [self._rows_of_block(batch) for batch in batches]
        for batch in batches:
            border.check(batch.x)
            if batch.weight is not None:
                border.check_weight(batch.weight, len(rows_of(batch.x)))
        return batches

    def _rows_of_block(self, batch):
        """The rows of all steps, where a batch is a block of them."""
        if not self.is_blocks(batch.x):
            return batch
        return Batch(*_map(lambda part: part.reshape(-1, *part.shape[2:]), tuple(batch)))

    def _look_at_validation(self, given):
        data = given.get("validation_data")
        if data is None:
            return
        if isinstance(data, list) and hasattr(data[0], "shape"):
            data = tuple(data)
        names = ("x", "y", "sample_weight")
        if isinstance(data, tuple):
            if len(data) > len(names):
                raise UsageError(
                    "validation_data is x, (x, y) or (x, y, sample_weight): received "
                    f"{len(data)} parts"
                )
            own = dict(zip(names, data, strict=False))
        else:
            own = {"x": data}
        self._look(own)
        whole = arrays_of(own["x"]) is not None
        given["validation_data"] = tuple(map(own.get, names)) if whole else own["x"]

    def _prior_waits(self):
        """Whether a prior has a start to make."""
        return not (self.prior_started or self.num_steps) and self.prior.has_start

    def _start(self, batches):
        """Start the prior at some rows of batches; what to say of it."""
        x = [batch.x for batch in batches]
        together = x[0] if len(x) == 1 else _map(lambda *parts: np.concatenate(parts), *x)
        count, rng = len(rows_of(together)), generator(self.seed, "prior start rows of fit")
        rows = random_rows(count, self.prior.rows_wanted, rng)
        if not self.start_prior(_map(lambda part: part[rows], together)):
            return ""
        return f"the prior starts at {len(rows):,} rows; fit(start_prior=False) leaves it alone"

    def _calibrate_on(self, given):
        """Calibrate over the data of `fit`; what to say of it."""
        x = given["x"]
        is_read_once = isinstance(x, Iterator) or getattr(x, "num_batches", 0) is None
        if is_read_once or given.get("class_weight"):
            return "the variance stays at its moving average: no further pass over these data"
        self.calibrate_weighed(self._again(given))
        return "the variance is now that of all data; fit(calibrate=False) skips this pass"

    def _again(self, given):
        """The data of `fit` once more, at most so many rows: pairs of x and weights."""
        x = given["x"]
        if arrays_of(x) is None:
            for batch in batches_of(x, self.border.rows_of_batch, _CALIBRATION_ROWS):
                yield self._rows_of_block(self.border.batch(batch))
            return
        data = self.border.batch((x, given.get("y"), given.get("sample_weight")))
        data = data._replace(x=arrays_of(data.x))
        if data.weight is not None:
            data = data._replace(weight=np.asarray(data.weight))
        data = _first(data, _split(given, data))
        count, rng = len(rows_of(data.x)), generator(self.seed, "calibration rows of fit")
        rows = random_rows(count, _CALIBRATION_ROWS, rng)
        for part in in_parts(rows, rows_at_once(rows_of(data.x))):
            yield _map(lambda array, part=part: array[part], tuple(data))


def _bound(method, model, *args, **kwargs):
    """Arguments of a method of Keras's by name, but for the model."""
    given = inspect.signature(method).bind(model, *args, **kwargs).arguments
    given.pop("self")
    return given


def _split(given, batch):
    """How many of the rows of an array `fit` trains on, by Keras's rule."""
    split = given.get("validation_split") or 0.0
    held_out = split if given.get("validation_data") is None else 0.0
    return math.floor(len(rows_of(batch.x)) * (1.0 - held_out))


def _first(batch, rows):
    return Batch(*_map(lambda array: array[:rows], tuple(batch)))


def _map(function, *x):
    """A function of the parts of pairs or batches; None, a missing weight, stays."""
    if x[0] is None:
        return None
    if isinstance(x[0], tuple):
        return tuple(_map(function, *parts) for parts in zip(*x, strict=True))
    return function(*x)


def _refuse_targets(x, y):
    """Refuse what looks like another x to reconstruct: it would not be read."""
    y = None if y is None else arrays_of(y)
    of_x = isinstance(y, np.ndarray) and y.dtype.kind == "f" and y.shape == x.shape
    if of_x and y.shape[-1] > 1 and not np.array_equal(x, y):
        raise UsageError(
            "a VAE reconstructs x: y, of x's shape and other values, would not be read"
        )


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
