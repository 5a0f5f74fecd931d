"""What runs left in `saved/<name>/training` that ended before they were published."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvae.command import publish_command, training_command
from kvae.config import Config
from kvae.errors import DataError
from kvae.saying import say
from kvae.training.keeping import checkpoints
from kvae.training.keeping.checkpoints import Record


@contextmanager
def telling_of(folder: Path, config: Config, run: str = "") -> Iterator[None]:
    """Say what there is of a run that ends here, and of those before it, and what to type.

    Args:
        folder: `saved/<name>/training`.
        config: of the run.
        run: its token in checkpoints.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):  # whoever reads standard error may have gone
            _tell(folder, config, run)
        raise


def _tell(folder, config, run):
    saved, earlier = checkpoints.unfinished(folder)[:1], checkpoints.earlier(folder)
    ours = [path for path in earlier if run and _header(path).get("run") == run]
    if not saved and not ours:
        print(f"nothing of this run was saved to {folder}", file=sys.stderr)
    for path in [*saved, *earlier]:
        what = "saved" if path in saved else "of an earlier run"
        if path in ours:
            what = f"{'best' if _header(path)['record'] else 'last'} weights of this run"
        print(f"{what}: {path}{_in_brackets(path)}", file=sys.stderr)
        if path in saved:
            print(f"  go on:      {_going_on(config)}", file=sys.stderr)
        if _header(path).get("record"):
            print(f"  or publish: {publish_command(path)}", file=sys.stderr)


def _going_on(config):
    try:
        return f"{training_command(config)} --resume"
    except Exception:  # parts or data of a program's own
        return "the same call of kvae.train"


def _header(path):
    """What a checkpoint says of itself; nothing where it is damaged."""
    try:
        return checkpoints.read_header(path)
    except DataError:
        return {}


def _in_brackets(path):
    header = _header(path)
    if not header:
        return " (damaged)"
    return f" (best: {header['record']})" if header["record"] else ""


def tell(folder: Path, best: Record | None) -> None:
    """Remove what has no use any more of runs before one that was published; say what stays.

    Args:
        folder: `saved/<name>/training`.
        best: of the weights that were published.
    """
    for path in checkpoints.earlier(folder):
        found = _header(path).get("record")
        if best is not None and best.replaces(found):
            path.unlink(missing_ok=True)
            continue
        than = "it cannot be compared with what was published"
        if found is not None and found.compares(best):
            than = f"better than what was published ({best.figure} {best.value:.5g})"
        say(f"kept      {path} of an earlier run{_in_brackets(path)}: {than}")
        if found is not None:
            say(f"          publish: {publish_command(path)}")
