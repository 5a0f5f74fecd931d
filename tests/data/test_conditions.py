import numpy as np
import pytest

from kvae.data import Dataset, Split, digits
from kvae.data.conditions import Conditioned, conditioned, conditions_of
from kvae.data.images.pixels import as_unit_interval
from kvae.data.pipeline import batches, shuffled_batches
from kvae.errors import UsageError

CLASSES = np.array([7, 2, 2, 9, 7, 2])
FLAGS = np.array([True, False, False, True, True, False])


def _dataset(**labels):
    labels = {"kind": CLASSES, "warm": FLAGS, **labels}
    train = Split(np.arange(12, dtype="float32").reshape(6, 2), labels)
    test = Split(
        train.x[:3], {**{n: v[:3] for n, v in labels.items()}, "kind": np.array([9, 2, 4])}
    )
    return Dataset("vectors", train, train, test, {"label_names": {"hue": ["red", "blue"]}})


def test_yes_and_no_is_one_column_and_classes_are_one_each():
    found = conditions_of(_dataset(), ("warm", "kind"))
    assert found.names == ["warm", "kind=2", "kind=7", "kind=9"]
    assert found.to_json()["label_of"] == ["warm", "kind", "kind", "kind"]
    condition = found.of(_dataset().train.labels)
    assert condition.dtype == np.float32
    np.testing.assert_array_equal(condition[:, 0], FLAGS)
    np.testing.assert_array_equal(condition[:, 1:].argmax(1), np.searchsorted([2, 7, 9], CLASSES))
    np.testing.assert_array_equal(condition[:, 1:].sum(1), 1)


def test_the_classes_are_those_of_train_and_another_one_is_none_of_them():
    found = conditions_of(_dataset(), ("kind",))
    condition = found.of(_dataset().test.labels)
    np.testing.assert_array_equal(condition, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_classes_with_names_have_columns_with_names():
    dataset = _dataset(hue=np.array([0, 1, 0, 1, 1, 0]))
    assert conditions_of(dataset, ("hue",)).names == ["hue=red", "hue=blue"]


@pytest.mark.parametrize(
    ("label", "values", "words"),
    [
        ("age", None, "no label 'age'; choose among kind, warm"),
        ("age", np.linspace(0, 1, 6), "age: .*6 values of float64.*choose among kind, warm"),
        ("age", np.zeros(6, bool), "1 values of bool"),
        ("age", np.zeros(6, int), "1 values of int64"),
        ("age", np.arange(6) * 1.5 > -1, "yes or no"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_there_is(label, values, words):
    dataset = _dataset() if values is None else _dataset(age=values)
    with pytest.raises(UsageError, match=words):
        conditions_of(dataset, ("warm", label))


def test_more_classes_than_a_hundred_are_refused():
    train = Split(np.zeros((101, 2), "float32"), {"row": np.arange(101)})
    with pytest.raises(UsageError, match="there is none in these data"):
        conditions_of(Dataset("vectors", train, train, train), ("row",))


def test_rows_and_their_conditions_stay_together():
    x = np.arange(24, dtype="uint8").reshape(6, 2, 2, 1)
    rows = Conditioned(x, np.arange(12, dtype="float32").reshape(6, 2))
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (6, x.shape, 4, "uint8")
    for chosen in (slice(1, 4), np.array([5, 0, 0]), np.array([[1, 2], [3, 4]])):
        part = rows[chosen]
        np.testing.assert_array_equal(part, x[chosen])
        np.testing.assert_array_equal(part.condition, rows.condition[chosen])
    scaled = as_unit_interval(rows[:2])
    np.testing.assert_allclose(scaled, x[:2] / 255, rtol=1e-6)
    np.testing.assert_array_equal(scaled.condition, rows.condition[:2])
    with pytest.raises(ValueError, match="each row has a condition"):
        Conditioned(x, rows.condition[:5])


@pytest.mark.parametrize("ndim", [2, 4])
@pytest.mark.parametrize("block", [False, True])
def test_batches_hold_each_row_with_its_own_condition(ndim, block):
    numbers = np.arange(20, dtype="float32")
    x = np.broadcast_to(numbers.reshape(-1, *[1] * (ndim - 1)), (20, *[2] * (ndim - 1))).copy()
    rows = Conditioned(x, np.stack([2 * numbers, -numbers], axis=1))
    given, condition = next(iter(shuffled_batches(rows, 5, 0, block=block)))
    first = given.numpy().reshape(*given.shape[: 1 + block], -1)[..., 0]
    np.testing.assert_array_equal(condition, np.stack([2 * first, -first], axis=-1))
    plain = next(iter(shuffled_batches(x, 5, 0, block=block)))
    np.testing.assert_array_equal(given, plain)
    pairs = list(batches(rows, 7).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([pair[0] for pair in pairs]), x)
    np.testing.assert_array_equal(np.concatenate([pair[1] for pair in pairs]), rows.condition)


def test_mirroring_leaves_conditions_alone():
    x = np.arange(64, dtype="float32").reshape(8, 2, 4, 1)
    rows = Conditioned(x, np.arange(8, dtype="float32")[:, None])
    stream = shuffled_batches(rows, 8, 0, flip=True).take(10)
    flipped = 0
    for images, condition in stream.as_numpy_iterator():
        own = x[condition[:, 0].astype(int)]
        np.testing.assert_array_equal(images.sum((1, 2, 3)), own.sum((1, 2, 3)))
        flipped += (images != own).any((1, 2, 3)).sum()
    assert 20 < flipped < 60


def test_a_dataset_gets_conditions_in_every_split():
    plain = digits.load()
    found = conditioned(plain, conditions_of(plain, ("digit",)))
    for name in ("train", "valid", "test"):
        rows, split = getattr(found, name).x, getattr(plain, name)
        np.testing.assert_array_equal(rows, split.x)
        np.testing.assert_array_equal(rows.condition.argmax(1), split.labels["digit"])
    assert conditioned(plain, conditions_of(plain, ())) is plain
