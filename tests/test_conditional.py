"""Models that are given conditions, from their densities to evaluate.py's figures."""

import json
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import COVER, EVALUATED, Ppca, few_signatures, make_vae, make_x

import kvae
from kvae import publish
from kvae.callbacks import Doctor
from kvae.config import resolve
from kvae.data import Split, digits
from kvae.data.conditions import Column, Conditioned, Conditions, conditioned, conditions_of
from kvae.data.pipeline import shuffled_batches
from kvae.directions import Directions
from kvae.errors import UsageError
from kvae.evaluation import evaluate
from kvae.figures import latent, style
from kvae.objectives.elbo import Elbo
from kvae.objectives.iwae import Iwae
from kvae.priors.mixture import Mixture
from kvae.probability.noise import SeededNoise
from kvae.serving import export, signatures, versions
from kvae.serving.served import ServedModel
from kvae.training import dry_run, init_from, preflight, run
from kvae.training.sampler_fitting import posterior_draws

DIM = 3
PARTS = [tuple("flow" if part == "vamp" else part for part in parts) for parts in COVER]


def _noise(rows):
    return SeededNoise(np.arange(rows))


def _conditions(rows, seed=5):
    return np.random.default_rng(seed).integers(0, 2, (rows, DIM)).astype("float32")


def _make(parts=("mlp", "gaussian", "mixture", "full"), shape=(4,), **options):
    network, likelihood, prior, posterior = parts
    return make_vae(
        shape, network=network, likelihood=likelihood, prior=prior, posterior=posterior,
        condition_dim=DIM, **options,
    )  # fmt: skip


def _pair(vae, rows=6, seed=2):
    x = make_x(vae.element_shape, vae.likelihood.kind, rows=rows, seed=seed)
    return x, _conditions(rows, seed)


@pytest.fixture(scope="module", params=[False, True], ids=["diagonal", "full"])
def ppca(request):
    return Ppca(full=request.param, condition_dim=DIM)


# A conditional linear model: every number has a closed form


def test_every_log_weight_is_the_evidence_given_the_condition(ppca):
    condition = ppca.conditions(50)
    x = ppca.sample(50, condition)
    expected = ppca.log_evidence(x, condition)
    found = ppca.vae().log_weight((x, condition), _noise(50))
    np.testing.assert_allclose(found, expected, atol=4e-4)
    assert np.abs(expected - ppca.log_evidence(x)).min() > 0.01  # the condition matters
    shift, scale = np.array([1.0, 0.0, -3.0, 10.0]), np.array([2.0, 0.1, 5.0, 1.0])
    moved = ppca.vae(shift=shift, scale=scale).log_weight(
        (x * scale + shift, condition), _noise(50)
    )
    np.testing.assert_allclose(moved, expected - np.log(scale).sum(), atol=2e-3)


def test_the_bound_of_training_is_the_evidence_however_x_comes(ppca):
    condition = ppca.conditions(4000)
    x = ppca.sample(4000, condition)
    evidence = ppca.log_evidence(x, condition).mean()
    for objective in (Elbo(), Iwae(8)):
        vae = ppca.vae(objective=objective)
        vae.compile(keras.optimizers.SGD(0.0))
        found = vae.evaluate(x, condition, batch_size=1000, verbose=0, return_dict=True)
        assert found["elbo"] == pytest.approx(evidence, abs=0.05)
    blocks = shuffled_batches(Conditioned(x, condition), 1000, 0, block=True)
    history = vae.fit(blocks, steps_per_epoch=1, verbose=0).history
    assert history["elbo"][0] == pytest.approx(evidence, abs=0.05)


def test_samples_follow_their_conditions(ppca):
    condition = np.array([1.0, -1.0, 0.5], "float32")
    sample = np.asarray(ppca.vae().generate(20_000, condition=condition))
    np.testing.assert_allclose(sample.mean(axis=0), ppca.mean + condition @ ppca.effects, atol=0.07)
    covariance = ppca.loadings @ ppca.loadings.T + ppca.noise
    np.testing.assert_allclose(np.cov(sample.T), covariance, atol=0.15)


