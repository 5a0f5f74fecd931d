"""Look at a source of images: python -m kvae.data --help lists the options."""

import sys

from kvae import cli


def main(argv: list[str]) -> None:
    """Read the arguments and inspect what they name."""
    given = cli.inspection_arguments(argv)
    from kvae import inspection

    inspection.inspect(**given)


if __name__ == "__main__":
    sys.exit(cli.run(main))
