"""What training is on every backend: the loss at the noise of a step, and the figures."""

import warnings
from typing import Any, NamedTuple

import keras

from kvae.errors import UsageError
from kvae.inputs import as_float, repeat_rows, rows_of
from kvae.probability.noise import StepNoise
from kvae.probability.rows import check_of_rows
from kvae.steps.doors import Doors

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


class Examined(NamedTuple):
    """What a training step computes of a batch, before it changes anything.

    Args:
        outcome: `kvae.objectives.base.Outcome`.
        penalty: the regularisation losses, a scalar.
        gradients: of the mean loss by each trainable weight; None: it does not depend on it.
    """

    outcome: Any
    penalty: Any
    gradients: list[Any]


class Steps(Doors):
    """What stands before `keras.Model` among the bases of `kvae.VAE`, of which it is a part."""

    def make_figures(self):
        """Make what the figures of an epoch are gathered in."""
        learned = ("stddev",) if getattr(self.likelihood, "is_learned", False) else ()
        names = (*_FIGURES, *learned, *self.objective.estimates)
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.rows_seen = RowsSeen()

    @property
    def num_steps(self):
        """Training steps taken, an int; `step` is the weight that counts them."""
        return int(keras.ops.convert_to_numpy(self.step))  # of replicas int() knows nothing

    @property
    def metrics(self):
        """Means over an epoch: loss, elbo (not a loss: higher is better), distortion, rate.

        Where the likelihood learns a standard deviation of its own, that too: stddev, in units of
        x after `shift` and `scale`. With a `tc_weight` total_correlation, the estimate in the
        loss. Those that `compile` was given stand behind them.
        """
        given = [self._compile_metrics] if self.given_metrics else []
        return [*self._trackers.values(), *given]

    @property
    def metrics_variables(self):
        """Those of the metrics, and the number of rows that they are of."""
        return super().metrics_variables + self.rows_seen.variables

    def reset_metrics(self):
        """Begin a new pass over data."""
        super().reset_metrics()
        self.rows_seen.reset_state()

    def predict_step(self, data):
        """Reconstructions."""
        return self(self.border.batch(data).x, training=False)

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
        found = self.objective(self, x, noise, step, training)
        check_of_rows("the objective's loss", found.loss, rows_of(x).shape[0])
        return self.seen_by_metrics(found)

    def examined(self, x):
        """What the next training step computes of x, in the precision of training; no step is made.

        Args:
            x: `(batch, ...)`, or a pair with its condition.

        Returns:
            `Examined`, of gradients that no loss scale is in.
        """
        x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
        outcome, penalty, gradients = self.with_gradients(x)
        scale = 1.0 if self.optimizer is None else self.optimizer.scale_loss(1.0)
        gradients = [None if one is None else one / scale for one in gradients]
        return Examined(outcome, penalty, gradients)

    def has_gradient(self):
        """Whether anything trains; else a warning says so, while a step is traced."""
        if not self.trainable_variables:
            warnings.warn("everything in this model is frozen: nothing trains", stacklevel=2)
        return bool(self.trainable_variables)

    def penalty(self):
        """The regularisation losses of the networks, of x where they are of activity, a scalar."""
        ops = keras.ops
        return sum(ops.sum(ops.cast(loss, "float32")) for loss in self.losses)

    def is_blocks(self, x):
        """Whether x `(steps, batch, *element_shape)` makes many steps."""
        return len(rows_of(x).shape) == len(self.element_shape) + 2

    @staticmethod
    def part_of(x, weight, step):
        """x, or a pair, and the weights of one step of a block; weights may be None."""
        x = keras.tree.map_structure(lambda part: part[step], x)
        return x, None if weight is None else weight[step]

    def losses_of(self, outcome, weight):
        """The weighed loss of each row, `(batch,)`, by Keras's convention: no sum of weights.

        Args:
            outcome: of the rows.
            weight: of each row, `(batch,)` or `(batch, 1)`; None: 1.

        Raises:
            UsageError: weights, and the loss of a row depends on the rows beside it.
        """
        if weight is None:
            return outcome.loss
        if self.objective.compares_rows:
            raise UsageError(
                "weights of rows are not for free_bits or a tc_weight: the loss of a row depends "
                "on the rows beside it"
            )
        weight, rows = _flat(weight), outcome.loss.shape[0]
        if None not in (rows, weight.shape[0]) and weight.shape[0] != rows:
            raise UsageError(f"{rows} rows need as many weights: received {weight.shape[0]}")
        return outcome.loss * weight

    def count_step(self, x, outcome, weight, penalty):
        """What a training step leaves behind beside its gradients: figures, and its number.

        Args:
            x: its rows, a pair or not.
            outcome: of them.
            weight: of each row, or None.
            penalty: the regularisation losses, a scalar.
        """
        if getattr(self.likelihood, "is_updated", False):
            distortion = self.in_decoder_units(outcome.distortion)
            of_rows = self.of_all_rows(distortion, None if weight is None else _flat(weight))
            self.likelihood.update(*(part for part in of_rows if part is not None))
        self.track(x, outcome, weight, penalty)
        self.step.assign(self.step + 1)

    def of_all_rows(self, values, weight):
        """Values and their weights, or None, with the mean of all rows of the step.

        Args:
            values: of the rows that this device sees, `(batch,)`.
            weight: of each row, `(batch,)`, or None.
        """
        return values, weight

    def share(self):
        """The weight of what a device says of a whole step; None: 1."""

    def count_rows(self, x, outcome, weight, rows):
        """What a validation step leaves behind: figures, and how many rows they are of."""
        self.track(x, outcome, weight, self.penalty())
        self.rows_seen.update_state(rows)

    def track(self, x, outcome, weight, penalty):
        """Take the figures of a batch into those of the epoch; see `count_step`."""
        figures = outcome._asdict() | outcome.estimates
        figures["loss"] = self.losses_of(outcome, weight) + penalty
        if weight is not None:
            weight = keras.ops.repeat(_flat(weight), self.objective.draws)
        weighed = {"elbo": weight, "distortion": weight, "rate": weight, "stddev": self.share()}
        if "stddev" in self._trackers:
            variance = keras.ops.mean(self.likelihood.current_variance())
            figures["stddev"] = keras.ops.sqrt(variance)
        for name, tracker in self._trackers.items():
            tracker.update_state(figures[name], sample_weight=weighed.get(name))
        if self.given_metrics:
            seen = repeat_rows(as_float(rows_of(x)), self.objective.draws)
            self._compile_metrics.update_state(seen, outcome.decoded, sample_weight=weight)

    def results(self):
        """Name -> mean of each figure so far."""
        return self.get_metrics_result()


def _flat(weight):
    """`(batch,)` float32, of `(batch, 1)` too."""
    return keras.ops.reshape(keras.ops.cast(weight, "float32"), (-1,))


def places(x):
    """The place of each row in the batch, `(batch,)` int32; of several replicas see `replicas`."""
    return keras.ops.arange(len(rows_of(x)), dtype="int32")
