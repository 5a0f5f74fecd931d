import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import COMBINATIONS, HALF_PRECISION, make_vae, make_x
from scipy import stats

import kvae
from kvae.errors import UsageError
from kvae.likelihoods import Likelihood
from kvae.objectives.iwae import Iwae
from kvae.objectives.regularisers import total_correlation
from kvae.priors import Prior
from kvae.priors.mixture import Mixture
from kvae.priors.second_stage import SecondStage
from kvae.probability.noise import SeededNoise, StepNoise, row_seeds

PARTS = ("encoder", "decoder", "likelihood", "prior")


def _noise(rows, offset=0):
    return SeededNoise(np.arange(rows) + offset)


def _fit(vae, x, optimizer="sgd", **options):
    """Fit; tracing the steps of Adam takes as long as all the rest."""
    vae.compile(optimizer, **options.pop("compile", {}))
    return vae.fit(x, verbose=0, shuffle=False, **{"batch_size": 32, "epochs": 2, **options})


# Probabilistic PCA: every number has a closed form


def test_with_the_exact_posterior_every_log_weight_is_the_evidence(any_ppca):
    x = any_ppca.sample(50)
    for offset in (0, 1000):
        weights = any_ppca.vae().log_weight(x, _noise(50, offset))
        np.testing.assert_allclose(weights, any_ppca.log_evidence(x), atol=2e-4)


def test_the_evidence_is_right_in_the_datas_own_units(any_ppca):
    shift, scale = np.array([1.0, 0.0, -3.0, 10.0]), np.array([2.0, 0.1, 5.0, 3.0])
    x = any_ppca.sample(50)
    expected = any_ppca.log_evidence(x) - np.log(scale).sum()
    moved = any_ppca.vae(shift=shift, scale=scale).log_weight(x * scale + shift, _noise(50))
    np.testing.assert_allclose(moved, expected, atol=1e-3)


def test_the_elbo_of_a_wide_posterior_is_the_evidence_minus_the_kl(any_ppca):
    count, factor = 4000, 1.5
    x = any_ppca.sample(1).repeat(count, axis=0)
    terms = any_ppca.vae(posterior_scale=factor).elbo_terms(x, _noise(count))
    elbo = -np.asarray(terms.distortion + terms.rate)
    kl = any_ppca.latent_dim * 0.5 * (factor**2 - 1 - 2 * np.log(factor))
    expected = any_ppca.log_evidence(x[:1])[0] - kl
    assert elbo.mean() == pytest.approx(expected, abs=5 * elbo.std() / np.sqrt(count))
    assert kl > 0.4  # far above what the tolerance would forgive


def test_importance_weights_of_a_wide_posterior_average_to_the_evidence(any_ppca):
    count = 20_000
    x = any_ppca.sample(1).repeat(count, axis=0)
    weights = np.exp(any_ppca.vae(posterior_scale=1.5).log_weight(x, _noise(count)))
    expected = np.exp(any_ppca.log_evidence(x[:1])[0])
    assert weights.mean() == pytest.approx(expected, abs=5 * weights.std() / np.sqrt(count))


def test_samples_have_the_models_covariance(any_ppca):
    sample = np.asarray(any_ppca.vae().generate(20_000))
    expected = any_ppca.loadings @ any_ppca.loadings.T + any_ppca.noise
    np.testing.assert_allclose(np.cov(sample.T), expected, atol=0.15)
    np.testing.assert_allclose(sample.mean(axis=0), any_ppca.mean, atol=0.06)


def test_rows_of_one_seed_are_no_rows_of_another(any_ppca):
    vae = any_ppca.vae()
    first, second = (np.asarray(vae.generate(20, seed=seed)) for seed in (1, 2))
    assert not np.isin(first, second).any()
    np.testing.assert_array_equal(vae.generate(20, row_seeds=row_seeds(1, 20)), first)
    np.testing.assert_allclose(vae.generate(7, seed=1), first[:7], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="row_seeds"):
        vae.generate(20, row_seeds=[1, 2])


