"""python -m kvae.publish: what can be done with published versions."""

import argparse
from collections.abc import Sequence
from typing import Any

from kvae import backend, cli, own_files


def main(argv: Sequence[str], prog: str = "python -m kvae.publish") -> None:
    """Read the arguments and do what they ask for."""
    command, given = arguments(own_files.taken(argv), prog)
    backend.use(backend.TENSORFLOW)  # which SavedModels are of
    if command == "from-checkpoint":
        from kvae.training.keeping.from_checkpoint import from_checkpoint

        return from_checkpoint(**given)
    from kvae.publish import commands

    return commands.COMMANDS[command](**given)


def arguments(
    argv: Sequence[str], prog: str = "python -m kvae.publish"
) -> tuple[str, dict[str, Any]]:
    """Read the arguments of python -m kvae.publish.

    Returns:
        The command, and its arguments in `kvae.publish.commands.COMMANDS`.

    Raises:
        UsageError: an unknown command or option, or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Look after the models in saved/, which TF Serving reads.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *, model: str = "") -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        if model:
            where = "saved/NAME" if model == "MODEL" else "saved/NAME or saved/NAME/NUMBER"
            one.add_argument("model", metavar=model, help=where)
        return one

    one = add("from-keras", "publish a .keras file of a kvae.VAE as a new version")
    one.add_argument(
        "file", metavar="FILE", help="for example saved/gmm/1/assets.extra/model.keras"
    )
    one.add_argument("--name", required=True, help="of the model: saved/NAME/")
    one.add_argument("--save", default="saved", metavar="DIR", help="(default: saved)")
    one.add_argument(
        "--like", metavar="VERSION",
        help="a published version trained on the same data: its configuration and data card are "
        "taken over (default: the version that FILE lies in, if it does)",
    )  # fmt: skip
    one.add_argument("--crop", metavar="CROP", help="as for train.py, where there is no version")
    one.add_argument(
        "--binarize",
        action="store_true",
        help="make image files black and white, as training did, where there is no version",
    )
    cli.add_import(one)
    one = add("from-checkpoint", "publish the best weights of a run that was interrupted")
    one.add_argument(
        "checkpoint",
        metavar="PATH",
        help="saved/NAME, whose newest checkpoint is taken, or one in saved/NAME/training",
    )
    cli.add_import(one)
    one = add("list", "list what is published")
    one.add_argument("save", nargs="?", default="saved", metavar="DIR", help="(default: saved)")
    add(
        "verify", "hold files, signatures and answers of a version against its publication",
        model="VERSION",
    )  # fmt: skip
    one = add("prune", "remove old versions, but for those that models.config pins", model="MODEL")
    one.add_argument(
        "--keep", type=cli.whole(1, 10**6), required=True, metavar="N", help="newest ones that stay"
    )
    one = add("rollback", "publish an older version again, as the newest", model="MODEL")
    one.add_argument("--to", type=cli.whole(1, 10**9), required=True, metavar="NUMBER")
    one = add("config", "write saved/models.config anew")
    one.add_argument("save", nargs="?", default="saved", metavar="DIR", help="(default: saved)")
    one.add_argument(
        "--root", metavar="PATH",
        help="where the server finds saved/ (default: as the file says, else /models)",
    )  # fmt: skip
    for one in commands.choices.values():
        cli.add_debug(one)
    given = cli.parsed(parser, argv)
    return given.pop("command"), given