def test_posterior_draws_follow_the_prior(ppca):
    condition = ppca.conditions(5000)
    rows = Conditioned(ppca.sample(5000, condition), condition)
    draws = posterior_draws(ppca.vae(), rows, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), 0.0, atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(2), atol=0.08)


def test_the_doctor_measures_pairs():
    ppca = Ppca(condition_dim=DIM)
    condition = ppca.conditions(400)
    x = ppca.sample(400, condition)
    doctor, vae = Doctor((x, condition)), ppca.vae()
    vae.compile(keras.optimizers.SGD(0.0))
    vae.fit(x, condition, verbose=0, callbacks=[doctor])
    evidence = ppca.log_evidence(x, condition).mean()
    assert doctor.metrics["elbo_nats_prior"] == pytest.approx(evidence, abs=0.2)
    assert doctor.metrics["variance_ratio_draw"] == pytest.approx(1.0, abs=0.25)
    with pytest.raises(UsageError, match="pair"):
        vae.fit(x, condition, verbose=0, callbacks=[Doctor(x)])


# Laws of every kind of part


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
def test_conditions_reach_encoder_and_decoder_and_every_weight_learns(parts):
    vae = _make(parts, (8, 8, 1))
    assert (vae.element_shape, vae.latent_dim) == ((8, 8, 1), 2)
    x, condition = _pair(vae, rows=32)
    with tf.GradientTape() as tape:
        terms = vae.elbo_terms((x, condition), _noise(32), training=True)
        loss = tf.reduce_mean(terms.distortion + terms.rate)
    for weight, gradient in zip(
        vae.trainable_variables, tape.gradient(loss, vae.trainable_variables), strict=True
    ):
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(np.asarray(gradient) != 0), weight.path
    z = np.zeros((1, 2), "float32")
    for column in range(DIM):
        off, on = np.zeros((1, DIM), "float32"), np.eye(DIM, dtype="float32")[[column]]
        assert np.abs(vae.encode((x[:1], on))[0] - vae.encode((x[:1], off))[0]).max() > 0
        assert np.abs(vae.decode(z, on).mean() - vae.decode(z, off).mean()).max() > 0


def test_a_condition_is_the_same_at_every_place_and_follows_the_channels():
    vae = _make(("conv", "gaussian", "mixture", "full"), (8, 8, 1))
    x, condition = _pair(vae)
    maps = np.broadcast_to(condition[:, None, None], (6, 8, 8, DIM))
    seen = np.concatenate([x, maps], axis=-1)
    mean = vae._posterior_of_standardised(seen).mean()
    np.testing.assert_allclose(vae.encode((x, condition))[0], mean, atol=1e-6)


def test_saved_and_loaded_gives_the_same_numbers_and_keeps_its_sampler(tmp_path):
    vae = _make(dtype="mixed_bfloat16")
    sampler = Mixture(1)
    sampler.build((None, 2))
    vae = vae.with_sampler(sampler)
    vae.save(tmp_path / "m.keras")
    pair = _pair(vae)
    for again in (kvae.load_model(tmp_path / "m.keras"), export.float32_twin(vae)):
        assert (again.condition_dim, again.has_sampler) == (DIM, True)
        tolerance = 1e-5 if again.dtype_policy.name != "float32" else 0.01
        for found, expected in (
            (again.log_weight(pair, _noise(6)), vae.log_weight(pair, _noise(6))),
            (again.generate(3, condition=pair[1][:3]), vae.generate(3, condition=pair[1][:3])),
        ):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_pairs_come_in_every_way_that_keras_knows():
    vae = _make()
    x, condition = _pair(vae, rows=64)
    expected = vae((x, condition))
    for given in ((x, condition), [x, condition]):
        np.testing.assert_allclose(vae.predict(given, verbose=0), expected, atol=1e-5)
    pairs = tf.data.Dataset.from_tensor_slices((x, condition)).batch(16)
    np.testing.assert_allclose(vae.predict(pairs, verbose=0), expected, atol=1e-5)
    losses = []
    for arguments in ((x, condition.astype("uint8")), (pairs,), ((x, condition),)):
        vae = _make()
        vae.compile(keras.optimizers.SGD(1e-3))
        fitted = vae.fit(
            *arguments, shuffle=False, verbose=0, validation_data=pairs,
            **({} if arguments[0] is pairs else {"batch_size": 16}),
        )  # fmt: skip
        losses.append(fitted.history["val_loss"] + fitted.history["loss"])
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, rtol=1e-6)


