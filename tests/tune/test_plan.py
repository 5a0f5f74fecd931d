"""Which combinations a search has, and which of them compare."""

import numpy as np
import pytest

from kvae.data import Dataset, Split
from kvae.errors import UsageError
from kvae.tune import space
from kvae.tune.plan import Plan


def _plan(*searched, preset=None, **given):
    return Plan(given, preset, space.read(searched, given))


def _first(one):
    return one.corners[0]


def _last(one):
    return one.corners[-1]


def test_options_of_parts_are_drawn_where_a_trial_has_the_part():
    plan = _plan("hidden_units=64/32,32", "network=mlp,conv", "latent_dim=2..8", dataset="digits")
    of_mlp, of_conv = plan.drawn(_first), plan.drawn(_last)
    assert of_mlp == {"network": "mlp", "hidden_units": (64,), "latent_dim": 2}
    assert of_conv == {"network": "conv", "latent_dim": 8}
    assert plan.config(of_mlp).hidden_units == (64,)
    assert plan.config(of_conv).latent_dim == 8


def test_a_fixed_option_of_a_part_holds_for_trials_with_it():
    plan = _plan("network=mlp,conv", dataset="digits", hidden_units="7")
    assert plan.config({"network": "mlp"}).hidden_units == (7,)
    assert plan.config({"network": "conv"}).get("hidden_units", None) is None


def test_trial_0_has_the_presets_own_values():
    plan = _plan("latent_dim=8..64", "learning_rate=1e-4..1e-2:log", dataset="digits")
    assert plan.own_values() == {"latent_dim": 16, "learning_rate": 1e-3}
    assert plan.config({}) == plan.config(plan.own_values())


def test_trials_have_no_sampler_and_the_advised_run_has():
    plan = _plan("latent_dim=8..64", dataset="digits", sampler="mixture")
    assert plan.trial({"latent_dim": 8}).sampler == "none"
    assert plan.config({"latent_dim": 8}).sampler == "mixture"


def test_an_option_of_prior_and_sampler_holds_for_those_that_are_there():
    plan = _plan("prior=mixture,flow", dataset="digits", sampler="flow", flow_units="7")
    assert plan.trial({"prior": "mixture"}).get("flow_units", None) is None
    assert plan.trial({"prior": "flow"}).flow_units == 7
    assert plan.config({"prior": "mixture"}).flow_units == 7
    plan = _plan("latent_dim=8..64", dataset="digits", sampler="flow", flow_units="7")
    assert plan.trial({"latent_dim": 8}).get("flow_units", None) is None
    assert plan.config({"latent_dim": 8}).flow_units == 7


def test_what_the_fixed_options_leave_of_the_preset_may_be_searched():
    # The preset's variance does not go with this objective.
    plan = _plan("variance=optimal,shared", dataset="faces", objective="iwae")
    assert plan.start.variance == "shared"
    assert plan.own_values() == {}


@pytest.mark.parametrize(
    ("searched", "given", "words"),
    [
        ("beta=1..4", {}, ["--search beta", "do not compare"]),
        ("free_bits=0..1", {}, ["--search free_bits"]),
        ("likelihood=gaussian,bernoulli", {}, ["--search likelihood"]),
        ("objective=elbo,iwae", {}, ["--search objective"]),
        ("iwae_draws=2..8", {"objective": "iwae"}, ["--search iwae_draws"]),
        ("batch_size=64,128",
         {"tc_weight": "4", "posterior": "diagonal", "prior": "standard_normal"},
         ["--search batch_size"]),
        ("condition=a/b", {"dataset": "digits"}, ["--search condition"]),
        ("hidden_units=1/2", {"dataset": "digits"}, ["--search hidden_units", "--network mlp"]),
        ("prior_components=2..4", {"prior": "standard_normal"}, ["--prior mixture"]),
        ("flow_units=4,8", {"prior": "mixture", "sampler": "flow"}, ["--search flow_units"]),
        ("latent_dim=2..4", {"dataset": "digits", "hidden_units": "8"}, ["--network mlp alone"]),
        ("network=conv,resnet", {"dataset": "digits", "hidden_units": "8"}, ["--network mlp"]),
        ("latent_dim=2..4", {"epochs": "0", "init_from": "x.keras"}, ["--epochs 0"]),
        ("latent_dim=2..4", {"epochs": "many"}, ["--epochs", "many"]),
        ("latent_dim=2..4", {"batch_siz": "3"}, ["batch_siz"]),
    ],
)  # fmt: skip
def test_a_search_that_no_figure_can_decide_is_refused(searched, given, words):
    with pytest.raises(UsageError) as refused:
        _plan(searched, **given)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("given", "figure"),
    [
        ({}, "elbo"),
        ({"kl_warmup_epochs": "5"}, "elbo"),
        ({"beta": "4"}, "loss"),
        ({"objective": "iwae"}, "loss"),
    ],
)
def test_trials_compare_by_the_figure_that_chooses_the_best_weights(given, figure):
    assert _plan("latent_dim=2..4", **given).figure == figure


def _dataset(value=0.0, **card):
    split = Split(np.full((12, 3), value, np.float32))
    return Dataset("vectors", split, split, split, {"name": "gmm", **card})


def test_what_a_search_is_of_changes_with_options_space_and_data_alone():
    def described(text="latent_dim=2..4", data=None, **given):
        return _plan(text, **given).described(_dataset() if data is None else data)

    usual = described()
    assert usual == described(save="elsewhere", name="other")
    assert usual == described(data=_dataset(source="moved"))
    assert usual == described(batch_size="256")  # what it is anyway
    for other in (
        described("latent_dim=2..5"), described(epochs="7"), described(seed="1"),
        described(data=_dataset(1.0)), described(data=_dataset(rows=3)),
    ):  # fmt: skip
        assert usual != other
