"""Trials one after another and side by side, trained by a stand-in that needs no Keras."""

import csv
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from kvae import files
from kvae.data import Dataset, Split
from kvae.errors import DEBUGGING, DataError, KvaeError, UsageError
from kvae.training import program as training_program
from kvae.tune import program, search, study
from kvae.tune.study import DONE, FAILED, PRUNED, REFUSED

ROOT = Path(__file__).parents[2]
SPACE = ("learning_rate=1e-4..1e-1:log", "latent_dim=2..6")
ROWS = Split(np.arange(36, dtype=np.float32).reshape(12, 3))
DATA = Dataset("vectors", ROWS, ROWS, ROWS, {"name": "gmm"})


def trained(config, dataset, ends):
    """A figure that is best at a rate of 1e-3 and many dimensions, and rises to it."""
    top = config.latent_dim - 3 * (math.log10(config.learning_rate) + 3) ** 2
    for epoch in range(config.epochs):
        if ends(epoch, top - 1 / (epoch + 1)):
            break
    return {"figure": "elbo", "value": top, "epoch": config.epochs}


def job(*searched, **given):
    words = [word for text in searched or SPACE for word in ("--search", text)]
    usual = {} if "epochs" in str(searched) else {"epochs": "8"}
    for name, value in {**usual, **given}.items():
        words += [f"--{name.replace('_', '-')}", value]
    return program.arguments(words)


def made(folder, wanted=8, *searched, trainer=trained, dataset=DATA, prunes=True, **given):
    folder.mkdir(parents=True, exist_ok=True)
    plan = job(*searched, **given).plan
    return search.search(
        plan, dataset, folder, wanted, prunes=prunes, command="go on", trainer=trainer
    )


