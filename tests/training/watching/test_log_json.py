"""--log-json: a run as lines of JSON."""

import errno
import json
import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from kvae_testing import few_signatures

import kvae
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.training.keeping import resume
from kvae.training.preflight import check_log
from kvae.training.watching import log_json

DATA = kvae.Dataset.from_arrays(np.random.default_rng(0).normal(size=(120, 2)).astype("float32"))
QUICK = {
    "epochs": 2, "hidden_units": (4,), "sampler": "none", "jit_compile": False, "verbose": 0,
    "prior": "standard_normal", "posterior": "diagonal", "variance": "shared",
}  # fmt: skip


def _lines(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_run_is_a_start_its_epochs_and_an_end(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    with few_signatures("encode", "generate"):
        vae = kvae.train(DATA, output=tmp_path, name="m", log_json=path, **QUICK)
    start, *epochs, end = _lines(path)
    assert start["rows"] == {"train": 96, "valid": 12, "test": 12}
    assert start["config"]["hidden_units"] == [4]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert [line["val_elbo"] for line in epochs] == vae.history.history["val_elbo"]
    best = max(epochs, key=lambda line: line["val_elbo"])
    assert best["best"] and all(line["seconds"] >= 0 for line in epochs)
    assert end["published"] == str(vae.trained.version.path)
    assert end["best"] == vae.trained.course["best"] and end["error"] is None


def test_the_end_of_a_run_that_fails_names_its_error_and_no_number_is_nan(tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError("mine")

    path = tmp_path / "log.jsonl"
    with pytest.raises(ZeroDivisionError):
        kvae.train(DATA, callbacks=[Failing()], log_json=str(path), **QUICK)
    *_, epoch, end = _lines(path)
    assert epoch["event"] == "epoch"
    assert end == {"event": "end", "error": "ZeroDivisionError: mine"}
    log_json._Log(path).add("epoch", loss=float("nan"), others=[np.float32("inf"), np.int64(3)])
    assert _lines(path)[-1] == {"event": "epoch", "loss": None, "others": [None, 3]}


def _callback(path):
    return log_json.Epochs(path, SimpleNamespace(record=SimpleNamespace(epoch=2)))


def _run(path, *epochs, **config):
    """A process that makes some epochs, from 1, of a run."""
    log_json._Log(path).add("start", config={"seed": 0, **config})
    callback = _callback(path)
    for epoch in epochs:
        callback.on_epoch_begin(epoch - 1)
        callback.on_epoch_end(epoch - 1, {"loss": float(epoch)})


def _told(path):
    return [line.get("epoch", line["event"]) for line in _lines(path)]


def test_a_resumed_run_has_each_epoch_once(tmp_path):
    path = tmp_path / "log.jsonl"
    _run(path, 1, 2, 3)
    _run(path, 3, 4, epochs=9)
    assert _told(path) == ["start", 1, 2, "start", 3, 4]
    with path.open("a") as file:
        file.write('{"event": "epo')  # a process that was killed
    _run(path, 3, 4)
    assert _told(path) == ["start", 1, 2, "start", "start", 3, 4]
    assert [line["best"] for line in _lines(path) if "best" in line] == [False, True, False, False]


def test_lines_of_other_runs_stay(tmp_path):
    path = tmp_path / "log.jsonl"
    _run(path, 1, 2, 3, seed=1)
    _run(path, 3, 4)
    assert _told(path) == ["start", 1, 2, 3, "start", 3, 4]
    log_json._Log(path).add("end", published="saved/m/1")
    _run(path, 2, 3)
    assert _told(path) == ["start", 1, 2, 3, "start", 3, 4, "end", "start", 2, 3]
    _run(path, 1)
    assert _told(path)[-2:] == ["start", 1]


def test_a_full_disk_is_said_once_and_lines_are_whole_when_there_is_room(
    tmp_path, monkeypatch, capsys
):
    path, append = tmp_path / "log.jsonl", log_json._append

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(log_json, "_append", no_space)
    callback = _callback(path)
    for epoch in range(3):
        monkeypatch.setattr(log_json, "_append", append if epoch == 2 else no_space)
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"loss": 1.0})
    assert [line["epoch"] for line in _lines(path)] == [1, 2, 3]
    assert capsys.readouterr().err.endswith("No space left on device; training goes on\n")


def test_a_line_that_does_not_fit_leaves_no_half(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"{}\n")
    with monkeypatch.context() as here:
        here.setattr(log_json.os, "fstat", lambda number: SimpleNamespace(st_size=3))
        opened = type(path).open

        class Full:
            def __init__(self, file):
                self._file = file

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self._file.close()

            def write(self, text):
                return self._file.write(text[:4])

            def __getattr__(self, name):
                return getattr(self._file, name)

        here.setattr(type(path), "open", lambda *args, **named: Full(opened(*args, **named)))
        with pytest.raises(OSError, match="does not take 10 bytes"):
            log_json._append(path, b"123456789\n")
    assert path.read_bytes() == b"{}\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "names a file, received the folder"),
        (lambda path: path.write_text("import kvae\n"), "holds something else"),
        (lambda path: path.write_text("[1]\n"), "holds something else"),
    ],
)
def test_what_no_lines_can_be_added_to_is_refused_before_training(tmp_path, make, words):
    make(tmp_path / "log")
    with pytest.raises(UsageError, match=f"--log-json .*{words}"):
        kvae.train("gmm", log_json=str(tmp_path / "log"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--log-json: cannot write .*log: "):
        check_log(tmp_path / "file" / "log")


def test_a_file_of_such_lines_is_taken(tmp_path):
    _run(tmp_path / "log", 1)
    check_log(tmp_path / "log")
    (tmp_path / "empty").touch()
    check_log(tmp_path / "empty")
    check_log(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_a_run_writes_does_not_keep_it_from_going_on():
    plain, other = (resolve({"log_json": name, "save": name}, "gmm") for name in ("a", "b"))
    then = json.loads(json.dumps(other.to_dict()))
    assert not resume._differences(plain, then)
    assert resume._differences(plain, {**then, "seed": 1})
