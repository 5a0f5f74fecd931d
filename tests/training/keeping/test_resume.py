"""A run that is cut anywhere ends where the uninterrupted one ends."""

import csv
import errno
import io
import itertools
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from kvae_testing import few_signatures, small_mixtures

import kvae
from kvae import files, publish, saying
from kvae.config import resolve
from kvae.data import Dataset, Split
from kvae.errors import Terminated, UsageError
from kvae.objectives.elbo import Elbo
from kvae.probability.schedules import LinearWarmup
from kvae.publish import program as program_of_publish
from kvae.serving import versions
from kvae.training import objects, program, run, start
from kvae.training.keeping import checkpoints, from_checkpoint, resume, saving
from kvae.training.keeping.interruption import Interruption

ROOT = Path(__file__).parents[3]
PLAIN = {"prior": "standard_normal", "posterior": "diagonal", "sampler": "none"}
VECTORS = {
    "dataset": "gmm", "epochs": 4, "batch_size": 1000, "hidden_units": "8", "variance": "optimal",
    "jit_compile": False, **PLAIN,
}  # fmt: skip
IMAGES = {
    "dataset": "digits", "epochs": 3, "batch_size": 300, "latent_dim": 2, "ema_momentum": 0.9,
    "learning_rate_schedule": "cosine", "clip_norm": 5.0, "kl_warmup_epochs": 2, "beta": 2.0,
    **PLAIN,
}  # fmt: skip


class Cut(keras.callbacks.Callback):
    """Raise after a number of calls of the training graph in this process, or in validation."""

    def __init__(self, calls, *, in_validation=False):
        super().__init__()
        self._left, self._in_validation = calls, in_validation

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left and not self._in_validation:
            raise SystemError("cut")

    def on_test_begin(self, logs=None):
        if self._left <= 0 and self._in_validation:
            raise SystemError("cut")


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode"), small_mixtures():
        yield


@pytest.fixture
def _often():
    """A checkpoint at the end of each call."""
    with mock.patch.multiple(saving, SECONDS_BETWEEN=0.0, _SHARE=1e9):
        yield


def _config(save, given):
    known = resolve({key: value for key, value in given.items() if key in ("dataset", "prior")})
    options = {**known.to_dict(), **given}
    return resolve({**options, "save": str(save)})


def _state(save, name):
    """All that a run leaves: of the version, and of its last checkpoint."""
    version = versions.find_version(save / name)
    metadata = versions.read_metadata(version)
    last = checkpoints.read(save / name / "training" / checkpoints.FINISHED)
    options = {key: value for key, value in metadata["config"].items() if key != "save"}
    course = {key: value for key, value in metadata["course"].items() if key != "run"}
    with (save / name / "training" / "history.csv").open() as file:
        rows = [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]
    probe = dict(np.load(version.path / versions.PROBE))
    arrays = [*last.weights, *last.optimizer, *last.best_weights, last.train_rows]
    words = metadata["history"], options, course, rows, last.step, last.waited, last.record
    return words, arrays + [probe[key] for key in sorted(probe)]


def _assert_equal(ours, theirs):
    assert ours[0] == theirs[0]
    assert len(ours[1]) == len(theirs[1])
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nobody interrupted: name of the dataset -> folder."""
    folder = tmp_path_factory.mktemp("whole")
    for given in (VECTORS, IMAGES):
        run.train(_config(folder, given))
    return folder


# Where a run can be cut


@pytest.mark.parametrize(
    ("given", "cuts"),
    [
        # 5 batches of 1000 make a block, one call an epoch; 4 calls of 300 rows an epoch.
        (VECTORS, [Cut(2), Cut(1, in_validation=True)]),
        (IMAGES, [Cut(2), Cut(1, in_validation=True), Cut(5)]),
    ],
    ids=["vectors", "images"],
)
def test_a_run_that_is_cut_ends_where_it_would_have(tmp_path, whole, given, cuts, _often, capsys):
    config = _config(tmp_path, given)
    for cut in cuts:
        with pytest.raises(SystemError, match="cut"):
            run.train_and_publish(config, callbacks=[cut])
    assert capsys.readouterr().out.count("goes on ") == len(cuts) - 1
    run.train(config)
    _assert_equal(_state(tmp_path, given["dataset"]), _state(whole, given["dataset"]))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A folder with a run that ended in its third epoch of four."""
    folder = tmp_path_factory.mktemp("interrupted")
    with mock.patch.multiple(saving, SECONDS_BETWEEN=0.0, _SHARE=1e9), pytest.raises(SystemError):
        run.train_and_publish(_config(folder, VECTORS), callbacks=[Cut(3)])
    return folder


