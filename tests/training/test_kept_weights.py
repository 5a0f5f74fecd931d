import csv
import errno
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import h5py
import numpy as np
import pytest
from kvae_testing import few_signatures, small_mixtures

import kvae
from kvae import files
from kvae.config import resolve
from kvae.data import Dataset, Split, gmm
from kvae.serving import versions
from kvae.training import comparing, history, kept_weights, program, run
from kvae.training.command import training_command

ROOT = Path(__file__).parents[2]
QUICK = {"epochs": 1, "batch_size": 5000, "hidden_units": "8", "prior": "standard_normal"}
QUICK |= {"posterior": "diagonal", "variance": "shared", "sampler": "none", "jit_compile": False}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode"), small_mixtures():
        yield


@pytest.fixture(scope="module")
def vae():
    return kvae.build_vae((2,), latent_dim=1, hidden_units=(4,))


def _dataset(card, value=0):
    split = Split(np.full((3, 2), value, "float32"))
    return Dataset("vectors", split, split, split, card)


def _keeper(folder, vae, *, seconds_between=-1, **options):
    config = resolve({"save": str(folder.parent), "name": "m", **options})
    dataset, notes = _dataset({"name": "gmm"}), history.Notes()
    kept = kept_weights.BestWeights(folder, config, dataset, notes, seconds_between=seconds_between)
    kept.set_model(vae)
    return kept


def _killed_run(folder, vae, elbo, **options):
    """What a run leaves that is killed after its first epoch."""
    kept_weights.set_aside(folder)
    _set_floats(vae, elbo)
    _keeper(folder, vae, **options).on_epoch_end(0, {"val_elbo": elbo, "val_loss": -elbo})
    (folder / "history.csv").write_text(str(elbo))


def _published(folder, config):
    """Of a run whose last weights were written."""
    kept_weights.published(folder, config, kept_weights.read(folder / "best.weights.h5"))


def _set_floats(vae, value):
    """Give all weights a value, but for the number of steps."""
    for weight in vae.weights:
        weight.assign(np.full(weight.shape, value if weight.dtype == "float32" else 0))


def _left(folder):
    """Figures of the files of weights, those that were set aside first."""
    paths = sorted(folder.glob("*.weights.h5"), reverse=True)
    return [kept_weights.read(path).value for path in paths]


def _advised(text):
    """What to do -> the configuration of the command that was printed for it."""
    commands = re.findall(r"(go on|publish): +python train\.py (.*)", text)
    return {what: program.arguments(shlex.split(words))[0] for what, words in commands}


def _no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Killed for real


def _train_until(words, seen, how):
    """Run train.py and send it a signal once it prints a line; status and standard error."""
    with subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        while seen not in (line := process.stdout.readline()):
            assert line or process.poll() is None, process.stderr.read()
        process.send_signal(how)
        errors = process.communicate(timeout=300)[1]
    return process.returncode, errors


def test_a_kill_in_the_first_epoch_of_the_next_run_costs_nothing(tmp_path):
    words = ["--save", str(tmp_path), "--no-jit-compile", "--batch-size", "5000"]
    words += ["--hidden-units", "8", "--prior", "standard_normal", "--posterior", "diagonal"]
    words += ["--sampler", "none", "--epochs", "500"]
    status, errors = _train_until(words, "Epoch 3/", signal.SIGTERM)
    assert status == 143
    assert errors.strip().endswith("interrupted: nothing half-made was published")
    assert re.search(r"best weights so far: .*best\.weights\.h5 \(epoch \d+", errors)
    folder = tmp_path / "gmm" / "training"
    best, aside = folder / "best.weights.h5", folder / "earlier-1.weights.h5"
    content = best.read_bytes()
    advised = _advised(errors)
    assert advised["go on"].epochs == 500 and advised["publish"].epochs == 0
    assert {config.init_from for config in advised.values()} == {str(best)}

    again = shlex.split(training_command(advised["go on"]))[2:]
    _train_until(again, "Epoch 1/", signal.SIGKILL)
    assert versions.versions(tmp_path / "gmm") == []
    assert aside.read_bytes() == content
    assert (folder / "earlier-1.csv").read_text().startswith("epoch,")

    # The lock of the dead process is gone. Of the same data as those processes; of fewer rows
    # the figure would not count.
    with mock.patch.multiple(gmm, NUM_TRAIN=50_000, NUM_VALID=10_000, NUM_TEST=10_000):
        version = run.train(advised["publish"].replaced(init_from=str(aside)))
    assert versions.read_metadata(version)["history"] == {}
    assert [path.name for path in folder.iterdir()] == [".lock"]


