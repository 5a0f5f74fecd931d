"""Laws that every prior obeys."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.priors import PRIORS
from kvae.probability.distributions import DiagonalNormal, FullNormal
from kvae.probability.noise import SeededNoise


def _posterior_of(x):
    """Stands for a model's encoder: x of two elements to a slanted normal."""
    raw = keras.ops.concatenate([0.8 * x, 0.3 * x, x[:, :1] - x[:, 1:]], axis=1)
    return FullNormal.from_params(raw)


#: A flow of kvae 0.1 obeys them too.
PARTS = {name: (name, {}) for name in PRIORS} | {
    "flow": ("flow", {"num_layers": 5, "hidden_units": 16}),
    "flow of kvae 0.1": ("flow", {"num_layers": 8, "hidden_units": 16, "num_blocks": 0}),
}


@pytest.fixture(params=PARTS)
def prior(request):
    name, own = PARTS[request.param]
    layer = PRIORS[name].load()(**own)
    layer.connect(_posterior_of, (2,))
    layer.build((None, 2))
    rng = np.random.default_rng(5)
    # Many small changes of a flow's kernels add up to one as large as those of the others.
    size = {"flow": 0.05, "flow of kvae 0.1": 0.02}.get(request.param, 0.4)
    layer.set_weights([w + size * rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def _samples(prior, count=40_000):
    return np.asarray(prior.sample(SeededNoise(np.arange(count))))


def _grid(half_width=14.0, points=561):
    line = np.linspace(-half_width, half_width, points)
    first, second = np.meshgrid(line, line)
    cell = (line[1] - line[0]) ** 2
    return np.stack([first.ravel(), second.ravel()], axis=1).astype("float32"), cell


def test_an_exact_density_integrates_to_one(prior):
    if not prior.exact_density:
        pytest.skip("a bound has no integral")
    grid, cell = _grid()
    assert np.exp(prior.log_prob(grid)).sum() * cell == pytest.approx(1.0, abs=2e-3)


def test_samples_have_the_moments_of_the_density(prior):
    grid, cell = _grid()
    weight = np.exp(prior.log_prob(grid)).astype("float64") * cell
    mean = weight @ grid
    second = (grid * weight[:, None]).T @ grid
    sample = _samples(prior)
    np.testing.assert_allclose(sample.mean(axis=0), mean, atol=0.04)
    np.testing.assert_allclose(sample.T @ sample / len(sample), second, rtol=0.05, atol=0.05)


POSTERIORS_OF_TWO = {
    "diagonal": DiagonalNormal(
        np.array([[0.5, -1.0]], "float32"), np.array([[0.3, 1.7]], "float32")
    ),
    "full": FullNormal.from_params(np.array([[0.5, -1.0, 0.2, -1.0, 0.8]], "float32")),
}


@pytest.mark.parametrize("posterior", POSTERIORS_OF_TWO.values(), ids=POSTERIORS_OF_TWO.keys())
def test_the_rate_is_the_mean_of_its_estimate_and_never_far_below_zero(prior, posterior):
    count = 20_000
    posterior = posterior.repeat(count)
    draw = posterior.draw(SeededNoise(np.arange(count)), "posterior")
    estimate = np.asarray(posterior.log_prob(draw.value) - prior.log_prob(draw.value))
    rate = float(np.mean(prior.rate(posterior, draw)))
    assert rate == pytest.approx(estimate.mean(), abs=5 * estimate.std() / np.sqrt(count))
    assert rate > 0


def test_a_posterior_equal_to_a_standard_normal_prior_costs_nothing():
    prior = PRIORS["standard_normal"].load()()
    prior.build((None, 3))
    posterior = DiagonalNormal(np.zeros((1, 3), "float32"), np.ones((1, 3), "float32"))
    assert float(prior.rate(posterior, None)[0]) == 0.0


def test_a_sample_depends_on_its_own_seed_alone(prior):
    together = np.asarray(prior.sample(SeededNoise(np.arange(10))))
    alone = np.asarray(prior.sample(SeededNoise(np.array([6]))))
    np.testing.assert_allclose(together[6:7], alone, atol=1e-6)


def test_far_points_keep_values_and_gradients_finite(prior):
    z = tf.constant([[-1e4, 1e4], [0.0, 0.0], [1e-6, 300.0]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = prior.log_prob(z)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, z)).all()


def test_every_weight_gets_a_gradient(prior):
    z = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(prior.log_prob(z))
    for weight, gradient in zip(
        prior.trainable_weights, tape.gradient(loss, prior.trainable_weights), strict=True
    ):
        gradient = np.asarray(gradient)
        assert gradient.shape == weight.shape, weight.path  # no IndexedSlices
        assert np.any(gradient != 0), weight.path


def test_it_is_read_back_from_its_config(prior):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    again.connect(_posterior_of, (2,))
    if not again.built:
        again.build((None, 2))
    again.set_weights(prior.get_weights())
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_array_equal(again.log_prob(z), prior.log_prob(z))
