"""Trainings that cannot be: steps that nothing counts, and memory that there is not."""

from collections.abc import Iterator
from typing import Any

from kvae import memory
from kvae.config import AUTO_SAMPLER, MODEL_PARTS, Config
from kvae.errors import UsageError
from kvae.options import MAX_COUNT, arguments, flag
from kvae.priors import DensityMember
from kvae.probability import MAX_PAIRS
from kvae.registry import facts_of
from kvae.samplers import SAMPLERS


def check_steps(config: Config, rows: int) -> None:
    """Refuse more steps than a model counts, schedules beyond them, and cycles of one step.

    Args:
        config: all options.
        rows: of the train split.

    Raises:
        UsageError: there are.
    """
    steps = max(1, rows // config.batch_size)  # of an epoch, as `Split.steps`
    of_epochs = {"epochs": config.epochs}
    of_epochs |= {
        name: value
        for name, value in config.own("objective").items()
        if config.option(name).steps_name
    }
    for name, epochs in of_epochs.items():
        if steps * epochs > MAX_COUNT:
            raise UsageError(
                f"{flag(name)} must be at most {MAX_COUNT // steps} with epochs of {steps} steps: "
                f"steps are counted up to {MAX_COUNT}; received {epochs}"
            )
    if steps * of_epochs.get("kl_cycle_epochs", 0) == 1:
        raise UsageError(
            "--kl-cycle-epochs: a cycle has at least 2 steps, and with --batch-size "
            f"{config.batch_size} an epoch of {rows} rows is one; received 1"
        )


def check_memory(config: Config, shape: tuple[int, ...], rows: int, **model: int) -> None:
    """Refuse a training that needs more memory than this process may use, however it goes.

    Args:
        config: all options.
        shape: of one x.
        rows: of the train split.
        **model: `latent_dim` and `condition_dim`.

    Raises:
        UsageError: it would, or a row has more numbers than noise has.
    """
    pairs = config.get("iwae_draws", 1) * -(-model["latent_dim"] // 2)
    if pairs > MAX_PAIRS:
        raise UsageError(
            f"{_all_of(config, ('latent_dim', 'iwae_draws'))}: the draws of a row have at most "
            f"{2 * MAX_PAIRS} numbers; received {2 * pairs}"
        )
    limit = memory.usable()
    if limit is None:
        return
    needed = _needed(config, shape, rows, **model)
    total = sum(needed.values())
    if total <= limit.size:
        return
    named = _to_blame(config, shape, rows, (total, limit.size), **model)
    parts = ", ".join(
        f"{part} {memory.gigabytes(size)}" for part, size in needed.items() if size > total / 100
    )
    raise UsageError(
        f"{named or 'x of shape ' + str(shape)}: training would take at least "
        f"{memory.gigabytes(total)} of memory ({parts}); this process may use "
        f"{memory.gigabytes(limit.size)}, {limit.cause}: smaller values are needed"
    )


def _needed(config: Config, shape: tuple[int, ...], rows: int, **model: int) -> dict[str, int]:
    values = config.to_dict()
    names = {kind: values[kind] for kind in (*MODEL_PARTS, "posterior")}
    own = {
        kind: arguments(registry[values[kind]].options, values)
        for kind, registry in MODEL_PARTS.items()
    }
    known = memory.Model(shape, model["latent_dim"], names, own, model["condition_dim"])
    draws = config.get("iwae_draws", 1)
    batch = min(rows, config.batch_size)
    training = {}
    if config.epochs:
        training = known.training(batch, draws=draws, averages=config.ema_momentum > 0)
    if memory.has_accelerator():  # which fits the sampler as well
        return training
    afterwards = {"weights": known.weights(), "the sampler": _of_samplers(config, shape, model)}
    return max(training, afterwards, key=lambda stage: sum(stage.values()))


def _of_samplers(config: Config, shape: tuple[int, ...], model: dict[str, int]) -> int:
    """Bytes of the largest sampler that is fitted."""
    names = [*SAMPLERS] if config.sampler == AUTO_SAMPLER else [config.sampler]
    sizes = [0]
    for name in {*names} & {*SAMPLERS}:
        member = facts_of(SAMPLERS[name], DensityMember)
        own = arguments(member.options, config.to_dict())
        sizes += [
            memory.BYTES * count(model["latent_dim"], shape, **own)
            for count in (member.parameters, member.constants)
        ]
    return max(sizes)


def _to_blame(
    config: Config, shape: tuple[int, ...], rows: int, sizes: tuple[int, int], **model: int
) -> str:
    """The option, with its value, whose usual value would do; else those that count the most."""
    total, limit = sizes
    needed = {
        name: sum(_needed(changed, changed_shape, rows, **changed_model).values())
        for name, changed, changed_shape, changed_model in _usual(config, shape, model)
    }
    least = min(needed, key=lambda name: needed[name])
    if needed[least] <= limit:
        return _all_of(config, (least,))
    return _all_of(config, tuple(name for name, size in needed.items() if size < total / 2))


def _usual(
    config: Config, shape: tuple[int, ...], model: dict[str, int]
) -> Iterator[tuple[str, Config, tuple[int, ...], dict[str, int]]]:
    """The run with one option at its declared value at a time."""
    own = (name for kind in MODEL_PARTS for name in config.own(kind))
    for name in (*own, "batch_size"):
        default = config.option(name).default
        if default != config.get(name, default):
            yield name, config.replaced(**{name: default}), shape, model
    features = shape[0] if len(shape) == 1 else 1
    yield "latent_dim", config, shape, {**model, "latent_dim": min(features, model["latent_dim"])}
    if config.get("image_size", None) in shape:
        size = config.option("image_size").default
        yield "image_size", config, (size, size, shape[-1]), model


def _all_of(config: Config, names: tuple[str, ...]) -> str:
    """Options as they are typed."""
    told = (f"{flag(name)} {_typed(config.get(name, None))}" for name in names)
    return " and ".join(text for text in told if not text.endswith(" "))


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value[:5])) + (",..." if len(value) > 5 else "")
    return "" if value is None else str(value)
