"""Variational autoencoders for Keras 3.

`import kvae` answers at once: Keras and its backend are imported when a name that needs them is
first used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kvae import backend

_HOMES = {
    "VAE": "kvae.model",
    "build_vae": "kvae.build",
    "load_model": "kvae.build",
    "data": "kvae.data",
}
_DISTRIBUTION = "keras-vae-kit"  # its name in setup.cfg
__all__ = ["VAE", "build_vae", "data", "load_model"]

try:
    __version__ = version(_DISTRIBUTION)
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kvae' has no attribute {name!r}")
    backend.check(backend.wanted())
    module = import_module(_HOMES[name])
    return module if name == "data" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