def test_halfway_lies_the_mean_of_latents_and_of_conditions():
    vae = _make()
    start, end = _pair(vae, 4, 2), _pair(vae, 4, 3)
    found, latent = vae.interpolate(start, end, 0.25)
    mean = 0.75 * vae.encode(start)[0] + 0.25 * vae.encode(end)[0]
    np.testing.assert_allclose(latent, mean, atol=1e-6)
    between = 0.75 * start[1] + 0.25 * end[1]
    np.testing.assert_allclose(found, vae.decode(mean, between).mean(), atol=1e-6)


def test_what_is_missing_or_too_much_is_said():
    vae, plain = _make(), make_vae((4,))
    x, condition = _pair(vae)
    vae.compile("sgd")
    for call in (
        lambda: vae.encode(x),
        lambda: vae(x),
        lambda: vae.decode(np.zeros((6, 2), "float32")),
        lambda: vae.generate(6),
        lambda: vae.generate(6, condition=condition[:5]),
        lambda: vae.generate(6, condition=condition[:, :2]),
        lambda: vae.decode(np.zeros((6, 2), "float32"), condition[:, :2]),
        lambda: vae.fit(x, verbose=0),
        lambda: vae.fit(x, condition[:, 0], verbose=0),
        lambda: vae.evaluate(x, verbose=0),
        lambda: plain.encode((x, condition)),
        lambda: plain.generate(6, condition=condition),
    ):
        with pytest.raises(UsageError, match="condition"):
            call()
    with pytest.raises(UsageError, match="vamp"):
        make_vae((4,), prior="vamp", condition_dim=2)
    with pytest.raises(UsageError, match="leave nothing beside"):
        kvae.VAE(vae.encoder, vae.decoder, vae.likelihood, vae.prior, condition_dim=9)


# What is served


@pytest.fixture(scope="module", autouse=True)
def _few_draws():
    """The bound takes most of the time."""
    with mock.patch.object(signatures, "NUM_DRAWS", 4):
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    vae = _make()
    folder = tmp_path_factory.mktemp("saved")
    condition = {"labels": list("abc"), "names": list("abc"), "label_of": list("abc")}
    return vae, publish.publish(
        vae, folder, "m", config={}, card={}, history={}, condition=condition
    )


@pytest.fixture(scope="module")
def served(published):
    return ServedModel(published[1], 4)


