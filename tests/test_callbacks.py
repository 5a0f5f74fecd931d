import math

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import MAX_ROWS, Doctor
from kvae.errors import UsageError
from kvae.likelihoods.gaussian import Gaussian
from kvae.priors.standard_normal import StandardNormal
from kvae.probability.streams import generator


def _correlated(rows, seed=0):
    """Six features of two factors."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((rows, 2))
    loadings = np.random.default_rng(9).standard_normal((2, 6))
    return (factors @ loadings + 0.1 * rng.standard_normal((rows, 6))).astype("float32")


def _small_vae(**options):
    return kvae.build_vae((6,), **{"latent_dim": 2, "hidden_units": (8,), **options})


def _fit(vae, x, doctor, **options):
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae.fit(x, callbacks=[doctor], batch_size=100, verbose=0, epochs=12, **options)


def _drive(vae, doctor, loss, *, epochs, steps=1):
    """What Keras would call in a training of so many losses, one an epoch."""
    if not vae.compiled:
        vae.compile(keras.optimizers.SGD(0.0))
    doctor.set_params({"epochs": epochs})
    doctor.set_model(vae)
    doctor.on_train_begin()
    for epoch, value in enumerate(loss):
        vae.step.assign_add(steps)
        doctor.on_epoch_end(epoch, {"loss": value})
    doctor.on_train_end()
    return doctor


def _look(vae, x, **options):
    """What the callback measures of a model as it is."""
    return _drive(vae, Doctor(x, **options), [1.0], epochs=1)


def _problems(doctor):
    return [finding.problem for finding in doctor.findings]


def test_a_collapse_is_found_and_blamed_on_beta(capsys):
    doctor = Doctor(_correlated(300, 1))
    _fit(_small_vae(variance=0.5, beta=50.0), _correlated(1000), doctor)
    assert doctor.metrics["active_units_posterior"] == 0
    assert _problems(doctor)[0] == "posterior collapse"
    assert "because beta 50" in doctor.findings[0].evidence
    assert "beta far from 1" in _problems(doctor)
    printed = capsys.readouterr().out
    assert printed.count("1. posterior collapse (certain)") == 1
    assert "after epoch 12 " in printed


def test_a_healthy_model_is_not_called_collapsed():
    doctor, valid = Doctor(_correlated(300, 1)), (_correlated(300, 2), None)
    history = _fit(_small_vae(), _correlated(1000), doctor, validation_data=valid).history
    assert doctor.metrics["active_units_posterior"] == 2
    assert {"posterior collapse", "beta far from 1", "diverged"} & set(_problems(doctor)) == set()
    looked_for = set(doctor.findings.looked_for)
    assert {"posterior collapse", "training too short", "overfitting"} <= looked_for
    assert doctor.metrics["elbo_nats_prior"] == pytest.approx(history["val_elbo"][-1], abs=0.5)


def test_the_exact_posterior_of_ppca_has_known_numbers(ppca):
    x = ppca.sample(20_000)
    doctor = _look(ppca.vae(), x)
    metrics, variance = doctor.metrics, ppca.variance
    rows = np.sort(generator(0, "doctor rows").permutation(len(x))[:MAX_ROWS])
    truth = ppca.log_evidence(x[rows])
    # The bound is tight, and its mean over one draw a row unbiased.
    assert metrics["elbo_nats_prior"] == pytest.approx(truth.mean(), abs=0.15)
    parts = metrics["rate_nats_prior"] + metrics["distortion_nats_posterior"]
    assert metrics["elbo_nats_prior"] == pytest.approx(-parts, rel=1e-6)
    assert metrics["variance_ratio_draw"] == pytest.approx(1.0, rel=0.1)
    signal = np.square(ppca.loadings).sum(0)
    fraction = signal / (signal + variance)
    np.testing.assert_allclose(metrics["active_fraction_per_dim_posterior"], fraction, atol=0.05)
    # The marginal of z is the prior, so that all of the rate is information: log(1 + s^2 / v) / 2.
    np.testing.assert_allclose(
        metrics["rate_per_dim_nats_prior"], 0.5 * np.log1p(signal / variance), rtol=0.1
    )
    assert sum(metrics["rate_per_dim_nats_prior"]) == pytest.approx(
        metrics["rate_nats_prior"], rel=1e-5
    )
    assert (metrics["active_units_posterior"], metrics["latent_dim"]) == (2, 2)
    error = np.square(np.asarray(ppca.vae()(x[rows])) - x[rows]).mean()
    assert metrics["mse_reconstruction"] == pytest.approx(error, rel=1e-4)
    assert "psnr_db_reconstruction" not in metrics


def test_the_standard_error_is_that_of_one_draw_a_row(ppca):
    vae, x = ppca.vae(), ppca.sample(3_000)
    vae.compile(keras.optimizers.SGD(0.0))
    found = [_look(vae, x, seed=seed).metrics for seed in range(6)]
    spread = np.std([metrics["elbo_nats_prior"] for metrics in found], ddof=1)
    assert 0.3 < spread / found[0]["elbo_nats_prior_stderr"] < 2


def test_a_variance_that_is_too_large_is_so_in_any_units(ppca):
    x, scale = ppca.sample(2_000), np.array([1e-3, 1.0, 5.0, 1e3], "float32")
    plain = ppca.vae()
    believes_more = [
        kvae.VAE(plain.encoder, plain.decoder, Gaussian(2.4), StandardNormal(), **units)
        for units in ({}, {"shift": 7.0, "scale": scale})
    ]
    for vae, rows in zip(believes_more, (x, x * scale + 7.0), strict=True):
        doctor = _look(vae, rows)
        assert doctor.metrics["variance_ratio_draw"] == pytest.approx(8.0, rel=0.1)
        assert "variance too large" in _problems(doctor)


@pytest.mark.parametrize(("posterior", "prior"), [("full", "standard_normal"),
                                                  ("diagonal", "mixture")])  # fmt: skip
def test_rates_of_dimensions_are_given_only_where_they_are_defined(posterior, prior):
    metrics = _look(_small_vae(posterior=posterior, prior=prior), _correlated(50)).metrics
    assert "rate_per_dim_nats_prior" not in metrics
    assert {
        "rate_nats_prior",
        "active_fraction_per_dim_posterior",
        "variance_ratio_draw",
    } <= metrics.keys()


def test_images_are_compared_with_their_mean(rng):
    levels = rng.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    vae = kvae.build_vae((8, 8, 1), latent_dim=2, network="conv")
    x = levels / np.float32(255)

    def psnr(image):
        return (-10 * np.log10(np.square(x - image).mean((1, 2, 3)))).mean()

    for rows in (x, levels):
        metrics = _look(vae, rows).metrics
        assert metrics["psnr_db_reconstruction"] == pytest.approx(
            psnr(np.asarray(vae(x))), rel=1e-5
        )
        # Of each image the mean of the others.
        others = (12 * x.mean(0) - x) / 11
        assert metrics["psnr_db_mean_image"] == pytest.approx(psnr(others), rel=1e-5)
    assert "no better than the mean" in _look(vae, x).findings.looked_for


def test_a_likelihood_without_a_variance_has_no_ratio():
    x = (_correlated(50) > 0).astype("float32")
    assert "variance_ratio_draw" not in _look(_small_vae(likelihood="bernoulli"), x).metrics


def test_without_rows_the_history_is_looked_at(capsys):
    doctor = _drive(_small_vae(beta=10.0), Doctor(), [5.0, 4.0], epochs=2)
    assert doctor.metrics == {}
    assert _problems(doctor) == ["beta far from 1", "training too short"]
    assert "options are those of train.py" in capsys.readouterr().out


def test_it_looks_as_often_as_asked_and_once_at_the_end(capsys):
    _drive(_small_vae(), Doctor(every_epochs=2), [1.0] * 6, epochs=6)
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("doctor")]
    assert [line.split()[3] for line in heads] == ["2", "4", "6"]


def test_a_run_is_not_called_too_short_before_its_end(capsys):
    _drive(_small_vae(), Doctor(every_epochs=3), [1.0] * 4, epochs=4)
    first, last = capsys.readouterr().out.split("doctor, ")[1:]
    assert "nothing wrong" in first
    assert "Training took 4 epochs" in last


def test_a_run_that_another_callback_stops_has_ended():
    doctor = _drive(_small_vae(), Doctor(), [1.0, 1.0], epochs=50)
    assert _problems(doctor) == ["training too short"]


def test_each_training_has_a_history_of_its_own():
    vae, doctor = _small_vae(), Doctor()
    for epochs in (6, 3):
        _drive(vae, doctor, [1.0] * epochs, epochs=epochs)
    assert "Training took 3 epochs" in doctor.findings[-1].evidence


def test_a_warm_up_is_counted_from_the_first_step():
    # 2 steps an epoch: 8 epochs of warm-up, of which the second training has 2 to go.
    vae, doctor = _small_vae(kl_warmup_steps=16, beta=4.0), Doctor()
    rising, falling = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [9.0, 10.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    _drive(vae, doctor, rising, epochs=6, steps=2)
    found = {finding.problem: finding for finding in doctor.findings}
    assert found["training too short"].sure == "certain"
    assert "over 8 epochs, and" in found["training too short"].evidence
    assert "Beta is 4" in found["beta far from 1"].evidence
    _drive(vae, doctor, falling, epochs=7, steps=2)
    assert _problems(doctor) == ["beta far from 1"]


def test_a_loss_that_comes_and_goes_with_beta_is_no_spike():
    saw = [5.0, 3.0, 2.0] * 4
    assert "unstable training" in _problems(_drive(_small_vae(), Doctor(), saw, epochs=12))
    cycles = _small_vae(kl_cycle_steps=3)
    assert _problems(_drive(cycles, Doctor(), saw, epochs=12)) == []
    cycles.objective.beta = lambda step: 1.0
    assert _problems(_drive(cycles, Doctor(), saw, epochs=12)) == []


def test_the_learning_rate_is_the_models_own():
    vae = _small_vae()
    vae.compile(keras.optimizers.Adam(0.03))
    doctor = _drive(vae, Doctor(), [5.0, 3.0, 2.0] * 4, epochs=12)
    assert "--learning-rate 0.01" in doctor.findings[0].advice


def test_the_learning_rate_is_known_beneath_a_scaled_loss():
    vae = _small_vae(dtype="mixed_float16")
    vae.compile(keras.optimizers.Adam(10.0))
    assert hasattr(vae.optimizer, "inner_optimizer")
    doctor = _drive(vae, Doctor(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], epochs=6)
    assert _problems(doctor)[0] == "learning rate too high"


def test_weights_that_are_not_numbers_are_told():
    vae = _small_vae()
    for weight in vae.trainable_weights:
        weight.assign(np.full(weight.shape, np.nan))
    doctor = _look(vae, _correlated(20))
    assert _problems(doctor)[0] == "diverged"
    assert math.isnan(doctor.metrics["elbo_nats_prior"])


def test_looking_changes_nothing_of_the_training():
    vae, x = _small_vae(), _correlated(50)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.optimizer.build(vae.trainable_variables)
    state = [*vae.variables, *vae.optimizer.variables]
    before = [np.array(variable) for variable in state]
    doctor = Doctor(x, every_epochs=1)
    doctor.set_params({"epochs": 2})
    doctor.set_model(vae)
    doctor.on_train_begin()
    doctor.on_epoch_end(0, {"loss": 1.0})
    doctor.on_train_end()
    assert doctor.metrics
    for one, other in zip(before, state, strict=True):
        np.testing.assert_array_equal(one, np.array(other))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((5, 3, 2)), r"at least 2 rows, .* received shape \(5, 3, 2\) of float64"),
        (np.zeros((1, 6)), r"at least 2 rows, .* received shape \(1, 6\)"),
        (object(), r"received shape \(\) of object"),
        ([["a"] * 6] * 3, "received shape .* of <U1"),
    ],
)
def test_what_is_no_array_of_rows_is_refused_at_once(x, message):
    with pytest.raises(UsageError, match=message):
        Doctor(x)


def test_rows_of_another_model_are_refused_before_training():
    vae = _small_vae()
    wrong = {
        r"x must be of shape \(rows, 6\), received \(9, 5\)": np.zeros((9, 5)),
        "x must be finite in float32, received nan": np.full((9, 6), np.nan),
    }
    vae.compile(keras.optimizers.SGD(0.0))
    for message, x in wrong.items():
        with pytest.raises(UsageError, match=message):
            vae.fit(_correlated(9), callbacks=[Doctor(x)], verbose=0)
    assert int(vae.step) == 0
    images = kvae.build_vae((8, 8, 1), latent_dim=2, network="conv")
    with pytest.raises(UsageError, match=r"floats in \[0, 1\]; received floats from 0 to 255"):
        Doctor(np.tile(np.float32([0, 255]), (2, 8, 4))[..., None]).set_model(images)


def test_other_models_and_negative_numbers_are_refused():
    with pytest.raises(UsageError, match=r"for a kvae.VAE, received Sequential"):
        Doctor().set_model(keras.Sequential())
    with pytest.raises(UsageError, match="every_epochs must be at least 0, received -1"):
        Doctor(every_epochs=-1)
