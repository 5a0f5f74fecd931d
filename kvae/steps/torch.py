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
        x = self.x_of(data)
        if len(rows_of(x).shape) == len(self.element_shape) + 2:
            for step in range(len(rows_of(x))):
                self._gradient_step(keras.tree.map_structure(lambda part: part[step], x))  # noqa: B023
        else:
            self._gradient_step(x)
        return self.results()

    def _gradient_step(self, x):
        self.zero_grad()
        found = self.outcome(x, base.places(x), training=True)
        loss = keras.ops.mean(found.loss) + sum(self.losses)
        self.optimizer.scale_loss(loss).backward()
        variables = self.trainable_variables
        with torch.no_grad():
            self.optimizer.apply([variable.value.grad for variable in variables], variables)
            self.count_step(found)

    def test_step(self, data):
        """The same figures without a gradient step."""
        x = self.x_of(data)
        self.count_rows(self.outcome(x, base.places(x), training=False), len(rows_of(x)))
        return self.results()

    def compile_function(self, function):
        """A function that reads the model's weights, without a record for gradients."""
        return torch.no_grad()(function)
