import re
import subprocess

import pytest

import kvae
from kvae.evaluation.origin import origin


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of kvae with one commit."""
    package = tmp_path / "kvae" / "__init__.py"
    package.parent.mkdir()
    package.write_text("")
    monkeypatch.setattr(kvae, "__file__", str(package))
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_it_names_command_seed_versions_and_the_commit(checkout):
    found = origin({"keras": "3.0"}, seed=7, command="python evaluate.py --seed 7")
    assert (found["seed"], found["command"]) == (7, "python evaluate.py --seed 7")
    assert found["versions"]["trained"] == {"keras": "3.0"}
    assert found["versions"]["evaluated"]["kvae"] == kvae.__version__
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])


def test_files_that_differ_from_the_commit_are_told(checkout):
    (checkout / "kvae" / "__init__.py").write_text("x = 1\n")
    assert re.fullmatch(r"[0-9a-f]{40}\+", origin({}, seed=0, command=None)["commit"])


def test_what_is_no_checkout_has_no_commit(checkout):
    (checkout / ".git").rename(checkout / "git")
    assert origin({}, seed=0, command=None)["commit"] is None
