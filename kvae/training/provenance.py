"""What is known of how a model came to be, for the version that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kvae import data
from kvae.config import NO_SAMPLER
from kvae.errors import UsageError
from kvae.serving.versions import Version

if TYPE_CHECKING:
    import numpy as np

    from kvae.data.conditions import Conditions
    from kvae.directions import Directions
    from kvae.model import VAE


@dataclass(frozen=True)
class Trained:
    """How a model came to be: `vae.trained`, which a publication takes over.

    Args:
        config: option -> value.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes in latent space, where the data have such labels.
        conditions: the columns of a conditional model's condition; None: it is not conditional.
        step: the training steps that the model had taken then.
        version: where it was published; None: nowhere yet.
        missing: what could not be made after training, and why.
        course: how training went beside its epochs, see `kvae.publish.publish`.
        train_rows: what the rows that it has seen are known by, see `kvae.data.seen`.
    """

    config: Mapping[str, Any]
    card: Mapping[str, Any]
    history: Mapping[str, list[float]]
    directions: Directions | None = None
    conditions: Conditions | None = None
    step: int = 0
    version: Version | None = None
    missing: tuple[str, ...] = ()
    course: Mapping[str, Any] = field(default_factory=dict)
    train_rows: np.ndarray | None = field(default=None, compare=False, repr=False)


def known_of(vae: VAE, dataset: data.Dataset | None, condition: tuple[str, ...]) -> Trained:
    """What is known of a model: from `kvae.train`, or from itself and its data.

    Args:
        vae: the model.
        dataset: that it was trained on; None: what `kvae.train` knows of it.
        condition: labels that stand behind its condition, where `kvae.train` did not make it.

    Raises:
        UsageError: the labels do not make the model's condition.
    """
    if condition and not vae.condition_dim:
        raise UsageError(f"the model takes no condition: received condition {', '.join(condition)}")
    known = getattr(vae, "trained", None)
    history = getattr(getattr(vae, "history", None), "history", {})
    history = {name: [float(value) for value in values] for name, values in history.items()}
    sampler = vae.sampler.kind if vae.has_sampler else NO_SAMPLER
    if known is not None and not condition and _is_of(known, dataset):
        known = replace(known, config={**known.config, "sampler": sampler})
        if vae.num_steps == known.step:
            return known
        # Directions were fitted to the latents of then.
        return replace(known, history=history, directions=None, course={})
    from kvae.data import seen
    from kvae.data.conditions import Conditions, conditioned, conditions_of
    from kvae.training import objects
    from kvae.training.attributes import attribute_directions

    config = objects.described(vae) | {"sampler": sampler}
    if dataset is None:
        _check_conditions(vae, Conditions())
        return Trained(config, {}, history)
    conditions = conditions_of(dataset, condition)
    _check_conditions(vae, conditions)
    seeded: Any = SimpleNamespace(seed=0, condition=condition)
    directions = attribute_directions(vae, conditioned(dataset, conditions), seeded)
    config = {**dataset.origin, **config, "condition": list(condition)}
    return Trained(
        config,
        dataset.card,
        history,
        directions,
        conditions if conditions.dim else None,
        train_rows=seen.united(seen.marks(dataset.train.x), getattr(known, "train_rows", None)),
    )


def _is_of(known: Trained, dataset: data.Dataset | None) -> bool:
    return dataset is None or dataset.card == known.card


def _check_conditions(vae: VAE, conditions: Conditions) -> None:
    if conditions.dim != vae.condition_dim:
        raise UsageError(
            f"the model takes a condition of {vae.condition_dim} numbers, the labels make "
            f"{conditions.dim} ({', '.join(conditions.names) or 'none'}): a dataset and condition="
            "(labels) are needed that make as many"
        )
