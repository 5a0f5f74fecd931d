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
        x = self.x_of(data)
        if len(rows_of(x).shape) == len(self.element_shape) + 2:
            state, _ = jax.lax.scan(lambda now, x: (self._gradient_step(now, x), None), state, x)
        else:
            state = self._gradient_step(state, x)
        with keras.StatelessScope(zip(self.metrics_variables, state[3], strict=True)):
            return self.results(), state

    def _gradient_step(self, state, x):
        trained, others, optimizer, metrics = state
        gradient = jax.grad(self._loss, has_aux=True)
        gradients, (found, others, metrics) = gradient(trained, others, metrics, optimizer, x)
        trained, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trained)
        known = self._known(trained, others, metrics)
        with keras.StatelessScope(pairs(*known)) as scope:
            self.count_step(found)
        return list(trained), after(scope, *known[1]), list(optimizer), after(scope, *known[2])

    def _known(self, trained, others, metrics):
        return (
            (self.trainable_variables, trained), (self.non_trainable_variables, others),
            (self.metrics_variables, metrics),
        )  # fmt: skip

    def _loss(self, trained, others, metrics, optimizer, x):
        known = self._known(trained, others, metrics)
        scaling = (self.optimizer.variables, optimizer)
        with keras.StatelessScope(pairs(*known, scaling), collect_losses=True) as scope:
            found = self.outcome(x, base.places(x), training=True)
            loss = keras.ops.mean(found.loss) + sum(self.losses)
            loss = self.optimizer.scale_loss(loss)
        return loss, (found, after(scope, *known[1]), after(scope, *known[2]))

    def test_step(self, state, data):
        """The same figures without a gradient step, and the state after it."""
        trained, others, metrics = state
        x = self.x_of(data)
        known = self._known(trained, others, metrics)
        with keras.StatelessScope(pairs(*known)) as scope:
            self.count_rows(self.outcome(x, base.places(x), training=False), len(rows_of(x)))
            logs = self.results()
        return logs, (trained, others, after(scope, *known[2]))

    def predict_step(self, state, data):
        """Reconstructions, and the state as it was."""
        trained, others = state
        known = ((self.trainable_variables, trained), (self.non_trainable_variables, others))
        with keras.StatelessScope(pairs(*known)):
            return self(self.x_of(data), training=False), others

    def compile_function(self, function):
        """A function that reads the model's weights, compiled with them as arguments."""

        def within(values, *args):
            with keras.StatelessScope(pairs((self.variables, values))):
                return function(*args)

        run = jax.jit(within)
        return lambda *args: run([variable.value for variable in self.variables], *args)
