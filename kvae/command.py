"""What to type for what a program advises."""

import sys
from pathlib import Path

from kvae import backend, files, own_files
from kvae.config import MODEL_PARTS, Config, default_of, resolve
from kvae.errors import UsageError
from kvae.options import flag
from kvae.registry import GIVEN


def program(name: str) -> list[str]:
    """How a program is called by whoever called this one, in words.

    Args:
        name: "train", "evaluate" or "publish".
    """
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "kvae":
        return ["python", "-m", "kvae", name]
    if called.name not in ("train.py", "evaluate.py"):  # also of a script or notebook
        return ["kvae", name]
    if name == "publish":
        return ["python", "-m", "kvae.publish"]
    return ["python", str(called.parent / f"{name}.py")]  # which may lie elsewhere


def publish_command(checkpoint: Path) -> str:
    """What to type to publish what a run had that was cut short."""
    words = [*program("publish"), "from-checkpoint", str(checkpoint), *own_files.words()]
    return files.command_line(words)


def training_command(config: Config) -> str:
    """What to type for a run with these options.

    Args:
        config: of the run.

    Returns:
        The options that differ from those of the dataset's preset, behind the program.

    Raises:
        UsageError: there is nothing: objects or arrays were given in Python.
    """
    members = [registry[getattr(config, kind)] for kind, registry in MODEL_PARTS.items()]
    of_arrays = config.dataset == "arrays" and config.data_dir is None
    if of_arrays or any(one.help == GIVEN for one in members):
        raise UsageError("parts or data of this run were given in Python")
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
    return files.command_line([*words, *own_files.words()])
