"""Which backend of Keras computes: TensorFlow, JAX or torch.

Keras reads KERAS_BACKEND once, when it is imported; nothing here imports Keras.
"""

import os
import sys
from importlib.util import find_spec

from kvae.errors import UsageError

TENSORFLOW, JAX, TORCH = "tensorflow", "jax", "torch"
BACKENDS = (TENSORFLOW, JAX, TORCH)
VARIABLE = "KERAS_BACKEND"


def wanted() -> str:
    """What KERAS_BACKEND says, else TensorFlow."""
    return os.environ.get(VARIABLE) or TENSORFLOW


def check(name: str) -> None:
    """See that a backend is installed; others than `BACKENDS` are for Keras to judge.

    Raises:
        UsageError: it is not.
    """
    if name in BACKENDS and name not in sys.modules and find_spec(name) is None:
        raise UsageError(
            f"the backend {name} is not installed: pip install -e "
            f'".{"" if name == TENSORFLOW else f"[{name}]"}"'
        )


def use(name: str) -> None:
    """Have Keras compute with a backend, whatever KERAS_BACKEND says.

    Args:
        name: one of `BACKENDS`.

    Raises:
        UsageError: it is not installed, or Keras was imported with another.
    """
    check(name)
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != name:
        raise UsageError(
            f"Keras was imported with the backend {keras.backend.backend()}: set {VARIABLE} to "
            f"{name} before it is"
        )
    os.environ[VARIABLE] = name
