"""What made a metrics.json: it stands at its head."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import kvae

_PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn")


def origin(trained: dict[str, str], *, seed: int, command: str | None) -> dict[str, Any]:
    """Versions, seed and command of an evaluation.

    Args:
        trained: the versions that the model was trained with.
        seed: of all draws.
        command: what was typed; None: called from Python.

    Returns:
        JSON values: `command`, `seed`, `commit` (of a checkout of kvae that git knows, with "+"
        where files differ from it; else None), `versions` of training and evaluation.
    """
    evaluated = {"kvae": kvae.__version__, **{name: _version(name) for name in _PACKAGES}}
    return {
        "command": command,
        "seed": seed,
        "commit": _commit(Path(kvae.__file__).parents[1]),
        "versions": {"trained": trained, "evaluated": evaluated},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # installed under another name, as tensorflow-cpu is
        return None


def _commit(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():  # else git may find the repository around an environment
        return None
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=checkout, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