def test_signatures_answer_what_the_model_does(published, served):
    vae, version = published
    inputs = versions.read_metadata(version)["signatures"]
    x, end = Conditioned(*_pair(vae)), Conditioned(*_pair(vae, 6, 3))
    pair, seed = (x.x, x.condition), np.arange(6)
    given = {"condition": x.condition}
    z = np.asarray(vae.encode(pair)[0])
    fraction = np.full(6, 0.5, "float32")
    weights = [vae.log_weight(pair, SeededNoise(seed, k)) for k in range(signatures.NUM_DRAWS)]
    answers = {
        "serving_default": (served.call("serving_default", x=x)["reconstruction"], vae(pair)),
        "encode": (served.call("encode", x=x)["variance"], vae.encode(pair)[1]),
        "sample_posterior": (
            served.call("sample_posterior", x=x, seed=seed)["latent"],
            vae.posterior(pair).sample(SeededNoise(seed), "posterior"),
        ),
        "decode": (
            served.call("decode", latent=z, **given)["decoded"], vae.decode(z, x.condition).mean()
        ),
        "generate": (
            served.call("generate", seed=seed, **given)["sample"],
            vae.generate(6, condition=x.condition, row_seeds=seed),
        ),
        "generate_from_prior": (
            served.call("generate_from_prior", seed=seed, **given)["sample"],
            vae.generate(6, condition=x.condition, row_seeds=seed),
        ),
        "interpolate": (
            served.call("interpolate", start=x, end=end, fraction=fraction)["interpolated"],
            vae.interpolate(pair, (end.x, end.condition), 0.5)[0],
        ),
        "log_weight": (served.call("log_weight", x=x, seed=seed)["log_weight"], weights[0]),
        "log_likelihood": (
            served.call("log_likelihood", x=x, seed=seed)["log_likelihood"],
            np.logaddexp.reduce(weights, axis=0) - np.log(signatures.NUM_DRAWS),
        ),
    }  # fmt: skip
    for name, (found, expected) in answers.items():
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=name)
    assert set(inputs) == {*answers, "score"}
    assert set(inputs["interpolate"]["inputs"]) == {
        "start", "start_condition", "end", "end_condition", "fraction",
    }  # fmt: skip
    assert set(inputs["generate"]["inputs"]) == {"seed", "condition"}
    assert inputs["encode"]["inputs"]["condition"]["shape"] == ["batch", DIM]
    score = served.call("score", x=x)["elbo"]
    np.testing.assert_allclose(served.call("score", x=x[2:3])["elbo"], score[2:3], rtol=1e-4)
    # 16 draws of a row, each an estimate of its ELBO: about what others estimate of the same pair.
    pair = np.asarray(x), x.condition
    terms = [vae.elbo_terms(pair, SeededNoise(seed, draw)).elbo for draw in range(64)]
    elbo, spread = np.mean(terms, axis=0), np.std(terms, axis=0)
    assert (np.abs(score - elbo) < 2 * spread + 1e-4).all()
    other = served.call("score", x=Conditioned(pair[0], 1 - pair[1]))["elbo"]
    assert (np.abs(other - score) > 1e-4).all()


def test_weights_of_other_conditions_are_no_start(published):
    path = str(published[1].path)
    columns = [Column(name, True, name) for name in "abc"]
    init_from.check_conditions(path, Conditions(tuple("abc"), tuple(columns)))
    with pytest.raises(UsageError, match="conditions a, b, c; here they are a, c, b"):
        init_from.check_conditions(
            path, Conditions(tuple("acb"), (columns[0], columns[2], columns[1]))
        )
    with pytest.raises(UsageError, match="here they are none"):
        init_from.check_conditions(path, Conditions())


def test_attributes_are_edited_under_the_condition_of_x(published):
    vae, _ = published
    vectors = np.ones((1, 2), "float32")
    directions = Directions(("glad",), vectors, np.ones(1), ((),), ())
    endpoint = signatures.endpoints(vae, directions)["edit"]
    assert [spec.name for spec in endpoint.inputs] == ["x", "condition", "attribute_strength"]
    x, condition = _pair(vae)
    edited = endpoint.function(x, condition, np.full((6, 1), 0.5, "float32"))["edited"]
    expected = vae.decode(vae.encode((x, condition))[0] + 0.5, condition).mean()
    np.testing.assert_allclose(edited, expected, atol=1e-5)


def test_a_condition_that_is_not_finite_spoils_its_row_alone(published, served):
    vae, _ = published
    x, condition = _pair(vae)
    condition[2, 1] = np.nan
    found = served.call("encode", x=x, condition=condition)["mean"]
    np.testing.assert_array_equal(np.isnan(found).any(axis=1), np.arange(6) == 2)


def test_samples_without_a_condition_take_those_of_the_data_by_their_seed(published, served):
    _, version = published
    conditions = _conditions(5, 8)
    seeds = np.array([0, 7, 12, 4])
    alone = ServedModel(version, conditions=conditions).call("generate", seed=seeds)["sample"]
    expected = served.call("generate", seed=seeds, condition=conditions[seeds % 5])
    np.testing.assert_array_equal(alone, expected["sample"])


# From the command line's options to figures


