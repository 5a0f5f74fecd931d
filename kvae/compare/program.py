"""kvae compare and its options."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvae import cli, files
from kvae.errors import UsageError
from kvae.options import TEXT


def main(argv: Sequence[str], prog: str = "python -m kvae.compare") -> None:
    """Read the arguments, then compare what they name."""
    given = arguments(argv, prog)
    wanted = [name for name in ("csv", "html") if given[name] is not None]
    for name in wanted:
        files.writable_file(Path(given[name]), f"--{name}")
    from kvae.compare import compare, tables

    found = compare(given["models"])
    texts = {"csv": tables.csv_text, "html": tables.html_text}
    contents = {Path(given[name]): texts[name](found).encode() for name in wanted}
    named = ", ".join(map(str, contents))
    try:
        files.replace_all(contents)
    except OSError as error:
        raise UsageError(f"cannot write {named}: {error.strerror}") from error
    print(tables.terminal(found))
    if wanted:
        print(f"\nwrote {named}")


def arguments(argv: Sequence[str], prog: str = "python -m kvae.compare") -> dict[str, Any]:
    """Read the arguments of kvae compare.

    Returns:
        `models`, and the files `csv` and `html`, None where they are not wanted.

    Raises:
        UsageError: an unknown option, a value that is not allowed, or one file for both.
    """
    parser = cli.Parser(
        prog=prog,
        description="Put evaluations side by side: the metrics of equal protocol, and differences "
        "of likelihoods on the same test rows.",
    )
    parser.add_argument(
        "models", nargs="+", type=cli.of_kind(TEXT), metavar="MODEL",
        help="saved/NAME (its newest version), saved/NAME/NUMBER, or a folder that evaluate.py "
        "wrote to; the others are held against the first",
    )  # fmt: skip
    parser.add_argument(
        "--csv", type=cli.of_kind(TEXT), metavar="FILE", help="also write a table, one number a row"
    )
    parser.add_argument(
        "--html", type=cli.of_kind(TEXT), metavar="FILE", help="also write a page, as report.html"
    )
    cli.add_debug(parser)
    given = cli.parsed(parser, argv)
    places = [given[name] for name in ("csv", "html") if given[name] is not None]
    if len({*map(os.path.realpath, places)}) < len(places):
        raise UsageError(f"--csv and --html are two files; received {' and '.join(places)}")
    return given
