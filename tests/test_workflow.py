"""Training, publication and evaluation from Python; what the programs do is tested with them."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from kvae_testing import EVALUATED, few_signatures, make_vae, unpainted

import kvae
from kvae import cli, workflow
from kvae.config import PRESETS, resolve
from kvae.data import load
from kvae.errors import KvaeError, UsageError
from kvae.evaluation import evaluate as evaluation
from kvae.objectives import Elbo
from kvae.options import COUNT, Option
from kvae.priors import PRIORS, Prior
from kvae.probability.schedules import LinearWarmup
from kvae.registry import Member
from kvae.samplers import SAMPLERS
from kvae.serving import versions
from kvae.training import program
from kvae.training.program import arguments
from kvae.training.provenance import known_of

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "own_parts.py"
X = np.random.default_rng(0).normal(size=(120, 3)).astype("float32")
DATA = kvae.Dataset.from_arrays(X, labels={"flag": np.arange(120) % 2 == 0})
QUICK = {"epochs": 1, "hidden_units": (4,), "sampler": "none", "jit_compile": False}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures(*EVALUATED):
        yield


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """What the documented script leaves behind, and where."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        here.setitem(PRESETS["arrays"], "jit_compile", False)  # compiling takes most of the time
        with unpainted():
            return {**runpy.run_path(str(EXAMPLE)), "folder": folder}


@pytest.fixture
def asked(monkeypatch):
    """What `train` would run."""
    found = {}

    def run(config, dataset, **options):
        found.update(config=config, dataset=dataset, **options)
        return SimpleNamespace(trained=SimpleNamespace(missing=()))

    monkeypatch.setattr(workflow, "run", run)
    return found


def _train(**options):
    return kvae.train(DATA, **{**QUICK, **options})


def test_a_script_of_forty_lines_trains_publishes_evaluates_and_shows(example):
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    folder, metrics = example["folder"], example["metrics"]
    assert json.loads((folder / "shown" / "metrics.json").read_text()) == metrics
    assert {"generation.png", "bound.png"} <= {path.name for path in (folder / "shown").iterdir()}
    history = example["vae"].history.history
    assert history["val_elbo"][-1] > history["val_elbo"][0] + 1
    config = versions.read_metadata(versions.find_version(folder / "saved"))["config"]
    assert (config["prior"], config["likelihood"], config["network"]) == (
        "laplace",
        "normal",
        "own",
    )
    assert "laplace" not in PRIORS
    loaded = kvae.load_model(folder / "saved")
    np.testing.assert_allclose(loaded.score(X), example["vae"].score(X), rtol=1e-5)


def test_a_vae_is_measured_as_its_version_is(example):
    settings = {"num_draws": 3, "seed": 1}
    of_vae = kvae.evaluate(example["vae"], example["data"], **settings)
    version = versions.find_version(example["folder"] / "saved")
    of_version = kvae.evaluate(version, example["data"], **settings)
    for name in ("elbo_nats_prior", "log_likelihood_nats_prior", "mse_reconstruction"):
        assert of_vae[name] == pytest.approx(of_version[name], rel=1e-6)
    assert of_vae.keys() == of_version.keys()


def test_evaluate_py_says_how_arrays_of_python_are_measured(example):
    with pytest.raises(UsageError, match=r"kvae.evaluate\(version, dataset\)"):
        evaluation.prepare(str(example["folder"] / "saved"))


def test_other_data_than_those_of_training_are_refused(example):
    version = versions.find_version(example["folder"] / "saved")
    with pytest.raises(UsageError, match="not the data that the model was trained on"):
        kvae.evaluate(version, DATA)
    with pytest.raises(UsageError, match="a dataset is needed"):
        kvae.evaluate(example["vae"])


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, ""),
        ({"epochs": 3, "prior": "vamp", "hidden_units": (8, 8)},
         "--epochs 3 --prior vamp --hidden-units 8,8"),
        ({"preset": "report-gmm", "likelihood": "gaussian", "gmm_components": 4, "name": "n"},
         "--preset report-gmm --likelihood gaussian --gmm-components 4 --name n"),
        ({"output": "else"}, "--save else"),
    ],
)  # fmt: skip
def test_options_are_those_of_the_command_line(asked, given, line):
    kvae.train("gmm", **given)
    assert asked["config"] == arguments(["--dataset", "gmm", *line.split()])[0]
    assert asked["publishes"] == ("output" in given)


def test_a_loaded_dataset_is_the_one_that_its_version_names(asked):
    kvae.train(load("gmm", gmm_components=3, gmm_dim=2), epochs=2)
    assert asked["config"] == resolve(
        {"dataset": "gmm", "gmm_components": 3, "gmm_dim": 2, "epochs": 2}
    )


