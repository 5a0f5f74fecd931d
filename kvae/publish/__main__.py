"""Look after what was published: python -m kvae.publish --help lists the options."""

import sys

from kvae import cli
from kvae.publish.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
