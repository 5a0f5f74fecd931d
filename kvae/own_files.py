"""--import: files of the user's own that add members to the registries."""

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from kvae.errors import UsageError
from kvae.files import is_file, user_path

FLAG = "--import"
HELP = "a Python file that adds parts of your own to kvae's registries, run before all else"
_run: list[Path] = []


def taken(argv: Sequence[str]) -> list[str]:
    """Run the files that are named on a command line.

    Args:
        argv: the arguments of a program.

    Returns:
        The arguments without them.

    Raises:
        UsageError: as `run`, or no file is named.
    """
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word != FLAG and not word.startswith(f"{FLAG}="):
            rest.append(word)
            continue
        name = next(words, "") if word == FLAG else word.removeprefix(f"{FLAG}=")
        if not name or name.startswith("--"):
            raise UsageError(f"{FLAG} takes a Python file; received {name!r}")
        run(name)
    return rest


def run(file: str | Path) -> None:
    """Run a file as a module of its name, once; modules beside it can be imported.

    Args:
        file: what adds members to registries, such as `kvae.priors.PRIORS`.

    Raises:
        UsageError: there is no such file, or it fails; the message names its line.
    """
    path = user_path(file).resolve()
    if path in _run:
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not is_file(path) or spec is None or spec.loader is None:
        raise UsageError(f"{FLAG}: no such Python file: {file}")
    if path.stem in sys.modules:
        raise UsageError(f"{FLAG} {file}: there is a module {path.stem} already; rename the file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        place = f", line {line}" if (line := _line(error, path)) else ""
        raise UsageError(f"{FLAG} {file}{place}: {type(error).__name__}: {error}") from error
    _run.append(path)


def words() -> list[str]:
    """What a command line needs to run the same files."""
    return [word for path in _run for word in (FLAG, str(path))]


def files() -> list[str]:
    """The files that were run."""
    return [str(path) for path in _run]


def _line(error: Exception, path: Path) -> int | None:
    """The last line of the file on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
