"""What an option is: declared once, by its owner; read alike from text and from Python."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kvae.errors import UsageError

MAX_SEED = 2**32 - 1  # of Keras, NumPy's old generator and scikit-learn


class Kind(NamedTuple):
    """How what was given becomes a value.

    Args:
        wanted: what is allowed, for the error message.
        read: of a text or of a value; raises ValueError or TypeError for what is not allowed.
    """

    wanted: str
    read: Callable[[Any], Any]


def _checked(value: Any, allowed: bool) -> Any:
    if not allowed:
        raise ValueError
    return value


def _whole(given: Any) -> int:
    value = int(_no_switch(given))
    return _checked(value, isinstance(given, str) or value == given)


def _no_switch(given: Any) -> Any:
    """True is 1 to Python, and to nobody who gives it."""
    return _checked(given, not isinstance(given, bool))


def whole_number(wanted: str, allowed: Callable[[int], bool]) -> Kind:
    """The kind of whole numbers that are allowed."""
    return Kind(wanted, lambda given: _checked(_whole(given), allowed(_whole(given))))


def number(wanted: str, allowed: Callable[[float], bool]) -> Kind:
    """The kind of finite numbers that are allowed."""

    def read(given: Any) -> float:
        value = float(_no_switch(given))
        return _checked(value, math.isfinite(value) and allowed(value))

    return Kind(wanted, read)


def text(wanted: str, allowed: Callable[[str], bool]) -> Kind:
    """The kind of texts that are allowed."""
    return Kind(wanted, lambda given: _checked(str(given), allowed(str(given))))


def _parts(given: Any) -> list[Any]:
    return given.split(",") if isinstance(given, str) else list(given)


def _read_names(given: Any) -> tuple[str, ...]:
    names = tuple(str(part).strip() for part in _parts(given))
    return _checked(names, all(names) and len({*names}) == len(names))


TEXT = text("a text that is not empty", bool)
ANY_TEXT = text("a text", lambda given: True)
SWITCH = Kind("yes or no", lambda given: _checked(given, isinstance(given, bool)))
COUNT = whole_number("a whole number of at least 0", lambda value: value >= 0)
POSITIVE_COUNT = whole_number("a whole number of at least 1", lambda value: value >= 1)
SEED = whole_number(f"a whole number from 0 to {MAX_SEED}", lambda value: 0 <= value <= MAX_SEED)
POSITIVE = number("a positive number", lambda value: value > 0)
NOT_NEGATIVE = number("a number of at least 0", lambda value: value >= 0)
UNITS = Kind(
    "whole numbers of at least 1 with commas between",
    lambda given: _checked(
        tuple(POSITIVE_COUNT.read(part) for part in _parts(given)), len(_parts(given)) > 0
    ),
)
NAMES = Kind("names with commas between, none of them twice", _read_names)


def read_seed(given: Any) -> int:
    """A seed that all generators take, 0 to 2^32 - 1; UsageError for what is none."""
    try:
        return SEED.read(given)
    except (ValueError, TypeError):
        raise UsageError(f"seed takes {SEED.wanted}; received {given!r}") from None


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

    @property
    def model_name(self) -> str:
        """Its name in `build_vae`."""
        return self.steps_name or self.name

    def read(self, given: Any, shown: str) -> Any:
        """The value of a text or of a value.

        Args:
            given: by the user.
            shown: what the user calls the option, for the error message.

        Raises:
            UsageError: it is not allowed.
        """
        if given is None and self.default is None:
            return None
        try:
            value = self.kind.read(given)
        except (ValueError, TypeError, OverflowError):
            raise UsageError(f"{shown} takes {self.kind.wanted}; received {given!r}") from None
        if self.choices is not None and self.choice_of(value) not in self.choices:
            raise UsageError(
                f"{shown}: choose one of {', '.join(self.choices)}; received {given!r}"
            )
        return value


def arguments(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that there are of some options, under the names that their member takes."""
    return {
        option.argument or option.model_name: values[option.name]
        for option in options
        if option.name in values
    }
