"""What no door of a model lets in, whatever the door."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.callbacks import Doctor
from kvae.client.answers import Tensor
from kvae.client.inputs import checked
from kvae.errors import UsageError
from kvae.probability.noise import SeededNoise
from kvae.serving.signatures import endpoints, meanings

RNG = np.random.default_rng(0)


def _vae(shape, **options):
    vae = kvae.build_vae(
        shape, latent_dim=1, network="mlp", hidden_units=(2,), **{"variance": "optimal", **options}
    )
    vae.compile("sgd")
    return vae


@pytest.fixture(scope="module")
def models():
    """Of vectors, one feature, images, conditional vectors, and images of any numbers."""
    return {
        "vectors": _vae((6,), prior="mixture", prior_components=2),
        "one feature": _vae((1,)),
        "images": _vae((4, 4, 1)),
        "conditional": _vae((6,), condition_dim=2),
        "free": _vae((4, 4, 1), value_range=None),
    }


def _rows(x):
    """Slices of the rows, also of a pair, as batches of a stream."""
    parts = x if isinstance(x, tuple) else (x,)
    yield tuple(part[:3] for part in parts)


class _Parts(keras.utils.PyDataset):
    """Batches of three rows, by their number."""

    def __init__(self, x, **kwargs):
        super().__init__(**kwargs)
        self._x = x if isinstance(x, tuple) else (x,)

    def __len__(self):
        return 2

    def __getitem__(self, place):
        return tuple(part[3 * place : 3 * place + 3] for part in self._x)


def _tf_data(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(3)


def _doctor(vae, x):
    Doctor(x).set_model(vae)


def _pair(x):
    return x if isinstance(x, tuple) else (x,)


#: Ways in: (vae, x or a pair) -> what it would do with it.
DOORS = {
    "fit": lambda vae, x: vae.fit(*_pair(x), verbose=0),
    "fit a pair": lambda vae, x: vae.fit(x, verbose=0),
    "evaluate": lambda vae, x: vae.evaluate(x, verbose=0),
    "predict": lambda vae, x: vae.predict(x, verbose=0),
    "validation_data": lambda vae, x: vae.fit(*_pair(_good(vae)), validation_data=x, verbose=0),
    "train_on_batch": lambda vae, x: vae.train_on_batch(*_pair(x)),
    "test_on_batch": lambda vae, x: vae.test_on_batch(*_pair(x)),
    "predict_on_batch": lambda vae, x: vae.predict_on_batch(x),
    "tf.data": lambda vae, x: vae.fit(_tf_data(x), verbose=0),
    "tf.data to evaluate": lambda vae, x: vae.evaluate(_tf_data(x), verbose=0),
    "tf.data to validate": lambda vae, x: vae.fit(
        *_pair(_good(vae)), validation_data=_tf_data(x), verbose=0
    ),
    "generator": lambda vae, x: vae.fit(_rows(x), verbose=0),
    "PyDataset": lambda vae, x: vae.fit(_Parts(x), verbose=0),
    "PyDataset to evaluate": lambda vae, x: vae.evaluate(_Parts(x), verbose=0),
    "score": lambda vae, x: vae.score(x),
    "log_likelihood": lambda vae, x: vae.log_likelihood(x, 2),
    "calibrate": lambda vae, x: vae.calibrate([x]),
    "start_prior": lambda vae, x: vae.start_prior(x),
    "encode": lambda vae, x: vae.encode(x),
    "encode a tensor": lambda vae, x: vae.encode(keras.tree.map_structure(tf.convert_to_tensor, x)),
    "call": lambda vae, x: vae(x),
    "elbo_terms": lambda vae, x: vae.elbo_terms(x, SeededNoise(np.arange(8))),
    "log_weight": lambda vae, x: vae.log_weight(x, SeededNoise(np.arange(8))),
    "interpolate": lambda vae, x: vae.interpolate(x, x, 0.5),
    "Doctor": _doctor,
}


def _good(vae):
    x = RNG.random((8, *vae.element_shape)).astype("float32")
    return (x, np.ones((8, vae.condition_dim), "float32")) if vae.condition_dim else x


VECTORS = RNG.normal(size=(8, 6)).astype("float32")
IMAGES = RNG.random((8, 4, 4, 1)).astype("float32")
HOLED = VECTORS.copy()
HOLED[2, 3] = np.nan
CONDITION = np.ones((8, 2), "float32")
#: What is wrong -> the model, what it is given, and what the message must say.
KINDS = {
    "no feature axis": ("one feature", VECTORS[:, 0], r"shape \(rows, 1\), received \((8|3|None),"),
    "another number of features": ("vectors", VECTORS[:, :1], r"\(rows, 6\), received \(.*, 1\)"),
    "an axis too many": ("vectors", VECTORS[:, :, None], r"received \(.*, 6, 1\)"),
    "no channel axis": ("images", IMAGES[..., 0], r"\(rows, 4, 4, 1\), received \(.*, 4, 4\)"),
    "NaN": ("vectors", HOLED, r"finite in float32, received nan at x\[2, 3\]"),
    "too large for float32": ("vectors", VECTORS.astype("float64") * 1e300, "finite in float32"),
    "a square too large": ("vectors", VECTORS * 0 + 3e38, r"at most 1e\+18 in size"),
    "text": ("vectors", np.full((8, 6), "1.0"), "must be numbers, received"),
    "levels as floats": ("images", IMAGES * 255, r"from [\d.]+ to 2\d\d"),
    "negative images": ("images", IMAGES - 0.5, r"floats in \[0, 1\]; received floats from -0"),
    "int64 images": ("images", (IMAGES * 255).astype("int64"), "received int64"),
    "uint16 images": ("images", (IMAGES * 255).astype("uint16"), "received uint16"),
    "too short a condition": ("conditional", (VECTORS, CONDITION[:, :1]), r"condition must be .*2"),
    "a condition of NaN": ("conditional", (VECTORS, CONDITION * np.nan), "finite"),
    "NaN in any numbers": ("free", IMAGES * np.nan, "finite in float32"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_no_door_lets_it_in(models, door, kind):
    name, x, words = KINDS[kind]
    vae = models[name]
    if kind == "text" and door == "Doctor":
        words = "array of at least 2 rows"
    if door == "Doctor" and kind in ("no feature axis", "an axis too many", "no channel axis"):
        words = "Doctor takes an array"
    with pytest.raises(UsageError, match=words):
        DOORS[door](vae, x)
    assert int(vae.step) == 0


@pytest.mark.parametrize("door", ["fit", "evaluate", "predict", "calibrate", "encode"])
def test_no_rows_are_refused(models, door):
    with pytest.raises(UsageError, match="at least one row, received none"):
        DOORS[door](models["vectors"], VECTORS[:0])


@pytest.mark.parametrize("door", ["fit", "evaluate", "predict", "tf.data"])
def test_batches_that_are_dicts_are_told_how_to_become_tensors(models, door):
    with pytest.raises(UsageError, match=r"dict with the keys 'image', 'label'.*\.map"):
        DOORS[door](models["vectors"], {"image": VECTORS, "label": np.zeros(8)})


def test_a_condition_beside_too_few_or_for_a_model_without_is_refused(models):
    conditional, plain = models["conditional"], models["vectors"]
    for call in (conditional.encode, plain.encode):
        with pytest.raises(UsageError, match="wanted by a model of condition_dim"):
            call(VECTORS if call == conditional.encode else (VECTORS, CONDITION))
    with pytest.raises(UsageError, match="conditional model is given conditions"):
        conditional.fit(VECTORS, verbose=0)
    with pytest.raises(UsageError, match="not conditional"):
        plain.generate(2, condition=[1.0])
    with pytest.raises(UsageError, match="array of numbers, received"):
        conditional.generate(2, condition=["a", "b"])


def test_what_is_right_means_the_same_in_every_form(models):
    images, vectors, conditional = (models[name] for name in ("images", "vectors", "conditional"))
    levels = RNG.integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    mean = images.encode(levels)[0]
    np.testing.assert_allclose(mean, images.encode(levels / 255.0)[0], rtol=1e-5)
    np.testing.assert_allclose(mean, images.encode((levels / 255.0).tolist())[0], rtol=1e-5)
    whole = np.round(VECTORS * 10)
    mean = vectors.encode(whole)[0]
    for dtype in ("int64", "int32", "float64"):
        np.testing.assert_allclose(mean, vectors.encode(whole.astype(dtype))[0], rtol=1e-5)
    list_ = conditional.generate(3, condition=[1.0, 0.0])
    np.testing.assert_array_equal(
        list_, conditional.generate(3, condition=np.array([1.0, 0.0], "float32"))
    )


def test_lists_mean_what_their_arrays_mean(models):
    vae, conditional = models["vectors"], models["conditional"]
    x, condition, weight = VECTORS.tolist(), CONDITION.tolist(), [1.0] * 8

    def same(one, other):
        for ours, theirs in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)

    same(vae.predict(x, verbose=0), vae.predict(VECTORS, verbose=0))
    same(vae.predict_on_batch(x), vae.predict_on_batch(VECTORS))
    same(vae.test_on_batch(x, sample_weight=weight), vae.test_on_batch(VECTORS))
    for given in ((x, condition), [x, condition], (VECTORS, condition)):
        same(conditional.encode(given), conditional.encode((VECTORS, CONDITION)))
        same(conditional.score(given), conditional.score((VECTORS, CONDITION)))
        same(
            conditional.log_likelihood(given, 2),
            conditional.log_likelihood((VECTORS, CONDITION), 2),
        )
        same(
            conditional.evaluate(given, verbose=0),
            conditional.evaluate((VECTORS, CONDITION), verbose=0),
        )
    same(
        conditional.evaluate(x, condition, sample_weight=weight, verbose=0),
        conditional.evaluate(VECTORS, CONDITION, verbose=0),
    )
    with pytest.raises(UsageError, match="a list that is none"):
        vae.encode([[1.0], [2.0, 3.0]])


@pytest.mark.parametrize("weight", [np.full(8, -1.0), np.full(8, np.nan), np.ones((8, 6))])
def test_weights_of_streams_are_looked_at(models, weight):
    for stream in (
        tf.data.Dataset.from_tensors((VECTORS, VECTORS, weight)),
        _Parts((VECTORS, VECTORS, weight)),
    ):
        with pytest.raises(UsageError, match="sample_weight must be"):
            models["vectors"].fit(stream, verbose=0)


def test_uint8_is_divided_in_images_alone(models):
    whole = RNG.integers(0, 9, (8, 6)).astype("uint8")
    vae = models["vectors"]
    np.testing.assert_array_equal(vae.encode(whole)[0], vae.encode(whole.astype("float32"))[0])
    with pytest.raises(UsageError, match="uint8 images are levels"):
        models["free"].encode((IMAGES * 255).astype("uint8"))


def test_what_is_no_array_is_named(models):
    sparse = type("Sparse", (), {"toarray": lambda self: VECTORS})()
    with pytest.raises(UsageError, match="toarray"):
        models["vectors"].fit(sparse, verbose=0)
    with pytest.raises(UsageError, match="received 4 parts"):
        models["vectors"].fit(VECTORS, validation_data=(VECTORS,) * 4, verbose=0)
    assert models["vectors"](keras.Input((6,))).shape == (None, 6)


def test_without_a_value_range_images_are_any_numbers(models):
    x = RNG.normal(0, 100, (8, 4, 4, 1)).astype("float32")
    free = models["free"]
    assert np.isfinite(free.elbo_terms(x, SeededNoise(np.arange(8))).elbo).all()
    again = kvae.VAE.from_config(free.get_config())
    assert again.value_range is None
    with pytest.raises(UsageError, match=r"\(0, 1\), of images, or None"):
        _vae((4, 4, 1), value_range=(0, 255))


def test_signatures_and_clients_follow_the_value_range(models):
    for name, range_ in (("images", (0.0, 1.0)), ("free", None)):
        vae = models[name]
        assert meanings(vae)["x"].range == range_
        assert ("encode_bytes" in endpoints(vae)) == (range_ is not None)
    x, wanted = IMAGES * 300, {"x": Tensor("float32", (None, 4, 4, 1))}
    np.testing.assert_array_equal(checked("encode", wanted, {"x": x}, None)["x"], x)
    with pytest.raises(UsageError, match="images are uint8, or floats from 0 to 1"):
        checked("encode", wanted, {"x": x})


def test_log_densities_never_broadcast_x(models):
    decoded = models["vectors"].decode(np.zeros((8, 1), "float32"))
    with pytest.raises(UsageError, match=r"\(6,\).*\(1,\)"):
        decoded.log_prob(np.zeros((8, 1), "float32"))


def test_few_rows_leave_a_prior_as_it_was(models):
    vae = models["vectors"]
    before = [weight.copy() for weight in vae.prior.get_weights()]
    with pytest.warns(UserWarning, match="1 rows are too few for one of 2 components"):
        assert not vae.start_prior(VECTORS[:1])
    for old, new in zip(before, vae.prior.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vae.start_prior(VECTORS)
