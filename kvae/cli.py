"""The command line: options from Config, errors as one line."""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from kvae.config import OPTIONS, PARTS, PRESETS, Config, default_of, resolve
from kvae.errors import KvaeError, UsageError
from kvae.features import AUTO, FEATURES
from kvae.options import MAX_SEED, Option, flag
from kvae.registry import declared

_DEBUG = "--debug"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class _Terminated(KeyboardInterrupt):
    """SIGTERM ends a program as Ctrl-C does: it cleans up and has its last words."""


def _terminate(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
    raise _Terminated


def run(main: Callable[[list[str]], None]) -> int:
    """Run a program on the command line's arguments.

    Args:
        main: takes the arguments.

    Returns:
        The exit status: 0; 1 for a failure, 2 for wrong usage, 130 for an interruption, 143 for
        SIGTERM. An error is one line on standard error; with --debug it is raised instead.
    """
    argv = sys.argv[1:]
    if _DEBUG not in argv:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    is_ours = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        main(argv)
        return 0
    except KeyboardInterrupt as error:
        if _DEBUG in argv:
            raise
        print("interrupted: nothing half-made was published", file=sys.stderr)
        return 143 if isinstance(error, _Terminated) else 130
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if _DEBUG in argv:
            raise
        if isinstance(error, KvaeError):
            message, status = str(error), error.exit_status
        else:
            message, status = f"{type(error).__name__}: {error}", 1
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
        if not isinstance(error, KvaeError):
            print(f"({_DEBUG} shows where)", file=sys.stderr)
        return status
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def quiet_import(name: str) -> Any:
    """Import a module that imports TensorFlow, without TensorFlow's lines about absent GPUs.

    They come from C++ before any of its log levels is read. Where there is an NVIDIA device, or
    the import fails, they are shown.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    succeeded = False
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            module = import_module(name)
            import_module("tensorflow").config.list_physical_devices()
            succeeded = True
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            if not succeeded or Path("/dev/nvidia0").exists():
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))
    return module


def training_arguments(argv: Sequence[str]) -> tuple[Config, bool]:
    """Read the arguments of train.py.

    Returns:
        The configuration, and whether this is a dry run.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = _Parser(
        prog="train.py",
        description="Train a variational autoencoder and publish it as a SavedModel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_epilog(),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--preset", choices=PRESETS, metavar="NAME",
        help=f"a set of values for the options below: {', '.join(PRESETS)} "
        "(default: the one with the dataset's name)",
    )  # fmt: skip
    of_parts = declared(PARTS)
    for name, options in OPTIONS.items():
        group = parser.add_argument_group(name)
        for option in options:
            _add(group, option, {})
            for own in [own for own, kinds in of_parts.items() if option.name in kinds]:
                owners = of_parts.pop(own)
                _add(group, next(iter(owners[option.name].values())), owners)
    other = parser.add_argument_group("other")
    other.add_argument(
        "--dry-run", action="store_true",
        help="print the configuration, the model and the time of an epoch, and stop",
    )  # fmt: skip
    other.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    given = vars(parser.parse_args(argv))
    given.pop("debug", None)
    dry_run, preset = given.pop("dry_run", False), given.pop("preset", None)
    return resolve(given, preset), dry_run


def training_command(config: Config) -> str:
    """What to type for a run with these options."""
    usual = resolve({"dataset": config.dataset})
    words = ["python", "train.py", "--dataset", config.dataset]
    for name, value in config.to_dict().items():
        if value == usual.get(name, default_of(config.option(name))):
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [flag(name), text]
    return shlex.join(words)


def evaluation_arguments(argv: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arguments of evaluate.py.

    Returns:
        Keyword arguments of `kvae.evaluation.prepare` and of `kvae.evaluation.evaluate`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = _Parser(
        prog="evaluate.py",
        description="Measure a published model and draw its figures, through its SavedModel alone.",
        allow_abbrev=False,
    )
    _add_model(parser)
    parser.add_argument(
        "--data-dir",
        metavar="PATH",
        help="copy of the dataset (folder or file), if it moved since training",
    )
    parser.add_argument(
        "--labels-file", metavar="FILE", help="labels of a folder of images, if they moved"
    )
    parser.add_argument(
        "--cache-dir", metavar="DIR",
        help="where decoded images are kept (default: ~/.cache/kvae, wherever training kept them)",
    )  # fmt: skip
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder to write to, instead of saved/NAME/evaluation/NUMBER",
    )
    parser.add_argument("--color-by", metavar="LABEL", help="label that colours the latent map")
    parser.add_argument(
        "--num-draws", type=_whole(1, 10**6), default=500, metavar="K",
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
        "--num-samples", type=_whole(100, 10**6), metavar="N",
        help="images in a set of samples, and test images that they are held against, at most "
        "(default: 10000)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=_whole(0, MAX_SEED), default=0, metavar="N", help="of all draws (default: 0)"
    )
    parser.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    given = vars(parser.parse_args(argv))
    given.pop("debug")
    weights = given["inception_weights"]
    if weights and given["features"] not in (AUTO, "inception"):
        raise UsageError(
            f"--inception-weights goes with --features inception, received {given['features']}"
        )
    if weights and not Path(weights).is_file():
        raise UsageError(f"--inception-weights: no such file: {weights}")
    names = ("num_draws", "features", "inception_weights", "num_samples", "seed")
    return given, {name: given.pop(name) for name in names}


def inspection_arguments(argv: Sequence[str]) -> dict[str, Any]:
    """Read the arguments of python -m kvae.data.

    Returns:
        Keyword arguments of `kvae.inspection.inspect`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = _Parser(
        prog="python -m kvae.data",
        description="Look at every image of a source, and report what a training would find.",
        allow_abbrev=False,
    )
    parser.add_argument("--data-dir", metavar="PATH", help="folder, zip or parquet file")
    parser.add_argument(
        "--dataset", default="", metavar="NAME",
        help="celeba, folder or tfds:NAME (default: celeba where it is recognised, else folder)",
    )  # fmt: skip
    parser.add_argument("--crop", default="", metavar="CROP", help="as for train.py")
    parser.add_argument(
        "--image-size", type=_whole(8, 512), default=64, metavar="PIXELS",
        help="of the images on the sheet (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), default=3, metavar="N", help="as for train.py"
    )
    parser.add_argument("--labels-file", metavar="FILE", help="as for train.py")
    parser.add_argument(
        "--split-seed", type=_whole(0, MAX_SEED), default=0, metavar="N", help="as for train.py"
    )
    parser.add_argument(
        "--sheet", default="contact_sheet.png", metavar="FILE",
        help="PNG of 60 images as training would see them (default: contact_sheet.png)",
    )  # fmt: skip
    parser.add_argument(
        "--json", dest="json_file", metavar="FILE",
        help="write the report there (.json), with every unreadable image",
    )  # fmt: skip
    parser.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    given = vars(parser.parse_args(argv))
    given.pop("debug")
    return given


def publish_arguments(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Read the arguments of python -m kvae.publish.

    Returns:
        The command, and its arguments in `kvae.publish.commands.COMMANDS`.

    Raises:
        UsageError: an unknown command or option, or a value that is not allowed.
    """
    parser = _Parser(
        prog="python -m kvae.publish",
        description="Look after the models in saved/, which TF Serving reads.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *, model: str = "") -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if model:
            where = "saved/NAME" if model == "MODEL" else "saved/NAME or saved/NAME/NUMBER"
            one.add_argument("model", metavar=model, help=where)
        return one

    one = add("from-keras", "publish a .keras file of a kvae.VAE as a new version")
    one.add_argument(
        "file", metavar="FILE", help="for example saved/gmm/1/assets.extra/model.keras"
    )
    one.add_argument("--name", required=True, help="of the model: saved/NAME/")
    one.add_argument("--save", default="saved", metavar="DIR", help="(default: saved)")
    one.add_argument(
        "--like", metavar="VERSION",
        help="a published version trained on the same data: its configuration and data card are "
        "taken over (default: the version that FILE lies in, if it does)",
    )  # fmt: skip
    one.add_argument("--crop", metavar="CROP", help="as for train.py, where there is no version")
    one = add("list", "list what is published")
    one.add_argument("save", nargs="?", default="saved", metavar="DIR", help="(default: saved)")
    add(
        "verify", "hold files, signatures and answers of a version against its publication",
        model="VERSION",
    )  # fmt: skip
    one = add("prune", "remove old versions, but for those that models.config pins", model="MODEL")
    one.add_argument(
        "--keep", type=_whole(1, 10**6), required=True, metavar="N", help="newest ones that stay"
    )
    one = add("rollback", "publish an older version again, as the newest", model="MODEL")
    one.add_argument("--to", type=_whole(1, 10**9), required=True, metavar="NUMBER")
    one = add("config", "write saved/models.config anew")
    one.add_argument("save", nargs="?", default="saved", metavar="DIR", help="(default: saved)")
    one.add_argument(
        "--root", metavar="PATH",
        help="where the server finds saved/ (default: as the file says, else /models)",
    )  # fmt: skip
    for one in commands.choices.values():
        one.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    given = vars(parser.parse_args(argv))
    given.pop("debug")
    return given.pop("command"), given


def encode_arguments(argv: Sequence[str]) -> dict[str, Any]:
    """Read the arguments of python -m kvae.encode.

    Returns:
        Keyword arguments of `kvae.encode.encode`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    from kvae.encode import SIGNATURES

    parser = _Parser(
        prog="python -m kvae.encode",
        description="Run a published model on every row of a source, into a parquet file. "
        "Interrupted, the same command goes on where it was.",
        allow_abbrev=False,
    )
    _add_model(parser)
    parser.add_argument(
        "--input", dest="source", required=True, metavar="PATH",
        help="a folder or zip of images; or .parquet, .tfrecord or .npy, a file or a folder",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FILE", help="to write, .parquet")
    _add_signature(parser, SIGNATURES)
    parser.add_argument(
        "--batch-size", type=_whole(1, 10**6), default=256, metavar="N",
        help="rows handed to the model at a time (default: 256)",
    )  # fmt: skip
    parser.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    given = vars(parser.parse_args(argv))
    given.pop("debug")
    return given


def beam_arguments(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the arguments of python -m kvae.encode.beam.

    Returns:
        Keyword arguments of `kvae.encode.beam.run`, and those that are Beam's.

    Raises:
        UsageError: a value that is not allowed.
    """
    from kvae.encode import SIGNATURES

    parser = _Parser(
        prog="python -m kvae.encode.beam",
        description="The work of python -m kvae.encode as an Apache Beam pipeline. All further "
        "options are Beam's, such as --runner.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="folder of a version: saved/NAME/NUMBER"
    )
    parser.add_argument(
        "--input", dest="source", required=True, metavar="PATH",
        help="a folder of images; or .parquet, .tfrecord or .npy, a file or a folder",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, metavar="PREFIX",
        help="what the files to write start with: PREFIX-00000-of-0000N.parquet",
    )  # fmt: skip
    _add_signature(parser, SIGNATURES)
    parser.add_argument(_DEBUG, action="store_true", help="raise errors with their traceback")
    known, rest = parser.parse_known_args(argv)
    given = vars(known)
    given.pop("debug")
    return given, rest


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="saved", metavar="DIR",
        help="saved/ (the newest version of any name), saved/NAME or saved/NAME/NUMBER "
        "(default: saved)",
    )  # fmt: skip


def _add_signature(parser: argparse.ArgumentParser, signatures: Sequence[str]) -> None:
    parser.add_argument(
        "--signature", choices=signatures, default=signatures[0],
        help="encode: mean and variance of the posterior; score: elbo, distortion and rate, which "
        "are low, high and high of rows unlike the training data (default: encode)",
    )  # fmt: skip


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"a whole number from {least} to {most} is wanted, received {text!r}"
            )
        return int(text)

    return parse


