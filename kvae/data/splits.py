"""Random divisions into train, valid and test."""

import numpy as np

SPLITS = ("train", "valid", "test")
RULE = "random 80/10/10"


def random_split(count: int, seed: int) -> dict[str, np.ndarray]:
    """Divide rows 80/10/10 at random.

    Args:
        count: how many, at least 10.
        seed: of the division.

    Returns:
        Split -> indices of its rows, rising.
    """
    order = np.random.default_rng(seed).permutation(count)
    tenth = count // 10
    parts = np.split(order, [count - 2 * tenth, count - tenth])
    return {name: np.sort(part) for name, part in zip(SPLITS, parts, strict=True)}


def random_tenth(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Take a tenth, rounded up, of the train rows as valid ones.

    Args:
        rows: indices.
        seed: of the choice.

    Returns:
        What is left and what was taken, rising.
    """
    mixed = np.random.default_rng(seed).permutation(rows)
    tenth = -(-len(mixed) // 10)
    return np.sort(mixed[tenth:]), np.sort(mixed[:tenth])
