"""The classes of kvae that stand in `.keras` files, told to Keras before they are imported.

So `import kvae` is all that `keras.saving.load_model` needs, without importing Keras itself.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Class -> the module that registers it as `kvae>Class`.
HOMES = {
    "VAE": "kvae.build",
    "Bernoulli": "kvae.likelihoods.bernoulli",
    "Conv2D": "kvae.networks.convolutions",
    "Conv2DTranspose": "kvae.networks.convolutions",
    "Cyclical": "kvae.probability.schedules",
    "DiscretizedLogistic": "kvae.likelihoods.discretized_logistic",
    "Elbo": "kvae.objectives.elbo",
    "Flow": "kvae.priors.flow",
    "Gaussian": "kvae.likelihoods.gaussian",
    "GroupNormalization": "kvae.networks.normalisation",
    "Head": "kvae.networks.head",
    "Iwae": "kvae.objectives.iwae",
    "LinearWarmup": "kvae.probability.schedules",
    "Mixture": "kvae.priors.mixture",
    "SecondStage": "kvae.priors.second_stage",
    "StandardNormal": "kvae.priors.standard_normal",
    "Vamp": "kvae.priors.vamp",
}


class _NotYetImported:
    """Stands for a class until its module is imported, which puts the class in its place."""

    def __init__(self, name: str, home: str):
        self.__name__, self._home = name, home

    def from_config(self, config: dict[str, Any]) -> Any:
        """Import the class, and make an instance."""
        return getattr(import_module(self._home), self.__name__).from_config(config)


def tell_keras() -> None:
    """Register all classes with Keras: now, or as soon as somebody imports it."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def _register(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for name, home in HOMES.items():
        known.setdefault(f"kvae>{name}", _NotYetImported(name, home))


class _KerasFinder(MetaPathFinder):
    """Finds Keras as the other finders do, and has it told when it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of Keras alone."""
        if fullname != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _KerasLoader(spec.loader, self)
        return spec


class _KerasLoader(Loader):
    """Loads once, registers, and leaves no trace."""

    def __init__(self, loader: Loader, finder: MetaPathFinder):
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the loader does, then register."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._loader.exec_module(module)
        _register(module)
