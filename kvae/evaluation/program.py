"""evaluate.py and its options."""

from collections.abc import Sequence
from typing import Any

from kvae import backend, cli, files, own_files
from kvae.errors import UsageError
from kvae.features import AUTO, FEATURES
from kvae.figures import FORMATS
from kvae.options import MAX_SEED, NAME


def main(argv: Sequence[str], prog: str = "evaluate.py") -> None:
    """Read the arguments, then evaluate what they name."""
    where, draws = arguments(own_files.taken(argv), prog)
    backend.use(backend.TENSORFLOW)  # which SavedModels are of
    from kvae.evaluation import evaluate

    job = evaluate.prepare(**where)
    backend.quiet_import("kvae.serving.served")
    evaluate.evaluate(job, command=files.command_line([*prog.split(), *argv]), **draws)


def arguments(
    argv: Sequence[str], prog: str = "evaluate.py"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arguments of evaluate.py.

    Returns:
        Keyword arguments of `kvae.evaluation.evaluate.prepare` and of
        `kvae.evaluation.evaluate.evaluate`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Measure a published model and draw its figures, through its SavedModel alone.",
    )
    cli.add_model(parser)
    cli.add_moved_data(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder to write to, instead of saved/NAME/evaluation/NUMBER",
    )
    parser.add_argument(
        "--color-by", type=cli.of_kind(NAME), metavar="LABEL",
        help="label that colours the latent map",
    )  # fmt: skip
    parser.add_argument(
        "--num-draws", type=cli.whole(1, 10**6), default=500, metavar="K",
        help="importance draws of the log-likelihood (default: 500)",
    )  # fmt: skip
    parser.add_argument(
        "--features", choices=(AUTO, *FEATURES), default=AUTO, metavar="NAME",
        help="what judges samples of images: "
        + "; ".join(f"{name}: {member.help}" for name, member in FEATURES.items())
        + " (default: auto, the first of them that can be had)",
    )  # fmt: skip
    parser.add_argument(
        "--inception-weights", metavar="FILE",
        help="ImageNet weights of Keras's InceptionV3 without its top, .h5",
    )  # fmt: skip
    parser.add_argument(
        "--num-samples", type=cli.whole(100, 10**6), metavar="N",
        help="images in a set of samples, and test images that they are held against, at most "
        "(default: 10000)",
    )  # fmt: skip
    parser.add_argument(
        "--seed",
        type=cli.whole(0, MAX_SEED),
        default=0,
        metavar="N",
        help="of all draws (default: 0)",
    )
    parser.add_argument(
        "--figure-format", choices=FORMATS, default=FORMATS[0], metavar="FORMAT",
        help="png, or beside that for print pdf or svg: 160 mm wide, with text that can be "
        "selected (default: png)",
    )  # fmt: skip
    cli.add_import(parser)
    cli.add_quiet(parser)
    cli.add_debug(parser)
    given = cli.parsed(parser, argv)
    weights = given["inception_weights"]
    if weights and given["features"] not in (AUTO, "inception"):
        raise UsageError(
            f"--inception-weights goes with --features inception, received {given['features']}"
        )
    if weights and not files.is_file(weights):
        raise UsageError(f"--inception-weights: no such file: {weights}")
    names = ("num_draws", "features", "inception_weights", "num_samples", "seed", "figure_format")
    return given, {name: given.pop(name) for name in names}
