import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from encode_testing import png_files, write_images, write_parquet, write_tfrecord
from kvae_testing import few_signatures, make_vae, make_x

from kvae import encode, publish
from kvae.client import Client
from kvae.encode import program
from kvae.errors import DataError, UsageError

ROWS = 23
EMPTY = {"config": {}, "card": {}, "history": {}}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode", "score", "encode_bytes", "decode"):
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    vae = make_vae((8, 8, 3), network="mlp")
    return publish.publish(vae, tmp_path_factory.mktemp("saved"), "images", **EMPTY)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return publish.publish(make_vae((3,)), tmp_path_factory.mktemp("saved"), "vectors", **EMPTY)


@pytest.fixture(scope="module")
def oblong(tmp_path_factory):
    """A model of images that are no squares."""
    vae = make_vae((8, 4, 3), network="mlp")
    return publish.publish(vae, tmp_path_factory.mktemp("saved"), "oblong", **EMPTY)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(encode, "PART_ROWS", 10)


def _encoded(version, source, output, **options):
    encode.encode(version.path, source, output, batch_size=4, **options)
    assert not list(output.parent.glob("*.parts"))
    return pq.read_table(output)


def _values(table, name):
    return np.array(table[name].to_pylist(), np.float32)


@pytest.fixture(scope="module")
def files():
    return png_files(ROWS)


@pytest.fixture(scope="module")
def expected(images, files):
    return Client(images.path).call("encode_bytes", image_bytes=files)


def _source(kind, folder, files):
    path = folder / {"folder": "photos", "zip": "photos.zip"}.get(kind, f"photos.{kind}")
    if kind in ("folder", "zip"):
        write_images(path, files)
    elif kind == "parquet":
        # As Hugging Face has them.
        write_parquet(path, {"image": [{"bytes": one, "path": ""} for one in files]})
    else:
        write_tfrecord(path, {"image/encoded": files, "label": [[1.0]] * len(files)})
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet", "tfrecord"])
def test_images_of_every_source_have_the_latents_that_the_server_gives(
    kind, images, files, expected, tmp_path
):
    table = _encoded(images, _source(kind, tmp_path, files), tmp_path / "out.parquet")
    assert table.column_names == ["key", "mean", "variance", "error"]
    assert table["error"].null_count == ROWS
    keys = table["key"].to_pylist()
    assert keys[11] == ("0011.png" if kind in ("folder", "zip") else f"photos.{kind}#11")
    for name, value in expected.items():
        # Decoded by Pillow here, by TensorFlow there: a few pixels differ by a level of 255.
        np.testing.assert_allclose(_values(table, name), value, atol=0.02)
    again = tmp_path / "again.parquet"
    other = _encoded(images, _source(kind, _new(tmp_path / "b"), files), again)
    assert other.equals(table)


def _new(folder):
    folder.mkdir()
    return folder


def test_vectors_of_every_source(vectors, tmp_path):
    x = make_x((3,), "gaussian", rows=ROWS)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "double.npy", x.astype(np.float64))
    write_parquet(tmp_path / "list.parquet", {"x": list(x)})
    write_parquet(tmp_path / "columns.parquet", {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]})
    write_tfrecord(tmp_path / "x.tfrecord", {"x": list(x), "other": [[1.0]] * ROWS})
    parts = _new(tmp_path / "several")
    np.save(parts / "a.npy", x[:5])
    np.save(parts / "b.npy", x[5:])
    expected = Client(vectors.path).call("score", x=x)
    for name in ("x.npy", "double.npy", "list.parquet", "columns.parquet", "x.tfrecord", "several"):
        output = tmp_path / f"{name}.out.parquet"
        table = _encoded(vectors, tmp_path / name, output, signature="score")
        for figure in ("elbo", "distortion", "rate"):
            np.testing.assert_allclose(_values(table, figure), expected[figure], rtol=1e-5)
    assert table["key"][5].as_py() == "b.npy#0"


def test_images_in_an_array(images, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x.astype(np.float32) / 255)
    first = _encoded(images, tmp_path / "x.npy", tmp_path / "x.parquet")
    second = _encoded(images, tmp_path / "y.npy", tmp_path / "y.parquet")
    np.testing.assert_allclose(_values(first, "mean"), _values(second, "mean"), rtol=1e-5)


