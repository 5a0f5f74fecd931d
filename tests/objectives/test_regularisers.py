import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from kvae.objectives.regularisers import free_bits_rate, rate_per_dim, total_correlation
from kvae.probability.distributions import DiagonalNormal


@pytest.fixture
def posterior(rng):
    mean = rng.normal(size=(7, 3)).astype("float32")
    return DiagonalNormal(mean, rng.uniform(0.2, 2.0, size=(7, 3)).astype("float32"))


def _grid_rate(mean, variance):
    z = np.linspace(-12, 12, 20001)
    density = stats.norm(mean, np.sqrt(variance)).pdf(z)
    log_ratio = stats.norm(mean, np.sqrt(variance)).logpdf(z) - stats.norm.logpdf(z)
    return np.sum(density * log_ratio) * (z[1] - z[0])


def test_rate_per_dim_is_the_integral(posterior):
    found = np.asarray(rate_per_dim(posterior))
    for place in ((0, 0), (3, 1), (6, 2)):
        mean, variance = np.asarray(posterior.mean()), np.asarray(posterior.variance())
        assert found[place] == pytest.approx(_grid_rate(mean[place], variance[place]), abs=1e-4)


def test_free_bits_lift_what_lies_below_them_alone(posterior):
    per_dim = np.asarray(rate_per_dim(posterior)).mean(axis=0)
    for nats in (0.0, float(np.median(per_dim)), 100.0):
        expected = np.maximum(per_dim, nats).sum()
        assert float(free_bits_rate(posterior, nats)) == pytest.approx(expected, rel=1e-5)


def test_total_correlation_is_the_estimate_written_out(posterior, rng):
    z = rng.normal(size=(7, 3)).astype("float32")
    normal = stats.norm(np.asarray(posterior.mean()), np.sqrt(np.asarray(posterior.variance())))
    log_prob = normal.logpdf(z[:, None, :])  # row of z, row of q, dimension
    joint = logsumexp(log_prob.sum(axis=2), axis=1) - np.log(7)
    marginals = (logsumexp(log_prob, axis=1) - np.log(7)).sum(axis=1)
    np.testing.assert_allclose(total_correlation(posterior, z), joint - marginals, rtol=1e-4)


def test_total_correlation_tells_dependent_from_independent_latents(rng):
    count = 800
    first, second = rng.normal(size=(2, count))
    small = np.full((count, 2), 0.3, "float32")
    for other, expected in ((second, 0.0), (first, -0.5 * np.log(1 - (1 / 1.3) ** 2))):
        mean = np.stack([first, other], axis=1).astype("float32")
        z = (mean + np.sqrt(0.3) * rng.normal(size=mean.shape)).astype("float32")
        found = float(np.mean(total_correlation(DiagonalNormal(mean, small), z)))
        assert found == pytest.approx(expected, abs=0.08)
