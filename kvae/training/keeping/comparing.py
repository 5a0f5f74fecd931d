"""Which figures of the valid split compare: of equal data, under an equal goal."""

import hashlib
import json
from typing import Any

import numpy as np

from kvae.config import Config
from kvae.data import Dataset
from kvae.objectives import raises_elbo

_ROWS = 100  # of the valid split that tell data apart


def chosen_by(config: Config) -> str:
    """The figure of the valid split that says which epoch was best: of what training lowers."""
    return "elbo" if raises_elbo(config.to_dict()) else "loss"


def goal_of(config: Config) -> dict[str, Any]:
    """The options without which figures of the same rows do not compare, by name.

    Those of other networks compare, those of other likelihoods or goals do not. `rows` is the batch
    size where the goal depends on it, else 0.
    """
    options = {name: getattr(config, name) for name in ("likelihood", "condition", "objective")}
    # The epochs that count have beta at its full value, however it got there.
    goal = config.own("objective").items()
    options |= {name: value for name, value in goal if not name.startswith("kl_")}
    by_batch = config.get("tc_weight", 1) != 1 or config.get("free_bits", 0) > 0
    return options | {"rows": config.batch_size if by_batch else 0}


def card_of(dataset: Dataset) -> dict[str, Any]:
    """What a data card says of the data, wherever they lie."""
    return {key: value for key, value in dataset.card.items() if key != "source"}


def measured_by(config: Config, dataset: Dataset) -> str:
    """A checksum of data and goal: figures of the valid split compare where it is the same."""
    # Folders of equal counts have equal cards.
    shape, rows = dataset.valid.x.shape, np.asarray(dataset.valid.x[:_ROWS])
    told = [config.dataset, goal_of(config), card_of(dataset), shape]
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode() + rows.tobytes()).hexdigest()