@pytest.fixture
def cut(interrupted, tmp_path):
    """A copy of it: the folder of checkpoints, and the options of the run."""
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "gmm" / "training", _config(tmp_path, VECTORS)


def test_the_last_few_are_kept(cut):
    folder, _ = cut
    assert [path.name for path in checkpoints.unfinished(folder)] == [
        "checkpoint-000000000010.npz", "checkpoint-000000000005.npz",
    ]  # fmt: skip
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    assert (found.epoch, found.call, found.step, len(found.rows)) == (2, 0, 10, 2)


# What else is there to go on with


def test_nothing_saved_starts_and_says_so(tmp_path):
    config = _config(tmp_path, VECTORS)
    assert resume.find(config, None) == resume.Found()
    assert "nothing is saved" in resume.find(config, True).told


@pytest.mark.parametrize("going_on", [None, True])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0.01}, "--learning-rate 0.003 there, 0.01 here"),
        ({"hidden_units": (9,)}, r"--hidden-units \[8\] there, \[9\] here"),
        ({"seed": 4}, "--seed 0 there, 4 here"),
        ({"epochs": 3}, "--epochs 4 there, 3 here: fewer"),
        ({"init_from": "x.keras"}, "--init-from None there, 'x.keras' here"),
    ],
    ids=str,
)
def test_other_options_are_refused_with_the_difference(cut, changes, said, going_on):
    _, config = cut
    with pytest.raises(UsageError, match=f"{said}.*--fresh"):
        resume.find(config.replaced(**changes), going_on, whole=False)


def test_another_part_is_refused_with_its_own_options(cut):
    _, config = cut
    other = resolve({**VECTORS, "save": config.save, "variance": "shared", "prior": "mixture"})
    with pytest.raises(UsageError, match="--prior 'standard_normal' there, 'mixture' here; --pr"):
        resume.find(other, None)


@pytest.mark.parametrize(
    "changes", [{"epochs": 9}, {"patience": 3}, {"max_minutes": 5.0}, {"epochs": 4}], ids=str
)
def test_what_says_where_a_run_ends_may_change(cut, changes):
    _, config = cut
    found = resume.find(config.replaced(**changes), None)
    assert found.checkpoint.epoch == 2 and "goes on" in found.told


def test_other_data_are_refused_with_the_difference(cut, monkeypatch):
    folder, config = cut
    before = [path.read_bytes() for path in checkpoints.unfinished(folder)]
    with mock.patch("kvae.data.gmm.NUM_VALID", 900), pytest.raises(UsageError) as error:
        run.train(config)
    assert "1,000 valid rows there, 900 here" in str(error.value)
    x = np.zeros((9, 2), "float32")
    same = {"train": {"rows": 9, "checksum": "a"}}
    other = {"train": {"rows": 9, "checksum": "b"}}
    with pytest.raises(UsageError, match="other numbers, or another order, in the train rows"):
        resume.check_data(same, other)
    split = Split(x)
    first = resume.fingerprint(Dataset("vectors", split, split, split), None)
    x = x + 1
    assert resume.fingerprint(Dataset("vectors", Split(x), split, split), None) != first
    assert [path.read_bytes() for path in checkpoints.unfinished(folder)] == before


def test_fresh_moves_the_run_aside_and_keeps_its_best_weights(cut):
    folder, config = cut
    found = resume.find(config.replaced(seed=4), False)
    assert found.checkpoint is None and "earlier-1.npz" in found.told
    assert [path.name for path in checkpoints.earlier(folder)] == ["earlier-1.npz"]
    assert not checkpoints.unfinished(folder)
    assert checkpoints.read(folder / "earlier-1.npz").best_weights


def test_fresh_keeps_what_this_kvae_cannot_read(cut):
    folder, config = cut
    newest, before = checkpoints.unfinished(folder)
    contents = [newest.read_bytes(), before.read_bytes()]
    with mock.patch.object(checkpoints, "FORMAT", 0):
        found = resume.find(config, False)
    assert [path.read_bytes() for path in checkpoints.earlier(folder)] == contents
    assert found.told.endswith("earlier-2.npz now") and not checkpoints.unfinished(folder)