# Which of several runs' weights stay


@pytest.mark.parametrize(
    ("elbos", "left"),
    [
        ([-3.0], [-3.0]),
        ([-3.0, -9.0], [-3.0, -9.0]),
        ([-3.0, -9.0, -5.0], [-3.0, -5.0]),
        ([-3.0, -9.0, -2.0], [-2.0]),
        ([-9.0, -3.0, -5.0, -4.0], [-3.0, -4.0]),
    ],
)
def test_of_killed_runs_the_best_stays(tmp_path, vae, elbos, left):
    for elbo in elbos:
        _killed_run(tmp_path, vae, elbo)
    assert _left(tmp_path) == left
    histories = [float(path.read_text()) for path in sorted(tmp_path.glob("*.csv"))]
    assert histories == left
    kept_weights.set_aside(tmp_path)
    (only,) = tmp_path.glob("*.weights.h5")
    vae.load_weights(only)
    assert np.ravel(vae.trainable_weights[0])[0] == max(elbos)


@pytest.mark.parametrize(
    "other", [{"beta": 2}, {"condition": "component"}, {"tc_weight": 2, "batch_size": 99}], ids=str
)
def test_weights_of_another_goal_are_kept_beside(tmp_path, vae, other):
    plain = {"posterior": "diagonal", "prior": "standard_normal"}
    _killed_run(tmp_path, vae, -9.0, **plain)
    _killed_run(tmp_path, vae, -3.0, **plain, **other)
    _killed_run(tmp_path, vae, -1.0, **plain, **other)
    assert _left(tmp_path) == [-9.0, -1.0 if "condition" in other else 1.0]


def test_other_networks_compare_and_other_data_do_not():
    def measured(card=(("name", "a"),), value=0, **given):
        return comparing.measured_by(resolve(given), _dataset(dict(card), value))

    assert measured() == measured(hidden_units="9", epochs=5, batch_size=7, seed=3)
    assert measured() == measured((("name", "a"), ("source", "moved")))
    assert measured() != measured((("name", "b"),))
    assert measured() != measured(value=1)


def test_weights_that_say_nothing_of_themselves_stay(tmp_path, vae, capsys):
    vae.save_weights(tmp_path / "best.weights.h5")
    _killed_run(tmp_path, vae, -3.0)
    _killed_run(tmp_path, vae, -2.0)
    aside = tmp_path / "earlier-1.weights.h5"
    assert aside.exists()
    _published(tmp_path, resolve({}))
    assert f"kept      {aside} of an earlier run: it cannot be compared" in capsys.readouterr().out


