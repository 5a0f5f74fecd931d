import io
import json
import zipfile

import numpy as np
import pytest

from kvae.data import arrays, load
from kvae.data.splits import random_split
from kvae.errors import DataError, UsageError

SPLITS = ("train", "valid", "test")
ROWS = np.random.default_rng(0).normal(size=(50, 3)) * [1, 10, 100] + [0, 5, -7]


@pytest.fixture(autouse=True)
def small(request, monkeypatch):
    """Two rows a split are enough, so that tables stay small."""
    if "ten_rows" not in request.node.name:
        monkeypatch.setattr(arrays, "MIN_SPLIT_ROWS", 2)


def parts(dataset):
    return {name: getattr(dataset, name) for name in SPLITS}


def rows_of(dataset):
    return {name: split.x.tolist() for name, split in parts(dataset).items()}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def write_csv(folder, cells, header=None, name="t.csv"):
    lines = [",".join(map(str, row)) for row in ([header] if header else []) + list(cells)]
    return write(folder, name, "\n".join(lines) + "\n")


def save(folder, array, name="t.npy"):
    np.save(folder / name, array)
    return str(folder / name)


def savez(folder, **contents):
    np.savez(folder / "t.npz", **contents)
    return str(folder / "t.npz")


def three(sizes=(30, 10, 10), **changes):
    """Arrays x_train, x_valid and x_test of ROWS."""
    pieces = np.split(ROWS, np.cumsum(sizes)[:-1])
    return {
        **{f"x_{name}": piece for name, piece in zip(SPLITS, pieces, strict=True)},
        **changes,
    }


@pytest.fixture(params=["npy", "npz", "csv", "csv with a header", "fortran"])
def plain(request, tmp_path):
    """ROWS in every kind of file that has neither splits nor labels."""
    return {
        "npy": lambda: save(tmp_path, ROWS),
        "npz": lambda: savez(tmp_path, anything=ROWS),
        "csv": lambda: write_csv(tmp_path, ROWS.tolist()),
        "csv with a header": lambda: write_csv(tmp_path, ROWS.tolist(), ["a", "b", "c"]),
        "fortran": lambda: save(tmp_path, np.asfortranarray(ROWS, ">f8")),
    }[request.param]()


def test_every_row_is_in_one_split_in_the_order_of_the_file(plain):
    dataset = load("arrays", data_dir=plain)
    expected = ROWS.astype(np.float32)
    found = {name: split.x for name, split in parts(dataset).items()}
    assert {name: len(x) for name, x in found.items()} == {"train": 40, "valid": 5, "test": 5}
    assert all(x.dtype == np.float32 for x in found.values())
    position = {row.tobytes(): i for i, row in enumerate(expected)}
    places = {name: [position[row.tobytes()] for row in x] for name, x in found.items()}
    assert sorted(place for own in places.values() for place in own) == list(range(50))
    for own in places.values():
        assert own == sorted(own)
    assert places["train"] != list(range(40))
    assert dataset.card["counts"] == {"train": 40, "valid": 5, "test": 5}
    assert (dataset.kind, dataset.color_by, dataset.train.labels) == ("vectors", "", {})


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_splits_are_parts_of_one_array_and_hold_their_rows(size, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "rows_at_once", lambda x: size)
    x = np.random.default_rng(1).normal(size=(90, 3)).astype("f4")
    own = np.random.default_rng(2).permutation(np.repeat(["test", "train", "valid"], 30))
    text = "a,b,c,split\n" + "".join(
        ",".join(map(repr, row)) + f",{name}\n" for row, name in zip(x.tolist(), own, strict=True)
    )
    for path, of in (
        (write(tmp_path, "own.csv", text), lambda name: x[own == name]),
        (save(tmp_path, x), lambda name: x[random_split(90, 0)[name]]),
    ):
        found = {name: split.x for name, split in parts(load("arrays", data_dir=path)).items()}
        assert found["train"].base is found["valid"].base is found["test"].base
        for name, rows in found.items():
            np.testing.assert_array_equal(rows, of(name))