def test_other_objects_are_refused_with_the_difference():
    """No option says how they were made; names, which Keras counts up, are no difference."""

    def model(name, rate, steps):
        layers = [keras.layers.Dense(3, name=name), keras.layers.Dropout(rate)]
        encoder = keras.Sequential([keras.Input((2,)), *layers])
        parts = {
            "encoder": encoder,
            "decoder": encoder,
            "objective": Elbo(LinearWarmup(1.0, steps)),
        }
        return {"config": {
            name: keras.saving.serialize_keras_object(part) for name, part in parts.items()
        }}  # fmt: skip

    first = model("a", 0.5, 9)
    pair = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    given = {"network": (pair, pair), "objective": Elbo(LinearWarmup(1.0, 9))}
    with objects.named(given) as named:
        config = resolve({"dataset": "gmm", **named})
        resume.check_objects(config, first, model("b", 0.5, 9))
        resume.check_objects(config, None, first)
        with pytest.raises(UsageError, match=r"another encoder: .*rate 0\.5 there, 0\.4 here"):
            resume.check_objects(config, first, model("b", 0.4, 9))
        with pytest.raises(UsageError, match=r"another objective: .*warmup_steps 9 there, 8 here"):
            resume.check_objects(config, first, model("a", 0.5, 8))
    resume.check_objects(resolve(VECTORS), first, model("a", 0.5, 8))  # by name: options say it


def test_a_run_with_another_object_of_equal_options_does_not_go_on(cut):
    _, config = cut
    given = {"objective": Elbo(LinearWarmup(1.0, 3))}
    refused = pytest.raises(UsageError, match="another objective: beta")
    with objects.named(given) as named, refused:
        run.train(_config(config.save, {**VECTORS, **named}))


def test_a_run_that_is_over_before_an_epoch_was_measured_leaves_its_last_weights(tmp_path, _often):
    config = _config(tmp_path, {**IMAGES, "learning_rate": 10.0, "ema_momentum": 0, "clip_norm": 0})
    folder = tmp_path / "digits" / "training"
    for _ in range(2):  # it starts anew
        with pytest.raises(run.TrainingError, match="epoch 1, step 2 of 4"):
            run.train(config)
    (path,) = folder.glob("*.npz")
    found = checkpoints.read(path)
    assert path.name == "earlier-2.npz" and found.step == 1 and not found.best_weights
    vae = start.build(config.replaced(init_from=str(path)), run.load(config), "float32")
    assert vae.num_steps == 1
    for variable, array in zip(vae.variables, found.weights, strict=True):
        if "encoder" in variable.path:
            np.testing.assert_array_equal(variable, array)


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


# Publication


def test_a_run_killed_between_publication_and_its_mark_is_not_published_twice(
    cut, whole, monkeypatch, capsys
):
    folder, config = cut
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "finish", mock.Mock(side_effect=SystemError("cut")))
        with pytest.raises(SystemError):
            run.train(config)
    assert len(versions.versions(folder.parent)) == 1
    vae = kvae.workflow.run(config)
    assert "gmm/1 is this run" in capsys.readouterr().out
    assert vae.trained.version.number == 1 and len(vae.history.epoch) == 4
    assert len(versions.versions(folder.parent)) == 1
    _assert_equal(_state(folder.parents[1], "gmm"), _state(whole, "gmm"))


def test_a_published_run_goes_on_with_more_epochs_and_starts_anew_without_a_word(
    whole, tmp_path, capsys
):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    config = _config(tmp_path, VECTORS)
    assert resume.find(config, None) == resume.Found()
    assert resume.find(config, True).published.number == 1
    with pytest.raises(UsageError, match="--seed 0 there, 1 here"):
        resume.find(config.replaced(seed=1), True)
    fitted, version = run.train_and_publish(config.replaced(epochs=6), going_on=True)
    assert version.number == 2 and len(fitted.history["elbo"]) == 6
    first = versions.read_metadata(versions.find_version(tmp_path / "gmm" / "1"))["history"]
    assert fitted.history["elbo"][:4] == first["elbo"]
    assert fitted.vae.num_steps % 5 == 0


