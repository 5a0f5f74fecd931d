"""The audit of data and metrics: what is true agrees, and each fault is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
from audit_testing import agreeing, differing, written
from kvae_testing import make_vae

from kvae.audit.independent.archive import read
from kvae.audit.independent.model import Model
from kvae.audit.independent.truth import Truth
from kvae.audit.of_data import of_data
from kvae.audit.of_metrics import of_metrics
from kvae.data import Dataset, Split, gmm, seen
from kvae.data.gmm import Mixture
from kvae.evaluation.rows import checksum
from kvae.metrics.modes import mode_metrics, outlier_fraction
from kvae.probability.streams import generator
from kvae.serving.versions import KERAS_MODEL, TRAIN_ROWS, read_metadata


@pytest.fixture(scope="module")
def dataset():
    whole = gmm.load(gmm_components=3, gmm_dim=3)
    train, valid, test = (
        Split(split.x[:count], {}) for split, count in
        ((whole.train, 2000), (whole.valid, 100), (whole.test, 300))
    )  # fmt: skip
    counts = {"train": 2000, "valid": 100, "test": 300}
    return Dataset("vectors", train, valid, test, card={**whole.card, "counts": counts})


@pytest.fixture
def version(dataset, tmp_path):
    found = written(
        make_vae((3,), prior="standard_normal"), tmp_path / "m" / "1", "log_weight",
        data_card=dataset.card,
    )  # fmt: skip
    seen.write(found.path / TRAIN_ROWS, seen.marks(dataset.train.x))
    return found


def _by_name(lines):
    return {line.what: line for line in lines}


def _of_data(dataset, version):
    return _by_name(of_data(dataset, version, read_metadata(version)))


def _models(version):
    config, weights = read(version.path / KERAS_MODEL)
    return [Model(config, weights, dtype=dtype) for dtype in (np.float64, np.float32)]


def test_splits_without_common_rows_agree(dataset, version):
    found = _of_data(dataset, version)
    assert not differing(found)
    assert len(agreeing(found)) == 4


def _with_test(dataset, row):
    x = dataset.test.x.copy()
    x[7] = row
    return replace(dataset, test=Split(x, {}))


def test_a_test_row_among_train_or_valid_rows_is_found(dataset, version):
    equal = "data: test rows equal to train or valid rows"
    found = differing(_of_data(_with_test(dataset, dataset.train.x[5]), version))
    assert found == {equal, "data: test rows near train rows"}
    assert differing(_of_data(_with_test(dataset, dataset.valid.x[5]), version)) == {equal}


def test_a_test_row_that_was_nearly_a_train_row_is_found(dataset, version):
    found = _of_data(_with_test(dataset, dataset.train.x[5] + 1e-5), version)
    assert differing(found) == {"data: test rows near train rows"}


def test_equal_rows_are_no_leak_where_train_rows_have_them_too(dataset, version):
    rounded = {
        name: Split(np.round(getattr(dataset, name).x / 4), {}) for name in ("train", "test")
    }
    seen.write(version.path / TRAIN_ROWS, seen.marks(rounded["train"].x))
    assert not differing(_of_data(replace(dataset, **rounded), version))


def test_other_rows_trained_on_and_other_counts_are_found(dataset, version):
    rows = np.concatenate([dataset.train.x[:-1], dataset.test.x[:1]])
    seen.write(version.path / TRAIN_ROWS, seen.marks(rows))
    found = _of_data(replace(dataset, valid=Split(dataset.valid.x[:-1], {})), version)
    assert differing(found) == {"data: counts of the card", "data: rows trained on"}
    assert "1 train rows are not among them" in found["data: rows trained on"].note
    assert "1 test rows are among them" in found["data: rows trained on"].note


@pytest.fixture
def evaluated(dataset, version):
    """metrics.json and rows.npz by kvae's own metrics, of answers of the audit's model."""
    own, _ = _models(version)
    x = dataset.test.x
    seed = int(generator(3, "measurements").integers(2**31, size=9)[0])
    rng = generator(seed, "elbo draws")
    elbo = np.mean(
        [own.answer("log_weight", {"x": x, "seed": rng.integers(2**63, size=len(x))})["log_weight"]
         for _ in range(4)], axis=0
    )  # fmt: skip
    truth = Mixture.from_card(dataset.card["mixture"])
    rows = np.arange(10, 60)
    logs = truth.log_prob(x[rows])
    noise = own.noise(np.random.default_rng(9).integers(2**63, size=4000))
    samples = own.observed(own.decode(own.prior.draw(noise)), noise)
    error = np.square(own.decode(own.posterior(x).mean()).mean() - x).mean(axis=1)
    mean, variance = own.posterior(x).mean(), own.posterior(x).variance()
    share = mean.var(axis=0) / (mean.var(axis=0) + variance.mean(axis=0))
    said = {
        "origin": {"seed": 3}, "protocol": {"test_checksum": checksum(x)},
        "elbo_nats_prior": float(elbo.mean()),
        "log_likelihood_nats_prior": float(elbo[rows].mean()),
        "mse_reconstruction": float(error.mean()),
        "active_units_posterior": int((share > 0.01).sum()),
        "outlier_fraction_test": outlier_fraction(x, truth),
        "true_log_density_nats_test": float(logs.mean()),
        "gap_nats_prior": float((logs - elbo[rows]).mean()),
        **{f"{key}_prior" if key not in ("num_generated", "num_modes") else key: value
           for key, value in mode_metrics(samples, truth).items()},
    }  # fmt: skip
    version.evaluation.mkdir(parents=True)
    np.savez(version.evaluation / "rows.npz", elbo_nats_prior=elbo, rows=rows,
             log_likelihood_nats_prior=elbo[rows])  # fmt: skip
    return said


def _of_metrics(dataset, version, said):
    (version.evaluation / "metrics.json").write_text(json.dumps(said))
    return _by_name(of_metrics(dataset, version, *_models(version)))


def test_metrics_are_recomputed_and_each_changed_number_is_found(dataset, version, evaluated):
    found = _of_metrics(dataset, version, evaluated)
    assert not differing(found)
    assert "metrics.json: the ELBO of each row" in agreeing(found)
    for key, moved in (
        ("elbo_nats_prior", 1e-3), ("mse_reconstruction", 1e-3), ("active_units_posterior", 1),
        ("outlier_fraction_test", 0.01), ("true_log_density_nats_test", 1e-3),
        ("gap_nats_prior", 1e-3), ("modes_captured_prior", 1), ("outlier_fraction_prior", 0.3),
        ("log_likelihood_nats_prior", 1e-3),
    ):  # fmt: skip
        sign = -1 if key == "outlier_fraction_prior" else 1
        changed = {**evaluated, key: evaluated[key] + sign * moved}
        assert differing(_of_metrics(dataset, version, changed)) == {f"metrics.json: {key}"}
    other = {**evaluated, "protocol": {"test_checksum": "0"}, "origin": {"seed": 4}}
    assert differing(_of_metrics(dataset, version, other)) == {
        "metrics.json: the test rows", "metrics.json: the ELBO of each row"
    }  # fmt: skip


@pytest.mark.parametrize("warp", [0.0, 0.7])
def test_the_truth_is_that_of_the_card(warp):
    whole = gmm.load(gmm_components=4, gmm_dim=2, gmm_warp=warp)
    mixture, truth = Mixture.from_card(whole.card["mixture"]), Truth(whole.card["mixture"])
    x = whole.test.x[:200].astype(np.float64)
    np.testing.assert_allclose(truth.log_prob(x), mixture.log_prob(x), rtol=1e-9)
    found = mode_metrics(x, mixture)
    np.testing.assert_allclose(truth.shares(x).mean(axis=0), found["mode_shares_within"], atol=1e-9)
    assert truth.captured(truth.shares(x).mean(axis=0), 200).tolist() == found["mode_captured"]