def test_every_kind_of_file_gives_the_same_splits_and_fingerprint(plain, tmp_path):
    other = load("arrays", data_dir=save(tmp_path, ROWS, "other.npy"))
    dataset = load("arrays", data_dir=plain)
    assert rows_of(dataset) == rows_of(other)
    assert dataset.card["sha256"] == other.card["sha256"]


@pytest.mark.parametrize(("count", "tenth"), [(20, 2), (99, 9), (1000, 100)])
def test_valid_and_test_are_a_tenth_each(count, tenth, tmp_path):
    dataset = load("arrays", data_dir=save(tmp_path, np.arange(2 * count).reshape(count, 2)))
    counts = {"train": count - 2 * tenth, "valid": tenth, "test": tenth}
    assert {name: len(split.x) for name, split in parts(dataset).items()} == counts


def test_the_seed_decides_the_split_and_stands_on_the_card(tmp_path):
    path = save(tmp_path, ROWS)
    first, again, other = (load("arrays", data_dir=path, split_seed=seed) for seed in (1, 1, 2))
    assert rows_of(first) == rows_of(again)
    assert rows_of(first)["test"] != rows_of(other)["test"]
    assert first.card["sha256"] != other.card["sha256"]
    assert (first.card["split"], first.card["split_seed"]) == ("random 80/10/10", 1)


def test_one_changed_digit_changes_the_fingerprint(tmp_path):
    changed = ROWS.copy()
    changed[49, 2] += 0.01
    one, two = (load("arrays", data_dir=save(tmp_path, x)).card for x in (ROWS, changed))
    assert one.pop("sha256") != two.pop("sha256")
    assert one == two


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint8, np.longdouble, bool])
def test_numbers_of_any_real_type_keep_their_value(dtype, tmp_path):
    x = np.random.default_rng(0).integers(0, 2 if dtype is bool else 200, (40, 2)).astype(dtype)
    dataset = load("arrays", data_dir=save(tmp_path, x))
    everything = np.concatenate([split.x for split in parts(dataset).values()])
    np.testing.assert_array_equal(np.sort(everything, 0), np.sort(x.astype(float), 0))


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("x_train", "x_val", "x_test"),
        ("X_train", "X_validation", "X_test"),
    ],
)
def test_own_splits_of_an_npz_are_kept(names, tmp_path):
    path = savez(tmp_path, **dict(zip(reversed(names), reversed(three().values()), strict=True)))
    dataset = load("arrays", data_dir=path, split_seed=3)
    for name, rows in zip(SPLITS, three().values(), strict=True):
        np.testing.assert_array_equal(getattr(dataset, name).x, rows.astype(np.float32))
    assert dataset.card["split"] == "own"
    assert "split_seed" not in dataset.card


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_without_valid_a_tenth_of_train_is_drawn(kind, tmp_path):
    if kind == "npz":
        path = savez(tmp_path, train=ROWS[:40], test=ROWS[40:])
    else:
        cells = [[*row, "train" if i < 40 else "test"] for i, row in enumerate(ROWS.tolist())]
        path = write_csv(tmp_path, cells, ["a", "b", "c", "split"])
    dataset = load("arrays", data_dir=path, split_seed=1)
    train, valid, test = (split.x for split in parts(dataset).values())
    assert (len(train), len(valid)) == (36, 4)
    np.testing.assert_array_equal(test, ROWS[40:].astype(np.float32))
    both = np.concatenate([train, valid])
    np.testing.assert_array_equal(np.sort(both, 0), np.sort(ROWS[:40].astype(np.float32), 0))
    assert dataset.card["split"] == "own, valid a random tenth of train"
    assert dataset.card["split_seed"] == 1
    assert rows_of(load("arrays", data_dir=path, split_seed=2))["valid"] != valid.tolist()


