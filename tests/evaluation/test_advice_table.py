"""The doctor's table of options, and the page that shows it."""

import random
import re
from pathlib import Path

import pytest

from kvae.evaluation.doctor import FEATURES, PROBLEMS, diagnose
from kvae.evaluation.doctor.table import MAY_HELP, options_page

PAGE = Path(__file__).parents[2] / "docs" / "troubles.md"
_KINDS = ("reconstruction", "prior", "sampler", "floor")
_SUBJECTS = ("prior", "sampler")


def _some(rng, **choices):
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.85}


def _case(rng):
    """Numbers, options and history of some run, whatever it may be."""
    metrics = _some(
        rng, rate_nats_prior=[0.001, 5.0, 120.0], distortion_nats_posterior=[-9000.0, 20.0],
        elbo_nats_prior=[8880.0, -25.0], elbo_nats_prior_stderr=[0.1, 3.0],
        elbo_nats_prior_train=[8885.0, 9500.0, -1.0], mse_reconstruction=[0.02, 0.1],
        mse_reconstruction_train=[0.01, 0.02], active_units_posterior=[0, 2, 30],
        latent_dim=[2, 32], variance_ratio_draw=[0.1, 0.7, 1.0, 1.6, 20.0],
        psnr_db_reconstruction=[11.0, 16.0, 22.0], psnr_db_mean_image=[11.0],
        aggregate_gap_nats_prior=[0.0, 1.0, 90.0], rms_x=[1e-8, 0.5, 1e4, 1e9],
        num_modes=[10], outlier_fraction_test=[0.001], coverage_floor=[0.95],
        moments_kl_nats_prior=[0.1, 50.0], nearest_train_share=[0.1],
        mutual_information_nats_posterior=[0.01, 7.5],
        mutual_information_limit_nats_posterior=[7.6], sampler=["none", "mixture", "flow"],
    )  # fmt: skip
    for subject in _SUBJECTS:
        values = _some(
            rng, memorised_fraction=[0.008, 0.6], coverage=[0.02, 0.3, 0.7],
            modes_captured=[3, 9, 10], outlier_fraction=[0.002, 0.3], gap_nats=[0.001, 0.1, 3.0],
            gap_nats_stderr=[0.001], sliced_wasserstein_ratio=[1.1, 9.0],
            energy_distance_ratio=[1.2, 50.0], not_finite_samples=[0, 3],
        )  # fmt: skip
        for name, value in values.items():
            key = "gap_nats_{}_stderr" if name == "gap_nats_stderr" else name + "_{}"
            metrics[key.format(subject)] = value
    feature = rng.choice(FEATURES)
    metrics |= {f"{feature}_{kind}": rng.choice([3.0, 50.0, 60.0, 400.0]) for kind in _KINDS}
    dim = rng.choice([2, 32])
    metrics["active_fraction_per_dim_posterior"] = rng.choice(
        [[0.99] * dim, [0.97] * 2 + [0.001] * (dim - 2), [0.001] * dim]
    )
    metrics["rate_per_dim_nats_prior"] = rng.choice([[5.0] * dim, [0.0] * dim])
    options = _some(
        rng, network=["mlp", "conv"], prior=["standard_normal", "mixture", "flow"],
        sampler=["none", "mixture", "auto"], epochs=[1, 12, 50], posterior=["diagonal", "full"],
        learning_rate=[1e-5, 1e-4, 1e-3, 0.1, 10.0], objective=["elbo", "iwae"],
        variance=[1e-9, 0.1, 10.0, "shared", "optimal", "per-feature"], clip_norm=[0.0, 100.0],
        mixed_precision=["off", "auto"], likelihood=["gaussian", "bernoulli"], flip=[False, True],
    )  # fmt: skip
    if options.get("objective", "elbo") == "elbo":
        options["beta"] = rng.choice([0.1, 1.0, 50.0, 1e30])
        if rng.random() < 0.4:
            options[rng.choice(["kl_warmup_epochs", "kl_cycle_epochs"])] = 60
    if options.get("network", "mlp") == "mlp":
        options["linear_path"] = rng.random() < 0.5
        options["standardize"] = rng.random() < 0.5
    config = {"latent_dim": dim, "prior_components": 30, "free_bits": 0.0, **options}
    count = rng.choice([1, 4, 12, 50])
    shape = rng.choice(["rising", "peaked", "fell", "jump", "nan", "flat", "huge"])
    goal = {
        "rising": [float(i) for i in range(count)],
        "peaked": [-abs(i - count / 4) for i in range(count)],
        "fell": [-10.0 * i**2 for i in range(count)],
        "jump": [-500.0 if i == count // 2 else float(i) / 10 for i in range(count)],
        "nan": [float("nan")] * count,
        "flat": [5.0] * count,
        "huge": [-1e15] * count,
    }[shape]
    names = ("elbo", "val_elbo") if rng.random() < 0.8 else ("elbo",)
    history = {name: list(goal) for name in names}
    history["loss"] = history["val_loss"] = [-value for value in goal]
    return metrics, config, history


def _advised(count=2_000):
    rng = random.Random(0)
    found = {problem: set() for problem in PROBLEMS}
    for _ in range(count):
        metrics, config, history = _case(rng)
        for finding in diagnose(metrics, config=config, history=history):
            found[finding.problem] |= set(re.findall(r"--[a-z-]+", finding.advice))
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_table_names_what_the_doctor_advises():
    found = _advised()
    assert {problem: sorted(options) for problem, options in found.items()} == {
        problem: sorted(options) for problem, options in MAY_HELP.items()
    }


def test_the_page_is_that_table():
    assert options_page() in PAGE.read_text(encoding="utf-8")
