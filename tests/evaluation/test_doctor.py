import ast
import re
from pathlib import Path

import numpy as np
import pytest

from kvae.config import PARTS, resolve
from kvae.evaluation import doctor
from kvae.evaluation.doctor import PROBLEMS, SURE, Diagnosis, Finding, diagnose, report
from kvae.evaluation.doctor.case import FEATURES
from kvae.options import flag
from kvae.registry import declared

ROOT = Path(__file__).parents[2]
EPOCHS = 50

METRICS = {
    "rate_nats_prior": 120.0,
    "distortion_nats_posterior": -9_000.0,
    "elbo_nats_prior": 8_880.0,
    "elbo_nats_prior_stderr": 3.0,
    "elbo_nats_prior_train": 8_885.0,
    "mse_reconstruction": 0.02,
    "mse_reconstruction_train": 0.010,
    "active_units_posterior": 30,
    "latent_dim": 32,
    "active_fraction_per_dim_posterior": [0.97] * 20 + [0.6] * 10 + [0.001] * 2,
    "rate_per_dim_nats_prior": [5.0] * 20 + [2.0] * 10 + [0.0] * 2,
    "variance_ratio_draw": 1.02,
    "psnr_db_reconstruction": 22.0,
    "psnr_db_mean_image": 11.0,
    "aggregate_gap_nats_prior": 1.0,
    **{
        f"{feature}_{kind}": value
        for feature in FEATURES
        for kind, value in {"reconstruction": 50, "prior": 60, "sampler": 55, "floor": 3}.items()
    },
    "memorised_fraction_sampler": 0.012,
    "memorised_fraction_prior": 0.008,
    "coverage_sampler": 0.7,
    "coverage_prior": 0.65,
    "rms_x": 0.5,
    "mutual_information_nats_posterior": 7.5,
    "mutual_information_limit_nats_posterior": 7.6,
    "num_modes": 10,
    "modes_captured_sampler": 10,
    "outlier_fraction_sampler": 0.002,
    "outlier_fraction_test": 0.001,
    "gap_nats_sampler": 0.1,
    "gap_nats_sampler_stderr": 0.001,
    "sliced_wasserstein_ratio_sampler": 1.2,
    "sliced_wasserstein_ratio_prior": 1.3,
    "energy_distance_ratio_sampler": 1.5,
    "sampler": "mixture",
}
CONFIG = resolve(
    {
        "network": "conv", "latent_dim": 32, "prior": "standard_normal", "sampler": "mixture",
        "learning_rate": 1e-3, "epochs": EPOCHS, "variance": "shared", "posterior": "diagonal",
        "standardize": False, "jit_compile": False,
    }
).to_dict()  # fmt: skip
# As the command line writes them.
FLAGS = {flag(name) for name in [*declared(PARTS), *resolve({}).to_dict()]}


def _saturating(start, end, epochs=EPOCHS, pace=4.0):
    return (end + (start - end) * np.exp(-np.arange(epochs) / pace)).tolist()


def _history(elbo, val_elbo):
    return {
        "elbo": list(elbo),
        "loss": [-v for v in elbo],
        "val_elbo": list(val_elbo),
        "val_loss": [-v for v in val_elbo],
    }


HISTORY = _history(_saturating(2_000.0, 9_000.0), _saturating(1_950.0, 8_900.0))


def _changed(metrics=None, config=None, history=None):
    """What `diagnose` finds after changes; a metric that becomes None is taken away."""
    changed = {k: v for k, v in {**METRICS, **(metrics or {})}.items() if v is not None}
    return diagnose(
        changed,
        config={**CONFIG, **(config or {})},
        history=HISTORY if history is None else history,
    )


def _names(findings):
    return [finding.problem for finding in findings]


def test_a_healthy_model_has_nothing_wrong_and_everything_was_looked_for():
    found = _changed()
    assert found == []
    assert found.looked_for == tuple(PROBLEMS)


def _bent(at, by, epochs=EPOCHS):
    """The healthy validation, losing nats in a straight line after an epoch."""
    after = np.maximum(np.arange(epochs) - at, 0)
    return (np.array(HISTORY["val_elbo"]) - by * after / after.max()).tolist()


RISING_TRAIN = (np.array(HISTORY["elbo"]) + 10.0 * np.arange(EPOCHS)).tolist()
SPIKE = [v - 2_000.0 * (i == 30) for i, v in enumerate(HISTORY["elbo"])]
LINE = np.linspace(2_000.0, 9_000.0, EPOCHS).tolist()
FIRST_EPOCHS = {name: values[:3] for name, values in HISTORY.items()}
FLAT = [9_000.0] + [8_500.0] * (EPOCHS - 1)
NO_SAMPLER = {"sampler": None, **{name: None for name in METRICS if name.endswith("_sampler")},
              "gap_nats_sampler_stderr": None}  # fmt: skip
OWN_PRIOR = {"sampler": "none"}
# As of a model that goes on from its last epoch: nobody measured the training rows.
LAST_WEIGHTS = {"elbo_nats_prior_train": None}


def _all(kind, value):
    return {f"{feature}_{kind}": value for feature in FEATURES}