@pytest.mark.parametrize("y", ["y", "labels", "label"])
def test_labels_of_an_npz_stay_beside_their_rows(y, tmp_path):
    positive = (ROWS[:, 0] > 0).astype(int)
    dataset = load("arrays", data_dir=savez(tmp_path, x=ROWS, **{y: positive * 7}))
    for split in parts(dataset).values():
        assert split.labels["label"].dtype == np.int64
        np.testing.assert_array_equal(split.labels["label"], split.x[:, 0] > 0)
    assert dataset.color_by == next(iter(dataset.card["label_names"])) == "label"
    assert dataset.card["label_names"][dataset.color_by] == ["0", "7"]


@pytest.mark.parametrize("prefix", ["y", "labels"])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_labels_of_own_splits_share_one_list_of_names(prefix, kind, tmp_path):
    text = np.where(ROWS[:, 0] > 0, "plus", "minus").astype(kind)
    pieces = np.split(text, [30, 40])
    ys = {f"{prefix}_{name}": piece for name, piece in zip(SPLITS, pieces, strict=True)}
    dataset = load("arrays", data_dir=savez(tmp_path, **ys, **three()))
    assert dataset.card["label_names"][dataset.color_by] == ["minus", "plus"]
    for split in parts(dataset).values():
        np.testing.assert_array_equal(split.labels["label"], split.x[:, 0] > 0)


def test_one_array_called_train_is_all_rows(tmp_path):
    labels = (ROWS[:, 0] > 0).astype(int)
    dataset = load("arrays", data_dir=savez(tmp_path, x_train=ROWS, y_train=labels))
    assert dataset.card["counts"] == {"train": 40, "valid": 5, "test": 5}
    np.testing.assert_array_equal(dataset.train.labels["label"], dataset.train.x[:, 0] > 0)


def test_a_numbered_label_column_of_an_array_is_left_out(tmp_path):
    x = np.insert(ROWS, 1, ROWS[:, 0] > 0, axis=1)
    dataset = load("arrays", data_dir=save(tmp_path, x), label_column="2")
    assert rows_of(dataset) == rows_of(load("arrays", data_dir=save(tmp_path, ROWS)))
    np.testing.assert_array_equal(dataset.valid.labels["label"], dataset.valid.x[:, 0] > 0)
    assert dataset.card["label_names"][dataset.color_by] == ["0", "1"]


@pytest.mark.parametrize("column", ["kind", "2"])
@pytest.mark.parametrize("names", [("yes", "no"), ("10", "9"), ("é", "z_1"), ('"a,b"', '"c ""d"')])
def test_a_label_column_of_a_csv_is_left_out(names, column, tmp_path):
    cells = [[a, names[int(a > 0)], b, c] for a, b, c in ROWS.tolist()]
    path = write_csv(tmp_path, cells, ["a", "kind", "b_1", "c"])
    dataset = load("arrays", data_dir=path, label_column=column)
    assert rows_of(dataset) == rows_of(load("arrays", data_dir=save(tmp_path, ROWS)))
    assert dataset.card["columns"] == ["a", "b_1", "c"]
    assert dataset.color_by == next(iter(dataset.card["label_names"])) == "kind"
    plain = [name.strip('"').replace('""', '"') for name in names]
    for split in parts(dataset).values():
        found = [dataset.card["label_names"][dataset.color_by][i] for i in split.labels["kind"]]
        assert found == [plain[int(a > 0)] for a in split.x[:, 0]]


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path):
    labels = [10, 9, "2.0", 2, 0.5] * 10
    cells = [[*row, label] for row, label in zip(ROWS.tolist(), labels, strict=True)]
    dataset = load("arrays", data_dir=write_csv(tmp_path, cells), label_column="4")
    assert dataset.card["label_names"][dataset.color_by] == ["0.5", "2", "9", "10"]


def test_text_labels_by_number_do_not_make_the_first_row_a_header(tmp_path):
    cells = [["cat", *row] for row in ROWS.tolist()]
    dataset = load("arrays", data_dir=write_csv(tmp_path, cells), label_column="1")
    assert sum(dataset.card["counts"].values()) == 50
    assert "columns" not in dataset.card


