import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from kvae.priors.mixture import Mixture
from kvae.probability.noise import SeededNoise


def _mixture(seed=0, dim=3, count=4):
    prior = Mixture(count)
    prior.build((None, dim))
    rng = np.random.default_rng(seed)
    prior.set_weights([w + 0.5 * rng.normal(size=w.shape) for w in prior.get_weights()])
    return prior


def _parameters(prior):
    logits, means, log_diagonal, off_diagonal = prior.get_weights()
    factor = np.tril(off_diagonal, -1) + np.stack([np.diag(np.exp(row)) for row in log_diagonal])
    covariances = np.linalg.inv(factor @ factor.transpose(0, 2, 1))
    return np.exp(logits - logsumexp(logits)), means, covariances


def test_log_prob_is_that_of_the_mixture_it_describes(rng):
    prior = _mixture()
    weights, means, covariances = _parameters(prior)
    z = rng.normal(size=(6, 3)).astype("float32")
    terms = [
        np.log(w) + stats.multivariate_normal(m, c).logpdf(z)
        for w, m, c in zip(weights, means, covariances, strict=True)
    ]
    np.testing.assert_allclose(prior.log_prob(z), logsumexp(terms, axis=0), rtol=1e-4)


def test_samples_have_the_mixtures_covariance():
    prior = _mixture()
    weights, means, covariances = _parameters(prior)
    mean = weights @ means
    spread = means - mean
    covariance = np.einsum("k,kij->ij", weights, covariances) + (weights * spread.T) @ spread
    sample = np.asarray(prior.sample(SeededNoise(np.arange(60_000))))
    np.testing.assert_allclose(sample.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(sample.T), covariance, rtol=0.1, atol=0.1)


def test_a_component_without_weight_is_never_drawn():
    prior = _mixture(count=3)
    _, means, *rest = prior.get_weights()
    prior.set_weights([np.array([0.0, -200.0, 0.0]), means * 0 + [[0], [1e6], [0]], *rest])
    assert np.abs(prior.sample(SeededNoise(np.arange(5000)))).max() < 1e3


def _started(latents, count):
    prior = Mixture(count)
    prior.build((None, latents.shape[1]))
    prior.initialize(latents.astype("float32"), latents)
    return prior


@pytest.mark.parametrize("rows", [50, 500])
def test_initialize_puts_components_on_the_latents(rng, rows):
    latents = rng.normal(size=(rows, 3)) * [1.0, 10.0, 0.1] + [0.0, 50.0, 0.0]
    prior = _started(latents, 8)
    expected = stats.multivariate_normal(latents.mean(axis=0), np.cov(latents.T)).logpdf(latents)
    assert np.mean(prior.log_prob(latents.astype("float32"))) > expected.mean() - 1.5


def test_of_few_latents_components_start_at_some_of_them(rng):
    latents = rng.normal(size=(79, 3))
    means = _started(latents, 8).get_weights()[1]
    assert np.abs(latents[:, None] - means).max(axis=-1).min(axis=0).max() < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_every_cluster_of_latents_gets_components_and_no_gap_between_them_does(seed):
    rng, spread = np.random.default_rng(seed), 0.1
    centres = rng.permutation(np.stack(np.meshgrid(*3 * [[-1.0, 0.0, 1.0]]), -1).reshape(-1, 3))
    centres = centres[:10]
    sizes = np.array([20, 20, *8 * [245]])  # two of a hundredth of all rows
    latents = np.repeat(centres, sizes, axis=0) + spread * rng.normal(size=(sizes.sum(), 3))
    _, means, log_diagonal, _ = _started(latents, 30).get_weights()
    distances = np.linalg.norm(means[:, None] - centres, axis=-1)
    assert distances.min(axis=0).max() < 2 * spread
    assert distances.min(axis=1).max() < 4 * spread
    # Three to a cluster of three dimensions, each is a little narrower than the cluster.
    np.testing.assert_allclose(np.exp(-log_diagonal), 0.8 * spread, rtol=0.25)


def test_no_components_are_refused():
    with pytest.raises(ValueError, match="from 1 to 1000000"):
        Mixture(0)