def test_what_is_better_than_what_was_published_stays_and_is_said(tmp_path, vae, capsys):
    config = resolve({"save": str(tmp_path.parent), "name": "m"})
    _killed_run(tmp_path, vae, -3.0, seed=7)
    _killed_run(tmp_path, vae, -4.0)
    _published(tmp_path, config)
    aside = tmp_path / "earlier-1.weights.h5"
    text = capsys.readouterr().out
    assert f"{aside} of an earlier run (epoch 1, validation elbo -3): better than" in text
    assert _advised(text)["publish"] == config.replaced(seed=7, epochs=0, init_from=str(aside))
    _killed_run(tmp_path, vae, -2.0)
    _published(tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"gone": 1}, {"network": "gone"}, {"dataset": "gone"}, {"prior": ["vamp"]},
        {"epochs": None}, {"latent_dim": "absent"},
    ],
    ids=str,
)  # fmt: skip
def test_the_record_of_another_kvae_hides_nothing(tmp_path, vae, capsys, change):
    config = resolve({})
    _killed_run(tmp_path, vae, -3.0)
    _killed_run(tmp_path, vae, -4.0)
    aside = tmp_path / "earlier-1.weights.h5"
    then = {**config.to_dict(), **change}
    then = {name: value for name, value in then.items() if value not in (None, "absent")}
    record = kept_weights.read(aside)._replace(config=then)
    with h5py.File(aside, "r+") as file:
        file.attrs["kvae"] = json.dumps(record._asdict())
    with pytest.raises(MemoryError), kept_weights.telling_of(tmp_path, config):
        raise MemoryError
    _published(tmp_path, config)
    told = capsys.readouterr()
    for text in (told.err, told.out):
        assert "--init-from takes them, with the options that they were trained with" in text


# How a run can end


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("with_sampler", KeyboardInterrupt),
        ("attribute_directions", KeyboardInterrupt),
        ("publish.publish", OSError),
    ],
)
def test_an_error_after_training_says_where_the_weights_are(
    tmp_path, monkeypatch, capsys, place, error
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(f"kvae.training.run.{place}", fail)
    config = resolve({**QUICK, "save": str(tmp_path), "seed": 4})
    with pytest.raises(error):
        run.train(config)
    best = tmp_path / "gmm" / "training" / "best.weights.h5"
    text = capsys.readouterr().err
    assert f"best weights so far: {best} (epoch 1, validation elbo -" in text
    assert _advised(text) == {
        "go on": config.replaced(init_from=str(best)),
        "publish": config.replaced(init_from=str(best), epochs=0),
    }


def test_a_loss_that_is_not_finite_says_where_earlier_weights_are(tmp_path, vae, capsys):
    folder = tmp_path / "gmm" / "training"
    folder.mkdir(parents=True)
    _killed_run(folder, vae, -3.0)
    config = resolve({**QUICK, "save": str(tmp_path)}).replaced(learning_rate=1e30)
    with pytest.raises(run.TrainingError):
        run.train(config)
    text = capsys.readouterr().err
    assert f"no weights of this run were written to {folder}" in text
    assert f"of an earlier run: {folder / 'earlier-1.weights.h5'} (epoch 1" in text


def test_a_run_that_ends_early_writes_what_is_in_memory_alone(tmp_path, vae):
    kept = _keeper(tmp_path, vae, seconds_between=1e9)
    kept.on_epoch_end(0, {"val_elbo": -3.0})
    _set_floats(vae, 7)
    kept.on_epoch_end(1, {"val_elbo": -2.0})
    assert _left(tmp_path) == [-3.0]
    _set_floats(vae, np.nan)
    kept.rescue()
    assert _left(tmp_path) == [-2.0]
    vae.load_weights(tmp_path / "best.weights.h5")
    assert np.ravel(vae.trainable_weights[0])[0] == 7


def test_no_epochs_publish_the_weights_as_they_are(tmp_path, monkeypatch):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    config = resolve({**QUICK, "save": str(tmp_path)})
    first = run.fit(config, folders[0])
    path = str(folders[0] / "best.weights.h5")
    again = run.fit(config.replaced(init_from=path, epochs=0), folders[1])
    for ours, theirs in zip(again.vae.get_weights(), first.vae.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history == {}
    assert kept_weights.read(folders[1] / "best.weights.h5") == kept_weights.read(path)


@pytest.mark.parametrize(("options", "left"), [({"beta": 2}, [-3.0]), ({}, [])], ids=str)
def test_a_figure_of_another_goal_removes_nothing(tmp_path, vae, options, left):
    _killed_run(tmp_path, vae, -3.0)
    source = kept_weights.read(tmp_path / "best.weights.h5")._replace(value=-1.0)
    kept_weights.set_aside(tmp_path)
    kept = _keeper(tmp_path, vae, **options)
    kept.start(vae, source)
    kept.write()
    assert [kept_weights.read(path).value for path in kept_weights._earlier(tmp_path)] == left


def test_nothing_is_removed_before_what_is_better_is_on_the_disk(tmp_path, vae, monkeypatch):
    _killed_run(tmp_path, vae, -3.0)
    kept_weights.set_aside(tmp_path)
    kept = _keeper(tmp_path, vae)
    sync, seen = files.sync, []

    def watched(path):
        seen.append((path.name, (tmp_path / "earlier-1.weights.h5").exists()))
        sync(path)

    monkeypatch.setattr(files, "sync", watched)
    kept.on_epoch_end(0, {"val_elbo": -2.0})
    assert seen == [("half.weights.h5", True), (tmp_path.name, True)]
    assert not (tmp_path / "earlier-1.weights.h5").exists()


# A full disk


def test_a_full_disk_is_said_once_and_training_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kept_weights, "_reserve", _no_space)
    monkeypatch.setattr(csv, "DictWriter", _no_space)
    version = run.train(resolve({**QUICK, "save": str(tmp_path), "epochs": 3}))
    assert len(versions.read_metadata(version)["history"]["loss"]) == 3
    notes = [line for line in capsys.readouterr().err.splitlines() if "cannot write" in line]
    best = tmp_path / "gmm" / "training" / "best.weights.h5"
    assert notes == [
        f"note: cannot write {best}: No space left on device; training goes on, the best weights "
        "stay in memory"
    ]


def test_what_could_not_be_written_counts_as_published(tmp_path, monkeypatch, capsys):
    """Its file holds the weights of an epoch before, or none."""
    config = resolve({**QUICK, "save": str(tmp_path)})
    folder = tmp_path / "gmm" / "training"
    folder.mkdir(parents=True)
    run.fit(config, folder)
    monkeypatch.setattr(kept_weights, "_reserve", _no_space)
    run.train(config.replaced(epochs=2))
    assert not [*folder.glob("earlier-*")]
    assert "of an earlier run" not in capsys.readouterr().out


def test_weights_that_do_not_fit_leave_those_before_and_one_line(tmp_path, vae, capfd):
    """HDF5 would write tracebacks, and keep the file open."""
    kept = _keeper(tmp_path, vae)
    kept.on_epoch_end(0, {"val_elbo": -3.0})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for epoch in (1, 2):
            kept.on_epoch_end(epoch, {"val_elbo": -2.0 + epoch})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]
    assert _left(tmp_path) == [-3.0]
    assert len(capfd.readouterr().err.splitlines()) == 1
    kept.rescue()
    assert _left(tmp_path) == [0.0]


