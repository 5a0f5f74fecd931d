"""scikit-learn's handwritten digits: 1,797 grey 8x8 images, no download."""

import numpy as np

from kvae.data import Dataset, Split
from kvae.data.images.pixels import binary

NUM_VALID = 270
NUM_TEST = 270
SPLIT_SEED = 0


def load(*, binarize: bool = False) -> Dataset:
    """Load the digits in a fixed split, stratified by digit: 1,257 / 270 / 270 rows.

    Args:
        binarize: make every pixel 0 or 255 (threshold: half of the largest value), as a Bernoulli
            likelihood needs.

    Returns:
        Images `(rows, 8, 8, 1)`, uint8; label "digit", int64, 0..9.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    if binarize:
        images = binary(images)
    digits = bunch.target.astype(np.int64)
    splits = {
        name: Split(images[rows], {"digit": digits[rows]})
        for name, rows in _split_rows(digits).items()
    }
    card = {
        "name": "digits",
        "source": "scikit-learn load_digits",
        "crop": "none",
        "image_size": 8,
        "binarize": binarize,
        "counts": {name: len(split.x) for name, split in splits.items()},
    }
    return Dataset("images", **splits, card=card, color_by="digit")


def _split_rows(digits: np.ndarray) -> dict[str, np.ndarray]:
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(
        np.arange(len(digits)), test_size=NUM_TEST, stratify=digits, random_state=SPLIT_SEED
    )
    train, valid = train_test_split(
        rest, test_size=NUM_VALID, stratify=digits[rest], random_state=SPLIT_SEED
    )
    return {"train": train, "valid": valid, "test": test}
