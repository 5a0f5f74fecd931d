"""Served models that are functions of NumPy, so that every number is known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp

from kvae.data import Dataset, Split
from kvae.data.gmm import Mixture, random_mixture
from kvae.evaluation import measurements
from kvae.evaluation.observation import Observation
from kvae.evaluation.yardstick import yardstick

TRUTH = random_mixture(4, 2, 8.0, seed=0)
SPREAD = 0.5
DRAWS_PER_CALL = 64


def without(mixture, missing):
    kept = np.arange(mixture.num_components) != missing
    weights = mixture.weights[kept] / mixture.weights[kept].sum()
    return Mixture(weights, mixture.means[kept], mixture.covariances[kept])


def splits(mixture, *counts):
    rng = np.random.default_rng(7)
    for count in counts:
        x, component = mixture.sample(count, rng)
        yield Split(x.astype(np.float32), {"component": component})


def mixture_data(mixture=TRUTH, num_test=1200):
    card = {"name": "gmm", "mixture": mixture.to_card()}
    return Dataset("vectors", *splits(mixture, 500, 50, num_test), card, "component")


class Fake:
    """Two mixtures, the prior's seen through weights of a known spread; latents are the data."""

    def __init__(self, prior, sampler=None, *, exact=True, shift=0.0, spread=SPREAD):
        self.prior, self.sampler, self.exact = prior, sampler, exact
        self.shift, self.spread = shift, spread
        self.version = SimpleNamespace(name="fake", number=3)
        self.metadata = {"num_draws": DRAWS_PER_CALL, "fingerprint": "f", "versions": {}}
        if sampler:
            self.metadata["sampler"] = "flow" if exact else "second-stage"

    def call(self, signature, *, x=None, seed=None):
        if seed is not None:
            assert len(np.unique(seed)) == len(seed)
        if signature in ("generate", "generate_from_prior"):
            own = self.sampler if self.sampler and signature == "generate" else self.prior
            rng = np.random.default_rng(seed[0])
            return {"sample": own.sample(len(seed), rng)[0].astype(np.float32)}
        if signature == "encode":
            return {"mean": x, "variance": np.full_like(x, 1e-4)}
        if signature == "serving_default":
            return {"reconstruction": x + 0.1}
        draws = {"log_weight": 1, "log_likelihood": DRAWS_PER_CALL}[signature]
        noise = np.random.default_rng(seed[0]).standard_normal((draws, len(x)))
        weights = self.spread * noise - self.spread**2 / 2
        log_mean = logsumexp(weights, axis=0) - np.log(draws) + self.shift
        found = {signature: self.prior.log_prob(x) + log_mean}
        if signature == "log_weight":
            rate = np.full(len(x), 0.75)
            found |= {"distortion": -found[signature] - rate, "rate": rate}
        if self.sampler and self.exact:
            found[f"{signature}_sampler"] = self.sampler.log_prob(x) + self.shift
        return found


def measured(fake, dataset=None, num_draws=500, seed=0):
    dataset = dataset or mixture_data()
    observation = Observation(fake, dataset, seed=seed, label=dataset.color_by)
    metrics, protocol = measurements.measure(observation, num_draws=num_draws)
    json.dumps({**metrics, "protocol": protocol}, allow_nan=False)
    return metrics, protocol


@pytest.fixture(scope="module")
def truth_and_less():
    """The prior is the truth, the sampler lacks one component."""
    return measured(Fake(TRUTH, without(TRUTH, 1)))


def test_the_truth_has_no_gap_and_its_bound_rises_as_its_weights_say(truth_and_less):
    metrics, _ = truth_and_less
    curve = metrics["bound_curve_prior"]
    assert [(p["num_draws"], p["rows"]) for p in curve] == [
        (1, 1200), (10, 1200), (100, 1200), (500, 1200), (500, 1000), (5000, 1000)
    ]  # fmt: skip
    assert curve[0]["gap_nats"] == pytest.approx(SPREAD**2 / 2, abs=4 * curve[0]["gap_nats_stderr"])
    assert metrics["gap_nats_prior"] == curve[3]["gap_nats"]
    assert metrics["gap_nats_prior_stderr"] == curve[3]["gap_nats_stderr"]
    assert metrics["gap_nats_prior"] == pytest.approx(
        np.expm1(SPREAD**2) / 1000, abs=4 * metrics["gap_nats_prior_stderr"]
    )
    assert metrics["log_likelihood_nats_prior"] == curve[3]["bound_nats"]
    assert metrics["gap_is_a_bug_prior"] is False
    assert metrics["elbo_nats_prior"] == pytest.approx(
        metrics["true_log_density_nats_test"] - SPREAD**2 / 2, abs=0.03
    )
    assert metrics["distortion_nats_posterior"] == pytest.approx(-metrics["elbo_nats_prior"] - 0.75)
    # The rate is the same everywhere: all that varies is in the distortion.
    assert metrics["distortion_nats_posterior_stderr"] == pytest.approx(
        metrics["elbo_nats_prior_stderr"]
    )
    assert metrics["rate_nats_prior_stderr"] == 0


