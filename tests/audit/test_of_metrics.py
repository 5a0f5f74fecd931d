"""The audit of metrics.json: what is true agrees, and each changed number is found."""

import json

import keras
import numpy as np
import pytest
from audit_testing import agreeing, by_name, differing, written
from kvae_testing import make_vae

from kvae.audit.independent import images
from kvae.audit.independent.archive import read
from kvae.audit.independent.model import Model
from kvae.audit.independent.truth import Truth
from kvae.audit.of_metrics import of_metrics
from kvae.audit.opened import opened
from kvae.data import Dataset, Split, gmm
from kvae.data.gmm import Mixture
from kvae.errors import DataError
from kvae.evaluation.rows import checksum
from kvae.features import attributes
from kvae.metrics.curve import bound_curves
from kvae.metrics.frechet import frechet_distance, moments
from kvae.metrics.modes import mode_metrics, outlier_fraction
from kvae.metrics.reconstruction import row_errors
from kvae.probability.streams import generator
from kvae.serving.versions import KERAS_MODEL


def _models(version):
    config, weights = read(version.path / KERAS_MODEL)
    return [Model(config, weights, dtype=dtype) for dtype in (np.float64, np.float32)]


def _logs(own, signature, x, seed):
    """What `bound_curves` asks of a signature: one density."""
    return own.answer(signature, {"x": x, "seed": seed})[signature][None]


def _drawn(own, x, train, seeds):
    """The likelihood's variance over its error, at one draw of each row, by the definition."""
    seed = generator(seeds[6], "latents").integers(2**63, size=len(x))
    latent = own.answer("sample_posterior", {"x": x, "seed": seed})["latent"]
    decoded, unit = own.decode(latent), 1.0 / train.var(axis=0)
    error = np.square(decoded.mean() - x) * unit
    return {"variance_ratio_draw": float((decoded.variance() * unit).mean() / error.mean())}


@pytest.fixture
def evaluated(dataset, version):
    """metrics.json and rows.npz by kvae's own metrics, of answers of the audit's model."""
    own, _ = _models(version)
    x = dataset.test.x
    seed = int(generator(3, "measurements").integers(2**31, size=9)[0])
    rng = generator(seed, "elbo draws")
    draws = [
        own.answer("log_weight", {"x": x, "seed": rng.integers(2**63, size=len(x))})
        for _ in range(4)
    ]
    elbo = np.mean([draw["log_weight"] for draw in draws], axis=0)
    parts = {name: float(np.mean([draw[name] for draw in draws]))
             for name in ("distortion", "rate")}  # fmt: skip
    truth = Mixture.from_card(dataset.card["mixture"])
    rows = np.arange(10, 60)
    logs = truth.log_prob(x[rows])
    noise = own.noise(np.random.default_rng(9).integers(2**63, size=4000))
    samples = own.observed(own.decode(own.prior.draw(noise)), noise)
    error = np.square(own.decode(own.posterior(x).mean()).mean() - x).mean(axis=1)
    mean, variance = own.posterior(x).mean(), own.posterior(x).variance()
    share = mean.var(axis=0) / (mean.var(axis=0) + variance.mean(axis=0))
    bounds = []
    points = bound_curves(
        lambda x, seed: _logs(own, "log_weight", x, seed),
        lambda x, seed: _logs(own, "log_likelihood", x, seed), x[rows], logs, num_draws=70,
        draws_per_call=64, seed=int(generator(3, "measurements").integers(2**31, size=9)[2]),
        keep=bounds.append,
    )  # fmt: skip
    (bound,), point = bounds[0], points[0][-1]
    draw = _drawn(own, x, dataset.train.x, generator(3, "measurements").integers(2**31, size=9))
    said = {
        "origin": {"seed": 3}, "num_draws": 70, "protocol": {"test_checksum": checksum(x)},
        "elbo_nats_prior": float(elbo.mean()),
        "elbo_nats_prior_stderr": float(elbo.std(ddof=1) / np.sqrt(len(x))),
        "distortion_nats_posterior": parts["distortion"], "rate_nats_prior": parts["rate"],
        "log_likelihood_nats_prior": point["bound_nats"], **draw,
        "log_likelihood_nats_prior_stderr": point["bound_nats_stderr"],
        "mse_reconstruction": float(error.mean()),
        "active_units_posterior": int((share > 0.01).sum()),
        "outlier_fraction_test": outlier_fraction(x, truth),
        "true_log_density_nats_test": float(logs.mean()),
        "active_fraction_per_dim_posterior": share.tolist(),
        "gap_nats_prior": float((logs - bound).mean()),
        **{f"{key}_prior" if key not in ("num_generated", "num_modes") else key: value
           for key, value in mode_metrics(samples, truth).items()},
    }  # fmt: skip
    version.evaluation.mkdir(parents=True)
    np.savez(version.evaluation / "rows.npz", elbo_nats_prior=elbo, rows=rows,
             log_likelihood_nats_prior=bound)  # fmt: skip
    return said


