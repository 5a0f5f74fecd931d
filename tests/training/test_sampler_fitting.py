from functools import partial

import numpy as np
import pytest

from kvae.data import Dataset, Split
from kvae.errors import DEBUGGING, KvaeError
from kvae.priors.base import mean_log_prob
from kvae.priors.flow import Flow
from kvae.registry import Member
from kvae.training import sampler_fitting


def test_few_rows_give_several_draws_each(ppca):
    vae = ppca.vae()
    draws = sampler_fitting.posterior_draws(vae, ppca.sample(30), np.random.default_rng(0))
    assert draws.shape == (30 * sampler_fitting._MAX_DRAWS_PER_ROW, 2)
    assert len(np.unique(draws, axis=0)) == len(draws)
    many = sampler_fitting.posterior_draws(vae, ppca.sample(9000), np.random.default_rng(0))
    # The draws of all rows together follow the prior, which is the mean of the posteriors.
    np.testing.assert_allclose(many.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(np.cov(many.T), np.eye(2), atol=0.06)


def test_some_rows_are_rows_of_x_each_once():
    x = np.arange(1300, dtype="float32").reshape(-1, 1)

    def some_rows(seed, **most):
        return list(sampler_fitting.some_rows(x, np.random.default_rng(seed), **most))

    parts = some_rows(0)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts).ravel()), x.ravel())
    few = np.concatenate(some_rows(0, most=100))
    assert len(np.unique(few)) == 100
    assert not np.array_equal(few, np.concatenate(some_rows(1, most=100)))


def _dataset(ppca):
    x = ppca.sample(3000)
    return Dataset("vectors", Split(x[:2000]), Split(x[2000:2500]), Split(x[2500:]))


class _Known:
    """A stand-in for a sampler: the prior, moved by `shift`."""

    def __init__(self, prior, shift, exact):
        self._prior, self._shift, self.exact_density = prior, shift, exact

    def log_prob(self, z):
        return self._prior.log_prob(z - self._shift)

    def sample(self, noise):
        return self._prior.sample(noise) + self._shift


@pytest.mark.parametrize("shifts", [{"near": 0.5, "far": 1.0}, {"near": 0.5, "second": 1.5}])
def test_auto_keeps_a_prior_that_nothing_beats(ppca, monkeypatch, capsys, shifts):
    vae = ppca.vae()
    _stub(monkeypatch, vae, shifts)
    found = sampler_fitting.with_sampler(vae, "auto", _dataset(ppca), seed=0)
    assert not found.has_sampler
    assert "prior is taken" in capsys.readouterr().out


def test_what_has_no_density_must_be_clearly_nearer(ppca, monkeypatch):
    vae, kept = ppca.vae(), []
    _stub(monkeypatch, vae, {"near": 0.0, "second": 0.0})
    monkeypatch.setattr(type(vae), "with_sampler", lambda self, sampler: kept.append(sampler))
    # Of the second, of the best exact density; that of train draws is 0.5.
    distances = iter([0.81, 1.01, 0.79, 1.01, 0.1, 0.99])
    monkeypatch.setattr(sampler_fitting, "_frechet", lambda *_: next(distances))
    monkeypatch.setattr(sampler_fitting, "frechet_distance", lambda *_: 0.5)
    for _ in range(3):
        sampler_fitting.with_sampler(vae, "auto", _dataset(ppca), seed=0)
    assert [one is None or one.exact_density for one in kept] == [True, False, True]


def _stub(monkeypatch, vae, shifts):
    def member(name, shift):
        def fit(train, valid, *, prior, seed):
            if shift is None:
                raise KvaeError(f"{name} does not fit")
            return _Known(vae.prior, np.float32(shift), exact=name != "second")

        return Member("", lambda: fit)

    monkeypatch.setattr(
        sampler_fitting, "SAMPLERS", {name: member(name, shift) for name, shift in shifts.items()}
    )


@pytest.mark.parametrize(
    ("shifts", "chosen"),
    [
        ({"near": 1.0, "far": 3.0, "second": 5.0}, 1.0),
        ({"far": 3.0, "near": 1.0, "second": None}, 1.0),
        ({"far": 3.0, "near": 1.5, "second": 1.0}, 1.0),
        ({"far": None, "near": 1.0}, 1.0),
    ],
)
def test_auto_takes_the_best_on_held_out_draws(ppca, monkeypatch, capsys, shifts, chosen):
    """The data lie one away from the prior, in both latents."""
    vae = ppca.vae()
    _stub(monkeypatch, vae, shifts)
    moved = _dataset(ppca)
    shift = (np.ones(2) @ ppca.loadings.T).astype("float32") * _overshoot(ppca)
    moved = Dataset("vectors", *(Split(getattr(moved, n).x + shift) for n in
                                 ("train", "valid", "test")))  # fmt: skip
    kept = []
    monkeypatch.setattr(type(vae), "with_sampler", lambda self, sampler: kept.append(sampler))
    sampler_fitting.with_sampler(vae, "auto", moved, seed=0)
    assert kept[0]._shift == chosen
    assert "is taken" in capsys.readouterr().out


def _overshoot(ppca):
    """How far x must move for the mean of its posterior to move by one."""
    inner = np.diag(ppca.loadings.T @ ppca.loadings)
    return float(np.mean((inner + ppca.variance) / inner))


def test_auto_with_the_real_samplers_says_what_each_is_worth(ppca, capsys, monkeypatch):
    for steps in ("flow._STEPS", "second_stage._STEPS"):
        monkeypatch.setattr(f"kvae.samplers.{steps}", 200)
    # Tracing takes most of it.
    monkeypatch.setattr("kvae.samplers.flow.Flow", partial(Flow, num_layers=2))
    vae = ppca.vae()
    found = sampler_fitting.with_sampler(vae, "auto", _dataset(ppca), seed=0)
    text = capsys.readouterr().out
    for name in ("mixture", "flow", "prior", "second-stage"):
        assert f"{name} " in text.split("auto: nats held out")[1]
    # The posteriors together are the prior: nothing finds held-out draws much likelier.
    valid = sampler_fitting.posterior_draws(vae, _dataset(ppca).valid.x, np.random.default_rng(1))
    assert found.sampler.exact_density
    best, prior = (mean_log_prob(one, valid) for one in (found.sampler, vae.prior))
    assert prior <= best <= prior + 0.05


@pytest.mark.parametrize("name", ["broken", "auto"])
def test_a_sampler_that_cannot_be_fitted_is_an_error(ppca, monkeypatch, name):
    vae = ppca.vae()
    _stub(monkeypatch, vae, {"broken": None})
    with pytest.raises(KvaeError, match="broken does not fit"):
        sampler_fitting.with_sampler(vae, name, _dataset(ppca), seed=0)


def test_auto_does_without_one_that_fails_but_for_debug(ppca, monkeypatch, capsys):
    vae = ppca.vae()
    _stub(monkeypatch, vae, {"broken": None, "near": 0.5})
    sampler_fitting.with_sampler(vae, "auto", _dataset(ppca), seed=0)
    assert "broken NOT fitted: broken does not fit" in capsys.readouterr().err
    monkeypatch.setattr(DEBUGGING, "is_on", True)
    with pytest.raises(KvaeError, match="broken does not fit"):
        sampler_fitting.with_sampler(vae, "auto", _dataset(ppca), seed=0)