def test_the_share_of_the_draws_that_count(truth_and_less):
    # E[w]^2 / E[w^2] of log-normal weights.
    metrics, _ = truth_and_less
    assert metrics["effective_sample_draws"] == 64
    assert metrics["effective_sample_fraction_prior"] == pytest.approx(
        np.exp(-(SPREAD**2)), rel=0.03
    )
    assert (
        metrics["effective_sample_fraction_prior_p5"]
        < metrics["effective_sample_fraction_prior"] - 0.05
    )
    assert metrics["effective_sample_fraction_sampler"] == pytest.approx(1)
    assert metrics["effective_sample_fraction_sampler_p5"] == pytest.approx(1)
    equal, _ = measured(Fake(TRUTH, spread=0.0), num_draws=2)
    assert equal["effective_sample_fraction_prior_p5"] == pytest.approx(1)


def test_samples_of_the_prior_and_of_the_sampler_are_never_mixed(truth_and_less):
    metrics, protocol = truth_and_less
    assert (metrics["modes_captured_prior"], metrics["modes_captured_sampler"]) == (4, 0)
    assert metrics["mode_shares_sampler"][1] < 1e-3
    assert metrics["mode_shares_prior"] == pytest.approx(TRUTH.weights, abs=0.02)
    weight = TRUTH.weights[1]
    assert metrics["weights_kl_nats_sampler"] == pytest.approx(-np.log1p(-weight), rel=0.01)
    assert metrics["largest_relative_weight_error_sampler"] == pytest.approx(1, abs=1e-3)
    for name in ("sliced_wasserstein_ratio", "energy_distance_ratio"):
        assert 0.4 < metrics[f"{name}_prior"] < 2
        assert metrics[f"{name}_sampler"] > 4
        assert metrics[f"{name}_sampler_stderr"] > 0
    assert metrics["gap_nats_sampler"] > 10 * metrics["gap_nats_sampler_stderr"] > 0
    assert metrics["gap_nats_prior"] < 0.01
    assert metrics["bound_curve_sampler"][3]["gap_nats"] == metrics["gap_nats_sampler"]
    assert protocol["sampler"] == "flow"


def test_the_log_density_of_samples_stands_beside_that_of_test_points(truth_and_less):
    metrics, _ = truth_and_less
    found, error = (metrics[f"true_log_density_nats_prior{end}"] for end in ("", "_stderr"))
    expected = metrics["true_log_density_nats_test"]
    assert expected == metrics["true_log_density_nats_test"]
    both = np.hypot(error, metrics["true_log_density_nats_test_stderr"])
    assert found == pytest.approx(expected, abs=4 * both)


def test_latents_that_are_the_data_separate_labels_as_well_as_the_data(truth_and_less):
    metrics, _ = truth_and_less
    for name in ("knn_accuracy", "silhouette", "ari"):
        assert metrics[f"{name}_latent"] == metrics[f"{name}_x"]
    assert metrics["knn_accuracy_latent"] > 0.99
    assert metrics["auc_latent"] > 0.9  # one label lies between others: no straight cut tells it
    assert metrics["accuracy_bayes"] > 0.999
    assert metrics["ari_bayes"] > 0.999


def test_a_latent_that_forgets_the_label_is_seen():
    class Forgetful(Fake):
        def call(self, signature, **inputs):
            found = super().call(signature, **inputs)
            if signature == "encode":
                rng = np.random.default_rng(0)
                found["mean"] = rng.standard_normal(found["mean"].shape)
            return found

    metrics, _ = measured(Forgetful(TRUTH), num_draws=2)
    assert metrics["knn_accuracy_latent"] < 0.6 < metrics["knn_accuracy_x"]
    assert metrics["auc_latent"] == pytest.approx(0.5, abs=0.06)
    assert abs(metrics["ari_latent"]) < 0.05 < metrics["ari_x"]


def test_without_a_sampler_no_key_speaks_of_one():
    metrics, protocol = measured(Fake(TRUTH), num_draws=20)
    assert not [name for name in metrics if "sampler" in name]
    assert protocol["sampler"] == "none"
    assert [point["num_draws"] for point in metrics["bound_curve_prior"]] == [1, 10, 20]


