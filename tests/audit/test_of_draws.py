"""What must hold of draws and densities, of a model's own file; faults that break it are found."""

from unittest import mock

import numpy as np
import pytest
from audit_testing import agreeing, differing, written
from kvae_testing import Ppca, make_vae

from kvae.audit.independent import noise
from kvae.audit.independent.archive import read
from kvae.audit.independent.distributions import Full, Moved, Precision
from kvae.audit.independent.model import Model
from kvae.audit.independent.priors import Mixture
from kvae.audit.of_draws import of_draws
from kvae.audit.rows import Rows, seeds
from kvae.audit.verdicts import NOT_CHECKED, REPORTED
from kvae.samplers.mixture import as_prior
from kvae.serving.versions import KERAS_MODEL

_PAIRS = "pairs: what weights choose is of the posterior"


def _model(vae, folder):
    config, weights = read(written(vae, folder, "encode").path / KERAS_MODEL)
    return Model(config, weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a model whose q is the exact posterior, with a sampler."""
    roots = np.stack([np.eye(2), [[1.0, 0.0], [0.4, 0.6]]])
    sampler = as_prior(np.array([0.3, 0.7]), np.array([[0, 0], [2.0, 1.0]]), roots)
    vae = Ppca(full=True).vae().with_sampler(sampler)
    return written(vae, tmp_path_factory.mktemp("v") / "1", "encode").path


def _lines(folder):
    """Of the file there."""
    config, weights = read(folder / KERAS_MODEL)
    return _of(Model(config, weights))


def _of(model):
    x = np.zeros((16, *model.element_shape), np.float32)
    condition = np.zeros((16, model.condition_dim), np.float32) if model.condition_dim else None
    given = {} if condition is None else {"condition": condition}
    model.answer("log_likelihood", {"x": x, "seed": seeds(16), **given})
    return {line.what: line for line in of_draws(model, Rows(x, condition, ""))}


def test_what_must_hold_agrees(folder):
    found = _lines(folder)
    assert agreeing(found) == {
        "prior: integrates to one", "prior: draws are of its density",
        "sampler: integrates to one", "sampler: draws are of its density",
        "noise: seeds, draws and streams apart", _PAIRS,
    }  # fmt: skip
    reported = {what for what, line in found.items() if line.verdict == REPORTED}
    assert reported == {
        "q: ranks of the true z", "weights: Pareto k", "weights of the sampler: Pareto k"
    }  # fmt: skip
    ranks = found["q: ranks of the true z"]
    assert ranks.largest < ranks.tolerance
    # All weights of a row are p(x), but for rounding.
    assert "0% of rows over 0.7" in found["weights: Pareto k"].note
    assert "64 of them effective" in found["weights: Pareto k"].note


def test_a_q_that_is_not_the_posterior_is_reported_and_no_fault(tmp_path):
    found = _of(_model(Ppca().vae(posterior_scale=0.6), tmp_path / "1"))
    assert not differing(found)
    assert _PAIRS in agreeing(found)
    ranks = found["q: ranks of the true z"]
    assert (ranks.verdict, ranks.largest > ranks.tolerance) == (REPORTED, True)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3,), {"prior": "vamp"}),
        ((3,), {"prior": "flow", "variance": "full"}),
        ((8, 8, 1), {"likelihood": "bernoulli", "condition_dim": 2}),
        ((8, 8, 2), {"likelihood": "discretized-logistic", "prior": "mixture"}),
    ],
)
def test_every_kind_of_draw_agrees(tmp_path, shape, options):
    found = _of(_model(make_vae(shape, **options), tmp_path / "1"))
    assert not differing(found)
    assert agreeing(found) >= {"prior: integrates to one", "prior: draws are of its density"}


def _with(owner, name, change):
    plain = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, *given: change(plain(self, *given)))


#: What is wrong, in a formula that served and audited numbers may share; and the line that says so.
_FAULTS = {
    "a density off by 10%": (
        _with(Mixture, "log_prob", lambda value: value + 0.1), "sampler: integrates to one"
    ),
    "draws that are too wide": (
        _with(Mixture, "draw", lambda value: 1.08 * value), "sampler: draws are of its density"
    ),
    "components by the wrong weights": (
        mock.patch("kvae.audit.independent.priors._chosen",
                   lambda logs, noise: 0 * noise.uniform("component", 1)[:, 0].astype(int)),
        "sampler: draws are of its density",
    ),
    "seeds without their upper half": (
        mock.patch.object(noise.Noise, "__init__", lambda self, seed, *given: _INIT(
            self, np.asarray(seed) % 2**32, *given)),
        "noise: seeds, draws and streams apart",
    ),
    "one stream for latents and posterior": (
        mock.patch.object(noise, "STREAMS", {**noise.STREAMS, "posterior": 1}),
        "noise: seeds, draws and streams apart",
    ),
    "a likelihood's density without its scale": (
        _with(Moved, "log_prob", lambda value: 0.5 * value), _PAIRS
    ),
    "draws of q that are too narrow": (
        mock.patch.object(Full, "draw", lambda self, normal: self.mean() + 0.8 * (
            np.einsum("bij,bj->bi", self._root, normal))), _PAIRS
    ),
    "draws of x that are too narrow": (
        mock.patch.object(Precision, "draw", lambda self, normal: self.mean()), _PAIRS
    ),
}  # fmt: skip
_INIT = noise.Noise.__init__


@pytest.mark.parametrize("fault", _FAULTS)
def test_faults_that_both_implementations_might_share_are_found(folder, fault):
    patch, line = _FAULTS[fault]
    with patch:
        assert line in differing(_lines(folder))


def test_a_second_stage_draws_and_has_no_density(tmp_path):
    from kvae.priors.second_stage import SecondStage

    inner = make_vae((2,))
    vae = make_vae((3,)).with_sampler(SecondStage(inner))
    found = _of(_model(vae, tmp_path / "1"))
    assert found["sampler: its density"].verdict == NOT_CHECKED
    assert "noise: seeds, draws and streams apart" in agreeing(found)
