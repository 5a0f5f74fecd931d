"""Bulk work through a published model: python -m kvae.encode --help lists the options."""

import sys

from kvae import cli


def main(argv: list[str]) -> None:
    """Read the arguments and do what they ask for."""
    given = cli.encode_arguments(argv)
    from kvae.encode import encode

    encode(**given)


if __name__ == "__main__":
    sys.exit(cli.run(main))