# Every combination of parts


@pytest.mark.parametrize(("network", "likelihood", "prior", "posterior"), COMBINATIONS)
def test_every_weight_gets_a_finite_gradient(network, likelihood, prior, posterior):
    shape = (8, 8, 1)
    options = {"network": network, "likelihood": likelihood, "prior": prior}
    vae = make_vae(shape, **options, posterior=posterior)
    x = make_x(shape, likelihood, rows=64)
    with tf.GradientTape() as tape:
        terms = vae.elbo_terms(x, _noise(64), training=True)
        loss = tf.reduce_mean(terms.distortion + terms.rate)
    assert terms.distortion.shape == terms.rate.shape == (64,)
    gradients = tape.gradient(loss, vae.trainable_variables)
    for weight, gradient in zip(vae.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(np.asarray(gradient) != 0), weight.path


@pytest.mark.parametrize(("network", "likelihood", "prior", "posterior"), COMBINATIONS)
def test_saved_and_loaded_gives_the_same_numbers(network, likelihood, prior, posterior, tmp_path):
    shape = (8, 8, 1)
    options = {"network": network, "likelihood": likelihood, "prior": prior, "posterior": posterior}
    vae = make_vae(shape, **options, beta=0.5, kl_warmup_steps=10)
    vae.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    x = make_x(shape, likelihood)
    for ours, theirs in zip(
        vae.elbo_terms(x, _noise(6)), again.elbo_terms(x, _noise(6)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(vae.generate(3), again.generate(3), rtol=1e-5)
    assert again.objective.beta.get_config() == {"target": 0.5, "warmup_steps": 10}


@pytest.mark.parametrize(("network", "likelihood", "prior", "posterior", "policy"), HALF_PRECISION)
def test_half_precision_keeps_the_densities_in_float32(
    network, likelihood, prior, posterior, policy
):
    shape = (8, 8, 1)
    options = {"network": network, "likelihood": likelihood, "prior": prior, "posterior": posterior}
    vae = make_vae(shape, **options, dtype=policy)
    full = make_vae(shape, **options)
    full.set_weights(vae.get_weights())
    x = make_x(shape, likelihood)
    for half, exact in zip(
        vae.elbo_terms(x, _noise(6)), full.elbo_terms(x, _noise(6)), strict=True
    ):
        assert half.dtype == "float32"
        np.testing.assert_allclose(half, exact, rtol=0.1, atol=0.5)
    assert {weight.dtype for weight in vae.trainable_variables} == {"float32"}


def test_interpolation_runs_from_one_posterior_mean_to_the_other(small_vae):
    x = make_x((2,), "gaussian")
    ends = np.asarray(small_vae.encode(x)[0])
    for fraction, expected in (
        (0.0, ends[:3]),
        (1.0, ends[3:]),
        (0.25, 0.75 * ends[:3] + 0.25 * ends[3:]),
    ):
        _, latent = small_vae.interpolate(x[:3], x[3:], np.full(3, fraction))
        np.testing.assert_allclose(latent, expected, atol=1e-6)


#: Trains on one replica and on two.
REPLICAS = """
import tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from kvae_testing import make_vae
rng = np.random.default_rng(0)
x, weight = rng.normal(size=(63, 3)).astype("float32"), rng.uniform(0, 2, 63).astype("float32")
def steps(strategy):
    with strategy.scope():
        vae = make_vae((3,), variance="optimal")
        for network in (vae.encoder, vae.decoder):
            network.trainable_variables[0].regularizer = keras.regularizers.L2(1.0)
        vae.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.5))
    start = vae.evaluate(tf.data.Dataset.from_tensor_slices(x).batch(50), verbose=0)
    before = vae.get_weights()
    data = tf.data.Dataset.from_tensor_slices((x, weight, weight)).batch(50)
    vae.fit(data, epochs=2, verbose=0, calibrate=False)
    assert int(keras.ops.convert_to_numpy(vae.step)) == 4
    return start, [a - b for a, b in zip(vae.get_weights(), before) if a.ndim]
one = steps(tf.distribute.get_strategy())
two = steps(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
np.testing.assert_allclose(two[0], one[0], rtol=1e-6)
apart = max(np.abs(a - b).max() for a, b in zip(one[1], two[1]))
print(apart / max(np.abs(a).max() for a in one[1]))
"""


@pytest.mark.slow  # two devices of a run are quick
def test_two_replicas_take_the_steps_of_one():
    """Batches of 50 and 13 rows, with weights, a norm that is clipped and a moving average.

    The replicas' parts are of other sizes in the last batch, and of other weights in both.
    """
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-5


def test_parts_that_do_not_fit_together_are_refused():
    good, other = make_vae((3,)), make_vae((4,), latent_dim=3)
    for encoder, decoder, name in (
        (good.encoder, other.decoder, "encoder"),
        (other.encoder, other.encoder, "encoder"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]), good.decoder, "decoder"),
    ):
        with pytest.raises(UsageError, match=f"the {name}'s output must have shape"):
            kvae.VAE(encoder, decoder, good.likelihood, good.prior)


class _Silent(Prior):
    """Without a kind."""

    def log_prob(self, z):
        return keras.ops.sum(z, axis=-1)

    def sample(self, noise):
        return noise.normal("latent", 1)


class _Empty(Prior):
    kind = "empty"


class _Unborn(Likelihood):
    kind = "unborn"

    def __init__(self):
        pass


class _Bare(Likelihood):
    kind = "bare"

    def num_outputs(self, channels):
        return channels


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"prior": _Silent}, "Gaussian and the class _Silent; build_vae"),
        ({"likelihood": _Bare}, "the likelihood must be an object, received the class _Bare"),
        ({"prior": _Silent()}, r"the prior _Silent needs a name: kind ="),
        ({"prior": _Empty()}, "the prior _Empty lacks what it must define: log_prob and sample"),
        ({"likelihood": _Unborn()}, r"the likelihood _Unborn does not call super\(\).__init__"),
        ({"likelihood": _Bare()}, "the likelihood _Bare lacks what it must define: distribution"),
    ],
)
def test_parts_of_ones_own_that_lack_something_are_refused(parts, words):
    good = make_vae((3,))
    given = {"likelihood": good.likelihood, "prior": good.prior, **parts}
    with pytest.raises(UsageError, match=words):
        kvae.VAE(good.encoder, good.decoder, given["likelihood"], given["prior"])


