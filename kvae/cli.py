"""What all programs share: errors as one line, signals, and arguments of one kind."""

import argparse
import atexit
import gc
import io
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kvae import backend, own_files
from kvae.data import CACHE_FOLDERS
from kvae.errors import (
    DEBUGGING,
    KvaeError,
    Terminated,
    UsageError,
    brief,
    did_you_mean,
    escaped,
    terminate,
)
from kvae.options import TEXT, Kind, one_of, whole_range
from kvae.saying import let_reader_go, quiet

DEBUG, QUIET = "--debug", "--quiet"
_UNRECOGNIZED = "unrecognized arguments"  # as argparse begins a message of words of no option


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`; options are written out, and have `--debug`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)
        self._words: list[str] = []  # of the command line, but for values beside a "="

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UsageError: always.
        """
        known = self._known()
        for word in self._words:
            if word[:2] == "--" and word not in known:
                mark = "; " if word in message else f"; {word}: "
                message += did_you_mean(word, known, mark=mark)
        start, _, words = message.partition(": ")
        if start == _UNRECOGNIZED and words[:1] != "-":
            word = words.split(" ")[0]
            of_data = "--data-dir" if {*"./\\"} & {*word} else "--dataset"
            meant = next((name for name in ("--model", of_data) if name in known), None)
            message += f"; did you mean {meant} {word}?" if meant else ""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; an error of it names the option that may be meant by an unknown one."""
        words = (word.partition("=")[0] for word in args or ())
        self._words = [*itertools.takewhile(lambda word: word != "--", words)]
        return super().parse_known_args(args, namespace)

    def _known(self) -> list[str]:
        """The options of this program and of the command that was chosen."""
        options = [*self._option_string_actions]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen = [parser for name, parser in action.choices.items() if name in self._words]
                options += [option for parser in chosen for option in parser._option_string_actions]
        return options

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, one_of(map(str, action.choices), value))


def run(main: Callable[[list[str]], None]) -> int:
    """Run a program on the command line's arguments.

    Args:
        main: takes the arguments.

    Returns:
        The exit status: 0; 1 for a failure, 2 for wrong usage, 3 for what was made without a part
        that failed (a version without its sampler, an evaluation without a figure), 130 for an
        interruption, 141 for a reader that has gone, 143 for SIGTERM. An error is one line on
        standard error; with --debug it is raised instead, and so is one that would cost a part
        alone.
    """
    argv = sys.argv[1:]
    DEBUGGING.is_on = DEBUG in argv
    # A user's file may want all that Keras has, and its objects the collector at the end.
    backend.PROGRAM.is_on = not any(word.startswith(own_files.FLAG) for word in argv)
    if backend.PROGRAM.is_on:
        # At its end Python would look for garbage among all of TensorFlow, a second or two.
        atexit.register(gc.freeze)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a code page of Windows lacks most characters
    if DEBUG not in argv:
        # Its errors that matter are exceptions too; others are of what the machine has not.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    is_ours = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, terminate)
    try:
        with quiet(QUIET in argv):
            main(argv)
        return 0
    except KeyboardInterrupt as error:
        if DEBUG in argv:
            raise
        print("interrupted: nothing is left half-made", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130
    except BrokenPipeError:
        let_reader_go()
        return 141
    except Exception as error:
        if DEBUG in argv:
            raise
        if isinstance(error, KvaeError):
            message, status = str(error), error.exit_status
        else:
            message, status = f"{type(error).__name__}: {error}", 1
        lines = " ".join(line.strip() for line in message.splitlines())
        print(f"error: {escaped(lines)}", file=sys.stderr)
        if not isinstance(error, KvaeError):
            print(f"({DEBUG} shows where)", file=sys.stderr)
        return status
    finally:
        DEBUGGING.is_on = backend.PROGRAM.is_on = False
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def add_debug(parser: Any) -> None:
    """Add --debug to a parser or a group of one."""
    parser.add_argument(DEBUG, action="store_true", help="raise errors with their traceback")


def add_quiet(parser: Any) -> None:
    """Add --quiet to a parser or a group of one: `run` looks at it."""
    parser.add_argument(
        QUIET, action="store_true", help="print results alone, no progress; notes and errors stay"
    )


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> dict[str, Any]:
    """What a program is told, by name, but for options that are looked at before: --debug, ..."""
    given = vars(parser.parse_args(argv))
    given.pop("debug", None)
    given.pop("quiet", None)
    given.pop("import", None)
    return given


def add_import(parser: Any) -> None:
    """Add --import to a parser or a group of one, for --help: `own_files.taken` reads it."""
    parser.add_argument(own_files.FLAG, metavar="FILE", help=own_files.HELP)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model: a version, or where to look for the newest."""
    parser.add_argument(
        "--model", type=of_kind(TEXT), default="saved", metavar="DIR",
        help="saved/ (the newest version of any name), saved/NAME or saved/NAME/NUMBER "
        "(default: saved)",
    )  # fmt: skip


def add_moved_data(parser: argparse.ArgumentParser) -> None:
    """Add where the data of a version are now: --data-dir, --labels-file and --cache-dir."""
    parser.add_argument(
        "--data-dir", metavar="PATH",
        help="copy of the dataset (folder or file), if it moved since training",
    )  # fmt: skip
    parser.add_argument(
        "--labels-file", metavar="FILE", help="labels of a folder of images, if they moved"
    )
    parser.add_argument(
        "--cache-dir", metavar="DIR",
        help="where decoded images are kept, wherever training kept them (default: "
        f"{CACHE_FOLDERS.replace('%', '%%')})",
    )  # fmt: skip


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least` to `most`."""
    return of_kind(whole_range(least, most))


def of_kind(kind: Kind) -> Callable[[str], Any]:
    """A type of argument: values of some kind."""

    def parse(text: str) -> Any:
        try:
            return kind.read(text)
        except (ValueError, TypeError, OverflowError):
            raise argparse.ArgumentTypeError(
                f"{kind.wanted} is wanted, received {brief(text)}{did_you_mean(text, kind.names)}"
            ) from None

    return parse
