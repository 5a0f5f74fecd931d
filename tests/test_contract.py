"""What Keras's users expect of `compile`, `fit`, `evaluate`, saving and export."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.errors import UsageError
from kvae.likelihoods.gaussian import Gaussian
from kvae.objectives.elbo import Elbo
from kvae.objectives.iwae import Iwae
from kvae.priors import Prior
from kvae.priors.mixture import Mixture
from kvae.priors.standard_normal import StandardNormal
from kvae.priors.vamp import Vamp
from kvae.probability.noise import SeededNoise, StepNoise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
FAR = np.concatenate([X[:32], X[32:] + 50])
WEIGHT = np.repeat([1.0, 0.0], 32).astype("float32")
LABEL = np.repeat([1, 0], 32)
CONDITION = np.eye(2, dtype="float32")[LABEL]


def _vae(optimizer=None, metrics=None, **options):
    keras.utils.set_random_seed(0)
    options = {"latent_dim": 2, "hidden_units": (4,), **options}
    vae = kvae.build_vae((6,), **options)
    vae.compile(optimizer or keras.optimizers.SGD(1e-6), metrics=metrics)
    return vae


def _values(vae):
    return np.concatenate([weight.ravel() for weight in vae.get_weights()])


def _weighed(x, form):
    """Ways to give weights: (x, what `fit` is given, whether the model is conditional)."""
    return {
        "sample_weight": (dict(x=x, sample_weight=WEIGHT), 0),
        "column": (dict(x=x, sample_weight=WEIGHT[:, None]), 0),
        "class_weight": (dict(x=x, y=LABEL, class_weight={0: 0.0, 1: 1.0}), 0),
        "conditions": (dict(x=x, y=CONDITION, sample_weight=WEIGHT), 2),
        "pair": (dict(x=(x, CONDITION), sample_weight=WEIGHT), 2),
        "tf.data": (dict(x=tf.data.Dataset.from_tensors((x, LABEL, WEIGHT))), 0),
        "tf.data, conditions": (dict(x=tf.data.Dataset.from_tensors((x, CONDITION, WEIGHT))), 2),
    }[form]


FORMS = (
    "sample_weight", "column", "class_weight", "conditions", "pair", "tf.data",
    "tf.data, conditions",
)  # fmt: skip


@pytest.fixture(scope="module")
def weighed_models():
    """condition_dim -> a model and its weights at the start; traced once for many fits."""
    models = {dim: _vae(condition_dim=dim, variance="optimal") for dim in (0, 2)}
    return {dim: (vae, vae.get_weights()) for dim, vae in models.items()}


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_weight_0_have_no_part_in_fit_and_its_figures(weighed_models, form):
    """Nor in the moving average and the last pass of the variance "optimal"."""
    found = []
    for x in (X, FAR):
        given, condition_dim = _weighed(x, form)
        vae, start = weighed_models[condition_dim]
        vae.set_weights(start)
        batch = {} if "tf" in form else {"batch_size": 64, "shuffle": False}
        history = vae.fit(**given, **batch, verbose=0).history
        found.append((_values(vae), [history[name][0] for name in sorted(history)]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_weighed_figures_are_what_keras_says():
    """loss: sum(w l) / rows; elbo, distortion and rate: sum(w v) / sum(w); in fit and evaluate."""
    weight = RNG.uniform(0, 3, 64).astype("float32")
    vae = _vae(keras.optimizers.SGD(0.0))
    rows = np.arange(64, dtype="int32")
    for is_fit in (True, False):
        step = int(vae.step)
        noise = StepNoise.training(0, step, rows) if is_fit else StepNoise.validation(0, rows)
        terms = vae.elbo_terms(X, noise)
        elbo, rate = np.asarray(terms.elbo), np.asarray(terms.rate)
        given = dict(sample_weight=weight, batch_size=64, verbose=0)
        if is_fit:
            found = {k: v[0] for k, v in vae.fit(X, shuffle=False, **given).history.items()}
        else:
            found = vae.evaluate(X, return_dict=True, **given)
        assert found["loss"] == pytest.approx((weight * -elbo).sum() / 64, rel=1e-5)
        assert found["elbo"] == pytest.approx((weight * elbo).sum() / weight.sum(), rel=1e-5)
        assert found["rate"] == pytest.approx((weight * rate).sum() / weight.sum(), rel=1e-5)
    history = vae.fit(X, validation_data=(X, None, weight), verbose=0).history
    assert history["val_loss"][0] == pytest.approx(found["loss"], rel=1e-5)
    assert history["val_elbo"][0] == pytest.approx(found["elbo"], rel=1e-5)


def test_the_moving_variance_is_weighed():
    weight = RNG.uniform(0, 3, 64).astype("float32")
    vae = _vae(keras.optimizers.SGD(0.0), variance="optimal")
    before = float(vae.likelihood.mean_squared_error[0])
    noise = StepNoise.training(0, 0, np.arange(64, dtype="int32"))
    latent = vae.posterior(X).sample(noise, "posterior")
    error = np.square(X - np.asarray(vae.decode(latent).mean())).mean(axis=1)
    vae.fit(
        X, sample_weight=weight, batch_size=64, shuffle=False, calibrate=False, verbose=0
    )  # fmt: skip
    wanted = 0.95 * before + 0.05 * (weight * error).sum() / weight.sum()
    assert float(vae.likelihood.mean_squared_error[0]) == pytest.approx(wanted, rel=1e-4)


def test_iwae_weighs_rows_and_not_draws():
    weight = RNG.uniform(0, 3, 64).astype("float32")
    vae = _vae(keras.optimizers.SGD(0.0), objective="iwae", iwae_draws=3)
    twice = np.concatenate([X, X])
    one = vae.evaluate(X, sample_weight=weight, batch_size=64, verbose=0, return_dict=True)
    two = vae.evaluate(
        twice, sample_weight=np.concatenate([weight, 0 * weight]), batch_size=128, verbose=0,
        return_dict=True,
    )  # fmt: skip
    assert one["elbo"] == pytest.approx(two["elbo"], rel=1e-5)
    assert one["loss"] == pytest.approx(2 * two["loss"], rel=1e-5)


@pytest.mark.parametrize("options", [{"free_bits": 0.1}, {"tc_weight": 2.0}])
def test_weights_are_refused_where_a_loss_is_of_rows_together(options):
    with pytest.raises(UsageError, match="weights of rows are not for free_bits"):
        _vae(**options).fit(X, sample_weight=WEIGHT, verbose=0)


@pytest.mark.parametrize("weight", [WEIGHT[:3], -WEIGHT - 1, WEIGHT * np.nan, np.ones((64, 6))])
def test_weights_that_are_none_are_refused(weight):
    for door in ("fit", "evaluate"):
        with pytest.raises(UsageError, match="sample_weight must be"):
            getattr(_vae(), door)(X, sample_weight=weight, verbose=0)


def test_a_given_loss_is_refused_and_names_of_metrics_that_are_taken():
    with pytest.raises(UsageError, match="compile takes no loss"):
        _vae().compile("adam", loss="mse")
    with pytest.raises(UsageError, match="rate is a figure"):
        _vae().compile("adam", metrics=[keras.metrics.MeanSquaredError(name="rate")])


@pytest.mark.parametrize("objective", [{}, {"objective": "iwae", "iwae_draws": 2}])
def test_given_metrics_see_x_and_the_decoded_mean_of_the_step(objective):
    vae = _vae(
        keras.optimizers.SGD(0.0), [keras.metrics.MeanSquaredError("mse")], variance=0.5,
        scale=np.arange(1.0, 7.0), **objective,
    )  # fmt: skip
    draws = vae.objective.draws
    found = vae.fit(X, batch_size=64, shuffle=False, verbose=0).history
    tested = vae.evaluate(X, batch_size=64, verbose=0, return_dict=True)
    rows = np.arange(64, dtype="int32")
    for noise, mse in (
        (StepNoise.training(0, 0, rows, draws), found["mse"][0]),
        (StepNoise.validation(0, rows, draws), tested["mse"]),
    ):
        latent = vae.posterior(X).repeat(draws).sample(noise, "posterior")
        decoded = np.asarray(vae.decode(latent).mean())
        error = np.mean((np.repeat(X, draws, axis=0) - decoded) ** 2)
        assert mse == pytest.approx(error, rel=1e-4)


def test_the_reported_loss_holds_the_regularisation_losses():
    layers = keras.layers
    x, z = keras.Input((6,)), keras.Input((2,))
    encoder = keras.Model(x, layers.Dense(4, kernel_regularizer=keras.regularizers.L2(3.0))(x))
    vae = kvae.VAE(encoder, keras.Model(z, layers.Dense(6)(z)), Gaussian(0.5), StandardNormal())
    vae.compile(keras.optimizers.SGD(0.0))
    penalty = 3.0 * float((encoder.get_weights()[0] ** 2).sum())
    for found in (
        {name: values[0] for name, values in vae.fit(X, verbose=0).history.items()},
        vae.evaluate(X, verbose=0, return_dict=True),
    ):
        assert found["loss"] == pytest.approx(penalty - found["elbo"], rel=1e-5)


def test_callbacks_know_which_way_is_better():
    is_up = {"elbo": True, "distortion": False, "rate": False, "loss": False}
    watches = [keras.callbacks.EarlyStopping(monitor=f"val_{name}", patience=1) for name in is_up]
    _vae().fit(X, validation_data=X, callbacks=watches, verbose=0)
    assert [bool(watch.monitor_op(2.0, 1.0)) for watch in watches] == [*is_up.values()]


def test_everything_frozen_trains_nothing_and_warns():
    vae = _vae("adam", variance=0.5)
    vae.encoder.trainable = vae.decoder.trainable = False
    vae.compile("adam")
    before = vae.encoder.get_weights() + vae.decoder.get_weights()
    with pytest.warns(UserWarning, match="everything in this model is frozen"):
        vae.fit(X, verbose=0)
    for old, new in zip(before, vae.encoder.get_weights() + vae.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def _own(policy, **made):
    """A model of own networks without float32 last layers."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x, z = keras.Input((6,)), keras.Input((2,))
    encoder = keras.Model(
        x, layers.Dense(4, dtype=policy)(layers.Dense(8, "relu", dtype=policy)(x))
    )
    decoder = keras.Model(z, layers.Dense(6, dtype=policy)(z))
    return kvae.VAE(encoder, decoder, Gaussian("shared"), Mixture(2), **made)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_own_networks_train_in_half_precision(policy):
    """In float16 their losses are scaled, whatever the global policy, and no step is lost."""
    found = []
    for name in ("float32", policy):
        vae = _own(name)
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(X, batch_size=16, shuffle=False, verbose=0)
        found.append(vae.evaluate(X, verbose=0, return_dict=True)["elbo"])
        assert int(vae.optimizer.iterations) == 4
    assert found[1] == pytest.approx(found[0], rel=0.02)
    scales = isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (policy == "mixed_float16")