#: kind -> member -> its declaration of an option.
_Owners = dict[str, dict[str, Option]]


def _add(group: Any, option: Option, owners: _Owners) -> None:
    """Add an option that is no part's own, or that of its `owners`."""
    help_text = option.help
    if option.choices is not None:
        help_text += f": {', '.join(option.choices)}"
    if owners:
        help_text += f"; of {' and '.join(_named(kind, owners[kind]) for kind in owners)}"
    help_text = (help_text + _default_text(option, owners)).replace("%", "%%")
    if isinstance(option.default, bool):
        group.add_argument(flag(option.name), action=argparse.BooleanOptionalAction, help=help_text)
    else:
        group.add_argument(flag(option.name), metavar=option.metavar, help=help_text)


def _named(kind: str, members: dict[str, Option]) -> str:
    several = "s" if len(members) > 1 else ""
    return f"the {kind}{several} {', '.join(map(repr, members))}"


def _default_text(option: Option, owners: _Owners) -> str:
    by_preset = option.name != "dataset" and any(option.name in own for own in PRESETS.values())
    defaults: dict[str, list[str]] = {}
    for members in owners.values() or ({"": option},):
        for member, own in members.items():
            defaults.setdefault(_shown(default_of(own)), []).append(member)
    several = len(defaults) > 1
    text = ", ".join(
        f"{value} ({', '.join(members)})" if several else value
        for value, members in defaults.items()
    )
    if not text:
        return " (default: the preset's)" if by_preset else ""
    return f" (default: the preset's, or {text})" if by_preset else f" (default: {text})"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _epilog() -> str:
    """The registries' own lines, and what each preset sets."""
    lines = []
    for option in (option for group in OPTIONS.values() for option in group):
        members = option.choices.items() if isinstance(option.choices, Mapping) else ()
        rows = [(name, member.help) for name, member in members]
        if rows:
            lines += [f"{flag(option.name)}:", *(f"  {name:20} {text}" for name, text in rows), ""]
    lines.append("presets (the command line beats them):")
    for name, values in PRESETS.items():
        lines.append(f"  {name:16}{_wrapped(values)}")
    return "\n".join(lines)


def _wrapped(values: dict[str, Any]) -> str:
    text = "  ".join(f"{key}={value}" for key, value in values.items())
    return ("\n" + " " * 18).join(textwrap.wrap(text, 78))
