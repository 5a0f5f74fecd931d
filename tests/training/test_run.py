import csv
import io
import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import few_signatures, small_mixtures

import kvae
from kvae import cli, data, options
from kvae.config import resolve
from kvae.data import Dataset, Split
from kvae.data.rows import standardisation
from kvae.errors import DEBUGGING, DataError, IncompleteError, KvaeError, UsageError
from kvae.probability.noise import SeededNoise
from kvae.samplers import mixture
from kvae.saying import silence
from kvae.serving import versions
from kvae.training import dry_run, init_from, preflight, run, sampler_fitting, start
from kvae.training.attributes import attribute_directions
from kvae.training.keeping import best_weights, comparing
from kvae.training.watching import announcement, glance

ROOT = Path(__file__).parents[2]
#: Parts of small graphs: the evaluation's tests train those of the preset.
QUICK = {
    "epochs": 2, "batch_size": 5000, "hidden_units": "8", "sampler": "none",
    "prior": "standard_normal", "posterior": "diagonal", "variance": "shared",
}  # fmt: skip


def _train(save, preset="gmm", **given):
    quick = {**QUICK, "jit_compile": False} if preset.endswith("gmm") else {"epochs": 1}
    return run.train(_config(quick, {"save": str(save), **given}, preset))


def _config(quick, given, preset=None):
    """The given options, and of the quick ones those that apply."""
    known = resolve(given, preset).to_dict()
    return resolve({**{name: quick[name] for name in quick if name in known}, **given}, preset)


def _diverge(save, **extreme):
    """Train with values that are refused for what they do."""
    config = _config({**QUICK, "jit_compile": False}, {"save": str(save)})
    with mock.patch.object(options, "LARGEST", 1e38):
        return run.train(config.replaced(**extreme))


def _fit(folder, **given):
    """As `_train`, without publishing."""
    config = _config({**QUICK, "jit_compile": False}, {"save": str(folder), **given})
    with preflight.alone_in_folder(config) as run_folder:
        return run.fit(config, run_folder)


def _keeper(config):
    rows = Split(np.zeros((1, 2), "float32"))
    return best_weights.BestWeights(config, Dataset("vectors", rows, rows, rows))


def _weights(version):
    return kvae.load_model(version.path / versions.KERAS_MODEL).get_weights()


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode", "generate"), small_mixtures():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def told(saved):
    """A version, and what was said on the way to it."""
    text = io.StringIO()
    with redirect_stdout(text):
        return _train(saved), text.getvalue()


@pytest.fixture(scope="module")
def first(told):
    return told[0]