def _subclassed():
    class Own(keras.Model):
        def call(self, x):
            return x

    return Own()


def _encoders():
    layers, x = keras.layers, keras.Input((6,))
    mean, spread = layers.Dense(2)(x), layers.Dense(2)(x)
    one, other = keras.Input((3,)), keras.Input((3,))
    both = layers.Dense(4)(layers.Concatenate()([one, other]))
    return {
        "three outputs": (keras.Model(x, [mean, spread, mean]), "one output, a tensor: received 3"),
        "two inputs": (keras.Model([one, other], both), "one input, a tensor: received 2"),
        "subclassed": (_subclassed(), r"received Own.*keras\.Model\(x, model\(x\)\)"),
        "not built": (keras.Sequential([layers.Dense(4)]), "received Sequential"),
        "unknown size": (
            keras.Model(v := keras.Input((None,)), layers.Lambda(lambda t: t[:, :4])(v)), "known"
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", ["three outputs", "two inputs", "subclassed", "not built", "unknown size"]
)
def test_encoders_of_other_forms_get_a_sentence(form):
    encoder, words = _encoders()[form]
    z = keras.Input((2,))
    decoder = keras.Model(z, keras.layers.Dense(6)(z))
    with pytest.raises(UsageError, match=words):
        kvae.VAE(encoder, decoder, Gaussian("shared"), StandardNormal())


def test_channels_first_is_refused_by_name_and_harms_no_network_of_ours():
    x, z = keras.Input((8, 8, 1)), keras.Input((2,))
    first = keras.layers.MaxPooling2D(data_format="channels_first", name="turned", pool_size=1)
    encoder = keras.Model(x, keras.layers.Dense(4)(keras.layers.Flatten()(first(x))))
    decoder = keras.Model(z, keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(z)))
    with pytest.raises(UsageError, match="'turned' has the data_format 'channels_first'"):
        kvae.VAE(encoder, decoder, Gaussian("shared"), StandardNormal())
    keras.config.set_image_data_format("channels_first")
    try:
        vae = kvae.build_vae((8, 8, 1), latent_dim=2, network="conv")
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert vae(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 8, 8, 1)