def _of_metrics(dataset, version, said):
    (version.evaluation / "metrics.json").write_text(json.dumps(said))
    return by_name(of_metrics(dataset, opened(version), *_models(version)))


def test_metrics_are_recomputed_and_each_changed_number_is_found(dataset, version, evaluated):
    found = _of_metrics(dataset, version, evaluated)
    assert not differing(found)
    assert "metrics.json: the ELBO of each row" in agreeing(found)
    for key, moved in (
        ("elbo_nats_prior", 1e-3), ("mse_reconstruction", 1e-3), ("active_units_posterior", 1),
        ("outlier_fraction_test", 0.01), ("true_log_density_nats_test", 1e-3),
        ("gap_nats_prior", 1e-3), ("modes_captured_prior", 1), ("outlier_fraction_prior", 0.3),
        ("log_likelihood_nats_prior", 1e-3), ("elbo_nats_prior_stderr", 1e-3),
        ("log_likelihood_nats_prior_stderr", 1e-3), ("variance_ratio_draw", 1e-2),
        ("largest_relative_weight_error_prior", 1e-3), ("weights_kl_nats_prior", 1e-3),
    ):  # fmt: skip
        sign = -1 if key == "outlier_fraction_prior" else 1
        changed = {**evaluated, key: evaluated[key] + sign * moved}
        assert differing(_of_metrics(dataset, version, changed)) == {f"metrics.json: {key}"}
    for key, value in (
        ("active_fraction_per_dim_posterior", [0.5, 0.5]), ("unknown", 1.0), ("name", "a text")
    ):  # fmt: skip
        found = _of_metrics(dataset, version, {**evaluated, key: value})
        assert (f"metrics.json: {key}" in differing(found)) == (len(key) > 10)
        left = found.get("metrics.json: other numbers")
        assert (left is not None and "unknown" in left.note) == (key == "unknown")
    parts = {**evaluated, "rate_nats_prior": evaluated["rate_nats_prior"] + 0.01}
    assert "metrics.json: distortion + rate = -elbo" in differing(
        _of_metrics(dataset, version, parts)
    )
    other = {**evaluated, "protocol": {"test_checksum": "0"}, "origin": {"seed": 4}}
    assert differing(_of_metrics(dataset, version, other)) == {
        "metrics.json: the test rows", "metrics.json: the ELBO of each row",
        "metrics.json: the bound of each row, prior", "metrics.json: variance_ratio_draw",
        "metrics.json: distortion_nats_posterior", "metrics.json: rate_nats_prior",
    }  # fmt: skip


def test_parts_of_the_elbo_are_held_over_all_rows_that_are_soon_computed(
    dataset, version, evaluated, monkeypatch
):
    """Over some of them chance would hide what one gains and the other loses."""
    monkeypatch.setattr("kvae.audit.of_metrics._ELBO_ROWS", 16)
    found = _of_metrics(dataset, version, evaluated)
    assert found["metrics.json: the ELBO of each row"].rows == len(dataset.test.x)
    assert not differing(found)
    distortion, rate = "distortion_nats_posterior", "rate_nats_prior"
    # A distortion of 190 nats is known to thousandths, a rate of a few better.
    for moved, expected in ((0.01, {distortion, rate}), (3e-4, {rate})):
        parts = {
            distortion: evaluated[distortion] + moved, rate: evaluated[rate] - moved,
        }  # fmt: skip
        found = differing(_of_metrics(dataset, version, {**evaluated, **parts}))
        assert found == {f"metrics.json: {key}" for key in expected}