def test_a_sampler_without_a_density_has_samples_alone():
    metrics, _ = measured(Fake(TRUTH, without(TRUTH, 1), exact=False), num_draws=2)
    named = {name.removesuffix("_stderr") for name in metrics if "_sampler" in name}
    assert named == {
        "sliced_wasserstein_sampler", "sliced_wasserstein_ratio_sampler",
        "energy_distance_sampler", "energy_distance_ratio_sampler",
        "modes_captured_sampler", "outlier_fraction_sampler", "weights_kl_nats_sampler",
        "largest_relative_weight_error_sampler", "mode_shares_sampler", "mode_captured_sampler",
        "mode_shares_within_sampler",
        "true_log_density_nats_sampler",
    }  # fmt: skip


@pytest.mark.parametrize(("shift", "is_a_bug"), [(0.5, True), (-0.5, False)])
def test_a_gap_far_below_zero_is_found(shift, is_a_bug):
    metrics, _ = measured(Fake(TRUTH, without(TRUTH, 1), shift=shift), num_draws=100)
    assert metrics["gap_nats_prior"] == pytest.approx(-shift, abs=0.02)
    assert metrics["gap_is_a_bug_prior"] is is_a_bug
    # The component that is missing costs far more than the shift.
    assert metrics["gap_is_a_bug_sampler"] is False
    metrics, _ = measured(Fake(without(TRUTH, 1), TRUTH, shift=shift), num_draws=100)
    assert metrics["gap_is_a_bug_prior"] is False
    assert metrics["gap_is_a_bug_sampler"] is is_a_bug


def test_a_table_has_distances_and_labels_but_no_truth():
    """Its columns have units of their own, which must not decide what is seen."""
    scale = np.array([1e4, 1e-3])
    large = Mixture(TRUTH.weights, TRUTH.means * scale, TRUTH.covariances * np.outer(scale, scale))
    dataset = Dataset("vectors", *splits(large, 2000, 50, 1200), {"name": "arrays"}, "component")
    metrics, protocol = measured(Fake(large, without(large, 1)), dataset)
    assert not [
        name for name in metrics if name.startswith("gap") or "true" in name or "mode" in name
    ]
    assert "accuracy_bayes" not in metrics
    assert sorted(metrics["bound_curve_prior"][0]) == [
        "bound_nats", "bound_nats_stderr", "num_draws", "rows"
    ]  # fmt: skip
    assert len(metrics["bound_curve_sampler"]) == 6
    assert 0.4 < metrics["sliced_wasserstein_ratio_prior"] < 2
    assert metrics["energy_distance_ratio_sampler"] > 4
    assert metrics["knn_accuracy_x"] > 0.99
    assert metrics["sliced_wasserstein_prior"] < 1
    assert "train rows" in protocol["two_sample_ratio"]
    assert protocol["rows"]["generated"] == 5 * 1200


def test_every_number_is_explained(truth_and_less):
    _, protocol = truth_and_less
    assert protocol["rows"] == {"test": 1200, "log_likelihood": 1200, "generated": 10_000}
    for name in (
        "gap_nats_prior", "bound_curve_prior", "effective_sample_fraction_prior",
        "active_units_posterior", "modes_captured_prior",
        "outlier_fraction_prior", "true_log_density_nats_prior", "sliced_wasserstein_prior",
        "energy_distance_prior", "two_sample_ratio", "knn_accuracy_latent", "silhouette_latent",
        "ari_latent", "auc_latent", "names", "elbo_distortion_rate", "log_likelihood",
    ):  # fmt: skip
        assert len(protocol[name]) > 20
    assert protocol["auc_label"] == "of the label component"
    assert "fresh true points" in protocol["two_sample_ratio"]
    assert protocol["data_card"]["mixture"] == {"components": 4, "dim": 2, "warp": 0.0}
    assert protocol["num_references"] == 10
    assert "of 10 reference samples" in protocol["two_sample_ratio"]


