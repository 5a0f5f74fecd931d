"""Look after what was published: python -m kvae.publish --help lists the commands."""

import sys

from kvae import backend, cli


def main(argv: list[str]) -> None:
    """Read the arguments and do what they ask for."""
    command, given = cli.publish_arguments(argv)
    backend.use(backend.TENSORFLOW)  # which SavedModels are of
    from kvae.publish import commands

    commands.COMMANDS[command](**given)


if __name__ == "__main__":
    sys.exit(cli.run(main))
