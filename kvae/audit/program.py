"""kvae audit and its options."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvae import cli, files, own_files
from kvae.errors import DataError
from kvae.evaluation.naming import METRICS_FILE, REPORT_FILE
from kvae.serving.versions import find_version


def main(argv: Sequence[str], prog: str = "python -m kvae.audit") -> None:
    """Audit the version that the arguments name.

    Raises:
        DataError: something differs; audit.json and the table are there all the same.
    """
    given = arguments(own_files.taken(argv), prog)
    start = time.monotonic()
    version = find_version(given.pop("model"))
    output = given.pop("output")
    folder = Path(output) if output else version.evaluation
    files.writable_folder(folder, "--output")
    from kvae.audit.opened import opened

    opened(version)  # before SciPy and all else is imported
    measured = files.sha256_of(version.evaluation / METRICS_FILE)
    from kvae.audit import run
    from kvae.audit.verdicts import table
    from kvae.evaluation import report

    origin, lines = run.audit(version, given)
    found = run.report(version, origin, lines, measured)
    path = run.write(folder, found)
    if folder == version.evaluation:
        with files.or_note(REPORT_FILE):
            report.renew_audit(folder / REPORT_FILE, version)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in found["verdicts"].items())
    width = shutil.get_terminal_size().columns
    print(f"rows       {origin}\n\n{table(lines, width)}\n")
    print(f"{counts}, in {time.monotonic() - start:.0f} s\nwrote {path}")
    wrong = run.differing(lines)
    if wrong:
        raise DataError(f"{version.path}: {wrong}")


def arguments(argv: Sequence[str], prog: str = "python -m kvae.audit") -> dict[str, Any]:
    """Read the arguments of kvae audit.

    Returns:
        `model`, `output`, and keyword arguments of `kvae.evaluation.evaluate.prepare`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Compute a published model's numbers a second time, by formulas of their own, "
        "and hold what it serves against them; without data of rows that the model generates. "
        "Exit status 1 where something differs.",
    )
    parser.add_argument("model", metavar="MODEL", help="saved/NAME or saved/NAME/NUMBER")
    cli.add_moved_data(parser)
    parser.add_argument(
        "--output", metavar="DIR",
        help="folder to write audit.json to, instead of saved/NAME/evaluation/NUMBER",
    )  # fmt: skip
    cli.add_import(parser)
    cli.add_quiet(parser)
    cli.add_debug(parser)
    return cli.parsed(parser, argv)