# The problem that is found first, how surely, and the one change of a healthy model behind it.
CHANGES = {
    "not finite": ("diverged", "certain", {"history": HISTORY | {"loss": [1.0, float("nan")]}}),
    "elbo not finite": ("diverged", "certain", {"metrics": {"elbo_nats_prior": float("-inf")}}),
    "fell": ("diverged", "likely", {
        "history": _history(_saturating(9_000, 2_000), _saturating(8_900, 1_950)),
        "metrics": {"elbo_nats_prior": 1_950.0, "elbo_nats_prior_train": 1_955.0},
    }),
    "no unit": ("posterior collapse", "certain", {"metrics": {"active_units_posterior": 0}}),
    "no rate": ("posterior collapse", "certain", {"metrics": {"rate_nats_prior": 0.09}}),
    "mean": ("no better than the mean", "likely", {"metrics": {"psnr_db_reconstruction": 11.4}}),
    "mean, no rate to speak of": ("no better than the mean", "certain", {
        "metrics": {"psnr_db_reconstruction": 11.4, "rate_nats_prior": 0.9,
                    "aggregate_gap_nats_prior": 0.0},
    }),
    "copies": ("memorisation", "likely", {"metrics": {"memorised_fraction_sampler": 0.06}}),
    "copies of many rows": ("memorisation", "possible", {
        "metrics": {"memorised_fraction_sampler": 0.016, "nearest_train_share": 0.125},
    }),
    "prior copies": ("memorisation", "certain", {
        "metrics": {"memorised_fraction_prior": 0.3, **NO_SAMPLER}, "config": {"sampler": "none"},
    }),
    "learning rate 10": ("learning rate too high", "certain", {
        "config": {"learning_rate": 10.0}, "history": HISTORY | {"loss": [1.0, float("nan")]},
    }),
    "learning rate 10, first epoch best": ("learning rate too high", "certain", {
        "config": {"learning_rate": 10.0}, "history": _history(FLAT, FLAT),
    }),
    "learning rate 0.1, spike": ("learning rate too high", "likely", {
        "config": {"learning_rate": 0.1}, "history": _history(SPIKE, HISTORY["val_elbo"]),
    }),
    "data at 1e18": ("data out of range", "certain", {"metrics": {"rms_x": 1e18}}),
    "data at 1e-4": ("data out of range", "likely", {"metrics": {"rms_x": 1e-4}}),
    "one mode": ("modes missed", "certain", {"metrics": {"modes_captured_sampler": 1}}),
    "nine modes": ("modes missed", "likely", {"metrics": {"modes_captured_sampler": 9}}),
    "outliers": ("samples unlike the data", "likely", {
        "metrics": {"outlier_fraction_sampler": 0.03},
    }),
    "many outliers": ("samples unlike the data", "certain", {
        "metrics": {"outlier_fraction_sampler": 0.87},
    }),
    "far samples": ("samples unlike the data", "likely", {
        "metrics": {"sliced_wasserstein_ratio_sampler": 2.2,
                    "sliced_wasserstein_ratio_prior": 2.0},
    }),
    "very far samples": ("samples unlike the data", "certain", {
        "metrics": {"sliced_wasserstein_ratio_prior": 35.0, **NO_SAMPLER},
        "config": {"sampler": "none"},
    }),
    "far by energy": ("samples unlike the data", "possible", {
        "metrics": {"energy_distance_ratio_sampler": 2.5},
    }),
    "gap to the truth": ("far below the true density", "certain", {
        "metrics": {"gap_nats_sampler": 5.7},
    }),
    "some gap to the truth": ("far below the true density", "likely", {
        "metrics": {"gap_nats_sampler": 0.4},
    }),
    "gap of a second stage's prior": ("far below the true density", "certain", {
        "metrics": {"gap_nats_sampler": None, "gap_nats_prior": 5.7, "gap_nats_prior_stderr": 0.1},
    }),
    "gap of one draw": ("far below the true density", "possible", {
        "metrics": {"gap_nats_sampler": 5.7, "effective_sample_draws": 64,
                    "effective_sample_fraction_sampler": 1.1 / 64},
    }),
    "sampler farther than the prior": ("dead sampler", "certain", {
        "metrics": {"sliced_wasserstein_ratio_sampler": 2.1, "energy_distance_ratio_sampler": 1.9},
    }),
    "rate that says nothing": ("prior gap", "likely", {
        "metrics": {"rate_nats_prior": 6.6, "mutual_information_nats_posterior": 4.0,
                    "elbo_nats_prior_train": None, **NO_SAMPLER},
        "config": {"sampler": "none"},
    }),
    "train above": ("overfitting", "certain", {"metrics": {"elbo_nats_prior_train": 8_880 + 30.0}}),
    "error a little above": ("overfitting", "possible", {
        "metrics": {"elbo_nats_prior_train": 8_880 + 30.0, "mse_reconstruction": 0.0126},
        "config": {"variance": "optimal"},
    }),
    "scale overfitted": ("overfitting", "certain", {
        "metrics": {"elbo_nats_prior_train": 8_880 + 30.0, "mse_reconstruction": 0.0105},
        "config": {"variance": "heteroscedastic"},
    }),
    "long past": ("overfitting", "likely", {
        "history": _history(RISING_TRAIN, _bent(20, 600.0)), "metrics": LAST_WEIGHTS,
    }),
    "long past, best kept": ("overfitting", "possible", {
        "history": _history(RISING_TRAIN, _bent(20, 600.0)),
    }),
    "rising": ("training too short", "likely", {"history": _history(LINE, LINE)}),
    "rising without a valid split": ("training too short", "likely", {"history": {"elbo": LINE}}),
    "three epochs": ("training too short", "possible", {
        "history": FIRST_EPOCHS, "config": {"epochs": 3},
    }),
    "slow rate": ("training too short", "possible", {"config": {"learning_rate": 2e-5}}),
    "warm-up": ("training too short", "certain", {"config": {"kl_warmup_epochs": EPOCHS}}),
    "beta 4": ("beta far from 1", "certain", {"config": {"beta": 4.0}}),
    "beta 0.1": ("beta far from 1", "certain", {"config": {"beta": 0.1}}),
    "variance 3": ("variance too large", "likely", {"metrics": {"variance_ratio_draw": 3.0}}),
    "variance 8": ("variance too large", "certain", {"metrics": {"variance_ratio_draw": 8.0}}),
    "variance 1/3": ("variance too small", "likely", {"metrics": {"variance_ratio_draw": 1 / 3}}),
    "variance 1/8": ("variance too small", "certain", {"metrics": {"variance_ratio_draw": 1 / 8}}),
    "not fitted": ("dead sampler", "certain", {"metrics": {"sampler": "none"}}),
    "sampler as the prior": ("dead sampler", "likely", {
        "metrics": _all("sampler", 90.0) | _all("prior", 90.0),
    }),
    "unfinished cycle": ("training too short", "certain", {
        "config": {"kl_cycle_epochs": 2 * EPOCHS},
    }),
    "no finite samples": ("dead sampler", "certain", {
        "metrics": {"not_finite_samples_sampler": 3},
    }),
    "no finite draws of the prior": ("prior gap", "certain", {
        "metrics": {"not_finite_samples_prior": 3, **NO_SAMPLER}, "config": {"sampler": "none"},
    }),
    "moments far from the prior": ("prior gap", "likely", {
        "metrics": {"moments_kl_nats_prior": 7.0, "aggregate_gap_nats_prior": None, **NO_SAMPLER},
        "config": {"sampler": "none"},
    }),
    "sampler covers less than training rows": ("dead sampler", "possible", {
        "metrics": {"coverage_sampler": 0.4, "coverage_floor": 0.81},
    }),
    "sampler far": ("dead sampler", "likely", {
        "metrics": _all("sampler", 110.0) | _all("prior", 120.0),
    }),
    "sampler harms": ("dead sampler", "certain", {"metrics": _all("sampler", 67.0)}),
    "sampler covers less": ("dead sampler", "likely", {
        "metrics": {"coverage_sampler": 0.3} | _all("sampler", 60.0),
    }),
    "gap": ("prior gap", "likely", {
        "metrics": {"aggregate_gap_nats_prior": 7.0, **NO_SAMPLER}, "config": {"sampler": "none"},
    }),
    "gap in samples": ("prior gap", "likely", {
        "metrics": NO_SAMPLER | _all("prior", 80.0), "config": {"sampler": "none"},
    }),
    "bridged gap": ("prior gap", "possible", {"metrics": _all("prior", 90.0)}),
    "bridged gap in nats": (
        "prior gap", "possible", {"metrics": {"aggregate_gap_nats_prior": 7.0}},
    ),
    "spike": ("unstable training", "likely", {"history": _history(SPIKE, HISTORY["val_elbo"])}),
    "few rates": ("few units", "likely", {
        "metrics": {"rate_per_dim_nats_prior": [60.0, 60.0] + [0.0] * 30},
    }),
    "few active": ("few units", "possible", {"metrics": {"active_units_posterior": 8}}),
    "all full": ("latent space too small", "likely", {
        "metrics": {
            "active_fraction_per_dim_posterior": [0.95] * 4, "latent_dim": 4,
            "active_units_posterior": 4,
            "rate_per_dim_nats_prior": [30.0] * 4, "psnr_db_reconstruction": 18.0,
        },
        "config": {"latent_dim": 4},
    }),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_one_change_of_a_healthy_model_is_one_finding(case):
    problem, sure, change = CHANGES[case]
    found = _changed(**change)
    assert _names(found) == [problem]
    assert found[0].sure == sure


def test_training_is_not_too_short_where_the_curve_has_bent_or_the_truth_is_near():
    rising = {"history": _history(LINE, LINE)}
    assert _names(_changed(**rising)) == ["training too short"]
    # A fifth more epochs would add 1,429 nats by the line; the truth is 100 above.
    near = {"true_log_density_nats_test": METRICS["elbo_nats_prior"] + 100.0}
    assert _names(_changed(**rising, metrics=near)) == []
    far = {"true_log_density_nats_test": METRICS["elbo_nats_prior"] + 1_000.0}
    assert _names(_changed(**rising, metrics=far)) == ["training too short"]
    bent = LINE[:-5] + [LINE[-6] + i for i in range(5)]
    assert _names(_changed(history=_history(bent, bent))) == []


@pytest.mark.parametrize(("sampler", "is_dead"), [(2.1, False), (4.9, False), (5.1, True)])
def test_a_sampler_is_of_use_where_it_is_far_nearer_than_the_prior(sampler, is_dead):
    """Twice the reconstructions' distance is far, but not if the prior's is ten times theirs."""
    key = "frechet_attributes_"
    metrics = {f"{key}reconstruction": 6.0, f"{key}floor": 6.0, f"{key}prior": 60.0}
    metrics[f"{key}sampler"] = 6.0 * sampler
    found = _changed(
        metrics={name: None for name in METRICS if name.startswith(FEATURES)} | metrics
    )
    assert ("dead sampler" in _names(found)) == is_dead


NAN = {"history": HISTORY | {"loss": [1.0, float("nan")]}}


@pytest.mark.parametrize(
    ("change", "advised"),
    [
        ({"metrics": {"rms_x": 1e18}}, "--standardize"),
        ({"config": {"variance": 1e-30}, "metrics": {"variance_ratio_draw": None}}, "--variance"),
        ({"config": {"beta": 1e30}}, "--beta 1 "),
        ({"metrics": {"rms_x": None}, "history": {"elbo": [-1e36] * 9 + [float("nan")]}},
         "--standardize"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_blamed_and_no_learning_rate(change, advised):
    found = _changed(**{**NAN, **change})
    assert found[0].sure == "certain"
    assert advised in found[0].advice
    assert "--learning-rate" not in report(found)
    # Where nothing is, it is the rate.
    assert "--learning-rate" in report(_changed(**NAN))


def test_advice_for_samples_names_what_is_not_there_yet():
    far = {"metrics": {f"sliced_wasserstein_ratio_{kind}": 3.0 for kind in ("prior", "sampler")}}
    (found, *_) = _changed(**far, config={"linear_path": False, "network": "mlp"})
    assert "--linear-path, --standardize, --prior mixture" in found.advice
    config = {"linear_path": True, "prior": "mixture", "prior_components": 30, "standardize": True}
    (found, *_) = _changed(**far, config=config | {"network": "mlp"})
    assert found.advice == ("Try --prior-components 60, a larger --latent-dim or --epochs 100.")
    bernoulli = {"likelihood": "bernoulli", "linear_path": False, "network": "mlp"}
    (found, *_) = _changed(**far, config=bernoulli)
    assert "--linear-path" in found.advice
    assert "--standardize" not in found.advice  # which is refused beside it
    for ratio, is_blamed in ((1.1, False), (0.2, True)):
        metrics = far["metrics"] | {"variance_ratio_draw": ratio}
        found = {one.problem: one for one in _changed(metrics=metrics, config={"variance": 0.1})}
        assert ("--variance" in found["samples unlike the data"].advice) == is_blamed


def test_what_is_only_possible_hides_nothing():
    """A fall whose best epoch was kept, beside what made it fall."""
    fall = _history(_saturating(9_000, 2_000), _saturating(8_900, 1_950))
    found = {finding.problem: finding.sure for finding in _changed(history=fall)}
    assert found == {"unstable training": "likely", "diverged": "possible"}


def test_every_problem_is_brought_about_above():
    assert {problem for problem, _, _ in CHANGES.values()} == set(PROBLEMS)


# Each on the healthy side of its threshold, which the table above crosses.
@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"rate_nats_prior": 0.11, "aggregate_gap_nats_prior": 0.0,
        "elbo_nats_prior_train": None}}, {"metrics": {"psnr_db_reconstruction": 11.51}},
        {"metrics": {"memorised_fraction_sampler": 0.05}},
        {"metrics": {"memorised_fraction_sampler": 0.014, "nearest_train_share": 0.125}},
        # Few test rows: the bound that 1% of them keep is chance.
        {"metrics": {"memorised_fraction_sampler": 0.023, "memorised_fraction_stderr": 0.0034,
                     "nearest_train_share": 0.125}},
        # A calibrated variance makes hundreds of nats of a small difference in error.
        {
            "metrics": {"elbo_nats_prior_train": 8_880 + 300.0, "mse_reconstruction": 0.0125},
            "config": {"variance": "optimal"},
        },
        {"metrics": {"elbo_nats_prior_train": 8_880 + 30.0, "elbo_nats_prior_train_stderr": 6.0}},
        # Chance puts even perfect samples as far from few test rows as other data are.
        {"metrics": _all("floor", 60) | _all("reconstruction", 5) | _all("prior", 66)},
        {"metrics": {"not_finite_samples_sampler": 0}},
        {"config": {"kl_cycle_epochs": 2 * EPOCHS - 2}},
        # Within 5 standard errors of the difference, 4.24 nats each; then within a tenth of the
        # rate, though beyond chance.
        {"metrics": {"elbo_nats_prior_train": 8_880 + 21.0}},
        {"metrics": {"elbo_nats_prior_train": 8_880 + 11.9, "elbo_nats_prior_stderr": 0.1}},
        # A peak past 60% of the run; a loss of 5% of the gain at most; training that fell too.
        {"history": _history(RISING_TRAIN, _bent(30, 600.0))},
        {"history": _history(RISING_TRAIN, _bent(20, 300.0))},
        {"history": _history(_bent(20, 600.0), _bent(20, 600.0))},
        {"history": {n: v[:5] for n, v in _history([5.0] * 5, [5.0] * 5).items()}},
        {"config": {"beta": 2.0}},
        {"config": {"beta": 0.5}},
        {"metrics": {"variance_ratio_draw": 2.0}},
        {"metrics": {"variance_ratio_draw": 0.5}},
        {"metrics": {"aggregate_gap_nats_prior": 6.0}},
        {"metrics": {"aggregate_gap_nats_prior": 3.0, "rate_nats_prior": 10.0}},
        {"metrics": _all("prior", 75.0)},
        {"metrics": _all("sampler", 66.0)},
        # A sampler is not to blame for reconstructions that are as bad.
        {"metrics": _all("sampler", 99.0) | _all("prior", 100.0) | _all("reconstruction", 90.0)},
        {"metrics": {"coverage_sampler": 0.325} | _all("sampler", 60.0)},
        # Reconstructions cover what their images do; and few samples of the prior may hit more.
        {"metrics": {"coverage_sampler": 0.3, "coverage_reconstruction": 0.95}},
        {"metrics": {"coverage_sampler": 0.3, "coverage_prior": 0.65}},
        {"metrics": {"coverage_sampler": 0.4, "coverage_floor": 0.8}},
        {"metrics": {"active_units_posterior": 9}},
        # Copies of the prior, where generate draws from the sampler.
        {"metrics": {"memorised_fraction_prior": 0.9}},
        {"metrics": {"outlier_fraction_sampler": 0.02}},
        {"metrics": {"outlier_fraction_sampler": 0.14, "outlier_fraction_test": 0.05}},
        {"metrics": {"sliced_wasserstein_ratio_sampler": 2.0, "energy_distance_ratio_sampler": 2.0,
                     "sliced_wasserstein_ratio_prior": 1.4}},
        {"metrics": {"gap_nats_sampler": 0.3}},
        {"metrics": {"gap_nats_sampler": 0.5, "gap_nats_sampler_stderr": 0.1}},
        {"metrics": {"rms_x": 900.0}},
        # More than half of what 2,000 rows can tell is told: the rest may be theirs.
        {"metrics": {"rate_nats_prior": 6.6, "mutual_information_nats_posterior": 4.6,
                     "elbo_nats_prior_train": None}},
        {"config": {"learning_rate": 0.1}},
        {"config": {"learning_rate": 10.0, "optimizer": "sgd"}},
        {"history": _history(np.array(SPIKE) + [690.0 * (i == 30) for i in range(EPOCHS)], LINE)
         | {"val_elbo": HISTORY["val_elbo"], "val_loss": HISTORY["val_loss"]}},
    ],
)  # fmt: skip
def test_what_is_within_the_bounds_is_no_finding(change):
    change = {"config": {}, **change}
    if "history" in change:
        change["config"] = {"epochs": max(map(len, change["history"].values()))}
    assert _names(_changed(**change)) == []


