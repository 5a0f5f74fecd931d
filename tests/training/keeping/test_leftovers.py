"""What runs leave that are not published, and what is said of it."""

import csv
import errno
import os
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from kvae.config import resolve
from kvae.data import Dataset, Split
from kvae.training import program
from kvae.training.keeping import checkpoints, leftovers
from kvae.training.keeping.checkpoints import Checkpoint, Record
from kvae.training.keeping.comparing import measured_by
from kvae.training.watching import history


def _dataset(card, value=0):
    split = Split(np.full((3, 2), value, "float32"))
    return Dataset("vectors", split, split, split, card)


def _killed_run(folder, elbo, **options):
    """What a run leaves that is killed after its first epoch."""
    checkpoints.set_aside(folder)
    config = resolve({"save": str(folder.parents[1]), "name": folder.parent.name, **options})
    figure = "elbo" if config.beta == 1 else "loss"
    value = elbo if figure == "elbo" else -elbo
    record = Record(figure, value, 1, measured_by(config, _dataset({"name": "gmm"})))
    checkpoint = Checkpoint(
        "r", config.to_dict(), {}, "float32", {}, {}, None, None, ["w"], 0, np.zeros(1), np.ones(1),
        step=3, epoch=1, record=record, weights=[np.full(2, elbo)], best_weights=[np.full(2, elbo)],
    )  # fmt: skip
    checkpoints.write(folder, checkpoint)
    return config, record


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "m" / "training"


def _left(folder):
    """ELBO of those that were set aside, oldest first."""
    return [checkpoints.read(path).weights[0][0] for path in checkpoints.earlier(folder)]


@pytest.mark.parametrize(
    ("elbos", "left"),
    [
        ([-3.0], [-3.0]),
        ([-3.0, -9.0], [-3.0]),
        ([-9.0, -3.0], [-3.0]),
        ([-9.0, -3.0, -5.0, -4.0], [-3.0]),
        ([-3.0, -3.0], [-3.0]),
    ],
)
def test_of_killed_runs_the_best_stays(folder, elbos, left):
    for elbo in elbos:
        _killed_run(folder, elbo)
    checkpoints.set_aside(folder)
    assert _left(folder) == left


@pytest.mark.parametrize(
    "other", [{"beta": 2}, {"condition": "component"}, {"tc_weight": 2, "batch_size": 99}], ids=str
)
def test_weights_of_another_goal_are_kept_beside(folder, other):
    plain = {"posterior": "diagonal", "prior": "standard_normal"}
    _killed_run(folder, -9.0, **plain)
    _killed_run(folder, -3.0, **plain, **other)
    _killed_run(folder, -1.0, **plain, **other)
    checkpoints.set_aside(folder)
    assert _left(folder) == [-9.0, -1.0]


def test_other_networks_compare_and_other_data_do_not():
    def measured(card=(("name", "a"),), value=0, **given):
        return measured_by(resolve(given), _dataset(dict(card), value))

    assert measured() == measured(hidden_units="9", epochs=5, batch_size=7, seed=3)
    assert measured() == measured((("name", "a"), ("source", "moved")))
    assert measured() != measured((("name", "b"),))
    assert measured() != measured(value=1)


def test_what_is_better_than_what_was_published_stays_and_is_said(folder, capsys):
    _killed_run(folder, -3.0, seed=7)
    _, best = _killed_run(folder, -4.0)
    checkpoints.set_aside(folder)
    leftovers.tell(folder, best)
    aside = folder / "earlier-1.npz"
    text = capsys.readouterr().out
    assert f"{aside} of an earlier run (best: epoch 1, validation elbo -3): better than" in text
    assert f"publish: kvae publish from-checkpoint {aside}" in text
    _, best = _killed_run(folder, -2.0)
    leftovers.tell(folder, best)
    assert not checkpoints.earlier(folder)
    assert not capsys.readouterr().out


def test_a_damaged_one_stays_and_is_said(folder, capsys):
    _, best = _killed_run(folder, -3.0)
    checkpoints.set_aside(folder)
    aside = folder / "earlier-1.npz"
    aside.write_bytes(b"")
    leftovers.tell(folder, best)
    assert f"{aside} of an earlier run (damaged): it cannot be compared" in capsys.readouterr().out
    assert aside.exists()


def test_a_run_that_ends_says_what_to_type(folder, capsys):
    config, _ = _killed_run(folder, -3.0, seed=4)
    checkpoints.set_aside(folder)
    config, _ = _killed_run(folder, -5.0, seed=5)
    with pytest.raises(MemoryError), leftovers.telling_of(folder, config):
        raise MemoryError
    told = capsys.readouterr().err
    (line,) = re.findall(r"go on: +kvae train (.*)", told)
    assert program.arguments(shlex.split(line)) == (config, False, True)
    found = re.findall(r"or publish: kvae publish from-checkpoint (.*)", told)
    assert found == [str(folder / "checkpoint-000000000003.npz"), str(folder / "earlier-1.npz")]


def test_nothing_is_advised_that_would_be_refused(folder, capsys):
    config, _ = _killed_run(folder, -3.0)
    (path,) = checkpoints.unfinished(folder)
    checkpoints.write(folder, replace(checkpoints.read(path), record=None, best_weights=[]))
    with pytest.raises(MemoryError), leftovers.telling_of(folder, config):
        raise MemoryError
    told = capsys.readouterr().err
    assert "go on:" in told and "publish" not in told


def test_a_run_that_saved_nothing_says_so(folder, capsys):
    with pytest.raises(MemoryError), leftovers.telling_of(folder, resolve({})):
        raise MemoryError
    assert capsys.readouterr().err == f"nothing of this run was saved to {folder}\n"


def test_a_checkpoint_is_read_as_it_was_written(folder):
    _killed_run(folder, -3.0)
    (path,) = checkpoints.unfinished(folder)
    first = checkpoints.read(path)
    rows = [{"epoch": 0, "loss": 0.1 + 0.2, "odd": float("inf")}]
    wanted = replace(first, step=4, rows=rows, before=np.arange(3, dtype="uint64"))
    again = checkpoints.read(checkpoints.write(folder, wanted))
    for name, value in vars(wanted).items():
        np.testing.assert_equal(getattr(again, name), value)


def _no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
