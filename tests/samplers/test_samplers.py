"""Laws that every sampler obeys, and what each chooses."""

import io
from contextlib import redirect_stdout
from functools import partial, wraps
from typing import NamedTuple

import keras
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from kvae.errors import KvaeError, UsageError
from kvae.metrics.two_sample import TwoSample
from kvae.model import VAE
from kvae.priors.base import Prior
from kvae.priors.standard_normal import StandardNormal
from kvae.probability.noise import SeededNoise
from kvae.samplers import SAMPLERS, flow, mixture, second_stage

MEANS = np.array([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]])


def _draws(count, seed):
    rng = np.random.default_rng(seed)
    component = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    slanted = rng.normal(size=(count, 2)) @ np.array([[0.5, 0.2], [0.0, 0.4]])
    return (MEANS[component] + slanted).astype("float32")


def _true_log_prob(z):
    from scipy.stats import multivariate_normal

    root = np.array([[0.5, 0.2], [0.0, 0.4]])
    densities = [multivariate_normal(mean, root.T @ root).pdf(z) for mean in MEANS]
    return np.log(np.array([0.5, 0.3, 0.2]) @ densities)


@pytest.fixture(scope="module")
def draws():
    return _draws(6000, 0), _draws(2000, 1)


@pytest.fixture(scope="module")
def normal():
    prior = StandardNormal()
    prior.build((None, 2))
    return prior


class Fitted(NamedTuple):
    """A sampler, and what its fit printed."""

    name: str
    density: Prior
    printed: str


_KINDS = [
    pytest.param(name, marks=pytest.mark.slow) if name == "flow" else name for name in SAMPLERS
]


@pytest.mark.parametrize("part", [flow, second_stage])
def test_the_learning_rate_falls_until_the_last_step(monkeypatch, part, normal):
    """Of 1,100 rows an epoch has three steps, the last a short one."""
    seen = []
    compiled = keras.Model.compile

    @wraps(compiled)
    def compile_(self, *args, **kwargs):
        seen.append(self)
        return compiled(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "compile", compile_)
    if part is flow:
        monkeypatch.setattr(flow, "Flow", partial(flow.Flow, num_layers=1, hidden_units=4))
    monkeypatch.setattr(part, "_STEPS", 4)
    part.fit(_draws(1100, 0), _draws(50, 1), prior=normal, seed=0)
    (optimizer,) = (model.optimizer for model in seen)
    assert int(optimizer.iterations) == 6 == optimizer._learning_rate.decay_steps


