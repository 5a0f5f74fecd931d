import dataclasses
import inspect

import pytest

from kvae.config import PRESETS, resolve
from kvae.data import DATASETS
from kvae.errors import UsageError


def test_given_beats_preset_beats_default():
    assert resolve({}).learning_rate == 3e-3
    assert resolve({}, "report-gmm").learning_rate == PRESETS["report-gmm"]["learning_rate"]
    assert resolve({"learning_rate": "0.5"}, "report-gmm").learning_rate == 0.5


def test_every_dataset_has_a_preset_of_its_own_and_every_preset_is_a_configuration():
    assert set(DATASETS) <= set(PRESETS)
    for name, values in PRESETS.items():
        config = resolve({}, name)
        assert {key: getattr(config, key) for key in values} == values
        assert config.name == config.dataset.replace(":", "-")


def test_the_presets_of_the_report_follow_it():
    celeba, gmm = resolve({}, "report-celeba"), resolve({}, "report-gmm")
    assert (celeba.latent_dim, celeba.variance, celeba.learning_rate) == (50, 0.1, 1e-3)
    assert (celeba.epochs, celeba.network, celeba.prior) == (200, "conv", "standard_normal")
    assert celeba.learning_rate_schedule == gmm.learning_rate_schedule == "constant"
    assert (gmm.latent_dim, gmm.variance, gmm.prior) == (2, 0.1, "standard_normal")
    assert (gmm.network, gmm.standardize, gmm.likelihood) == ("mlp", False, "gaussian")


def test_text_from_the_command_line_becomes_values():
    given = {"variance": "per-feature", "hidden_units": "32,16", "beta": "0", "gmm_seed": "7"}
    config = resolve(given)
    assert config.variance == "per-feature"
    assert config.hidden_units == (32, 16)
    assert (config.beta, config.gmm_seed) == (0.0, 7)
    assert resolve({"variance": "0.25"}).variance == 0.25


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", "-1", "at least 0"),
        ("epochs", "2.5", "a whole number"),
        ("latent_dim", "many", "a whole number"),
        ("learning_rate", "-1", "a number from 1e-12 to 10"),
        ("learning_rate", "1e30", "a number from 1e-12 to 10"),
        ("variance", "0", "a positive number"),
        (
            "variance",
            "sharde",
            "a positive number from 1e-15 to 1e+15, shared or optimal or per-channel or "
            "per-feature or heteroscedastic or full; received 'sharde'; did you mean shared?",
        ),
        ("beta", "-0.1", "at least 0"),
        ("hidden_units", "64,,64", "whole numbers"),
        ("prior", "flowy", "standard_normal, mixture"),
        (
            "dataset",
            "cifar10",
            "gmm, digits, mnist, fashion-mnist, faces, celeba, folder, tfds:NAME",
        ),
        ("network", "resnet9", "mlp, conv"),
        ("mixed_precision", "fp8", "auto, off, float16, bfloat16"),
        ("name", "a/b", "folder name"),
        ("name", ".hidden", "folder name"),
        ("seed", "-1", "from 0 to 4294967295"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name, value, wanted):
    with pytest.raises(UsageError) as error:
        resolve({name: value})
    assert wanted in str(error.value)
    assert value in str(error.value)


def test_an_unknown_preset_or_option_is_refused():
    with pytest.raises(UsageError, match="report-gmm"):
        resolve({}, "report")
    with pytest.raises(UsageError, match="unknown option 'lattent_dim'"):
        resolve({"lattent_dim": 3})


def test_an_edge_weight_goes_with_one_variance():
    given = {"dataset": "digits", "edge_weight": 1.0}
    assert resolve({**given, "variance": "optimal"}).own("likelihood")["edge_weight"] == 1.0
    with pytest.raises(UsageError, match=r"--edge-weight 1\.0 and --variance full"):
        resolve({**given, "variance": "full"})
    photos = {"dataset": "folder", "data_dir": "x"}
    assert resolve(photos).edge_weight == PRESETS["folder"]["edge_weight"] > 0
    for variance in ("full", "heteroscedastic", "per-channel"):
        assert resolve({**photos, "variance": variance}).edge_weight == 0
    with pytest.raises(UsageError, match="--edge-weight applies to"):
        resolve({**given, "likelihood": "bernoulli"})


def test_standardising_goes_with_a_gaussian_alone():
    with pytest.raises(UsageError, match="--standardize"):
        resolve({"likelihood": "bernoulli"})  # the preset gmm standardises
    assert resolve({"likelihood": "bernoulli", "standardize": False}).likelihood == "bernoulli"


@pytest.mark.parametrize("given", [{"beta": "2"}, {"kl_warmup_epochs": "3"}])
def test_the_importance_weighted_objective_is_a_bound(given):
    with pytest.raises(UsageError, match="applies to --objective elbo alone"):
        resolve({"objective": "iwae", **given})


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve({}).epochs = 3
    resolve({}).to_dict()["epochs"] = 3  # of a copy
    assert resolve({}).epochs == 36


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_takes_what_it_declares_with_the_same_defaults(name):
    member = DATASETS[name]
    known = inspect.signature(member.load().load).parameters
    declared = {option.argument or option.name: option.default for option in member.options}
    own = {"tfds_name": ""} if name == "tfds:NAME" else {}
    assert declared | own == {argument: known[argument].default for argument in known}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gone": 1}, "options that the chosen parts do not have: gone"),
        ({"network": "gone"}, "--network: choose one of .*; received 'gone'"),
        ({"objective": "iwae"}, "options that lack: iwae_draws"),
    ],
    ids=str,
)
def test_a_configuration_has_the_options_of_its_parts(change, message):
    with pytest.raises(UsageError, match=message):
        resolve({}).replaced(**change)
