"""Measure a published model and draw its figures. `python evaluate.py --help` lists the options."""

import sys

from kvae import cli
from kvae.evaluation.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