def test_the_last_active_units_of_a_small_space_are_not_full_when_the_error_is_small():
    full = dict(CHANGES["all full"][2]["metrics"])
    for healthy in (
        {"psnr_db_reconstruction": 19.0},
        {"active_fraction_per_dim_posterior": [0.95, 0.95, 0.95, 0.89]},
    ):
        assert _names(_changed(metrics=full | healthy)) == []
    large = full | {
        "active_fraction_per_dim_posterior": [0.95] * 9, "latent_dim": 9,
        "active_units_posterior": 9,
        "rate_per_dim_nats_prior": [13.0] * 9,
    }  # fmt: skip
    assert [finding.sure for finding in _changed(metrics=large)] == ["possible"]


# What no other metric tells of.
ALONE = {
    "active_fraction_per_dim_posterior": {"latent space too small"},
    "variance_ratio_draw": {"variance too large", "variance too small"},
    "psnr_db_reconstruction": {"latent space too small", "no better than the mean"},
    "psnr_db_mean_image": {"latent space too small", "no better than the mean"},
    "rms_x": {"data out of range"},
    "memorised_fraction_sampler": {"memorisation"},
    "num_modes": {"modes missed"},
    "modes_captured_sampler": {"modes missed"},
    "gap_nats_sampler": {"far below the true density"},
    "gap_nats_sampler_stderr": {"far below the true density"},
}


