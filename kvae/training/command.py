"""What to type for what a program advises."""

import sys
from pathlib import Path

from kvae import backend, files
from kvae.config import Config, default_of, resolve
from kvae.options import flag


def program(name: str) -> list[str]:
    """How the program `train` or `evaluate` is called here, in words."""
    called = Path(sys.argv[0])
    if called.stem == "kvae":
        return ["kvae", name]
    if called.name == "__main__.py" and called.parent.name == "kvae":
        return ["python", "-m", "kvae", name]
    return ["python", f"{name}.py"]


def training_command(config: Config) -> str:
    """What to type for a run with these options."""
    # What the variable of a shell says there, nobody knows here.
    usual = resolve({"dataset": config.dataset, "backend": backend.TENSORFLOW})
    words = [*program("train"), "--dataset", config.dataset]
    for name, value in config.to_dict().items():
        if value == usual.get(name, default_of(config.option(name))):
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [flag(name), text]
    return files.command_line(words)
