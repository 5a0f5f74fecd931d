"""Tables as people have them: every one gives the exact numbers, or an error that says why not."""

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kvae.data import arrays, load
from kvae.errors import DataError

N = 24
X = np.round(np.random.default_rng(1).normal(size=(N, 3)) * [1, 10, 1000], 3)
INTS = np.random.default_rng(2).integers(0, 9, size=(N, 4))
KIND = np.array(["setosa", "virginica"])[np.arange(N) % 2]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two rows a split are enough, so that tables stay small."""
    monkeypatch.setattr(arrays, "MIN_SPLIT_ROWS", 2)


def text(rows, header=None, by=",", end="\n", last=True):
    lines = ([header] if header is not None else []) + [by.join(map(str, row)) for row in rows]
    return end.join(lines) + (end if last else "")


def with_kind(x=X, kind=KIND):
    return [[*row, one] for row, one in zip(x.tolist(), kind, strict=True)]


def quoted(rows):
    return [[f'"{cell}"' if isinstance(cell, str) else cell for cell in row] for row in rows]


def comma(value):
    return str(value).replace(".", ",")


def german(rows, by=";"):
    return [by.join(map(comma, row)) for row in rows]


def parquet(columns, **options):
    buffer = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def indexed(table, index):
    """A parquet file of pandas: which columns were its index."""
    words = json.dumps({"index_columns": index, "columns": []})
    return parquet(table.replace_schema_metadata({"pandas": words}))


FLAGS = np.arange(N) % 2
COLUMNS = {name: X[:, i] for i, name in enumerate("abc")}
ABC = ["a", "b", "c"]

#: Name -> content, ending, options, numbers, names of the columns (None: they have none).
GOOD = {
    "iris with a header": (text(with_kind(), "a,b,c,species"), "csv", "species", X, ABC),
    "iris without a header": (text(with_kind()), "data", "4", X, None),
    "iris, label in the middle": (
        text([[a, k, b, c] for a, b, c, k in with_kind()], "a,kind,b,c"), "csv", "kind", X, ABC),
    "wine quality": (text(X, '"a";"b";"c"', by=";"), "csv", "", X, ABC),
    "wine of UCI, class first": (
        text([[i % 3 + 1, *row] for i, row in enumerate(X.tolist())]), "data", "1", X, None),
    "german credit, blanks": (
        "".join("  " + "   ".join(f"{v:>9}" for v in row) + " \n" for row in X.tolist()),
        "data", "", X, None),
    "blanks with names": (text(X, "a b  c", by="  "), "txt", "", X, ABC),
    "blanks and tabs mixed": (text(X, "a \t b\tc", by=" \t "), "txt", "", X, ABC),
    "savetxt": ("\n".join(" ".join(f"{v:.18e}" for v in row) for row in X), "txt", "", X, None),
    "savetxt with a header": (
        text(X, "# a,b,c"), "csv", "", X, ["# a", "b", "c"]),
    "comments above a header": (
        text(X, "# made in 2020\n#\n\n# by hand, twice\na,b,c"), "csv", "", X, ABC),
    "many comments": ("# a line of words, and more\n" * 4000 + text(X, "a,b,c"), "csv", "", X, ABC),
    "comments above numbers": (text(X, "# made by hand"), "csv", "", X, None),
    "mnist": (
        text([[i % 10, *row] for i, row in enumerate(INTS.tolist())], "label,p0,p1,p2,p3"),
        "csv", "label", INTS, ["p0", "p1", "p2", "p3"]),
    "pandas with its index": (
        text([[i, *row] for i, row in enumerate(X.tolist())], ",a,b,c"), "csv", "", X, ABC),
    "pandas with its index twice": (
        text([[i, i, *row] for i, row in enumerate(X.tolist())], ",Unnamed: 0,a,b,c"),
        "csv", "", X, ABC),
    "pandas, columns without names": (text(X, "0,1,2"), "csv", "", X, ["0", "1", "2"]),
    "pandas, whole numbers without names": (
        text(INTS, "0,1,2,3"), "csv", "", INTS, ["0", "1", "2", "3"]),
    "names from 1": (text(INTS, "1,2,3,4"), "csv", "", INTS, ["1", "2", "3", "4"]),
    "names that count, by tabs": (text(X, "0\t1\t2", by="\t"), "tsv", "", X, ["0", "1", "2"]),
    "rows that count": (text(np.arange(4 * N).reshape(N, 4)), "csv", "",
                        np.arange(4 * N).reshape(N, 4), None),
    "whole numbers of two columns": (
        text(np.vstack([[0, 1], INTS[:, :2]])), "csv", "", np.vstack([[0, 1], INTS[:, :2]]), None),
    "pandas, an index and numbered columns": (
        text([[i, *row] for i, row in enumerate(INTS.tolist())], ",0,1,2,3"),
        "csv", "", INTS, ["0", "1", "2", "3"]),
    "get_dummies": (
        text([[a, b, c, bool(f)] for (a, b, c), f in zip(X.tolist(), FLAGS, strict=True)],
             "a,b,c,red"), "csv", "", np.column_stack([X, FLAGS]), [*ABC, "red"]),
    "true and false of R and JSON": (
        text([[v, str(f).upper(), str(not f).lower()] for v, f in zip(X[:, 0], FLAGS > 0,
             strict=True)], "a,b,c"), "csv", "", np.column_stack([X[:, 0], FLAGS, 1 - FLAGS]), ABC),
    "yes and no": (
        text([[v, "Yes" if f else "no", v] for v, f in zip(X[:, 0], FLAGS, strict=True)], "a,b,c"),
        "csv", "", np.column_stack([X[:, 0], FLAGS, X[:, 0]]), ABC),
    "true and false without a header": (
        text([[v, bool(f)] for v, f in zip(X[:, 0], FLAGS, strict=True)]), "csv", "",
        np.column_stack([X[:, 0], FLAGS]), None),
    "excel in Germany": (
        "\ufeff" + "\r\n".join(["a;b;c", *german(X.tolist())]) + "\r\n", "csv", "", X, ABC),
    "excel's sep line": ("sep=;\r\n" + text(X, "a;b;c", by=";", end="\r\n"), "csv", "", X, ABC),
    "decimal commas without a header": ("\n".join(german(X.tolist())), "csv", "", X, None),
    "decimal commas by tabs": (
        "\n".join(["a\tb\tc", *german(X.tolist(), "\t")]), "tsv", "", X, ABC),
    "decimal commas and labels": (
        "\n".join(["a;b;c;kind", *(f"{row};{k}" for row, k in zip(german(X.tolist()), KIND,
                  strict=True))]), "csv", "kind", X, ABC),
    "decimal commas by blanks": ("\n".join(german(X.tolist(), "  ")), "txt", "", X, None),
    "decimal commas with exponents": (
        "\n".join(f"{comma(a)}e0;{b:.0f}" for a, b, _ in X.tolist()), "csv", "",
        np.column_stack([X[:, 0], np.rint(X[:, 1])]), None),
    "R's write.csv": (
        text([[f'"{i + 1}"', *row] for i, row in enumerate(X.tolist())], '"","a","b","c"'),
        "csv", "", X, ABC),
    "R's row names": (
        text([[f'"car {i}"', *row] for i, row in enumerate(X.tolist())], '"","a","b","c"'),
        "csv", "", X, ABC),
    "R's write.csv2": (
        "\n".join(['"";"a";"b";"c"', *(f'"{i}";{r}' for i, r in enumerate(german(X.tolist())))]),
        "csv", "", X, ABC),
    "tabs": (text(X, "a\tb\tc", by="\t"), "tsv", "", X, ABC),
    "tabs in a .csv": (text(X, "a\tb\tc", by="\t"), "csv", "", X, ABC),
    "tabs and names with commas": (text(X, "a, m\tb, m\tc", by="\t"), "tsv", "", X,
                                   ["a, m", "b, m", "c"]),
    "bars": (text(X, "a|b|c", by="|"), "csv", "", X, ABC),
    "commas and blanks": (text(X, "a, b, c", by=", "), "csv", "", X, ABC),
    "quoted numbers": (text([[f'"{v}"' for v in row] for row in X.tolist()], "a,b,c"), "csv", "",
                       X, ABC),
    "quoted commas in labels": (
        text([[*row, f'"{k}, {k}"'] for *row, k in with_kind()], "a,b,c,kind"), "csv", "kind", X,
        ABC),
    "blank lines": (text(X, "a,b,c\n\n", end="\n \n\n"), "csv", "", X, ABC),
    "a trailing delimiter": (text([[*row, ""] for row in X.tolist()], "a,b,c,"), "csv", "", X, ABC),
    "CRLF": (text(X, "a,b,c", end="\r\n"), "csv", "", X, ABC),
    "CR alone": (text(X, "a,b,c", end="\r"), "csv", "", X, ABC),
    "no newline at the end": (text(X, "a,b,c", last=False), "csv", "", X, ABC),
    "unicode names": (text(X, "größe,重さ,é"), "csv", "", X, ["größe", "重さ", "é"]),
    "names with emoji and blanks": (text(X, "a b,🙂,c (m)"), "csv", "", X, ["a b", "🙂", "c (m)"]),
    "no-break spaces around": (
        text([[f"\u00a0{a}", f"{b}\u2009", f" {c} "] for a, b, c in X.tolist()], "a,b,c"), "csv",
        "", X, ABC),
    "thin spaces between thousands": (
        text([[f"{1000 + i:,}".replace(",", "\u202f"), f"{i}\u00a0000,5"] for i in range(1, N + 1)],
             "a;b", by=";"), "csv", "",
        np.array([[1000 + i, 1000 * i + 0.5] for i in range(1, N + 1)]), ["a", "b"]),
    "signs and exponents": (
        text([[f"+{abs(a)}", f"{b:e}", f"{c:E}"] for a, b, c in X.tolist()], "a,b,c"), "csv", "",
        np.column_stack([abs(X[:, 0]), X[:, 1:]]), ABC),
    "points at the ends": (text([[f".{i}", f"{i}."] for i in range(N)], "a,b"), "csv", "",
                           np.array([[float(f".{i}"), i] for i in range(N)]), ["a", "b"]),
    "one column": (text(X[:, :1], "a"), "csv", "", X[:, :1], ["a"]),
    "one column without a header": (text(X[:, :1]), "csv", "", X[:, :1], None),
    "one column whose name has a blank": (text(X[:, :1], "my own"), "csv", "", X[:, :1],
                                          ["my own"]),
    "a numeric column Split": (text(X, "a,Split,c"), "csv", "", X, ["a", "Split", "c"]),
    "years as names": (text(X, "2019,2020,x"), "csv", "", X, ["2019", "2020", "x"]),
    "delimiters at the ends": (text([[*row, ""] for row in INTS]), "csv", "", INTS, None),
    "delimiters at the ends, decimal commas": (
        "\n".join(f"{row};" for row in german(X.tolist())), "csv", "", X, None),
    "thin spaces in the first row": (
        text([[f"{a + 1}\u00a0000", b] for a, b, *_ in INTS], by=";"), "csv", "",
        (INTS[:, :2] + [1, 0]) * [1000, 1], None),
    "the name of a label beside names that count": (
        text([[i % 3, *row] for i, row in enumerate(INTS)], "label,0,1,2,3"), "csv", "1", INTS,
        ["0", "1", "2", "3"]),
    "a label beside a row that counts": (
        text([["x", 0, 1, 2, 3], *(["y", *row] for row in INTS), ["x", 5, 5, 5, 5]]), "csv", "1",
        np.vstack([[0, 1, 2, 3], INTS, [5, 5, 5, 5]]), None),
    "quoted cells between single blanks": (
        text([[a, f'"{k}"', b] for a, k, b in zip(X[:, 0], KIND, X[:, 1], strict=True)],
             '"a" "kind" "b"', by=" "), "txt", "kind", X[:, :2], ["a", "b"]),
    "gzipped": (gzip.compress(text(X, "a,b,c").encode()), "csv.gz", "", X, ABC),
    "gzipped tabs": (gzip.compress(text(X, "a\tb\tc", by="\t").encode()), "tsv.gz", "", X, ABC),
    "parquet": (parquet(COLUMNS), "parquet", "", X, ABC),
    "parquet of pandas": (parquet({**COLUMNS, "__index_level_0__": np.arange(N)}), "parquet", "",
                          X, ABC),
    "parquet of pandas, an index with a name": (
        indexed(pa.table({**COLUMNS, "year": np.arange(N) * 2}), ["year"]), "parquet", "", X, ABC),
    "parquet of pandas, a label for an index": (
        indexed(pa.table({**COLUMNS, "kind": KIND}), ["kind"]), "parquet", "kind", X, ABC),
    "parquet of pandas, an index of no column": (
        indexed(pa.table(COLUMNS), [{"kind": "range"}]), "parquet", "", X, ABC),
    "parquet of pandas, odd words about it": (
        indexed(pa.table(COLUMNS), 5), "parquet", "", X, ABC),
    "parquet of decimals": (
        parquet({"a": pa.array(X[:, 0].tolist()).cast(pa.decimal128(9, 3)), "b": X[:, 1]}),
        "parquet", "", X[:, :2], ["a", "b"]),
    "parquet with labels": (parquet({**COLUMNS, "kind": KIND}), "parquet", "kind", X, ABC),
    "parquet with categories": (
        parquet({"kind": pa.array(KIND).dictionary_encode(), **COLUMNS}), "parquet", "kind", X,
        ABC),
    "parquet of true and false": (parquet({"a": X[:, 0], "b": FLAGS > 0}), "parquet", "",
                                  np.column_stack([X[:, 0], FLAGS]), ["a", "b"]),
    "parquet of small types": (
        parquet({"a": pa.array(X[:, 0], pa.float32()), "b": pa.array(INTS[:, 0], pa.uint8()),
                 "c": pa.array(INTS[:, 1], pa.int64()), "d": pa.array(INTS[:, 2], pa.int16())}),
        "parquet", "", np.column_stack([X[:, 0], INTS[:, :3]]), ["a", "b", "c", "d"]),
    "parquet with a number Split": (parquet({"a": X[:, 0], "Split": X[:, 1]}), "parquet", "",
                                    X[:, :2], ["a", "Split"]),
    "parquet in groups": (parquet(COLUMNS, row_group_size=5, compression="gzip"), "parquet", "",
                          X, ABC),
    "parquet, label by its number": (parquet({"k": KIND, **COLUMNS}), "parquet", "1", X, ABC),
}  # fmt: skip


@pytest.fixture
def loaded(tmp_path):
    def of(content, ending, label="", **options):
        path = tmp_path / f"t.{ending}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load("arrays", data_dir=str(path), label_column=label, **options)

    return of


@pytest.mark.parametrize("case", GOOD)
def test_a_table_gives_its_numbers(case, loaded):
    content, ending, label, x, names = GOOD[case]
    dataset = loaded(content, ending, label)
    rows, _ = arrays.split_rows(arrays.Table("", np.asarray(x, float), [], str), 0)
    for split, own in rows.items():
        found = getattr(dataset, split)
        np.testing.assert_array_equal(found.x, np.asarray(x)[own].astype(np.float32))
        if label and "kind" in (label, label.lower()):
            of_kind = [dataset.card["label_names"][label][i] for i in found.labels[label]]
            assert [one.split(",")[0] for one in of_kind] == KIND[own].tolist()
    assert dataset.card.get("columns") == names


def bad(cell, by=",", header="a,b,c"):
    """A table whose cell in line 8, column b is another."""
    rows = [[str(v) for v in row] for row in X.tolist()]
    rows[6][1] = cell
    return text(rows, header.replace(",", by), by=by)


def of_words(words):
    """Column b holds these, again and again."""
    return text([[a, words[i % len(words)], a] for i, a in enumerate(X[:, 0])], "a,b,c")


WRONG_CELLS = {
    "NA": "'NA' is not a number; it stands for a missing value",
    "": "an empty cell", " ": "an empty cell", "\u00a0": "an empty cell",
    "?": "it stands for a missing value", "null": "missing value", "n/a": "missing value",
    "nan": "nan is not finite", "NaN": "nan is not finite", "inf": "inf is not finite",
    "-Infinity": "-inf is not finite", "1e400": "inf is not finite",
    "1e39": r"1e\+39 is too large for float32", "-3e38": r"-3e\+38 is too large",
    "2e18": "numbers up to 1e.18 are allowed",
    "1_000": "'1_000' is not a number", "0x10": "'0x10' is not a number",
    "\u0661\u0662": "is not a number", "\uff11": "is not a number", "\u22125": "is not a number",
    "1 000": "'1 000' is not a number", "1\u00a000": "is not a number", "1d5": "'1d5'",
    "2020-01-31": "'2020-01-31' is not a number", "01.02.2020": "is not a number",
    "5%": "'5%' is not a number", "$5": r"'\$5' is not a number", "5 kg": "'5 kg' is not a number",
    '"1,234"': "'1,234' is not a number", "1.5.2": "is not a number", "--5": "is not a number",
    "True": "'True' is not a number", "no": "'no' is not a number", "1+2j": "is not a number",
    "x" * 99: f"'{'x' * 40}' is not a number", '""': "an empty cell", "1;2": "'1;2' is not a",
}  # fmt: skip


@pytest.mark.parametrize("cell", WRONG_CELLS)
def test_a_cell_that_is_no_number_is_named_by_its_place(cell, loaded):
    with pytest.raises(
        DataError, match=rf"t\.csv, line 8, column 'b': .*{WRONG_CELLS[cell]}.*\(1 cells of 72"
    ):
        loaded(bad(cell), "csv")


PLACES = {
    "no header": (bad("x", header="").removeprefix("\n"), "line 7, column 2: 'x'"),
    "blank lines": ("\n\n" + bad("x").replace("\n", "\n\n"), "line 17, column 'b': 'x'"),
    "comments": ("# 1\n#\n" + bad("x"), "line 10, column 'b': 'x'"),
    "breaks in quotes": (
        text([[*row, '"one\nline"'] for row in X.tolist()], "a,b,c,kind").replace(
            str(X[3, 1]), "x", 1), r"line 8, column 'b': 'x'"),
    "CR alone": (bad("x").replace("\n", "\r"), "line 8, column 'b': 'x'"),
    "CRLF": (bad("x").replace("\n", "\r\n"), "line 8, column 'b': 'x'"),
    "semicolons": (bad("x", by=";"), "line 8, column 'b': 'x'"),
    "blanks": (bad("x", by="  "), "line 8, column 'b': 'x'"),
    "after an index": (
        text([[i, *row] for i, row in enumerate(X.tolist())], ",a,b,c").replace(
            str(X[6, 1]), "x", 1), "line 8, column 'b': 'x'"),
    "after a label": (
        text([["k", *row] for row in X.tolist()], "kind,a,b,c").replace(str(X[6, 1]), "x", 1),
        "line 8, column 'b': 'x'"),
    "a row of blanks": (text(X[:3], "a,b,c") + '"  "\n' + text(X[3:6]) + "1,x,2", "line 9, col"),
    "carriage returns": (text(X, "a,b,c") + "5,6,7\r7,8,9\n1,x,2", "line 26: a carriage return in"),
    "after a long cell": (
        text(X, "a,b,c").replace("\n", ",k\n").replace(",k", ",kind", 1)
        + f"1,2,3,{'x' * 140_000}\n1,x,2,k", "line 26: field larger than field limit"),
    "a header that counts": (bad("x", header="0,1,2"), "line 8, column '1': 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_the_place_of_a_cell_is_that_of_the_file(case, loaded):
    content, message = PLACES[case]
    with pytest.raises(DataError, match=message):
        loaded(content, "csv", "kind" if "kind" in content.split("\n")[0] else "")


REFUSED = {
    "adult": (text([["39", " State-gov", "?", "13"]] * N), "csv", "line 1, column|is not a number"),
    "titanic": (
        text([[i, f'"Braund, Mr. {i}"', "male", 22, ""] for i in range(N)],
             "PassengerId,Name,Sex,Age,Cabin"), "csv",
        "line 2, column 'Name': 'Braund, Mr. 0' is not a number; take .*--label-column"),
    "true beside numbers": (of_words(["True", "1"]), "csv", "line 2, column 'b': 'True' is not"),
    "true beside yes": (of_words(["True", "yes"]), "csv", "line 2, column 'b': 'True' is not a"),
    "true beside nothing": (of_words(["True", ""]), "csv", "line 3, column 'b': an empty cell"),
    "yes beside maybe": (of_words(["yes", "maybe"]), "csv", "line 3, column 'b': 'maybe' is not"),
    "a decimal comma and a point": (
        "a;b\n" + "1,5;2\n" * N + "2.5;1\n", "csv",
        "line 2, column 'a': '1,5' has a comma, and line 26, column 'a' has the point of '2.5'"),
    "commas that may be thousands": (
        "a;b\n" + "1,234;2\n" * N, "csv", "line 2, column 'a': '1,234' may be a decimal or a thou"),
    "points between thousands": (
        "a;b\n" + "1.234,5;2\n" * N, "csv", "line 2, column 'a': '1.234,5' is not a number"),
    "the least that is too large": (
        text([[1, np.nextafter(1e18, 2e18)]] * N, "a,b"), "csv", r"1\.0{15}1e\+18 is too large"),
    "a name fewer than quoted cells": (
        text([[f'"{i}"', *row] for i, row in enumerate(X)], '"a" "b" "c"', by=" "), "txt",
        "line 2: 4 cells, the first line has 3"),
    "two delimiters": ("a;x,b;y\n" + "p;q,r;s\n" * N, "csv", "by commas or by semicolons|not a nu"),
    "ragged": (text(X, "a,b,c") + "1,2\n", "csv", "line 26: 2 cells, the first line has 3 "
               r"\(1 such lines in all\)"),
    "ragged throughout": (text(X, "a,b,c") + "1,2\n" * 2000, "csv", r"\(1,000 such lines or mo"),
    "ragged by blanks": (text(X, by=" ") + "1 2\n", "txt", "line 25: 2 cells, the first line"),
    "R's write.table": (
        text([[f'"{i}"', *row] for i, row in enumerate(X.tolist())], '"a","b","c"'), "csv",
        "line 2: 4 cells, the first line has 3"),
    "UTF-16": (text(X, "a,b,c").encode("utf-16"), "csv", "line 1: not UTF-8 text .*UTF-16"),
    "UTF-16 without a mark": (text(X, "a,b,c").encode("utf-16-le"), "csv", "line 1: a zero byte"),
    "Latin-1": (text(X, "a,b,größe").encode("latin-1"), "csv", "line 1: not UTF-8 text, save it"),
    "Latin-1 below": (text(with_kind(), "a,b,c,k").replace("setosa", "s\u00e9").encode("latin-1"),
                      "csv", "line 2: not UTF-8 text"),
    "a control character in a name": (text(X, "a,b\x1b[31m,c"), "csv", r"line 1: the name 'b\\x1b"),
    "a line break in a name": (text(X, '"a\nb",b,c'), "csv", r"line 1: the name 'a\\nb' holds"),
    "a name that turns text around": (text(X, "a,b\u202e,c"), "csv", r"'b\\u202e' holds a control"),
    "a name twice": (text(X, "a,b,a"), "csv", "column 3: the header has the name 'a' twice"),
    "no name": (text(X, "a,,c"), "csv", "line 1, column 2: no name in the header"),
    "names that are numbers": (text(X, "0.5,b,c"), "csv", "line 1, column 1: it has 0.5 and 'b'"),
    "header alone": ("a;b;c\n", "csv", "no rows below its header"),
    "comments alone": ("# a\n# b\n", "csv", "has no rows"),
    "tabs alone": (
        text(with_kind(kind=["a b", "c"] * (N // 2)), "a\tb\tc\tk", by="\t") + "\t\n", "tsv",
        "line 26: 2 cells, the first line has 4"),
    "labels like comments": ("#1,2,3\n#2,3,4\n", "csv", "each line is blank or a comment"),
    "ARFF": ("@relation t\n@attribute a numeric\n@data\n" + text(X), "csv", "cells, the first"),
    "a web page": ("<!DOCTYPE html>\n<html>\n<p>no</p>\n</html>\n", "csv", "is not a number|cells"),
    "a damaged gzip": (gzip.compress(text(X, "a,b,c").encode())[:-9], "csv.gz", "is damaged"),
    "no gzip": (text(X, "a,b,c"), "csv.gz", "is damaged: Not a gzipped file"),
    "parquet with a gap": (
        parquet({"a": X[:, 0], "b": pa.array([None if i == 4 else 1.5 for i in range(N)])}),
        "parquet", r"t\.parquet, row 5, column 'b': an empty cell: .*out \(1 cells of 48"),
    "parquet with nan": (parquet({"a": X[:, 0], "b": np.where(np.arange(N) == 4, np.nan, 1)}),
                         "parquet", "row 5, column 'b': nan is not finite"),
    "parquet too large": (parquet({"a": X[:, 0], "b": np.where(np.arange(N) == 4, 3e38, 1)}),
                          "parquet", r"row 5, column 'b': 3e\+38 is too large"),
    "parquet beyond float32": (parquet({"a": X[:, 0], "b": np.where(np.arange(N) == 4, 1e39, 1)}),
                               "parquet", r"row 5, column 'b': 1e\+39 is too large"),
    "parquet of text": (parquet({"a": X[:, 0], "b": KIND}), "parquet",
                        "column 'b': wanted numbers or true and false, it is of type .*string"),
    "parquet of dates": (
        parquet({"a": X[:, 0], "b": np.arange(N).astype("M8[s]")}), "parquet",
        "column 'b': wanted numbers .* type timestamp"),
    "parquet of lists": (parquet({"a": X[:, 0], "b": list(X)}), "parquet", "of type list"),
    "parquet cut short": (parquet(COLUMNS)[:-20], "parquet", "not a parquet file, or damaged"),
    "no parquet": (text(X), "parquet", "not a parquet file, or damaged"),
    "parquet, a name": (parquet({"a\x07": X[:, 0], "b": X[:, 1]}), "parquet", r"'a\\x07' holds a"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_says_nothing_certain_is_refused(case, loaded):
    content, ending, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        loaded(content, ending)


@pytest.mark.parametrize("name", ["split", "Split", "SPLIT"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_splits_are_named_in_any_letters(name, kind, loaded):
    own = np.array(["Train", "TEST", "validation", "train"])[np.arange(N) % 4]
    content = (
        text([[*row, one] for row, one in zip(X.tolist(), own, strict=True)], f"a,b,c,{name}")
        if kind == "csv"
        else parquet({**COLUMNS, name: own})
    )
    dataset = loaded(content, kind)
    np.testing.assert_array_equal(dataset.valid.x, X[2::4].astype(np.float32))
    np.testing.assert_array_equal(dataset.test.x, X[1::4].astype(np.float32))
    assert dataset.card["split"] == "own"


X4 = np.hstack([X, X[:, :1]])


@pytest.mark.parametrize(
    ("header", "rows", "is_header"),
    [("0,1", X[:, :2], True), ("0,1", INTS[:, :2], False), ("0,1,2,3", INTS, True),
     ("1,2,3", INTS[:, :3], False), ("0,2,4,6", INTS, False), ("2,3,4,5", INTS, False),
     ("2019,2020,2021,2022", X4, True), ("10,20,30,40", X4, True), ("10,20,30,50", X4, False),
     ("10,20,30", X, False)],
)  # fmt: skip
def test_a_line_that_counts_is_a_header_where_the_rows_do_not(
    header, rows, is_header, loaded, capsys
):
    dataset = loaded(text(rows, header), "csv")
    assert sum(dataset.card["counts"].values()) == N + (not is_header)
    assert ("counts its cells, and the rows do not" in capsys.readouterr().err) == is_header


def test_what_is_left_out_or_taken_for_numbers_is_said(loaded, capsys):
    flags = [[a, bool(f), "yes"] for a, f in zip(X[:, 0], FLAGS, strict=True)]
    loaded(text(flags, "a,b,c"), "csv")
    assert "column 'b' and 1 others: true and false, yes and no are 1 and 0" in (
        capsys.readouterr().err
    )
    loaded(text([[f"r{i}", *row, ""] for i, row in enumerate(X.tolist())], ",a,b,c,"), "csv")
    err = capsys.readouterr().err
    assert "column 1 has no name and names the rows: it is left out" in err
    assert "column 5 has neither name nor cells: it is left out" in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("values", ["texts", "numbers"])
def test_a_label_of_nearly_as_many_values_as_rows_is_none(ending, values, loaded):
    kind = np.array([f"id {i}" for i in range(N)]) if values == "texts" else X[:, 0]
    for count, fits in ((N, False), (22, False), (21, True)):
        own = kind[np.arange(N) % count]
        content = parquet({**COLUMNS, "k": own}) if ending == "parquet" else text(
            with_kind(kind=own), "a,b,c,k"
        )  # fmt: skip
        if fits:
            assert len(loaded(content, ending, "k").card["label_names"]["k"]) == count
            continue
        with pytest.raises(
            DataError, match=f"'k': {count} different {values} in 24 rows are no cl"
        ):
            loaded(content, ending, "k")


def test_the_name_of_a_class_is_shown_as_it_is(loaded):
    with pytest.raises(DataError, match=r"labels 'k': the name 's\\x1b' holds a control"):
        loaded(text(with_kind(kind=["s\x1b", "t"] * (N // 2)), "a,b,c,k"), "csv", "k")


def test_the_fingerprint_of_a_table_is_what_it_was(loaded):
    rows = [[f"{np.sin(i):.6f}", f"{i * i}", "xy"[i % 2]] for i in range(100)]
    card = loaded(text(rows, "a,b,kind"), "csv", "kind").card
    assert card["sha256"] == "ed38f230901eb1702a5c06a94c233a6e70919af61825e863e3a89e384906f4b9"


def test_levels_and_shares_are_made_binary(loaded):
    levels = np.random.default_rng(3).integers(0, 256, (N, 3))
    levels[0] = [127, 128, 255]
    shares = levels / 255
    for x in (levels, shares):
        dataset = loaded(text(x.tolist(), "a,b,c"), "csv", binarize=True)
        rows, _ = arrays.split_rows(arrays.Table("", x.astype(float), [], str), 0)
        for split, own in rows.items():
            np.testing.assert_array_equal(getattr(dataset, split).x, levels[own] >= 128)
        assert dataset.card["binarize"] is True
    mixed = levels.astype(float)
    mixed[5, 1], mixed[9, 2] = 0.5, 200
    with pytest.raises(
        DataError, match=r"column '\w': .* outside \[0, 1\].* line 7, column 'b': 0"
    ):
        loaded(text(mixed.tolist(), "a,b,c"), "csv", binarize=True)
    with pytest.raises(DataError, match=r"line 2, column .* --binarize takes numbers from 0 to 1"):
        loaded(text((levels - 300).tolist(), "a,b,c"), "csv", binarize=True)
