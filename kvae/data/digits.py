"""scikit-learn's handwritten digits: 1,797 grey 8x8 images, no download."""

import numpy as np

from kvae.data import NO_BINARIZE, Dataset, Split
from kvae.data.images.binarization import Binarization

NUM_VALID = 270
NUM_TEST = 270
SPLIT_SEED = 0


def load(*, binarize: str = NO_BINARIZE, binarize_seed: int = 0) -> Dataset:
    """Load the digits in a fixed split, stratified by digit: 1,257 / 270 / 270 rows.

    Args:
        binarize: make every pixel 0 or 255, as a Bernoulli likelihood needs, see
            `kvae.data.images.binarization`; "threshold": at half of the largest value.
        binarize_seed: of what is drawn once.

    Returns:
        Images `(rows, 8, 8, 1)`, uint8; label "digit", int64, 0..9.
    """
    from sklearn.datasets import load_digits

    how = Binarization.of(binarize, binarize_seed)
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    digits = bunch.target.astype(np.int64)
    splits = {
        name: Split(images[rows], {"digit": digits[rows]})
        for name, rows in _split_rows(digits).items()
    }
    splits = how.splits(splits)
    card = {
        "name": "digits",
        "source": "scikit-learn load_digits",
        "crop": "none",
        "image_size": 8,
        **({"binarize": False} | how.card),
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
