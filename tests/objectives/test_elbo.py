"""Objectives with numbers worked out by hand."""

import keras
import numpy as np
import pytest
from kvae_testing import make_vae

from kvae.errors import UsageError
from kvae.objectives.elbo import Elbo
from kvae.objectives.iwae import Iwae
from kvae.older_files import with_objective
from kvae.probability.noise import SeededNoise
from kvae.probability.schedules import LinearWarmup


@pytest.fixture(scope="module")
def vae():
    return make_vae((3,))


X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def _outcome(objective, vae, step=0, draws=1):
    return objective(vae, X, SeededNoise(np.arange(8 * draws)), step)


def test_the_trained_elbo_is_the_public_one(vae):
    found = _outcome(Elbo(), vae)
    terms = vae.elbo_terms(X, SeededNoise(np.arange(8)))
    np.testing.assert_array_equal(found.loss, -terms.elbo)
    np.testing.assert_array_equal(found.elbo, terms.elbo)
    np.testing.assert_array_equal(found.distortion, terms.distortion)
    np.testing.assert_array_equal(found.rate, terms.rate)


@pytest.mark.parametrize(("step", "beta"), [(0, 0.5), (9, 0.5), (10, 0.5), (12, 1.5), (99, 4.0)])
def test_a_schedule_begins_at_its_first_step(vae, step, beta):
    objective = Elbo(LinearWarmup(4.0, 8), first_step=10)
    found = _outcome(objective, vae, step)
    np.testing.assert_allclose(found.loss, found.distortion + beta * found.rate, rtol=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    np.testing.assert_array_equal(_outcome(again, vae, step).loss, found.loss)


def test_the_bound_of_several_draws_is_the_log_of_their_mean_weight(vae):
    draws = 5
    found = _outcome(Iwae(draws), vae, draws=draws)
    copies = np.repeat(X, draws, axis=0)
    weights = np.asarray(vae.log_weight(copies, SeededNoise(np.arange(8 * draws))))
    by_hand = np.log(np.exp(weights.reshape(8, draws).astype("float64")).mean(axis=1))
    np.testing.assert_allclose(found.loss, -by_hand, rtol=1e-5)
    np.testing.assert_allclose(found.elbo, weights, rtol=1e-6)


def test_a_number_of_draws_is_a_whole_one():
    for draws in (0, 2.5, -1):
        with pytest.raises(UsageError, match="at least 1"):
            Iwae(draws)


def test_options_of_old_files_become_objectives():
    old = {"iwae_draws": 4, "beta": 2.0, "free_bits": 0.5, "tc_weight": 3.0}
    elbo, iwae = (
        keras.saving.deserialize_keras_object(
            with_objective({**old, "objective": name})["objective"]
        )
        for name in ("elbo", "iwae")
    )
    assert (elbo.beta, elbo.free_bits, elbo.tc_weight) == (2.0, 0.5, 3.0)
    assert (iwae.kind, iwae.draws) == ("iwae", 4)
