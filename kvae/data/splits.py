"""Divisions into train, valid and test, as the source has them or at random."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kvae.errors import DataError
from kvae.probability.streams import generator

SPLITS = ("train", "valid", "test")
RULE = "random 80/10/10"
MIN_ROWS = 10


def random_split(count: int, seed: int) -> dict[str, np.ndarray]:
    """Divide rows 80/10/10 at random.

    Args:
        count: how many, at least 10.
        seed: of the division.

    Returns:
        Split -> indices of its rows, rising.
    """
    order = generator(seed, "split").permutation(count)
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
    mixed = generator(seed, "valid tenth").permutation(rows)
    tenth = -(-len(mixed) // 10)
    return np.sort(mixed[tenth:]), np.sort(mixed[:tenth])


def divided(
    own: Mapping[str, np.ndarray], count: int, seed: int, place: str, members: Iterable[Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Complete what splits a source of images has.

    Without a valid split a tenth of train becomes it; without a test split the valid one becomes
    test; without train, or with train alone, all rows are divided 80/10/10.

    Args:
        own: split -> indices of its rows; absent or empty ones are not there.
        count: of all rows.
        seed: of what is drawn.
        place: what to call the source in a message.
        members: JSON values that change whenever another row, or one more, is in the source.

    Returns:
        Split -> indices, and what the data card says about it. Of a division at random that is a
        checksum of its members too: with others the same seed would put rows that a model was
        trained on into test.

    Raises:
        DataError: there are fewer than 10 rows to draw from.
    """
    rows = {split: np.asarray(own.get(split, ()), np.int64) for split in SPLITS}
    drawn_from = count
    if rows["train"].size and (rows["test"].size or rows["valid"].size):
        rule = "own"
        if not rows["test"].size:
            rows["test"], rows["valid"] = rows["valid"], rows["test"]
            rule += ", its valid split for test"
        if rows["valid"].size:
            return rows, {"split": rule}
        rule += ", valid a random tenth of train"
        drawn_from = rows["train"].size
    else:
        rule = RULE
    if drawn_from < MIN_ROWS:
        raise DataError(
            f"{place}: {MIN_ROWS} images at least are needed to draw a split ({rule}) from, found "
            f"{drawn_from}"
        )
    if rule == RULE:
        return random_split(count, seed), {
            "split": rule, "split_seed": seed, "split_of": content_key(members)[:16],
        }  # fmt: skip
    rows["train"], rows["valid"] = random_tenth(rows["train"], seed)
    return rows, {"split": rule, "split_seed": seed}


def content_key(values: Iterable[Any]) -> str:
    """A checksum of JSON values, in their order."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value).encode())
    return digest.hexdigest()
