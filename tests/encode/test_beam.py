"""The pipeline gives the rows of one machine. `python3 bootstrap.py beam` runs this."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encode_testing import png_files, write_images, write_parquet, write_tfrecord
from kvae_testing import make_vae, make_x

from kvae import encode, publish

pytestmark = pytest.mark.skipif(
    find_spec("apache_beam") is None, reason="no apache_beam: python3 bootstrap.py beam has it"
)
EMPTY = {"config": {}, "card": {}, "history": {}}


def _beam(version, source, output, *options):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", "kvae.encode.beam", "--model", str(version.path), "--input",
         str(source), "--output", str(output), *options],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip


def _same_rows(version, source, folder, *options):
    found = _beam(version, source, folder / "beam", *options)
    assert found.returncode == 0, found.stderr[-2000:]
    shards = sorted(folder.glob("beam-*.parquet"))
    table = pa.concat_tables([pq.read_table(shard) for shard in shards]).sort_by("key")
    signature = options[options.index("--signature") + 1] if options else "encode"
    encode.encode(version.path, source, folder / "one.parquet", signature=signature)
    expected = pq.read_table(folder / "one.parquet").sort_by("key")
    assert table["key"].to_pylist() == expected["key"].to_pylist()
    assert table["error"].to_pylist() == expected["error"].to_pylist()
    good = [row for row, error in enumerate(expected["error"].to_pylist()) if error is None]
    for name in expected.column_names[1:-1]:
        ours = np.array(table[name].take(good).to_pylist())
        np.testing.assert_allclose(
            ours, expected[name].take(good).to_pylist(), rtol=1e-5, atol=1e-5
        )
    return table


def test_images_of_a_folder(tmp_path):
    version = publish.publish(make_vae((8, 8, 3), network="mlp"), tmp_path, "m", **EMPTY)
    files = png_files(40)
    files[7] = b"no image"
    # Names that Beam would take for patterns.
    source = tmp_path / "photos [20]*"
    write_images(source, files)
    (source / "0000.png").rename(source / "a[1]?.png")
    (source / "0001.png").rename(source / "a1x.png")
    table = _same_rows(version, source, tmp_path)
    assert len(table) == 40
    assert table["error"].null_count == 39


def test_scores_of_tables(tmp_path):
    version = publish.publish(make_vae((3,)), tmp_path, "m", **EMPTY)
    x = make_x((3,), "gaussian", rows=50)
    for name in ("parquet", "tfrecord", "npy"):
        folder = tmp_path / name
        (folder / "in").mkdir(parents=True)
        for part, rows in (("a", x[:20]), ("b", x[20:])):
            path = folder / "in" / f"{part}.{name}"
            if name == "parquet":
                write_parquet(path, {"x": list(rows)})
            elif name == "tfrecord":
                write_tfrecord(path, {"x": list(rows)})
            else:
                np.save(path, rows)
        (folder / "in").rename(folder / f"in.{name}")  # a folder, as Spark calls it
        assert len(_same_rows(version, folder / f"in.{name}", folder, "--signature", "score")) == 50


def test_bad_input_is_one_line(tmp_path):
    version = publish.publish(make_vae((3,)), tmp_path, "m", **EMPTY)
    (tmp_path / "empty").mkdir()
    found = _beam(version, tmp_path / "empty", tmp_path / "out")
    assert found.returncode == 1
    assert "holds no images" in found.stderr.splitlines()[-1]
    found = _beam(version._replace(path=tmp_path / "none"), tmp_path / "empty", tmp_path / "out")
    assert found.returncode == 2
    assert "no published version" in found.stderr.splitlines()[-1]
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    found = _beam(version, tmp_path / "x.npy", tmp_path / "out", "--signatures", "score")
    assert found.returncode == 2
    assert "have the options --signatures" in " ".join(found.stderr.split())
    write_images(tmp_path / "photos", png_files(1))
    found = _beam(version, tmp_path / "photos", tmp_path / "out")
    assert (found.returncode, list(tmp_path.glob("beam-temp*"))) == (2, [])
    assert "the model takes vectors of 3" in found.stderr.splitlines()[-1]
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    found = _beam(version, tmp_path / "wide.npy", tmp_path / "out")
    assert found.returncode == 2
    assert f"{tmp_path / 'wide.npy'} must hold" in found.stderr.splitlines()[-1]
    (tmp_path / "out-00000-of-00003.parquet").write_text("")
    found = _beam(version, tmp_path / "x.npy", tmp_path / "out")
    assert found.returncode == 2
    assert "exists already" in found.stderr