@pytest.mark.parametrize("name", METRICS)
def test_a_missing_metric_leaves_its_checks_out_and_nothing_else(name):
    found = _changed(metrics={name: None})
    assert found == []
    assert set(PROBLEMS) - set(found.looked_for) == ALONE.get(name, set())


def test_without_any_number_nothing_is_looked_for():
    found = diagnose({}, config={}, history={})
    assert (found, found.looked_for) == ([], ())
    assert report(found) == "nothing wrong found"


def test_a_check_without_its_number_is_not_named():
    found = diagnose({"rate_nats_prior": 3.0}, config={}, history={})
    assert found.looked_for == ("diverged", "posterior collapse")
    assert report(found) == "nothing wrong found; looked for: diverged, posterior collapse"


def test_the_participation_ratio_is_that_of_the_rates():
    # (9 + 3)^2 / (81 + 3 * 1) = 12^2 / 84: 1.7 dimensions.
    rates = [9.0, 1.0, 1.0, 1.0] + [0.0] * 16
    found = _changed(metrics={"rate_per_dim_nats_prior": rates, "active_units_posterior": None})
    assert _names(found) == ["few units"]
    assert "About 1.7 of 20 latent dimensions" in found[0].evidence
    assert "--latent-dim 4" in found[0].advice


def test_the_first_feature_measured_is_the_one_that_counts():
    attributes = "frechet_attributes"
    better = FEATURES[: FEATURES.index(attributes)]
    assert _names(_changed(metrics={f"{attributes}_prior": 300.0})) == []
    kinds = ("reconstruction", "prior", "sampler")
    taken = {f"{feature}_{kind}": None for feature in better for kind in kinds}
    found = _changed(metrics={**taken, f"{attributes}_prior": 300.0})
    assert _names(found) == ["prior gap"]
    assert attributes in found[0].evidence


