"""Names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

from kvae import backend


def names(
    package: str, homes: Mapping[str, str], *, light: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package calls `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        homes: name -> the module that has it; the module itself where it is called
            `package.name`.
        light: the names that need neither Keras nor its backend.

    Returns:
        `__getattr__`, which imports Keras quietly where a name needs it, and `__dir__`, which
        lists the public names: those of `homes` and of `__all__`.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name not in light:
            backend.quiet_keras()
        module = import_module(homes[name])
        return module if homes[name] == f"{package}.{name}" else getattr(module, name)

    def listed() -> list[str]:
        own = vars(sys.modules[package])
        dunders = [name for name in own if name.startswith("__") and name.endswith("__")]
        return sorted({*own.get("__all__", ()), *homes, *dunders})

    return get, listed
