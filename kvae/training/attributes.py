"""Directions of the attributes of labelled images, for the signature `edit`."""

import keras
import numpy as np

from kvae import data
from kvae.config import Config
from kvae.data.rows import in_parts, random_rows, rows_at_once
from kvae.directions import Directions, fit_directions
from kvae.model import VAE
from kvae.probability.streams import generator
from kvae.saying import say

_MAX_LABELLED = 20_000


def attribute_directions(vae: VAE, dataset: data.Dataset, config: Config) -> Directions | None:
    """Where in latent space the attributes of labelled images lie, but for conditions.

    What was found is printed.

    Args:
        vae: trained.
        dataset: its labels that are yes or no are the attributes.
        config: all options.

    Returns:
        Vectors in latent space; None where there are no images or no such labels, or all have too
        few rows for a direction.

    Raises:
        ValueError: a latent is not finite.
    """
    seed = config.seed
    if dataset.kind != "images":
        return None
    latents, labels = [], []
    for split in (dataset.train, dataset.valid):
        rows = random_rows(len(split.x), _MAX_LABELLED, generator(seed, "attribute rows"))
        attributes = {
            name: values[rows]
            for name, values in split.labels.items()
            if values.dtype == bool and name not in config.condition
        }
        if not attributes:
            return None
        parts = in_parts(rows, rows_at_once(split.x))
        means = [keras.ops.convert_to_numpy(vae.encode(split.x[part])[0]) for part in parts]
        latents.append(np.concatenate(means))
        labels.append(attributes)
    found = fit_directions(latents[0], labels[0], latents[1], labels[1], seed=seed)
    if not found.names:
        return None
    best = zip(found.names[:5], found.accuracy[:5], strict=True)
    shown = ", ".join(f"{name} {accuracy:.0%}" for name, accuracy in best)
    say(f"attributes {len(found.names)} directions; the clearest, by held-out accuracy: {shown}")
    return found
