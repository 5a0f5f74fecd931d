import keras
import numpy as np
import pytest

from kvae import features
from kvae.data import Dataset, Split, rows
from kvae.errors import UsageError
from kvae.features import FEATURES, FeatureNet, attributes, feature_net, inception
from kvae.registry import Member

SHAPE = (12, 20, 3)


def bars(count, seed):
    """Noise with a bright bar on the left or on the right, which is its label."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 80, (count, *SHAPE), dtype=np.uint8)
    right = rng.random(count) < 0.5
    x[right, :, 12:16] += 170
    x[~right, :, 4:8] += 170
    return Split(x, {"right": right})


DATA = Dataset("images", bars(200, 1), bars(40, 2), bars(40, 3))
UNLABELLED = Dataset("images", *(Split(split.x) for split in (DATA.train, DATA.valid, DATA.test)))


def small_network():
    """The contract of Inception without its top, and three features."""
    inputs = keras.Input((299, 299, 3))
    mean = keras.layers.GlobalAveragePooling2D(dtype="float32")(inputs)
    start = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=start)(mean))


@pytest.fixture(scope="module", params=list(FEATURES))
def net(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attributes, "_MAX_EPOCHS", 2)
        patch.setattr(inception, "_network", small_network)
        small_network().save_weights(folder / "w.weights.h5")
        yield feature_net(
            request.param, DATA, inception_weights=folder / "w.weights.h5", cache_dir=folder
        )


def test_an_image_has_the_same_features_alone_and_among_others(net):
    x = np.concatenate([split.x for split in (DATA.train, DATA.valid, DATA.test)])
    together = net.extract(x)
    assert len(x) > 256 and together.dtype == np.float32
    for i in (0, 70, 279):
        np.testing.assert_allclose(net.extract(x[i : i + 1])[0], together[i], rtol=0, atol=1e-5)
    assert np.abs(together - together[0]).max() > 1e-2
    assert net.extract(x[:0]).shape == (0, together.shape[1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_rounded_to_the_grey_levels_of_data(net, dtype):
    levels = np.arange(256, dtype=np.uint8)
    x = np.resize(levels, (2, *SHAPE))
    exact = net.extract(x)
    np.testing.assert_array_equal(net.extract((x / 255).astype(dtype)), exact)
    nudged = (x + np.random.default_rng(0).uniform(-0.4, 0.4, x.shape)) / 255
    np.testing.assert_array_equal(net.extract(nudged.astype("float32")), exact)


def test_what_is_outside_of_the_unit_interval_is_clipped(net):
    x = np.random.default_rng(0).uniform(-0.5, 1.5, (4, *SHAPE)).astype("float32")
    np.testing.assert_array_equal(net.extract(x), net.extract(np.clip(x, 0, 1)))


def test_images_that_are_none_are_refused(net):
    with pytest.raises(ValueError, match="finite"):
        net.extract(np.full((2, *SHAPE), np.nan, "float32"))
    with pytest.raises(ValueError, match=r"uint8 or float.*int64"):
        net.extract(np.zeros((2, *SHAPE), np.int64))
    for shape in ((2, 12, 20), (2, 12, 20, 2), SHAPE):
        with pytest.raises(ValueError, match=r"images must be \(n, .*received"):
            net.extract(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("net", ["attributes", "pca"], indirect=True)
def test_learned_features_are_of_images_of_one_size(net):
    with pytest.raises(ValueError, match=r"\(n, 12, 20, 3\), received \(2, 20, 12, 3\)"):
        net.extract(np.zeros((2, 20, 12, 3), np.uint8))


def test_features_that_are_not_finite_are_an_error():
    extract = features.extractor(lambda x: np.full((len(x), 2), np.inf), 2, most=4)
    with pytest.raises(ValueError, match="features must be finite"):
        extract(np.zeros((5, 8, 8, 1), np.uint8))


def test_batches_are_smaller_where_images_are_larger(monkeypatch):
    monkeypatch.setattr(rows, "MOST_NUMBERS", 1000)
    sizes = []

    def first_pixel(x):
        sizes.append(len(x))
        return x[:, 0, 0]

    for size, batches in ((8, [5, 5, 2]), (16, [3, 3, 3, 3]), (64, [1] * 12)):
        sizes.clear()
        x = np.zeros((12, size, size, 1), np.uint8)
        x[:, 0, 0, 0] = np.arange(12)
        extract = features.extractor(first_pixel, 1, most=5)
        np.testing.assert_array_equal(extract(x)[:, 0], np.arange(12))
        assert sizes == batches


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Members that only say who was asked, and with what; Keras has no weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in FEATURES:

        def make(dataset, name=name, **options):
            return FeatureNet(name, options, None)

        monkeypatch.setitem(FEATURES, name, Member("", lambda make=make: make))


def test_auto_takes_weights_before_labels_before_pixels(made, tmp_path):
    assert feature_net("auto", DATA).key == "attributes"
    assert feature_net("auto", UNLABELLED).key == "pca"
    given = tmp_path / "mine.h5"
    given.touch()
    assert feature_net("auto", DATA, inception_weights=given).key == "inception"
    kept = tmp_path / "models" / features.WEIGHTS_NAME
    kept.parent.mkdir()
    kept.touch()
    assert feature_net("auto", UNLABELLED).key == "inception"
    assert feature_net("attributes", DATA).key == "attributes"
    assert feature_net("pca", DATA).key == "pca"
    assert features.find_inception_weights() == kept


@pytest.mark.parametrize(
    ("skill", "key"), [(0.5, "attributes"), (0.1, "attributes"), (0.06, "pca")]
)
def test_a_network_that_learned_nothing_judges_nothing(made, monkeypatch, capsys, skill, key):
    def make(dataset, **_):
        return FeatureNet("attributes", "", None, skill)

    monkeypatch.setitem(FEATURES, "attributes", Member("", lambda: make))
    assert feature_net("auto", DATA).key == key
    assert ("did not learn the labels" in capsys.readouterr().out) == (key == "pca")
    assert feature_net("attributes", DATA).key == "attributes"


def test_labels_without_variety_are_none(made):
    same = {"right": np.ones(200, bool)}
    constant = Dataset(
        "images", Split(DATA.train.x, same), Split(DATA.valid.x, same), Split(DATA.test.x, same)
    )
    assert feature_net("auto", constant).key == "pca"


def test_options_reach_the_member(made):
    options = {"inception_weights": None, "cache_dir": "somewhere", "seed": 7}
    assert feature_net("pca", DATA, **options).description == options


def test_the_home_of_keras_is_that_of_the_user_unless_set(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert features.default_inception_weights() == (
        tmp_path / ".keras" / "models" / features.WEIGHTS_NAME
    )


def test_errors_say_what_is_allowed(made, tmp_path):
    with pytest.raises(UsageError, match="choose one of auto, inception, attributes, pca"):
        feature_net("vgg", DATA)
    points = Split(np.zeros((20, 2), np.float32))
    with pytest.raises(UsageError, match="holds vectors"):
        feature_net("auto", Dataset("vectors", points, points, points))
    with pytest.raises(UsageError, match=r"--inception-weights .*no such file"):
        feature_net("auto", DATA, inception_weights=tmp_path / "none.h5")
