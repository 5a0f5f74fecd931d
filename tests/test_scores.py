import keras
import numpy as np
import pytest
from kvae_testing import make_vae, make_x

from kvae import scores
from kvae.data.conditions import Conditioned
from kvae.errors import UsageError
from kvae.probability.noise import row_seeds
from kvae.serving import signatures


def _served(vae, name, *tensors):
    return {
        key: np.asarray(value)
        for key, value in signatures.endpoints(vae)[name].function(*tensors).items()
    }


@pytest.mark.parametrize("shape", [(2,), (8, 8, 1)])
def test_scores_are_those_that_are_served(small_vae, of_images, shape, monkeypatch):
    vae = small_vae if len(shape) == 1 else of_images[0]
    x = make_x(shape, "gaussian", rows=5)
    given = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(row_seeds(3, 5))
    expected = _served(vae, "score", given[0])["elbo"]
    bound = _served(vae, "log_likelihood", *given)["log_likelihood"]
    for elements in (scores._MOST_ELEMENTS, 1):  # all rows at once, and one at a time
        monkeypatch.setattr(scores, "_MOST_ELEMENTS", elements)
        np.testing.assert_allclose(vae.score(x), expected, rtol=2e-5)
        np.testing.assert_allclose(vae.log_likelihood(x, seed=3), bound, rtol=2e-5)


@pytest.mark.parametrize("num_draws", [1, 7, 70])
def test_the_bound_of_ppca_is_its_evidence(any_ppca, num_draws, monkeypatch):
    monkeypatch.setattr(scores, "_CHUNK_ELEMENTS", 200)  # several chunks, the last one smaller
    x = any_ppca.sample(20)
    found = any_ppca.vae().log_likelihood(x, num_draws)
    np.testing.assert_allclose(found, any_ppca.log_evidence(x), atol=3e-4)


def test_the_bound_rises_with_its_draws_and_follows_its_seed(small_vae):
    x = make_x((2,), "gaussian", rows=200)
    one, many = (small_vae.log_likelihood(x, count) for count in (1, 100))
    assert one.mean() < many.mean()
    np.testing.assert_array_equal(one, small_vae.log_likelihood(x, 1, seed=0))
    assert not np.array_equal(one, small_vae.log_likelihood(x, 1, seed=1))


def test_uint8_images_and_pairs_are_taken(of_images):
    levels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.testing.assert_allclose(
        of_images[0].score(levels), of_images[0].score((levels / 255).astype("float32")), rtol=1e-5
    )
    vae = make_vae((2,), condition_dim=2)
    x, condition = make_x((2,), "gaussian", rows=4), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    found = vae.score((x, condition))
    np.testing.assert_array_equal(found, vae.score(Conditioned(x, condition)))
    assert not np.allclose(found, vae.score((x, condition[::-1])))
    bound = vae.log_likelihood((x, condition), 3)
    assert bound.shape == (4,)
    np.testing.assert_array_equal(vae.log_likelihood([x, condition], 3), bound)


@pytest.mark.parametrize("name", ["score", "log_likelihood"])
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((3, 5)), r"shape \(rows, 2\), received \(3, 5\)"),
        (np.zeros(2), r"received \(2,\)"),
        (np.zeros((0, 2)), "at least one row, received none"),
        (np.full((2, 2), np.nan, "float32"), "must be finite"),
    ],
)
def test_what_fit_would_refuse_is_refused(small_vae, name, x, words):
    with pytest.raises(UsageError, match=words):
        getattr(small_vae, name)(x)


@pytest.mark.parametrize("given", [{"num_draws": 0}, {"num_draws": 1.5}, {"seed": -1}])
def test_no_numbers_of_draws_or_seeds_are_refused(small_vae, given):
    with pytest.raises(UsageError, match=f"{next(iter(given))} takes a whole number"):
        small_vae.log_likelihood(np.zeros((2, 2), "float32"), **given)


def test_decode_mean_is_the_mean_of_the_decoder(small_vae):
    z = np.random.default_rng(0).normal(size=(4, small_vae.latent_dim))
    expected = small_vae.decode(z.astype("float32")).mean()
    np.testing.assert_array_equal(small_vae.decode_mean(z), expected)
    with pytest.raises(UsageError, match="z must be of shape"):
        small_vae.decode_mean(z[:, :1])
    vae = make_vae((2,), condition_dim=2)
    z = np.zeros((3, vae.latent_dim))
    alike = vae.decode_mean(z, condition=[1, 0])
    np.testing.assert_array_equal(alike, vae.decode_mean(z, condition=[[1, 0]] * 3))
    with pytest.raises(UsageError, match="condition"):
        vae.decode_mean(z)
