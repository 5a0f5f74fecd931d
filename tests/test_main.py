import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kvae.__main__ import COMMANDS, main
from kvae.errors import UsageError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own_name(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: kvae {command} ")


def test_a_command_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(
        UsageError,
        match=r"train, .*evaluate, compare, explore, data, publish.*'trian'; did you mean train\?",
    ):
        main(["trian"])
    with pytest.raises(UsageError, match="COMMAND"):
        main([])


def test_options_are_those_of_the_program(tmp_path):
    with pytest.raises(UsageError, match=r"--epochs.*kvae train --help|--epochs"):
        main(["train", "--epochs", "many"])
    with pytest.raises(UsageError, match="no such folder"):
        main(["evaluate", "--model", str(tmp_path / "gone")])


def test_the_command_line_ends_with_one_line_and_a_status():
    code = (
        "import json, sys\nfrom kvae.__main__ import run\n"
        "sys.argv = ['kvae', 'train', '--dataset', 'nothing']\n"
        "status = run()\n"
        "heavy = sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules))\n"
        "print(json.dumps([status, heavy]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert json.loads(done.stdout) == [2, []]
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_installed_command_is_this_one():
    scripts = {script.value for script in entry_points(group="console_scripts", name="kvae")}
    assert scripts <= {"kvae.__main__:run"}
    assert "kvae = kvae.__main__:run" in (ROOT / "setup.cfg").read_text()