def test_a_collapse_by_beta_is_blamed_on_beta_and_comes_first():
    found = _changed(
        metrics={"active_units_posterior": 0, "rate_nats_prior": 0.01, "psnr_db_reconstruction":
        11.1,
                 "rate_per_dim_nats_prior": [0.0003] * 32, "aggregate_gap_nats_prior": 0.0},
        config={"beta": 50.0, "variance": 0.1},
    )  # fmt: skip
    assert _names(found) == ["posterior collapse", "no better than the mean", "beta far from 1"]
    assert "because beta 50 makes every nat cost 50" in found[0].evidence
    for advice in ("--beta 1", "--variance optimal", "--kl-warmup-epochs 10", "--free-bits 0.1"):
        assert advice in found[0].advice


def test_a_model_that_was_hardly_trained_is_told_to_go_on():
    asleep = {"active_units_posterior": 0}
    assert "--epochs" not in _changed(metrics=asleep)[0].advice
    found = _changed(metrics=asleep, history=FIRST_EPOCHS, config={"epochs": 3})
    assert _names(found) == ["posterior collapse", "training too short"]
    assert found[0].advice.startswith("Try --epochs 20, ")


@pytest.mark.parametrize(
    "change",
    [{"history": FIRST_EPOCHS, "config": {"epochs": 3}}, {"config": {"learning_rate": 1e-5}}],
)
def test_little_training_was_too_little_where_only_the_mean_was_learned(change):
    sure = {}
    for gain in (0.4, 0.6):
        found = _changed(metrics={"psnr_db_reconstruction": 11.0 + gain}, **change)
        sure[gain] = {one.problem: one.sure for one in found}["training too short"]
    assert sure == {0.4: "likely", 0.6: "possible"}


