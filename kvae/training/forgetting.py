"""What a process keeps of models that are gone, for programs that train many of them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from tensorflow.python.framework import ops

_OF_GRAPHS = "CustomGradient-"


@contextmanager
def forgotten() -> Iterator[None]:
    """Free at the end what models that were made and traced meanwhile leave behind.

    Nothing of them may be used after that. TensorFlow registers gradients of activations that it
    traces for good, and with them the whole graph: 13 MB for each training of a small model.
    """
    before = {*_registered()}
    try:
        yield
    finally:
        keras.backend.clear_session()
        gradients = _registered()
        for name in {*gradients} - before:
            if name.startswith(_OF_GRAPHS):
                del gradients[name]
        gc.collect()


def _registered() -> dict:
    """TensorFlow's gradients by name; a version without such a dict keeps what it keeps."""
    found = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    return found if isinstance(found, dict) else {}
