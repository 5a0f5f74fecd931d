"""An option is declared once, with its owner; everything else reads it there."""

import itertools
import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import kvae
from kvae.config import MODEL_PARTS, OPTIONS, PARTS, resolve
from kvae.data import DATASETS, Dataset, Split
from kvae.errors import UsageError
from kvae.likelihoods import LIKELIHOODS, LikelihoodMember
from kvae.likelihoods.base import Likelihood
from kvae.networks import NETWORKS, NetworkMember
from kvae.objectives import OBJECTIVES
from kvae.objectives.base import Objective, Outcome
from kvae.options import (
    COUNT,
    LARGEST,
    POSITIVE,
    POSITIVE_COUNT,
    SMALLEST,
    SWITCH,
    Option,
    flag,
)
from kvae.priors import PRIORS, DensityMember, PriorMember, check_density
from kvae.priors.base import Prior
from kvae.probability.distributions import DiagonalNormal
from kvae.registry import Member, declared
from kvae.samplers import SAMPLERS
from kvae.serving import versions
from kvae.training import dry_run, program, run, start


@keras.saving.register_keras_serializable(package="test_options")
class Blurred(Likelihood):
    """A normal around the decoder's mean, its variance a number."""

    kind = "blurred"

    def __init__(self, variance, **kwargs):
        super().__init__(**{"name": "blurred", **kwargs})
        self.variance = float(variance)

    def num_outputs(self, channels):
        return channels

    def distribution(self, params):
        return DiagonalNormal(params, self.variance)

    def get_config(self):
        return {**super().get_config(), "variance": self.variance}


@keras.saving.register_keras_serializable(package="test_options")
class Wide(Prior):
    """A normal around zero."""

    kind = "wide"

    def __init__(self, stddev, *, seed=0, **kwargs):
        super().__init__(**{"name": "wide", **kwargs})
        self.stddev, self.seed = float(stddev), int(seed)

    def build(self, latent_shape):
        self._latent_dim = int(latent_shape[-1])

    def log_prob(self, z):
        return DiagonalNormal(keras.ops.zeros_like(z), self.stddev**2).log_prob(z)

    def sample(self, noise):
        return self.stddev * noise.normal("latent", self._latent_dim)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


@keras.saving.register_keras_serializable(package="test_options")
class Tempered(Objective):
    """Distortion alone, times a number."""

    kind = "tempered"

    def __init__(self, heat):
        self.heat = float(heat)

    def __call__(self, model, x, noise, step, training=False):
        terms = model.elbo_terms(x, noise, run)
        return Outcome(self.heat * terms.distortion, terms.elbo, *terms, {})

    def get_config(self):
        return {"heat": self.heat}


def _linear(size, outputs, units, dtype):
    inputs = keras.Input((size,))
    x = keras.layers.Dense(units, dtype=dtype)(inputs)
    return keras.Model(inputs, keras.layers.Dense(outputs, dtype="float32")(x))


def _encoder(element_shape, latent_dim, num_params, *, dtype, units):
    return _linear(element_shape[0], num_params, units, dtype)


def _decoder(latent_dim, element_shape, num_outputs, *, dtype, units):
    return _linear(latent_dim, num_outputs, units, dtype)


def _fit(train, valid, *, prior, seed, margin):
    sampler = Wide(margin * train.std(), seed=seed, name="sampler")
    sampler.build((None, train.shape[1]))
    return sampler


def _load(*, toy_rows=40):
    x = np.random.default_rng(0).normal(size=(toy_rows + 20, 2)).astype("float32")
    train, valid, test = np.split(x, [toy_rows, toy_rows + 10])
    return Dataset("vectors", Split(train), Split(valid), Split(test), {"name": "toy"})


def _member(help_text, part, *options):
    return Member(help_text, lambda: part, options)


