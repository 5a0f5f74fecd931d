"""From a fresh clone to a result with one command; needs Python 3.11 to 3.13 and nothing else.

python3 bootstrap.py demo    make .venv, train on the mixture, evaluate it
python3 bootstrap.py test    make .venv, run the tests but for the slow ones
python3 bootstrap.py test --all    run all tests: the slow ones too, then those of the tasks below
python3 bootstrap.py beam    make .venv-beam, run the tests of the Apache Beam pipeline
python3 bootstrap.py backends    make .venv-backends, run the tests of JAX and of torch
python3 bootstrap.py explore    make .venv-explore, run the tests of the page that Gradio makes
python3 bootstrap.py oldest    make .venv-oldest of the oldest versions allowed, run the tests
"""

import configparser
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent
EVERY = "slow or not slow"  # the tests of torch are among the slow ones
# In order: sorted by their number of tests, dear files of few tests would come last.
PYTEST = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
OLDEST = "oldest"
TASKS = {
    "demo": (
        ".venv",
        ".",
        [["train.py", "--dataset", "gmm"], ["evaluate.py", "--model", "saved/"]],
    ),
    "test": (".venv", ".[test]", [PYTEST]),
    # Beam takes another protobuf.
    "beam": (".venv-beam", ".[test,beam]", [["-m", "pytest", "-q", "tests/encode/test_beam.py"]]),
    "backends": (
        ".venv-backends",
        ".[test,jax,torch]",
        [["-m", "pytest", "-q", "-m", EVERY, "tests/backends", "tests/probability/test_noise.py"]],
    ),
    # Gradio takes an older Pillow.
    "explore": (".venv-explore", ".[test,explore]", [["-m", "pytest", "-q", "tests/explore"]]),
    OLDEST: (".venv-oldest", ".[test]", [PYTEST]),
}
#: Tasks of `test --all`.
ALL = ("test", "beam", "backends", "explore", OLDEST)
SECONDS_BETWEEN_NEWS = 5


def _python_of(environment):
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _has_pip(python):
    """Whether the environment is there and whole; an interrupted one has no pip yet."""
    if not python.exists():
        return False
    asked = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True)
    return asked.returncode == 0


def oldest_allowed():
    """The least versions that setup.cfg allows, as constraints of pip, a line each."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = [setup["options"]["install_requires"], setup["options.extras_require"]["test"]]
    least = re.findall(r"^([\w.-]+)>=([\d.]+)", "\n".join(listed), re.MULTILINE)
    return [f"{name}=={version}" for name, version in dict(least).items()]


def _install(python, requirement, constraints=()):
    """Run pip and say every few seconds what it is at; return its exit status.

    Args:
        python: of the environment.
        requirement: what to install, for pip.
        constraints: `name==version` of what may come in no other version.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(constraints), encoding="utf-8")
        bound = ["--constraint", str(file)] if constraints else []
        return _pip_install(python, [*bound, "--editable", requirement])


def _pip_install(python, arguments):
    words = ["-m", "pip", "install", "--progress-bar", "off", *arguments]
    print(f"> python {' '.join(words)}", flush=True)
    started, news = time.monotonic(), [""]

    def listen(lines):
        for line in lines:
            news[0] = line.strip() or news[0]

    def tell(text):
        print(f"  {time.monotonic() - started:4.0f} s  {text[:80]}", flush=True)

    with subprocess.Popen(
        [str(python), *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as pip:
        listener = threading.Thread(target=listen, args=(pip.stdout,))
        listener.start()
        while listener.is_alive():
            listener.join(SECONDS_BETWEEN_NEWS)
            if listener.is_alive():
                tell(news[0])
    tell("installed" if pip.returncode == 0 else f"pip failed: status {pip.returncode}")
    return pip.returncode


def _prepare(task):
    """Make a task's environment; return its interpreter and pip's exit status."""
    name, requirement, _ = TASKS[task]
    environment = ROOT / name
    python = _python_of(environment)
    if not _has_pip(python):
        print(f"making {environment}", flush=True)
        venv.create(environment, with_pip=True, clear=True)
    return python, _install(python, requirement, oldest_allowed() if task == OLDEST else ())


def _run(python, step):
    """Run one command of a task; return its exit status."""
    print(f"> python {' '.join(step)}", flush=True)
    return subprocess.run([str(python), *step], cwd=ROOT).returncode


def _run_task(task):
    """Make the environment and run the task's commands; return the exit status."""
    python, status = _prepare(task)
    for step in TASKS[task][2]:
        status = status or _run(python, step)
    return status


def _counts(report):
    """What a JUnit report says in words: `30 passed, 2 skipped`, `1 failed, 29 passed`."""
    if not report.exists():
        return "no tests ran"
    found = {"failed": 0, "passed": 0, "skipped": 0}
    for suite in ElementTree.parse(report).iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")
        )
        found["failed"] += failures + errors
        found["skipped"] += skipped
        found["passed"] += tests - failures - errors - skipped
    return ", ".join(f"{number} {what}" for what, number in found.items() if number)


def _run_all():
    """Run the tests of every environment, also after a failure; return an exit status."""
    started, told, worst = time.monotonic(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        for task in ALL:
            python, status = _prepare(task)
            report = Path(folder) / f"{task}.xml"
            if status == 0:
                (step,) = TASKS[task][2]
                extra = ["-m", EVERY, f"--junitxml={report}"]
                status = _run(python, [*step, *extra])
            told.append(f"{task}: {_counts(report)}")
            worst = worst or status
    verdict = "FAILED" if worst else "all passed"
    minutes = (time.monotonic() - started) / 60
    print(f"{verdict} in {minutes:.0f} minutes; {'; '.join(told)}", flush=True)
    return worst


def main(arguments):
    """Do what the command line says; return the exit status."""
    task, *options = arguments or [""]
    everything = arguments == ["test", "--all"]
    if task not in TASKS or (options and not everything):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(f"error: Python 3.11, 3.12 or 3.13 is needed, this is {found}", file=sys.stderr)
        return 2
    return _run_all() if everything else _run_task(task)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
