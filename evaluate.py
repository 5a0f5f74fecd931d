"""Measure a published model and draw its figures. `python evaluate.py --help` lists the options."""

import sys

from kvae import backend, cli


def main(argv):
    """Read the arguments, then evaluate what they name."""
    where, draws = cli.evaluation_arguments(argv)
    backend.use(backend.TENSORFLOW)  # which SavedModels are of
    from kvae import evaluation

    job = evaluation.prepare(**where)
    cli.quiet_import("kvae.served")
    evaluation.evaluate(job, **draws)


if __name__ == "__main__":
    sys.exit(cli.run(main))