NEW = {
    "dataset": (
        DATASETS, "toy",
        _member(
            "few points", SimpleNamespace(load=_load),
            Option("toy_rows", 40, "rows to train on", POSITIVE_COUNT, metavar="N"),
        ),
    ),
    "network": (
        NETWORKS, "thin",
        _member(
            "one layer", SimpleNamespace(encoder=_encoder, decoder=_decoder),
            Option("thin_units", 3, "units of the layer", POSITIVE_COUNT, argument="units"),
        ),
    ),
    "likelihood": (
        LIKELIHOODS, "blurred",
        _member(
            "fixed", Blurred,
            Option("blur", 0.5, "its variance", POSITIVE, argument="variance"),
        ),
    ),
    "prior": (
        PRIORS, "wide",
        _member(
            "a wide normal", Wide,
            Option("stretch", 2.0, "its width", POSITIVE, argument="stddev"),
        ),
    ),
    "objective": (
        OBJECTIVES, "tempered",
        _member("distortion alone", Tempered, Option("heat", 2.0, "its weight", POSITIVE)),
    ),
    "sampler": (
        SAMPLERS, "as-wide",
        _member("as wide as draws", _fit, Option("margin", 1.0, "times as wide", POSITIVE)),
    ),
}  # fmt: skip
GIVEN = {"toy_rows": 50, "thin_units": 4, "blur": 0.25, "stretch": 1.5, "heat": 3.0, "margin": 2.0}
CHOSEN = {kind: name for kind, (_, name, _) in NEW.items()}


@pytest.fixture(scope="module")
def new_members():
    """A member of each kind, added by the public way."""
    for registry, name, member in NEW.values():
        registry[name] = member
    yield
    for registry, name, _ in NEW.values():
        del registry[name]


@pytest.fixture(scope="module")
def version(new_members, tmp_path_factory):
    save = str(tmp_path_factory.mktemp("saved"))
    given = {**CHOSEN, **GIVEN, "save": save, "epochs": 1, "batch_size": 25, "latent_dim": 2}
    return run.train(resolve(given))


def test_new_members_are_trained_published_and_read_back_with_their_options(version):
    config = versions.read_metadata(version)["config"]
    assert {**CHOSEN, **GIVEN}.items() <= config.items()
    vae = kvae.load_model(version.path)
    assert vae.encoder.layers[1].units == 4
    assert (vae.likelihood.kind, vae.likelihood.variance) == ("blurred", 0.25)
    assert (vae.prior.kind, vae.prior.stddev) == ("wide", 1.5)
    assert (vae.objective.kind, vae.objective.heat) == ("tempered", 3.0)
    assert (vae.sampler.kind, vae.has_sampler) == ("wide", True)
    posterior_width = np.asarray(vae.encode(_load(toy_rows=50).train.x)[0]).std()
    assert vae.sampler.stddev > posterior_width
    assert np.isfinite(vae.generate(3)).all()


