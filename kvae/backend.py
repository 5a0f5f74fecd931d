"""Which backend of Keras computes: TensorFlow, JAX or torch.

Keras reads KERAS_BACKEND once, when it is imported; nothing here imports Keras.
"""

import gc
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvae.errors import UsageError

TENSORFLOW, JAX, TORCH = "tensorflow", "jax", "torch"
BACKENDS = (TENSORFLOW, JAX, TORCH)
VARIABLE = "KERAS_BACKEND"
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Keras imports them where they are, for wrappers and plots that no program of kvae uses: they are
# a quarter of the time that its import takes.
_UNUSED_BY_KERAS = ("matplotlib", "sklearn")


class _Program:
    """Whether this process is a program of kvae alone, with no code of its user's in it."""

    is_on = False


#: `kvae.cli.run` switches it on.
PROGRAM = _Program()


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


def prefer_onednn() -> None:
    """Have TensorFlow convolve with oneDNN on any x86, unless the variable says otherwise.

    By itself it does so on processors with AVX-512 alone, and with kernels of its own on others, on
    which a training step of the network "conv" takes 1.8 times as long. TensorFlow reads the
    variable once, when it is imported.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault(_ONEDNN, "1")


def quiet_keras() -> None:
    """Import Keras and its backend, which say nothing, unless they are there already.

    Raises:
        UsageError: the backend is not installed.
    """
    name = wanted()
    check(name)
    if name == TENSORFLOW and "keras" not in sys.modules:
        # Of what TensorFlow says later, when it first computes.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        quiet_import("keras")


def quiet_import(name: str) -> Any:
    """Import a module that imports TensorFlow, without TensorFlow's lines about absent GPUs.

    They come from C++ before any of its log levels is read. Where there is an NVIDIA device, or
    the import fails, they are shown.
    """
    if sys.stderr is None:  # a program without a console
        return import_module(name)
    sys.stderr.flush()
    shown = os.dup(2)
    succeeded = False
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            with _no_collections():
                if PROGRAM.is_on and "keras" not in sys.modules:
                    _import_lean_keras()
                module = import_module(name)
                import_module("tensorflow").config.list_physical_devices()
            succeeded = True
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            if not succeeded or Path("/dev/nvidia0").exists():
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))
    return module


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python's collector from looking, at every step of an import, at all that came before.

    Modules are not garbage: it finds nothing, for a fifth of the time that TensorFlow takes. In a
    program it looks at them never again, which would cost most at the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if PROGRAM.is_on:
            gc.freeze()
        if was_on:
            gc.enable()


def _import_lean_keras() -> None:
    """Import Keras as if scikit-learn and Matplotlib were not installed; others find them after."""
    absent = [name for name in _UNUSED_BY_KERAS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        import_module("keras")
    finally:
        for name in absent:
            del sys.modules[name]
