"""Train a variational autoencoder and publish it. `python train.py --help` lists the options."""

import sys

from kvae import cli
from kvae.training.program import main

if __name__ == "__main__":
    sys.exit(cli.run(main))