def test_the_split_column_of_a_csv_decides(tmp_path):
    names = (["train"] * 3 + ["valid", "test"]) * 10
    cells = [[name, *row, f" {name} "] for name, row in zip(names, ROWS.tolist(), strict=True)]
    path = write_csv(tmp_path, cells, ["split", "a", "b", "c", "again"])
    dataset = load("arrays", data_dir=path, label_column="again")
    for i, name in enumerate(["test", "train", "valid"]):
        split = getattr(dataset, name)
        np.testing.assert_array_equal(split.x, ROWS[np.array(names) == name].astype(np.float32))
        assert set(split.labels["again"]) == {i}
    assert dataset.card["columns"] == ["a", "b", "c"]
    assert dataset.card["split"] == "own"


def test_quotes_spaces_blank_lines_and_other_line_ends_change_nothing(tmp_path):
    plain = load("arrays", data_dir=save(tmp_path, ROWS))
    body = "\r\n\r\n".join(f'"{a}", {b} ,{c}' for a, b, c in ROWS.tolist())
    path = write(tmp_path, "t.CSV", "\ufeff" + '"the ""first""",b,c\r\n' + body)
    dataset = load("arrays", data_dir=path)
    assert rows_of(dataset) == rows_of(plain)
    assert dataset.card["columns"] == ['the "first"', "b", "c"]


def test_the_card_is_json_and_names_the_file_not_its_folder(tmp_path):
    card = load("arrays", data_dir=write_csv(tmp_path, ROWS.tolist(), "abc")).card
    assert json.loads(json.dumps(card)) == card
    assert (card["name"], card["source"]) == ("arrays", "t.csv")
    assert str(tmp_path) not in json.dumps(card)


def bad_csv(line, column, value, count=30, header="abc"):
    """A csv with one wrong cell; line and column are those of the file, from 1."""
    cells = [row[:] for row in ROWS[:count].tolist()]
    cells[line - 1 - bool(header)][column - 1] = value
    lines = ([",".join(header)] if header else []) + [",".join(map(str, row)) for row in cells]
    return "\n".join(lines)


@pytest.mark.parametrize("names", [[""], ["Unnamed: 0"], ["", "Unnamed: 0"], ['""']])
@pytest.mark.parametrize("columns", [["a", "b", "c"], ["0", "1", "2"]])
def test_an_index_of_pandas_is_no_feature(names, columns, tmp_path, capsys):
    plain = load("arrays", data_dir=write_csv(tmp_path, ROWS.tolist(), ["a", "b", "c"]))
    order = np.random.default_rng(0).permutation(len(ROWS)).tolist()  # as of rows that were drawn
    rows = [[i] * len(names) + row for i, row in zip(order, ROWS.tolist(), strict=True)]
    capsys.readouterr()
    dataset = load("arrays", data_dir=write_csv(tmp_path, rows, names + columns))
    assert dataset.card["sha256"] == plain.card["sha256"]
    assert dataset.card["columns"] == columns
    assert capsys.readouterr().err == "".join(
        f"arrays: t.csv, column {i} has no name and numbers the rows: it is left out\n"
        for i in range(1, len(names) + 1)
    )


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_first_column_that_counts_the_rows_is_pointed_out(start, tmp_path, capsys):
    rows = np.column_stack([np.arange(start, start + len(ROWS)), ROWS])
    named = write_csv(tmp_path, rows.tolist(), ["id", "a", "b", "c"])
    for file, name in ((named, "'id'"), (save(tmp_path, rows), "1")):
        assert load("arrays", data_dir=file).train.x.shape[1] == 4
        said = f"column {name} counts the rows and is used as a feature" in capsys.readouterr().err
        assert said == (start < 2)


