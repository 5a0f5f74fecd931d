"""What a search is of: fixed options, searched ones, and which combinations of them there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kvae.config import (
    MODEL_PARTS,
    NO_SAMPLER,
    OF_OUTPUT,
    OPTIONS,
    PARTS,
    PRESETS,
    Config,
    default_of,
    resolve,
    samplers_of,
)
from kvae.data import Dataset, key_of
from kvae.errors import UsageError
from kvae.options import flag
from kvae.registry import declared, options_of
from kvae.samplers import SAMPLERS
from kvae.training.keeping.comparing import card_of, chosen_by, goal_of, measured_by
from kvae.tune.space import FLAG, Dimension

_BASE = {option.name: option for group in OPTIONS.values() for option in group}


@dataclass(frozen=True)
class Plan:
    """A search before it begins.

    Args:
        given: the fixed options that the user gave, by name.
        preset: of all trials; None: the one with the dataset's name.
        space: what is searched.
        own: values of searched options that a file says, which stand before the preset's.
        shown: the name of an option as the user wrote it, for messages.

    Attributes:
        corners: combinations that stand for all of them: the file's or the preset's own, and of
            each option the ends or all choices.
        start: the first of them: the own values, unless they do not go together with the fixed
            ones.
        figure: of the valid split, by which trials compare: "elbo", or where the goal is another
            one "loss", which is lower the better.

    Raises:
        UsageError: an option that no combination has, no combination that there is, or combinations
            whose figures do not compare.
    """

    given: Mapping[str, Any]
    preset: str | None
    space: tuple[Dimension, ...]
    own: Mapping[str, Any] = field(default_factory=dict, compare=False)
    shown: Callable[[str], str] = field(default=flag, compare=False)
    corners: tuple[Config, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        corners = self._corners()
        object.__setattr__(self, "corners", tuple(corners))
        _check_comparable(corners, [one.name for one in self.space])
        if any(not corner.epochs for corner in corners):
            raise UsageError("--epochs 0 trains nothing that could be compared")

    @property
    def start(self) -> Config:
        """See the class."""
        return self.corners[0]

    @property
    def whose(self) -> str:
        """Whose the values of trial 0 are, in words."""
        return "the file's" if self.own else "the preset's"

    @property
    def figure(self) -> str:
        """See the class."""
        return chosen_by(self.start)

    def own_values(self) -> dict[str, Any]:
        """The values of searched options that the file or the preset has, of those that apply."""
        try:
            config = self.config(self.own)
        except UsageError:
            return {}
        parts = _parts_in(self.own)
        return {one.name: config.get(one.name, None) for one in self.space if self._has(one, parts)}

    def drawn(self, suggest: Callable[[Dimension], Any]) -> dict[str, Any]:
        """Values of the searched options: of parts first, then of what the chosen parts have.

        Args:
            suggest: gives the value of one.
        """
        parts = {one.name: suggest(one) for one in self.space if one.name in MODEL_PARTS}
        others = (one for one in self.space if one.name not in parts and self._has(one, parts))
        return parts | {one.name: suggest(one) for one in others}

    def config(self, values: Mapping[str, Any]) -> Config:
        """The run that has some values of the searched options.

        Args:
            values: option -> value.

        Raises:
            UsageError: they do not go together.
        """
        return resolve({**self._fixed(values), **values}, self.preset, shown=self.shown)

    def trial(self, values: Mapping[str, Any]) -> Config:
        """As `config`, without a sampler: it is fitted after training, and costs time."""
        return resolve({**self._of_trials(values), **values}, self.preset, shown=self.shown)

    def described(self, dataset: Dataset) -> dict[str, Any]:
        """What must be equal for a search to go on, JSON values: name -> value."""
        options = {**self.given, **self.start.to_dict()}
        of_data = self.start.own("dataset")  # the data speak for themselves
        # A search may move.
        left_out = {*of_data, *OF_OUTPUT, *(one.name for one in self.space)}
        return {
            **{flag(name): _text(value) for name, value in options.items() if name not in left_out},
            **{f"{FLAG} {one.name}": str(one) for one in self.space},
            **{f"own {flag(name)}": _text(value) for name, value in self.own.items()},
            **{f"{key} of the data": value for key, value in card_of(dataset).items()},
            "checksum of the data": measured_by(self.start, dataset)[:16],
        }

    def _fixed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What was given, but for options of parts that another choice leaves out."""
        chosen = _parts_in(values)
        if not chosen:
            return dict(self.given)
        samplers = {*samplers_of(self._part("sampler", {}))} & {*SAMPLERS}
        of_sampler = options_of(SAMPLERS[name] for name in samplers)
        return {
            name: value
            for name, value in self.given.items()
            if name in of_sampler or self._applies(name, chosen)
        }

    def _of_trials(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """As `_fixed`, without a sampler and what only that has."""
        of_samplers = {name for name, kinds in declared(PARTS).items() if "sampler" in kinds}
        of_parts = declared(MODEL_PARTS)
        kept = {
            name: value
            for name, value in self._fixed(values).items()
            if name not in of_samplers
            or (name in of_parts and self._applies(name, _parts_in(values)))
        }
        return {**kept, "sampler": NO_SAMPLER}

    def _has(self, one: Dimension, parts: Mapping[str, Any]) -> bool:
        return self._applies(one.name, parts)

    def _applies(self, name: str, parts: Mapping[str, Any]) -> bool:
        """Whether the chosen parts have an option; what no part has is said by `resolve`."""
        owners = declared(MODEL_PARTS).get(name)
        if owners is None:
            return True
        return any(self._part(kind, parts) in members for kind, members in owners.items())

    def _part(self, kind: str, parts: Mapping[str, Any]) -> str:
        dataset = self.given.get("dataset", _BASE["dataset"].default)
        preset = PRESETS.get(key_of(dataset) if self.preset is None else self.preset, {})
        usual: str = preset.get(kind, default_of(_BASE[kind]))
        return str(parts.get(kind, self.given.get(kind, usual)))

    def _corners(self) -> list[Config]:
        """Combinations that stand for all: of parts each, and each end of what they have."""
        found: list[Config] = []
        refused: list[UsageError] = []
        had: dict[str, bool] = {one.name: False for one in self.space}

        def look(values: Mapping[str, Any], *names: str) -> None:
            try:
                found.append(self.config(values))
                had.update(dict.fromkeys(names, True))
            except UsageError as error:
                refused.append(error)

        look(self.own)
        for parts in self._combinations():
            look(parts, *parts)
            for one in self.space:
                if one.name not in parts and self._has(one, parts):
                    for value in one.corners:
                        look({**parts, one.name: value}, one.name)
        self._check_all_apply()
        if not found:
            raise refused[0]
        for name, is_there in had.items():
            if not is_there:
                self._refuse(name)
        return found

    def _combinations(self) -> Iterator[dict[str, Any]]:
        parts = [one for one in self.space if one.name in MODEL_PARTS]
        for values in itertools.product(*(one.corners for one in parts)):
            yield dict(zip((one.name for one in parts), values, strict=True))

    def _check_all_apply(self) -> None:
        """Refuse fixed options that no combination of searched parts has."""
        combinations = [*self._combinations(), _parts_in(self.own)]
        for name in self.given:
            if not any(self._applies(name, parts) for parts in combinations):
                resolve({**self.given, **combinations[0]}, self.preset, shown=self.shown)

    def _refuse(self, name: str) -> None:
        """Say what is against an option that no combination takes."""
        one = next(one for one in self.space if one.name == name)
        told = None
        for parts in self._combinations():
            for value in one.corners:
                try:
                    resolve({**self._of_trials(parts), **parts, name: value}, self.preset)
                except UsageError as error:
                    told = told or error
        raise UsageError(f"{FLAG} {name}: {told}") from told


def _parts_in(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in MODEL_PARTS}


def _text(value: Any) -> Any:
    """A value as JSON gives it back."""
    return [*value] if isinstance(value, tuple) else value


def _check_comparable(corners: list[Config], searched: list[str]) -> None:
    """Refuse combinations whose figures of the valid split do not compare."""
    first = goal_of(corners[0])
    for other in corners:
        goal = goal_of(other)
        differing = {name for name in goal if name in searched or goal[name] != first.get(name)}
        for name in sorted(differing):
            option = "batch_size" if name == "rows" else name
            raise UsageError(
                f"{FLAG} {option}: figures of the valid split under one {flag(option)} and another "
                "do not compare; one search for each"
            )