def test_a_run_publishes_its_configuration_history_and_data_card(first, saved):
    assert first == (saved / "gmm" / "1", "gmm", 1)
    metadata = versions.read_metadata(first)
    assert metadata["config"]["epochs"] == 2
    assert metadata["config"]["dataset"] == "gmm"
    assert len(metadata["data_card"]["mixture"]["weights"]) == 10
    history = metadata["history"]
    assert len(history["val_elbo"]) == 2
    with (versions.training_folder(saved, "gmm") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_elbo"]) for row in rows] == pytest.approx(history["val_elbo"])


def test_it_says_what_it_does_and_what_to_type_next(told):
    version, text = told
    assert "5,000 train, 1,000 valid, 1,000 test" in text
    assert f"published {version.path}" in text
    assert text.rstrip().endswith(f"kvae evaluate --model {version.path}")


def test_two_runs_with_one_seed_agree_to_the_bit(first, tmp_path):
    again = _fit(tmp_path)
    for ours, theirs in zip(again.vae.get_weights(), _weights(first), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history == versions.read_metadata(first)["history"]


def test_another_seed_gives_another_model(first, tmp_path):
    assert _fit(tmp_path, seed=1).history != versions.read_metadata(first)["history"]


def test_the_best_epoch_is_published_not_the_last(tmp_path, monkeypatch):
    """Validation data far from the training data look worse with every epoch."""
    rng = np.random.default_rng(0)
    near = rng.normal(0.0, 0.1, size=(3000, 2)).astype("float32")
    away = rng.normal(1.0, 0.1, size=(3000, 2)).astype("float32")
    dataset = Dataset("vectors", Split(near), Split(away), Split(near))
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    options = {"batch_size": 100, "epochs": 8, "standardize": False, "learning_rate": 0.03}
    fitted = _fit(tmp_path, **options)
    history = fitted.history["val_elbo"]
    assert max(history) > history[-1] + 1.0
    found = np.mean(fitted.vae.log_weight(away, SeededNoise(np.arange(len(away)))))
    assert found == pytest.approx(max(history), abs=0.4)


@pytest.mark.parametrize("source", ["version", "keras", "weights"])
def test_going_on_starts_where_the_other_run_ended(first, saved, tmp_path, source):
    path = {
        "version": first.path,
        "keras": first.path / versions.KERAS_MODEL,
        "weights": tmp_path / "some.weights.h5",
    }[source]
    if source == "weights":
        kvae.load_model(first.path / versions.KERAS_MODEL).save_weights(path)
    # An epoch of one source: what has none starts there too, and traces no step.
    epochs = int(source == "version")
    fitted = _fit(tmp_path, init_from=str(path), learning_rate=1e-9, epochs=epochs)
    before = kvae.load_model(first.path / versions.KERAS_MODEL).step
    fitted.vae.step.assign(before)
    for ours, theirs in zip(fitted.vae.get_weights(), _weights(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_going_on_keeps_the_units_that_the_weights_were_trained_in(first, tmp_path):
    options = {"init_from": str(first.path), "epochs": 0, "gmm_seed": 5}
    ours = _fit(tmp_path, **options).vae
    theirs = kvae.load_model(first.path / versions.KERAS_MODEL)
    np.testing.assert_array_equal(ours.shift, theirs.shift)
    np.testing.assert_array_equal(ours.scale, theirs.scale)


@pytest.mark.parametrize(
    "given",
    [{"latent_dim": 2}, {"prior": "mixture"}, {"hidden_units": "9"}, {"variance": "0.1"}],
)
@pytest.mark.parametrize("kind", ["keras", "weights"])
def test_weights_that_do_not_fit_are_refused(first, tmp_path, given, kind):
    path = first.path
    if kind == "weights":
        path = tmp_path / "some.weights.h5"
        kvae.load_model(first.path / versions.KERAS_MODEL).save_weights(path)
    with pytest.raises(UsageError, match="do not fit"):
        _fit(tmp_path, init_from=str(path), **given)


@pytest.mark.parametrize("content", [b"", b"not a model"])
@pytest.mark.parametrize("name", ["x.keras", "x.weights.h5"])
def test_a_file_that_is_no_model_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{name} is not a .* file, or damaged"):
        _fit(tmp_path, init_from=str(path))


def test_a_loss_that_is_not_finite_publishes_nothing(tmp_path):
    with pytest.raises(run.TrainingError, match="learning-rate"):
        _diverge(tmp_path, learning_rate=1e30)
    assert versions.versions(tmp_path / "gmm") == []


def test_a_value_far_down_that_the_likelihood_is_not_for_is_refused(tmp_path, monkeypatch):
    x = np.zeros((1500, 8, 8, 1), "uint8")
    x[1400, 3, 3] = 7
    dataset = Dataset("images", Split(x), Split(x[:100]), Split(x[:100]))
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    with pytest.raises(UsageError, match=r"bernoulli .* it is for 0 and 1 alone"):
        _fit(tmp_path, dataset="digits", likelihood="bernoulli", network="conv")


def test_an_empty_split_is_refused(tmp_path, monkeypatch):
    x = np.ones((5, 3), "float32")
    empty = Dataset("vectors", Split(x), Split(x[:0]), Split(x))
    monkeypatch.setattr(data, "load", lambda *_, **__: empty)
    with pytest.raises(DataError, match="valid split"):
        _train(tmp_path)


def test_a_constant_feature_cannot_be_standardised(tmp_path, monkeypatch):
    x = np.ones((50, 3), "float32")
    x[:, 0] = np.arange(50)
    monkeypatch.setattr(
        data, "load", lambda *_, **__: Dataset("vectors", Split(x), Split(x), Split(x))
    )
    with pytest.raises(DataError, match=r"column 2: the same .* value 1 in .*\(2 such columns"):
        _train(tmp_path)


def test_one_name_has_one_training_at_a_time(tmp_path):
    config = resolve({**QUICK, "save": str(tmp_path)})
    with (
        preflight.alone_in_folder(config),
        pytest.raises(UsageError, match="another training"),
        preflight.alone_in_folder(config),
    ):
        pytest.fail("two trainings at once")
    with preflight.alone_in_folder(config), pytest.raises(UsageError, match="another training"):
        preflight.check(config)  # before data are read and TensorFlow is imported
    with preflight.alone_in_folder(config):
        pass


def test_standardising_uses_the_train_split_in_float64():
    x = np.random.default_rng(0).normal(1e6, 3.0, size=(4000, 2)).astype("float32")
    mean, stddev = standardisation(x)
    np.testing.assert_allclose(mean, 1e6, atol=0.3)
    np.testing.assert_allclose(stddev, 3.0, rtol=0.05)


@pytest.mark.parametrize("mode", ["float16", "bfloat16"])
def test_mixed_precision_trains_and_is_served_in_float32(tmp_path, mode):
    plain = {"prior": "standard_normal", "sampler": "none"}
    version = _train(tmp_path, "digits", mixed_precision=mode, **plain)
    metadata = versions.read_metadata(version)
    assert np.isfinite(metadata["history"]["val_elbo"]).all()
    # What is served was measured, with the same noise: near to what training saw, and not that.
    best, served = metadata["course"]["best"], metadata["course"]["in_float32"]
    assert best["figure"] == "elbo" and best["value"] != served["elbo"]
    np.testing.assert_allclose(served["elbo"], best["value"], rtol=0.02)
    model = tf.saved_model.load(str(version.path))
    out = model.signatures["generate"](seed=tf.range(2, dtype=tf.int64))["sample"]
    assert out.dtype == tf.float32


def test_a_dry_run_describes_and_publishes_nothing(tmp_path, capsys):
    dry_run.dry_run(resolve({"save": str(tmp_path), "epochs": 7}, "digits"))
    text = capsys.readouterr().out
    assert "latent_dim" in text and "learning_rate" in text
    assert "conv2d" in text
    assert "an epoch of 19 steps takes about" in text
    assert "7 epochs" in text
    count = kvae.build_vae((8, 8, 1), latent_dim=16, network="conv", prior="mixture").count_params()
    assert f"parameters: {count:,}" in text
    assert not list(tmp_path.rglob("*.pb"))


def test_json_of_a_version_is_strict(first):
    text = (first.path / versions.METADATA).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# Fitting the latent density afterwards


def _curved(count, seed):
    """Points on a bent line: no Gaussian fits them."""
    rng = np.random.default_rng(seed)
    along = rng.normal(size=count)
    return np.stack([along, along**2 + 0.1 * rng.normal(size=count)], axis=1).astype("float32")


@pytest.fixture(scope="module")
def _with_sampler(tmp_path_factory):
    dataset = Dataset("vectors", *(Split(_curved(3000, seed)) for seed in range(3)))
    options = {"sampler": "mixture", "prior": "standard_normal", "epochs": 20, "batch_size": 300}
    folder = tmp_path_factory.mktemp("sampler")
    with mock.patch.object(mixture, "_COUNTS", (1, 5)), _given(dataset):
        return _train(folder, **options, standardize=False), folder, dataset


def _given(dataset):
    """A run trains on these data, whatever it is told."""
    return mock.patch.object(data, "load", lambda *_, **__: dataset)


@pytest.fixture
def with_sampler(_with_sampler):
    """A version with a sampler, its folder and data; what a test trains has these data too."""
    with _given(_with_sampler[2]):
        yield _with_sampler


def test_a_sampler_is_fitted_and_published(with_sampler):
    version, _, dataset = with_sampler
    assert versions.read_metadata(version)["sampler"] == "mixture"
    vae = kvae.load_model(version.path)
    assert vae.has_sampler
    assert not vae.with_sampler(None).has_sampler
    x = dataset.test.x
    draws = vae.posterior(x).sample(SeededNoise(np.arange(len(x))), "posterior")
    assert np.mean(vae.sampler.log_prob(draws)) > np.mean(vae.prior.log_prob(draws)) + 0.05


def test_going_on_leaves_the_old_sampler_behind(with_sampler, tmp_path):
    version, _, _ = with_sampler
    options = {"prior": "standard_normal", "standardize": False, "learning_rate": 1e-9}
    vae = kvae.load_model(version.path)
    vae.save_weights(tmp_path / "some.weights.h5")
    for epochs, source in enumerate((tmp_path / "some.weights.h5", version.path)):
        fitted = _fit(tmp_path, init_from=str(source), **options, epochs=epochs)
        assert not fitted.vae.has_sampler
        fitted.vae.step.assign(vae.step)
        for ours, theirs in zip(
            fitted.vae.get_weights(), vae.with_sampler(None).get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_importance_weighted_objective_trains_and_keeps_its_best_bound(tmp_path):
    fitted = _fit(tmp_path, objective="iwae", iwae_draws=3)
    assert fitted.vae.objective.kind == "iwae"
    history = fitted.history
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert (np.array(history["val_loss"]) <= -np.array(history["val_elbo"]) + 1e-6).all()


@pytest.mark.parametrize(
    ("figure", "values", "expected"),
    [("elbo", [-5.0, -6.0, -4.0], [0, 0, 2]), ("loss", [5.0, 6.0, 4.0], [0, 0, 2])],
)
def test_the_best_weights_are_those_of_the_figure(figure, values, expected):
    kept = _keeper(resolve({"beta": 1 if figure == "elbo" else 2}))
    vae = kvae.build_vae((2,), latent_dim=1)
    kept.set_model(vae)
    weights = [np.full_like(w, 0.0) for w in vae.get_weights()]
    best = []
    for epoch, value in enumerate(values):
        vae.set_weights([w + epoch for w in weights])
        kept.on_epoch_end(epoch, {f"val_{figure}": value})
        best.append(kept.weights[0].flat[0])
    assert best == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"beta": 6.0}, [0, 1, 2, 3, 4]),
        ({"kl_warmup_epochs": 3}, [0, 1, 2, 3, 4]),
        ({"kl_cycle_epochs": 4}, [0, 1, 2, 3, 4]),
        ({"beta": 6.0, "kl_warmup_epochs": 3}, [3, 4]),
        ({"free_bits": 0.1, "kl_warmup_epochs": 3}, [3, 4]),
        ({"beta": 6.0, "kl_warmup_epochs": 5}, []),
        ({"beta": 6.0, "kl_cycle_epochs": 4}, [2, 3]),
        ({"tc_weight": 6.0, "kl_cycle_epochs": 3}, [2]),
        ({"beta": 6.0, "kl_cycle_epochs": 2}, [1, 3]),
        ({"beta": 6.0, "kl_cycle_epochs": 1}, [0, 1, 2, 3, 4]),
    ],
    ids=str,
)
def test_epochs_of_another_goal_than_the_last_do_not_count(options, expected):
    config = resolve({"posterior": "diagonal", "prior": "standard_normal", **options})
    counts = best_weights.counts_of(config)
    assert [epoch for epoch in range(5) if counts(epoch)] == expected


@pytest.mark.parametrize(
    ("warmup", "expected"),
    # The ELBO is best in the middle of the warm-up, the loss of full beta at the end; a run that
    # never gets there keeps the best ELBO.
    [(2, [0, 1, 2, 2, 4]), (9, [0, 1, 1, 1, 1])],
)
def test_a_warm_up_to_another_beta_is_not_published(warmup, expected):
    config = resolve({"beta": 6.0, "kl_warmup_epochs": warmup})
    kept = _keeper(config)
    vae = kvae.build_vae((2,), latent_dim=1)
    kept.set_model(vae)
    best = []
    figures = zip([-9.0, -3.0, -5.0, -6.0, -7.0], [1.0, 4.0, 9.0, 9.5, 8.0], strict=True)
    for epoch, (elbo, loss) in enumerate(figures):
        vae.set_weights([np.full_like(weight, epoch) for weight in vae.get_weights()])
        kept.on_epoch_end(epoch, {"val_elbo": elbo, "val_loss": loss})
        best.append(kept.weights[0].flat[0])
    assert best == expected


def test_a_sampler_that_fails_does_not_lose_the_training(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KvaeError("no such luck")

    monkeypatch.setattr(sampler_fitting, "find", lambda *_: fail)
    with pytest.raises(IncompleteError, match=r"without its sampler \(no such luck\)") as error:
        _train(tmp_path, sampler="flow", epochs=1)
    assert versions.read_metadata(error.value.made)["sampler"] == "none"


def test_weights_that_mean_something_else_are_refused(ppca, tmp_path):
    one = kvae.build_vae((3,), latent_dim=1)
    one.save(tmp_path / "m.keras")
    other = kvae.build_vae((3,), latent_dim=1, posterior="full")
    assert [w.shape for w in one.weights] == [w.shape for w in other.weights]
    with pytest.raises(UsageError, match="posterior: full here, diagonal there"):
        init_from.read_weights(other, tmp_path / "m.keras")


def test_what_is_kept_with_a_moving_average_is_the_average(tmp_path, monkeypatch):
    """With a momentum near one the average stays where the weights began, though they move."""
    kept, plain = {}, {"prior": "standard_normal", "posterior": "diagonal", "variance": "shared"}
    for momentum in (0.0, 0.999999):
        fitted = _fit(tmp_path, ema_momentum=momentum, epochs=2, **plain)
        kept[momentum] = fitted.vae.encoder.get_weights()
    keras.utils.set_random_seed(0)
    config = _config({**QUICK, "jit_compile": False}, plain)
    first = start.build(config, data.load("gmm"), "float32").encoder.get_weights()
    for name, near in ((0.999999, True), (0.0, False)):
        distance = max(np.abs(a - b).max() for a, b in zip(first, kept[name], strict=True))
        # Keras's average begins with the first step, which moves a weight by 0.003.
        assert (distance < 3.5e-3) == near


def test_the_optimal_variance_is_that_of_the_kept_weights(tmp_path):
    fitted = _fit(
        tmp_path, variance="optimal", posterior="diagonal", prior="standard_normal", epochs=2
    )
    vae, x = fitted.vae, data.load("gmm").train.x[:20_000]
    draws = vae.posterior(x).sample(SeededNoise(np.arange(len(x))), "posterior")
    error = np.square((x - np.asarray(vae.decode(draws).mean())) / vae.scale).mean()
    assert float(vae.likelihood.current_variance()) == pytest.approx(error, rel=0.03)
    assert fitted.history["val_stddev"][-1] ** 2 < 0.95 * error  # the moving average lags behind


@pytest.mark.parametrize(
    ("options", "figure"),
    [
        ({}, "elbo"), ({"kl_warmup_epochs": 1}, "elbo"), ({"kl_cycle_epochs": 2}, "elbo"),
        ({"objective": "iwae"}, "loss"), ({"beta": 4.0}, "loss"), ({"beta": 0.5}, "loss"),
        ({"tc_weight": 3.0}, "loss"), ({"free_bits": 0.1}, "loss"),
        ({"tc_weight": 3.0, "kl_warmup_epochs": 1}, "loss"),
    ],
)  # fmt: skip
def test_which_figure_says_which_epoch_was_best(options, figure):
    plain = {"posterior": "diagonal", "prior": "standard_normal"}
    assert comparing.chosen_by(resolve({**plain, **options})) == figure


@pytest.mark.parametrize(
    ("options", "is_said"),
    [({"tc_weight": 4.0, "batch_size": 511}, True), ({"tc_weight": 0.0, "batch_size": 32}, True),
     ({"tc_weight": 4.0, "batch_size": 512}, False), ({"batch_size": 32}, False)],
)  # fmt: skip
def test_small_batches_of_a_total_correlation_are_said(options, is_said, capsys):
    said = _announced(capsys, data.load("gmm"), **options)
    assert (f"batches of {options['batch_size']} are too few to tell" in said) == is_said


def _announced(capsys, dataset, **options):
    """What is said before training."""
    plain = {"posterior": "diagonal", "prior": "standard_normal"}
    vae = mock.Mock(element_shape=(3,), latent_dim=3, count_params=lambda: 9)
    announcement.announce(resolve({**plain, **options}), dataset, vae, "float32")
    return " ".join(capsys.readouterr().out.split())


def test_a_run_that_collapses_says_so_and_what_to_do(tmp_path, capsys):
    _train(
        tmp_path, beta=50, epochs=12, batch_size=1000, learning_rate=0.03, variance="0.5",
        posterior="diagonal", prior="standard_normal",
    )  # fmt: skip
    _, _, told = capsys.readouterr().out.partition("\npublished ")
    lines = told.splitlines()
    assert re.match(r"doctor    on \d+ validation rows", lines[1])
    assert lines[2] == "1. posterior collapse (certain)"
    assert "because beta 50 makes every nat cost 50" in " ".join(told.split())
    assert lines[-1].startswith("next: ")


def test_a_healthy_run_was_looked_at(ppca, capsys):
    x = ppca.sample(3000)
    dataset = Dataset("vectors", *(Split(part) for part in np.split(x, 3)))
    history = {f"{split}{name}": [-5.0] * 9 for split in ("", "val_") for name in ("elbo", "loss")}
    fitted = run.Fitted(resolve({}), ppca.vae(), {}, history, dataset=dataset)
    glance.consult(resolve({"sampler": "none", "variance": "0.3"}), fitted)
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing wrong found; looked for: data out of range, learning rate too high, " in said
    # A sampler that was asked for and could not be fitted is told, too.
    glance.consult(resolve({"sampler": "flow", "variance": "0.3"}), fitted)
    assert "1. dead sampler (certain)" in capsys.readouterr().out


@pytest.mark.parametrize(("weights", "rows"), [(10**9, 20), (10**6, 150), (10, 300)])
def test_a_large_model_is_looked_at_in_few_rows(ppca, weights, rows):
    split = Split(ppca.sample(300))
    dataset = Dataset("vectors", split, split, split)
    model = mock.Mock(count_params=lambda: weights)
    assert glance._rows_of_a_glance(model, dataset) == rows
    few = Dataset("vectors", split, Split(split.x[:9]), split)
    assert glance._rows_of_a_glance(model, few) == 9


def test_what_is_too_little_to_be_looked_at_is_said(ppca, capsys):
    split = Split(ppca.sample(9))
    dataset = Dataset("vectors", split, split, split)
    glance.consult(resolve({}), run.Fitted(resolve({}), ppca.vae(), {}, {}, dataset=dataset))
    assert "NO report: 9 validation rows are too few" in capsys.readouterr().out
    assert "9 test rows are too few for kvae evaluate" in _announced(capsys, dataset)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "elbo, beta 1"),
        ({"beta": 4, "kl_warmup_epochs": 3}, "elbo, beta 4, rising over 3 epochs"),
        ({"kl_cycle_epochs": 5, "free_bits": 0.2}, "in cycles of 5 epochs, 0.2 nats of each"),
        ({"tc_weight": 6}, "total correlation times 6"),
        ({"objective": "iwae", "iwae_draws": 5}, "iwae, iwae draws 5"),
    ],
)
def test_the_objective_is_said(options, said, capsys):
    assert said in _announced(capsys, data.load("gmm"), **options)