def test_images_have_one_bound_and_no_distances():
    x = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 1), dtype=np.uint8)
    split = Split(x, {"digit": np.arange(300) % 10})
    dataset = Dataset("images", split, split, split, {"name": "digits"}, "digit")

    class Images(Fake):
        def call(self, signature, *, x=None, seed=None, latent=None):
            x = latent if x is None else x
            unit = np.asarray(x, np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)
            if signature == "serving_default":
                return {"reconstruction": unit}
            if signature == "sample_posterior":
                return {"latent": unit}
            if signature == "decode":
                variance = np.full_like(latent, 0.08)
                return {"decoded": latent + np.float32(0.2), "decoded_variance": variance}
            return super().call(signature, x=unit.reshape(len(x), -1)[:, :2], seed=seed)

    metrics, protocol = measured(Images(TRUTH, without(TRUTH, 1)), dataset, num_draws=70)
    assert protocol["rows"] == {"test": 300, "log_likelihood": 256}
    assert "log_likelihood_nats_sampler_stderr" in metrics
    assert not [name for name in metrics if "curve" in name or "wasserstein" in name]
    assert not [name for name in metrics if "knn" in name or name.startswith("gap")]
    assert 0 < metrics["auc_latent"] < 1
    assert protocol["auc_label"] == "of the label digit"
    assert metrics["psnr_db_reconstruction"] == 100
    # The likelihood believes its squared error twice as large as it is.
    assert metrics["mse_draw"] == pytest.approx(0.04, rel=1e-4)
    assert metrics["variance_ratio_draw"] == pytest.approx(2, rel=1e-4)
    assert metrics["variance_ratio_draw_interval"] == pytest.approx([2, 2], rel=1e-4)
    constant = np.square(x / 255 - (x / 255).mean(axis=0)).mean(axis=(1, 2, 3))
    assert metrics["psnr_db_mean_image"] == pytest.approx((-10 * np.log10(constant)).mean())
    assert not [name for name in metrics if "precision" in name]  # nothing that judges was given


def test_the_gap_between_posteriors_and_prior_is_the_mean_log_ratio_of_densities():
    fake = Fake(TRUTH, without(TRUTH, 1))
    dataset = mixture_data()
    metrics, _ = measured(fake, dataset, num_draws=2)
    x = dataset.test.x
    # The fake's log-weights have noise, whose exponential has mean 1, for the prior alone.
    expected = (fake.sampler.log_prob(x) - TRUTH.log_prob(x)).mean() + SPREAD**2 / 2
    assert metrics["aggregate_gap_nats_prior"] == pytest.approx(
        expected, abs=4 * SPREAD / np.sqrt(1200)
    )
    assert "aggregate_gap_nats_prior" not in measured(Fake(TRUTH), dataset, num_draws=2)[0]


def test_rates_by_dimension_are_given_where_they_mean_something():
    class Diagonal(Fake):
        def call(self, signature, *, x=None, seed=None):
            if signature == "sample_posterior":
                return {"latent": x}
            return super().call(signature, x=x, seed=seed)

    fake, dataset = Diagonal(TRUTH), mixture_data()
    for prior, posterior, is_given in (
        ("standard_normal", "diagonal", True), ("mixture", "diagonal", False),
        ("standard_normal", "full", False),
    ):  # fmt: skip
        fake.metadata["config"] = {"prior": prior, "posterior": posterior}
        metrics, _ = measured(fake, dataset, num_draws=2)
        assert ("rate_per_dim_nats_prior" in metrics) == is_given
        assert ("mutual_information_nats_posterior" in metrics) == (posterior == "diagonal")
    fake.metadata["config"] = {"prior": "standard_normal", "posterior": "diagonal"}
    metrics, _ = measured(fake, dataset, num_draws=2)
    expected = 0.5 * (np.square(dataset.test.x).mean(axis=0) + 1e-4 - 1 - np.log(1e-4))
    np.testing.assert_allclose(metrics["rate_per_dim_nats_prior"], expected, rtol=1e-4)
    assert len(metrics["active_fraction_per_dim_posterior"]) == metrics["latent_dim"] == 2


def test_the_elbo_of_train_rows_is_of_train_rows():
    dataset = mixture_data()
    far = dataset.train.x + 30
    moved = Dataset("vectors", Split(far), dataset.valid, dataset.test, dataset.card, "component")
    metrics, _ = measured(Fake(TRUTH), moved, num_draws=2)
    assert metrics["elbo_nats_prior_train"] == pytest.approx(TRUTH.log_prob(far).mean(), rel=0.02)
    assert metrics["elbo_nats_prior_train"] < metrics["elbo_nats_prior"] - 100


def test_one_label_and_few_test_points_are_measured_too():
    metrics, _ = measured(Fake(without_all_but_one()), mixture_data(without_all_but_one(), 10), 2)
    assert "knn_accuracy_latent" not in metrics
    assert metrics["modes_captured_prior"] == 1
    assert np.isfinite(metrics["energy_distance_ratio_prior"])


def without_all_but_one():
    return Mixture([1.0], TRUTH.means[:1], TRUTH.covariances[:1])


