"""Checkpoints that are damaged or none, and disks that take none."""

import errno
import io
import itertools
import os
import resource
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from keeping_testing import VECTORS, Cut, config_of

from kvae import files, publish
from kvae.errors import UsageError
from kvae.training import run
from kvae.training.keeping import checkpoints, resume, saving
from kvae.training.keeping.interruption import Interruption

# Checkpoints that are none


def _cut_short(path):
    path.write_bytes(path.read_bytes()[:-2000])


def _one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _of_another_format(path):
    whole = checkpoints.read(path)
    with mock.patch.object(checkpoints, "FORMAT", 7):
        checkpoints.write(path.parent, whole)


def _empty(path):
    path.write_bytes(b"")


def _a_text(path):
    path.write_text("no archive, though NumPy would ask for pickles")


def _of_other_kinds(path):
    checkpoints.write(path.parent, replace(checkpoints.read(path), config=[]))


def _larger_than_its_file(path):
    head = io.BytesIO()
    of = {"descr": "<f4", "fortran_order": False, "shape": (10**10,)}
    np.lib.format.write_array_header_1_0(head, of)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, "weights/0.npy": head.getvalue()}.items():
            archive.writestr(name, content)


DAMAGES = [
    _a_text,
    _cut_short, _one_bit, _of_another_format, _empty, _of_other_kinds, _larger_than_its_file,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(cut, damage):
    folder, config = cut
    newest, before = checkpoints.unfinished(folder)
    damage(newest)
    found = resume.find(config, None)
    assert found.checkpoint.step == 5
    assert newest.with_suffix(".damaged").exists()  # else it would push sound ones out
    newest.with_suffix(".damaged").replace(newest)
    assert "pickle" not in found.told
    assert found.told.startswith(f"note: {newest} is ") and str(before) in found.told
    damage(before)
    with pytest.raises(UsageError, match=r"no checkpoint of the run .* is sound .*--fresh"):
        resume.find(config, None)
    assert len(checkpoints.unfinished(folder)) == 2


def test_one_of_another_model_is_refused(cut):
    folder, config = cut
    path = checkpoints.unfinished(folder)[0]
    found = checkpoints.read(path)
    weights = [found.weights[0], found.weights[1][:-1], *found.weights[2:]]
    checkpoints.write(folder, replace(found, weights=weights))
    with pytest.raises(UsageError, match=f"of another model: {found.paths[1]} has the shape"):
        run.train(config)


def test_a_clock_that_goes_back_changes_nothing(cut):
    folder, config = cut
    newest, before = checkpoints.unfinished(folder)
    os.utime(newest, (1, 1))
    os.utime(before, (4e9, 4e9))
    assert resume.find(config, None).checkpoint.step == 10


# A disk that takes nothing


def _no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_once_and_what_it_did_not_take_is_written_elsewhere(
    tmp_path, monkeypatch, capsys, _often
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    written = checkpoints.write

    def write(folder, checkpoint):
        return _no_space() if folder.name == "training" else written(folder, checkpoint)

    monkeypatch.setattr(checkpoints, "write", write)
    monkeypatch.setattr(publish, "publish", _no_space)
    with pytest.raises(OSError, match="No space"):
        run.train(config_of(tmp_path, VECTORS))
    told = capsys.readouterr().err
    assert told.count("cannot write") == 1
    (path,) = (tmp_path / "elsewhere").rglob("checkpoint-*.npz")
    assert f"saved: {path}" in told
    found = checkpoints.read(path)
    assert found.is_over and len(found.rows) == 4


def test_a_write_that_fails_leaves_those_before(cut, monkeypatch):
    folder, _ = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    before = {path.name: path.read_bytes() for path in folder.glob("*.npz")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoints.write(folder, replace(found, step=99))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in folder.glob("*.npz")} == before


def test_nothing_is_removed_before_what_takes_its_place_is_on_the_disk(cut, monkeypatch):
    folder, _ = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    seen = []
    monkeypatch.setattr(files, "sync", lambda path: seen.append((path.name, _steps(folder))))
    checkpoints.write(folder, replace(found, step=15))
    assert seen == [("half.npz", [10, 5]), ("training", [15, 10, 5])]
    assert _steps(folder) == [15, 10]


def test_an_old_one_that_cannot_be_removed_is_no_full_disk(cut, monkeypatch):
    folder, _ = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    monkeypatch.setattr(Path, "unlink", mock.Mock(side_effect=PermissionError))
    assert checkpoints.write(folder, replace(found, step=15)).exists()


def test_where_nothing_can_be_written_the_error_that_ended_the_run_is_told(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(checkpoints, "write", _no_space)
    with pytest.raises(SystemError, match="cut"):
        run.train_and_publish(config_of(tmp_path, VECTORS), callbacks=[Cut(2)])
    assert "cannot be written (No space left on device): the last steps" in capsys.readouterr().err


def _steps(folder):
    return [int(path.stem[-4:]) for path in checkpoints.unfinished(folder)]


def test_writing_takes_a_hundredth_of_the_time():
    base = mock.Mock(call=0, epoch=0, seconds=0.0)
    now = [0.0]
    with mock.patch.object(saving.time, "monotonic", lambda: now[0]):
        found = saving.Saving(Path(), base, 1, dict, Interruption(), None)

        def slow(*_):
            now[0] += 3.0

        found.set_model(mock.Mock(stop_training=False))
        with mock.patch.multiple(
            saving, values_of=lambda vae: ([], []), replace=mock.Mock(),
        ), mock.patch.object(checkpoints, "write", slow):  # fmt: skip
            written = []
            for epoch in range(1000):
                now[0] += 1.0
                before = now[0]
                found.on_epoch_end(epoch)
                if now[0] > before:
                    written.append(before)
    assert written[0] == 20.0
    assert all(299 <= b - a <= 304 for a, b in itertools.pairwise(written))
