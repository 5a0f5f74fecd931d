"""Measure a published model and draw its figures. `python evaluate.py --help` lists the options."""

import sys

from kvae import cli


def main(argv):
    """Read the arguments, then evaluate what they name."""
    arguments = cli.evaluation_arguments(argv)
    cli.quiet_import("kvae.evaluation").evaluate(**arguments)


if __name__ == "__main__":
    sys.exit(cli.run(main))
