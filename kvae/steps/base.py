"""What training is on every backend: the loss at the noise of a step, and the figures."""

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.inputs import as_float, rows_of
from kvae.probability.noise import StepNoise
from kvae.probability.streams import generator
from kvae.shapes import check_array, check_condition_array

_FIGURES = ("loss", "elbo", "distortion", "rate")


class RowsSeen(keras.metrics.Metric):
    """How many rows a pass over the data has seen; reset with the other metrics."""

    def __init__(self):
        super().__init__(name="rows_seen", dtype="int32")
        self.count = self.add_variable(shape=(), initializer="zeros", dtype="int32", name="count")

    def update_state(self, count):
        """Add the rows of a batch."""
        self.count.assign(self.count + count)

    def result(self):
        """The number of rows, int32."""
        return keras.ops.convert_to_tensor(self.count)


class Steps:
    """What stands before `keras.Model` among the bases of `kvae.VAE`, of which it is a part."""

    def make_figures(self):
        """Make what the figures of an epoch are gathered in."""
        learned = ("stddev",) if getattr(self.likelihood, "is_learned", False) else ()
        names = (*_FIGURES, *learned, *self.objective.estimates)
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.rows_seen = RowsSeen()

    @property
    def metrics(self):
        """Means over an epoch: loss, elbo (not a loss: higher is better), distortion, rate.

        Where the likelihood learns a standard deviation of its own, that too: stddev, in units of
        x after `shift` and `scale`. With a `tc_weight` total_correlation, the estimate in the
        loss.
        """
        return list(self._trackers.values())

    @property
    def metrics_variables(self):
        """Those of the metrics, and the number of rows that they are of."""
        return super().metrics_variables + self.rows_seen.variables

    def reset_metrics(self):
        """Begin a new pass over data."""
        super().reset_metrics()
        self.rows_seen.reset_state()

    def fit(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.fit`, for arrays and `tf.data`; a NumPy array is looked at first.

        y is the condition of a conditional model; others pass over it.

        Raises:
            UsageError: rows of another shape, or values that the likelihood has no density for:
                they would end in a loss that is not finite.
        """
        rows, condition = x if self.condition_dim and isinstance(x, tuple | list) else (x, y)
        if isinstance(rows, np.ndarray):
            check_array(rows, self.element_shape, self.likelihood)
            if self.condition_dim:
                check_condition_array(condition, (len(rows), self.condition_dim))
        if hasattr(x, "element_spec"):
            # The order of a `tf.data` is its own; Keras would say so in a warning each time.
            kwargs.setdefault("shuffle", False)
        return super().fit(x, y, *args, **kwargs)

    def x_of(self, data):
        """x, or the pair, of what Keras hands to a step: x, (x,), (x, y), ((x, condition),)."""
        if not self.condition_dim:
            return data[0] if isinstance(data, tuple | list) else data
        if isinstance(data, tuple | list) and len(data) == 1:
            data = data[0]
        if not isinstance(data, tuple | list) or len(data) < 2 or data[1] is None:
            raise UsageError("a conditional model is given conditions: fit(x, condition)")
        return tuple(data[:2])

    def predict_step(self, data):
        """Reconstructions."""
        return self(self.x_of(data), training=False)

    def outcome(self, x, rows, training):
        """The objective of a batch, at the noise of its step or of its place in a pass.

        Args:
            x: `(batch, ...)`, or a pair with its condition.
            rows: the place of each row in the global batch, `(batch,)` int32.
            training: as in Keras. False: the rows stand behind those that the pass has seen.

        Returns:
            `kvae.objectives.base.Outcome`.
        """
        step, draws = keras.ops.convert_to_tensor(self.step), self.objective.draws
        if training:
            noise = StepNoise.training(self.seed, step, rows, draws)
        else:
            noise = StepNoise.validation(self.seed, rows + self.rows_seen.result(), draws)
            # At the end of a cycle of beta the next step's would be near 0.
            step = keras.ops.maximum(step - 1, 0)
        return self.objective(self, x, noise, step, training)

    def count_step(self, outcome):
        """What a training step leaves behind beside its gradients: figures, and its number."""
        if getattr(self.likelihood, "is_updated", False):
            self.likelihood.update(self.in_decoder_units(outcome.distortion))
        self.track(outcome)
        self.step.assign(self.step + 1)

    def count_rows(self, outcome, rows):
        """What a validation step leaves behind: figures, and how many rows they are of."""
        self.track(outcome)
        self.rows_seen.update_state(rows)

    def track(self, outcome):
        """Take the figures of a batch into those of the epoch."""
        figures = outcome._asdict() | outcome.estimates
        if "stddev" in self._trackers:
            variance = keras.ops.mean(self.likelihood.current_variance())
            figures["stddev"] = keras.ops.sqrt(variance)
        for name, tracker in self._trackers.items():
            tracker.update_state(figures[name])

    def results(self):
        """Name -> mean of each figure so far."""
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def in_decoder_units(self, distortion):
        """The distortion of x after `shift` and `scale`."""
        log_scale = np.log(np.broadcast_to(self.scale, self.element_shape), dtype="float64")
        return distortion - float(log_scale.sum())

    def calibrate(self, batches):
        """Set the variance "optimal" to its maximum-likelihood value; others are left alone.

        `fit` leaves a moving average over its last steps there.

        Args:
            batches: of x, or of pairs; one draw from the posterior of each row is taken.
        """
        if not getattr(self.likelihood, "is_updated", False):
            return
        seed = int(generator(self.seed, "calibration").integers(2**63))
        error = self.compile_function(
            lambda x, rows: self._squared_error(x, StepNoise.validation(seed, rows))
        )
        total, count = 0.0, 0
        for x in batches:
            x = as_float(x)
            rows = len(rows_of(x))
            places = np.arange(count, count + rows, dtype="int32")
            total, count = total + rows * float(error(x, places)), count + rows
        self.likelihood.mean_squared_error.assign([total / count])

    def _squared_error(self, x, noise):
        terms = self.elbo_terms(x, noise)
        return self.likelihood.mean_squared_error_of(self.in_decoder_units(terms.distortion))


def places(x):
    """The place of each row in the batch, `(batch,)` int32; of several replicas see `replicas`."""
    return keras.ops.arange(len(rows_of(x)), dtype="int32")
