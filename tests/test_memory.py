"""The least memory that a training needs: counted as parts are built, and held against limits."""

import itertools
import math
import os

import numpy as np
import pytest

from kvae import memory
from kvae.build import build_vae
from kvae.config import MODEL_PARTS, resolve
from kvae.errors import UsageError
from kvae.likelihoods import LEARNED_VARIANCES, LIKELIHOODS
from kvae.likelihoods import facts as likelihood_facts
from kvae.networks import NETWORKS
from kvae.networks import facts as network_facts
from kvae.options import arguments
from kvae.priors import PRIORS
from kvae.priors import facts as prior_facts
from kvae.probability.posteriors import POSTERIORS
from kvae.probability.posteriors import facts as posterior_facts
from kvae.registry import find
from kvae.training.limits import check_memory, check_steps

SHAPES = {"mlp": (5,), "conv": (9, 17, 2), "conv-large": (8, 8, 1), "resnet": (20, 12, 3)}
OPTIONS = {
    "mlp": ({"hidden_units": (7,), "linear_path": True},
            {"hidden_units": (7, 4, 9), "linear_path": False}),
    "resnet": ({"width": 8, "depth": 1}, {"width": 16, "depth": 2}),
}  # fmt: skip
NETWORK_CASES = [(name, own) for name in NETWORKS for own in OPTIONS.get(name, ({},))]


@pytest.mark.parametrize(("name", "own"), NETWORK_CASES, ids=str)
def test_the_weights_of_networks_are_counted_exactly(name, own):
    part = find(NETWORKS, name, "network")
    *places, channels = shape = SHAPES[name]
    latents, params, outputs, condition = 3, 7, 2 * channels, 2
    encoder = part.encoder((*places, channels + condition), latents, params, dtype="float32", **own)
    decoder = part.decoder(latents + condition, shape, outputs, dtype="float32", **own)
    counted = network_facts(name).parameters(shape, latents, params, outputs, condition, **own)
    assert counted == encoder.count_params() + decoder.count_params()


def test_a_network_that_is_all_head_is_counted_too():
    part = find(NETWORKS, "resnet", "network")
    own = {"width": 8, "depth": 2}
    nets = (
        part.encoder((8, 8, 1), 2, 4, dtype="float32", **own),
        part.decoder(2, (8, 8, 1), 1, dtype="float32", **own),
    )
    counted = network_facts("resnet").parameters((8, 8, 1), 2, 4, 1, 0, **own)
    assert counted == sum(net.count_params() for net in nets)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize(
    ("name", "blocks"), [*zip(PRIORS, itertools.repeat(1), strict=False), ("flow", 0), ("flow", 2)]
)
def test_the_weights_of_priors_are_counted_exactly(name, blocks, dim):
    values = {"prior_components": 4, "flow_layers": 3, "flow_units": 7, "flow_blocks": blocks}
    own = arguments(PRIORS[name].options, values)
    prior = find(PRIORS, name, "prior").make(seed=0, **own)
    prior.connect(lambda x: x, (3,))
    prior.build((None, dim))
    assert prior_facts(name).parameters(dim, (3,), **own) == prior.count_params()
    turns = np.size(getattr(prior, "_turns", ()))
    assert prior_facts(name).constants(dim, (3,), **own) == turns


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_outputs_of_likelihoods_are_counted_exactly(name):
    of_options = {
        "gaussian": [{"variance": variance} for variance in (0.5, *LEARNED_VARIANCES)],
        "discretized-logistic": [{"num_components": count} for count in (1, 5)],
    }
    for own, channels in itertools.product(of_options.get(name, [{}]), (1, 3)):
        likelihood = find(LIKELIHOODS, name, "likelihood")(**own)
        counted = likelihood_facts(name).num_outputs(channels, **own)
        assert counted == likelihood.num_outputs(channels)


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_parameters_of_posteriors_are_counted_exactly(name):
    for dim in (1, 2, 9):
        part = find(POSTERIORS, name, "posterior")
        assert posterior_facts(name).num_params(dim) == part.num_params(dim)


@pytest.mark.parametrize(
    ("prior", "likelihood"), [*zip(PRIORS, itertools.cycle(LIKELIHOODS), strict=False)]
)
def test_a_model_has_hardly_more_weights_than_are_counted(prior, likelihood):
    shape = (8, 8, 1)
    names = {"network": "conv", "likelihood": likelihood, "prior": prior, "objective": "elbo"}
    options = {"prior_components": 3} if prior in ("mixture", "vamp") else {}
    if prior == "flow":
        options = {"flow_layers": 2, "flow_units": 8, "flow_blocks": 1}
    vae = build_vae(shape, latent_dim=4, condition_dim=2 if prior != "vamp" else 0,
                    posterior="full", **names, **options)  # fmt: skip
    values = {"variance": "shared", "logistic_components": 1, **options}
    own = {kind: arguments(MODEL_PARTS[kind][part].options, values) for kind, part in names.items()}
    known = memory.Model(shape, 4, {**names, "posterior": "full"}, own, vae.condition_dim)
    assert 0.9 * vae.count_params() <= known.parameters <= vae.count_params()


@pytest.mark.parametrize(("averages", "copies"), [(False, 5), (True, 6)])
def test_training_holds_weights_gradients_two_moments_and_the_best_weights(
    averages, copies, monkeypatch
):
    monkeypatch.setattr(memory, "has_accelerator", lambda: False)
    names = {"network": "mlp", "likelihood": "gaussian", "prior": "standard_normal",
             "posterior": "diagonal"}  # fmt: skip
    own = {"network": OPTIONS["mlp"][0], "likelihood": {"variance": 1.0}, "prior": {}}
    known = memory.Model((5,), 3, names, own)
    of_batch = 4 * (10 * 6 + 10 * 2 * (3 + 5))  # posteriors, then latents and means of two draws
    needed = known.training(10, draws=2, averages=averages)
    assert sum(needed.values()) == copies * 4 * known.parameters + of_batch


