"""The names that `import kvae` gives: all there, typed, and the same for a type checker."""

import ast
import importlib
import inspect
from pathlib import Path
from typing import get_args

import keras
import pytest

import kvae
from kvae import likelihoods, networks, objectives, priors, samplers, saved_classes
from kvae.probability import posteriors

PACKAGES = (kvae, priors, likelihoods, networks, objectives)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_there(package):
    assert {*package.__all__} <= {*dir(package)}
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Mixtur'"):
        package.Mixtur  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_a_type_checker_reads_is_what_is_imported(package):
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    told = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for one in (part for part in node.body if isinstance(part, ast.ImportFrom)):
                told |= {alias.name: one.module for alias in one.names}
    for name in {*told} & {*package.__all__}:
        module = importlib.import_module(told[name])
        assert getattr(module, name) is getattr(package, name)
    lazily = {name for name in package.__all__ if name not in vars(package)}
    assert lazily <= {*told}


@pytest.mark.parametrize(
    ("names", "registry"),
    [
        (priors.PriorName, priors.PRIORS),
        (likelihoods.LikelihoodName, likelihoods.LIKELIHOODS),
        (networks.NetworkName, networks.NETWORKS),
        (objectives.ObjectiveName, objectives.OBJECTIVES),
        (samplers.SamplerName, samplers.SAMPLERS),
        (posteriors.PosteriorName, posteriors.POSTERIORS),
    ],
)
def test_literal_names_are_those_of_the_registry(names, registry):
    assert get_args(names) == tuple(registry)


def test_every_class_in_a_file_is_one_that_keras_is_told_of():
    for home in saved_classes.HOMES.values():
        importlib.import_module(home)
    registered = {
        name.removeprefix("kvae>"): value
        for name, value in keras.saving.get_custom_objects().items()
        if name.startswith("kvae>")
    }
    assert registered == {
        name: getattr(importlib.import_module(home), name)
        for name, home in saved_classes.HOMES.items()
    }
    assert all(inspect.isclass(value) for value in registered.values())


def test_it_is_typed():
    assert (Path(kvae.__file__).parent / "py.typed").is_file()