def test_beta_and_a_fixed_variance_are_one_number():
    # SE / (2 v) + b rate is b times SE / (2 b v) + rate: the same minimum.
    (found,) = _changed(config={"beta": 4.0, "variance": 0.05})
    assert "--beta 1 --variance 0.2 trains the same means" in found.advice
    assert "4 x 120 nats beside a distortion of -9,000" in found.evidence


def test_a_fixed_variance_is_told_what_it_should_be():
    (found,) = _changed(metrics={"variance_ratio_draw": 8.0}, config={"variance": 0.08})
    assert found.advice == "Try --variance optimal, or --variance 0.01 in place of 0.08."
    (found,) = _changed(metrics={"variance_ratio_draw": 8.0}, config={"variance": "shared"})
    assert "--variance optimal" in found.advice
    for learned in ("optimal", "heteroscedastic"):
        (found,) = _changed(metrics={"variance_ratio_draw": 8.0}, config={"variance": learned})
        assert "--variance" not in found.advice


@pytest.mark.parametrize(
    ("option", "value", "absent"),
    [
        ("kl_warmup_epochs", 5, "--kl-warmup-epochs"),
        ("kl_cycle_epochs", 5, "--kl-warmup-epochs"),
        ("free_bits", 0.1, "--free-bits"),
        ("posterior", "full", "--free-bits"),
        ("prior", "vamp", "--free-bits"),
        ("objective", "iwae", "--free-bits"),
        ("objective", "iwae", "--kl-warmup-epochs"),
    ],
)
def test_nothing_is_advised_that_is_there_already_or_refused(option, value, absent):
    (found,) = _changed(metrics={"active_units_posterior": 0}, config={option: value})
    assert absent not in found.advice


def test_a_gap_that_no_sampler_bridged_is_left_to_the_prior():
    metrics = {"aggregate_gap_nats_prior": 7.0, "sampler": "none"}
    (found,) = _changed(metrics=metrics, config={"sampler": "auto"})
    assert (found.problem, found.sure) == ("prior gap", "likely")
    assert found.advice == "Try --prior vamp or --prior flow."
    (found, _) = _changed(metrics=metrics, config={"sampler": "none", "beta": 0.1})[::-1]
    assert found.advice == "Try --sampler auto or --beta 1."


def test_other_likelihoods_have_no_variance_to_set():
    change = {
        "metrics": {"variance_ratio_draw": 8.0},
        "config": {"likelihood": "discretized-logistic"},
    }
    found = _changed(**change)
    assert found == []
    assert not any(name.startswith("variance") for name in found.looked_for)


# The history