BAD_CSV = {
    "empty": ("", "t.csv is empty"),
    "blank lines": ("\n \n", "t.csv has no rows"),
    "header only": ("a,b\n", "no rows below its header"),
    "nan": (
        bad_csv(7, 2, "nan"),
        r"t\.csv, line 7, column 'b': nan is not finite: fill.* \(1 cell",
    ),
    "inf": (bad_csv(2, 1, "-inf"), r"line 2, column 'a': -inf is not finite"),
    "text": (bad_csv(31, 3, "x1"), r"line 31, column 'c': 'x1' is not a number"),
    "no header": (bad_csv(7, 2, "?", header=""), r"line 7, column 2: '\?' is not a number"),
    "gap": (bad_csv(5, 1, ""), "line 5, column 'a': an empty cell: fill it in, or take the row"),
    "one odd cell": (bad_csv(31, 3, "x1"), r"'x1' is not a number \(1 cells of"),
    "text column": (
        "a,b\n" + "1,red\n" * 30,
        "'red' is not a number; take such a column out, code",
    ),
    "several columns": (
        "a,b,c\n" + "1,red,nan\n,red,inf\n2,red,0\n" * 10,
        r"\(60 cells of 90 .* used: 30 of 'b', 20 of 'c', 10 of 'a'\)$",
    ),
    "too large": (bad_csv(5, 3, "1e39"), r"line 5, column 'c': 1e\+39 is too large for float32"),
    "underscore": (bad_csv(5, 3, "1_0"), "line 5, column 'c': '1_0' is not a number"),
    "other digits": (bad_csv(5, 3, "\u0661"), "line 5, column 'c': '\u0661' is not a number"),
    "too few cells": ("1,2\n" * 6 + "1\n1,2,3\n", r"line 7: 1 cells, .* has 2 \(2 such lines"),
    "too many cells": ("a,b\n" + "1,2\n" * 3 + "1,2,\n", "line 5: 3 cells, the first line has 2"),
    "nameless": ("1.5,,2\n" + "1,2,3\n" * 30, "line 1, column 2: an empty cell"),
    "nameless first": (",b\n" + "1,2\n3,4\n1,5\n" * 30, "line 1, column 1: no name in the header"),
    "index alone": (",split\n" + "1,train\n2,test\n" * 20, "no columns of numbers"),
    "twice": ("a,b,a\n" + "1,2,3\n" * 30, "line 1, column 3: the header has the name 'a' twice"),
    "neither": ("1.5,x\n" + "1,2\n" * 30, "line 1, column 1: it has 1.5 and 'x'.*neither a header"),
    "open quote": ("a,b\n" + "1,2\n" * 3 + '"1,2\n' * 3, "line 5: .* a quote that is not closed"),
    "latin-1": (b"a,b\n1,2\n\xe9,2\n", "line 3: not UTF-8 text"),
    "too few rows": (bad_csv(2, 1, 1, count=19), "20 rows at least are needed .*, found 19"),
    "no such split": (
        "a,split\n" + "1,train\n2,test\n" * 20 + "1,x\n2,\n",
        r"line 42, column 'split': wanted train, valid, val, validation, test, found 'x' \(2 suc",
    ),
    "no test rows": ("a,split\n" + "1,train\n2,valid\n" * 20, "the split 'test' has 0"),
    "no train rows": ("a,split\n" + "1,test\n2,valid\n" * 20, "the split 'train' has 0"),
    "split alone": ("split\n" + "train\ntest\n" * 20, "no columns of numbers"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_a_bad_csv_is_refused_with_the_place_of_its_first_fault(case, tmp_path):
    content, message = BAD_CSV[case]
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=write(tmp_path, "t.csv", content))


def test_all_faulty_cells_are_counted_and_the_first_is_named_whatever_its_kind(tmp_path):
    cells = ROWS.tolist()
    cells[8][1], cells[8][2], cells[3][2], cells[20][0] = "x", "y", "nan", "1e99"
    with pytest.raises(DataError, match=r"line 5, column 'c': nan .*\(4 cells of 150 "):
        load("arrays", data_dir=write_csv(tmp_path, cells, "abc"))
    cells[3][2], cells[30][0] = 0.5, "inf"
    with pytest.raises(DataError, match=r"line 10, column 'b': 'x' .*\(4 cells of 150 "):
        load("arrays", data_dir=write_csv(tmp_path, cells, "abc"))


def test_lines_are_counted_as_in_the_file_past_blank_ones_and_quoted_breaks(tmp_path):
    body = "".join(f'{a},"{"two" if i == 2 else "one"}\nlines",{b}\n' for i, (a, b, _) in
                   enumerate(ROWS.tolist()))  # fmt: skip
    path = write(tmp_path, "t.csv", "a,kind,b\n\n" + body + "oops,x,1\n")
    with pytest.raises(DataError, match="line 103, column 'a': 'oops'"):
        load("arrays", data_dir=path, label_column="kind")


def test_column_numbers_without_a_header_count_the_label_column(tmp_path):
    cells = [["cat", *row] for row in ROWS.tolist()]
    cells[4][3] = "nan"
    with pytest.raises(DataError, match="line 5, column 4: nan"):
        load("arrays", data_dir=write_csv(tmp_path, cells), label_column="1")
    x = np.insert(ROWS, 0, 1, axis=1)
    x[4, 3] = np.nan
    with pytest.raises(DataError, match="row 5, column 4: nan"):
        load("arrays", data_dir=save(tmp_path, x), label_column="1")


@pytest.mark.parametrize(
    ("header", "column", "message"),
    [
        ("abc", "kind", "no column 'kind' for the labels: found columns a, b, c"),
        ("abc", "4", "no column '4'"),
        ("abc", "0", "no column '0'"),
        ("", "kind", "found 3 columns without names"),
        (["a", "split", "c"], "split", "holds splits, it cannot be labels"),
    ],
)
def test_a_label_column_that_is_not_there_is_refused(header, column, message, tmp_path):
    path = write_csv(tmp_path, ROWS.tolist(), header)
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=path, label_column=column)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 9 + [" "] + ["b"] * 10, r"line 11: no label \(1 such rows"),
        ([1.0] * 9 + ["nan", "nan"] + [2.0] * 9, r"line 11: no label \(2 such rows"),
        ([i + 0.5 for i in range(300)], "300 different numbers in 300 rows are no classes"),
        ([f"id {min(i, 90)}" for i in range(100)], "91 different texts in 100 rows are no classes"),
        ([f"id {i}" for i in range(1001)], "1,001 different texts in 1,001 rows are no classes"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message, tmp_path):
    cells = [[i, 2 * i, label] for i, label in enumerate(labels)]
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=write_csv(tmp_path, cells, "abc"), label_column="c")


