import math

import keras
import numpy as np
import pytest
from scipy import stats

from kvae.metrics import latents
from kvae.probability.distributions import (
    Affine,
    Bernoulli,
    DiagonalNormal,
    FieldNormal,
    FullNormal,
    below_diagonal,
    event_size,
    kl_to_standard_normal,
    lower_triangular,
    sum_event,
)
from kvae.probability.noise import SeededNoise


def _normal(rng, rows=5, shape=(3, 2)):
    mean = rng.normal(size=(rows, *shape)).astype("float32")
    variance = rng.uniform(0.1, 3.0, size=(rows, *shape)).astype("float32")
    return mean, variance


def test_sum_event_keeps_the_batch():
    values = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    np.testing.assert_array_equal(sum_event(keras.ops.convert_to_tensor(values)), [66.0, 210.0])
    assert event_size(values) == 12


def test_normal_log_prob_is_scipys(rng):
    mean, variance = _normal(rng)
    x = rng.normal(size=mean.shape).astype("float32")
    expected = stats.norm(mean, np.sqrt(variance)).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(DiagonalNormal(mean, variance).log_prob(x), expected, rtol=1e-5)


def test_a_scalar_variance_counts_for_every_element(rng):
    mean, _ = _normal(rng)
    x = rng.normal(size=mean.shape).astype("float32")
    expected = stats.norm(mean, 0.5).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(DiagonalNormal(mean, 0.25).log_prob(x), expected, rtol=1e-5)
    assert DiagonalNormal(mean, 0.25).variance().shape == mean.shape


def test_params_are_means_then_softplus_variances():
    params = np.array([[1.0, 2.0, 0.0, -50.0]], "float32")
    posterior = DiagonalNormal.from_params(params)
    np.testing.assert_array_equal(posterior.mean(), [[1.0, 2.0]])
    np.testing.assert_allclose(posterior.variance(), [[math.log(2.0), 1e-8]], rtol=1e-5)
    assert DiagonalNormal.num_params(2) == 4


def test_normal_samples_have_its_moments():
    mean = np.tile(np.array([[1.0, -2.0]], "float32"), (20000, 1))
    variance = np.array([0.25, 4.0], "float32")
    noise = SeededNoise(np.arange(20000))
    sample = np.asarray(DiagonalNormal(mean, variance).sample(noise, "latent"))
    np.testing.assert_allclose(sample.mean(axis=0), [1.0, -2.0], atol=0.05)
    np.testing.assert_allclose(sample.var(axis=0), [0.25, 4.0], rtol=0.05)


def test_repeat_puts_copies_in_succession():
    repeated = DiagonalNormal(np.array([[1.0], [2.0]], "float32"), 0.5).repeat(2)
    np.testing.assert_array_equal(repeated.mean(), [[1.0], [1.0], [2.0], [2.0]])
    np.testing.assert_array_equal(repeated.variance(), np.full((4, 1), 0.5))


def test_bernoulli_probabilities_sum_to_one():
    logits = np.array([[0.3, -1.2]], "float32")
    outcomes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    log_probs = Bernoulli(np.repeat(logits, 4, axis=0)).log_prob(outcomes)
    assert np.exp(log_probs).sum() == pytest.approx(1.0, abs=1e-6)


def test_bernoulli_gives_grey_levels_no_probability():
    log_prob = Bernoulli(np.zeros((2, 2), "float32")).log_prob(
        np.array([[0.0, 1.0], [0.5, 1.0]], "float32")
    )
    assert float(log_prob[0]) == pytest.approx(-2 * math.log(2.0))
    assert float(log_prob[1]) == -math.inf


def test_bernoulli_moments_and_samples():
    logits = np.tile(np.array([[2.0, -1.0]], "float32"), (20000, 1))
    distribution = Bernoulli(logits)
    sample = np.asarray(distribution.sample(SeededNoise(np.arange(20000)), "observation"))
    assert set(np.unique(sample)) == {0.0, 1.0}
    np.testing.assert_allclose(sample.mean(axis=0), distribution.mean()[0], atol=0.02)
    np.testing.assert_allclose(sample.var(axis=0), distribution.variance()[0], atol=0.02)