def test_an_objective_that_is_not_the_elbo_is_judged_by_its_loss():
    falling = _saturating(9_000.0, 2_000.0)
    history = HISTORY | {"elbo": falling, "val_elbo": falling}
    assert "diverged" in _names(_changed(history=history))
    for option in ({"beta": 0.5}, {"free_bits": 1.0}, {"tc_weight": 6.0}, {"objective": "iwae"}):
        assert _names(_changed(history=history, config=option)) == []


def test_a_warm_up_is_left_out_and_epochs_keep_their_numbers():
    # While beta rises, the loss does.
    rising = [150.0 * i for i in range(20)]
    history = {
        name: [12_000.0 - v for v in rising] + HISTORY[name][20:] for name in ("elbo", "val_elbo")
    }
    spike = {"elbo": [v - 2_000.0 * (i == 30) for i, v in enumerate(history["elbo"])]}
    assert _names(_changed(history=history)) != []
    warm = {"kl_warmup_epochs": 20}
    assert _names(_changed(history=history, config=warm)) == []
    (found,) = _changed(history=history | spike, config=warm)
    assert found.problem == "unstable training"
    assert "In epoch 31 the" in found.evidence


def test_cycles_of_beta_are_not_taken_for_spikes():
    saw = [v - 3_000.0 * (i % 10 == 0) for i, v in enumerate(HISTORY["elbo"])]
    history = _history(saw, HISTORY["val_elbo"])
    assert "unstable training" in _names(_changed(history=history))
    assert _names(_changed(history=history, config={"kl_cycle_epochs": 10})) == []


def test_a_run_that_goes_on_is_not_called_too_short():
    half = {name: values[:25] for name, values in _history(LINE, LINE).items()}
    assert _names(_changed(history=half)) == []
    assert _names(_changed(history=half, config={"epochs": 25})) == ["training too short"]
    assert _names(_changed(history=FIRST_EPOCHS)) == []


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_noise_about_a_flat_line_is_nothing(noise):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        flat = _history(*(500.0 + noise * rng.standard_normal((2, EPOCHS))))
        assert _names(_changed(history=flat)) == []


def test_a_way_back_to_where_it_was_is_no_rise():
    saw = [1_000.0 * (i % 5) for i in range(15)]
    assert "training too short" not in _names(_changed(history=_history(saw, saw)))


@pytest.mark.parametrize(("wobble", "problems"), [(80.0, []), (40.0, ["training too short"])])
def test_a_rise_within_twice_the_wobble_is_nothing(wobble, problems):
    # It rises by 9 x 10 nats over the last 10 epochs, every other one of which lies low.
    epochs = np.arange(EPOCHS)
    goal = np.minimum(epochs, 10) * 100.0 + epochs * 10.0 + wobble * (-1.0) ** (epochs + 1)
    assert _names(_changed(history=_history(goal, goal))) == problems


@pytest.mark.parametrize(("part", "problems"), [(0.0009, []), (0.0011, ["training too short"])])
def test_a_rise_by_less_than_a_thousandth_of_the_figure_is_nothing(part, problems):
    # The last fifth of 50 epochs is 9 steps of 49.
    line = 500.0 * (1 + part * np.arange(EPOCHS) / 9)
    assert _names(_changed(history=_history(line, line))) == problems


def test_how_much_more_training_would_add():
    # 7,000 nats in 49 steps: a fifth more, 10 epochs, adds 10 / 49 of it.
    (found,) = _changed(history=_history(LINE, LINE), config={"learning_rate": 1e-5})
    assert "a fifth more epochs would add 20% of all" in found.evidence
    assert f"rose by {7_000 / 49:.4g} nats an epoch over the last 10" in found.evidence
    assert found.advice == "Try --epochs 100 or --learning-rate 0.0001 (1e-05 is little)."


def test_the_best_epoch_is_named():
    (found,) = _changed(history=_history(RISING_TRAIN, _bent(20, 600.0)), metrics=LAST_WEIGHTS)
    best = int(np.argmax(_bent(20, 600.0))) + 1
    assert f"best in epoch {best} of 50" in found.evidence
    assert f"--epochs {best}" in found.advice
    warm = {
        name: [0.0] * 7 + values
        for name, values in _history(RISING_TRAIN, _bent(20, 600.0)).items()
    }
    (found,) = _changed(history=warm, config={"kl_warmup_epochs": 7})
    assert f"best in epoch {best + 7} of 57" in found.evidence


# Order and words


def test_what_is_only_possible_stands_last():
    found = _changed(
        metrics={"active_units_posterior": 8, "variance_ratio_draw": 8.0,
        "aggregate_gap_nats_prior": 7.0}, history=FIRST_EPOCHS, config={"epochs": 3},
    )  # fmt: skip
    assert _names(found) == ["variance too large", "training too short", "prior gap", "few units"]
    assert [finding.sure for finding in found] == ["certain", "possible", "possible", "possible"]


def test_a_cause_is_told_without_its_consequences():
    found = _changed(history={**_history(SPIKE, _bent(20, 600.0)), "loss": [float("nan")]})
    assert _names(found) == ["diverged"]