def test_options_of_new_members_are_in_the_help(new_members, capsys):
    with pytest.raises(SystemExit):
        program.arguments(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for kind, (_, name, member) in NEW.items():
        (option,) = member.options
        shown = f"{flag(option.name)} {option.metavar} {option.help}; of the {kind} '{name}'"
        assert f"{shown} (default: {option.default})" in text
        assert f"{name} {member.help}" in text


def test_a_dry_run_prints_what_applies_and_nothing_else(new_members, capsys):
    dry_run.dry_run(resolve({**CHOSEN, **GIVEN, "epochs": 1, "latent_dim": 2}))
    printed = dict(re.findall(r"^  (\w+) +(\S+)$", capsys.readouterr().out, re.MULTILINE))
    assert {name: str(value) for name, value in GIVEN.items()}.items() <= printed.items()
    assert not {"hidden_units", "variance", "prior_components", "gmm_dim", "width"} & {*printed}


@pytest.mark.parametrize("kind", NEW)
def test_options_of_new_members_are_refused_beside_others(kind, new_members):
    _, name, member = NEW[kind]
    (option,) = member.options
    words = f"{option.name} applies to {kind} {name} alone"
    with pytest.raises(UsageError, match=f"^{flag(option.name)} applies to --{kind} {name} alone"):
        program.arguments([flag(option.name), "1"])
    if kind in MODEL_PARTS:
        with pytest.raises(UsageError, match=f"^{words}, received {kind} "):
            kvae.build_vae((2,), **{option.name: 1})
        with pytest.raises(UsageError, match=f"^{option.name} takes .*; received -1"):
            kvae.build_vae((2,), **{kind: name, option.name: -1})


def test_all_samplers_at_once_have_the_options_of_each(new_members):
    of_flow = {option.name: option.default for option in SAMPLERS["flow"].options}
    assert resolve({"sampler": "auto", "margin": 3}).own("sampler") == {"margin": 3.0, **of_flow}
    assert resolve({"sampler": "second-stage"}).own("sampler") == {}
    assert resolve({"sampler": "flow"}).own("sampler") == of_flow != {}


def _pairs(parts):
    """Every option beside every member of the kinds that have it: name, kind, member, owned."""
    return [
        (name, kind, member, member in members)
        for name, kinds in declared(parts).items()
        for kind, members in kinds.items()
        for member in parts[kind]
    ]


RUNS, MODELS = _pairs(PARTS), _pairs(MODEL_PARTS)


def _default(name):
    return next(iter(next(iter(declared(PARTS)[name].values())).values())).default


@pytest.mark.parametrize(("name", "kind", "member", "owned"), RUNS)
def test_a_run_takes_an_option_beside_its_members_alone(name, kind, member, owned):
    given = {kind: member, "standardize": False, name: _default(name)}
    if owned:
        assert resolve(given).get(name, "absent") == _default(name)
        return
    with pytest.raises(
        UsageError, match=f"^{flag(name)} applies to .*--{kind} .*received .*--{kind}"
    ):
        resolve(given)
    config = resolve({kind: member, "standardize": False})
    assert name not in config.to_dict()
    with pytest.raises(AttributeError, match=f"option of .*{kind} "):
        getattr(config, name)


@pytest.mark.parametrize(
    ("name", "kind", "member"),
    [pair[:3] for pair in MODELS if not pair[3]],
)
def test_python_refuses_options_that_the_chosen_parts_would_ignore(name, kind, member):
    option = next(iter(declared(MODEL_PARTS)[name][kind].values()))
    with pytest.raises(UsageError, match=f"^{option.model_name} applies to {kind} "):
        kvae.build_vae((16, 16, 1), **{kind: member, option.model_name: option.default})


def test_there_are_options_of_each_kind_that_has_some():
    """The tables above are not empty."""
    assert {kind for _, kind, _, _ in RUNS} == {*PARTS}
    assert {kind for _, kind, _, _ in MODELS} == {*MODEL_PARTS}


def test_no_option_has_two_meanings():
    base = [option.name for group in OPTIONS.values() for option in group]
    assert len(base) == len({*base})
    assert not {*base} & {*declared(PARTS)}
    for kinds in declared(PARTS).values():
        options = [option for members in kinds.values() for option in members.values()]
        assert len({option.kind for option in options}) == 1


def test_what_goes_with_what_is_read_off_the_members(monkeypatch):
    for registry, member in (
        (PRIORS, PriorMember("", dict, pseudo_inputs=True)),
        (NETWORKS, NetworkMember("", dict, normalises_by_batch=True)),
        (LIKELIHOODS, LikelihoodMember("", dict, standardizes=True)),
    ):
        monkeypatch.setitem(registry, "own", member)
    for given, words in (
        ({"prior": "own", "condition": "a"}, "--condition does not go with --prior own"),
        ({"prior": "own", "network": "own"}, "--network own normalises by batch"),
        ({"network": "own", "ema_momentum": 0.9}, "--network own normalises by batch"),
        ({"likelihood": "bernoulli"}, "--standardize goes with --likelihood gaussian or own alone"),
    ):
        with pytest.raises(UsageError, match=words):
            resolve(given)
    assert resolve({"likelihood": "own"}).standardize  # the preset of gmm says so
    with pytest.raises(UsageError, match="network 'own' normalises by batch"):
        kvae.build_vae((3,), network="own", prior="own")
    with pytest.raises(UsageError, match="needs at least 3 latent dimensions, received 2"):
        check_density({"own": DensityMember("", dict, least_latent_dim=3)}, "own", 2)


def test_one_name_with_two_meanings_among_the_chosen_parts_is_refused(monkeypatch):
    for registry, name in ((NETWORKS, "one"), (PRIORS, "two")):
        option = Option("shared_name", len(registry), name, COUNT)
        monkeypatch.setitem(registry, name, Member("", dict, (option,)))
    with pytest.raises(UsageError, match="different options 'shared_name'"):
        resolve({"network": "one", "prior": "two"})


def test_an_option_that_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(
        UsageError, match=r"unknown option 'hiden_units': did you mean hidden_units\?"
    ):
        kvae.build_vae((3,), hiden_units=(8,))
    with pytest.raises(
        UsageError, match=r"^unknown option 'lattent_dim': did you mean --latent-dim\?$"
    ):
        resolve({"lattent_dim": 3})
    with pytest.raises(UsageError, match=r"unknown option 'qqq': choose one of dataset, "):
        resolve({"qqq": 3})
    with pytest.raises(UsageError, match="unknown option 'kl_warmup_epochs'"):
        kvae.build_vae((3,), kl_warmup_epochs=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden_units": (8, 0)}, "hidden_units takes whole numbers of at least 1"),
        ({"hidden_units": 8}, "hidden_units takes whole numbers"),
        ({"linear_path": "no"}, "linear_path takes yes or no"),
        ({"width": 12, "network": "resnet"}, "width takes a multiple of 8"),
        ({"variance": 0}, "variance takes a positive number from .*, shared"),
        ({"prior_components": 2.5, "prior": "mixture"}, "prior_components takes a whole number"),
        ({"beta": float("nan")}, "beta takes a number of at least 0"),
        ({"kl_warmup_steps": float("inf")}, "kl_warmup_steps takes a whole number"),
    ],
)
def test_values_from_python_are_read_as_those_of_the_command_line(options, words):
    with pytest.raises(UsageError, match=words):
        kvae.build_vae((3,), **options)


