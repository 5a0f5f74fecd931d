"""Data of a mixture, and a version that was trained on them."""

import pytest
from audit_testing import written
from kvae_testing import make_vae

from kvae.data import Dataset, Split, gmm, seen
from kvae.serving.versions import TRAIN_ROWS


@pytest.fixture(scope="module")
def dataset():
    whole = gmm.load(gmm_components=3, gmm_dim=3)
    train, valid, test = (
        Split(split.x[:count], {}) for split, count in
        ((whole.train, 2000), (whole.valid, 100), (whole.test, 300))
    )  # fmt: skip
    counts = {"train": 2000, "valid": 100, "test": 300}
    return Dataset("vectors", train, valid, test, card={**whole.card, "counts": counts})


@pytest.fixture
def version(dataset, tmp_path):
    found = written(
        make_vae((3,), prior="standard_normal"), tmp_path / "m" / "1", "log_weight",
        data_card=dataset.card,
    )  # fmt: skip
    seen.write(found.path / TRAIN_ROWS, seen.marks(dataset.train.x))
    return found