def test_a_misspelt_argument_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="'latent_dims': did you mean latent_dim"):
        kvae.build_vae((3,), latent_dims=2)


def test_images_whose_channels_come_first_are_told():
    with pytest.raises(UsageError, match=r"received x of shape \(3, 16, 16\); its channels come"):
        kvae.build_vae((3, 16, 16))


def test_a_prior_of_pseudo_inputs_does_not_go_with_normalisation_by_batch():
    with pytest.raises(UsageError, match="normalises by batch"):
        kvae.build_vae((64, 64, 3), latent_dim=2, network="conv-large", prior="vamp")


def _nats_beyond_a_normal(vae, x):
    """How much likelier the prior finds posterior draws than the best normal of each dimension."""
    draws = np.asarray(vae.posterior(x).sample(_noise(300), "posterior"))
    normal = stats.norm(draws.mean(axis=0), draws.std(axis=0)).logpdf(draws).sum(axis=1)
    return np.mean(vae.prior.log_prob(draws)) - normal.mean()


@pytest.mark.parametrize("shape", [(3,), (8, 8, 1)])
def test_a_mixture_starts_at_latents_of_the_rows_and_a_vamp_prior_at_the_rows(shape, rng):
    x = rng.random((300, *shape)).astype("float32")
    options = {"latent_dim": 2, "prior_components": 4}
    vae = kvae.build_vae(shape, prior="mixture", **options)
    vae.start_prior(x)
    assert _nats_beyond_a_normal(vae, x) > -0.3
    condition = rng.random((300, 2)).astype("float32")
    vae = kvae.build_vae(shape, prior="mixture", condition_dim=2, **options)
    vae.start_prior((x, condition))
    for bad in (x[:, :2], np.full_like(x, np.nan)):
        with pytest.raises(UsageError):
            vae.start_prior((bad, condition))
    assert _nats_beyond_a_normal(vae, (x, condition)) > -0.3
    vae = kvae.build_vae(shape, prior="vamp", shift=0.5, scale=2.0, **options)
    vae.start_prior(x)
    inputs = np.asarray(vae.prior.pseudo_inputs)
    distance = np.abs(inputs[:, None] - (x - 0.5) / 2.0).reshape(4, 300, -1).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-5


