"""Put published models side by side: python -m kvae.compare --help lists the options."""

import sys

from kvae import cli
from kvae.compare.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
