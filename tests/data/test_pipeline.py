import numpy as np
import pytest
import tensorflow as tf

from kvae.data.pipeline import batches

NUM_ROWS = 23
BATCH_SIZE = 5


@pytest.fixture(params=["vectors", "uint8 array", "uint8 memory map", "float32 images"])
def x(request, tmp_path):
    """Rows that are all different: the first element of row i is i."""
    shape = (NUM_ROWS, 3) if request.param == "vectors" else (NUM_ROWS, 4, 2, 3)
    rows = np.random.default_rng(0).integers(0, 256, shape)
    rows.reshape(NUM_ROWS, -1)[:, 0] = np.arange(NUM_ROWS)
    if request.param in ("vectors", "float32 images"):
        return rows.astype(np.float32)
    if request.param == "uint8 array":
        return rows.astype(np.uint8)
    np.save(tmp_path / "x.npy", rows.astype(np.uint8))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def _order(dataset):
    """The rows' numbers of one pass."""
    return [int(row.flat[0]) for batch in dataset.as_numpy_iterator() for row in batch]


def test_evaluation_gives_every_row_once_in_order(x):
    dataset = batches(x, BATCH_SIZE, shuffle_seed=None)
    for _ in range(2):
        parts = list(dataset.as_numpy_iterator())
        assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
        np.testing.assert_array_equal(np.concatenate(parts), x)
    assert dataset.cardinality() == 5
    assert dataset.element_spec == tf.TensorSpec([None, *x.shape[1:]], x.dtype)


def test_training_gives_whole_rows_without_repeats_in_full_batches(x):
    dataset = batches(x, BATCH_SIZE, shuffle_seed=1)
    for _ in range(3):
        rows = np.concatenate(list(dataset.as_numpy_iterator()))
        order = rows.reshape(len(rows), -1)[:, 0].astype(int)
        assert len(set(order)) == 20
        np.testing.assert_array_equal(rows, x[order])
    assert dataset.cardinality() == 4
    assert dataset.element_spec == tf.TensorSpec([BATCH_SIZE, *x.shape[1:]], x.dtype)


def test_training_orders_differ_between_epochs_and_seeds_and_repeat_for_equal_seeds(x):
    first, second, other = (batches(x, BATCH_SIZE, shuffle_seed=seed) for seed in (1, 1, 2))
    orders = [_order(first) for _ in range(3)]
    assert orders == [_order(second) for _ in range(3)]
    assert len({tuple(order) for order in [*orders, _order(other)]}) == 4


def test_the_shuffle_is_full_and_each_row_comes_first_equally_often():
    x = np.arange(4, dtype=np.float32)[:, np.newaxis]
    epochs = batches(x, 4, shuffle_seed=0).repeat(400)
    counts = np.bincount(_order(epochs)[::4], minlength=4)
    # chi-squared with 3 degrees of freedom exceeds 16.3 once in a thousand
    assert np.sum((counts - 100) ** 2 / 100) < 16.3


@pytest.mark.parametrize("shuffle_seed", [None, 0])
def test_fewer_rows_than_a_batch_are_one_batch(x, shuffle_seed):
    dataset = batches(x, 100, shuffle_seed=shuffle_seed)
    assert dataset.cardinality() == 1
    assert sorted(_order(dataset)) == list(range(NUM_ROWS))


def test_a_dropped_remainder_is_another_one_each_epoch(x):
    dataset = batches(x, BATCH_SIZE, shuffle_seed=3)
    assert set().union(*(_order(dataset) for _ in range(20))) == set(range(NUM_ROWS))
