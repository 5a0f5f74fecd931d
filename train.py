"""Train a variational autoencoder and publish it. `python train.py --help` lists the options."""

import sys

from kvae import backend, cli


def main(argv):
    """Read the arguments, then train (or only describe) what they ask for."""
    config, dry_run = cli.training_arguments(argv)
    backend.use(config.backend)
    from kvae import preflight

    preflight.check(config, dry_run=dry_run)
    # Images are decoded here, so that a damaged one is named before TensorFlow is imported.
    dataset = None if dry_run else preflight.load(config)
    training = cli.quiet_import("kvae.training")
    if dry_run:
        training.dry_run(config)
    else:
        training.train(config, dataset)


if __name__ == "__main__":
    sys.exit(cli.run(main))
