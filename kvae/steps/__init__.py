"""One gradient step and one test step, in a file for each backend of Keras.

Each takes the loss from `base.Steps.outcome`: a function of the model's weights, x, its rows and
the step.
"""

from importlib import import_module

import keras

#: The training and test steps of the backend in use.
Steps = import_module(f"kvae.steps.{keras.backend.backend()}").Steps