def test_levels_and_numbers_may_meet_in_a_batch(images, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", x[:3])
    np.save(tmp_path / "in" / "b.npy", x[3:].astype(np.float32) / 255)
    table = _encoded(images, tmp_path / "in", tmp_path / "out.parquet")
    expected = Client(images.path).call("encode", x=x)["mean"]
    np.testing.assert_allclose(_values(table, "mean"), expected, rtol=1e-5)


def test_the_right_column_is_taken(images, vectors, files, expected, tmp_path):
    x = make_x((3,), "gaussian", rows=4)
    columns = {"box": [None, *[[1.0, 2.0]] * 3], "names": [["a"]] * 4, "x": list(x)}
    write_parquet(tmp_path / "x.parquet", columns)
    table = _encoded(vectors, tmp_path / "x.parquet", tmp_path / "a.parquet")
    found = Client(vectors.path).call("encode", x=x)["mean"]
    np.testing.assert_allclose(_values(table, "mean"), found, rtol=1e-5)
    columns = {"box": [[1.0, 2.0]] * 4, **{name: x[:, i] for i, name in enumerate("abc")}}
    write_parquet(tmp_path / "z.parquet", columns)
    table = _encoded(vectors, tmp_path / "z.parquet", tmp_path / "c.parquet")
    np.testing.assert_allclose(_values(table, "mean"), found, rtol=1e-5)
    columns = {"id": [b"7"] * ROWS, "image": [{"bytes": one, "path": None} for one in files]}
    write_parquet(tmp_path / "y.parquet", columns)
    table = _encoded(images, tmp_path / "y.parquet", tmp_path / "b.parquet")
    np.testing.assert_allclose(_values(table, "mean"), expected["mean"], atol=0.02)


def test_a_file_that_is_gone_or_too_large_is_an_error_of_its_row(
    images, files, tmp_path, monkeypatch
):
    write_images(tmp_path / "photos", files)
    monkeypatch.setattr("kvae.data.images.files.MAX_BYTES", max(map(len, files)) - 1)
    source = encode.open_source(
        tmp_path / "photos",
        encode.wanted_of(
            json.loads((images.path / "assets.extra" / "kvae.json").read_text()), "encode"
        ),
    )
    (tmp_path / "photos" / "0003.png").unlink()
    why = {}
    for row in source.rows(0):
        try:
            row.x()
        except encode.Unreadable as error:
            why[row.key] = str(error)
    largest = f"{int(np.argmax([*map(len, files)])):04}.png"
    assert why.keys() == {"0003.png", largest}
    assert "No such file" in why["0003.png"]
    assert "is larger than" in why[largest]


def test_rows_that_cannot_be_read_are_named_and_the_rest_goes_on(images, files, tmp_path, capsys):
    spoilt = [*files]
    spoilt[3], spoilt[12] = b"no image", files[12][:40]
    write_images(tmp_path / "photos", spoilt)
    table = _encoded(images, tmp_path / "photos", tmp_path / "out.parquet")
    assert "23 rows, 2 of them without an answer" in capsys.readouterr().out
    errors = table["error"].to_pylist()
    assert [row for row, error in enumerate(errors) if error] == [3, 12]
    assert "is not an image" in errors[3]
    assert table["mean"][3].as_py() is None
    whole = Client(images.path).call("encode_bytes", image_bytes=[files[4]])["mean"][0]
    np.testing.assert_allclose(table["mean"][4].as_py(), whole, atol=0.02)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.1])
def test_numbers_that_are_no_pixels_are_an_error_of_their_row(images, tmp_path, value):
    x = np.full((3, 8, 8, 3), 0.5, np.float32)
    x[1, 2, 2, 0] = value
    np.save(tmp_path / "x.npy", x)
    table = _encoded(images, tmp_path / "x.npy", tmp_path / "out.parquet")
    assert [error is None for error in table["error"].to_pylist()] == [True, False, True]


def test_levels_that_were_computed_may_be_rounded(images, tmp_path):
    x = np.ones((2, 8, 8, 3), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x * np.float32(1 + 1e-6))
    exact, rounded = (
        _encoded(images, tmp_path / f"{name}.npy", tmp_path / f"{name}.parquet") for name in "xy"
    )
    np.testing.assert_array_equal(_values(exact, "mean"), _values(rounded, "mean"))


