"""bootstrap.py, without making an environment."""

import configparser
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPORT = '<testsuites><testsuite tests="9" failures="{}" errors="0" skipped="2"/></testsuites>'
#: Says what it is at and goes on once that has been told.
PIP = """#!{python}
import pathlib, time
print("Collecting keras", flush=True)
for _ in range(3000):
    if pathlib.Path("{told}").exists():
        break
    time.sleep(0.02)
else:
    raise SystemExit(7)
raise SystemExit({status})
"""


@pytest.fixture
def bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "arguments", [[], ["tests"], ["test", "--al"], ["beam", "--all"], ["test", "--all", "x"]]
)
def test_what_is_no_task_is_answered_with_the_usage(bootstrap, capsys, arguments):
    assert bootstrap.main(arguments) == 2
    assert "bootstrap.py test --all" in capsys.readouterr().err


@pytest.mark.parametrize("failing", [None, "beam", "backends"])
def test_all_runs_every_environment_and_sums_up_in_a_line(bootstrap, capsys, monkeypatch, failing):
    steps = {}

    def run(python, step):
        steps[python] = step
        report = next(word for word in step if word.startswith("--junitxml="))
        is_failing = python == failing
        Path(report.partition("=")[2]).write_text(REPORT.format(int(is_failing)))
        return int(is_failing)

    monkeypatch.setattr(bootstrap, "_prepare", lambda task: (task, 0))
    monkeypatch.setattr(bootstrap, "_run", run)
    assert bootstrap.main(["test", "--all"]) == int(failing is not None)
    assert list(steps) == ["test", "beam", "backends", "explore", "oldest"]
    for task, step in steps.items():
        (plain,) = bootstrap.TASKS[task][2]
        assert step[: len(plain)] == plain
        assert step[len(plain) :][:2] == ["-m", "slow or not slow"]
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("FAILED in" if failing else "all passed in")
    told = {task: "7 passed, 2 skipped" for task in steps}
    if failing:
        told[failing] = "1 failed, 6 passed, 2 skipped"
    assert line.endswith("; ".join(f"{task}: {words}" for task, words in told.items()))


def test_an_environment_that_cannot_be_made_is_a_failure(bootstrap, capsys, monkeypatch):
    monkeypatch.setattr(bootstrap, "_prepare", lambda task: (task, 3))
    monkeypatch.setattr(bootstrap, "_run", lambda *_: pytest.fail("nothing to run with"))
    assert bootstrap.main(["test", "--all"]) == 3
    assert "test: no tests ran; beam: no tests ran" in capsys.readouterr().out
    assert bootstrap.main(["demo"]) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for Python")
@pytest.mark.parametrize("status", [0, 5])
def test_pip_is_heard_while_it_works(bootstrap, monkeypatch, tmp_path, status):
    told, lines = tmp_path / "told", []

    def hear(text, **_):
        lines.append(text)
        if "Collecting keras" in text:
            told.touch()

    monkeypatch.setattr(bootstrap, "print", hear, raising=False)
    monkeypatch.setattr(bootstrap, "SECONDS_BETWEEN_NEWS", 0.01)
    pip = tmp_path / "python"
    pip.write_text(PIP.format(python=sys.executable, told=told, status=status))
    pip.chmod(0o755)
    assert bootstrap._install(pip, ".") == status
    assert lines[-1].endswith("pip failed: status 5" if status else "installed")


def test_the_oldest_environment_has_the_least_version_of_every_requirement(
    bootstrap, capsys, monkeypatch, tmp_path
):
    found = {}

    def install(python, arguments):
        found[python] = arguments, Path(arguments[1]).read_text() if len(arguments) > 2 else ""
        return 9

    monkeypatch.setattr(bootstrap, "_pip_install", install)
    monkeypatch.setattr(bootstrap, "_has_pip", lambda python: True)
    assert bootstrap.main(["oldest"]) == bootstrap.main(["test"]) == 9
    (bound, constraints), (free, _) = found.values()
    assert bound[0] == "--constraint" and bound[2:] == free == ["--editable", ".[test]"]
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    required = parser["options"]["install_requires"] + parser["options.extras_require"]["test"]
    wanted = [line for line in required.splitlines() if line and not line.startswith("#")]
    versions = dict(line.split("==") for line in constraints.splitlines())
    assert len({line.partition(">=")[0] for line in wanted}) == len(versions)
    for line in wanted:  # every requirement has a least version, and it satisfies the line
        name, _, least = line.partition(">=")
        assert versions[name] == least.partition(",")[0]


def test_the_interpreter_is_where_the_system_puts_it(bootstrap, monkeypatch):
    environment = ROOT / ".venv"
    for system, place in (("posix", "bin/python"), ("nt", "Scripts/python.exe")):
        with monkeypatch.context() as patch:
            patch.setattr(bootstrap.os, "name", system)
            found = bootstrap._python_of(environment).as_posix()
        assert found == f"{environment.as_posix()}/{place}"