def test_arrays_that_would_end_in_nan_are_refused_before_training(rng):
    vae = kvae.build_vae((3,), latent_dim=2)
    vae.compile("adam")
    x = rng.normal(size=(8, 3)).astype("float32")
    x[2, 1] = np.nan
    with pytest.raises(UsageError, match="finite"):
        vae.fit(x)
    with pytest.raises(UsageError, match=r"\(8, 2\)"):
        vae.fit(x[:, :2])
    binary = make_vae((8, 8, 1), likelihood="bernoulli")
    binary.compile("adam")
    with pytest.raises(UsageError, match="0 and 1"):
        binary.fit(rng.integers(0, 256, (4, 8, 8, 1), dtype="uint8"))
    history = binary.fit(255 * rng.integers(0, 2, (4, 8, 8, 1), dtype="uint8"), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_interpolate_takes_one_fraction_for_all_rows(small_vae):
    x = make_x((2,), "gaussian")
    _, half = small_vae.interpolate(x[:3], x[3:], 0.5)
    _, halves = small_vae.interpolate(x[:3], x[3:], np.full(3, 0.5))
    np.testing.assert_array_equal(half, halves)


def test_wrong_arguments_from_python_are_named(small_vae):
    for shape in (5, "abc", (4, 4), (0,)):
        with pytest.raises(UsageError, match="element_shape"):
            kvae.build_vae(shape)
    with pytest.raises(UsageError, match="latent_dim"):
        kvae.build_vae((3,), latent_dim=2.5)
    with pytest.raises(UsageError, match="count"):
        small_vae.generate(0)
    v = small_vae
    with pytest.raises(UsageError, match="Mixture and Gaussian"):
        kvae.VAE(v.encoder, v.decoder, v.prior, v.likelihood)
    with pytest.raises(UsageError, match="str and str"):
        kvae.VAE(v.encoder, v.decoder, "gaussian", "mixture")


# The importance-weighted objective


def test_the_iwae_loss_with_the_exact_posterior_is_minus_the_evidence(any_ppca):
    x = any_ppca.sample(200)
    vae = any_ppca.vae(objective=Iwae(4))
    vae.compile("sgd")
    loss = vae.evaluate(x, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(-np.mean(any_ppca.log_evidence(x)), abs=1e-3)


def test_the_iwae_bound_of_a_wide_posterior_lies_between_elbo_and_evidence(ppca):
    x = ppca.sample(4000)
    evidence = np.mean(ppca.log_evidence(x))
    bounds = {}
    for draws in (1, 4, 64):
        vae = ppca.vae(posterior_scale=1.5, objective=Iwae(draws))
        vae.compile("sgd")
        found = vae.evaluate(x, batch_size=1000, verbose=0, return_dict=True)
        bounds[draws] = -found["loss"]
        assert found["elbo"] == pytest.approx(evidence - 0.439, abs=0.06)
    assert bounds[1] == pytest.approx(evidence - 0.439, abs=0.06)
    assert bounds[1] + 0.2 < bounds[4] < evidence - 0.02
    assert bounds[64] == pytest.approx(evidence, abs=0.03)


def test_a_step_on_the_iwae_objective_raises_its_bound(ppca):
    x = ppca.sample(1000)
    vae = ppca.vae(posterior_scale=2.0, objective=Iwae(4))
    losses = _fit(vae, x, keras.optimizers.Adam(1e-2), epochs=20, batch_size=100).history["loss"]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 0.5}, "beta applies to objective elbo alone, received objective iwae"),
        ({"kl_warmup_steps": 3}, "kl_warmup_steps applies to objective elbo alone"),
        ({"iwae_draws": 0}, "iwae_draws takes a whole number from 1 to 1000000; received 0"),
    ],
)
def test_an_iwae_that_is_no_bound_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        kvae.build_vae((3,), objective="iwae", **options)
    with pytest.raises(UsageError, match="objective"):
        kvae.build_vae((3,), objective="elbow")
    with pytest.raises(UsageError, match="objective"):
        kvae.VAE(*(getattr(make_vae((3,)), part) for part in PARTS), objective="elbo")


