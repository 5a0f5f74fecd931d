"""One gradient step and one test step, in a file for each backend of Keras.

Each takes the loss from `base.Steps.outcome`: a function of the model's weights, x, its rows and
the step.
"""

from importlib import import_module

import keras

_of_backend = import_module(f"kvae.steps.{keras.backend.backend()}")

#: The training and test steps of the backend in use.
Steps = _of_backend.Steps
#: What the backend raises where the machine fails, such as for want of memory.
DEVICE_ERRORS = _of_backend.DEVICE_ERRORS


def compiling(steps):
    """What `compile` is told for short steps, of so many an epoch.

    TensorFlow runs several in one call. JAX would unroll them, and is slow to compile; torch takes
    one. A step of Keras's own is compiled by XLA under JAX alone, which else runs it op by op.
    """
    name = keras.backend.backend()
    together = min(steps, 32) if name == "tensorflow" else 1
    return {"jit_compile": name == "jax", "steps_per_execution": together}
