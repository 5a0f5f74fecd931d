import numpy as np
import pytest

import kvae
from kvae.data import load
from kvae.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(120, 3))
IMAGES = np.random.default_rng(0).integers(0, 256, (120, 4, 4, 1), np.uint8)
FLOATS = IMAGES / 255


def _splits(dataset):
    return {name: getattr(dataset, name) for name in ("train", "valid", "test")}


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_vectors_are_those_of_a_file_of_the_same_numbers(tmp_path, parts):
    text = np.array(["b", "a"] * 60)
    xs, ys = (np.split(all_, [100, 110][: parts - 1]) for all_ in (X, text))
    names = ["train", "test", "valid"][:parts]
    given = dict(zip(names, xs, strict=True))
    order = sorted(range(parts), key=lambda place: ("train", "valid", "test").index(names[place]))
    labels = tuple(ys[place] for place in order) if parts > 1 else text
    np.savez(
        tmp_path / "t.npz", **{f"x_{name}": x for name, x in given.items()},
        **{f"y_{name}": y for name, y in zip(names, ys, strict=True)},
    )  # fmt: skip
    ours = kvae.Dataset.from_arrays(**given, labels=labels)
    file = load("arrays", data_dir=str(tmp_path / "t.npz"))
    assert {**ours.card, "source": 0} == {**file.card, "source": 0}
    for name, split in _splits(ours).items():
        other = getattr(file, name)
        np.testing.assert_array_equal(split.x, other.x)
        np.testing.assert_array_equal(split.labels["label"], other.labels["label"])
    assert ours.train.x.dtype == np.float32


def test_without_test_rows_those_to_choose_on_are_reported_on():
    dataset = kvae.Dataset.from_arrays(X[:100], valid=X[100:])
    np.testing.assert_array_equal(dataset.test.x, X[100:].astype("float32"))
    assert len(dataset.valid.x) == 10
    assert dataset.card["split"] == "own, its valid split for test, valid a random tenth of train"


@pytest.mark.parametrize("images", [IMAGES, FLOATS], ids=["uint8", "float64"])
def test_images_keep_their_levels(images):
    seen = np.arange(120) % 2 == 0
    dataset = kvae.Dataset.from_arrays(images, labels={"seen": seen, "digit": np.arange(120) % 3})
    assert dataset.kind == "images"
    assert dataset.train.x.dtype == (np.uint8 if images is IMAGES else np.float32)
    rows = np.concatenate([split.x for split in _splits(dataset).values()])
    assert sorted(map(float, rows.sum((1, 2, 3)))) == pytest.approx(sorted(images.sum((1, 2, 3))))
    assert dataset.train.labels["seen"].dtype == bool
    assert dataset.card["label_names"] == {"digit": ["0", "1", "2"]}


@pytest.mark.parametrize("x", [X.astype("float32"), IMAGES, FLOATS.astype("float32")])
def test_own_splits_are_not_copied(x):
    dataset = kvae.Dataset.from_arrays(x[:80], x[80:100], x[100:])
    for name, split in _splits(dataset).items():
        assert np.shares_memory(split.x, x), name
    two = kvae.Dataset.from_arrays(x[:100], test=x[100:])
    assert np.shares_memory(two.test.x, x)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([two.train.x, two.valid.x]), axis=0), np.sort(x[:100], axis=0)
    )


def test_images_of_any_numbers_are_asked_for():
    x = (FLOATS * 50 - 40).astype("float32")
    dataset = kvae.Dataset.from_arrays(x, value_range=None)
    assert dataset.value_range is None
    assert dataset.card["value_range"] is None
    assert (dataset.train.x.min(), dataset.train.x.max()) == (-40, 10)
    assert kvae.Dataset.from_arrays(FLOATS).value_range == (0, 1)
    with pytest.raises(DataError, match="value_range=None for any numbers"):
        kvae.Dataset.from_arrays(x)
    for given in (x * np.nan, x.astype("float64") * 1e300):
        with pytest.raises(DataError, match=r"row 1 of 'train': .* finite in float32"):
            kvae.Dataset.from_arrays(given, value_range=None)
    with pytest.raises(UsageError, match="value_range is"):
        kvae.Dataset.from_arrays(x, value_range=(-1, 1))
    rounded = kvae.Dataset.from_arrays(FLOATS - 1e-5)
    assert min(split.x.min() for split in _splits(rounded).values()) == 0


def test_another_number_is_another_dataset():
    other = IMAGES.copy()
    other[0, 0, 0, 0] ^= 1
    first, second = (kvae.Dataset.from_arrays(images).card["sha256"] for images in (IMAGES, other))
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"train": X[:, 0]}, UsageError, r"train: wanted vectors .* shape \(120,\)"),
        ({"train": IMAGES[..., 0]}, UsageError, r"one channel: x\[\.\.\., None\]"),
        ({"train": IMAGES.astype("int64")}, UsageError, "uint8, or floats .* received int64"),
        ({"train": IMAGES.astype("float32")}, DataError, r"row 1 of 'train': floats of images"),
        ({"train": FLOATS * np.nan}, DataError, "found nan"),
        ({"train": [["a", "b"]]}, UsageError, "received type <U1"),
        ({"train": [[1, 2], [3]]}, UsageError, "train: wanted vectors"),
        ({"train": None}, UsageError, "received None"),
        ({"train": X, "test": X[:, :2]}, UsageError, r"test: wanted rows of shape \(3,\)"),
        ({"train": X[:50]}, DataError, "100 rows at least"),
        ({"train": X, "test": X[:5]}, DataError, "split 'test' has 5"),
        ({"train": X * np.inf}, DataError, "row 1 of 'train', column 1: .* not finite"),
        ({"train": X * [1, 3e38, 1]}, DataError, "row 1 of 'train', column 2: .* too large"),
        ({"train": X, "labels": [f"id {i}" for i in range(120)]}, DataError,
         "labels 'label': 120 different texts in 120 rows are no classes"),
        ({"train": X, "labels": {"y": X[:, 0]}}, DataError, "'y': 120 different numbers in 120"),
        ({"train": X, "labels": {"a\x1b": X[:, 0] > 0}}, DataError, r"labels: the name 'a\\x1b'"),
        ({"train": X, "labels": ["s\n", "t"] * 60}, DataError, r"the name 's\\n' holds"),
        ({"train": X, "names": ["a", "b", "\x00"]}, DataError, r"names: the name '\\x00' holds"),
        ({"train": X, "names": ["a", "b"]}, UsageError, r"received 2 for rows of shape \(3,\)"),
        ({"train": X, "labels": np.zeros(5)}, UsageError, r"received 1 of shape \(5,\)"),
        ({"train": X, "test": X, "labels": np.zeros(240)}, UsageError, "a tuple of arrays"),
        ({"train": X, "split_seed": -1}, UsageError, "seed"),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_refused(arguments, kind, words):
    with pytest.raises(kind, match=words):
        kvae.Dataset.from_arrays(**arguments)


def test_a_loaded_dataset_knows_how_it_was_loaded():
    options = {"gmm_components": 3, "gmm_dim": 2}
    assert load("gmm", **options).origin == {"dataset": "gmm", **options}
    assert kvae.Dataset.from_arrays(X).origin["dataset"] == "arrays"
