"""What a registry of parts holds: a line of help, a way to import the part, its own options."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kvae.errors import UsageError, brief, did_you_mean
from kvae.options import Option

#: The help of a member that stands for an object, while a run with it lasts.
GIVEN = "an object, given in Python"


@dataclass(frozen=True)
class Member:
    """One choice of a kind of part.

    Args:
        help: one line for `--help`.
        load: imports and returns the part, so that listing the choices imports nothing heavy.
        options: what this choice can be told beyond what all of its kind are.
    """

    help: str
    load: Callable[[], Any]
    options: tuple[Option, ...] = ()


#: kind -> its registry. A registry is a plain dict, and read anew each time: it may grow.
Registries = Mapping[str, Mapping[str, Member]]
Facts = TypeVar("Facts", bound=Member)


def member_of(registry: Mapping[str, Member], name: str, kind: str) -> Member:
    """The member called `name`. Arguments and error as for `find`."""
    if not isinstance(name, str) or name not in registry:
        nearest = did_you_mean(str(name), registry)
        raise UsageError(
            f"unknown {kind} {brief(name)}: choose one of {', '.join(registry)}{nearest}"
        )
    return registry[name]


def find(registry: Mapping[str, Member], name: str, kind: str) -> Any:
    """Import and return the member called `name`.

    Args:
        registry: name -> Member.
        name: the member asked for.
        kind: what the members are, for the error message ("dataset", "prior", ...).

    Raises:
        UsageError: there is no such member.
    """
    return member_of(registry, name, kind).load()


def facts_of(member: Member, kind: type[Facts]) -> Facts:
    """A member with the facts of its kind, which are the defaults' if it is a plain `Member`."""
    if isinstance(member, kind):
        return member
    return kind(member.help, member.load, member.options)


def declared(registries: Registries) -> dict[str, dict[str, dict[str, Option]]]:
    """All options of all members: option name -> kind -> member -> its declaration."""
    found: dict[str, dict[str, dict[str, Option]]] = {}
    for kind, registry in registries.items():
        for name, member in registry.items():
            for option in member.options:
                found.setdefault(option.name, {}).setdefault(kind, {})[name] = option
    return found


def options_of(members: Iterable[Member]) -> dict[str, Option]:
    """The options of some members, by name.

    Raises:
        UsageError: two of them mean different things by one name.
    """
    found: dict[str, Option] = {}
    for member in members:
        for option in member.options:
            if found.setdefault(option.name, option) != option:
                raise UsageError(f"two of the chosen parts have different options {option.name!r}")
    return found


def refuse_others(
    given: Iterable[str],
    registries: Registries,
    chosen: Mapping[str, Collection[str]],
    *,
    others: Collection[str] = (),
    name_of: Callable[[Option], str],
    shown: Callable[[str], str],
    typed: Collection[str] | None = None,
) -> None:
    """Refuse options that no chosen member would read.

    Args:
        given: names of options.
        registries: kind -> registry.
        chosen: kind -> the members that were chosen.
        others: names of options that are no member's.
        name_of: the name that an option is given by.
        shown: a name of an option or a kind as the user writes it.
        typed: the kinds whose members the user chose, not a preset or a default; None: all.

    Raises:
        UsageError: an option is that of other members, or of none.
    """
    owners = {
        name_of(next(iter(next(iter(kinds.values())).values()))): kinds
        for kinds in declared(registries).values()
    }

    def own(kind: str) -> list[str]:
        return [name for name, kinds in owners.items() if {*kinds.get(kind, ())} & {*chosen[kind]}]

    allowed = [*others, *(name for kind in registries for name in own(kind))]
    for name in given:
        if name in allowed:
            continue
        if name not in owners:
            choices = f"choose one of {', '.join(allowed)}" if allowed else "there are none here"
            hint = did_you_mean(name, [*allowed, *owners], shown, ": ") or f": {choices}"
            raise UsageError(f"unknown option {brief(name)}{hint}")
        kinds = owners[name]
        wanted = " or ".join(f"{shown(kind)} {_listed([*kinds[kind]])}" for kind in kinds)
        received = " and ".join(
            f"{_received(shown(kind), chosen[kind], typed is None or kind in typed)}"
            f"{_having(map(shown, own(kind)))}"
            for kind in kinds
        )
        raise UsageError(f"{shown(name)} applies to {wanted} alone, received {received}")


def _received(kind: str, chosen: Collection[str], is_typed: bool) -> str:
    names = _listed([*chosen]) or "none"
    return f"{kind} {names}" if is_typed else f"no {kind}, which makes it {names}"


def _having(options: Iterable[str]) -> str:
    listed = ", ".join(options)
    return f" (which has {listed})" if listed else ""


def _listed(names: list[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} or {last}" if first else last