# A sampler


def _with_far_sampler(vae):
    far = Mixture(1)
    far.build((None, vae.latent_dim))
    far.means.assign(np.full((1, vae.latent_dim), 50.0))
    return vae.with_sampler(far)


def test_generate_draws_from_the_sampler_and_nothing_else_changes(small_vae):
    vae = _with_far_sampler(small_vae)
    x = make_x((2,), "gaussian")
    assert np.linalg.norm(vae.generate(20) - small_vae.generate(20), axis=1).min() > 1.0
    np.testing.assert_array_equal(vae.log_weight(x, _noise(6)), small_vae.log_weight(x, _noise(6)))
    np.testing.assert_array_equal(vae.with_sampler(None).generate(5), small_vae.generate(5))


def test_a_sampler_is_saved_and_never_trained(tmp_path, rng):
    vae = _with_far_sampler(make_vae((3,)))
    assert vae.sampler.trainable_weights == []
    before = [np.array(w) for w in vae.sampler.get_weights()]
    _fit(vae, rng.normal(size=(64, 3)).astype("float32"))
    vae.save(tmp_path / "m.keras")
    again = kvae.load_model(tmp_path / "m.keras")
    assert again.has_sampler
    for now, then in zip(again.sampler.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_allclose(again.generate(4), vae.generate(4), rtol=1e-5)


def test_the_prior_as_sampler_stays_trainable():
    vae = make_vae((3,), prior="mixture")
    again = vae.with_sampler(vae.prior)
    assert not again.has_sampler
    assert again.prior.trainable_weights


def test_weights_files_leave_the_sampler_out(tmp_path):
    plain = make_vae((3,))
    vae = _with_far_sampler(plain)
    vae.save_weights(tmp_path / "m.weights.h5")
    other = make_vae((3,), seed=1)
    other.load_weights(tmp_path / "m.weights.h5")
    for ours, theirs in zip(other.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_steps_are_counted_with_and_without_a_sampler(tmp_path, rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    plain = make_vae((3,))
    vae = _with_far_sampler(plain)
    _fit(plain, x)
    assert (int(plain.step), int(vae.step)) == (4, 4)
    _fit(vae, x)
    assert int(plain.step) == 8
    plain.save_weights(tmp_path / "m.weights.h5")
    other = _with_far_sampler(make_vae((3,), seed=1))
    other.load_weights(tmp_path / "m.weights.h5")
    assert int(other.step) == 8


def test_a_seed_is_one_of_all_generators():
    for seed in (-1, 2**32, 0.5, "a"):
        with pytest.raises(UsageError, match="seed takes a whole number"):
            kvae.build_vae((3,), seed=seed)


def test_weights_under_the_samplers_density_are_exact(any_ppca):
    """A sampler that is the prior itself, under another name, gives the evidence too."""
    normal = Mixture(1)
    normal.build((None, any_ppca.latent_dim))
    normal.means.assign(np.zeros((1, any_ppca.latent_dim)))
    vae = any_ppca.vae().with_sampler(normal)
    x = any_ppca.sample(20)
    terms = vae.weight_terms(x, _noise(20), densities=(vae.prior, vae.sampler))
    for term in terms:
        np.testing.assert_allclose(term.log_weight, any_ppca.log_evidence(x), atol=5e-4)


def test_each_density_gives_weights_of_its_own(small_vae):
    vae, x = _with_far_sampler(small_vae), make_x((2,), "gaussian")
    prior, sampler = vae.weight_terms(x, _noise(6), densities=(vae.prior, vae.sampler))
    z = vae.posterior(x).draw(_noise(6), "posterior").value
    apart = vae.prior.log_prob(z) - vae.sampler.log_prob(z)
    assert np.min(apart) > 100.0
    np.testing.assert_allclose(sampler.rate - prior.rate, apart, rtol=1e-5)


def test_a_second_stage_is_saved_with_its_vae(tmp_path):
    inner = make_vae((2,))
    vae = make_vae((3,)).with_sampler(SecondStage(inner))
    vae.save(tmp_path / "m.keras")
    again = kvae.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.generate(4), vae.generate(4), rtol=1e-5)


# Parts that images share with vectors


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("float32", {"variance": "full", "posterior": "full"}),
        ("mixed_bfloat16", {"variance": "heteroscedastic", "objective": "iwae", "iwae_draws": 3}),
        ("float32", {"prior": "vamp", "posterior": "full", "objective": "iwae", "iwae_draws": 2}),
        ("mixed_bfloat16", {"prior": "flow", "latent_dim": 4}),
        ("mixed_bfloat16", {"prior": "mixture", "latent_dim": 1, "posterior": "full"}),
    ],
    ids=str,
)
def test_images_train_with_every_part(policy, options, rng):
    vae = make_vae((8, 8, 3), **options, dtype=policy)
    images = rng.integers(0, 256, (64, 8, 8, 3), dtype="uint8")
    vae.compile(keras.optimizers.SGD(1e-3, clipnorm=1.0))
    before = vae.get_weights()
    history = vae.fit(images, batch_size=32, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    moved = [np.abs(a - b).max() for a, b in zip(vae.get_weights(), before, strict=True)]
    assert np.mean(np.array(moved) > 0) > 0.9


def _blocks(x, times, batch_size):
    """Rows that are seen some times, in one block of steps."""
    x = np.tile(x, (times, *[1] * (x.ndim - 1)))
    return tf.data.Dataset.from_tensors(x.reshape(-1, batch_size, *x.shape[1:]))


def _figures(vae, x):
    return vae.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)