@pytest.mark.parametrize("constant", [0.1, 7])
def test_a_constant_column_is_left_out_where_that_is_asked_for(constant, tmp_path, capsys):
    x = ROWS.copy()
    x[:40, 1] = constant  # of the train rows; others differ
    path = savez(tmp_path, train=x[:30], valid=x[30:40], test=x[40:])
    whole = load("arrays", data_dir=path)
    np.testing.assert_array_equal(whole.test.x, x[40:].astype(np.float32))
    capsys.readouterr()
    kept = load("arrays", data_dir=path, drop_constant=True)
    np.testing.assert_array_equal(kept.test.x, x[40:, [0, 2]].astype(np.float32))
    assert (kept.card["columns"], kept.card["dropped_columns"]) == ([1, 3], [2])
    assert "1 columns of 3 have one float32 value in all train rows and are left out: 2" in (
        capsys.readouterr().err
    )
    same = load("arrays", data_dir=save(tmp_path, ROWS), drop_constant=True)
    assert same.card == {**load("arrays", data_dir=save(tmp_path, ROWS)).card}
    with pytest.raises(DataError, match=r"every column has one value .* would leave none"):
        load("arrays", data_dir=save(tmp_path, np.ones((50, 2))), drop_constant=True)


def changed(row, column, value):
    x = ROWS.copy()
    x[row, column] = value
    return x