def test_export_writes_the_signatures_and_serve(tmp_path):
    vae = _vae("adam")
    vae.fit(X, verbose=0)
    vae.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(X), vae.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    assert {"serving_default", "encode", "generate", "score"} <= {*loaded.signatures}
    mean = loaded.signatures["encode"](x=tf.constant(X))["mean"]
    np.testing.assert_allclose(mean, vae.encode(X)[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="holds something"):
        vae.export(tmp_path / "model")
    with pytest.raises(UsageError, match="received 'onnx'"):
        vae.export(tmp_path / "other", format="onnx")


@keras.saving.register_keras_serializable(package="test_contract")
class OwnGaussian(Gaussian):
    """A likelihood of a user's own."""


def test_loading_takes_own_objects_and_says_what_is_missing_or_wrong(tmp_path):
    x, z = keras.Input((6,)), keras.Input((2,))
    encoder = keras.Model(x, keras.layers.Dense(4)(x))
    vae = kvae.VAE(encoder, keras.Model(z, keras.layers.Dense(6)(z)), OwnGaussian(), Mixture(2))
    vae.compile("adam", metrics=["mae"])
    vae.fit(X, verbose=0)
    vae.save(tmp_path / "own.keras")
    known = keras.saving.get_custom_objects()
    hidden = known.pop("test_contract>OwnGaussian")
    try:
        with pytest.raises(UsageError, match="OwnGaussian") as told:
            kvae.load_model(tmp_path / "own.keras")
        assert len(str(told.value)) < 600
        again = kvae.load_model(tmp_path / "own.keras", {"test_contract>OwnGaussian": OwnGaussian})
    finally:
        known["test_contract>OwnGaussian"] = hidden
    assert isinstance(again.likelihood, OwnGaussian)
    assert {"loss", "mae"} <= {*again.evaluate(X, verbose=0, return_dict=True)}
    vae.encoder.layers[-1].kernel.assign(np.full((6, 4), np.nan))
    vae.save(tmp_path / "nan.keras")
    with pytest.raises(UsageError, match=r"1 of \d+ weights are not finite: .*dense.*kernel"):
        kvae.load_model(tmp_path / "nan.keras")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"beta": -1}, "beta takes a number of at least 0"),
        ({"free_bits": -0.1}, "free_bits takes"),
        ({"variance": 0}, "variance takes"),
        ({"variance": float("inf")}, "variance takes"),
        ({"condition_dim": -1}, "condition_dim takes"),
        ({"latent_dim": 2.5}, "latent_dim takes"),
        ({"latent_dim": True}, "latent_dim takes"),
        ({"hidden_units": ()}, "hidden_units takes"),
        ({"prior": "mixture", "prior_components": True}, "prior_components takes"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": np.ones(5)}, r"scale must be finite.*\(6,\).*\(5,\)"),
        ({"shift": float("nan")}, "shift must be finite"),
        ({"seed": -1}, "seed takes"),
    ],
)
def test_python_refuses_what_the_command_line_does(given, words):
    with pytest.raises(UsageError, match=words):
        _vae(**given)