def test_kvaes_own_objects_are_said_with_their_options(asked):
    _train(
        prior=kvae.priors.Mixture(4), likelihood=kvae.likelihoods.Gaussian("shared"),
        objective=kvae.objectives.Elbo(beta=2.0),
    )  # fmt: skip
    config = asked["config"]
    assert (config.prior, config.prior_components) == ("mixture", 4)
    assert (config.variance, config.beta, config.standardize) == ("shared", 2.0, True)


def _half(step):
    del step
    return 0.5


def test_a_schedule_of_an_object_is_told_in_epochs():
    # 4 steps an epoch: 6 of warm-up are two epochs, begun at least.
    own = Elbo(LinearWarmup(4.0, 6), free_bits=0.1)
    parts = {"objective": own, "prior": "standard_normal", "posterior": "diagonal"}
    vae = _train(**parts, batch_size=24, epochs=2)
    told = {"beta": 4.0, "kl_warmup_epochs": 2, "kl_cycle_epochs": 0, "free_bits": 0.1}
    assert told.items() <= vae.trained.config.items()
    del vae.trained
    assert told.items() <= known_of(vae, None, ()).config.items()
    vae.objective.beta = _half
    assert {"beta": 0.5, "kl_cycle_epochs": 1}.items() <= known_of(vae, None, ()).config.items()


def test_images_of_ones_own_have_the_preset_of_a_folder(asked):
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), np.uint8)
    kvae.train(kvae.Dataset.from_arrays(images))
    assert (asked["config"].network, asked["config"].dataset) == ("conv", "arrays")
    assert asked["config"] == resolve({"dataset": "arrays"}, "folder")


def test_a_model_is_trained_as_it_is():
    vae = make_vae((3,), prior="mixture", prior_components=2)
    means = vae.prior.get_weights()
    options = {name: value for name, value in QUICK.items() if name != "hidden_units"}
    trained = kvae.train(DATA, model=vae, batch_size=20, **options)
    assert trained is vae
    assert int(vae.step) == 4
    assert not all(map(np.array_equal, means, vae.prior.get_weights()))
    assert len(vae.history.history["val_elbo"]) == 1
    assert vae.trained.config["prior"] == "mixture"
    kvae.train(DATA, model=vae, batch_size=20, sampler="mixture", epochs=1)
    assert int(vae.step) == 8


