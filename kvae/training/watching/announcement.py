"""What train.py says before it trains."""

from pathlib import Path

from kvae.data import MIN_SPLIT_ROWS
from kvae.options import flag
from kvae.saying import say
from kvae.training.start import steps_of

_FEW_STEPS = 1000
_MANY_ROWS = 512  # log of it are the nats that an estimate of the total correlation can tell apart


def announce(config, dataset, vae, precision, *, publishes=True, devices=""):
    """Say what is about to happen.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
        vae: as it starts.
        precision: the policy of numbers and why it was chosen, in words.
        publishes: whether a version will be written.
        devices: that share each batch, in words; "": there is one.
    """
    counts = ", ".join(f"{len(getattr(dataset, n).x):,} {n}" for n in ("train", "valid", "test"))
    lines = {
        "dataset": f"{config.dataset}: {counts}; one x is {vae.element_shape}",
        **_layout(dataset.card),
        **({"given": ", ".join(config.condition)} if config.condition else {}),
        "model": f"{config.network}, {vae.latent_dim} latent dimensions, "
        f"{vae.count_params():,} parameters",
        "densities": f"likelihood {_with_own(config, 'likelihood')}; posterior {config.posterior}; "
        f"prior {_with_own(config, 'prior')}; sampler {config.sampler}",
        "objective": _objective(config),
        "training": _training(config, dataset),
        **_few_steps(config, dataset),
        "precision": precision,
        "backend": config.backend,
        **({"devices": devices} if devices else {}),
        "writes": f"{Path(config.save) / config.name}/" if publishes else "nothing",
    }
    for name, text in lines.items():
        say(f"{name:11}{text}")
    say(end=_small_batches(config))
    say(
        "figures are nats per example of the valid split; elbo is higher the better, loss the lower"
        "\n", flush=True,
    )  # fmt: skip


def _with_own(config, kind):
    """A part of the model and what it was told."""
    own = (f"{name.replace('_', ' ')} {value}" for name, value in config.own(kind).items())
    return ", ".join([getattr(config, kind), *own])


def _training(config, dataset):
    """How long and how fast, in words."""
    if not config.epochs:
        return "none, the weights are published as they are"
    return (
        f"{config.epochs} epochs of {steps_of(config, dataset)} steps of "
        f"{min(config.batch_size, len(dataset.train.x))}, Adam {config.learning_rate:g} "
        f"{config.learning_rate_schedule}, seed {config.seed}"
    )


def _objective(config):
    """What training lowers, in words."""
    if config.objective != "elbo":
        return _with_own(config, "objective")
    parts = [f"elbo, beta {config.beta:g}"]
    if config.kl_warmup_epochs:
        parts.append(f"rising over {config.kl_warmup_epochs} epochs")
    if config.kl_cycle_epochs:
        parts.append(f"in cycles of {config.kl_cycle_epochs} epochs")
    if config.free_bits:
        parts.append(f"{config.free_bits:g} nats of each latent dimension free")
    if config.tc_weight != 1:
        parts.append(f"total correlation times {config.tc_weight:g}")
    return ", ".join(parts)


def _few_steps(config, dataset):
    """A word where the preset cannot suit so few data, or they cannot be measured."""
    notes = []
    steps = steps_of(config, dataset) * config.epochs
    if dataset.kind == "images" and 0 < steps < _FEW_STEPS:
        smaller = " or a smaller --batch-size" if config.batch_size > 1 else ""
        notes.append(f"{steps:,} steps in all are few: more --epochs{smaller}")
    if config.epochs and config.learning_rate_schedule == "cosine":
        notes += [
            f"{flag(name)} may end training before the cosine schedule has brought the learning "
            "rate down; --learning-rate-schedule constant has no such end"
            for name in ("patience", "max_minutes")
            if config.get(name, 0)
        ]
    if len(dataset.test.x) < MIN_SPLIT_ROWS:
        rows = f"{len(dataset.test.x)} test rows"
        notes.append(f"{rows} are too few for kvae evaluate, which wants {MIN_SPLIT_ROWS}")
    return {"note": f"\n{'':11}".join(notes)} if notes else {}


def _small_batches(config):
    """A line where the total correlation is estimated from too few rows; else nothing."""
    if config.get("tc_weight", 1) == 1 or config.batch_size >= _MANY_ROWS:
        return ""
    return (
        f"{'note':11}--tc-weight: batches of {config.batch_size} are too few to tell total "
        "correlation from\n"
        f"{'':11}what each dimension tells about x, which is weighed too; Chen et al. 2018 have "
        f"batches\n{'':11}of 2048 (--batch-size)\n"
    )


def _layout(card):
    """What was recognised in the user's copy, of datasets that come in several layouts."""
    source = card.get("source")
    return {"source": source["layout"]} if isinstance(source, dict) else {}
