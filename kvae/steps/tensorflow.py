"""Steps under TensorFlow: blocks of them in the graph, and on several replicas."""

import tensorflow as tf

from kvae.errors import UsageError
from kvae.inputs import rows_of
from kvae.steps import base, replicas
from kvae.steps.replicas import places

DEVICE_ERRORS = (tf.errors.OpError,)


class Steps(base.Steps):
    """`train_step` and `test_step`."""

    def before_fit(self):
        """Make the optimizer's variables: a step that makes them is traced twice by TensorFlow."""
        if self.compiled and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def make_test_function(self, force=False):
        """As Keras's, but never by XLA: compiling takes longer than validation saves."""
        compiled, self.jit_compile = self.jit_compile, False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = compiled

    def train_step(self, data):
        """One gradient step on the mean loss of the objective.

        x of shape `(steps, batch, *element_shape)` makes that many steps in one loop of the graph:
        for small models most of a step's time is the way in and out of it. Not under a
        distribution strategy of several replicas.
        """
        x, weight = self.border.batch(data)
        if self.is_blocks(x):
            if replicas.count() > 1:
                raise UsageError("blocks of steps are for one replica: give batches of rows")
            count = tf.shape(rows_of(x))[0]
            tf.while_loop(
                lambda step: step < count, lambda step: self._next_step(x, weight, step), (0,)
            )
        else:
            self._gradient_step(x, weight)
        return self.results()

    def _next_step(self, x, weight, step):
        self._gradient_step(*self.part_of(x, weight, step))
        return (step + 1,)

    def _gradient_step(self, x, weight):
        rows, count = places(x)
        with tf.GradientTape() as tape:
            found, penalty, scaled = self._scaled(x, weight, rows, count)
        if self.has_gradient():
            gradients = tape.gradient(scaled, self.trainable_variables)
            if replicas.count() > 1:
                replicas.take_sums(self.optimizer)
                gradients = replicas.summed(gradients)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.count_step(x, found, weight, penalty)

    def _scaled(self, x, weight, rows, count):
        found = self.outcome(x, rows, training=True)
        # Gradients are summed over replicas, and float16 losses scaled against underflow.
        losses, penalty = self.losses_of(found, weight), self.penalty()
        objective = tf.reduce_sum(losses) / tf.cast(count, "float32")
        return found, penalty, self.optimizer.scale_loss(objective + penalty / replicas.count())

    def of_all_rows(self, values, weight):
        """As on one device; of several replicas their mean alone, `(1,)`."""
        if replicas.count() == 1:
            return values, weight
        return replicas.global_mean(values, weight), None

    def with_gradients(self, x):
        """The outcome of x, penalty and scaled gradients of a step that is not made."""
        with tf.GradientTape() as tape:
            found, penalty, scaled = self._scaled(x, None, *places(x))
        return found, penalty, tape.gradient(scaled, self.trainable_variables)

    def test_step(self, data):
        """The same figures without a gradient step."""
        x, weight = self.border.batch(data)
        rows, count = places(x)
        self.count_rows(x, self.outcome(x, rows, training=False), weight, count)
        return self.results()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """In place of Keras's, which under a strategy takes the mean of the replicas' first batch.

        That fails where their parts are uneven, and for pairs on several machines. All but the
        optimizer's variables is there.
        """
        if tf.distribute.has_strategy() or self.distribute_strategy.num_replicas_in_sync > 1:
            self.before_fit()

    def results(self):
        """As on one device; of several machines Keras reduces vectors alone (keras#20585)."""
        found = super().results()
        if replicas.on_machines():
            return {name: tf.reshape(value, (1,)) for name, value in found.items()}
        return found

    def share(self):
        """As on one device; of several replicas each says the same."""
        return None if replicas.count() == 1 else 1 / replicas.count()

    def compile_function(self, function):
        """A function that reads the model's weights, as a graph."""
        return tf.function(function, reduce_retracing=True, autograph=False)