def test_where_room_cannot_be_kept_it_is_looked_at_before(tmp_path, vae, monkeypatch, capsys):
    monkeypatch.delattr(os, "posix_fallocate")
    kept = _keeper(tmp_path, vae)
    kept.on_epoch_end(0, {"val_elbo": -3.0})
    assert _left(tmp_path) == [-3.0]
    full = SimpleNamespace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: full)
        kept.on_epoch_end(1, {"val_elbo": -2.0})
    assert _left(tmp_path) == [-3.0]
    assert "best.weights.h5: No space left on device; training" in capsys.readouterr().err


def test_a_history_is_whole_once_there_is_space_again(tmp_path, monkeypatch, capsys):
    written = history.History(tmp_path / "history.csv", history.Notes())
    for epoch, is_full in enumerate([False, True, True, False, False]):
        with monkeypatch.context() as patch:
            if is_full:
                patch.setattr(csv.DictWriter, "writerows", _no_space)
            written.on_epoch_end(epoch, {"loss": 2.0 * epoch, "elbo": 1.0})
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "elbo", "loss"]
    assert [(float(row["epoch"]), float(row["loss"])) for row in rows] == [
        (epoch, 2.0 * epoch) for epoch in range(5)
    ]
    assert capsys.readouterr().err.count("cannot write") == 1
