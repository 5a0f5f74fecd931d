"""Columns of a parquet file beside those of the table that a model was trained on."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encode_testing import write_parquet

from kvae.encode import wanted_of
from kvae.encode.sources import Unreadable, Wanted, open_source
from kvae.errors import UsageError

A, B = np.arange(4.0), np.arange(4.0) + 0.5
OWN = Wanted((2,), columns=("a", "b"))


def _rows(path, wanted):
    return np.array([row.x() for row in open_source(path, wanted).rows(0)])


@pytest.mark.parametrize(
    "columns",
    [{"a": A, "b": B}, {"b": B, "a": A}, {"b": B, "id": A, "x": ["k"] * 4, "a": A},
     {"x": [[1.0, 2.0]] * 4, "b": B, "a": A}],
)  # fmt: skip
def test_columns_are_found_by_their_names(columns, tmp_path):
    write_parquet(tmp_path / "t.parquet", columns)
    np.testing.assert_array_equal(_rows(tmp_path / "t.parquet", OWN), np.stack([A, B], 1))


@pytest.mark.parametrize("columns", [{"a": A, "c": B}, {"a": A}, {"a": A, "b": ["k"] * 4}])
def test_other_names_are_refused(columns, tmp_path):
    write_parquet(tmp_path / "t.parquet", columns)
    with pytest.raises(UsageError, match="trained on, a, b: it has no b; found a"):
        open_source(tmp_path / "t.parquet", OWN)


def test_true_and_false_are_1_and_0(tmp_path):
    write_parquet(tmp_path / "t.parquet", {"b": A > 1, "a": A})
    np.testing.assert_array_equal(_rows(tmp_path / "t.parquet", OWN), np.stack([A, A > 1], 1))


def test_decimals_are_numbers_as_in_training(tmp_path):
    decimals = pa.array(B.tolist()).cast(pa.decimal128(9, 3))
    write_parquet(tmp_path / "t.parquet", {"b": decimals, "a": A})
    np.testing.assert_array_equal(_rows(tmp_path / "t.parquet", OWN), np.stack([A, B], 1))


def test_numbers_that_no_table_may_have_are_refused(tmp_path):
    write_parquet(tmp_path / "t.parquet", {"a": [0.0, 3e38], "b": [1.0, 0.0]})
    first, second = open_source(tmp_path / "t.parquet", OWN).rows(0)
    np.testing.assert_array_equal(first.x(), [0, 1])
    with pytest.raises(Unreadable, match="more than 1e"):
        second.x()
    np.save(tmp_path / "t.npy", np.array([[0.0, 1.0], [0.0, 0.5]]))
    first, second = open_source(tmp_path / "t.npy", OWN._replace(binarize=True)).rows(0)
    np.testing.assert_array_equal(first.x(), [0, 1])
    with pytest.raises(Unreadable, match="other numbers than 0 and 1"):
        second.x()


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_columns_of_text_are_found_by_their_names_and_read_as_in_training(ending, tmp_path):
    path, mark = tmp_path / f"t.{ending}", "," if ending == "csv" else "\t"
    lines = ["id b kind a", "7 0.5 red no", "8 1.5 green yes", "9 oops blue no"]
    path.write_text("\n".join(lines).replace(" ", mark))
    first, second, third = open_source(path, OWN).rows(0)
    np.testing.assert_array_equal([first.x(), second.x()], [[0, 0.5], [1, 1.5]])
    with pytest.raises(Unreadable, match="not finite"):
        third.x()
    assert [row.key for row in open_source(path, OWN).rows(1)] == [f"t.{ending}#1", f"t.{ending}#2"]


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [("a,c\n0,1\n", OWN, "trained on, a, b: it has no b; found a, c"),
     ("a,b,c\n0,1,2\n", Wanted((2,)), "must have 2 columns, .* found 3, a, b, c"),
     ("a,b\n0,1\n", Wanted((8, 8, 1)), "rows of numbers, but the model takes images of shape")],
)  # fmt: skip
def test_text_that_does_not_fit_the_model_is_refused(text, wanted, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        open_source(tmp_path / "t.csv", wanted)


def test_text_without_names_goes_by_its_places(tmp_path):
    (tmp_path / "t.csv").write_text("0,0.5\n1,1.5\n")
    np.testing.assert_array_equal(_rows(tmp_path / "t.csv", Wanted((2,))), [[0, 0.5], [1, 1.5]])


@pytest.mark.parametrize(
    ("card", "columns", "binarize"),
    [({}, (), False), ({"columns": ["a", "b"]}, ("a", "b"), False),
     ({"columns": [1, 3], "binarize": True}, (), True)],
)  # fmt: skip
def test_a_version_says_what_its_columns_are(card, columns, binarize):
    metadata = {
        "signatures": {"encode": {"inputs": {"x": {}}}}, "model": {"element_shape": [2]},
        "data_card": card,
    }  # fmt: skip
    wanted = wanted_of(metadata, "encode")
    assert (wanted.columns, wanted.binarize) == (columns, binarize)


def test_columns_of_one_name_are_taken_by_their_places_or_refused(tmp_path):
    path = tmp_path / "t.parquet"

    def write(names, *columns):
        pq.write_table(pa.table(list(map(pa.array, columns)), names=names), path)

    write(["a", "b", "a"], A, B, A + 9)
    np.testing.assert_array_equal(_rows(path, Wanted((3,))), np.stack([A, B, A + 9], 1))
    for wanted in (OWN, Wanted((2,), columns=("b", "a"))):
        with pytest.raises(UsageError, match="two columns have the name 'a'"):
            open_source(path, wanted)
    write(["a", "a"], [[1.0, 2.0]], [[3.0, 4.0]])
    with pytest.raises(UsageError, match="two columns have the name 'a'"):
        open_source(path, Wanted((2,)))
    write(["image", "image"], [b""], [b""])
    with pytest.raises(UsageError, match="two columns have the name 'image'"):
        open_source(path, Wanted((8, 8, 1)))


@pytest.mark.parametrize("white", [np.uint8(255), np.float32(1), np.float64(1 + 1e-7)])
def test_arrays_of_a_model_of_black_and_white_are_black_or_white(white, tmp_path):
    x = np.zeros((2, 8, 8, 1), white.dtype)
    x[:, 0] = white
    x[1, 1] = white / 2
    np.save(tmp_path / "x.npy", x)
    first, second = open_source(tmp_path / "x.npy", Wanted((8, 8, 1), binarize=True)).rows(0)
    assert set(np.unique(first.x())) == {0, 255 if white == 255 else 1}
    with pytest.raises(Unreadable, match=r"other .* than 0 and .* --binarize trained on"):
        second.x()
    _, grey = open_source(tmp_path / "x.npy", Wanted((8, 8, 1))).rows(0)
    assert len(np.unique(grey.x())) == 3