@pytest.fixture(scope="module", params=_KINDS)
def fit(request, draws, normal):
    """Few steps, long ones; most of a flow's time is the tracing of its layers."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(flow, "Flow", partial(flow.Flow, num_layers=4, hidden_units=32))
        patch.setattr(flow, "_STEPS", 800)
        patch.setattr(second_stage, "_STEPS", 600)
        patch.setattr(second_stage, "_LEARNING_RATE", 3e-3)
        density = SAMPLERS[request.param].load()(*draws, prior=normal, seed=0)
    return Fitted(request.param, density, printed.getvalue())


@pytest.fixture(scope="module")
def fitted(fit):
    return fit.density


def test_samples_have_the_moments_of_what_it_was_fitted_to(fitted, draws):
    sample = np.asarray(fitted.sample(SeededNoise(np.arange(20_000))))
    np.testing.assert_allclose(sample.mean(axis=0), draws[0].mean(axis=0), atol=0.3)
    np.testing.assert_allclose(np.cov(sample.T), np.cov(draws[0].T), rtol=0.25, atol=0.4)


def test_it_finds_held_out_draws_far_likelier_than_a_normal_does(fitted, draws):
    if not fitted.exact_density:
        with pytest.raises(UsageError, match="no exact density"):
            fitted.log_prob(draws[1])
        return
    held_out = _draws(4000, 2)
    normal_fit = GaussianMixture(1).fit(draws[0]).score(held_out)
    truth = _true_log_prob(held_out).mean()
    found = float(np.mean(fitted.log_prob(held_out)))
    assert normal_fit + 0.7 * (truth - normal_fit) < found < truth + 0.02


def test_samples_are_nearer_to_the_draws_than_those_of_a_normal(fit, draws):
    """A second stage that collapsed is a normal distribution, moments and all."""
    mean, covariance = draws[0].mean(axis=0), np.cov(draws[0].T)
    of_normal = np.random.default_rng(3).multivariate_normal(mean, covariance, 4000)
    compared = TwoSample(_draws(4000, 2), seed=0)
    distance, normal_distance = (
        compared.distances(np.asarray(sample))["sliced_wasserstein"]
        for sample in (fit.density.sample(SeededNoise(np.arange(4000))), of_normal)
    )
    assert distance < 0.6 * normal_distance
    assert f"sampler    {fit.name} " in fit.printed
    assert "collapsed" not in fit.printed


def test_it_is_read_back_from_its_config(fitted):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(fitted))
    if not again.built:
        again.build((None, 2))
    again.set_weights(fitted.get_weights())
    noise = SeededNoise(np.arange(5))
    np.testing.assert_allclose(again.sample(noise), fitted.sample(noise), atol=1e-6)


def test_a_mixture_has_as_many_components_as_held_out_draws_ask_for(draws, normal, capsys):
    assert mixture.fit(*draws, prior=normal, seed=0).num_components in (5, 10)
    round_draws = np.random.default_rng(0).normal(size=(2, 5000, 2)).astype("float32")
    assert mixture.fit(*round_draws, prior=normal, seed=0).num_components <= 2
    assert "nats held out" in capsys.readouterr().out


def test_a_mixture_prior_that_is_right_but_for_its_weights_is_taken_over(draws):
    truth = GaussianMixture(3, random_state=0, reg_covar=1e-9).fit(_draws(60_000, 5))
    prior = mixture.as_prior(truth.weights_, truth.means_, np.linalg.cholesky(truth.precisions_))
    prior.logits.assign(np.log([0.1, 0.1, 0.8]))
    found = mixture.fit(*draws, prior=prior, seed=0)
    assert found.num_components == 3
    np.testing.assert_allclose(
        sorted(mixture.parameters(found)[0]), sorted(truth.weights_), atol=0.03
    )


def test_a_fitted_mixture_is_scikit_learns(draws):
    found = GaussianMixture(4, random_state=0).fit(draws[0])
    roots = np.linalg.cholesky(found.precisions_)
    prior = mixture.as_prior(found.weights_, found.means_, roots)
    np.testing.assert_allclose(
        prior.log_prob(draws[1]), found.score_samples(draws[1]), rtol=1e-3, atol=1e-3
    )
    for ours, theirs in zip(
        mixture.parameters(prior), (found.weights_, found.means_, roots), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_component_without_weight_is_left_out(draws):
    means = np.concatenate([MEANS, [[50.0, 50.0]]])
    roots = np.tile(2.0 * np.eye(2), (4, 1, 1))
    weights, kept, _ = mixture.reweighted(np.full(4, 0.25), means, roots, draws[0])
    np.testing.assert_array_equal(kept, MEANS)
    np.testing.assert_allclose(weights, [0.5, 0.3, 0.2], atol=0.03)


def test_a_collapsed_second_stage_is_said(monkeypatch, capsys):
    monkeypatch.setattr(second_stage, "_STEPS", 5)
    monkeypatch.setattr(VAE, "encode", lambda self, x: (0.01 * np.tanh(x), np.ones_like(x)))
    noise = np.random.default_rng(0).normal(size=(2, 3000, 2)).astype("float32")
    second_stage.fit(*noise, prior=None, seed=0)
    assert "collapsed" in capsys.readouterr().out


@pytest.mark.parametrize("module", [flow, second_stage])
def test_a_fit_that_is_not_finite_is_an_error(module, monkeypatch):
    monkeypatch.setattr(flow, "Flow", partial(flow.Flow, num_layers=1))
    monkeypatch.setattr(module, "_STEPS", 5)
    monkeypatch.setattr(module, "_LEARNING_RATE", float("nan"))
    noise = np.random.default_rng(0).normal(size=(2, 3000, 2)).astype("float32")
    with pytest.raises(KvaeError, match="nan"):
        module.fit(*noise, prior=None, seed=0)
