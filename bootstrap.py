"""From a fresh clone to a result with one command; needs Python 3.11 to 3.13 and nothing else.

python3 bootstrap.py demo    make .venv, train on the mixture, evaluate it
python3 bootstrap.py test    make .venv, run the tests
python3 bootstrap.py beam    make .venv-beam, run the tests of the Apache Beam pipeline
python3 bootstrap.py backends    make .venv-backends, run the tests of JAX and of torch
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TASKS = {
    "demo": (
        ".venv",
        ".",
        [["train.py", "--dataset", "gmm"], ["evaluate.py", "--model", "saved/"]],
    ),
    "test": (".venv", ".[test]", [["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]]),
    # Beam takes another protobuf.
    "beam": (".venv-beam", ".[test,beam]", [["-m", "pytest", "-q", "tests/encode/test_beam.py"]]),
    "backends": (
        ".venv-backends",
        ".[test,jax,torch]",
        [["-m", "pytest", "-q", "tests/backends", "tests/probability/test_noise.py"]],
    ),
}


def _has_pip(python):
    """Whether the environment is there and whole; an interrupted one has no pip yet."""
    if not python.exists():
        return False
    asked = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True)
    return asked.returncode == 0


def main(arguments):
    """Make the environment and run the task's commands; return the exit status."""
    if len(arguments) != 1 or arguments[0] not in TASKS:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(f"error: Python 3.11, 3.12 or 3.13 is needed, this is {found}", file=sys.stderr)
        return 2
    name, requirement, commands = TASKS[arguments[0]]
    environment = ROOT / name
    python = environment / "bin" / "python"
    steps = [["-m", "pip", "install", "--quiet", "--editable", requirement], *commands]
    if not _has_pip(python):
        print(f"making {environment}", flush=True)
        venv.create(environment, with_pip=True, clear=True)
    for step in steps:
        print(f"> python {' '.join(step)}", flush=True)
        status = subprocess.run([str(python), *step], cwd=ROOT).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