def test_a_source_of_bad_rows_alone_is_a_file_of_errors(vectors, tmp_path):
    write_parquet(tmp_path / "x.parquet", {"x": [[1.0], None, [1.0, 2.0]]})
    with pytest.raises(DataError, match=r"no row could be read; x.parquet#0 is of shape \(1,\)"):
        encode.encode(vectors.path, tmp_path / "x.parquet", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["error"].null_count == 0
    assert "is of shape (1,), not (3,)" in table["error"][0].as_py()


def test_scores_name_the_least_usual_rows(vectors, tmp_path, capsys):
    x = make_x((3,), "gaussian", rows=ROWS)
    x[17] += 50.0
    np.save(tmp_path / "x.npy", x)
    _encoded(vectors, tmp_path / "x.npy", tmp_path / "out.parquet", signature="score")
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("lowest ELBO (nats), the least usual rows:") + 1].endswith("x.npy#17")


def test_what_was_done_before_a_kill_is_not_done_again(vectors, tmp_path, monkeypatch):
    x = make_x((3,), "gaussian", rows=ROWS)
    np.save(tmp_path / "x.npy", x)
    whole = _encoded(vectors, tmp_path / "x.npy", tmp_path / "whole.parquet")
    output, calls = tmp_path / "out.parquet", []
    original = encode.Parts.merge
    from kvae.serving.served import ServedModel

    answer = ServedModel.call

    def dying(self, signature, **inputs):
        calls.append(len(inputs["x"]))
        if sum(calls) > 14:
            raise KeyboardInterrupt
        return answer(self, signature, **inputs)

    monkeypatch.setattr(ServedModel, "call", dying)
    with pytest.raises(KeyboardInterrupt):
        encode.encode(vectors.path, tmp_path / "x.npy", output, batch_size=4)
    assert not output.exists()
    calls.clear()

    def counted(self, signature, **inputs):
        calls.append(len(inputs["x"]))
        return answer(self, signature, **inputs)

    monkeypatch.setattr(ServedModel, "call", counted)

    def dying_merge(self):
        (self._folder / "merged.new").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(encode.Parts, "merge", dying_merge)
    with pytest.raises(KeyboardInterrupt):
        encode.encode(vectors.path, tmp_path / "x.npy", output, batch_size=4)
    assert sum(calls) == ROWS - 10
    monkeypatch.setattr(encode.Parts, "merge", original)
    calls.clear()
    assert _encoded(vectors, tmp_path / "x.npy", output).equals(whole)
    assert calls == []