def test_extreme_logits_keep_log_prob_and_gradients_finite():
    import tensorflow as tf

    logits = tf.constant([[-200.0, 200.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Bernoulli(logits).log_prob(tf.constant([[1.0, 0.0, 1.0]]))
    assert float(log_prob[0]) == pytest.approx(-400.0 - math.log(2.0))
    np.testing.assert_allclose(tape.gradient(log_prob, logits), [[1.0, -1.0, 0.5]])


def test_affine_is_the_density_in_the_units_of_x(rng):
    mean, variance = _normal(rng, shape=(2,))
    shift, scale = np.array([5.0, -1.0], "float32"), np.array([0.1, 20.0], "float32")
    moved = Affine(DiagonalNormal(mean, variance), shift, scale)
    x = (shift + scale * rng.normal(size=mean.shape)).astype("float32")
    expected = stats.norm(shift + scale * mean, scale * np.sqrt(variance)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(moved.log_prob(x), expected, rtol=1e-4)
    np.testing.assert_allclose(moved.variance(), scale**2 * variance, rtol=1e-6)


def test_a_scalar_scale_counts_for_every_element(rng):
    mean, variance = _normal(rng, shape=(4,))
    x = rng.normal(size=mean.shape).astype("float32")
    by_number = Affine(DiagonalNormal(mean, variance), 0.5, np.float32(3.0))
    by_array = Affine(DiagonalNormal(mean, variance), 0.5, np.full(4, 3.0, "float32"))
    np.testing.assert_allclose(by_number.log_prob(x), by_array.log_prob(x), rtol=1e-6)


# Full covariances


def test_triangles_hold_every_entry_once():
    for size in (1, 2, 3, 6):
        entries = np.arange(1.0, size * (size + 1) / 2 + 1, dtype="float32")
        found = np.asarray(lower_triangular(entries[None], size))[0]
        np.testing.assert_array_equal(np.triu(found, 1), 0.0)
        np.testing.assert_array_equal(np.sort(found[np.tril_indices(size)]), entries)
        below = np.asarray(below_diagonal(entries[None], size + 1))[0]
        np.testing.assert_array_equal(np.triu(below), 0.0)
        np.testing.assert_array_equal(np.sort(below[np.tril_indices(size + 1, -1)]), entries)


def _full(rng, rows=3, dim=4):
    """A posterior, and scipy's normals with the covariances that its parameters mean."""
    params = rng.normal(size=(rows, FullNormal.num_params(dim))).astype("float32")
    mean, stddev = params[:, :dim], np.log1p(np.exp(params[:, dim : 2 * dim])) + 1e-4
    unit = np.eye(dim) + np.asarray(below_diagonal(params[:, 2 * dim :], dim))
    root = unit * stddev[:, None, :]
    expected = [
        stats.multivariate_normal(m, c)
        for m, c in zip(mean, root @ root.transpose(0, 2, 1), strict=True)
    ]
    return FullNormal.from_params(params), expected


def test_a_full_normal_is_scipys(rng):
    full, expected = _full(rng)
    x = rng.normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(full.mean(), [e.mean for e in expected], rtol=1e-6)
    np.testing.assert_allclose(full.variance(), [np.diag(e.cov) for e in expected], rtol=1e-4)
    np.testing.assert_allclose(full.entropy(), [e.entropy() for e in expected], rtol=1e-4)
    log_prob = [e.logpdf(row) for e, row in zip(expected, x, strict=True)]
    np.testing.assert_allclose(full.log_prob(x), log_prob, rtol=1e-4)


def test_the_kl_to_a_standard_normal_is_one_with_numpys(rng):
    full, expected = _full(rng)
    moments = full.mean(), full.variance()
    found = kl_to_standard_normal(*moments, full.entropy())
    log_dets = [np.linalg.slogdet(e.cov)[1] for e in expected]
    numpys = latents.kl_to_standard_normal(*(np.asarray(each) for each in moments), log_dets)
    np.testing.assert_allclose(found, numpys, rtol=1e-5)
    for place, normal in enumerate(expected):
        draws = normal.rvs(20_000, random_state=place)
        ratio = normal.logpdf(draws) - stats.norm.logpdf(draws).sum(axis=1)
        stderr = ratio.std() / math.sqrt(len(draws))
        assert numpys[place] == pytest.approx(ratio.mean(), abs=5 * stderr)


def test_each_element_has_its_kl_to_a_standard_normal(rng):
    mean, variance = _normal(rng, shape=(4,))
    normal = DiagonalNormal(mean, variance)
    parts = kl_to_standard_normal(
        mean[..., None], variance[..., None], normal.entropy_per_element()
    )
    assert parts.shape == mean.shape
    whole = kl_to_standard_normal(mean, variance, normal.entropy())
    np.testing.assert_allclose(sum_event(parts), whole, rtol=1e-5)
    np.testing.assert_allclose(
        np.mean(parts, axis=0), latents.rate_per_dim(mean, variance), rtol=1e-4, atol=1e-6
    )


def test_draws_of_a_full_normal_have_its_covariance_and_their_own_density(rng):
    full, expected = _full(rng, rows=1)
    many = full.repeat(40_000)
    draw = many.draw(SeededNoise(np.arange(40_000)), "posterior")
    np.testing.assert_allclose(np.cov(np.asarray(draw.value).T), expected[0].cov, atol=0.1)
    np.testing.assert_allclose(
        draw.log_prob[:50], expected[0].logpdf(draw.value[:50]), rtol=1e-3, atol=1e-3
    )


def test_log_probs_of_pairs_are_those_of_each_row_under_each_normal(rng):
    full, _ = _full(rng)
    mean, variance = _normal(rng, rows=3, shape=(4,))
    z = rng.normal(size=(5, 4)).astype("float32")
    for normal in (full, DiagonalNormal(mean, variance)):
        pairs = np.asarray(normal.log_prob_of_pairs(z))
        for row in range(5):
            same = np.repeat(z[row : row + 1], 3, axis=0)
            np.testing.assert_allclose(pairs[row], normal.log_prob(same), rtol=1e-4)


def _neighbours(height, width):
    """The Laplacian of a grid, from its pairs of neighbours."""
    places = np.arange(height * width).reshape(height, width)
    laplacian = np.zeros((height * width,) * 2)
    for one, other in ((places[1:], places[:-1]), (places[:, 1:], places[:, :-1])):
        for a, b in zip(one.flat, other.flat, strict=True):
            laplacian[[a, b], [a, b]] += 1
            laplacian[[a, b], [b, a]] -= 1
    return laplacian


@pytest.mark.parametrize(("height", "width"), [(4, 3), (1, 5)])
def test_a_field_is_the_normal_that_its_neighbours_make(height, width, rng):
    mean, x = rng.normal(size=(2, 5, height, width, 2)).astype("float32")
    covariance = np.linalg.inv(np.eye(height * width) + 2.5 * _neighbours(height, width))
    covariance *= 0.3 / np.diag(covariance).mean()
    field = FieldNormal(mean, 0.3, 2.5)
    expected = sum(
        stats.multivariate_normal(cov=covariance).logpdf((x - mean)[..., k].reshape(5, -1))
        for k in range(2)
    )
    np.testing.assert_allclose(field.log_prob(x), expected, rtol=1e-5)
    variance = np.broadcast_to(
        np.diag(covariance).reshape(height, width, 1), field.variance().shape[1:]
    )
    np.testing.assert_allclose(field.variance()[0], variance, rtol=1e-5)
    field = FieldNormal(keras.ops.zeros((20000, height, width, 2)), 0.3, 2.5)
    sample = np.asarray(field.sample(SeededNoise(np.arange(20000)), "observation"))
    for k in range(2):
        found = np.cov(sample[..., k].reshape(20000, -1).T)
        np.testing.assert_allclose(found, covariance, atol=0.015)


def test_taken_rows_are_those_rows(rng):
    full, expected = _full(rng)
    taken = full.take(np.array([2, 0, 2]))
    np.testing.assert_allclose(
        taken.entropy(), [expected[i].entropy() for i in (2, 0, 2)], rtol=1e-4
    )


def test_a_row_that_is_not_finite_spoils_no_other(rng):
    full, expected = _full(rng)
    tensors = [np.array(t) for t in full._tensors()]
    tensors[1][1] = np.nan
    spoilt = FullNormal(*tensors)
    z = rng.normal(size=(3, 4)).astype("float32")
    pairs = np.asarray(spoilt.log_prob_of_pairs(z))
    assert np.isnan(pairs[:, 1]).all()
    np.testing.assert_allclose(pairs[:, 0], expected[0].logpdf(z), rtol=1e-4)
