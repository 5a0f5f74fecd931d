"""What a registry of parts holds: one line of help and a way to import the part when needed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvae.errors import UsageError


class Member(NamedTuple):
    """One choice of a kind of part.

    Args:
        help: one line for `--help`.
        load: imports and returns the part, so that listing the choices imports nothing heavy.
    """

    help: str
    load: Callable[[], Any]


def find(registry: Mapping[str, Member], name: str, kind: str) -> Any:
    """Import and return the member called `name`.

    Args:
        registry: name -> Member.
        name: the member asked for.
        kind: what the members are, for the error message ("dataset", "prior", ...).

    Raises:
        UsageError: there is no such member.
    """
    if name not in registry:
        raise UsageError(f"unknown {kind} {name!r}: choose one of {', '.join(registry)}")
    return registry[name].load()
