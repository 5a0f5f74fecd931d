"""What the second implementation is of its own: its imports, known answers, verdicts."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import multivariate_normal

from kvae.audit import independent
from kvae.audit.independent.distributions import Full, Levels, Precision
from kvae.audit.independent.flow import Flow
from kvae.audit.independent.noise import threefry
from kvae.audit.verdicts import (
    AGREES,
    DIFFERS,
    NOT_CHECKED,
    compared,
    compared_bits,
    noise_of,
)

_MAY_IMPORT = {"numpy", "scipy", "h5py"}
_STANDARD = {"collections", "dataclasses", "io", "json", "math", "pathlib", "typing", "zipfile"}


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert name not in ("__import__", "import_module", "quiet_import", "exec", "eval")


def test_it_imports_numpy_and_scipy_and_nothing_of_what_it_judges():
    paths = sorted(Path(independent.__file__).parent.glob("*.py"))
    assert len(paths) > 5
    for path in paths:
        for name in _imported(path):
            if name.split(".")[0] in _MAY_IMPORT | _STANDARD:
                continue
            assert name.startswith("kvae.audit.independent"), f"{path.name} imports {name}"


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_has_the_known_answers_of_its_authors(key, counter, words):
    assert tuple(int(word) for word in threefry(key, counter)) == words


def test_full_normals_have_the_density_of_scipy(rng):
    params = rng.normal(size=(1, 9))
    normal = Full.of_encoder(params)
    root = normal._root[0]
    x = rng.normal(size=(1, 3))
    expected = multivariate_normal(params[0, :3], root @ root.T).logpdf(x[0])
    np.testing.assert_allclose(normal.log_prob(x), expected)
    np.testing.assert_allclose(normal.variance()[0], np.diag(root @ root.T))


def test_precisions_have_the_density_of_scipy(rng):
    mean, log_precision, entries = (rng.normal(size=(1, 3)) for _ in range(3))
    normal = Precision(mean, log_precision, entries)
    root, x = normal._root[0], rng.normal(size=(1, 3))
    covariance = np.linalg.inv(root @ root.T)
    expected = multivariate_normal(mean[0], covariance).logpdf(x[0])
    np.testing.assert_allclose(normal.log_prob(x), expected)
    np.testing.assert_allclose(normal.variance()[0], np.diag(covariance))


def test_levels_are_a_distribution_with_its_moments(rng):
    means, scales = rng.random((1, 1, 1, 2, 1)), rng.random((1, 1, 1, 2, 1)) / 10
    logits = rng.normal(size=(1, 1, 1, 2))
    levels = Levels(means, scales, logits)
    values = np.arange(256) / 255
    masses = np.exp([levels.log_prob(np.full((1, 1, 1, 1), value))[0] for value in values])
    np.testing.assert_allclose(masses.sum(), 1.0)
    mean = masses @ values
    np.testing.assert_allclose(levels.variance().item(), masses @ (values - mean) ** 2)
    assert abs(levels.mean().item() - mean) < 0.5 / 255
    same = Levels(*(np.repeat(part, 20_000, axis=0) for part in (means, scales, logits)))
    drawn = same.draw(rng.random((20_000, 2))).reshape(-1)
    counts = np.bincount(np.round(drawn * 255).astype(int), minlength=256)
    np.testing.assert_allclose(counts / 20_000, masses, atol=5 * np.sqrt(masses.max() / 20_000))


def test_a_flow_integrates_to_one(rng):
    shapes = [(2,), (2,), (2, 2), (2, 2)]
    shapes += [(2, 1, 4), (2, 4), (2, 4, 4), (2, 4), (2, 4, 4), (2, 4), (2, 4, 2), (2, 2)]
    own = [0.3 * rng.normal(size=shape) for shape in shapes]
    flow = Flow({"num_layers": 2, "num_blocks": 1, "seed": 0}, own, 2)
    axis = np.linspace(-12, 12, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(flow.log_prob(grid)).reshape(401, 401)
    assert abs(integrate.simpson(integrate.simpson(density, x=axis), x=axis) - 1) < 1e-3


def test_what_is_as_near_as_rounding_agrees_and_what_moves_every_row_does_not(rng):
    own = rng.normal(size=256) + 100
    rounded = own.astype(np.float32).astype(np.float64)
    assert compared("w", own.astype(np.float32), own, rounded).verdict == AGREES
    assert compared("w", own + 0.01, own, rounded).verdict == DIFFERS
    rounded[0] += 1.0  # a row that float32 does not hold must not hide the others
    found = compared("w", own + 0.01, own, rounded)
    assert (found.verdict, found.note) == (DIFFERS, "in the median of all rows")


def test_what_is_lost_or_of_another_shape_differs(rng):
    own = rng.normal(size=(4, 2))
    lost = np.where(own > own.min(), own, np.nan)
    assert compared("w", lost, own, own).verdict == DIFFERS
    assert compared("w", own[:3], own, own).verdict == DIFFERS
    infinite = np.array([1.0, -np.inf])
    assert compared("w", infinite, infinite, infinite).verdict == AGREES
    assert compared("w", -infinite, infinite, infinite).verdict == DIFFERS


def test_what_rounding_destroys_is_not_checked(rng):
    own = rng.normal(size=8)
    assert compared("w", own, own, own + 0.5).verdict == NOT_CHECKED


def test_each_column_is_held_to_its_own_rounding(rng):
    scales = np.array([1e-6, 1.0, 1e6])
    for shape in ((32, 3), (2, 4, 4, 3)):
        own = scales * rng.uniform(1, 2, size=shape)
        rounded = own.astype(np.float32).astype(np.float64)
        assert compared("w", rounded, own, rounded).verdict == AGREES
        off = rounded * np.array([1.5, 1.0, 1.0])
        assert compared("w", off, own, rounded).verdict == DIFFERS
        more = noise_of(own, rounded)
        assert more.shape == (3,)
        assert compared("w", off, own, rounded, noise_of_more=more).verdict == DIFFERS


def test_a_row_beyond_float32_hides_no_other(rng):
    own = rng.normal(size=(32, 2)) + 10
    rounded = own.copy()
    rounded[0, 0] = np.inf
    found = compared("w", own, own, rounded)
    assert (found.verdict, found.note) == (AGREES, "1 of 64 numbers are beyond float32")
    assert compared("w", own + 0.01, own, rounded).verdict == DIFFERS
    assert compared("w", own, own, np.full_like(own, np.inf)).verdict == NOT_CHECKED


def test_a_column_that_rounding_destroys_is_named_and_hides_no_other(rng):
    own = rng.normal(size=(32, 2)) + 10
    rounded = own + np.array([0.0, 0.5])
    found = compared("w", own, own, rounded)
    assert found.verdict == AGREES
    assert found.note == "rounding alone may move 1 of 2 columns by over 2%"
    assert compared("w", own + np.array([0.01, 0.0]), own, rounded).verdict == DIFFERS


def test_the_mean_of_sums_is_held_closer_than_each_of_them(rng):
    own = rng.normal(size=256)
    rounded, found = (own + 1e-3 * rng.normal(size=256) for _ in range(2))
    assert compared("w", found, own, rounded, is_sum=True).verdict == AGREES
    off = compared("w", found + 2e-3, own, rounded, is_sum=True)
    assert (off.verdict, off.note) == (DIFFERS, "in the mean of all rows")
    assert compared("w", found + 2e-3, own, rounded).verdict == AGREES


def test_the_rounding_of_few_rows_is_taken_from_more():
    own, found = np.full(2, 1e-3), np.full(2, 1e-3 + 1e-7)
    assert compared("w", found, own, own).verdict == DIFFERS
    assert compared("w", found, own, own, noise_of_more=1e-7).verdict == AGREES


def test_a_bit_may_turn_but_not_a_hundredth_of_them(rng):
    own = rng.integers(0, 2, size=(100, 100))
    found = own.copy()
    found[0, 0] = 1 - found[0, 0]
    assert compared_bits("w", found, own).verdict == AGREES
    found[:, 0] = 1 - own[:, 0]
    assert compared_bits("w", found, own).verdict == DIFFERS
