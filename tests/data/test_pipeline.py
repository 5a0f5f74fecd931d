import numpy as np
import pytest
import tensorflow as tf

from kvae.data import Split, pipeline
from kvae.data.pipeline import batches, num_blocks, shuffled_batches

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


def _epochs(x, batch_size, seed, count):
    """The rows' numbers of each of the first epochs."""
    steps = max(1, len(x) // batch_size)
    dataset = shuffled_batches(x, batch_size, seed).take(count * steps)
    epochs = [[] for _ in range(count)]
    for step, batch in enumerate(dataset.as_numpy_iterator()):
        epochs[step // steps] += [int(row.flat[0]) for row in batch]
    return epochs


def test_evaluation_gives_every_row_once_in_order(x):
    dataset = batches(x, BATCH_SIZE)
    for _ in range(2):
        parts = list(dataset.as_numpy_iterator())
        assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
        np.testing.assert_array_equal(np.concatenate(parts), x)
    assert dataset.cardinality() == 5
    assert dataset.element_spec == tf.TensorSpec([None, *x.shape[1:]], x.dtype)


def test_training_gives_whole_rows_without_repeats_in_full_batches(x):
    dataset = shuffled_batches(x, BATCH_SIZE, 1)
    for epoch in range(3):
        rows = np.concatenate(list(dataset.skip(4 * epoch).take(4).as_numpy_iterator()))
        order = rows.reshape(len(rows), -1)[:, 0].astype(int)
        assert len(set(order)) == 20
        np.testing.assert_array_equal(rows, x[order])
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert dataset.element_spec == tf.TensorSpec([BATCH_SIZE, *x.shape[1:]], x.dtype)


def test_blocks_are_the_batches_of_an_epoch(x):
    blocks = shuffled_batches(x, BATCH_SIZE, 1, block=True)
    assert blocks.element_spec == tf.TensorSpec([4, BATCH_SIZE, *x.shape[1:]], x.dtype)
    singly = np.stack(list(shuffled_batches(x, BATCH_SIZE, 1).take(8).as_numpy_iterator()))
    together = np.concatenate(list(blocks.take(2).as_numpy_iterator()))
    np.testing.assert_array_equal(together, singly)


@pytest.mark.parametrize("steps", [1, 3])
def test_large_tables_come_in_several_blocks_of_the_same_batches(monkeypatch, steps):
    x = np.arange(NUM_ROWS * 3, dtype=np.float32).reshape(NUM_ROWS, 3)
    singly = list(shuffled_batches(x, BATCH_SIZE, 1).take(12).as_numpy_iterator())
    validation = list(batches(x, BATCH_SIZE).as_numpy_iterator())
    monkeypatch.setattr(pipeline, "MOST_NUMBERS", 4 * BATCH_SIZE * 3 - 1)  # fewer than x has
    monkeypatch.setattr(pipeline, "_BLOCK_NUMBERS", steps * BATCH_SIZE * 3)
    count = num_blocks(x, BATCH_SIZE)
    assert count == {1: 4, 3: 2}[steps]
    blocks = list(
        shuffled_batches(x, BATCH_SIZE, 1, block=True).take(3 * count).as_numpy_iterator()
    )
    assert max(len(block) for block in blocks) == steps
    np.testing.assert_array_equal(np.concatenate(blocks), np.stack(singly))
    for part, before in zip(batches(x, BATCH_SIZE), validation, strict=True):
        np.testing.assert_array_equal(part, before)


def test_training_orders_differ_between_epochs_and_seeds_and_repeat_for_equal_seeds(x):
    orders = _epochs(x, BATCH_SIZE, 1, 3)
    tf.random.set_seed(99)
    assert orders == _epochs(x, BATCH_SIZE, 1, 3)
    other = _epochs(x, BATCH_SIZE, 2, 1)
    assert len({tuple(order) for order in [*orders, *other]}) == 4


def test_the_shuffle_is_full_and_each_row_comes_first_equally_often():
    x = np.arange(4, dtype=np.float32)[:, np.newaxis]
    counts = np.bincount([order[0] for order in _epochs(x, 4, 0, 400)], minlength=4)
    # chi-squared with 3 degrees of freedom exceeds 16.3 once in a thousand
    assert np.sum((counts - 100) ** 2 / 100) < 16.3


def test_fewer_rows_than_a_batch_are_one_batch(x):
    assert batches(x, 100).cardinality() == 1
    for order in _epochs(x, 100, 0, 2):
        assert sorted(order) == list(range(NUM_ROWS))


def test_a_dropped_remainder_is_another_one_each_epoch(x):
    assert set().union(*_epochs(x, BATCH_SIZE, 3, 20)) == set(range(NUM_ROWS))


def test_half_of_the_images_are_mirrored_left_to_right(x):
    if x.ndim == 2:
        return
    plain = shuffled_batches(x, BATCH_SIZE, 1).take(80).as_numpy_iterator()
    flipped = list(shuffled_batches(x, BATCH_SIZE, 1, flip=True).take(80).as_numpy_iterator())
    count = 0
    for before, after in zip(plain, flipped, strict=True):
        for image, shown in zip(before, after, strict=True):
            mirrored = np.array_equal(shown, image[:, ::-1])
            assert mirrored or np.array_equal(shown, image)
            count += mirrored
    assert 150 < count < 250  # of 400: five standard deviations
    again = shuffled_batches(x, BATCH_SIZE, 1, flip=True).take(80).as_numpy_iterator()
    np.testing.assert_array_equal(np.stack(list(again)), np.stack(flipped))
    # Each epoch mirrors others, and another seed too.
    other = shuffled_batches(x, BATCH_SIZE, 2, flip=True).take(80).as_numpy_iterator()
    assert not np.array_equal(np.stack(list(other)), np.stack(flipped))


def test_a_split_makes_both_kinds_of_batches(x):
    split = Split(x)
    np.testing.assert_array_equal(np.concatenate(list(split.batches(4).as_numpy_iterator())), x)
    found = next(iter(split.shuffled_batches(4, 3)))
    np.testing.assert_array_equal(found, next(iter(shuffled_batches(x, 4, 3))))


def test_only_single_batches_of_images_are_mirrored(x):
    options = {"flip": True, "block": x.ndim == 4}
    with pytest.raises(ValueError, match="flip is for single batches of images"):
        shuffled_batches(x, BATCH_SIZE, 1, **options)


@pytest.mark.parametrize("options", [{"block": True}, {"flip": True}], ids=str)
def test_an_epoch_is_the_same_wherever_a_stream_begins(options, rng):
    x = rng.normal(size=(20, 3) if "block" in options else (20, 2, 2, 1)).astype("float32")
    calls = 1 if "block" in options else 4
    whole = shuffled_batches(x, 5, 7, **options).take(4 * calls)
    later = shuffled_batches(x, 5, 7, first_epoch=2, **options).take(2 * calls)
    found, expected = ([*part.as_numpy_iterator()] for part in (later, whole.skip(2 * calls)))
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, [*whole.take(2 * calls).as_numpy_iterator()])
    if "flip" in options:
        within = shuffled_batches(x, 5, 7, first_epoch=2, first_batch=3, **options).take(5)
        np.testing.assert_array_equal([*within.as_numpy_iterator()], expected[3:])
