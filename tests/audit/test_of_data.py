"""The audit of data: what is true agrees, and each fault is found."""

from dataclasses import replace

import numpy as np
from audit_testing import agreeing, by_name, differing

from kvae.audit.of_data import of_data
from kvae.data import Split, seen
from kvae.serving.versions import TRAIN_ROWS, read_metadata


def _of_data(dataset, version):
    return by_name(of_data(dataset, version, read_metadata(version)))


def test_splits_without_common_rows_agree(dataset, version):
    found = _of_data(dataset, version)
    assert not differing(found)
    assert len(agreeing(found)) == 4


def _with_test(dataset, row):
    x = dataset.test.x.copy()
    x[7] = row
    return replace(dataset, test=Split(x, {}))


def test_a_test_row_among_train_or_valid_rows_is_found(dataset, version):
    equal = "data: test rows equal to train or valid rows"
    found = differing(_of_data(_with_test(dataset, dataset.train.x[5]), version))
    assert found == {equal, "data: test rows near train rows"}
    assert differing(_of_data(_with_test(dataset, dataset.valid.x[5]), version)) == {equal}


def test_a_test_row_that_was_nearly_a_train_row_is_found(dataset, version):
    found = _of_data(_with_test(dataset, dataset.train.x[5] + 1e-5), version)
    assert differing(found) == {"data: test rows near train rows"}


def test_equal_rows_are_no_leak_where_train_rows_have_them_too(dataset, version):
    rounded = {
        name: Split(np.round(getattr(dataset, name).x / 4), {}) for name in ("train", "test")
    }
    seen.write(version.path / TRAIN_ROWS, seen.marks(rounded["train"].x))
    assert not differing(_of_data(replace(dataset, **rounded), version))


def test_other_rows_trained_on_and_other_counts_are_found(dataset, version):
    rows = np.concatenate([dataset.train.x[:-1], dataset.test.x[:1]])
    seen.write(version.path / TRAIN_ROWS, seen.marks(rows))
    found = _of_data(replace(dataset, valid=Split(dataset.valid.x[:-1], {})), version)
    assert differing(found) == {"data: counts of the card", "data: rows trained on"}
    assert "1 train rows are not among them" in found["data: rows trained on"].note
    assert "1 test rows are among them" in found["data: rows trained on"].note