def test_own_objectives_refuse_it_too():
    from kvae.objectives.elbo import Elbo

    for given in ({"beta": -1}, {"free_bits": -1}, {"tc_weight": float("nan")}):
        with pytest.raises(UsageError, match=f"{next(iter(given))} takes"):
            Elbo(**given)


def test_fit_starts_the_prior_once_and_says_so(capsys):
    """While the model has made no step; not where it was started, and not where it is told not."""

    def means(vae):
        return np.asarray(vae.prior.means)

    options = {"prior": "mixture", "prior_components": 3}
    started = _vae(keras.optimizers.SGD(0.0), **options)
    started.fit(X, verbose=2)
    assert "the prior starts at 64 rows" in capsys.readouterr().out
    draws = started.posterior(X).sample(SeededNoise(np.arange(64)), "posterior")
    found = [np.mean(vae.prior.log_prob(draws)) for vae in (started, _vae(**options))]
    assert found[0] > found[1] + 0.3
    before = means(started)
    started.fit(X + 1, verbose=2)
    np.testing.assert_array_equal(means(started), before)
    assert "the prior starts" not in capsys.readouterr().out
    alone = _vae(keras.optimizers.SGD(0.0), **options)
    before = means(alone)
    alone.fit(X, start_prior=False, verbose=0)
    np.testing.assert_array_equal(means(alone), before)
    asked = _vae(keras.optimizers.SGD(0.0), **options)
    asked.start_prior(X[:5])
    before = means(asked)
    asked.fit(X, verbose=0)
    np.testing.assert_array_equal(means(asked), before)


