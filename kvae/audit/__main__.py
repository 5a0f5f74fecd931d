"""Audit a published version: python -m kvae.audit --help lists the options."""

import sys

from kvae import cli
from kvae.audit.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
