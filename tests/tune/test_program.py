"""kvae tune as it is typed, and with real trainings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from kvae import cli, run_file, workflow
from kvae.__main__ import main
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.training.keeping.best_weights import full_beta
from kvae.tune import program, search
from kvae.tune.callback import Reporting

ROOT = Path(__file__).parents[2]
TINY = {
    "dataset": "gmm", "epochs": "2", "batch_size": "5000", "prior": "standard_normal",
    "posterior": "diagonal", "variance": "shared", "sampler": "none",
}  # fmt: skip
WORDS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", value)]
WORDS += ["--no-jit-compile", "--search", "learning_rate=1e-3..1e-2:log"]
WORDS += ["--search", "hidden_units=8/8,8"]


@pytest.mark.slow  # those of searches are quick
def test_trials_train_and_the_best_is_what_its_options_train_to(tmp_path, capsys):
    main(["tune", *WORDS, "--trials", "2", "--save", str(tmp_path)])
    folder = tmp_path / "gmm" / "tuning"
    found = json.loads((folder / "tuning.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["done"] * 2
    best = found["trials"][found["best"]]
    assert "nothing" in (folder / "logs" / "trial-0.txt").read_text()  # is written
    out = capsys.readouterr().out
    assert "Epoch" not in out
    assert found["command"] in out
    plan = program.arguments([*WORDS, "--save", str(tmp_path)]).plan
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in best["values"].items()}
    vae = workflow.run(plan.config(values), publishes=False)
    assert vae.trained.course["best"]["value"] == best["value"]
    assert not [*tmp_path.glob("gmm/[0-9]*")]  # a search publishes nothing


def test_a_warm_up_is_not_told_of():
    config = program.arguments([*WORDS, "--kl-warmup-epochs", "3"]).plan.start
    told = []
    reporting = Reporting(config, lambda *figure: told.append(figure))
    reporting.set_model(mock.Mock(stop_training=False))
    for epoch, elbo in enumerate([1.0, 2.0, 3.0, 4.0, float("nan"), 6.0]):
        reporting.on_epoch_end(epoch, {"val_elbo": elbo, "val_loss": 9.0})
    assert told == [(3, 4.0), (5, 6.0)]
    assert [full_beta(config)(epoch) for epoch in (2, 3)] == [False, True]


def test_a_file_is_the_start_of_a_search_and_the_command_line_beats_it(tmp_path):
    path = tmp_path / "run.yaml"
    given = {"prior": "mixture", "prior_components": 7, "learning_rate": 0.02, "epochs": 3}
    path.write_text(run_file.text_of(resolve(given)))
    words = ["--config", str(path), "--batch-size", "99"]
    plan = program.arguments(
        [*words, "--search", "prior=mixture,flow", "--search", "learning_rate=1e-3..1e-2"]
    ).plan
    assert (plan.start.epochs, plan.start.batch_size, plan.start.prior_components) == (3, 99, 7)
    assert plan.own_values() == {"prior": "mixture", "learning_rate": 0.02}
    assert plan.whose == "the file's"
    assert plan.config({"prior": "flow", "learning_rate": 2e-3}).learning_rate == 2e-3
    with pytest.raises(UsageError, match="prior is either searched or fixed"):
        program.arguments([*words, "--prior", "vamp", "--search", "prior=mixture,flow"])
    # What the file says of a part that no trial has is no obstacle: trial 0 has it.
    plan = program.arguments([*words, "--search", "prior=flow,vamp"]).plan
    assert plan.start.prior_components == 7
    assert "prior_components" not in plan.config({"prior": "flow"}).to_dict()
    path.write_text("latent-dim: many\n")
    with pytest.raises(UsageError, match=r"run\.yaml, line 1: latent-dim takes a whole number"):
        program.arguments(["--config", str(path), "--search", "learning_rate=1e-3..1e-2"])


def test_training_ends_where_the_search_says_so():
    config = program.arguments(WORDS).plan.start
    model = mock.Mock(stop_training=False)
    reporting = Reporting(config, lambda epoch, value: value < 0)
    reporting.set_model(model)
    reporting.on_epoch_end(0, {"val_elbo": 1.0})
    assert not model.stop_training
    reporting.on_epoch_end(1, {"val_elbo": -1.0})
    assert model.stop_training


BAD = [
    (["--search", "latent_dim=2..4", "--trials", "0"], "--trials"),
    (["--search", "latent_dim=4..2"], "low end"),
    (["--search", "latent_dim"], "NAME=VALUE"),
    (["--serach", "latent_dim=2..4"], "did you mean --search?"),
    ([], "--search"),
    (["--search", "latent_dim=2..4", "--epochs", "-1"], "--epochs"),
    (["--search", "latent_dim=2..4", "--dataset", "arrays"], "--data-dir"),
    (["--search", "latent_dim=2..4", "--network", "conv"], "conv"),
    (["--search", "learning_rate=1e-3..1e-2", "--save", "{file}"], "--save names another folder"),
]


def test_what_is_wrong_is_one_line_before_tensorflow_is_imported(tmp_path):
    """One process for all: it is the imports that take the time."""
    (tmp_path / "file").touch()
    cases = [[word.replace("{file}", str(tmp_path / "file")) for word in words] for words, _ in BAD]
    code = (
        "import contextlib, io, json, sys\n"
        "from kvae import cli\nfrom kvae.tune.program import main\n"
        "found = []\n"
        "def tried(words):\n"
        "    sys.argv[1:] = words\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as text:\n"
        "        found.append([cli.run(main), text.getvalue()])\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    tried(words)\n"
        "sys.modules['optuna'] = None\n"
        "tried(['--search', 'latent_dim=2..4'])\n"
        "found.append(sorted({'tensorflow', 'keras'} & {*sys.modules}))\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(cases)], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    *found, absent, heavy = json.loads(done.stdout)
    assert heavy == []
    for (status, text), (_, words) in zip(found, BAD, strict=True):
        assert status == 2, text
        assert text.startswith("error: "), text
        assert words in text
        assert text.count("\n") == 1
    assert absent[0] == 2
    assert 'pip install -e ".[tune]"' in absent[1]


def test_an_interruption_has_its_status_and_the_command_that_goes_on(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    words = [*WORDS, "--save", str(tmp_path), "--trials", "2"]
    monkeypatch.setattr(search.workflow, "run", interrupted)
    monkeypatch.setattr(sys, "argv", ["tune", *words])
    assert cli.run(program.main) == 130
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("go on:     python -m kvae.tune --dataset gmm")
    assert told.endswith("--trials 2")


def test_several_machines_do_not_search_together(tmp_path, monkeypatch):
    workers = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    with pytest.raises(UsageError, match="TF_CONFIG: a trial of a search is trained by one"):
        program.main([*WORDS, "--save", str(tmp_path)])
    assert not [*tmp_path.iterdir()]


def test_no_combination_that_fits_the_data_is_refused_for_its_reason(tmp_path):
    with pytest.raises(UsageError, match=r"--flip mirrors images"):
        program.main([*WORDS, "--flip", "--save", str(tmp_path)])
    assert not (tmp_path / "gmm").exists()