def test_one_seed_gives_the_same_numbers_and_another_others():
    fake, dataset = Fake(TRUTH, without(TRUTH, 1)), mixture_data(num_test=300)
    first = measured(fake, dataset, 20)[0]
    assert measured(fake, dataset, 20)[0] == first
    other = measured(fake, dataset, 20, seed=1)[0]
    for name in (
        "elbo_nats_prior",
        "gap_nats_prior",
        "sliced_wasserstein_prior",
        "mode_shares_prior",
    ):
        assert other[name] != first[name]


def test_a_model_that_answers_nan_is_an_error():
    class Broken(Fake):
        def call(self, signature, **inputs):
            found = super().call(signature, **inputs)
            if signature == "generate":
                found["sample"][3] = np.nan
            return found

    with pytest.raises(ValueError, match="finite"):
        measured(Broken(TRUTH, TRUTH), num_draws=2)


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_the_error_of_the_elbo_is_that_of_rows_whose_draws_average_out(spread):
    dataset = mixture_data(num_test=2000)
    metrics, _ = measured(Fake(TRUTH, spread=spread), dataset, 2)
    variance = TRUTH.log_prob(dataset.test.x).var(ddof=1) + spread**2 / 4  # of four draws a row
    assert metrics["elbo_nats_prior_stderr"] == pytest.approx(
        np.sqrt(variance / 2000), rel=0.1 if spread else 1e-9
    )


@pytest.mark.parametrize(
    ("errors", "is_a_bug"), [(-3.1, True), (-2.9, False), (0.0, False), (3.1, False)]
)
def test_a_gap_is_a_bug_beyond_three_errors_below_zero(errors, is_a_bug):
    point = {"bound_nats": 1.0, "bound_nats_stderr": 9.0, "gap_nats_stderr": 0.02}
    found = measurements._headline({**point, "gap_nats": 0.02 * errors})
    assert found["gap_is_a_bug"] is is_a_bug


def test_an_elbo_that_is_not_finite_is_named():
    class Broken(Fake):
        def call(self, signature, **inputs):
            found = super().call(signature, **inputs)
            if signature == "log_weight":
                found["log_weight"][3] = np.nan
            return found

    with pytest.raises(ValueError, match=r"the ELBO \(prior\) must be finite: 1 of 1200"):
        measured(Broken(TRUTH), num_draws=2)


def table(num_train, num_test):
    card = {"name": "arrays", "counts": {"test": num_test}}
    return Dataset("vectors", *splits(TRUTH, num_train, 50, num_test), card, "component")


@pytest.mark.parametrize(
    ("num_train", "num_test", "count", "references"),
    [(2000, 100, 100, 10), (350, 100, 100, 3), (200, 200, 200, 1), (60, 100, 60, 1)],
)
def test_the_references_of_a_table_share_no_row(num_train, num_test, count, references):
    dataset = table(num_train, num_test)
    test, found, unit, *_ = yardstick(dataset, None, 0)
    assert [len(part) for part in (test, *found)] == [count] * (1 + references)
    rows = np.concatenate(found) * unit
    assert len(np.unique(rows, axis=0)) == references * count
    assert {tuple(row) for row in np.round(rows, 4)} <= {
        tuple(row) for row in np.round(dataset.train.x.astype(float), 4)
    }


def test_with_as_many_test_as_train_rows_a_ratio_has_no_error():
    metrics, protocol = measured(Fake(TRUTH, without(TRUTH, 1)), table(200, 200), 2)
    assert protocol["num_references"] == 1
    assert "of 1 reference samples" in protocol["two_sample_ratio"]
    for name in ("sliced_wasserstein", "energy_distance"):
        for density in ("prior", "sampler"):
            assert metrics[f"{name}_ratio_{density}"] > 0
            assert f"{name}_ratio_{density}_stderr" not in metrics
    assert protocol["data_card"] == {"name": "arrays", "counts": {"test": 200}}


def test_a_large_test_split_is_measured_on_some_random_rows(monkeypatch):
    monkeypatch.setitem(measurements._MAX_LIKELIHOOD_ROWS, "vectors", 70)
    dataset = mixture_data(num_test=300)
    metrics, protocol = measured(Fake(TRUTH), dataset, 2)
    assert protocol["rows"]["log_likelihood"] == 70
    assert {point["rows"] for point in metrics["bound_curve_prior"]} == {70}
    truth = TRUTH.log_prob(dataset.test.x)
    assert metrics["true_log_density_nats_test"] != pytest.approx(truth[:70].mean(), abs=1e-6)
    assert metrics["true_log_density_nats_test"] == pytest.approx(truth.mean(), abs=1)