@pytest.fixture
def limited(monkeypatch):
    """Let a process use so many bytes, on a machine without an accelerator."""

    def limit(size):
        found = None if size is None else memory.Limit(size, "a test's limit")
        monkeypatch.setattr(memory, "usable", lambda: found)
        monkeypatch.setattr(memory, "has_accelerator", lambda: False)

    return limit


def _check(rows=1000, shape=(3,), condition_dim=0, **given):
    config = resolve({"posterior": "diagonal", "prior": "standard_normal", **given})
    dim = config.latent_dim or math.prod(shape)
    check_memory(config, shape, rows, latent_dim=dim, condition_dim=condition_dim)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"latent_dim": 10**7}, "--latent-dim 10000000: "),
        ({"hidden_units": (10**4, 10**5)}, "--hidden-units 10000,100000: "),
        ({"prior": "mixture", "prior_components": 10**6, "latent_dim": 30}, "--prior-components "),
        ({"objective": "iwae", "iwae_draws": 10**6}, "--iwae-draws 1000000: "),
        ({"batch_size": 10**9, "rows": 10**9}, "--batch-size 1000000000: "),
        ({"prior": "flow", "latent_dim": 10**5}, "--latent-dim 100000: "),
        ({"sampler": "flow", "latent_dim": 10**5}, "--latent-dim 100000: "),
        ({"prior": "flow", "flow_units": 10**5, "latent_dim": 4}, "--flow-units 100000: "),
        (
            {"latent_dim": 10**7, "hidden_units": (10**5, 10**5), "sampler": "none"},
            "--hidden-units 100000,100000 and --latent-dim 10000000: ",
        ),
        (
            {"shape": (10**7,), "hidden_units": (100,), "latent_dim": 2, "variance": "shared"},
            "x of shape",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_in_memory_is_refused_by_the_name_of_its_option(given, named, limited):
    limited(10**9)
    with pytest.raises(UsageError, match=f"^{named}") as error:
        _check(**given)
    assert "this process may use 1.0 GB, a test's limit" in str(error.value)
    limited(10**16)
    _check(**given)
    limited(None)
    _check(**given)


def test_what_is_usual_needs_next_to_nothing(limited):
    limited(10**7)
    _check()


def test_of_no_training_only_the_model_and_its_sampler_are_counted(limited):
    limited(10**9)
    given = {"init_from": "saved/x", "hidden_units": (10**4, 10**4)}  # 0.8 GB of weights
    _check(epochs=0, **given)
    with pytest.raises(UsageError, match="--hidden-units"):
        _check(epochs=1, **given)
    with pytest.raises(UsageError, match="--hidden-units"):
        _check(epochs=0, **given | {"hidden_units": (10**4, 10**5)})


def test_of_an_accelerator_only_what_stays_here_is_counted(limited, monkeypatch):
    limited(10**9)
    monkeypatch.setattr(memory, "has_accelerator", lambda: True)
    _check(hidden_units=(10**4, 10**4))  # 0.8 GB of weights
    with pytest.raises(UsageError, match=r"the best weights 8\.0 GB"):
        _check(hidden_units=(10**4, 10**5))


def test_python_refuses_a_model_too_large_before_it_is_built(limited):
    limited(10**6)
    with pytest.raises(UsageError, match=r"latent_dim 1000000, hidden_units .*0\.8 GB"):
        build_vae((3,), latent_dim=10**6)


def test_the_limit_is_of_this_machine_and_of_its_process(monkeypatch):
    machine = memory.usable()
    assert machine is None or machine.size > 10**8
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10**6, 10**9))
    assert memory.usable() == memory.Limit(10**6, "ulimit -v")


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"memory.max": "max"}, None),
        ({"memory.max": "5000", "memory.swap.max": "0"}, 5000),
        ({"a/memory.max": "max", "memory.max": "7000", "memory.swap.max": "500"}, 7500),
        ({"a/memory.max": "100", "a/memory.swap.max": "1", "memory.max": "7000"}, 101),
    ],
    ids=str,
)
def test_the_limit_of_a_container_is_read(files, wanted, monkeypatch):
    texts = {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}
    texts |= {"/proc/self/cgroup": "0::/a\n", "/proc/meminfo": "SwapTotal: 0 kB\n"}
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(path.as_posix(), ""))
    found = memory._of_group()
    assert (found and found.size) == wanted


def test_where_a_system_tells_nothing_nothing_is_refused(monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setattr(memory, "_of_group", lambda: None)
    monkeypatch.setattr(memory, "_of_addresses", lambda: None)
    assert memory.usable() is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": 2**31 - 1}, "--epochs must be at most 214748364 with epochs of 10 steps"),
        ({"kl_warmup_epochs": 2**31 - 1}, "--kl-warmup-epochs must be at most 214748364"),
        ({"kl_cycle_epochs": 1, "batch_size": 1000}, "--kl-cycle-epochs: a cycle has at least 2"),
    ],
    ids=str,
)
def test_steps_that_nothing_counts_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        check_steps(resolve({"batch_size": 100, **given}), 1000)


def test_as_many_steps_as_are_counted_pass():
    check_steps(resolve({"batch_size": 100, "epochs": 214748364}), 1000)
    check_steps(resolve({"batch_size": 500, "kl_cycle_epochs": 1}), 1000)
