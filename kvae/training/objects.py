"""Parts of a model that are given as objects, under names while a run lasts.

A configuration holds names. An object is therefore a member of its registry for the time of a run:
every check, and what a version remembers, is as for any other part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from kvae import registry
from kvae.config import MODEL_PARTS
from kvae.errors import UsageError
from kvae.likelihoods import LikelihoodMember
from kvae.networks import NetworkMember
from kvae.objectives import BETA, ObjectiveMember
from kvae.options import Option
from kvae.priors import PriorMember
from kvae.registry import Member

OWN = "own"  # the name of networks that are given
_MEMBERS: dict[str, type[Member]] = {
    "network": NetworkMember, "likelihood": LikelihoodMember, "prior": PriorMember,
    "objective": ObjectiveMember,
}  # fmt: skip


@contextmanager
def named(parts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Have the registries know objects, each under its `kind`.

    Args:
        parts: kind of part -> an object, a name, or None where nobody says anything; of networks a
            pair (encoder, decoder).

    Yields:
        Option -> value: the names of all parts that were given, and of kvae's own classes the
        options that they were made with.

    Raises:
        UsageError: an object is no such part.
    """
    found: dict[str, Any] = {}
    before = {kind: dict(MODEL_PARTS[kind]) for kind in parts}
    try:
        for kind, part in parts.items():
            if isinstance(part, str):
                found[kind] = part
            elif part is not None:
                found |= _enter(kind, part)
        yield found
    finally:
        for kind, members in before.items():
            own: Any = MODEL_PARTS[kind]
            own.clear()
            own.update(members)


def described(vae: Any) -> dict[str, Any]:
    """What a configuration says of the parts of a VAE, as far as they are kvae's own."""
    found = {"posterior": vae.posterior_kind, "latent_dim": vae.latent_dim}
    for kind in ("likelihood", "prior", "objective"):
        part = getattr(vae, kind)
        found |= {kind: _name(kind, part), **_options(kind, part)}
    history = getattr(vae, "history", None)
    epochs = len(getattr(history, "epoch", ()))
    if not epochs:
        return found
    # Keras knows the steps of an epoch; without them all steps were of this history.
    steps = (getattr(history, "params", None) or {}).get("steps") or vae.num_steps / epochs
    first_step = max(0, vae.num_steps - round(steps * epochs))
    return found | scheduled(found, vae.objective, first_step, steps, epochs)


def scheduled(
    config: Mapping[str, Any], objective: Any, first_step: int, steps: float, epochs: int
) -> dict[str, Any]:
    """What a configuration says of a schedule of beta that is part of an objective.

    Args:
        config: option -> value.
        objective: that a model is trained by.
        first_step: the steps that it had taken before.
        steps: of an epoch.
        epochs: of the run.

    Returns:
        Option -> value, of the options that the configuration has; empty without a schedule.
    """
    if not callable(getattr(objective, "beta", None)) or "beta" not in config:
        return {}
    from kvae.callbacks import weight_of_rate

    found = weight_of_rate(objective, first_step, steps)
    if "beta" not in found:  # a function of somebody's own: what it ends at
        last = max(0, first_step + round(steps * epochs) - 1 - objective.first_step)
        found["beta"] = BETA.read(float(objective.beta(last)), "beta")
    return {"kl_warmup_epochs": 0, "kl_cycle_epochs": 0, **found}


def _enter(kind: str, part: Any) -> dict[str, Any]:
    if kind == "network":
        encoder, decoder = _networks(part)
        load: Any = SimpleNamespace(
            encoder=lambda *_, **__: encoder, decoder=lambda *_, **__: decoder
        )  # fmt: skip
        name, options = OWN, {}
    else:
        load = SimpleNamespace(make=lambda *_, **__: part)
        name, options = _name(kind, part), _options(kind, part)
    members: Any = MODEL_PARTS[kind]
    known = members.get(name)
    if known is None:
        own: dict[str, Any] = {"standardizes": True} if kind == "likelihood" else {}
        members[name] = _MEMBERS[kind](registry.GIVEN, lambda: load, **own)
    else:
        declared = known.options if len(options) == len(known.options) else ()
        members[name] = replace(
            known, help=registry.GIVEN, load=lambda: load, options=declared
        )  # fmt: skip
        options = options if declared else {}
    return {kind: name, **options}


def _networks(part: Any) -> tuple[Any, Any]:
    pair = tuple(part) if isinstance(part, tuple | list) else ()
    if len(pair) != 2 or not all(hasattr(one, "output_shape") for one in pair):
        raise UsageError(
            "network: a name or a pair (encoder, decoder) of Keras models is wanted, received "
            f"{part if isinstance(part, str) else type(part).__name__}"
        )
    return pair[0], pair[1]


def _name(kind: str, part: Any) -> str:
    """The `kind` of a part, which every base class asks for."""
    name = getattr(part, "kind", None)
    if isinstance(part, type) or not isinstance(name, str):
        raise UsageError(
            f"{kind}: a name or an object of kvae.{'likelihoods' if kind == 'likelihood' else kind}"
            f"{'' if kind == 'likelihood' else 's'} with a `kind` is wanted, received "
            f"{part if isinstance(part, type) else type(part).__name__}"
        )
    return name


def _options(kind: str, part: Any) -> dict[str, Any]:
    """The values of the options that a member of kvae's own was made with."""
    member = MODEL_PARTS[kind].get(_name(kind, part))
    if member is None or member.load() is not type(part):
        return {}
    config = part.get_config()
    found = {}
    for option in member.options:
        with suppress(KeyError, UsageError):
            found[option.name] = _value(option, part, config)
    return found


def _value(option: Option, part: Any, config: Mapping[str, Any]) -> Any:
    if option.steps_name:  # a schedule is part of what it changes: `scheduled` tells
        return option.default
    name = option.argument or option.name
    schedule = getattr(part, name, None)
    given = getattr(schedule, "target", option.default) if callable(schedule) else config[name]
    return option.read(given, option.name)