def test_each_number_without_a_second_formula_is_named(dataset, version, evaluated):
    names = [f"unknown_number_{place:03}" for place in range(60)]
    found = _of_metrics(dataset, version, {**evaluated, **dict.fromkeys(names, 1.0)})
    assert {*names} <= {*found["metrics.json: other numbers"].note.split(", ")} | {names[0]}


@pytest.mark.parametrize("name", ["metrics.json", "rows.npz"])
def test_a_damaged_evaluation_is_said_before_anything_is_computed(version, evaluated, name):
    (version.evaluation / "metrics.json").write_text(json.dumps(evaluated))
    opened(version)
    whole = (version.evaluation / name).read_bytes()
    (version.evaluation / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{name} (is damaged|cannot be read): \w"):
        opened(version)


def test_rows_far_from_zero_may_be_off_by_what_float32_makes_of_them(dataset, tmp_path):
    """Of rows 100,000 standard deviations from zero, float32 keeps two digits of an error."""
    scale, shift = np.full(3, 3.0), np.full(3, 3e5)
    far = [
        Split((split.x[:300].astype(np.float64) + shift).astype(np.float32), {})
        for split in (dataset.train, dataset.valid, dataset.test)
    ]
    vae = make_vae((3,), shift=shift.tolist(), scale=scale.tolist())
    version = written(vae, tmp_path / "m" / "1", "log_weight")
    version.evaluation.mkdir(parents=True)
    x = far[2].x
    mse = float(np.square(np.asarray(vae(x), np.float64) - x).mean())
    own, rounded = _models(version)
    exact = float(np.square(own.decode(own.posterior(x).mean()).mean() - x).mean())
    assert abs(mse - exact) > 2e-5 * exact  # or the test would hold without a tolerance
    for said, differs in ((mse, False), (1.02 * mse, True)):
        (version.evaluation / "metrics.json").write_text(json.dumps({"mse_reconstruction": said}))
        of = Dataset("vectors", *far, card={})
        lines = by_name(of_metrics(of, opened(version), own, rounded))
        assert ("metrics.json: mse_reconstruction" in differing(lines)) == differs
        assert "metrics.json: mse_reconstruction" in lines


@pytest.mark.parametrize("warp", [0.0, 0.7])
def test_the_truth_is_that_of_the_card(warp):
    whole = gmm.load(gmm_components=4, gmm_dim=2, gmm_warp=warp)
    mixture, truth = Mixture.from_card(whole.card["mixture"]), Truth(whole.card["mixture"])
    x = whole.test.x[:200].astype(np.float64)
    np.testing.assert_allclose(truth.log_prob(x), mixture.log_prob(x), rtol=1e-9)
    found = mode_metrics(x, mixture)
    np.testing.assert_allclose(truth.shares(x).mean(axis=0), found["mode_shares_within"], atol=1e-9)
    assert truth.captured(truth.shares(x).mean(axis=0), 200).tolist() == found["mode_captured"]


# Images


def test_similarity_is_that_of_the_evaluation(rng):
    for shape in ((2, 8, 8, 1), (2, 9, 16, 3)):
        x = rng.random(shape)
        other = x + 0.3 * rng.normal(size=shape)
        expected = row_errors(x, other, images=True)["ssim"]
        np.testing.assert_allclose(images.similarity(x, other), expected, rtol=1e-9)


def test_frechet_distances_are_those_of_the_evaluation_of_fewer_rows_than_features_too(rng):
    for rows in (200, 6):
        first, second = rng.normal(size=(2, rows, 10)) * np.array([1.0, 1.5])[:, None, None]
        expected = frechet_distance(moments([first]), moments([second]))
        assert images.frechet(first, second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [8, 64])
def test_the_network_that_judges_is_run_once_more(rng, size):
    _, body = attributes._network((size, size, 3), 2, 0)
    for weight in body.weights:
        weight.assign(weight + 0.1 * rng.random(weight.shape))
    levels = rng.integers(256, size=(3, size, size, 3), dtype=np.uint8)
    expected = keras.ops.convert_to_numpy(body(levels))
    found = images.features([np.asarray(one, np.float64) for one in body.get_weights()], levels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