def test_options_that_do_not_fit_are_refused(tmp_path):
    for given, words in (
        ({"condition": "Smiling"}, "no label 'Smiling'; choose among digit"),
        ({"condition": "digit,digit"}, "none of them twice"),
        ({"condition": "digit", "prior": "vamp"}, "does not go with --prior vamp"),
    ):
        with pytest.raises(UsageError, match=words):
            preflight.check(resolve({"save": str(tmp_path), **given}, "digits"))
    faces = {"condition": "factor_hair_lightness", "cache_dir": str(tmp_path)}
    labels = preflight.outline(resolve(faces, "faces")).train.labels
    number = next(name for name, values in labels.items() if values.dtype.kind == "f")
    flag = next(name for name, values in labels.items() if values.dtype == bool)
    with pytest.raises(UsageError, match=f"{number}: a condition is yes or no.*{flag}"):
        preflight.check(resolve({**faces, "save": str(tmp_path), "condition": number}, "faces"))
    assert resolve({"condition": "a, b"}).condition == ("a", "b")


def test_digits_are_what_they_are_asked_to_be():
    from sklearn.linear_model import LogisticRegression

    data = digits.load()
    rows = conditioned(data, conditions_of(data, ("digit",))).train.x
    flat = Conditioned(np.asarray(rows).reshape(-1, 64).astype("float32") / 255, rows.condition)
    keras.utils.set_random_seed(0)
    vae = kvae.build_vae((64,), latent_dim=4, condition_dim=10, prior="standard_normal")
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    vae.fit(shuffled_batches(flat, 64, 0, block=True), steps_per_epoch=1, epochs=20, verbose=0)
    asked = np.repeat(np.arange(10), 20)
    z = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    made = np.asarray(vae.decode(z, np.eye(10, dtype="float32")[asked]).mean())
    judge = LogisticRegression(max_iter=300).fit(flat.x, data.train.labels["digit"])
    assert (judge.predict(made) == asked).mean() > 0.7


def _few(dataset, rows=400):
    splits = {
        name: Split(split.x[:rows], {key: y[:rows] for key, y in split.labels.items()})
        for name in ("train", "valid", "test")
        for split in (getattr(dataset, name),)
    }
    return replace(dataset, **splits)


@pytest.mark.slow  # the parts are quick
@pytest.mark.parametrize(
    ("preset", "label", "names"),
    [
        ("digits", "digit", [f"digit={number}" for number in range(10)]),
        ("gmm", "component", [f"component={number}" for number in range(10)]),
    ],
)
def test_from_training_to_figures(preset, label, names, tmp_path, monkeypatch):
    images = preset == "digits"
    quick = {"epochs": 1, "batch_size": 400, "jit_compile": False}
    if images:
        quick |= {"prior_components": 3, "sampler": "mixture"}
    else:
        quick |= {"prior": "standard_normal", "posterior": "diagonal", "sampler": "none"}
    config = resolve({**quick, "save": str(tmp_path), "condition": label}, preset)
    preflight.check(config)
    few = _few(preflight.load(config))
    monkeypatch.setattr("kvae.data.load", lambda *_, **__: few)
    if images:
        dry_run.dry_run(config)
    with few_signatures(*EVALUATED):
        version = run.train(config)
    metadata = versions.read_metadata(version)
    assert metadata["condition"] == {
        "labels": [label], "names": names, "label_of": [label] * len(names),
    }  # fmt: skip
    job = evaluate.prepare(str(version.path))
    judged = {"features": "pca", "num_samples": 100} if images else {}
    monkeypatch.setattr(style, "DPI", 75)
    monkeypatch.setattr(latent, "MAX_POINTS", 200)
    metrics = evaluate.evaluate(job, num_draws=2, **judged)
    written = {path.name for path in version.evaluation.iterdir()}
    both = {"generation.png", "reconstruction.png", "interpolation.png", "latent_tsne.png"}
    of_images = {"conditions.png", "traversals.png", "worst.png", "calibration.png"}
    assert both | (of_images if images else {"recall.png", "bound.png"}) <= written
    assert "density.png" not in written
    # The density that is known is not that of x given its component.
    assert "gap_nats_prior" not in metrics
    assert names[3] in metrics["protocol"]["condition"]
    assert json.loads((version.evaluation / "metrics.json").read_text()) == metrics
    # The same labels with other classes are another condition.
    metadata["condition"]["names"][0] = "other"
    (version.path / versions.METADATA).write_text(json.dumps(metadata))
    with pytest.raises(UsageError, match="trained with the conditions other"):
        evaluate.prepare(str(version.path))
