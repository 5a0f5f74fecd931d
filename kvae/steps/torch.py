"""Steps under torch."""

import keras
import torch

from kvae.inputs import rows_of
from kvae.steps import base

DEVICE_ERRORS = (RuntimeError,)


class Steps(base.Steps):
    """`train_step` and `test_step`."""

    def train_step(self, data):
        """As under TensorFlow, for blocks of steps too."""
        x, weight = self.border.batch(data)
        if self.is_blocks(x):
            for step in range(len(rows_of(x))):
                self._gradient_step(*self.part_of(x, weight, step))
        else:
            self._gradient_step(x, weight)
        return self.results()

    def _gradient_step(self, x, weight):
        self.zero_grad()
        found = self.outcome(x, base.places(x), training=True)
        penalty = self.penalty()
        if self.has_gradient():
            loss = keras.ops.mean(self.losses_of(found, weight)) + penalty
            self.optimizer.scale_loss(loss).backward()
            variables = self.trainable_variables
            with torch.no_grad():
                self.optimizer.apply([variable.value.grad for variable in variables], variables)
        with torch.no_grad():
            self.count_step(x, found, weight, penalty)

    def with_gradients(self, x):
        """The outcome of x, penalty and scaled gradients of a step that is not made."""
        self.zero_grad()
        found = self.outcome(x, base.places(x), training=True)
        penalty = self.penalty()
        loss = keras.ops.mean(self.losses_of(found, None)) + penalty
        self.optimizer.scale_loss(loss).backward()
        return found, penalty, [variable.value.grad for variable in self.trainable_variables]

    def test_step(self, data):
        """The same figures without a gradient step."""
        x, weight = self.border.batch(data)
        found = self.outcome(x, base.places(x), training=False)
        self.count_rows(x, found, weight, len(rows_of(x)))
        return self.results()

    def compile_function(self, function):
        """A function that reads the model's weights, without a record for gradients."""
        return torch.no_grad()(function)