def test_free_bits_and_the_weight_of_the_total_correlation_change_the_loss_alone(rng):
    x = rng.normal(size=(40, 3)).astype("float32")
    plain = make_vae((3,), latent_dim=2)
    found = {}
    for name, options in {
        "none": {}, "bits": {"free_bits": 5.0}, "tc": {"tc_weight": 4.0}
    }.items():  # fmt: skip
        vae = make_vae((3,), latent_dim=2, **options)
        vae.set_weights(plain.get_weights())
        vae.compile("adam")
        found[name] = _figures(vae, x)
    for name in ("bits", "tc"):
        for figure in ("elbo", "distortion", "rate"):
            assert found[name][figure] == pytest.approx(found["none"][figure], rel=1e-5)
    # No dimension carries five nats here, so that each counts as that.
    assert found["bits"]["loss"] == pytest.approx(found["none"]["distortion"] + 10.0, rel=1e-5)
    posterior = plain.posterior(x)
    z = posterior.draw(StepNoise.validation(plain.seed, np.arange(40)), "posterior").value
    estimate = float(np.mean(total_correlation(posterior, z)))
    assert abs(estimate) > 1e-3
    assert found["tc"]["total_correlation"] == pytest.approx(estimate, rel=1e-4)
    assert found["tc"]["loss"] - found["none"]["loss"] == pytest.approx(3.0 * estimate, rel=1e-3)
    assert "total_correlation" not in found["none"]


