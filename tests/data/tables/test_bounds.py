"""What a file may take in memory: said by its headers, before it is taken."""

import gzip
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kvae.data import load
from kvae.data.tables import bounds, dialects
from kvae.data.tables.bounds import bound_of
from kvae.data.tables.csv import read_csv
from kvae.errors import DataError

MB = 1e-3  # in GB
X = np.random.default_rng(0).normal(size=(120, 3)).round(3)
SAID = "--max-unpacked GB allows more"


def _npy(shape, body, dtype="<f8"):
    """A .npy file whose header says a shape, whatever is in it."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + body


def _zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _parquet(columns, **options):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


_ZEROS = np.zeros(300_000)
_LINE = ",".join(["1"] * 50_000) + "\n"
#: Name -> content, ending, what the error says it takes; each takes more than 2 MB, 1 are allowed.
LARGE = {
    "npz": (_zipped(x=_npy((300_000, 1), _ZEROS.tobytes())), "npz", "its arrays take 0.0024 GB"),
    "npz of several": (
        _zipped(**{f"a{i}": _npy((60_000, 1), bytes(480_000)) for i in range(5)}), "npz",
        "its arrays take"),
    "npz of bytes": (
        _zipped(x=_npy((300_000, 1), bytes(300_000), "|u1")), "npz", "its arrays take 0.0024 GB"),
    "npz that says more than it has": (
        _zipped(x=_npy((10**12, 10**3), b"")), "npz", "its arrays take 8e"),
    "npy": (_npy((300_000, 1), _ZEROS.tobytes()), "npy", "its array takes 0.0024 GB"),
    "parquet of one number": (_parquet({"a": _ZEROS}), "parquet", "its numbers take 0.0048 GB"),
    "gzip": (gzip.compress(b"1,2\n" * 600_000), "csv.gz", "it unpacks to m|its numbers t"),
    "gzip of empty lines": (
        gzip.compress(b"1,2\n" * 200 + b"\n" * 3_000_000), "csv.gz", "it unpacks to more"),
    "gzip of one line": (gzip.compress(b"1" * 4_000_000), "csv.gz", "line 1: more|it unpacks"),
    "a long line": (b"1" * 200_000 + b"\n", "csv", r"line 1: more than 62,500 bytes, "),
    "a long line below": (b"a,b\n1,2\n" + b"1" * 200_000, "csv", "line 3: more than 62,500 b"),
    "many columns": (_LINE.replace("1", "")[:40_000] + "\n", "csv", "40,001 columns take 0.01"),
    "many numbers": (b"1,2\n" * 100_000, "csv", "its numbers take more than 0.00"),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
def test_what_takes_more_than_is_allowed_names_the_flag(case, tmp_path):
    content, ending, message = LARGE[case]
    path = tmp_path / f"t.{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"t\.{ending}[:,] ({message}).*--max-unpacked GB allows"):
        load("arrays", data_dir=str(path), max_unpacked=MB)


@pytest.mark.parametrize("ending", ["npz", "parquet", "csv.gz"])
def test_the_flag_allows_more(ending, tmp_path):
    rows = np.random.default_rng(0).integers(0, 2, (100_000, 2))
    content = {
        "npz": lambda: _zipped(x=_npy(rows.shape, rows.astype("u1").tobytes(), "|u1")),
        "parquet": lambda: _parquet({"a": rows[:, 0], "b": rows[:, 1]}),
        "csv.gz": lambda: gzip.compress("\n".join(f"{a},{b}" for a, b in rows.tolist()).encode()),
    }[ending]()
    (tmp_path / f"t.{ending}").write_bytes(content)
    path = str(tmp_path / f"t.{ending}")
    with pytest.raises(DataError, match=SAID):
        load("arrays", data_dir=path, max_unpacked=MB)
    assert load("arrays", data_dir=path, max_unpacked=5 * MB).card["counts"]["train"] == 80_000
    assert load("arrays", data_dir=path).card["counts"]["train"] == 80_000


def test_without_the_flag_the_size_of_the_file_decides(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_bytes(bytes(1000))
    assert bound_of(tmp_path / "t.csv", None).allowed == 10**9
    monkeypatch.setattr(bounds, "_LEAST", 100)
    assert bound_of(tmp_path / "t.csv", None)[1:] == (20_000, 100 // 16)
    assert bound_of(tmp_path / "t.csv", 0.5).allowed == 5 * 10**8


def test_a_header_that_says_more_than_the_file_has_is_damage(tmp_path):
    (tmp_path / "t.npy").write_bytes(_npy((10**6, 2), bytes(800)))
    with pytest.raises(DataError, match=r"cannot read t\.npy .* says 16,000,000 bytes, it has 800"):
        load("arrays", data_dir=str(tmp_path / "t.npy"))


@pytest.mark.parametrize("by", [",", "\t", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_wide_table_is_read_as_a_narrow_one(by, end, tmp_path, monkeypatch):
    """Wide ones are read row by row; of long ones blocks one by one."""
    kind = np.array(["x", "y"])[np.arange(120) % 2]
    rows = [[k, *row] for k, row in zip(kind, X.tolist(), strict=True)]
    lines = [by.join(map(str, row)) for row in (["kind", "a", "b", "c"], *rows)]
    (tmp_path / "t.txt").write_text(end.join(lines), newline="")
    path = str(tmp_path / "t.txt")
    plain = load("arrays", data_dir=path, label_column="kind")
    monkeypatch.setattr(dialects, "_BLOCK", 50)
    blocks = load("arrays", data_dir=path, label_column="kind")
    monkeypatch.setattr("kvae.data.tables.csv._WIDE", 1)
    wide = load("arrays", data_dir=path, label_column="kind")
    assert plain.card == blocks.card == wide.card
    np.testing.assert_array_equal(np.sort(plain.train.x, 0), np.sort(wide.train.x, 0))
    (tmp_path / "t.txt").write_text(end.join([*lines[:9], lines[9] + by + "1"]), newline="")
    with pytest.raises(DataError, match=r"line \d+: 5 cells, the first line has 4 \(1 such"):
        load("arrays", data_dir=path, label_column="kind")


def test_quotes_may_lie_across_blocks(tmp_path, monkeypatch):
    rows = [f'{a},"{"one" if i % 2 else "two"}, ""{"x" * 60}""",{b}' for i, (a, b, _) in
            enumerate(X.tolist())]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(["a,kind,b", *rows]))
    path = str(tmp_path / "t.csv")
    plain = load("arrays", data_dir=path, label_column="kind")
    monkeypatch.setattr(dialects, "_BLOCK", 20)
    assert load("arrays", data_dir=path, label_column="kind").card == plain.card
    assert len(plain.card["label_names"]["kind"]) == 2