@pytest.mark.slow
def test_a_killed_process_goes_on(images, tmp_path):
    write_images(tmp_path / "photos", png_files(400))
    code = (
        "import sys; from kvae import encode; encode.PART_ROWS = 10\n"
        "encode.encode(*sys.argv[1:4], batch_size=5)\n"
    )
    output = tmp_path / "out.parquet"
    arguments = [str(images.path), str(tmp_path / "photos"), str(output)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    folder = tmp_path / "out.parquet.parts"
    while len(list(folder.glob("*.parquet"))) < 3:
        assert process.poll() is None, "it finished before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert not output.exists()
    # The parts that are there are taken as they are.
    first = min(done)
    kept = first.read_bytes()
    table = pq.read_table(first)
    pq.write_table(table.set_column(0, "key", [["from before"] * len(table)]), first)
    assert kept != first.read_bytes()
    result = _encoded(images, tmp_path / "photos", output)
    assert result["key"].to_pylist()[:10] == ["from before"] * 10
    assert result["key"].to_pylist()[10:] == [f"{row:04}.png" for row in range(10, 400)]


def test_parts_of_another_job_are_not_taken(vectors, tmp_path):
    x = make_x((3,), "gaussian", rows=ROWS)
    np.save(tmp_path / "x.npy", x)
    output = tmp_path / "out.parquet"
    folder = _new(tmp_path / "out.parquet.parts")
    (folder / "job.json").write_text(json.dumps({"model": "other"}))
    with pytest.raises(UsageError, match="parts of another job"):
        encode.encode(vectors.path, tmp_path / "x.npy", output)
    assert (folder / "job.json").is_file()


def test_two_processes_do_not_write_one_file(vectors, tmp_path):
    np.save(tmp_path / "x.npy", make_x((3,), "gaussian"))
    output = tmp_path / "out.parquet"
    with (
        encode.Parts(output, {"rows": 6}, {"mean": (2,)}, 10),
        pytest.raises(UsageError, match="another process"),
    ):
        encode.encode(vectors.path, tmp_path / "x.npy", output)


@pytest.mark.parametrize(
    ("model", "make", "options", "message"),
    [
        ("images", "empty", {}, "holds no images"),
        ("images", "missing", {}, "no such file or folder"),
        ("vectors", "photos", {}, "model takes vectors of 3"),
        ("images", "there.csv", {}, "there.csv holds rows of numbers, but the model takes images"),
        ("images", "numbers", {}, "must have one column of image files"),
        ("images", "twice.parquet", {}, "found front, back"),
        ("vectors", "lists.parquet", {}, "3 columns of numbers: found a of 2, b of 4"),
        ("oblong", "photos", {}, r"takes x of shape \(8, 4, 3\)"),
        ("oblong", "photo.parquet", {}, r"takes x of shape \(8, 4, 3\)"),
        ("vectors", "numbers", {}, "3 columns of numbers: found a, b"),
        ("vectors", "none.npy", {}, "no rows"),
        ("vectors", "wide.npy", {}, r"of shape \(rows, 3\), holds float64 of \(4, 5\)"),
        ("vectors", "text.npy", {}, "no .npy file"),
        ("vectors", "text.parquet", {}, "not a parquet file"),
        ("vectors", "text.tfrecord", {}, "no TFRecord file"),
        ("vectors", "good.npy", {"signature": "edit"}, "no signature 'edit'"),
        ("vectors", "good.npy", {"signature": "decode"}, "takes latent"),
        ("vectors", "good.npy", {"output": "out.csv"}, "must end in .parquet"),
        ("vectors", "good.npy", {"output": "none/out.parquet"}, "no such folder"),
        ("vectors", "good.npy", {"output": "there.parquet"}, "exists already"),
    ],
)
def test_bad_input_is_said_at_once(model, make, options, message, tmp_path, request):
    version = request.getfixturevalue(model)
    _new(tmp_path / "empty")
    write_images(tmp_path / "photos", png_files(2))
    write_parquet(tmp_path / "numbers.parquet", {"a": [1.0], "b": [2], "name": ["x"]})
    write_parquet(tmp_path / "twice.parquet", {"front": png_files(1), "back": png_files(1)})
    write_parquet(tmp_path / "photo.parquet", {"photo": png_files(1)})
    write_parquet(tmp_path / "lists.parquet", {"a": [[1.0, 2.0]], "b": [[1.0] * 4]})
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    np.save(tmp_path / "good.npy", np.zeros((4, 3)))
    for name in ("text.npy", "text.parquet", "text.tfrecord"):
        (tmp_path / name).write_text("this is a text and nothing else")
    (tmp_path / "there.parquet").write_text("")
    (tmp_path / "there.csv").write_text("1,2,3")
    source = tmp_path / ("numbers.parquet" if make == "numbers" else make)
    output = tmp_path / options.pop("output", "out.parquet")
    with pytest.raises((UsageError, DataError), match=message):
        encode.encode(version.path, source, output, **options)
    assert not list(tmp_path.glob("*.parts"))
    assert (tmp_path / "there.parquet").read_text() == ""


def test_a_conditional_model_is_refused(tmp_path):
    version = publish.publish(make_vae((2,), condition_dim=1), tmp_path, "c", **EMPTY)
    with pytest.raises(UsageError, match="condition"):
        encode.encode(version.path, tmp_path, tmp_path / "out.parquet")


def test_the_command_line(images, tmp_path):
    given = program.arguments(["--model", "m", "--input", "a", "--output", "b.parquet"])
    assert given == {
        "model": "m", "source": "a", "output": "b.parquet", "signature": "encode",
        "batch_size": 256, "processes": 1,
    }  # fmt: skip
    numbers = (["--batch-size", "0"], ["--processes", "0"], ["--processes", "257"])
    wrongs = [["--input", "a", "--output", "b", *given] for given in numbers]
    for wrong in ([], ["--input", "a"], *wrongs):
        with pytest.raises(UsageError):
            program.arguments(wrong)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run(
        [sys.executable, "-m", "kvae.encode", "--model", str(images.path), "--input",
         str(tmp_path / "none"), "--output", str(tmp_path / "o.parquet")],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: --input {tmp_path}/none: no such file or folder")
