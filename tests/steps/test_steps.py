"""Fitting and evaluating a model: what a step does, in every way that Keras takes it."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import make_vae

import kvae
from kvae.inputs import as_float
from kvae.probability.noise import SeededNoise
from kvae.probability.schedules import LinearWarmup


def _noise(rows, offset=0):
    return SeededNoise(np.arange(rows) + offset)


def _fit(vae, x, optimizer="sgd", **options):
    """Fit; tracing the steps of Adam takes as long as all the rest."""
    vae.compile(optimizer, **options.pop("compile", {}))
    return vae.fit(x, verbose=0, shuffle=False, **{"batch_size": 32, "epochs": 2, **options})


def test_five_lines_with_plain_arrays(rng):
    x = rng.normal(size=(256, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=2)
    vae.compile("adam")
    history = vae.fit(x, epochs=2, verbose=0, validation_data=x[:64]).history
    assert {"loss", "elbo", "distortion", "rate", "val_elbo"} <= set(history)
    assert vae.predict(x[:5], verbose=0).shape == (5, 3)
    figures = vae.evaluate(x, verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(-figures["elbo"], rel=1e-5)


def test_tf_data_with_labels_trains_on_x_alone(rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    plain = _fit(
        _seeded_vae(0),
        tf.data.Dataset.from_tensor_slices(x).batch(32),
        batch_size=None,
    )
    pairs = tf.data.Dataset.from_tensor_slices((x, np.arange(64))).batch(32)
    labelled = _fit(_seeded_vae(0), pairs, batch_size=None)
    assert plain.history == labelled.history


def test_fit_lowers_the_loss_to_the_evidence_bound(ppca):
    x = ppca.sample(2000)
    vae = ppca.vae()
    true_bound = float(np.mean(ppca.log_evidence(x)))
    vae.encoder.layers[-1].set_weights([0.1 * w for w in vae.encoder.layers[-1].get_weights()])
    before = float(np.mean(-sum(vae.elbo_terms(x, _noise(2000)))))
    optimizer = keras.optimizers.Adam(1e-2)
    history = _fit(vae, x, optimizer, epochs=30, batch_size=100).history
    assert before < true_bound - 0.5
    assert history["elbo"][-1] == pytest.approx(true_bound, abs=0.08)


def test_the_figures_of_an_epoch_are_means_over_examples_not_batches(ppca):
    near, far = np.tile(ppca.mean, (96, 1)), np.tile(ppca.mean + 30.0, (4, 1))
    x = np.concatenate([near, far]).astype("float32")  # batches of 48, 48 and 4
    vae = ppca.vae()
    vae.compile("sgd")
    elbo = vae.evaluate(x, batch_size=48, verbose=0, return_dict=True)["elbo"]
    evidence = ppca.log_evidence(x)
    by_batch = np.mean([evidence[:48].mean(), evidence[48:96].mean(), evidence[96:].mean()])
    assert elbo == pytest.approx(evidence.mean(), rel=0.05)
    assert abs(by_batch - evidence.mean()) > abs(evidence.mean())


def test_evaluate_lists_each_figure_once(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=2)
    vae.compile("adam")
    found = vae.evaluate(x, verbose=0)
    assert vae.metrics_names == ["loss", "elbo", "distortion", "rate", "stddev"]
    assert len(found) == 5
    assert found[4] == pytest.approx(float(vae.likelihood.current_variance()) ** 0.5)
    assert found[0] == pytest.approx(-found[1]) == pytest.approx(found[2] + found[3], rel=1e-5)


def _seeded_vae(seed):
    keras.utils.set_random_seed(seed)
    options = {"prior": "mixture", "prior_components": 3, "hidden_units": (8,)}
    return kvae.build_vae((3,), latent_dim=2, seed=seed, **options)


def test_two_runs_with_one_seed_agree_and_another_seed_differs(rng):
    x = rng.normal(size=(128, 3)).astype("float32")
    runs = [_fit(_seeded_vae(seed), x).history for seed in (4, 4, 5)]
    assert runs[0] == runs[1]
    assert runs[0]["loss"] != runs[2]["loss"]


def test_the_noise_of_training_is_counted_in_steps_and_saved(rng, tmp_path):
    """Validation, compiling anew, saving and loading in the middle change no weight."""
    x = rng.normal(size=(96, 3)).astype("float32")
    momentum = partial(keras.optimizers.SGD, 1e-2, momentum=0.9)
    plain = _seeded_vae(0)
    _fit(plain, x, momentum(), epochs=4)
    halves = _seeded_vae(0)
    _fit(halves, x, momentum(), epochs=2, validation_data=(x[:40], None))
    halves.evaluate(x, verbose=0)
    halves.save(tmp_path / "half.keras")
    again = kvae.load_model(tmp_path / "half.keras")
    again.fit(x, verbose=0, shuffle=False, batch_size=32, epochs=2)
    assert int(again.step) == int(plain.step) == 12
    for ours, theirs in zip(again.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again.compile("sgd")
    again.fit(x, verbose=0)
    assert int(again.step) == 15


def test_every_training_step_counts_and_no_two_share_noise(rng):
    """With gradients that are gathered over two batches Adam counts half of the steps."""
    x = rng.normal(size=(64, 3)).astype("float32")
    vae = _seeded_vae(0)
    vae.compile(keras.optimizers.SGD(0.0, gradient_accumulation_steps=2))
    losses = [vae.fit(x, batch_size=64, verbose=0).history["loss"][0] for _ in range(4)]
    assert (int(vae.step), int(vae.optimizer.iterations)) == (4, 2)
    assert len({*losses}) == 4


def test_validation_has_fixed_numbers_whatever_the_batches(rng):
    x = rng.normal(size=(100, 3)).astype("float32")
    vae = make_vae((3,))
    vae.compile("adam")
    found = [vae.evaluate(x, batch_size=size, verbose=0) for size in (100, 100, 7, 64)]
    assert found[0] == found[1]
    np.testing.assert_allclose(found[2:], [found[0]] * 2, rtol=2e-5)
    # Rows of a pass have noise of their own, so that their errors average out.
    twice = vae.evaluate(np.repeat(x[:1], 2, axis=0), verbose=0, return_dict=True)
    once = vae.evaluate(x[:1], verbose=0, return_dict=True)
    assert abs(twice["distortion"] - once["distortion"]) > 1e-4


def test_beta_weighs_the_rate_and_warms_up():
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=2, beta=4.0, kl_warmup_steps=8)
    assert isinstance(vae.objective.beta, LinearWarmup)
    for step in (1, 2, 3):
        logs = _fit(vae, x, epochs=1).history if step == 1 else vae.fit(x, verbose=0).history
        beta = (logs["loss"][0] - logs["distortion"][0]) / logs["rate"][0]
        assert beta == pytest.approx(4.0 * step / 8, rel=1e-3)


def test_bytes_are_scaled_and_other_numbers_are_not():
    np.testing.assert_array_equal(as_float(np.array([[1, 300, -4]])), [[1.0, 300.0, -4.0]])
    levels = np.array([0, 51, 255], "uint8").reshape(1, 1, 3, 1)
    np.testing.assert_allclose(np.ravel(as_float(levels)), [0.0, 0.2, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(as_float(levels[0, 0, :, 0][None]), [[0.0, 51.0, 255.0]])
    np.testing.assert_array_equal(as_float(np.array([[0.2, 1.0]])), [[np.float32(0.2), 1.0]])
    vae = make_vae((8, 8, 1))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    np.testing.assert_allclose(
        vae.encode(images)[0], vae.encode(images.astype("float32") / 255)[0], atol=1e-6
    )


def test_a_float16_step_scales_the_loss_and_moves_the_weights_as_float32_does(rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    moved = {}
    for policy in ("float32", "mixed_float16"):
        vae = make_vae((3,), dtype=policy)
        optimizer = keras.optimizers.SGD(1e-2)
        if policy == "mixed_float16":  # whose own first scale is tried out in the next test
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
        vae.compile(optimizer)
        before = vae.get_weights()
        vae.fit(x, epochs=1, batch_size=64, verbose=0)
        moved[policy] = np.concatenate(
            [(a - b).ravel() for a, b in zip(vae.get_weights(), before, strict=True)]
        )
    assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    size = np.linalg.norm(moved["float32"])
    assert np.linalg.norm(moved["mixed_float16"] - moved["float32"]) < 0.05 * size


@pytest.mark.parametrize("variance", ["shared", "optimal"])
def test_a_float16_overflow_skips_the_step_and_lowers_the_scale(variance):
    vae = make_vae((3,), dtype="mixed_float16", variance=variance)
    vae.compile(keras.optimizers.SGD(1e-2))
    before = [np.array(weight) for weight in vae.weights if weight is not vae.step]
    vae.fit(np.full((32, 3), 1e6, "float32"), epochs=1, batch_size=32, verbose=0)
    for now, then in zip(
        [weight for weight in vae.weights if weight is not vae.step], before, strict=True
    ):
        np.testing.assert_array_equal(now, then)
    assert float(vae.optimizer.dynamic_scale) < vae.optimizer.initial_scale
    assert int(vae.step) == 1  # it counts all the same


def test_xla_gives_the_same_figures(ppca):
    """The same noise too: of 50 rows other noise would be 0.2 nats away."""
    x = ppca.sample(50)
    found = []
    for jit in (False, True):
        vae = ppca.vae(posterior_scale=1.5)
        vae.compile(keras.optimizers.SGD(0.0), jit_compile=jit)
        history = vae.fit(x, batch_size=50, verbose=0, shuffle=False).history
        found.append([history["distortion"][0], history["rate"][0]])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_several_steps_per_execution_see_every_batch(rng):
    x = rng.normal(size=(32 * 7, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=2)
    _fit(vae, x, epochs=3, compile={"steps_per_execution": 3})
    assert int(vae.optimizer.iterations) == 3 * 7


def test_the_users_regularisers_count(rng):
    x = rng.normal(size=(32, 3)).astype("float32")

    def weight_after(strength):
        inputs = keras.Input((3,))
        keras.utils.set_random_seed(0)
        layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(strength))
        encoder = keras.Model(inputs, layer(inputs))
        base = make_vae((3,), latent_dim=1)
        vae = kvae.VAE(encoder, base.decoder, base.likelihood, base.prior)
        vae.compile(keras.optimizers.SGD(1e-3))
        vae.fit(x, verbose=0)
        return np.abs(layer.get_weights()[0]).sum()

    assert weight_after(100.0) < weight_after(0.0) - 0.01


# Steps in blocks


@pytest.mark.parametrize("jit", [False, True])
def test_a_block_makes_the_steps_of_its_batches(jit, rng):
    x = rng.normal(size=(6, 32, 3)).astype("float32")
    histories, weights = [], []
    for data in (
        tf.data.Dataset.from_tensor_slices(x),
        tf.data.Dataset.from_tensors(x),
    ):
        vae = _seeded_vae(3)
        vae.compile(keras.optimizers.SGD(1e-2, momentum=0.9), jit_compile=jit)
        histories.append(vae.fit(data, epochs=2, verbose=0, shuffle=False).history)
        assert int(vae.optimizer.iterations) == 12
        weights.append(np.concatenate([w.ravel() for w in vae.get_weights()]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-4, atol=1e-5)
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-4)
