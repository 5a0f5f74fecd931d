import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from kvae.data.images.pixels import as_levels, as_unit_interval
from kvae.inputs import as_float

ROOT = Path(__file__).parents[3]
SCALES = {"kvae/data/images/pixels.py", "kvae/inputs.py"}
# Densities of levels are in units of one; colours of a palette are no pixels; what judges the rest
# has its own.
OTHERS = ("kvae/probability/", "kvae/data/faces/canvas.py", "kvae/audit/")
LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_levels_become_the_same_floats_in_numpy_and_in_a_graph_and_come_back():
    floats = as_unit_interval(LEVELS)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(as_float(LEVELS)), floats)
    np.testing.assert_array_equal(as_levels(floats), LEVELS)
    np.testing.assert_array_equal(as_unit_interval(floats), floats)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_become_the_nearest_levels(dtype):
    images = np.array([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0, 7.0], dtype)
    np.testing.assert_array_equal(as_levels(images), [0, 0, 0, 1, 128, 255, 255])


def test_nobody_else_scales_levels():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kvae").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _scales(node)
    }
    assert {path for path in found if not path.startswith(OTHERS)} == SCALES


def _scales(node):
    """Whether something, other than a number, is divided by 255, of whatever type."""
    divisors = (one.value for one in ast.walk(node.right) if isinstance(one, ast.Constant))
    return not isinstance(node.left, ast.Constant) and 255 in divisors