@pytest.mark.parametrize("pairs", [False, True])
def test_no_batch_of_a_generator_is_lost_to_the_start(pairs):
    """A generator of plain tensors too, which Keras alone does not take."""
    given = []

    def batches():
        for start in range(0, 64, 16):
            given.append(start)
            part = X[start : start + 16]
            yield (part, CONDITION[start : start + 16]) if pairs else part

    vae = _vae(prior="mixture", prior_components=3, condition_dim=2 * pairs)
    vae.fit(batches(), steps_per_epoch=4, verbose=0)
    assert (int(vae.step), given) == (4, [0, 16, 32, 48])
    assert vae.prior_started


def test_fit_ends_with_the_variance_of_all_data_and_says_so(capsys):
    vae, twin, other = (_vae(keras.optimizers.SGD(0.0), variance="optimal") for _ in range(3))
    vae.fit(X, batch_size=16, verbose=2)
    assert "the variance is now that of all data" in capsys.readouterr().out
    twin.calibrate([X])
    np.testing.assert_allclose(
        vae.likelihood.mean_squared_error, twin.likelihood.mean_squared_error, rtol=1e-5
    )
    other.fit(X, batch_size=16, calibrate=False, verbose=0)
    assert abs(float(other.likelihood.mean_squared_error[0])
               - float(twin.likelihood.mean_squared_error[0])) > 1e-3  # fmt: skip


