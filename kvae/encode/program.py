"""python -m kvae.encode: bulk work through a published model."""

import argparse
from collections.abc import Sequence
from typing import Any

from kvae import cli
from kvae.encode import BATCH_SIZE, PROCESSES, SIGNATURES, encode


def main(argv: Sequence[str], prog: str = "python -m kvae.encode") -> None:
    """Read the arguments and do what they ask for."""
    encode(**arguments(argv, prog))


def arguments(argv: Sequence[str], prog: str = "python -m kvae.encode") -> dict[str, Any]:
    """Read the arguments of python -m kvae.encode.

    Returns:
        Keyword arguments of `kvae.encode.encode`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Run a published model on every row of a source, into a parquet file. "
        "Interrupted, the same command goes on where it was.",
    )
    cli.add_model(parser)
    parser.add_argument(
        "--input", dest="source", required=True, metavar="PATH",
        help="a folder or zip of images; or .csv, .tsv, .parquet, .tfrecord or .npy, a file or a "
        "folder",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FILE", help="to write, .parquet")
    add_signature(parser)
    parser.add_argument(
        "--batch-size", type=cli.of_kind(BATCH_SIZE), default=256, metavar="N",
        help="rows handed to the model at a time, at most 2048 (default: 256)",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=cli.of_kind(PROCESSES), default=1, metavar="N",
        help="that share the work, each with a copy of the model (default: 1)",
    )  # fmt: skip
    cli.add_quiet(parser)
    cli.add_debug(parser)
    return cli.parsed(parser, argv)


def add_signature(parser: argparse.ArgumentParser) -> None:
    """Add --signature: which of `SIGNATURES` is called."""
    parser.add_argument(
        "--signature", choices=SIGNATURES, default=SIGNATURES[0],
        help="encode: mean and variance of the posterior; score: elbo, distortion and rate, which "
        "are low, high and high of rows unlike the training data (default: encode)",
    )  # fmt: skip
