import pytest

from kvae import command


@pytest.mark.parametrize(
    ("called", "evaluate", "publish"),
    [
        ("/usr/bin/kvae", "kvae evaluate", "kvae publish"),
        ("/lib/kvae/__main__.py", "python -m kvae evaluate", "python -m kvae publish"),
        ("train.py", "python evaluate.py", "python -m kvae.publish"),
        ("kvae/train.py", "python kvae/evaluate.py", "python -m kvae.publish"),
        ("evaluate.py", "python evaluate.py", "python -m kvae.publish"),
        ("my_script.py", "kvae evaluate", "kvae publish"),
        ("", "kvae evaluate", "kvae publish"),
    ],
)
def test_a_command_is_named_by_the_door_that_was_used(monkeypatch, called, evaluate, publish):
    monkeypatch.setattr("sys.argv", [called, "--epochs", "1"])
    assert " ".join(command.program("evaluate")) == evaluate
    assert " ".join(command.program("publish")) == publish
