"""`kvae COMMAND`: every program of kvae under one name; also `python -m kvae COMMAND`."""

import sys
from collections.abc import Sequence
from importlib import import_module

import kvae
from kvae import cli

#: Command -> the module whose `main` it runs, and what it does.
COMMANDS = {
    "train": ("kvae.training.program", "train a model and publish it"),
    "tune": ("kvae.tune.program", "search over options of train, by validation ELBO"),
    "evaluate": ("kvae.evaluation.program", "measure a published model and draw its figures"),
    "compare": ("kvae.compare.program", "put evaluations of models side by side"),
    "explore": ("kvae.explore.program", "play with the latent space of a published model"),
    "data": ("kvae.data.program", "look at a source of images before training"),
    "publish": ("kvae.publish.program", "look after published versions"),
    "audit": ("kvae.audit.program", "compute a published model a second time, and compare"),
    "encode": ("kvae.encode.program", "encode or score rows in bulk"),
}


def main(argv: Sequence[str]) -> None:
    """Run the command that the first argument names, on the others."""
    parser = cli.Parser(
        prog="kvae",
        description="Variational autoencoders for Keras 3.",
        epilog="kvae COMMAND --help lists the options of a command",
    )
    parser.add_argument("--version", action="version", version=f"kvae {kvae.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    cli.add_debug(parser)
    place = next((place for place, word in enumerate(argv) if word != cli.DEBUG), len(argv))
    command = parser.parse_args(argv[: place + 1]).command
    rest = [*argv[:place], *argv[place + 1 :]]
    import_module(COMMANDS[command][0]).main(rest, f"kvae {command}")


def run() -> int:
    """The console command; the exit status."""
    return cli.run(main)


if __name__ == "__main__":
    sys.exit(run())