def facts(rows):
    """All but the time that it took."""
    return [row._replace(seconds=None) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def _unsynced():
    """Nothing here asks a disk to be quick."""
    with mock.patch("os.fsync"):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search of 16 trials that nothing interrupted."""
    rows = made(tmp_path_factory.mktemp("whole"), 16)
    assert {row.state for row in rows} == {DONE, PRUNED}
    return rows


def test_equal_seeds_make_equal_trials_and_others_do_not(whole, tmp_path):
    assert facts(made(tmp_path / "again", 16)) == facts(whole)
    assert facts(made(tmp_path / "other", 16, seed="1")) != facts(whole)


def test_the_first_trial_is_the_presets_own_and_the_best_is_told_beside_it(tmp_path, capsys):
    rows = made(tmp_path, 12)
    assert rows[0].values == {"learning_rate": 3e-3, "latent_dim": 0}
    best = max(row.value for row in rows if row.state == DONE)
    out = capsys.readouterr().out
    gain = f"{best - rows[0].value:.3g} nats better than the preset's own values"
    assert gain in out
    lines = [line for line in out.splitlines() if line.startswith("trial ")]
    assert len(lines) == 13  # a line for each, and the head of the table
    assert "the preset's own" in lines[0]
    assert out.count("  best so far") >= 2


def test_the_command_that_is_advised_is_that_of_the_best_trial(tmp_path, capsys):
    rows = made(tmp_path, 8, sampler="mixture")
    command = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("train it:")
    )
    words = shlex.split(command.removeprefix("train it:"))
    config, *_ = training_program.arguments(words[words.index("--dataset") :])
    best = max((row for row in rows if row.state == DONE), key=lambda row: row.value)
    assert {name: getattr(config, name) for name in best.values} == best.values
    assert (config.epochs, config.sampler) == (8, "mixture")


def test_nothing_beats_the_preset_and_that_is_said(tmp_path, capsys):
    def worse(config, dataset, ends):
        return {"figure": "elbo", "value": -abs(config.learning_rate - 3e-3), "epoch": 1}

    made(tmp_path, 4, trainer=worse)
    assert "no trial was better than the preset's own values" in capsys.readouterr().out


def test_files_hold_what_was_found(tmp_path):
    rows = made(tmp_path, 4)
    with (tmp_path / "trials.csv").open(newline="") as file:
        table = [*csv.DictReader(file)]
    assert [float(row["elbo"]) for row in table] == [row.value for row in rows]
    assert [float(row["learning_rate"]) for row in table] == [
        row.values["learning_rate"] for row in rows
    ]
    found = json.loads((tmp_path / "tuning.json").read_text())
    assert found["trials"] == [row._asdict() for row in rows]
    assert found["best"] == max(rows, key=lambda row: row.value).trial


def test_a_goal_that_is_not_the_elbo_compares_by_loss_and_lower_is_better(tmp_path, capsys):
    def loss(config, dataset, ends):
        return {"figure": "loss", "value": config.learning_rate, "epoch": 1}

    rows = made(tmp_path, 6, trainer=loss, beta="4")
    least = min(rows, key=lambda row: row.value)
    assert json.loads((tmp_path / "tuning.json").read_text())["best"] == least.trial
    assert "loss" in capsys.readouterr().out


# ------------------------------------------------------------------------- ends of trials


def ever_worse(figure="elbo", *, at_last=False):
    """A trainer each of whose trials is worse than those before, or so in its last epoch alone."""
    level = [0]

    def trained(config, dataset, ends):
        level[0] += 1
        sign = -1 if figure == "elbo" else 1
        for epoch in range(config.epochs):
            worse = level[0] - 100 * at_last if not at_last or epoch + 1 == config.epochs else 0
            if ends(epoch, sign * (worse - epoch / 100)):
                return {}
        return {"figure": figure, "value": sign * level[0], "epoch": config.epochs}

    return trained


@pytest.mark.parametrize(("figure", "given"), [("elbo", {}), ("loss", {"beta": "4"})])
def test_trials_below_the_median_end_after_a_quarter_of_the_epochs(figure, given, tmp_path, capsys):
    rows = made(tmp_path, 8, trainer=ever_worse(figure), **given)
    assert [row.state for row in rows] == [DONE] * 5 + [PRUNED] * 3
    assert [row.epoch for row in rows[5:]] == [3] * 3
    sign = "-" if figure == "elbo" else ""
    assert f"trial 5    pruned at epoch 3, {figure} {sign}5.98" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("searched", "prunes", "trainer"),
    [
        (SPACE, False, ever_worse()),
        # Of schedules of other lengths nothing compares on the way.
        (("epochs=30..36", "latent_dim=2..9"), True, ever_worse()),
        (SPACE, True, ever_worse(at_last=True)),  # at its end a trial is not cut short
    ],
)
def test_a_trial_is_made_to_its_end_where_nothing_is_to_be_compared(
    searched, prunes, trainer, tmp_path
):
    rows = made(tmp_path, 8, *searched, trainer=trainer, prunes=prunes)
    assert [row.state for row in rows] == [DONE] * 8


def test_a_trial_that_goes_wrong_is_told_and_the_search_goes_on(tmp_path, capsys):
    ways = iter([
        None, KvaeError("epoch 1: the loss is not finite"), UsageError("--a does not go with --b"),
        RuntimeError("out of\nmemory"), None,
    ])  # fmt: skip

    def sometimes(config, dataset, ends):
        if error := next(ways):
            raise error
        return trained(config, dataset, ends)

    rows = made(tmp_path, 5, trainer=sometimes)
    assert [row.state for row in rows] == [DONE, FAILED, REFUSED, FAILED, DONE]
    assert [row.why for row in rows[1:4]] == [
        "epoch 1: the loss is not finite", "--a does not go with --b",
        "RuntimeError: out of memory",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "trial 1    failed: epoch 1: the loss is not finite" in out
    assert "5 trials: 2 to their end, 1 refused, 2 failed" in out
    assert facts(made(tmp_path, 5)) == facts(rows)  # none is made again


def test_a_figure_of_a_warm_up_alone_is_none(tmp_path):
    with pytest.raises(KvaeError, match=r"no trial has a figure.*warm-up"):
        made(
            tmp_path, 1, beta="4",
            trainer=lambda *_: {"figure": "elbo", "value": 1.0, "epoch": 1},
        )  # fmt: skip
    with pytest.raises(KvaeError, match="none is finite"):
        made(tmp_path / "b", 1, trainer=lambda *_: {})


def test_equal_values_are_trained_once(tmp_path, capsys):
    values = []

    def counted(config, dataset, ends):
        values.append(config.latent_dim)
        return trained(config, dataset, ends)

    rows = made(tmp_path, 9, "latent_dim=2,3", trainer=counted)
    assert sorted(values) == [0, 2, 3]
    again = [row for row in rows if row.same_as is not None]
    assert len(again) == 6
    assert all(row.value == rows[row.same_as].value for row in again)
    assert "6 with the values of an earlier one" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left"), MemoryError])
def test_what_is_no_fault_of_a_trial_ends_the_search_and_counts_for_nothing(
    error, whole, tmp_path, capsys
):
    left = iter([None, None, error, error, error])

    def cut(config, dataset, ends):
        if ended := next(left):
            raise ended
        return trained(config, dataset, ends)

    for _ in range(3):  # however often
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            made(tmp_path, 16, trainer=cut)
    out = capsys.readouterr().out
    assert "2 trials: 2 to their end" in out
    assert out.splitlines()[-1] == "go on:     go on"
    assert facts(made(tmp_path, 16)) == facts(whole)


def test_debugging_swallows_nothing(tmp_path):
    def wrong(*_):
        raise RuntimeError("here")

    with mock.patch.object(DEBUGGING, "is_on", True), pytest.raises(RuntimeError, match="here"):
        made(tmp_path, 2, trainer=wrong)


# -------------------------------------------------------------------------- going on


PROCESS = """
import os, signal, sys, time
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import test_search as here

folder, wanted, way = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
count = 0

def trained(config, dataset, ends):
    global count
    count += 1
    if way == "killed" and count == 7:
        ends(0, 1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "two" and count == 1:  # each has one before either goes on
        (folder / f"began-{{os.getpid()}}").touch()
        while len([*folder.glob("began-*")]) < 2:
            time.sleep(0.01)
    return here.trained(config, dataset, ends)

here.made(folder, wanted, trainer=trained)
"""


def _process(folder, wanted, way):
    code = PROCESS.format(root=str(ROOT), tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(wanted), way],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_search_that_is_killed_goes_on_as_if_nothing_had_been(whole, tmp_path):
    killed = _process(tmp_path, 16, "killed")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "journal.log").open("a") as file:
        file.write('{"op_code": 6, "wor')  # what a kill in the middle of writing leaves
    assert facts(made(tmp_path, 16)) == facts(whole)
    assert not [*tmp_path.glob(".worker-*")]


def test_half_a_line_that_another_process_left_is_no_end_of_the_search(whole, tmp_path):
    def beside(config, dataset, ends):
        with (tmp_path / study.JOURNAL).open("ab") as journal:
            journal.write(b'{"op_code":4,"worker_id":"kil')
        return trained(config, dataset, ends)

    assert facts(made(tmp_path, 4, trainer=beside)) == facts(whole)[:4]
    assert facts(made(tmp_path, 16)) == facts(whole)


def test_two_processes_share_the_trials(tmp_path):
    both = [_process(tmp_path, 9, "two") for _ in range(2)]
    outs = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], outs
    lines = [[line.split()[1] for line in out.splitlines() if line.startswith("trial ")]
             for out, _ in outs]  # fmt: skip
    made_by = [[int(word) for word in words if word.isdigit()] for words in lines]
    assert all(made_by)
    assert sorted(made_by[0] + made_by[1]) == [*range(9)]
    rows = made(tmp_path, 9, trainer=None)
    assert [row.trial for row in rows] == [*range(9)]


def test_more_trials_go_on_and_fewer_are_all_there(whole, tmp_path):
    made(tmp_path, 5)
    assert facts(made(tmp_path, 16)) == facts(whole)
    assert facts(made(tmp_path, 3, trainer=None)) == facts(whole)


def test_a_trial_that_kills_its_process_thrice_has_failed(tmp_path):
    plan = job().plan
    for _ in range(3):
        dying = study.Study(tmp_path, plan, plan.described(DATA))
        assert dying.take(4)[0] == 0
        dying.close()  # as the system does
    rows = made(tmp_path, 4)
    assert [row.state for row in rows] == [FAILED, DONE, DONE, DONE]
    assert "killed 3 times" in rows[0].why


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"searched": SPACE[1:]}, ["--search learning_rate '0.0001..0.1:log', now none"]),
        ({"searched": (SPACE[0], "latent_dim=2..7")}, ["latent_dim '2..6', now '2..7'"]),
        ({"epochs": "9"}, ["--epochs 8, now 9"]),
        ({"seed": "3"}, ["--seed 0, now 3"]),
        ({"preset": "report-gmm"}, ["--batch-size 256, now 128"]),
        ({"beta": "3"}, ["--beta 1.0, now 3.0"]),
        ({"dataset": Dataset("vectors", ROWS, ROWS, ROWS, {"name": "other"})},
         ["name of the data 'gmm', now 'other'"]),
    ],
)  # fmt: skip
def test_another_search_in_the_same_place_is_refused_with_the_difference(
    given, words, searched_folder
):
    searched = given.pop("searched", SPACE)
    before = (searched_folder / "journal.log").read_bytes()
    with pytest.raises(UsageError, match="another --name") as refused:
        made(searched_folder, 2, *searched, **given)
    for word in words:
        assert word in str(refused.value)
    assert (searched_folder / "journal.log").read_bytes() == before


@pytest.fixture(scope="module")
def searched_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    made(folder, 2)
    return folder


def test_a_damaged_journal_is_one_line(tmp_path):
    (tmp_path / "journal.log").write_text("no journal\nat all\n")
    with pytest.raises(DataError, match=r"journal.log is no journal of Optuna: .*another --name"):
        made(tmp_path, 2)


def test_a_file_system_without_locks_is_refused(tmp_path, capsys):
    with (
        mock.patch.object(files, "_locked", lambda *_, **__: True),
        pytest.raises(UsageError, match=r"without locks.*--save"),
    ):
        made(tmp_path, 2)
