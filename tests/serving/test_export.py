from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import COVER, make_vae, make_x, png
from serving_testing import Session, keras_answers

from kvae import scores
from kvae.priors.mixture import Mixture
from kvae.priors.second_stage import SecondStage
from kvae.probability.noise import SeededNoise
from kvae.serving import export, signatures

ROWS = 7


@pytest.fixture(scope="module", autouse=True)
def _few_draws():
    """The bound takes most of the time."""
    with mock.patch.object(signatures, "NUM_DRAWS", 4):
        yield


def _inputs(vae, likelihood="gaussian", rows=ROWS):
    rng = np.random.default_rng(4)
    x = make_x(vae.element_shape, likelihood, rows=rows)
    images = {"image_bytes": np.array([png(image) for image in x], object)} if x.ndim == 4 else {}
    return images | {
        "x": x,
        "start": x,
        "end": make_x(vae.element_shape, likelihood, rows=rows, seed=9),
        "fraction": rng.random(rows).astype("float32"),
        "seed": rng.integers(2**63, size=rows),
        "latent": rng.normal(size=(rows, vae.latent_dim)).astype("float32"),
    }


SIGNATURES = [
    "serving_default", "encode", "sample_posterior", "decode", "generate", "generate_from_prior",
    "interpolate", "score", "log_weight", "log_likelihood",
]  # fmt: skip


BYTES = ["encode_bytes", "reconstruct_bytes"]


def _write(vae, path, *names):
    """Write some signatures alone: each costs half a second."""
    twin = export.float32_twin(vae)
    found = signatures.endpoints(twin)
    export.write_saved_model(twin, path, {name: found[name] for name in names})
    return Session(path)


