"""What an option is: declared once, by its owner; read alike from text and from Python."""

import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kvae.errors import UsageError, brief, did_you_mean

MAX_SEED = 2**32 - 1  # of Keras, NumPy's old generator and scikit-learn
MAX_COUNT = 2**31 - 1  # of int32, in which steps, rows and places are counted
#: The least and the largest factor of a loss: Adam squares gradients, and float32 ends at 3e38.
SMALLEST, LARGEST = 1e-15, 1e15
MAX_UNITS, MAX_LAYERS = 10**6, 100
_PLACE = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Kind(NamedTuple):
    """How what was given becomes a value.

    Args:
        wanted: what is allowed, for the error message.
        read: of a text or of a value; raises ValueError or TypeError for what is not allowed.
        names: that may be meant by another text.
        is_like: whether a value of JSON is one of this kind, perhaps out of range: another version
            of kvae may have written it.
    """

    wanted: str
    read: Callable[[Any], Any]
    names: Collection[str] = ()
    is_like: Callable[[Any], bool] = lambda value: True


def _checked(value: Any, allowed: bool) -> Any:
    if not allowed:
        raise ValueError
    return value


def is_text(value: Any) -> bool:
    """Whether a value of JSON is a text."""
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number that float64 holds; True is none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_whole(value: Any) -> bool:
    return type(value) is int and is_number(value)


def _list_of(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_one, value))


def _numeral(given: Any, written: re.Pattern[str]) -> Any:
    """What Python may make a number of: not all that it would."""
    if isinstance(given, str):  # no "1_000", no digits of other scripts
        return _checked(given.strip(), bool(written.fullmatch(given.strip())))
    # True is 1 to Python, and to nobody who gives it.
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    return _checked(given, not isinstance(given, bool | bytes | bytearray) and kind != "b")


def _whole(given: Any) -> int:
    value = int(_numeral(given, _WHOLE))
    return _checked(value, isinstance(given, str) or value == given)


def whole_number(wanted: str, allowed: Callable[[int], bool]) -> Kind:
    """The kind of whole numbers that are allowed."""
    return Kind(
        wanted, lambda given: _checked(_whole(given), allowed(_whole(given))), is_like=_is_whole
    )


def whole_range(least: int, most: int) -> Kind:
    """The kind of whole numbers from `least` to `most`."""
    return whole_number(
        f"a whole number from {least} to {most}", lambda value: least <= value <= most
    )


def number(wanted: str, allowed: Callable[[float], bool]) -> Kind:
    """The kind of finite numbers that are allowed."""

    def read(given: Any) -> float:
        value = float(_numeral(given, _NUMBER))
        return _checked(value, math.isfinite(value) and allowed(value))

    return Kind(wanted, read, is_like=is_number)


def number_range(least: float, most: float) -> Kind:
    """The kind of numbers from `least` to `most`."""
    return number(f"a number from {least:g} to {most:g}", lambda value: least <= value <= most)


def text(wanted: str, allowed: Callable[[str], bool], names: Collection[str] = ()) -> Kind:
    """The kind of texts that are allowed, some of which have `names`."""
    return Kind(
        wanted, lambda given: _checked(str(given), allowed(str(given))), names, is_like=is_text
    )


def _parts(given: Any) -> list[Any]:
    if isinstance(given, bytes | bytearray | set | frozenset | dict):
        raise TypeError  # no text, or in no order
    return given.split(",") if isinstance(given, str) else list(given)


def _read_names(given: Any) -> tuple[str, ...]:
    names = tuple(str(part).strip() for part in _parts(given))
    return _checked(names, all(map(_is_visible, names)) and len({*names}) == len(names))


def _is_visible(name: str) -> bool:
    return bool(name) and name.isprintable()