BAD_NPY = {
    "nan": (
        changed(6, 1, np.nan),
        r"t\.npy, row 7, column 2: nan is not finite: .* \(1 cells of 150",
    ),
    "inf": (changed(0, 0, np.inf), r"row 1, column 1: inf is not finite"),
    "too large": (changed(49, 2, -1e39), r"row 50, column 3: -1e\+39 is too large for float32"),
    "one dimension": (ROWS[:, 0], r"wanted shape \(rows, features\), found \(50,\)"),
    "three dimensions": (ROWS[None], r"found \(1, 50, 3\)"),
    "no features": (ROWS[:, :0], r"found \(50, 0\)"),
    "no rows": (ROWS[:0], "there are no rows"),
    "few rows": (ROWS[:19], "20 rows at least"),
    "complex": (ROWS.astype(complex), "wanted real numbers, found type complex128"),
    "text": (ROWS.astype("U9"), "wanted real numbers, found type <U9"),
    "dates": (ROWS.astype("M8[s]"), "wanted real numbers"),
    "records": (np.zeros(30, [("a", float)]), "wanted real numbers"),
    "objects": (ROWS.astype(object), "Python objects, which are never loaded"),
    "square too large": (changed(3, 1, 3e38), r"row 4, column 2: 3e\+38 is too large .* 1e\+18"),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_a_bad_npy_is_refused_with_the_place_of_its_first_fault(case, tmp_path):
    array, message = BAD_NPY[case]
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=save(tmp_path, array))


LAYOUT = "wanted one 2-D array of any name.*found "
BAD_NPZ = {
    "two arrays": ({"a": ROWS, "b": ROWS}, LAYOUT + r"a \(50, 3\), b \(50, 3\)"),
    "no arrays": ({}, LAYOUT + "none"),
    "labels alone": ({"y": ROWS[:, 0]}, LAYOUT),
    "no test": ({"train": ROWS, "valid": ROWS}, LAYOUT),
    "no train": ({"valid": ROWS, "test": ROWS}, LAYOUT),
    "train twice": (three(train=ROWS), LAYOUT),
    "more than splits": (three(more=ROWS), LAYOUT),
    "labels of some": (three(y_train=np.zeros(30)), LAYOUT),
    "labels twice": ({"x": ROWS, "y": np.zeros(50), "labels": np.zeros(50)}, LAYOUT),
    "labels of all and of one": ({"train": ROWS, "y": ROWS[:, 0], "y_train": ROWS[:, 0]}, LAYOUT),
    "widths": (three(x_test=ROWS[40:, :2]), "'x_test' has 2 features, 'x_train' has 3"),
    "empty split": (three(x_valid=ROWS[:0]), "array 'x_valid': there are no rows"),
    "images": (three(x_test=ROWS[None]), r"array 'x_test': wanted shape .*\(1, 50, 3\)"),
    "nan": (
        three((30, 10, 10), x_test=changed(4, 2, np.nan)[:10]),
        r"t\.npz, row 5 of 'x_test', column 3: nan",
    ),
    "nan in a first row": (
        three(x_valid=changed(0, 2, np.nan)[:10]),
        "row 1 of 'x_valid', column 3: nan",
    ),
    "nan in a last row": (
        three(x_train=changed(29, 0, np.nan)[:30]),
        "row 30 of 'x_train', column 1: nan",
    ),
    "unequal lengths": ({"x": ROWS, "y": np.zeros(49)}, r"array 'y': .* 50 rows, found shape \(49"),
    "2-D labels": ({"x": ROWS, "y": np.eye(50)}, r"array 'y': .*found shape \(50, 50\)"),
    "complex labels": ({"x": ROWS, "y": 1j * ROWS[:, 0]}, "labels are numbers or text, found type"),
    "nan label": ({"x": ROWS, "y": changed(3, 0, np.nan)[:, 0]}, "row 4 of 'x': no label"),
    "objects": ({"x": ROWS.astype(object)}, "Python objects, which are never loaded"),
    "a control character": ({"x\r": ROWS}, r"t\.npz: the name 'x\\r' holds a control character"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_bad_npz_is_refused_with_what_is_wrong(case, tmp_path):
    contents, message = BAD_NPZ[case]
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=savez(tmp_path, **contents))


@pytest.mark.parametrize(
    ("contents", "column", "message"),
    [
        ({"x": ROWS}, "a", "no column 'a': its 3 columns have no names"),
        ({"x": ROWS}, "4", "no column '4'"),
        ({"x": ROWS, "y": ROWS[:, 0] > 0}, "1", "leave out --label-column"),
        ({"x": ROWS[:, :1]}, "1", "no column besides the labels"),
    ],
)
def test_a_wrong_label_column_of_an_array_is_refused(contents, column, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir=savez(tmp_path, **contents), label_column=column)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_python_objects_are_never_unpickled(tmp_path):
    with pytest.raises(DataError, match="never loaded"):
        load("arrays", data_dir=savez(tmp_path, x=np.array([[Trap()]])))
    assert not Trap.sprung


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_a_truncated_file_is_refused_wherever_it_ends(name, tmp_path):
    buffer = io.BytesIO()
    (np.save if name == "t.npy" else np.savez_compressed)(buffer, ROWS)
    whole = buffer.getvalue()
    for end in (1, 5, 9, 40, 127, 129, len(whole) // 2, len(whole) - 1):
        path = write(tmp_path, name, whole[:end])
        with pytest.raises(DataError, match=f"cannot read {name}"):
            load("arrays", data_dir=path)


def test_damaged_bytes_never_end_in_another_error(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=ROWS)
    whole, rng = buffer.getvalue(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        try:
            load("arrays", data_dir=write(tmp_path, "t.npz", bytes(broken)))
        except DataError:
            refused += 1
    assert refused > 250


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="found no array"):
        load("arrays", data_dir=str(tmp_path / "t.npz"))


def test_files_that_are_not_there_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(UsageError, match=f"--data-dir {tmp_path}/t.csv: no such file"):
        load("arrays", data_dir=str(tmp_path / "t.csv"))
    with pytest.raises(UsageError, match=f"{tmp_path} is a folder"):
        load("arrays", data_dir=str(tmp_path))
    for name in ("t.xlsx", "t.npy.gz", "t.gz"):
        with pytest.raises(UsageError, match=rf"{name}: wanted \.npy or .* found '\.(xlsx|gz)'"):
            load("arrays", data_dir=write(tmp_path, name, "1,2\n"))


@pytest.mark.parametrize("name", ["t.npy", "t.npz", "t.csv"])
def test_an_empty_file_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=f"{name} is empty"):
        load("arrays", data_dir=write(tmp_path, name, b""))


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--data-dir is needed for arrays"):
        load("arrays")
    for seed in (-1, 0.5):
        with pytest.raises(UsageError, match=f"split-seed .*received {seed}"):
            load("arrays", data_dir=save(tmp_path, ROWS), split_seed=seed)


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path, ROWS)
    assert arrays.load(data_dir="~/t.npy").card["counts"]["train"] == 40


