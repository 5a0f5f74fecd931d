"""Steps under JAX: functions of a state, which Keras's trainer compiles and hands on."""

import jax
import keras

from kvae.inputs import rows_of
from kvae.steps import base
from kvae.steps.stateless import after, pairs

DEVICE_ERRORS = (jax.errors.JaxRuntimeError,)


class Steps(base.Steps):
    """`train_step` and `test_step`."""

    def train_step(self, state, data):
        """As under TensorFlow, for blocks of steps too: the figures, and the state after it."""
        batch = self.border.batch(data)
        if self.is_blocks(batch.x):
            state, _ = jax.lax.scan(
                lambda now, part: (self._gradient_step(now, *part), None), state, tuple(batch)
            )
        else:
            state = self._gradient_step(state, *batch)
        with keras.StatelessScope(zip(self.metrics_variables, state[3], strict=True)):
            return self.results(), state

    def _gradient_step(self, state, x, weight):
        trained, others, optimizer, metrics = state
        gradient = jax.grad(self._loss, has_aux=True)
        gradients, (found, penalty, others, metrics) = gradient(
            trained, others, metrics, optimizer, x, weight
        )
        if self.has_gradient():
            trained, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trained)
        known = self._known(trained, others, metrics)
        with keras.StatelessScope(pairs(*known)) as scope:
            self.count_step(x, found, weight, penalty)
        return list(trained), after(scope, *known[1]), list(optimizer), after(scope, *known[2])

    def _known(self, trained, others, metrics):
        return (
            (self.trainable_variables, trained), (self.non_trainable_variables, others),
            (self.metrics_variables, metrics),
        )  # fmt: skip

    def _loss(self, trained, others, metrics, optimizer, x, weight):
        known = self._known(trained, others, metrics)
        scaling = (self.optimizer.variables, optimizer)
        with keras.StatelessScope(pairs(*known, scaling), collect_losses=True) as scope:
            found = self.outcome(x, base.places(x), training=True)
            penalty = self.penalty()
            loss = keras.ops.mean(self.losses_of(found, weight)) + penalty
            loss = self.optimizer.scale_loss(loss)
        return loss, (found, penalty, after(scope, *known[1]), after(scope, *known[2]))

    def with_gradients(self, x):
        """The outcome of x, penalty and scaled gradients of a step that is not made."""
        state = (
            self.trainable_variables, self.non_trainable_variables, self.metrics_variables,
            self.optimizer.variables,
        )  # fmt: skip
        values = [[variable.value for variable in variables] for variables in state]
        gradients, (found, penalty, *_) = jax.grad(self._loss, has_aux=True)(*values, x, None)
        return found, penalty, gradients

    def test_step(self, state, data):
        """The same figures without a gradient step, and the state after it."""
        trained, others, metrics = state
        x, weight = self.border.batch(data)
        known = self._known(trained, others, metrics)
        with keras.StatelessScope(pairs(*known), collect_losses=True) as scope:
            found = self.outcome(x, base.places(x), training=False)
            self.count_rows(x, found, weight, len(rows_of(x)))
            logs = self.results()
        return logs, (trained, others, after(scope, *known[2]))

    def predict_step(self, state, data):
        """Reconstructions, and the state as it was."""
        trained, others = state
        known = ((self.trainable_variables, trained), (self.non_trainable_variables, others))
        with keras.StatelessScope(pairs(*known)):
            return self(self.border.batch(data).x, training=False), others

    def compile_function(self, function):
        """A function that reads the model's weights, compiled with them as arguments."""

        def within(values, *args):
            with keras.StatelessScope(pairs((self.variables, values))):
                return function(*args)

        run = jax.jit(within)
        return lambda *args: run([variable.value for variable in self.variables], *args)