def test_held_out_rows_have_no_part_in_start_and_calibration():
    x = np.concatenate([X[:48], X[48:] + 100])
    options = {"variance": "optimal", "prior": "mixture", "prior_components": 3}
    split, alone = (_vae(keras.optimizers.SGD(0.0), **options) for _ in range(2))
    split.fit(x, validation_split=0.25, batch_size=16, shuffle=False, verbose=0)
    alone.fit(x[:48], batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(split.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_every_kind_of_added_loss_is_reported_and_trained():
    """Activity losses in half precision, and one of each row, which Keras sums."""

    class PerRow(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(keras.ops.square(x), axis=1))
            return x

    layers, half = keras.layers, "mixed_float16"
    x, z = keras.Input((6,)), keras.Input((2,))
    out = layers.Dense(4, dtype=half, activity_regularizer=keras.regularizers.L2(0.1))(PerRow()(x))
    encoder = keras.Model(x, out)
    vae = kvae.VAE(encoder, keras.Model(z, layers.Dense(6)(z)), Gaussian(0.5), StandardNormal())
    vae.compile(keras.optimizers.SGD(0.0))
    found = vae.evaluate(X, batch_size=64, verbose=0, return_dict=True)
    of_rows = np.square(X).mean(axis=1).sum()
    own = 0.1 * np.square(np.asarray(encoder(X), "float64")).sum() / 64
    assert found["loss"] == pytest.approx(of_rows + own - found["elbo"], rel=1e-2)
    assert vae.fit(X, batch_size=64, verbose=0).history["loss"][0] > of_rows


@pytest.mark.parametrize("objective", [Elbo(), Iwae(2), Iwae(2, "dreg")])
def test_pseudo_inputs_leave_the_activity_losses_of_data_alone(objective):
    """They go through the encoder after x, and Keras keeps the losses of the last call."""
    layers, regulariser = keras.layers, keras.regularizers.L2
    x, z = keras.Input((6,)), keras.Input((2,))
    hidden = layers.Dense(4, activity_regularizer=regulariser(0.1))(x)
    encoder = keras.Model(x, layers.Dense(4, kernel_regularizer=regulariser(0.2))(hidden))
    decoder = keras.Model(z, layers.Dense(6)(z))
    vae = kvae.VAE(encoder, decoder, Gaussian(0.5), Vamp(3), objective=objective)
    vae.compile(keras.optimizers.SGD(0.0))
    found = vae.examined(X)
    inner = np.asarray(keras.Model(x, hidden)(X), "float64")
    kernel = np.asarray(encoder.layers[-1].kernel, "float64")
    own = 0.1 * np.square(inner).sum() / len(X) + 0.2 * np.square(kernel).sum()
    assert float(found.penalty) == pytest.approx(own, rel=1e-4)
    logged = vae.evaluate(X, batch_size=len(X), verbose=0, return_dict=True)
    if isinstance(objective, Elbo):
        assert logged["loss"] + logged["elbo"] == pytest.approx(own, rel=1e-4)


def test_a_model_trains_under_float64():
    keras.config.set_floatx("float64")
    try:
        vae = _vae("adam", prior="mixture", prior_components=2, posterior="full")
        history = vae.fit(X.astype("float64"), validation_data=X, verbose=0).history
        assert np.isfinite(history["val_elbo"]).all()
        assert np.isfinite(vae.generate(3)).all()
    finally:
        keras.config.set_floatx("float32")


def test_nothing_warns_in_a_plain_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Keras 3.15 and TensorFlow 2.21 under NumPy 2; nothing of ours
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        vae = _vae("adam", [keras.metrics.MeanAbsoluteError()])
        vae.fit(X, validation_data=X, verbose=0)
        vae.save(tmp_path / "plain.keras")
        kvae.load_model(tmp_path / "plain.keras").fit(X, verbose=0)


class _Wrong(StandardNormal):
    """A prior whose log density is of another shape."""

    def __init__(self, wrong, **kwargs):
        super().__init__(**kwargs)
        self._wrong = wrong

    def rate(self, posterior, draw):
        return self._wrong(super().rate(posterior, draw))

    def log_prob(self, z):
        return self._wrong(super().log_prob(z))


@pytest.mark.parametrize("wrong", [lambda v: v[:, None], keras.ops.sum])
def test_parts_of_ones_own_give_a_number_a_row(wrong):
    x, z = keras.Input((6,)), keras.Input((2,))
    encoder = keras.Model(x, keras.layers.Dense(4)(x))
    decoder = keras.Model(z, keras.layers.Dense(6)(z))
    vae = kvae.VAE(encoder, decoder, Gaussian(0.5), _Wrong(wrong))
    vae.compile("sgd")
    for call in (
        lambda: vae.fit(X, verbose=0),
        lambda: vae.score(X),
        lambda: vae.log_likelihood(X, 2),
    ):
        with pytest.raises(UsageError, match="must give one number a row"):
            call()
    with pytest.raises(UsageError, match=r"z must be of shape \(rows, 2\), received \(4, 3\)"):
        vae.decode(np.zeros((4, 3), "float32"))
    with pytest.raises(UsageError, match="as many rows, and fraction"):
        vae.interpolate(X[:2], X[:3], 0.5)


class _Summed(StandardNormal):
    """A prior that sums over the batch too, of the base class's rate."""

    rate = Prior.rate

    def log_prob(self, z):
        return keras.ops.sum(super().log_prob(z))


def test_a_log_density_that_is_summed_over_the_batch_is_refused():
    x, z = keras.Input((6,)), keras.Input((2,))
    encoder = keras.Model(x, keras.layers.Dense(4)(x))
    decoder = keras.Model(z, keras.layers.Dense(6)(z))
    vae = kvae.VAE(encoder, decoder, Gaussian(0.5), _Summed())
    vae.compile("sgd")
    with pytest.raises(UsageError, match="the prior _Summed must give one number a row"):
        vae.fit(X, verbose=0)


def test_a_target_that_is_not_x_and_a_loss_that_is_not_finite_are_told(capsys):
    vae = _vae()
    with pytest.raises(UsageError, match="would not be read"):
        vae.fit(X + 1, X, verbose=0)
    vae.fit(X, X.copy(), verbose=0)
    with pytest.raises(UsageError, match="class_weight needs y"):
        vae.fit(X, class_weight={0: 1.0}, verbose=0)
    holed = X.copy()
    holed[40] = np.nan
    stream = tf.data.Dataset.from_tensor_slices(holed).batch(32)
    vae.fit(stream, verbose=2)
    assert "the loss is not finite, and so is the model" in capsys.readouterr().out
