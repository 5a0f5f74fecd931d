import numpy as np
import pytest

from kvae.data import rows as of_rows
from kvae.data.rows import (
    about_rounding,
    chosen_rows,
    in_parts,
    joined,
    parts_at,
    random_rows,
    rows_at_once,
    slices,
    some_of,
    standardisation,
)
from kvae.errors import DataError


def test_parts_at_places_hold_those_rows_in_order():
    x = np.arange(40).reshape(20, 2)
    rows = np.array([1, 4, 5, 11, 19])
    parts = list(parts_at(x, rows, 2))
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), x[rows])
    assert [len(part) for part in in_parts(x, 8)] == [8, 8, 4]
    assert list(slices(20, 8)) == [slice(0, 8), slice(8, 16), slice(16, 20)]


def test_some_rows_are_those_that_numbers_of_older_versions_are_of():
    def rng():
        return np.random.default_rng(5)

    np.testing.assert_array_equal(random_rows(12, 4, rng()), [1, 3, 9, 11])
    np.testing.assert_array_equal(chosen_rows(12, 4, rng()), [0, 6, 8, 9])
    np.testing.assert_array_equal(random_rows(4, 4, rng()), np.arange(4))
    np.testing.assert_array_equal(chosen_rows(4, 4, rng()), np.arange(4))
    x = np.arange(24).reshape(12, 2)
    np.testing.assert_array_equal(some_of(x, 4, rng()), x[[1, 3, 9, 11]])
    assert some_of(x, 12, rng()) is x


@pytest.mark.parametrize(("always", "next_of"), [(False, 0), (True, 6)])
def test_of_all_rows_nothing_is_drawn_unless_it_is_always(always, next_of):
    rng, other = (np.random.default_rng(0) for _ in range(2))
    np.testing.assert_array_equal(random_rows(6, 9, rng, always=always), np.arange(6))
    if next_of:
        other.permutation(next_of)
    assert rng.integers(2**31) == other.integers(2**31)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((9, 2), 2_000),
        ((9, 16_384), 1_024),
        ((9, 64, 64, 3), 250),
        ((9, 256, 256, 3), 85),
        ((9, 4096, 4096, 3), 1),
    ],
)
def test_fewer_large_rows_are_taken_at_once(shape, count):
    assert rows_at_once(np.broadcast_to(np.uint8(0), shape)) == count


def test_parts_are_joined_by_name():
    x = np.arange(6)
    whole = joined([{"x": x[rows], "y": -x[rows]} for rows in slices(6, 4)])
    np.testing.assert_array_equal(whole["x"], x)
    np.testing.assert_array_equal(whole["y"], -x)


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "float16", "int64"])
def test_numbers_of_every_type_are_standardised(kind):
    x = (np.arange(30).reshape(10, 3) % 7 > 2).astype(kind)
    mean, stddev = standardisation(x)
    np.testing.assert_allclose(mean, x.astype("f8").mean(0))
    np.testing.assert_allclose(stddev, x.astype("f8").std(0))
    x[:, 1] = 1
    with pytest.raises(DataError, match="column 2: the same float32 value 1 in every"):
        standardisation(x)


def test_a_column_that_float32_rounds_in_large_steps_is_told():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(500, 1))
    fine = np.hstack([spread, 1e3 + spread, np.full((500, 1), 1e9)]).astype(np.float32)
    assert about_rounding(fine, ["a", "b", "c"]) == []
    seconds = (1.7e9 + 3e4 * rng.random((500, 1))).astype(np.float32)
    (said,) = about_rounding(np.hstack([fine, seconds]), ["a", "b", "c", "time"])
    assert "'time'" in said and "by up to 1e+02" in said  # half of float32's step of 128, or more


@pytest.mark.parametrize("features", [1, 2, 16, 3000])
def test_standardisation_is_that_of_all_rows_at_once_to_the_last_bit(monkeypatch, features):
    x = 5 + np.random.default_rng(0).standard_normal((977, features), "f4")
    monkeypatch.setattr(of_rows, "rows_at_once", lambda x: 100)
    mean, stddev = standardisation(x)
    np.testing.assert_array_equal(mean, x.mean(axis=0, dtype="float64"))
    np.testing.assert_array_equal(stddev, x.std(axis=0, dtype="float64"))
