"""Encode or score rows in bulk: python -m kvae.encode --help lists the options."""

import sys

from kvae import cli
from kvae.encode.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