def test_free_bits_keep_a_latent_alive_that_would_collapse(rng):
    x = rng.normal(size=(512, 1)).astype("float32") @ np.ones((1, 3), "float32")
    rates = {}
    for bits in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        vae = kvae.build_vae((3,), latent_dim=1, variance=10.0, free_bits=bits)
        vae.compile(keras.optimizers.Adam(0.01))
        vae.fit(_blocks(x, 30, 128), verbose=0)
        rates[bits] = vae.evaluate(x, verbose=0, return_dict=True)["rate"]
    assert rates[0.0] < 0.3
    assert rates[1.0] > 0.5


@pytest.mark.parametrize("schedule", [{"kl_cycle_steps": 4}, {"kl_warmup_steps": 4}])
def test_validation_has_the_beta_of_the_last_step(rng, schedule):
    x = rng.normal(size=(16, 3)).astype("float32")
    vae = make_vae((3,), beta=6.0, **schedule)
    vae.compile(keras.optimizers.SGD(1e-6))
    found = []
    for steps in (1, 1, 2):
        logs = vae.fit(x, batch_size=16, epochs=steps, validation_data=(x, None), verbose=0).history
        excess = logs["val_loss"][-1] - logs["val_distortion"][-1]
        found.append(excess / logs["val_rate"][-1])
    expected = [3.0, 6.0, 6.0] if "kl_cycle_steps" in schedule else [1.5, 3.0, 6.0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(("scale", "jit"), [(1.0, False), ((1e-3, 1.0, 1e2), True)])
def test_the_optimal_variance_is_the_mean_squared_error_of_the_data(rng, jit, scale):
    """x is noise around nothing that a latent could tell."""
    stddev = 0.3 * np.asarray(scale)
    x = (rng.normal(size=(4000, 3)) * stddev).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=1, variance="optimal", beta=50.0, scale=scale)
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=jit)
    history = vae.fit(_blocks(x, 10, 500), epochs=3, verbose=0).history
    assert float(vae.likelihood.current_variance()) == pytest.approx(0.09, rel=0.1)
    assert history["stddev"][-1] == pytest.approx(0.3, rel=0.05)
    vae.likelihood.mean_squared_error.assign([7.0])
    vae.calibrate(np.split(x, [1000, 1700]))
    draws = vae.posterior(x).sample(_noise(len(x)), "posterior")
    error = np.square((x - np.asarray(vae.decode(draws).mean())) / np.asarray(scale)).mean()
    assert float(vae.likelihood.current_variance()) == pytest.approx(error, rel=1e-2)


def test_validation_leaves_the_optimal_variance_alone(rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=1, variance="optimal")
    vae.compile("adam")
    before = float(vae.likelihood.current_variance())
    vae.evaluate(x, verbose=0)
    vae.elbo_terms(x, _noise(64), training=True)
    assert float(vae.likelihood.current_variance()) == before
    vae.fit(x, verbose=0)
    assert float(vae.likelihood.current_variance()) != before


def test_iwae_and_the_optimal_variance_are_refused_together():
    with pytest.raises(UsageError, match="optimal"):
        kvae.build_vae((3,), latent_dim=1, variance="optimal", objective="iwae")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"free_bits": 0.1, "prior": "mixture"}, "free bits"),
        ({"free_bits": 0.1, "posterior": "full"}, "free bits"),
        ({"free_bits": -1.0}, "at least 0"),
        ({"tc_weight": -1.0}, "at least 0"),
        ({"tc_weight": 2.0, "posterior": "full"}, "total correlation"),
        ({"tc_weight": 2.0, "prior": "mixture"}, "total correlation"),
        ({"kl_warmup_steps": 3, "kl_cycle_steps": 3}, "not both"),
        ({"kl_cycle_steps": 1}, "at least 2"),
    ],
)
def test_regularisers_that_have_no_formula_are_refused(options, wanted):
    with pytest.raises(UsageError, match=wanted):
        kvae.build_vae((3,), latent_dim=2, **options)
