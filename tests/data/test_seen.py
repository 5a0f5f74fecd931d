"""Rows that a model was trained on are no rows to test it on."""

import numpy as np
import pytest

from kvae.data import Dataset, Split, seen
from kvae.data.conditions import Conditioned
from kvae.errors import DataError


def _dataset(train, valid, test):
    """Rows of one number, each with itself as a label."""
    parts = [np.array(part, "float32").reshape(-1, 1) for part in (train, valid, test)]
    return Dataset("vectors", *(Split(x, {"own": x[:, 0]}) for x in parts), {"name": "a"})


def _without(dataset, train_of_before):
    before = np.array(train_of_before, "float32").reshape(-1, 1)
    kept, counts = seen.without(dataset, seen.united(seen.marks(before), None))
    rows = {name: getattr(kept, name).x[:, 0].tolist() for name in ("train", "valid", "test")}
    assert all(getattr(kept, name).labels["own"].tolist() == rows[name] for name in rows)
    return rows, counts


def test_rows_that_were_trained_on_are_left_out_of_valid_and_test():
    rows, counts = _without(_dataset([1, 2, 3], [4, 5], [6, 7, 8]), [8, 1, 6, 4])
    assert rows == {"train": [1, 2, 3], "valid": [5], "test": [7]}
    assert counts == {"test": 2, "valid": 1}


def test_the_same_split_stays_as_it_is_where_rows_are_equal_too():
    dataset = _dataset([1, 1, 2, 3], [1, 4], [2, 1])
    kept, counts = seen.without(dataset, seen.united(seen.marks(dataset.train.x), None))
    assert counts == {}
    assert all(getattr(kept, name).x is getattr(dataset, name).x for name in ("valid", "test"))


def test_of_equal_rows_as_many_are_left_out_as_train_lacks():
    # Three were trained on, train holds one of them: two of the others may be those, test first.
    rows, counts = _without(_dataset([1, 2], [1, 1, 3], [1, 4]), [1, 1, 1])
    assert counts == {"test": 1, "valid": 1}
    assert rows["test"] == [4] and rows["valid"] == [1, 3]


def test_what_was_seen_in_two_runs_is_remembered_once():
    one, two = (seen.marks(np.array(x, "float32")[:, None]) for x in ([1, 1, 2], [1, 2, 2, 3]))
    both = seen.united(one, two)
    assert sorted(np.unique(both, return_counts=True)[1].tolist()) == [1, 2, 2]
    np.testing.assert_array_equal(both, seen.united(two, one))
    assert seen.united(None, two) is None


def test_a_row_is_known_by_its_numbers_alone():
    x = np.random.default_rng(0).normal(size=(2100, 3)).astype("float32")  # more than one part
    found = seen.marks(x)
    assert len({*found.tolist()}) == len(x)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(seen.marks(x[order]), found[order])
    np.testing.assert_array_equal(seen.marks(Conditioned(x, np.zeros((len(x), 1)))), found)
    zeros = np.zeros((1, 3), "float32")
    assert seen.marks(zeros) == seen.marks(-zeros)
    assert seen.marks(x[:2]).dtype == np.uint64


def test_of_too_many_rows_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(seen, "MAX_ROWS", 3)
    x = np.arange(4, dtype="float32")[:, None]
    assert seen.marks(x) is None
    assert seen.united(seen.marks(x[:2]), seen.marks(x[2:])) is None
    assert len(seen.united(seen.marks(x[:2]), seen.marks(x[1:3]))) == 3


@pytest.mark.parametrize(
    "content", [b"", b"no array", np.zeros(3), np.zeros((2, 2), "u8"), np.array([{}])]
)
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "train_rows.npy"
    assert seen.read(path) is None
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=r"train_rows\.npy is damaged"):
        seen.read(path)
    seen.write(path, np.array([3, 1], "u8"))
    assert seen.read(path).tolist() == [1, 3]