TEXT = text("a text that is not empty", bool)
ANY_TEXT = text("a text", lambda given: True)
SWITCH = Kind(
    "yes or no",
    lambda given: _checked(given, isinstance(given, bool)),
    is_like=lambda value: isinstance(value, bool),
)
COUNT = whole_number(
    f"a whole number of at least 0 and at most {MAX_COUNT}", lambda value: 0 <= value <= MAX_COUNT
)
POSITIVE_COUNT = whole_number(
    f"a whole number of at least 1 and at most {MAX_COUNT}", lambda value: 1 <= value <= MAX_COUNT
)
SEED = whole_range(0, MAX_SEED)
POSITIVE = number(
    f"a positive number from {SMALLEST:g} to {LARGEST:g}",
    lambda value: SMALLEST <= value <= LARGEST,
)
NOT_NEGATIVE = number(
    f"a number of at least 0: 0, or from {SMALLEST:g} to {LARGEST:g}",
    lambda value: value == 0 or SMALLEST <= value <= LARGEST,
)
_UNIT = whole_range(1, MAX_UNITS)
UNITS = Kind(
    f"whole numbers of at least 1 and at most {MAX_UNITS} with commas between, {MAX_LAYERS} of "
    "them at most",
    lambda given: _checked(
        tuple(_UNIT.read(part) for part in _parts(given)), 0 < len(_parts(given)) <= MAX_LAYERS
    ),
    is_like=_list_of(_is_whole),
)
NAMES = Kind(
    "printable names with commas between, none of them twice", _read_names,
    is_like=_list_of(is_text),
)  # fmt: skip
NAME = text("a printable name", _is_visible)
PLACE = text("a path without control characters", lambda given: bool(_PLACE.fullmatch(given)))


def read(kind: Kind, given: Any, named: str) -> Any:
    """A value of some kind.

    Args:
        kind: of the value.
        given: by the user.
        named: what the user calls it, for the error message.

    Raises:
        UsageError: it is not allowed.
    """
    try:
        return kind.read(given)
    except (ValueError, TypeError, OverflowError):
        nearest = did_you_mean(str(given), kind.names) if kind.names else ""
        raise UsageError(f"{named} takes {kind.wanted}; received {brief(given)}{nearest}") from None


def read_seed(given: Any) -> int:
    """A seed that all generators take, 0 to 2^32 - 1; UsageError for what is none."""
    return read(SEED, given, "seed")


def one_of(choices: Iterable[str], given: Any, *, chosen: Any = None) -> str:
    """The end of a message about what is no choice: those that there are, and the nearest.

    Args:
        choices: names.
        given: by the user.
        chosen: what was looked for among the choices; None: `given`.
    """
    names = [*choices]
    nearest = did_you_mean(str(given if chosen is None else chosen), names)
    return f"choose one of {', '.join(names)}; received {brief(given)}{nearest}"


def flag(name: str) -> str:
    """An option as the command line calls it."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Option:
    """One option of a run, or of the member that declares it.

    Args:
        name: with underscores, as an attribute of `kvae.config.Config`.
        default: its value where nobody says anything; None: none, which may be given too.
        help: its line of `--help`, without the members that it is of and without its default.
        kind: what is allowed.
        choices: all values that it may have; anything with `in` that can be iterated.
        metavar: what stands for its value in `--help`.
        steps_name: its name in `build_vae`, where it counts steps, of an option that counts epochs.
        argument: its name where the member takes it, if that is another.
        choice_of: which of the choices a value is, where values say more than that.
        bare: its value where the command line has it without one; "": it needs one.
        before: what runs of releases without it did, its value; None: no value does that.
    """

    name: str
    default: Any
    help: str
    kind: Kind = TEXT
    choices: Collection[str] | None = None
    metavar: str = "NAME"
    steps_name: str = ""
    argument: str = ""
    choice_of: Callable[[str], str] = str
    bare: str = ""
    before: Any = None

    @property
    def model_name(self) -> str:
        """Its name in `build_vae`."""
        return self.steps_name or self.name

    def read(self, given: Any, named: str) -> Any:
        """The value of a text or of a value.

        Args:
            given: by the user.
            named: what the user calls the option, for the error message.

        Raises:
            UsageError: it is not allowed.
        """
        if given is None and self.default is None:
            return None
        value = read(self.kind, given, named)
        if self.choices is not None and self.choice_of(value) not in self.choices:
            chosen = self.choice_of(value)
            raise UsageError(f"{named}: {one_of(self.choices, given, chosen=chosen)}")
        return value


def arguments(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that there are of some options, under the names that their member takes."""
    return {
        option.argument or option.model_name: values[option.name]
        for option in options
        if option.name in values
    }