def test_an_interrupted_run_is_published_as_it_is_and_goes_on(cut, capsys):
    folder, config = cut
    program_of_publish.main(["from-checkpoint", str(folder.parent)])
    (version,) = versions.versions(folder.parent)
    metadata = versions.read_metadata(version)
    saved = checkpoints.read(checkpoints.unfinished(folder)[0])
    assert metadata["course"]["best"]["epoch"] == saved.record.epoch
    assert "in epoch 3 of 4" in metadata["course"]["ended"]
    assert len(metadata["history"]["val_elbo"]) == 2
    ours = kvae.load_model(version.path).get_weights()
    for one, other in zip(ours, saved.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (version.path / versions.TRAIN_ROWS).exists()
    assert resume.find(config, None).checkpoint.step == 10
    with pytest.raises(UsageError, match="no sound checkpoint of a run that is not published"):
        checkpoints.set_aside(folder)
        program_of_publish.main(["from-checkpoint", str(folder.parent)])


def test_a_schedule_that_is_part_of_an_object_is_published_from_a_checkpoint_too(tmp_path, _often):
    given = {"objective": Elbo(LinearWarmup(1.0, 10))}  # 5 steps an epoch
    with objects.named(given) as named, pytest.raises(SystemError):
        run.train_and_publish(_config(tmp_path, {**VECTORS, **named}), callbacks=[Cut(2)])
    program_of_publish.main(["from-checkpoint", str(tmp_path / "gmm")])
    version = versions.find_version(tmp_path / "gmm")
    assert versions.read_metadata(version)["config"]["kl_warmup_epochs"] == 2


def test_a_checkpoint_that_lies_elsewhere_is_refused_where_it_lies(cut, monkeypatch):
    folder, _ = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    monkeypatch.setattr(from_checkpoint, "_read", lambda path: (path, found))
    with pytest.raises(UsageError, match="is not in saved/NAME/training"):
        from_checkpoint.from_checkpoint("/x.npz")


# Signals


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_a_call_and_a_second_one_does_not(number, error):
    before = signal.getsignal(number)
    found = Interruption()
    with found.heard():
        assert not found
        os.kill(os.getpid(), number)
        assert found
        with pytest.raises(error):
            os.kill(os.getpid(), number)
        with pytest.raises(error):
            found.end()
    assert signal.getsignal(number) == before


def test_a_thread_and_a_program_with_handlers_of_its_own_hear_nothing():
    own = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with Interruption().heard():
            assert signal.getsignal(signal.SIGTERM) is not Interruption._hear
            assert signal.getsignal(signal.SIGTERM).__name__ == "<lambda>"
    finally:
        signal.signal(signal.SIGTERM, own)
    heard = []

    def within():
        with Interruption().heard():
            heard.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGINT)]


def test_a_reader_that_ends_by_the_same_signal_costs_no_checkpoint(monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    let_go = mock.Mock()
    monkeypatch.setattr(saying, "let_reader_go", let_go)
    monkeypatch.setattr(sys, "stdout", mock.Mock(write=gone))
    found = Interruption()
    with found.heard():
        with pytest.raises(BrokenPipeError):
            saying.say("epoch 1")
        os.kill(os.getpid(), signal.SIGINT)
        saying.say("epoch 2")
        let_go.assert_called_once()
    with pytest.raises(BrokenPipeError):
        saying.say("published")


@pytest.mark.parametrize(("saves", "what"), [(True, "saving"), (False, "ending")])
def test_an_interruption_is_told_on_standard_error(saves, what, capsys):
    with Interruption(saves).heard():
        os.kill(os.getpid(), signal.SIGINT)
    told = capsys.readouterr()
    assert not told.out and f"interrupted: {what} after this step" in told.err


def _started(words, seen):
    """Start train.py; once it prints a line, the process."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    while seen not in (line := process.stdout.readline()):
        assert line or process.poll() is None, process.stderr.read()
    return process


def test_sigterm_saves_and_prints_the_line_to_type(tmp_path):
    words = ["--save", str(tmp_path), "--no-jit-compile", "--batch-size", "5000"]
    words += ["--hidden-units", "8", "--prior", "standard_normal", "--posterior", "diagonal"]
    words += ["--sampler", "none", "--epochs", "100000"]
    process = _started(words, "figures are nats")
    folder = tmp_path / "gmm" / "training"
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 143
    assert errors.strip().endswith("interrupted: nothing half-made was published")
    (path,) = checkpoints.unfinished(folder)
    assert f"saved: {path} (best: epoch " in errors
    (line,) = re.findall(r"go on: +python train\.py (.*)", errors)
    config, _, going_on = program.arguments(shlex.split(line))
    assert going_on and resume.find(config, going_on).checkpoint is not None
    (line,) = re.findall(r"or publish: python -m kvae\.publish (.*)", errors)
    assert shlex.split(line) == ["from-checkpoint", str(path)]


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
        run.train(_config(tmp_path, VECTORS))
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
        run.train_and_publish(_config(tmp_path, VECTORS), callbacks=[Cut(2)])
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