def test_ten_rows_a_split_are_needed_when_the_split_is_drawn(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 2))
    counts = load("arrays", data_dir=save(tmp_path, x)).card["counts"]
    assert counts == {"train": 80, "valid": 10, "test": 10}
    with pytest.raises(DataError, match=r"100 rows at least .*10 rows a split, found 99$"):
        load("arrays", data_dir=save(tmp_path, x[:99]))


@pytest.mark.parametrize("short", ["train", "valid", "test"])
def test_ten_rows_are_needed_of_an_own_split_too(short, tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 2))
    enough = {name: x for name in SPLITS}
    assert load("arrays", data_dir=savez(tmp_path, **enough)).card["counts"][short] == 10
    with pytest.raises(DataError, match=f"10 rows a split at least .*the split '{short}' has 9$"):
        load("arrays", data_dir=savez(tmp_path, **{**enough, short: x[:9]}))


def test_ten_rows_are_needed_of_a_valid_split_that_is_drawn(tmp_path):
    x = np.random.default_rng(0).normal(size=(91, 2))
    counts = load("arrays", data_dir=savez(tmp_path, train=x, test=x[:10])).card["counts"]
    assert counts == {"train": 81, "valid": 10, "test": 10}
    with pytest.raises(DataError, match=r"'valid', a tenth of train has 9$"):
        load("arrays", data_dir=savez(tmp_path, train=x[:90], test=x[:10]))
