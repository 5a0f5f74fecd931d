import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.special import log_softmax, logsumexp

from kvae.errors import UsageError
from kvae.likelihoods import accepts
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
from kvae.probability.distributions import LogisticLevels
from kvae.probability.noise import SeededNoise

ROWS, HEIGHT, WIDTH, COMPONENTS, CHANNELS = 5, 2, 3, 4, 3


def _parameters(rng):
    shape = (ROWS, HEIGHT, WIDTH, COMPONENTS, CHANNELS)
    return (
        rng.uniform(-0.2, 1.2, shape).astype("float32"),
        rng.uniform(0.01, 0.2, shape).astype("float32"),
        rng.normal(size=shape[:-1]).astype("float32"),
    )


def test_log_prob_is_the_mixture_of_masses_of_scipys_logistic(rng):
    means, scales, logits = _parameters(rng)
    levels = rng.integers(0, 256, (ROWS, HEIGHT, WIDTH, CHANNELS))
    levels[0, 0, 0], levels[1, 0, 0] = 0, 255
    upper = np.where(levels == 255, np.inf, (levels + 0.5) / 255)[..., None, :]
    lower = np.where(levels == 0, -np.inf, (levels - 0.5) / 255)[..., None, :]
    noise = stats.logistic(means.astype(float), scales.astype(float))
    # From the side on which the difference of two masses loses nothing.
    mass = np.where(
        lower > means, noise.sf(lower) - noise.sf(upper), noise.cdf(upper) - noise.cdf(lower)
    )
    pixel = np.log(mass).sum(-1) + log_softmax(logits.astype(float), axis=-1)
    expected = logsumexp(pixel, axis=-1).sum((1, 2))
    x = (levels / 255).astype("float32")
    found = LogisticLevels(means, scales, logits).log_prob(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # What is no level counts as the nearest one.
    moved = LogisticLevels(means, scales, logits).log_prob(x + np.float32(0.4 / 255))
    np.testing.assert_allclose(moved, found, rtol=1e-6)


def test_the_far_tails_are_exact():
    means = np.full((1, 1, 1, 1, 1), 0.5, "float32")
    scales = np.full_like(means, 1e-3)
    found = LogisticLevels(means, scales, np.zeros((1, 1, 1, 1), "float32")).log_prob(
        np.full((1, 1, 1, 1), 200 / 255, "float32")
    )
    above, below = ((200 + half) / 255 for half in (0.5, -0.5))
    expected = stats.logistic(0.5, 1e-3).logsf(below) + np.log1p(-np.exp(-(above - below) / 1e-3))
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def test_samples_are_levels_with_the_probabilities_of_the_levels(rng):
    count = 40_000
    means = np.repeat(np.array([0.02, 0.6], "float32").reshape(1, 1, 1, 2, 1), count, axis=0)
    scales = np.repeat(np.array([0.02, 0.01], "float32").reshape(1, 1, 1, 2, 1), count, axis=0)
    logits = np.repeat(np.array([1.0, 0.0], "float32").reshape(1, 1, 1, 2), count, axis=0)
    distribution = LogisticLevels(means, scales, logits)
    sample = np.asarray(distribution.sample(SeededNoise(np.arange(count)), "observation"))
    levels = np.round(sample * 255).astype(int)
    np.testing.assert_allclose(sample, levels / 255, atol=1e-6)
    grid = (np.arange(256) / 255).astype("float32").reshape(-1, 1, 1, 1)
    first = LogisticLevels(means[:256], scales[:256], logits[:256])
    probability = np.exp(first.log_prob(grid))
    found = np.bincount(levels.ravel(), minlength=256) / count
    error = np.sqrt(probability * (1 - probability) / count) + 1e-4
    assert (np.abs(found - probability) < 5 * error).all()
    # The mean is that before rounding, so within half a level.
    mean = np.asarray(distribution.mean()[0]).item()
    assert mean == pytest.approx(float(sample.mean()), abs=0.5 / 255)
    variance = np.asarray(distribution.variance()[0]).item()
    assert variance == pytest.approx(float(sample.var()), rel=0.03)


def _moments_of_levels(means, scales):
    """Mean and variance of the levels, from the probabilities of all 256."""
    edges = (np.arange(255).reshape(-1, *[1] * means.ndim) + 0.5) / 255
    noise = stats.logistic(means.astype(float), scales.astype(float))
    # About the level nearest to the mean, each tail from its own side: no digits are lost.
    centre = np.round(np.clip(means.astype(float), 0, 1) * 255)
    above, steps = edges * 255 > centre, 2 * np.abs(edges * 255 - centre)
    tails = np.where(above, noise.sf(edges), noise.cdf(edges))
    first = np.where(above, tails, -tails).sum(0)
    return (centre + first) / 255, ((steps * tails).sum(0) - first**2) / 255**2


def _grid_of_parameters():
    means = np.concatenate([np.linspace(-1, 2, 301), np.linspace(-0.02, 0.02, 101)])
    means = np.concatenate([means, 1 + np.linspace(-0.02, 0.02, 101)]).astype("float32")
    scales = np.geomspace(1e-4, 3, 101).astype("float32")
    return (np.ascontiguousarray(one) for one in np.broadcast_arrays(means, scales[:, None]))


def test_the_variance_is_that_of_the_levels_whatever_their_mean_and_scale():
    means, scales = _grid_of_parameters()
    shape = (*means.shape, 1, 1, 1)
    logits = np.zeros(shape[:-1], "float32")
    found = LogisticLevels(means.reshape(shape), scales.reshape(shape), logits).variance()
    _, expected = _moments_of_levels(means, scales)
    np.testing.assert_allclose(found[..., 0, 0], expected, rtol=3e-3, atol=1e-12)
    assert np.asarray(found).min() > 0


def test_a_mean_beyond_the_edge_leaves_little_variance():
    shape = (2, 1, 1, 1, 1)
    means, scales = np.reshape([-0.5, 1.5], shape), np.full(shape, 0.1)
    parts = (one.astype("float32") for one in (means, scales, np.zeros(shape[:-1])))
    found = np.asarray(LogisticLevels(*parts).variance()).ravel()
    np.testing.assert_allclose(found, 0.000134, rtol=5e-3)


def test_the_variance_of_a_mixture_has_that_of_its_means(rng):
    means, scales, logits = _parameters(rng)
    weights = np.exp(log_softmax(logits.astype(float), axis=-1))[..., None]
    of_means, of_variances = _moments_of_levels(means, scales)
    mean = (weights * of_means).sum(-2, keepdims=True)
    expected = (weights * (of_variances + (of_means - mean) ** 2)).sum(-2)

    @tf.function
    def served(*parts):
        return LogisticLevels(*parts).variance()

    np.testing.assert_allclose(served(means, scales, logits), expected, rtol=3e-3)
    specs = [tf.TensorSpec((None, *part.shape[1:])) for part in (means, scales, logits)]
    none = served.get_concrete_function(*specs)(*(part[:0] for part in (means, scales, logits)))
    assert none.shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("num_components", [1, 3])
def test_the_components_of_a_pixel_hold_all_its_colours(num_components, rng):
    likelihood = DiscretizedLogistic(num_components)
    likelihood.build((None, 2, 2, 3))
    params = rng.normal(size=(1, 2, 2, likelihood.num_outputs(3))).astype("float32")
    x = (rng.integers(0, 256, (1, 2, 2, 3)) / 255).astype("float32")
    swapped = x.copy()
    swapped[..., 0], swapped[..., 1] = x[..., 1], x[..., 0]
    distribution = likelihood.distribution(params)
    assert float(distribution.log_prob(x)[0]) != float(distribution.log_prob(swapped)[0])
    assert tuple(distribution.mean().shape) == x.shape


@pytest.mark.parametrize("num_components", [0, 51, 1.5])
def test_a_wrong_number_of_components_is_refused(num_components):
    with pytest.raises(UsageError, match="from 1 to 50"):
        DiscretizedLogistic(num_components)


def test_vectors_are_refused():
    with pytest.raises(UsageError, match="is for images"):
        DiscretizedLogistic().build((None, 4))
    assert not accepts("discretized-logistic", np.zeros((2, 3), "float32"))
    assert not accepts("discretized-logistic", np.full((1, 2, 2, 1), 0.1234, "float32"))
    assert not accepts("discretized-logistic", np.full((1, 2, 2, 1), 256 / 255, "float32"))
