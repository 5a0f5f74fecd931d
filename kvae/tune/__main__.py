"""Search over options of train.py: python -m kvae.tune --help lists what it takes."""

import sys

from kvae import cli
from kvae.tune.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
