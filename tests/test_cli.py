import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kvae import backend, cli
from kvae.command import training_command
from kvae.config import PRESETS, resolve
from kvae.errors import DataError, UsageError
from kvae.saying import say
from kvae.training import program

ROOT = Path(__file__).parents[1]


TRAINING_OPTIONS = """
    --dataset --data-dir --preset --save --name --epochs --batch-size --learning-rate --latent-dim
    --network --likelihood --variance --prior --beta --kl-warmup-epochs --image-size --crop
    --mixed-precision --init-from --seed --dry-run --debug --gmm-seed --gmm-components --gmm-dim
    --gmm-separation
"""


def _run(program, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / program, *arguments], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip


def test_every_option_of_the_issue_has_help():
    done = _run("train.py", "--help")
    for flag in re.findall(r"--[a-z-]+", TRAINING_OPTIONS):
        assert re.search(rf"^ +{flag}\b(?!-)", done.stdout, re.MULTILINE), flag
    done = _run("evaluate.py", "--help")
    for flag in ["--model", "--data-dir", "--output", "--color-by", "--num-draws", "--seed"]:
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("train.py", ["--dataset", "cifar"], ["gmm, digits, mnist", "celeba", "cifar"]),
        ("train.py", ["--epochs", "-3"], ["--epochs", "at least 0", "-3"]),
        ("train.py", ["--epochs", "0"], ["--epochs", "at least 1", "--init-from", "0"]),
        ("train.py", ["--no-such-flag"], ["--no-such-flag"]),
        ("train.py", ["--preset", "rapport"], ["report-celeba", "rapport"]),
        ("train.py", ["--data-dir", "/tmp"], ["no --dataset, which makes it gmm", "--gmm-seed"]),
        ("train.py", ["digits"], ["did you mean --dataset digits?"]),
        ("train.py", ["my/table.csv"], ["did you mean --data-dir my/table.csv?"]),
        ("evaluate.py", ["saved/gmm", "x"], ["did you mean --model saved/gmm?"]),
        ("train.py", ["--dataset", "celeba"], ["--data-dir", "img_align_celeba"]),
        ("train.py", ["--dataset", "celeba", "--data-dir", "/no/where"], ["/no/where"]),
        ("train.py", ["--dataset", "digits", "--hidden-units", "7"], ["--network mlp alone"]),
        ("train.py", ["--preset", "report-gmm", "--prior-components", "7"], ["--prior mixture"]),
        ("train.py", ["--gmm-components", "99"], ["50", "99"]),
        ("train.py", ["--init-from", "/no/where"], ["--init-from", "/no/where"]),
        ("train.py", ["--likelihood", "bernoulli", "--no-standardize"], ["0 and 1 alone"]),
        ("train.py", ["--network", "conv"], ["8 to 256", "(3,)"]),
        ("train.py", ["--save", "/proc/kvae"], ["--save", "/proc/kvae"]),
        ("evaluate.py", ["--model", "/no/where"], ["/no/where"]),
        ("evaluate.py", ["--model", "tests"], ["no published model"]),
        ("evaluate.py", ["--num-draws", "0"], ["--num-draws", "from 1", "0"]),
        ("evaluate.py", ["--seed", "4294967296"], ["--seed", "4294967295"]),
        ("train.py", ["--seed", "4294967296"], ["--seed", "4294967295"]),
        ("evaluate.py", ["--num-draws", "many"], ["--num-draws", "many"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(program, arguments, words, tmp_path):
    if program == "train.py" and "--save" not in arguments:
        arguments = [*arguments, "--save", str(tmp_path)]
    done = _run(program, *arguments)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0]
    assert not list(tmp_path.rglob("saved_model.pb"))


def _status(error, monkeypatch, capsys, *argv):
    def main(arguments):
        raise error

    monkeypatch.setattr(sys, "argv", ["train.py", *argv])
    status = cli.run(main)
    return status, capsys.readouterr().err


def test_each_kind_of_failure_has_its_status_and_one_line(monkeypatch, capsys):
    assert _status(UsageError("a\nb"), monkeypatch, capsys) == (2, "error: a b\n")
    assert _status(DataError("bad file"), monkeypatch, capsys) == (1, "error: bad file\n")
    status, text = _status(ZeroDivisionError("oops"), monkeypatch, capsys)
    assert status == 1
    assert text.startswith("error: ZeroDivisionError: oops\n")
    assert "--debug" in text
    status, text = _status(KeyboardInterrupt(), monkeypatch, capsys)
    assert status == 130
    assert text == "interrupted: nothing is left half-made\n"


def test_sigterm_ends_a_program_with_its_last_words(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def main(arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert cli.run(main) == 143
    assert capsys.readouterr().err == "interrupted: nothing is left half-made\n"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("preset", "given"),
    [
        *((preset, {}) for preset in PRESETS if preset != "arrays"),
        ("arrays", {"data_dir": "t.csv"}),
        ("report-celeba", {"likelihood": "bernoulli", "data_dir": "/some where"}),
        ("gmm", {"standardize": False, "hidden_units": "7,5", "init_from": "a.keras", "epochs": 0}),
        ("faces", {"condition": "factor_smile,factor_hair", "learning_rate": 3e-7, "name": "b c"}),
        ("tfds:NAME", {"dataset": "tfds:cifar10", "flip": True, "save": "x"}),
        ("digits", {"network": "mlp", "sampler": "auto", "mixed_precision": "off"}),
    ],
)
def test_the_command_of_a_run_gives_its_options_again(preset, given):
    config = resolve(given, preset)
    python, script, *words = shlex.split(training_command(config))
    assert (python, script) == ("kvae", "train")
    again, dry_run, resume = program.arguments(words)
    assert again.to_dict() == config.to_dict()
    assert (dry_run, resume) == (False, None)


def test_arrays_that_were_given_in_python_have_no_command():
    with pytest.raises(UsageError, match="given in Python"):
        training_command(resolve({"dataset": "arrays"}))


def test_debug_raises(monkeypatch, capsys):
    with pytest.raises(DataError):
        _status(DataError("bad file"), monkeypatch, capsys, "--debug")


def test_a_failing_import_shows_what_it_printed(capfd):
    with pytest.raises(ModuleNotFoundError):
        backend.quiet_import("kvae.no_such_module")


def test_quiet_programs_say_their_results_alone(monkeypatch, capsys):
    def main(argv):
        say("on the way")
        say("made", is_result=True)
        print("note", file=sys.stderr)

    for words, told in ((["--quiet"], "made\n"), ([], "on the way\nmade\n")):
        monkeypatch.setattr(sys, "argv", ["kvae", *words])
        assert cli.run(main) == 0
        assert capsys.readouterr() == (told, "note\n")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("training", []), ("evaluation", []), ("audit", ["saved/gmm"]),
        ("data", ["--data-dir", "x"]), ("tune", ["--search", "latent-dim=2,3"]),
        ("encode", ["--input", "rows.npy", "--output", "o.parquet"]),
    ],
)  # fmt: skip
def test_programs_that_say_how_far_they_are_can_be_quiet(program, words):
    module = importlib.import_module(f"kvae.{program}.program")
    assert str(module.arguments([*words, "--quiet"])) == str(module.arguments(words))