def test_quotes_inside_cells_are_text(tmp_path, monkeypatch):
    """Some are odd in number, beside quoted cells with line breaks, across blocks."""
    kinds = ['5" pipe', '"two\nlines"', "plain", '""', '"a ""b"""', 'x "y" z']
    rows = [f"{a},{kinds[i % 6]},{b}" for i, (a, b, _) in enumerate(X.tolist())]
    (tmp_path / "t.csv").write_text("\n".join(["a,kind,b", *rows]).replace(',"",', ",none,"))
    wanted = ['5" pipe', "two\nlines", "plain", "none", 'a "b"', 'x "y" z'] * 20
    for block in (2**23, 20, 7):
        monkeypatch.setattr(dialects, "_BLOCK", block)
        table = read_csv(tmp_path / "t.csv", "kind", bound_of(tmp_path / "t.csv", None))
        assert table.labels.tolist() == wanted
        np.testing.assert_array_equal(table.x, X[:, :2].astype(np.float32))


def test_wide_tables_with_quotes_are_read_row_by_row(tmp_path, monkeypatch):
    """A column costs pyarrow some kilobytes, which no bound counts."""
    lines = [",".join(f'"n{i}"' for i in range(5000)), *(",".join(["0.5"] * 5000) for _ in X)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    monkeypatch.setattr("kvae.data.tables.csv.as_columns", None)
    assert load("arrays", data_dir=str(tmp_path / "t.csv")).train.x.shape == (96, 5000)
    (tmp_path / "t.csv").write_text("\n".join([*lines, lines[-1].removesuffix("5") + "x"]))
    with pytest.raises(DataError, match=r"line 122, column 'n4999': '0\.x' is not a number"):
        load("arrays", data_dir=str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("\n".join([*lines, '"' + lines[-1]]))
    with pytest.raises(DataError, match=r"line 122: .*a quote that is not closed"):
        load("arrays", data_dir=str(tmp_path / "t.csv"))


def test_batches_of_wide_parquet_files_hold_few_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("kvae.data.tables.parquet.MOST_NUMBERS", 30)
    sizes = []
    read = pq.ParquetFile.iter_batches

    def counted(self, size, **options):
        sizes.append(size)
        return read(self, size, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    (tmp_path / "t.parquet").write_bytes(_parquet({name: X[:, i] for i, name in enumerate("abc")}))
    assert load("arrays", data_dir=str(tmp_path / "t.parquet")).train.x.shape == (96, 3)
    assert sizes == [10]


def test_many_names_take_little_time(tmp_path):
    """Each name is looked up once: pairs of 20,000 would take minutes."""
    names = [f"n{i}" for i in range(20_000)]
    rows = np.random.default_rng(0).integers(0, 9, (100, 20_000))
    lines = [",".join(names), *(",".join(row) for row in rows.astype("U1"))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    dataset = load("arrays", data_dir=str(tmp_path / "t.csv"))
    assert dataset.train.x.shape == (80, 20_000)
    (tmp_path / "t.csv").write_text("\n".join([",".join([*names[1:], "n5"]), *lines[1:]]))
    with pytest.raises(DataError, match="column 20000: the header has the name 'n5' twice"):
        load("arrays", data_dir=str(tmp_path / "t.csv"))
