import random
import re

import keras
import numpy as np
import pytest

from kvae import data
from kvae.data import Dataset, Split
from kvae.errors import KvaeError, UsageError
from kvae.features import attributes, feature_net
from kvae.features.attributes import Head, Trained, heads_of

SHAPE = (9, 14, 1)


def marked(count, seed):
    """Noise; a row of it is bright where the attribute is true, its place is the class."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 100, (count, *SHAPE), dtype=np.uint8)
    bright, place, level = rng.random(count) < 0.3, rng.integers(0, 3, count), rng.random(count)
    x[np.arange(count), 3 * place] = np.where(bright, 250, 150)[:, None, None]
    x[:, :, 10:] = (250 * level).astype(np.uint8)[:, None, None, None]
    labels = {
        "place": 10 * place, "level": level.astype(np.float32), "bright": bright,
        "constant": np.ones(count, bool), "identity": np.arange(count),
    }  # fmt: skip
    return Split(x, labels)


DATA = Dataset("images", marked(600, 1), marked(100, 2), marked(300, 3))


@pytest.fixture
def quick(monkeypatch):
    """Training that gives a network with random weights."""
    body = attributes._network(SHAPE, 1, 0)[1]
    monkeypatch.setattr(attributes, "_train", lambda *_: Trained(body, 0.75, 0.5))


def forbidden(*_):
    raise AssertionError("trained twice")


def _files(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes")
    before = random.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attributes, "_MAX_EPOCHS", 12)
        net = feature_net("attributes", DATA, cache_dir=folder)
    assert random.getstate() == before, "random numbers of others were taken"
    return net, folder


def test_features_tell_what_the_labels_tell(trained):
    from sklearn.linear_model import LinearRegression, LogisticRegression

    train, test = (trained[0].extract(split.x) for split in (DATA.train, DATA.test))
    assert train.shape == (600, 128)
    for name in ("bright", "place"):
        fit = LogisticRegression(max_iter=2000).fit(train, DATA.train.labels[name])
        assert fit.score(test, DATA.test.labels[name]) > 0.97
    fit = LinearRegression().fit(train, DATA.train.labels["level"])
    assert fit.score(test, DATA.test.labels["level"]) > 0.97


def test_the_description_says_how_it_was_made(trained):
    text = trained[0].description
    assert trained[0].key == "frechet_attributes"
    for part in (
        "600 train images", "(true-or-false attributes: 1, classes: 1, numbers: 1)",
        "plain, mean over attributes and classes, of 100 valid images", "9x14x1", "128 features",
    ):  # fmt: skip
        assert part in text
    accuracy, baseline = (
        float(re.search(words + r" (\d+\.\d)%", text)[1]) for words in ("accuracy", "answer:")
    )
    labels = DATA.train.labels, DATA.valid.labels
    commonest = [np.bincount(labels[0][name].astype(int)).argmax() for name in ("bright", "place")]
    hits = [labels[1][n] == most for n, most in zip(("bright", "place"), commonest, strict=True)]
    assert baseline == pytest.approx(100 * np.mean(hits), abs=0.05)
    assert 85 < accuracy <= 100
    assert trained[0].skill == pytest.approx((accuracy - baseline) / (100 - baseline), abs=0.002)


def test_the_same_data_are_learned_once(trained, monkeypatch, capsys):
    net, folder = trained
    monkeypatch.setattr(attributes, "_train", forbidden)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = feature_net("attributes", DATA, cache_dir=folder)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(again.extract(DATA.test.x), net.extract(DATA.test.x))
    assert again.description == net.description
    assert capsys.readouterr().out == ""
    assert len(_files(folder)) == 1


def test_digits_of_one_class_are_neighbours(tmp_path, monkeypatch):
    from sklearn.neighbors import KNeighborsClassifier

    monkeypatch.setattr(attributes, "_MAX_EPOCHS", 4)
    digits = data.load("digits")
    extract = feature_net("attributes", digits, cache_dir=tmp_path).extract
    vote = KNeighborsClassifier(5).fit(extract(digits.train.x), digits.train.labels["digit"])
    assert vote.score(extract(digits.test.x), digits.test.labels["digit"]) > 0.93


def test_whatever_is_learned_from_changes_the_file(tmp_path, monkeypatch, quick):

    def variant(train=DATA.train, valid=DATA.valid, **options):
        feature_net("attributes", Dataset("images", train, valid, DATA.test), cache_dir=tmp_path,
                    **options)  # fmt: skip
        return len(_files(tmp_path))

    def changed(split, name=None):
        x, labels = split.x.copy(), dict(split.labels)
        if name is None:
            x[-1, -1, -1] ^= 1
        else:
            labels[name] = labels[name].copy()
            labels[name][-1] = labels[name][0] if labels[name][-1] != labels[name][0] else next(
                value for value in labels[name] if value != labels[name][0]
            )  # fmt: skip
        return Split(x, labels)

    assert variant() == variant() == 1
    assert variant(seed=1) == 2
    assert variant(train=changed(DATA.train)) == 3
    assert variant(valid=changed(DATA.valid)) == 4
    for count, name in enumerate(("bright", "place", "level"), 5):
        assert variant(train=changed(DATA.train, name)) == count
    monkeypatch.setattr(attributes, "_VERSION", -1)
    assert variant() == 8
    assert variant(train=changed(DATA.train, "identity")) == 8


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_a_damaged_file_is_made_anew(tmp_path, monkeypatch, capsys, quick, damage):
    net = feature_net("attributes", DATA, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 16
    path.write_bytes({"cut": whole[:-500], "empty": b"", "flipped": flipped, "other": b"x"}[damage])
    capsys.readouterr()
    again = feature_net("attributes", DATA, cache_dir=tmp_path)
    assert f"{path} is damaged and is made anew" in capsys.readouterr().err
    np.testing.assert_array_equal(again.extract(DATA.test.x), net.extract(DATA.test.x))
    monkeypatch.setattr(attributes, "_train", forbidden)
    feature_net("attributes", DATA, cache_dir=tmp_path)


@pytest.mark.parametrize(("where", "call"), [("os", "fsync"), ("Path", "replace")])
def test_no_half_file_is_left_and_no_features_are_lost(
    tmp_path, monkeypatch, capsys, quick, where, call
):
    def full_disk(*_):
        (partial,) = _files(tmp_path)
        assert partial.startswith(".") and not partial.endswith(".npz")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(getattr(attributes, where), call, full_disk)
    net = feature_net("attributes", DATA, cache_dir=tmp_path)
    assert _files(tmp_path) == set()
    assert "cannot be kept: No space left" in capsys.readouterr().err
    assert np.isfinite(net.extract(DATA.test.x)).all()


def test_the_cache_is_the_one_of_images_unless_told(tmp_path, monkeypatch, capsys, quick):
    monkeypatch.setenv("KVAE_CACHE_DIR", str(tmp_path / "mine"))
    feature_net("attributes", DATA)
    (name,) = _files(tmp_path / "mine")
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and name in out and "on 600 images to name their labels (2)" in out


def test_labels_that_can_be_learned():
    labels = {
        "classes": np.array([7, 3, 3, 5]), "number": np.array([1.0, 3.0, 1.0, 3.0]),
        "true": np.array([True, False, True, True]), "small": np.array([0, 1, 1, 0], np.uint8),
        "one": np.zeros(4, int), "all": np.ones(4, bool), "flat": np.full(4, 0.5),
        "hole": np.array([0.0, np.nan, 1.0, 1.0]), "text": np.array(list("abcd")),
        "pairs": np.zeros((4, 2), bool), "absent": np.array([True, False, True, True]),
    }  # fmt: skip
    valid = {name: values for name, values in labels.items() if name != "absent"}
    heads = heads_of(labels, valid)
    assert heads == [
        Head("true", "attribute"), Head("number", "number", (2.0, 1.0)),
        Head("classes", "class", (3.0, 5.0, 7.0)), Head("small", "class", (0.0, 1.0)),
    ]  # fmt: skip
    assert sum(head.size for head in heads) == 1 + 1 + 3 + 2
    assert heads_of({"number": labels["number"]}, labels) == []
    for count in (50, 51):
        many = {"class": np.arange(count)}
        assert len(heads_of(many, many)) == (count == 50)


def test_targets_by_hand():
    found = Head("", "class", (3.0, 5.0, 7.0)).targets(np.array([7, 3, 4, 9, 0]))
    np.testing.assert_array_equal(found, [2, 0, -1, -1, -1])
    np.testing.assert_array_equal(Head("", "number", (2.0, 4.0)).targets([10.0, 0.0]), [2, -0.5])
    np.testing.assert_array_equal(Head("", "attribute").targets([True, False]), [1, 0])


HEADS = [
    Head("a", "attribute"), Head("n", "number", (0.0, 1.0)), Head("c", "class", (1.0, 2.0, 4.0)),
    Head("d", "class", (0.0, 1.0)),
]  # fmt: skip


def test_the_loss_is_minus_the_log_likelihood():
    outputs = np.array([[0.7, 1.5, 0.1, 2.0, -1.0, 3.0, 1.0], [-2.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.5]])
    targets = np.array([[1, 1.0, 1, 1], [0, -2.0, 2, -1]])
    first = [
        np.log1p(np.exp(-0.7)), 0.5 * 0.5**2, np.log(np.exp([0.1, 2.0, -1.0]).sum()) - 2.0,
        np.log1p(np.exp(2.0)),
    ]  # fmt: skip
    # The second row's last label is a class that train does not have.
    second = [np.log1p(np.exp(-2.0)), 0.5 * 2.0**2, np.log(3.0)]
    loss = attributes._loss(HEADS)(targets.astype("float32"), outputs.astype("float32"))
    assert float(loss) == pytest.approx((sum(first) + sum(second)) / 8, rel=1e-5)


def test_accuracy_counts_attributes_and_classes():
    outputs = np.array([[0.7, 9.0, 0.1, 2.0, -1.0, 3.0, 1.0], [-2.0, 0.0, 1.0, 1.1, 1.0, 0.0, 0.5]])
    answers = attributes._answers(HEADS, outputs)
    np.testing.assert_array_equal(answers, [[1, 9, 1, 0], [0, 0, 1, 1]])
    targets = np.array([[1, 5.0, 1, 1], [1, 0.0, 1, -1]])
    assert attributes._accuracy(HEADS, targets, answers) == 3 / 6


def test_the_epoch_of_the_best_held_out_loss_is_kept(tmp_path, monkeypatch):
    made, seen = [], []
    network, loss_of = attributes._network, attributes._loss

    def noted_network(*args):
        made.append(network(*args))
        return made[-1]

    def scripted_loss(heads):
        loss = loss_of(heads)

        def scripted(targets, outputs):
            if not isinstance(outputs, np.ndarray):
                return loss(targets, outputs)
            seen.append(made[-1][1].get_weights())
            return [2.0, 1.0, 1.5][len(seen) - 1]

        return scripted

    monkeypatch.setattr(attributes, "_network", noted_network)
    monkeypatch.setattr(attributes, "_loss", scripted_loss)
    monkeypatch.setattr(attributes, "_MAX_EPOCHS", 3)
    few = Split(DATA.train.x[:60], {"bright": DATA.train.labels["bright"][:60]})
    feature_net("attributes", Dataset("images", few, few, few), cache_dir=tmp_path)
    kept = made[-1][1].get_weights()
    for epoch, weights in enumerate(seen):
        same = all(np.array_equal(a, b) for a, b in zip(kept, weights, strict=True))
        assert same == (epoch == 1)
    assert len(seen) == 3


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (63, 40, 1), (64, 64, 3), (256, 200, 3)])
def test_every_part_of_an_image_counts_at_any_size(shape):
    body = attributes._network(shape, 1, 0)[1]
    x = np.full((10, *shape), 128, np.uint8)
    rows, columns = np.linspace(0, [shape[0] - 1, shape[1] - 1], 3).astype(int).T
    for i, (row, column) in enumerate(np.stack(np.meshgrid(rows, columns), -1).reshape(-1, 2), 1):
        x[i, row, column] = 255
    features = attributes._forward(body)(x)
    assert (np.abs(features[1:] - features[0]).max(axis=1) > 0).all()
    assert body.layers[-1].input.shape[1] <= 4 * 4 * 128


def test_a_training_that_diverges_is_an_error_and_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(attributes, "_MAX_EPOCHS", 1)
    monkeypatch.setattr(attributes, "_loss", lambda _: lambda *_: np.nan)
    monkeypatch.setattr(keras.Model, "train_on_batch", lambda *_: None)
    with pytest.raises(KvaeError, match="held-out loss is nan"):
        feature_net("attributes", DATA, cache_dir=tmp_path)
    assert _files(tmp_path) == set()


def test_without_labels_it_says_what_is_wanted(tmp_path):
    constant = {"same": np.ones(600, bool)}
    splits = [Split(split.x, constant) for split in (DATA.train, DATA.valid, DATA.test)]
    with pytest.raises(UsageError, match="2 to 50 classes; found same"):
        feature_net("attributes", Dataset("images", *splits), cache_dir=tmp_path)
