"""Processes that kvae starts."""

import os
import subprocess
import sys

from kvae import children


def test_a_child_finds_this_kvae_and_nothing_of_the_folder_that_it_runs_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "of the user"))
    for name in ("json", "kvae", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    done = subprocess.run(
        [sys.executable, "-m", "kvae.children"], cwd=tmp_path, env=children.environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert children.environment()["PYTHONPATH"].split(os.pathsep)[1:] == [
        str(tmp_path / "of the user")
    ]


def test_what_a_library_prints_is_no_answer():
    code = (
        "import os; from kvae import children\n"
        "answers = children.only_answers(); print('a line', flush=True); os.write(1, b'bytes')\n"
        "answers.write(b'the answer'); answers.flush()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=children.environment(), capture_output=True, text=True
    )
    assert done.stdout == "the answer"
    assert done.stderr.split() == ["a", "line", "bytes"]


def test_how_a_process_ended_is_said_as_far_as_it_is_known():
    assert children.how_ended(3) == "with status 3"
    assert children.how_ended(-15) == "with signal 15"
    if sys.platform != "win32":
        assert children.how_ended(-9).startswith("with signal 9 (where memory is short")