def test_a_doctor_that_fails_does_not_lose_the_training(ppca, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(glance, "measure", fail)
    split = Split(ppca.sample(20))
    dataset = Dataset("vectors", split, split, split)
    glance.consult(resolve({}), run.Fitted(resolve({}), ppca.vae(), {}, {}, dataset=dataset))
    assert "NO report: no such luck" in capsys.readouterr().out


def test_labelled_images_get_directions_and_others_none(tmp_path):
    rng = np.random.default_rng(0)
    bright = rng.random(300) < 0.5
    x = (rng.random((300, 8, 8, 1)) * 60 + 150 * bright[:, None, None, None]).astype("uint8")
    split = Split(x, {"Bright": bright, "digit": np.arange(300) % 3})
    vae = kvae.build_vae((8, 8, 1), latent_dim=2, network="conv")
    vae.compile(keras.optimizers.Adam(0.01))
    vae.fit(x, epochs=20, verbose=0)
    found = attribute_directions(vae, Dataset("images", split, split, split), resolve({}))
    assert found.names == ("Bright",)
    assert found.accuracy[0] > 0.95
    moved = np.asarray(vae.encode(x[~bright])[0]) + found.vectors[0]
    before = np.asarray(vae(x[~bright])).mean()
    assert np.asarray(vae.decode(moved).mean()).mean() > before + 0.2
    plain = Split(x, {"digit": np.arange(300) % 3})
    assert attribute_directions(vae, Dataset("images", plain, plain, plain), resolve({})) is None


@pytest.mark.parametrize(
    ("place", "part"),
    [("with_sampler", "its sampler"), ("attribute_directions", "the directions of attributes")],
)
def test_what_fails_after_training_is_done_without_and_the_status_is_3(
    place, part, with_sampler, tmp_path, monkeypatch, capsys
):
    def fail(*_, **__):
        raise TypeError("our own error")

    # Of the data of that version; without epochs no step is traced.
    start = {"init_from": str(with_sampler[0].path), "epochs": 0, "standardize": False}
    monkeypatch.setattr(run, place, fail)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert cli.run(lambda _: _train(tmp_path, **start)) == 3
    (version,) = versions.versions(tmp_path / "gmm")
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert line == (f"error: {version.path} is published without {part} (TypeError: our own error)")
    # Under --debug it is raised, and nothing is published.
    monkeypatch.setattr(sys, "argv", ["train.py", "--debug"])
    with pytest.raises(TypeError, match="our own error"):
        cli.run(lambda _: _train(tmp_path, **start))
    assert versions.versions(tmp_path / "gmm") == [version]


def test_a_doctor_that_fails_is_raised_under_debug(ppca, monkeypatch):
    monkeypatch.setattr(DEBUGGING, "is_on", True)
    monkeypatch.setattr(glance, "measure", mock.Mock(side_effect=RuntimeError("no such luck")))
    split = Split(ppca.sample(20))
    dataset = Dataset("vectors", split, split, split)
    fitted = run.Fitted(resolve({}), ppca.vae(), {}, {}, dataset=dataset)
    with pytest.raises(RuntimeError, match="no such luck"):
        glance.consult(resolve({}), fitted)
    tell = glance.consulting(resolve({}), fitted)  # while the model is published
    with pytest.raises(RuntimeError, match="no such luck"):
        tell()


def test_a_look_that_is_taken_meanwhile_says_the_same_when_it_is_asked(ppca, capsys):
    split = Split(ppca.sample(50))
    fitted = run.Fitted(
        resolve({}), ppca.vae(), {}, {}, dataset=Dataset("vectors", split, split, split)
    )
    tell = glance.consulting(resolve({}), fitted)
    assert capsys.readouterr().out == ""
    tell()
    told = capsys.readouterr().out
    glance.consult(resolve({}), fitted)
    assert told == capsys.readouterr().out and "doctor    on 50 validation rows" in told
    with silence():
        glance.consulting(resolve({}), fitted)()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"learning_rate": 1e30}, "learning rate too high: The learning rate of 1e+30 is high"),
        ({"beta": 1e30}, "Try --beta 1 (in place of 1e+30)"),
    ],
)
def test_a_loss_that_is_not_finite_names_its_cause(given, cause, tmp_path):
    with pytest.raises(run.TrainingError) as error:
        _diverge(tmp_path, **given)
    assert cause in str(error.value)
    assert ("--learning-rate" in str(error.value)) == ("learning_rate" in given)
