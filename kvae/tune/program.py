"""kvae tune: its options are those of train.py, and what is searched among them."""

import argparse
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from kvae import backend, cli, files, own_files, run_file
from kvae.command import program
from kvae.config import MODEL_PARTS
from kvae.errors import UsageError
from kvae.training.machines import cluster
from kvae.training.program import add_options
from kvae.tune import space
from kvae.tune.plan import Plan

_TRIALS = 20
_EPILOG = """\
NAME is an option of train.py, with underscores or hyphens; `kvae train --help` lists them. Every
other option of train.py is taken too, and holds for all trials. What is searched:

  --search learning_rate=1e-4..1e-2:log     a range, evenly by its logarithm
  --search latent_dim=8..64                 whole numbers of a range
  --search network=conv,resnet              some values; of yes or no: flip=yes,no
  --search hidden_units=64,64/128,128,128   values that are lists

for example:

  kvae tune --dataset digits --epochs 30 --trials 20 \\
      --search learning_rate=1e-4..1e-2:log --search latent_dim=8,16,32

An option that only some parts have is left out of trials with other parts. The same command goes on
with a search that was killed; typed twice, two processes share the trials.
"""


class Job(NamedTuple):
    """What the command line asks for.

    Args:
        plan: what is searched.
        trials: wanted in all.
        prunes: whether trials end early that are worse than most.
    """

    plan: Plan
    trials: int
    prunes: bool


def main(argv: Sequence[str], prog: str = "python -m kvae.tune") -> None:
    """Read the arguments, and make the trials that lack."""
    job = arguments(own_files.taken(argv), prog)
    if find_spec("optuna") is None:
        raise UsageError('a search is done with Optuna: pip install -e ".[tune]"')
    if cluster.read() is not None:
        raise UsageError(
            f"{cluster.VARIABLE}: a trial of a search is trained by one machine; without "
            f"{cluster.VARIABLE} machines that share --save share the trials"
        )
    backend.use(job.plan.start.backend)
    from kvae.training import preflight

    config = job.plan.start
    found = preflight.outline(config)
    _check_data(job.plan, found)
    folder = Path(config.save) / config.name / "tuning"
    files.writable_folder(folder, "--save")
    dataset = preflight.load(config, found)
    from kvae.tune import search

    called = program("tune") if prog == "kvae tune" else prog.split()
    command = files.command_line([*called, *argv])
    search.search(job.plan, dataset, folder, job.trials, prunes=job.prunes, command=command)


def arguments(argv: Sequence[str], prog: str = "python -m kvae.tune") -> Job:
    """Read the arguments of kvae tune.

    Raises:
        UsageError: an unknown option, a value that is not allowed, or nothing to search.
    """
    parser = cli.Parser(
        prog=prog,
        usage=f"{prog} [options of train.py] --search NAME=VALUES [--trials N] ...",
        description="Search over options of train.py by the ELBO of the valid split.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
    )
    add_options(parser)
    for action in parser._actions[1:]:  # `kvae train --help` has them
        action.help = argparse.SUPPRESS
    own = parser.add_argument_group("search")
    own.add_argument(
        space.FLAG, action="append", metavar="NAME=VALUES",
        help=f"an option and its values: {space.SYNTAX}; once for each option",
    )  # fmt: skip
    own.add_argument(
        "--trials", type=cli.whole(1, 10**6), metavar="N",
        help="trials in all, those that are there already counted; trial 0 has the own values of "
        f"the preset or the file (default: {_TRIALS})",
    )  # fmt: skip
    own.add_argument(
        "--prune", action=argparse.BooleanOptionalAction,
        help="end trials early that are worse than the median of the others (default: yes)",
    )  # fmt: skip
    cli.add_import(own)
    cli.add_quiet(own)
    cli.add_debug(own)
    given = cli.parsed(parser, argv)
    searched, preset = given.pop("search", ()), given.pop("preset", None)
    trials, prunes = given.pop("trials", _TRIALS), given.pop("prune", True)
    file = given.pop("config", None)
    return Job(_plan(given, preset, searched, file), trials, prunes)


def _plan(
    given: Mapping[str, Any], preset: str | None, searched: Sequence[str], file: str | None
) -> Plan:
    dimensions = space.read(searched, given)
    names = {one.name for one in dimensions}
    parts = [
        {one.name: value} for one in dimensions if one.name in MODEL_PARTS for value in one.corners
    ]
    taken = run_file.taken(file, given, preset, parts)
    return Plan(
        {name: value for name, value in taken.given.items() if name not in names},
        taken.preset, dimensions,
        {name: value for name, value in taken.given.items() if name in names}, taken.shown,
    )  # fmt: skip


def _check_data(plan: Plan, outline: Any) -> None:
    """Refuse a search of which no combination fits the data, for what is against the first one."""
    from kvae.training import preflight

    refused: list[UsageError] = []
    for config in plan.corners:
        try:
            preflight.check(config, outline, dry_run=True)
            return
        except UsageError as error:
            refused.append(error)
    raise refused[0]