def test_an_epoch_that_was_kept_is_no_overfitting():
    (found,) = _changed(history=_history(RISING_TRAIN, _bent(20, 600.0)))
    assert found.evidence.endswith("; the weights are not overfitted.")
    assert found.advice == "Try --epochs 21: it takes less time."
    far = {"elbo_nats_prior_train": 8_880 + 30.0}
    (found,) = _changed(history=_history(RISING_TRAIN, _bent(20, 600.0)), metrics=far)
    assert found.sure == "certain"
    assert "of training rows is 30 nats above" in found.evidence


def test_beta_0_has_no_fixed_variance_of_the_same_means():
    (found,) = _changed(config={"beta": 0.0, "variance": 0.05})
    assert found.advice == "Try --beta 1."


WORKING_SAMPLER = {
    **_all("prior", 228.7), **_all("sampler", 21.4), **_all("reconstruction", 19.6),
    "coverage_prior": 0.10, "coverage_sampler": 0.40, "coverage_reconstruction": 0.85,
}  # fmt: skip


def test_a_sampler_that_works_is_alive_and_the_gap_of_the_prior_is_told():
    (found,) = _changed(metrics=WORKING_SAMPLER)
    assert (found.problem, found.sure) == ("prior gap", "possible")
    assert "228.7 against 19.6" in found.evidence
    found = _changed(metrics={**WORKING_SAMPLER, "coverage_floor": 0.95})
    assert [(one.problem, one.sure) for one in found] == [
        ("dead sampler", "possible"), ("prior gap", "possible")
    ]  # fmt: skip
    assert "cover 40.0% of the data, training rows 95.0%." in found[0].evidence


@pytest.mark.parametrize(("sampler", "is_advised"), [(119.0, False), (120.0, True)])
def test_no_sampler_is_advised_only_where_it_does_not_beat_the_prior(sampler, is_advised):
    (found,) = _changed(metrics=_all("sampler", sampler) | _all("prior", 120.0))
    assert found.problem == "dead sampler"
    assert ("--sampler none" in found.advice) == is_advised


def test_a_sampler_between_prior_and_reconstructions_is_alive():
    found = _changed(metrics=_all("sampler", 95.0) | _all("prior", 105.0))
    assert _names(found) == ["prior gap"]


def test_a_figure_that_is_not_finite_is_as_good_as_missing():
    rates = [60.0, float("nan")] + [0.0] * 30
    for metrics in ({"rate_per_dim_nats_prior": rates}, {"variance_ratio_draw": float("inf")}):
        assert _changed(metrics=metrics) == []


def test_the_surer_of_two_signs_is_told_whichever_comes_first():
    few = {"rate_per_dim_nats_prior": [20.0] * 7 + [0.0] * 25, "active_units_posterior": 2}
    (found,) = _changed(metrics=few)
    assert (found.problem, found.sure) == ("few units", "likely")
    metrics = _all("sampler", 200.0)
    (found,) = _changed(metrics=metrics)
    assert found.sure == "certain"
    assert "farther from the data than the prior's" in found.evidence


FLAG = re.compile(r"--[a-z][a-z-]*")


@pytest.mark.parametrize("case", CHANGES)
def test_the_words_name_options_that_exist(case):
    for config in ({}, {"variance": 0.1, "network": "mlp"}, {"variance": "optimal", "flip": True}):
        change = CHANGES[case][2]
        found = _changed(**change | {"config": {**config, **change.get("config", {})}})
        text = report(found)
        assert FLAG.findall(found[0].advice) or "training data" in found[0].advice
        assert set(FLAG.findall(text)) <= FLAGS
        for sentence in (found[0].evidence, found[0].advice):
            assert re.fullmatch(r"\S.*\.", sentence)
            assert sentence[0].isupper() or sentence.startswith("--") or sentence[0].isdigit()


def _texts():
    """The files of the doctor."""
    return [path.read_text() for path in Path(doctor.__file__).parent.glob("*.py")]


def test_every_option_that_may_be_advised_exists():
    strings = [node.value for text in _texts() for node in ast.walk(ast.parse(text))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    named = {found for string in strings for found in FLAG.findall(string)}
    assert len(named) > 10
    assert named <= FLAGS


def test_a_report_is_numbered_and_narrow():
    found = _changed(
        metrics={"active_units_posterior": 0, "variance_ratio_draw": 8.0}, config={"beta": 50.0}
    )
    text = report(found)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 88
    heads = [line for line in lines if not line.startswith("   ")]
    assert heads == [
        "1. posterior collapse (certain)",
        "2. beta far from 1 (certain)",
        "3. variance too large (certain)",
    ]
    words = " ".join(text.split())
    for finding in found:
        assert finding.evidence in words
        assert finding.advice in words


def test_an_option_and_its_value_stay_on_one_line():
    for length in range(1, 90):
        advice = f"{'x' * length} --kl-warmup-epochs 10 is it."
        assert "--kl-warmup-epochs 10" in report([Finding("diverged", "likely", "Yes.", advice)])


def test_a_report_takes_a_plain_list_too():
    assert report([]) == "nothing wrong found"
    assert isinstance(_changed(), Diagnosis)
    assert set(SURE) == {sure for _, sure, _ in CHANGES.values()}


def test_the_thresholds_say_why():
    lines = "\n".join(_texts()).splitlines()
    constants = [line for line in lines if re.match(r"[A-Z][A-Z_, ]+ = \d", line)]
    assert len(constants) > 20
    assert all("  # " in line for line in constants)