@pytest.mark.parametrize(
    "given", [{"variance": SMALLEST, "beta": LARGEST}, {"variance": LARGEST, "tc_weight": LARGEST}]
)
def test_training_at_the_ends_of_the_ranges_stays_finite(given):
    vae = kvae.build_vae((3,), latent_dim=2, hidden_units=(4,), **given)
    vae.compile("adam")
    vae.fit(np.random.default_rng(0).normal(size=(32, 3)), batch_size=8, epochs=2, verbose=0)
    for weight in (*vae.weights, *vae.optimizer.variables):
        assert np.isfinite(keras.ops.convert_to_numpy(weight)).all(), weight.path


def test_numbers_of_numpy_are_numbers():
    vae = kvae.build_vae((3,), latent_dim=2, hidden_units=np.array([4]), beta=np.float32(2))
    assert vae.encoder.layers[2].units == 4
    assert vae.objective.beta == 2.0
    with pytest.raises(ValueError):
        SWITCH.read(1)


def test_what_a_preset_says_of_other_parts_is_left_out():
    config = resolve({"dataset": "arrays", "network": "resnet", "likelihood": "bernoulli",
                      "standardize": False})  # fmt: skip
    assert not {"hidden_units", "variance"} & {*config.to_dict()}
    assert resolve({}, "arrays").hidden_units == (128,) * 3


def test_epochs_of_a_schedule_become_steps_and_all_else_stays():
    config = resolve({"kl_warmup_epochs": 3, "beta": 2})
    told = start._model_options(config, 7)
    assert (told["kl_warmup_steps"], told["beta"]) == (21, 2.0)
    assert told["linear_path"] is True
    assert "kl_warmup_epochs" not in told


def test_a_run_is_deeper_than_what_python_builds_unless_told():
    assert resolve({}).hidden_units == (64,) * 4
    dense = [
        layer.units for layer in kvae.build_vae((3,)).encoder.layers if hasattr(layer, "units")
    ]
    assert list(itertools.takewhile(lambda units: units == 64, dense)) == [64, 64]
