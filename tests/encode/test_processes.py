"""The same work by several processes."""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from encode_testing import png_files, write_images
from kvae_testing import few_signatures, make_vae

from kvae import encode, publish
from kvae.errors import DataError, UsageError

ROWS = 23


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with few_signatures("encode"):
        return publish.publish(
            make_vae((8, 8, 3), network="mlp"), tmp_path_factory.mktemp("saved"), "images",
            config={}, card={}, history={},
        )  # fmt: skip


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(encode, "PART_ROWS", 5)


def test_the_file_does_not_depend_on_their_number(images, tmp_path, capfd):
    files = png_files(ROWS)
    files[7] = b"no image"
    write_images(tmp_path / "photos", files)
    (tmp_path / "photos" / "one.heic").write_bytes(b"")
    made = {}
    for count in (1, 2):
        output = tmp_path / f"{count}.parquet"
        encode.encode(images.path, tmp_path / "photos", output, batch_size=2, processes=count)
        made[count] = output.read_bytes()
        # What a source has to say is said once, and TensorFlow says nothing of the machine.
        said = capfd.readouterr().err
        assert said.count("endings that are not read") == 1
        assert ("oneDNN" not in said and "absl" not in said) or Path("/dev/nvidia0").exists()
    assert made[1] == made[2]
    assert pq.read_table(output)["error"].null_count == ROWS - 1


def _instead(monkeypatch, folder, script):
    """Make every process one of a shell."""
    shell = folder / "shell"
    shell.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))


@pytest.mark.skipif(sys.platform == "win32", reason="by a shell")
@pytest.mark.parametrize(
    ("last", "kind", "message"),
    [
        ("kill -9 $$", DataError, "process . of 2 ended early, with signal 9 .*same call goes on"),
        ("exit 3", DataError, "process . of 2 ended early, with status 3: "),
        ("""echo '{"is_usage": true, "error": "so"}'""", UsageError, "^so$"),
        ("""echo '{"is_usage": false, "error": "so"}'""", DataError, "^so$"),
    ],
)
def test_one_that_fails_ends_the_others_and_is_told(
    images, tmp_path, monkeypatch, last, kind, message
):
    np.save(tmp_path / "x.npy", np.zeros((ROWS, 8, 8, 3), np.uint8))
    _instead(monkeypatch, tmp_path, f"mkdir first 2>&- && exec sleep 600; {last}")
    start = time.monotonic()
    with pytest.raises(kind, match=message):
        encode.encode(images.path, tmp_path / "x.npy", tmp_path / "o.parquet", processes=2)
    assert time.monotonic() - start < 300
    assert not (tmp_path / "o.parquet").exists()
    monkeypatch.undo()
    monkeypatch.setattr(encode, "PART_ROWS", 5)
    encode.encode(images.path, tmp_path / "x.npy", tmp_path / "o.parquet")


def test_what_is_done_by_one_is_not_done_again_by_several(images, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.zeros((ROWS, 8, 8, 3), np.uint8))
    asked = []

    def run(work, missing, count, done):
        asked.append((missing, count))
        raise KeyboardInterrupt

    def dying(self, start):
        if start == 10:
            raise KeyboardInterrupt
        return writer(self, start)

    writer = encode.Parts.writer
    with monkeypatch.context() as patched:
        patched.setattr(encode.Parts, "writer", dying)
        with pytest.raises(KeyboardInterrupt):
            encode.encode(images.path, tmp_path / "x.npy", tmp_path / "o.parquet")
    monkeypatch.setattr("kvae.encode.processes.run", run)
    with pytest.raises(KeyboardInterrupt):
        encode.encode(images.path, tmp_path / "x.npy", tmp_path / "o.parquet", processes=9)
    assert asked == [([(10, 15), (15, 20), (20, 23)], 3)]