def test_a_prior_that_its_owner_started_is_trained_from_there():
    vae = make_vae((3,), prior="mixture", prior_components=2)
    vae.start_prior(3 * X[:20] + 5)
    started = vae.prior.get_weights()
    options = {name: value for name, value in QUICK.items() if name != "hidden_units"}
    kvae.train(DATA, model=vae, learning_rate=1e-12, **options)
    assert int(vae.step)
    for before, after in zip(started, vae.prior.get_weights(), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_standardize_gives_the_model_the_units_of_the_train_split():
    vae = _train(standardize=True)
    x = np.asarray(DATA.train.x, "float64")
    np.testing.assert_allclose(vae.shift, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(vae.scale, x.std(0), rtol=1e-6)
    built = kvae.build_vae((3,), standardize=DATA.train.x)
    np.testing.assert_array_equal(built.shift, vae.shift)
    np.testing.assert_array_equal(built.scale, vae.scale)
    for given, words in (
        ({"standardize": True}, "takes the train rows"),
        ({"standardize": X[:, :2]}, "received"),
        ({"standardize": X, "shift": 1.0}, "not both"),
        ({"standardize": X, "likelihood": "bernoulli"}, "does not go with"),
    ):
        with pytest.raises(UsageError, match=words):
            kvae.build_vae((3,), **given)


def test_a_model_with_units_of_its_own_is_not_told_to_standardize():
    data = kvae.Dataset.from_arrays(1e6 * X + 3e7)
    vae = kvae.build_vae((3,), latent_dim=2, hidden_units=(4,), shift=[3e7] * 3, scale=1e6)
    metrics = kvae.evaluate(vae, data, num_draws=1)
    assert metrics["rms_x"] == pytest.approx(1.0, rel=0.5)
    assert "data out of range" not in [found["problem"] for found in metrics["findings"]]


@pytest.mark.slow  # the parts are quick
def test_images_of_any_numbers_from_arrays_to_figures(tmp_path):
    x = np.random.default_rng(0).normal(-40, 10, (120, 8, 8, 1)).astype("float32")
    data = kvae.Dataset.from_arrays(x, value_range=None)
    vae = kvae.train(data, epochs=1, latent_dim=2, sampler="none", output=tmp_path / "saved")
    assert vae.value_range is None
    metrics = kvae.evaluate(vae.trained.version, data, tmp_path / "shown", num_draws=1)
    error = np.square(np.asarray(vae(data.test.x)) - data.test.x).mean()
    assert metrics["mse_reconstruction"] == pytest.approx(error, rel=1e-4)
    assert not [name for name in metrics if name.startswith(("psnr", "ssim", "frechet", "recall"))]
    shown = {path.stem for path in (tmp_path / "shown").iterdir()}
    assert {"generation", "reconstruction", "worst", "interpolation", "traversals"} <= shown
    drawn = plt.imread(tmp_path / "shown" / "reconstruction.png")[..., 0]
    assert ((drawn > 0.05) & (drawn < 0.95)).mean() > 0.2  # neither black nor white
    with pytest.raises(UsageError, match="are images of any numbers"):
        kvae.evaluate(vae.trained.version, data, features="pca")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": 0, "prior": "vamp"}, "prior is the model's own"),
        ({"model": 0, "latent_dim": 2}, "latent_dim is the model's own"),
        ({"prior": kvae.objectives.Elbo}, "prior: a name or an object of kvae.priors"),
        ({"prior": 3}, "received int"),
        ({"network": keras.layers.Dense}, r"a pair \(encoder, decoder\)"),
        ({"save": "x"}, "is output"),
        ({"beta": -1}, "--beta takes"),
        ({"epoch": 3}, r"^unknown option 'epoch': did you mean --epochs\?$"),
        ({"split_seed": 3}, "of data that are loaded by name"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(given, words):
    if "model" in given:
        given = {**given, "model": make_vae((3,))}
    with pytest.raises(UsageError, match=words):
        kvae.train(DATA, **given)


def test_a_dataset_is_wanted():
    with pytest.raises(UsageError, match="from_arrays makes one of arrays"):
        kvae.train(X)


def test_a_sampler_is_fitted_drawn_from_and_published(tmp_path):
    vae = make_vae((3,))
    found = kvae.fit_sampler(vae, X, "mixture", seed=1)
    assert found.has_sampler
    assert not vae.has_sampler
    assert not np.array_equal(found.generate(5), vae.generate(5))
    version = kvae.publish_version(found, tmp_path, "m", dataset=DATA)
    metadata = versions.read_metadata(version)
    assert (metadata["sampler"], metadata["data_card"]) == (
        "mixture",
        json.loads(json.dumps(DATA.card)),
    )
    for given, words in (
        ({"sampler": "gauss"}, "choose one of mixture, flow, second-stage, auto"),
        ({"x": X[:5]}, "10 rows at least"),
        ({"x": X[:, :2]}, r"shape \(rows, 3\)"),
        ({"foo": 3}, "unknown option 'foo': there are none here"),
    ):
        with pytest.raises(UsageError, match=words):
            kvae.fit_sampler(vae, **{"x": X, **given})


def test_a_sampler_that_cannot_be_fitted_is_named(monkeypatch):
    def fit(*_, **__):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setitem(
        SAMPLERS, "mine", Member("", lambda: fit, (Option("mine_size", 1, "", COUNT),))
    )
    with pytest.raises(
        KvaeError, match="sampler 'mine' could not be fitted: LinAlgError: singular"
    ):
        kvae.fit_sampler(make_vae((3,)), X, "mine", mine_size=2)
    with pytest.raises(UsageError, match="mine_size takes a whole number"):
        kvae.fit_sampler(make_vae((3,)), X, "mine", mine_size=-1)
    with pytest.raises(UsageError, match="mine_size applies to sampler mine alone"):
        kvae.fit_sampler(make_vae((3,)), X, "mixture", mine_size=2)


class _Normal(Prior):
    """A standard normal that no file can name."""

    kind = "normal-of-mine"

    def log_prob(self, z):
        return keras.ops.sum(-0.5 * keras.ops.square(z) - 0.9189385, axis=-1)

    def sample(self, noise):
        return noise.normal("latent", 2)


@keras.saving.register_keras_serializable("workflow_tests")
class _Scaled(_Normal):
    """Its configuration lacks its argument."""

    def __init__(self, factor):
        super().__init__()


@keras.saving.register_keras_serializable("workflow_tests")
class _Forgetful(_Normal):
    """Its configuration lacks an argument that has a default."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def sample(self, noise):
        return self.factor * noise.normal("latent", 2)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("workflow_tests")
class _FiveTimes(_Forgetful):
    @classmethod
    def make(cls, *, seed):
        return cls(5.0)


@keras.saving.register_keras_serializable("workflow_tests")
class _Seedless(_Normal):
    def sample(self, noise):
        return keras.random.normal((noise, 1))


@keras.saving.register_keras_serializable("workflow_tests")
class _Wide(_Normal):
    def sample(self, noise):
        return noise.normal("latent", 3)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (_Normal(), "Keras does not know the class _Normal: write @keras.saving.register"),
        (_Scaled(2.0), r"_Scaled.*get_config\(\) of a part returns the arguments"),
        (_Forgetful(5.0), r"get_config\(\) draws other samples"),
        (_Seedless(), "generate fails before training: .*the prior's sample"),
        (_Wide(), r"z must be of shape \(rows, 2\), received \(16, 3\)"),
    ],
)
def test_what_could_not_be_published_is_refused_before_training(prior, words, tmp_path):
    vae = make_vae((3,))
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    with pytest.raises(UsageError, match=words):
        kvae.train(
            DATA, network=(vae.encoder, vae.decoder), likelihood=vae.likelihood, prior=prior,
            posterior="diagonal", epochs=1, sampler="none", output=tmp_path, callbacks=[seen],
            jit_compile=False,
        )  # fmt: skip
    assert not epochs


def test_so_is_what_a_program_adds_to_a_registry(tmp_path, monkeypatch):
    monkeypatch.setitem(PRIORS, "mine", Member("its own", lambda: _FiveTimes))
    with pytest.raises(UsageError, match=r"get_config\(\) draws other samples"):
        kvae.train(
            DATA, network="mlp", prior="mine", posterior="diagonal", latent_dim=2, epochs=1,
            sampler="none", output=tmp_path, jit_compile=False,
        )  # fmt: skip


def test_a_part_that_no_file_can_name_is_not_published(tmp_path):
    vae = make_vae((3,))
    own = kvae.VAE(vae.encoder, vae.decoder, vae.likelihood, _Normal())
    with pytest.raises(UsageError, match="Keras does not know the class _Normal"):
        kvae.publish_version(own, tmp_path, "m")


def test_a_conditional_model_is_published_with_its_labels(tmp_path):
    vae = make_vae((3,), condition_dim=1)
    with pytest.raises(UsageError, match="a condition of 1 numbers, the labels make 0"):
        kvae.publish_version(vae, tmp_path, "m", dataset=DATA)
    with pytest.raises(UsageError, match="name must be"):
        kvae.publish_version(vae, tmp_path, "a/b")
    with pytest.raises(UsageError, match="the model takes no condition: received condition flag"):
        kvae.publish_version(make_vae((3,)), tmp_path, "m", condition=("flag",))
    version = kvae.publish_version(vae, tmp_path, "m", dataset=DATA, condition="flag")
    with pytest.raises(UsageError, match="condition is for a VAE"):
        kvae.evaluate(version, DATA, condition=["flag"])
    assert versions.read_metadata(version)["condition"]["names"] == ["flag"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda vae: kvae.train(DATA, model="x"), "a kvae.VAE is wanted, received str"),
        (lambda vae: kvae.evaluate(vae, X), "a kvae.Dataset .* received ndarray"),
        (lambda vae: kvae.evaluate(vae, DATA, num_draws=0), "num_draws takes"),
        (lambda vae: kvae.publish_version("x", "s", "n"), "a kvae.VAE is wanted, received str"),
        (lambda vae: kvae.fit_sampler("x", X), "a kvae.VAE is wanted, received str"),
        (lambda vae: kvae.fit_sampler(vae, X, seed=-1), "seed takes"),
        (
            lambda vae: kvae.publish_version(
                kvae.build_vae((2,), latent_dim=1), "s", "n", dataset=DATA
            ),
            r"dataset: the model takes x of \(2,\), the data have \(3,\)",
        ),
        (
            lambda vae: kvae.train(DATA, objective=kvae.objectives.Elbo(beta=4.0), beta=2.0),
            "beta: the object that was given for its part says it",
        ),
        (
            lambda vae: kvae.train(DATA, network=(vae.encoder, vae.decoder), latent_dim=7),
            "latent_dim: the decoder takes 1, received 7",
        ),
        (
            lambda vae: kvae.train(DATA, network=(vae.decoder, vae.encoder)),
            r"encoder takes \(3,\), the shape of a row; its first takes \(1,\)",
        ),
    ],
)
def test_things_of_another_kind_are_refused_at_once(call, words):
    vae = kvae.build_vae((3,), latent_dim=1, hidden_units=(2,))
    with pytest.raises(UsageError, match=words):
        call(vae)


def test_a_missing_part_is_status_3_on_the_command_line_and_a_warning_from_python(
    monkeypatch, capsys
):
    trained = SimpleNamespace(
        missing=("its sampler (why)",), version=SimpleNamespace(path="saved/n/1")
    )
    monkeypatch.setattr(workflow, "run", lambda *_, **__: SimpleNamespace(trained=trained))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert cli.run(program.main) == 3
    assert "saved/n/1 is published without its sampler (why)" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"the model is without its sampler \(why\)"):
        kvae.train("gmm")