@pytest.fixture(scope="module")
def folder(small_vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "m"
    export.write_saved_model(export.float32_twin(small_vae), path)
    return path


@pytest.fixture(scope="module")
def served(folder):
    return Session(folder)


def _close(found, expected):
    assert found.dtype == np.float32
    expected = np.asarray(expected)
    scale = np.maximum(1.0, np.abs(expected))
    np.testing.assert_array_less(np.abs(found - expected) / scale, 1e-5)


def test_the_signatures_are_those_of_the_contract(served, small_vae):
    names = {name for name in served.signatures if not name.startswith("__")}
    assert names == set(SIGNATURES) == set(signatures.endpoints(small_vae))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_session_loader_answers_what_keras_does(served, small_vae, signature):
    given = _inputs(small_vae)
    found = served(signature, given)
    for name, expected in keras_answers(small_vae, signature, given).items():
        _close(found[name], expected)


#: Those that together ask all that a part can do; the others are made of the same.
ASKING_PARTS = ["serving_default", "encode", "generate", "score", "log_likelihood"]


# Each part at least once; the model's own laws cover all combinations.
@pytest.mark.parametrize(("network", "likelihood", "prior", "posterior"), COVER)
def test_every_part_is_served(network, likelihood, prior, posterior, tmp_path):
    options = {"network": network, "likelihood": likelihood, "prior": prior}
    vae = make_vae((8, 8, 1), **options, posterior=posterior)
    session = _write(vae, tmp_path / "m", *ASKING_PARTS)
    given = _inputs(vae, likelihood, rows=3)
    for signature in ASKING_PARTS:
        found = session(signature, given)
        assert all(np.isfinite(value).all() for value in found.values()), signature
        for name, expected in keras_answers(vae, signature, given).items():
            _close(found[name], expected)


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_batch_answers_what_its_parts_do(served, small_vae, signature, rows):
    given = _inputs(small_vae, rows=rows + 5)
    whole = served(signature, given)
    first = served(signature, {key: value[:rows] for key, value in given.items()})
    rest = served(signature, {key: value[rows:] for key, value in given.items()})
    for name, value in whole.items():
        np.testing.assert_allclose(
            value, np.concatenate([first[name], rest[name]]), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signature", [name for name in SIGNATURES if "generate" not in name])
def test_a_row_that_is_not_finite_answers_nan_alone(served, small_vae, signature, bad):
    given = _inputs(small_vae)
    clean = served(signature, given)
    for name in set(served.signatures[signature].inputs) - {"seed"}:
        spoilt = {**given, name: given[name].copy()}
        spoilt[name][2, ...] = bad
        found = served(signature, spoilt)
        for key, value in found.items():
            assert np.isnan(value[2]).all()
            others = np.arange(ROWS) != 2
            np.testing.assert_allclose(value[others], clean[key][others], rtol=1e-6)


def test_an_empty_batch_answers_an_empty_batch(served, small_vae):
    given = _inputs(small_vae)
    for signature in SIGNATURES:
        found = served(signature, {key: value[:0] for key, value in given.items()})
        assert {len(value) for value in found.values()} == {0}


@pytest.mark.parametrize("signature", ["sample_posterior", "interpolate", "log_weight"])
def test_unequal_numbers_of_rows_are_an_error(served, small_vae, signature):
    """Nothing is repeated to fit."""
    given = _inputs(small_vae)
    for name in served.signatures[signature].inputs:
        with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
            served(signature, {**given, name: given[name][:1]})


def test_score_is_repeatable_and_its_parts_add_up(served, small_vae):
    given = _inputs(small_vae)
    first, again = served("score", given), served("score", given)
    np.testing.assert_array_equal(first["elbo"], again["elbo"])
    np.testing.assert_allclose(first["elbo"], -(first["distortion"] + first["rate"]), rtol=1e-5)
    draws = 3000
    rows = {"x": given["x"].repeat(draws, axis=0), "seed": np.arange(ROWS * draws)}
    many = served("log_weight", rows)["log_weight"].reshape(ROWS, draws)
    error = many.std(axis=1) / np.sqrt(signatures.NUM_SCORE_DRAWS)
    assert (np.abs(first["elbo"] - many.mean(axis=1)) < 4 * error).all()


def test_antithetic_draws_cancel_a_linear_term():
    noise = scores.Antithetic(tf.range(16), 3)
    normal = noise.normal("posterior", 2).numpy().reshape(3, 16, 2)
    np.testing.assert_allclose(normal.sum(axis=1), 0.0, atol=1e-5)
    assert len(np.unique(np.abs(normal[0]))) == 16
    np.testing.assert_array_equal(normal[0], normal[2])


def test_ppca_bounds_are_the_evidence(ppca, tmp_path):
    vae = ppca.vae()
    session = _write(vae, tmp_path / "m", "log_likelihood", "log_weight")
    x = ppca.sample(20)
    given = {"x": x, "seed": np.arange(20)}
    expected = ppca.log_evidence(x)
    np.testing.assert_allclose(
        session("log_likelihood", given)["log_likelihood"], expected, atol=3e-4
    )
    np.testing.assert_allclose(session("log_weight", given)["log_weight"], expected, atol=3e-4)


def test_draws_in_chunks_are_the_draws_at_once(small_vae, monkeypatch):
    monkeypatch.setattr(signatures, "NUM_DRAWS", 16)
    given = _inputs(small_vae)
    draws = signatures._Draws(small_vae)
    for signature in ("log_likelihood", "score"):
        arguments = (given["x"], given["seed"]) if signature == "log_likelihood" else (given["x"],)
        tensors = [tf.constant(value) for value in arguments]
        answer = getattr(draws, signature)
        first = tf.function(answer, autograph=False)(*tensors)
        with monkeypatch.context() as small:
            small.setattr(scores, "_CHUNK_ELEMENTS", 40)  # 8 draws of the 5 outputs each
            assert scores.draws_at_once(small_vae, 16) == 8
            second = tf.function(answer, autograph=False)(*tensors)
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_half_precision_model_is_served_in_float32(policy, tmp_path):
    vae = make_vae((8, 8, 1), dtype=policy)
    full = make_vae((8, 8, 1))
    full.set_weights(vae.get_weights())
    session = _write(vae, tmp_path / "m", "encode", "serving_default")
    given = {"x": make_x((8, 8, 1), "gaussian")}
    _close(session("encode", given)["mean"], full.encode(given["x"])[0])
    _close(session("serving_default", given)["reconstruction"], full(given["x"]))
    assert vae.dtype_policy.name == policy  # the original is left as it was


def test_weights_are_stored_once(folder, small_vae):
    stored = tf.train.list_variables(str(folder / "variables" / "variables"))
    sizes = [int(np.prod(shape)) for name, shape in stored if "OBJECT_GRAPH" not in name]
    assert sum(sizes) == pytest.approx(small_vae.count_params(), abs=10)


def test_nothing_in_the_graph_needs_xla(folder):
    data = (folder / "saved_model.pb").read_bytes()
    assert b"XlaMustCompile\x12\x02(\x01" not in data
    assert b"XlaLaunch" not in data


@pytest.mark.parametrize("kind", ["mixture", "second-stage"])
def test_a_sampler_is_served_beside_the_prior(small_vae, tmp_path, kind):
    if kind == "mixture":
        sampler = Mixture(1)
        sampler.build((None, 2))
        sampler.means.assign([[3.0, -1.0]])
    else:
        sampler = SecondStage(make_vae((2,)))
    vae = small_vae.with_sampler(sampler)
    names = ("generate", "generate_from_prior", "log_weight", "log_likelihood")
    session, given = _write(vae, tmp_path / "m", *names), _inputs(vae)
    noise = SeededNoise(given["seed"])
    _close(session("generate", given)["latent"], sampler.sample(noise))
    _close(session("generate_from_prior", given)["latent"], vae.prior.sample(noise))
    weights, bounds = session("log_weight", given), session("log_likelihood", given)
    if kind == "second-stage":
        assert not [name for name in (*weights, *bounds) if name.endswith("_sampler")]
        return
    prior, fitted = vae.weight_terms(given["x"], noise, densities=(vae.prior, sampler))
    _close(weights["log_weight"], prior.log_weight)
    _close(weights["log_weight_sampler"], fitted.log_weight)
    many = [
        vae.weight_terms(given["x"], SeededNoise(given["seed"], draw), densities=(sampler,))
        for draw in range(signatures.NUM_DRAWS)
    ]
    bound = np.logaddexp.reduce([terms[0].log_weight for terms in many], axis=0)
    _close(bounds["log_likelihood_sampler"], bound - np.log(signatures.NUM_DRAWS))


@pytest.fixture(scope="module")
def edited(of_images, version_of_images):
    vae, directions = of_images
    return vae, directions.vectors, Session(version_of_images.path)


def test_an_edit_decodes_the_moved_mean(edited, rng):
    vae, vectors, session = edited
    names = {name for name in session.signatures if not name.startswith("__")}
    assert names == {*SIGNATURES, *BYTES, "edit"}
    x = make_x((8, 8, 1), "gaussian", rows=4)
    strength = rng.normal(size=(4, 2)).astype("float32")
    moved = np.asarray(vae.encode(x)[0]) + strength @ vectors
    given = {"x": x, "attribute_strength": strength}
    _close(session("edit", given)["edited"], vae.decode(moved).mean())
    given["attribute_strength"] = np.zeros_like(strength)
    _close(session("edit", given)["edited"], vae(x))
    given["attribute_strength"][1, 0] = np.nan
    found = session("edit", given)["edited"]
    assert np.isnan(found[1]).all()
    _close(found[[0, 2, 3]], np.asarray(vae(x))[[0, 2, 3]])


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("signature", ["edit", *BYTES])
def test_a_batch_of_images_answers_what_its_parts_do(edited, rng, signature, rows):
    vae, _, session = edited
    given = _inputs(vae, rows=rows + 2)
    given["attribute_strength"] = rng.normal(size=(rows + 2, 2)).astype("float32")
    whole = session(signature, given)
    first = session(signature, {key: value[:rows] for key, value in given.items()})
    rest = session(signature, {key: value[rows:] for key, value in given.items()})
    none = session(signature, {key: value[:0] for key, value in given.items()})
    for name, value in whole.items():
        parts = np.concatenate([first[name], none[name], rest[name]])
        np.testing.assert_allclose(value, parts, rtol=1e-5, atol=1e-5)
