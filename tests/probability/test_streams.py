import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kvae.data import load
from kvae.data.gmm import random_mixture
from kvae.data.splits import SPLITS, random_split, random_tenth
from kvae.probability import streams
from kvae.probability.streams import STREAMS, generator

KVAE = Path(__file__).parents[2] / "kvae"
# Functions that make a stream of their own, and why.
ALLOWED = {
    "data/gmm.py:load": "points of published mixtures came from streams spawned of the seed",
    "audit/independent/flow.py:Flow.__init__": "what judges a flow draws its orders by itself",
    "audit/of_data.py:_some": "what judges chooses its rows by itself",
    "audit/of_metrics.py:_modes": "what judges draws its points by itself",
    "audit/of_draws.py:of_draws": "and its latents, pairs and proposals",
    "data/images/binarization.py:RowWords.__init__": "a row has numbers of its own, by its place",
}
SOURCES = ("np.random.", "numpy.random.", "keras.random.")
TYPES = {"np.random.Generator"}


def _functions(tree, name=""):
    """Every outermost function or method as (name, node), and what stands outside of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{name}{node.name}.")
        else:
            yield name + getattr(node, "name", "module"), node


def _nodes():
    for path in sorted(KVAE.rglob("*.py")):
        if path.name == "streams.py":
            continue
        for name, function in _functions(ast.parse(path.read_text())):
            where = f"{path.relative_to(KVAE)}:{name}"
            yield from ((where, node) for node in ast.walk(function))


def test_each_name_is_used_in_one_function_and_none_is_left_over():
    owners = {name: set() for name in STREAMS}
    for where, node in _nodes():
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "generator":
            name = node.args[1]
            assert isinstance(name, ast.Constant), f"{where}: the name of a stream is a literal"
            if not where.startswith("audit/"):  # which computes once more what others drew
                owners[name.value].add(where)
    assert {name: own for name, own in owners.items() if len(own) != 1} == {}


def test_nothing_else_makes_a_stream():
    found = set()
    for where, node in _nodes():
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if isinstance(node, ast.Name) and node.id in ("default_rng", "RandomState"):
            found.add(where)
        if text.startswith(SOURCES) and text not in TYPES:
            found.add(where)
    assert found <= set(ALLOWED)


def test_no_two_parts_that_are_given_the_same_seed_share_a_number():
    counts = Counter(streams._OF_THE_SEED.values())
    assert max(counts.values()) == 1
    groups = (streams._OF_DATA, streams._OF_OWN_SEEDS, streams._OF_THE_SEED)
    assert sum(map(len, groups)) == len(STREAMS)
    values = [generator(5, name).integers(2**63) for name in streams._OF_THE_SEED]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 1])
def test_number_0_is_the_plain_stream_of_the_seed(seed):
    plain = np.random.default_rng(seed).integers(2**63, size=5)
    np.testing.assert_array_equal(generator(seed, "split").integers(2**63, size=5), plain)
    numbered = np.random.default_rng([seed, 2]).random(5)
    np.testing.assert_array_equal(generator(seed, "faces test").random(5), numbered)


def test_data_and_splits_are_those_of_published_cards():
    assert random_split(20, 3)["test"].tolist() == [5, 19]
    assert random_tenth(np.arange(20), 3)[1].tolist() == [12, 16]
    weights = random_mixture(3, 3, 5.0, 4).weights
    np.testing.assert_allclose(weights, [0.240536307556, 0.601864711896, 0.157598980547], rtol=1e-9)
    splits = load("faces", image_size=32, faces_seed=5, faces_count=20)
    tilts = [getattr(splits, name).labels["factor_tilt"][0] for name in SPLITS]
    np.testing.assert_allclose(tilts, [0.790896475, 0.421879083, 0.226726726], rtol=1e-6)
