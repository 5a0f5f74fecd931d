"""Look at a source of images: python -m kvae.data --help lists the options."""

import sys

from kvae import cli
from kvae.data.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
