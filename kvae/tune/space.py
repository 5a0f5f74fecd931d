"""What is searched: a range or some values of each option, as `--search NAME=...` says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kvae.config import OF_OUTPUT, OPTIONS, PARTS
from kvae.errors import UsageError, brief, did_you_mean
from kvae.options import Option, flag
from kvae.registry import declared

FLAG = "--search"
SYNTAX = "NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=VALUE,VALUE"
_DOTS, _LOG = "..", ":log"
_SWITCH = {"yes": True, "no": False}
_WIDE = 10.0  # from this factor on trials over a range of an even scale leave its low end out

#: Options that are not searched, and why. Those of data and samplers come from their registries.
_WHY_NOT = {
    "seed": "the best of several seeds is luck, not a better model",
    "backend": "one process computes with one backend",
    "devices": "it changes no figure, and a process has as many as it started with",
    **dict.fromkeys(OF_OUTPUT, "it says what is written where, and changes no result"),
    "init_from": "weights that have seen other rows leave others out of the valid split",
}
_OF_DATA = "figures of different data do not compare; one search for each"
_OF_SAMPLERS = "samplers are fitted after training, and no figure of the valid split is of them"


class Range(NamedTuple):
    """Numbers from `low` to `high`, both of them allowed; whole ones where both are whole.

    Args:
        name: of the option.
        low: the least.
        high: the largest.
        log: whether trials lie evenly on a scale of logarithms.
    """

    name: str
    low: float
    high: float
    log: bool = False

    @property
    def corners(self) -> tuple[Any, ...]:
        """Values that stand for all of them."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether a value of the option is one of these."""
        kinds = (int,) if isinstance(self.low, int) else (int, float)
        return type(value) in kinds and self.low <= value <= self.high

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial has."""
        ask = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return ask(self.name, self.low, self.high, log=self.log)

    def stored(self, value: Any) -> Any:
        """A value as Optuna keeps it."""
        return value

    def __str__(self) -> str:
        return f"{self.low}{_DOTS}{self.high}{_LOG if self.log else ''}"

    @property
    def hint(self) -> str:
        """What may be meant otherwise; "" where nothing may."""
        if self.log or not self.high >= _WIDE * self.low > 0:
            return ""
        return f"evenly; {self}{_LOG} has as many trials in each order of magnitude"


class Choices(NamedTuple):
    """Some values of an option.

    Args:
        name: of the option.
        values: at least two, each once.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def corners(self) -> tuple[Any, ...]:
        """Values that stand for all of them: all."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether a value of the option is one of these."""
        return any(type(one) is type(value) and one == value for one in self.values)

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial has."""
        kept = [self.stored(value) for value in self.values]
        return self.values[kept.index(trial.suggest_categorical(self.name, kept))]

    def stored(self, value: Any) -> Any:
        """A value as Optuna keeps it: a tuple as text."""
        return shown(value) if isinstance(value, tuple) else value

    def __str__(self) -> str:
        between = "/" if isinstance(self.values[0], tuple) else ","
        return between.join(map(shown, self.values))

    @property
    def hint(self) -> str:
        """See `Range.hint`: ""."""
        return ""


Dimension = Range | Choices


def shown(value: Any) -> str:
    """A value as `--search` takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read(texts: Iterable[str], given: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """What the user's texts say.

    Args:
        texts: of `--search`.
        given: the options that are fixed, by name.

    Raises:
        UsageError: a text says nothing that can be searched; the message says which and why.
    """
    found: dict[str, Dimension] = {}
    for text in texts:
        one = _read(text)
        if one.name in found:
            raise UsageError(f"{FLAG} {one.name} is given twice: {found[one.name]} and {one}")
        if one.name in given:
            raise UsageError(
                f"{one.name} is either searched or fixed: received {FLAG} {one.name}={one} and "
                f"{flag(one.name)} {shown(given[one.name])}"
            )
        found[one.name] = one
    if not found:
        raise UsageError(
            f"{FLAG} says what to search, {SYNTAX}, and none is given; for example {FLAG} "
            "learning_rate=1e-4..1e-2:log"
        )
    return tuple(found.values())


def _read(text: str) -> Dimension:
    name, equals, said = text.partition("=")
    name = name.strip().replace("-", "_")
    if not (name and equals and said.strip()):
        raise UsageError(f"{FLAG} takes {SYNTAX}; received {brief(text)}")
    option = _option(name)
    named = f"{FLAG} {name}"
    return _range(option, said, named) if _DOTS in said else _choices(option, said, named)


def _option(name: str) -> Option:
    known = {option.name: option for group in OPTIONS.values() for option in group}
    of_parts = declared(PARTS)
    for own, kinds in of_parts.items():
        known.setdefault(own, next(option for of in kinds.values() for option in of.values()))
    if name not in known:
        raise UsageError(
            f"{FLAG} takes an option of train.py, which kvae train --help lists; received "
            f"{brief(name)}{did_you_mean(name, known)}"
        )
    owners = [*of_parts.get(name, ())]
    if owners == ["dataset"] or any(option.name == name for option in OPTIONS["data"]):
        raise UsageError(f"{FLAG} {name}: {_OF_DATA}")
    if owners == ["sampler"] or name == "sampler":
        raise UsageError(f"{FLAG} {name}: {_OF_SAMPLERS}")
    if name in _WHY_NOT:
        raise UsageError(f"{FLAG} {name}: {_WHY_NOT[name]}; {flag(name)} fixes it for all trials")
    return known[name]


def _range(option: Option, said: str, named: str) -> Range:
    log = said.endswith(_LOG)
    texts = said.removesuffix(_LOG).split(_DOTS, 1)
    if texts[1].startswith(".") or ":" in texts[1]:
        raise UsageError(f"{named}: {SYNTAX} is wanted, received {brief(said)}")
    low, high = (option.read(text.strip(), named) for text in texts)
    if not all(type(value) in (int, float) for value in (low, high)):
        raise UsageError(
            f"{named}: a range is for options that are numbers; received {brief(said)}: name the "
            "values, with commas between"
        )
    if not low < high:
        raise UsageError(f"{named}: the low end of a range comes first, received {brief(said)}")
    if log and low <= 0:
        raise UsageError(
            f"{named}: a range by logarithms begins above 0, received {brief(said)}"
        )  # fmt: skip
    return Range(option.name, low, high, log)


def _choices(option: Option, said: str, named: str) -> Choices:
    if said.endswith(_LOG):
        raise UsageError(
            f"{named}: {_LOG} stands behind a range, LOW..HIGH; received {brief(said)}"
        )
    # Lists of numbers have commas of their own.
    texts = [text.strip() for text in said.split("/" if _is_list(option) else ",")]
    if isinstance(option.default, bool):
        if wrong := [text for text in texts if text not in _SWITCH]:
            raise UsageError(f"{named} takes {','.join(_SWITCH)}; received {brief(wrong[0])}")
        values = [_SWITCH[text] for text in texts]
    else:
        values = [option.read(text, named) for text in texts]
    if len(values) < 2:
        between = ", '/' between them" if _is_list(option) else ""
        raise UsageError(
            f"{named}: a choice is of two values at least{between}; {flag(option.name)} fixes one "
            f"for all trials; received {brief(said)}"
        )
    if twice := [value for place, value in enumerate(values) if value in values[:place]]:
        raise UsageError(f"{named}: {shown(twice[0])} stands there twice, received {brief(said)}")
    return Choices(option.name, tuple(values))


def _is_list(option: Option) -> bool:
    return isinstance(option.default, tuple)
