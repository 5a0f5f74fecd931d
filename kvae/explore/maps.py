"""The map of the explorer: rows laid out by t-SNE, later ones placed among them by openTSNE."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from kvae.figures.latent import MAX_PERPLEXITY, coordinates

#: Why nothing new is placed on the map.
NO_PLACING = 'an upload is not placed on the map without openTSNE: pip install "openTSNE>=1.0"'


class Map(NamedTuple):
    """Where rows lie.

    Args:
        places: `(n, 2)`.
        place: a latent `(latent_dim,)` -> its two coordinates; None: that cannot be said.
    """

    places: np.ndarray
    place: Callable[[np.ndarray], np.ndarray] | None


def map_of(latents: np.ndarray, seed: int = 0) -> Map:
    """Lay latents out in two dimensions.

    Args:
        latents: `(n, latent_dim)`, n at least 5.
        seed: of t-SNE.
    """
    latents = np.asarray(latents, np.float64)
    if latents.shape[1] == 2:  # a map already
        return Map(latents, lambda latent: np.asarray(latent, np.float64))
    if latents.shape[1] == 1 or find_spec("openTSNE") is None:
        return Map(coordinates(latents, seed)[0], None)
    from openTSNE import TSNE

    perplexity = min(MAX_PERPLEXITY, (len(latents) - 1) / 3)
    # In one process, as scikit-learn's: threads of a busy machine wait for one another.
    embedding = TSNE(perplexity=perplexity, random_state=seed, n_jobs=1).fit(latents)

    def place(latent: np.ndarray) -> np.ndarray:
        near = min(5, perplexity)
        return np.asarray(embedding.transform(np.asarray(latent)[None], perplexity=near))[0]

    return Map(np.asarray(embedding), place)
