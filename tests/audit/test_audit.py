"""The audit agrees with what kvae computes, and finds what is wrong with it."""

import json
import shutil
import zipfile
import zlib
from unittest import mock

import keras
import numpy as np
import pytest
from audit_testing import agreeing, audited, differing, tampered, written
from kvae_testing import COVER, make_vae

from kvae.audit import program, run, served
from kvae.audit.opened import opened
from kvae.audit.verdicts import AGREES, DIFFERS, NOT_CHECKED, Line, stated, table
from kvae.directions import Directions
from kvae.errors import DataError, UsageError
from kvae.likelihoods.gaussian import Gaussian
from kvae.model import VAE
from kvae.priors.mixture import Mixture
from kvae.probability import noise
from kvae.probability.distributions import Affine, FullNormal
from kvae.samplers.mixture import as_prior
from kvae.serving.versions import KERAS_MODEL, METADATA, Version
from kvae.terms import WeightTerms

_DIRECTIONS = Directions(
    ("a", "b"), np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([0.9, 0.8]), ((), ()), ()
)
_ASKED = ("sample_posterior", "decode", "generate", "log_weight")


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch):
    monkeypatch.setattr("kvae.audit.rows.MAX_ROWS", 16)
    monkeypatch.setattr("kvae.audit.rows._NUMBERS", 0)


@pytest.fixture(scope="module")
def vae():
    """Vectors in units of their own, a learned variance and prior, and a sampler."""
    plain = make_vae(
        (3,), prior="mixture", posterior="full", shift=[1.0, 2.0, 3.0], scale=[2.0, 0.5, 3.0]
    )
    roots = np.stack([np.eye(2), [[1.5, 0.0], [0.4, 0.8]]])
    return plain.with_sampler(as_prior(np.array([0.3, 0.7]), np.array([[0, 0], [1, -1.0]]), roots))


@pytest.fixture(scope="module")
def version(vae, tmp_path_factory):
    return written(vae, tmp_path_factory.mktemp("v") / "1", directions=_DIRECTIONS)


@pytest.fixture(scope="module")
def in_short(vae, tmp_path_factory):
    """The same with few signatures."""
    return written(vae, tmp_path_factory.mktemp("v") / "1", *_ASKED)


def test_all_signatures_agree(vae, version):
    found = audited(version, vae, _DIRECTIONS)
    left = {what for what, line in found.items() if line.verdict == NOT_CHECKED}
    # Of an untrained q too few pairs move.
    pairs = "pairs: what weights choose is of the posterior"
    assert left == {"files", "probe", "data and metrics.json", pairs}
    assert not differing(found)
    assert found["log_weight/sampler less prior"].largest < 1e-5
    assert {"edit/edited", "score/elbo", "log_likelihood/log_likelihood_sampler"} <= {*found}


@pytest.mark.parametrize(("network", "likelihood", "prior", "posterior"), COVER)
def test_every_part_agrees(tmp_path, network, likelihood, prior, posterior):
    shape = (3,) if network == "mlp" and likelihood != "discretized-logistic" else (9, 8, 3)
    made = make_vae(shape, network=network, likelihood=likelihood, prior=prior, posterior=posterior)
    found = audited(written(made, tmp_path / "1", "generate", "log_weight"), made)
    assert not differing(found)
    named = {"generate/latent", "generate/sample"}
    named |= {f"log_weight/{key}" for key in ("distortion", "rate", "log_weight")}
    assert agreeing(found) >= named


@pytest.mark.parametrize("variance", ["optimal", "per-feature", "heteroscedastic", "full"])
def test_every_variance_agrees(tmp_path, variance):
    made = make_vae((3,), variance=variance)
    found = audited(written(made, tmp_path / "1", "decode"), made)
    assert not differing(found)
    assert agreeing(found) >= {"decode/decoded", "decode/decoded_variance"}


def test_images_whose_pixels_err_together_agree_and_no_other(tmp_path):
    made = make_vae((4, 3, 2), network="mlp", variance="optimal", edge_weight=2.0)
    found = audited(written(made, tmp_path / "1"), made)
    assert not differing(found)
    assert "log_weight/distortion" in agreeing(found)
    version, likelihood = written(made, tmp_path / "2", "decode", "log_weight"), made.likelihood
    for patch, moved in (
        (_with(Gaussian, "current_variance", lambda value: 1.02 * value),
         {"log_weight/distortion", "decode/decoded_variance"}),
        (mock.patch.object(likelihood, "edge_weight", 1.02 * likelihood.edge_weight),
         {"log_weight/distortion", "log_weight/log_weight"}),
    ):  # fmt: skip
        with patch:
            assert moved <= differing(audited(version, made))


def test_conditional_models_agree(tmp_path):
    made = make_vae((8, 8, 1), condition_dim=2, likelihood="bernoulli")
    found = audited(written(made, tmp_path / "1", "interpolate"), made)
    assert not differing(found)
    assert agreeing(found) >= {"interpolate/interpolated", "rows alone, as in a batch"}


def test_flows_of_the_first_kvae_agree(tmp_path):
    made = make_vae((3,), prior="flow", flow_blocks=0, latent_dim=3)
    found = audited(written(made, tmp_path / "1", "log_weight"), made)
    assert not differing(found)
    assert agreeing(found) >= {"log_weight/rate", "log_weight/log_weight"}


def _with(owner, name, change):
    """A patch of a method whose result is changed."""
    plain = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, *given: change(plain(self, *given)))


def _closed(self, *given, **options):
    terms = VAE.elbo_terms(self, *given[:2])
    return [WeightTerms(*terms) for _ in options["densities"]]


_STREAMS = ("component", "posterior", "observation", "latent", "second_stage")
#: What was done wrong, and some of the lines that say so.
_FAULTS = {
    "variance off by 2%": (
        _with(Gaussian, "current_variance", lambda value: 1.02 * value),
        {"log_weight/distortion", "decode/decoded_variance", "generate/sample"},
    ),
    "a dropped constant": (
        _with(Affine, "log_prob", lambda value: value + np.float32(np.log(3.0))),
        {"log_weight/distortion", "log_weight/log_weight"},
    ),
    "a sign": (
        mock.patch.object(
            FullNormal, "_from_white",
            lambda self, white: self._mean - self._stddev * white
            - keras.ops.einsum("bij,bj->bi", self._below, self._stddev * white),
        ),
        {"sample_posterior/latent", "log_weight/log_weight"},
    ),
    "swapped streams": (
        mock.patch.object(noise, "PURPOSES", _STREAMS),
        {"sample_posterior/latent", "generate/latent", "log_weight/log_weight"},
    ),
    "densities off by 1%": (
        _with(Mixture, "log_prob", lambda value: value + 0.00995),
        {"log_weight/rate", "log_weight/log_weight", "log_weight/log_weight_sampler"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", _FAULTS)
def test_faults_of_kvae_are_found(vae, in_short, fault):
    patch, moved = _FAULTS[fault]
    with patch:
        assert moved <= differing(audited(in_short, vae))


def test_rows_that_depend_on_their_batch_are_found(vae, in_short):
    plain = VAE.posterior

    def moved(self, x, condition=None):
        return plain(self, x + 0.01 * keras.ops.mean(x, axis=0), condition)

    with mock.patch.object(VAE, "posterior", moved):
        found = audited(in_short, vae)
    assert "rows alone, as in a batch" in differing(found)
    assert "sample_posterior/latent of a row" in found["rows alone, as in a batch"].note


def test_a_closed_form_rate_in_a_weight_is_found(tmp_path):
    made = make_vae((3,))
    with mock.patch.object(VAE, "weight_terms", _closed):
        found = differing(audited(written(made, tmp_path / "1", "log_weight"), made))
    assert {"log_weight/rate", "log_weight/log_weight"} == found


def test_a_sampler_off_by_1_percent_is_found_beside_the_prior(vae, in_short):
    plain = vae.sampler.log_prob
    with mock.patch.object(vae.sampler, "log_prob", lambda z: plain(z) + 0.00995):
        found = differing(audited(in_short, vae))
    assert found == {"log_weight/log_weight_sampler", "log_weight/sampler less prior"}


@keras.saving.register_keras_serializable(package="tests")
class _OwnLayer(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_own_layers_are_beyond_it_by_name(tmp_path):
    made = make_vae((3,))
    inputs = keras.Input((2,))
    outputs = _OwnLayer(name="mine")(keras.layers.Dense(3)(inputs))
    decoder = keras.Model(inputs, outputs)
    own = VAE(made.encoder, decoder, Gaussian(1.0), made.prior)
    found = audited(written(own, tmp_path / "1", "encode", "decode", "log_weight"), own)
    assert "_OwnLayer" in found["decode"].note
    assert found["decode"].verdict == NOT_CHECKED
    assert found["encode/mean"].verdict == AGREES


# A published version, through the session loader


@pytest.fixture(scope="module")
def answers(version_of_images):
    """What the version of images answers, asked once."""
    known = {}

    def ask(folder, requests):
        return known.setdefault("all", served.answered(version_of_images.path, requests))

    return ask


@pytest.fixture
def copied(version_of_images, tmp_path):
    """Its small files, to be changed."""
    shutil.copytree(version_of_images.path / "assets.extra", tmp_path / "m" / "1" / "assets.extra")
    (tmp_path / "m" / "1" / "saved_model.pb").touch()
    path = tmp_path / "m" / "1" / METADATA
    said = json.loads(path.read_text())
    said["signatures"] = {name: said["signatures"][name] for name in ("encode", "decode")}
    path.write_text(json.dumps(said))
    return Version(tmp_path / "m" / "1", "m", 1)


def test_a_published_version_agrees_with_its_probe(version_of_images, answers, tmp_path, capsys):
    with mock.patch.object(served, "ask", answers):
        program.main([str(version_of_images.path), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "audit.json").read_text())
    assert found["verdicts"]["differs"] == 0
    by_name = {line["what"]: line for line in found["lines"]}
    for what in ("files", "probe: log_likelihood/log_likelihood", "edit/edited", "score/elbo",
                 "encode_bytes/mean", "probe: encode_bytes/mean"):  # fmt: skip
        assert by_name[what]["verdict"] == "agrees", what
    assert "edit/edited" in capsys.readouterr().out


def test_another_file_than_the_one_served_is_found(copied, answers):
    # softplus(raw) is the variance, but for a floor far below.
    tampered(
        copied.path / KERAS_MODEL,
        lambda name, raw: np.log(np.expm1(1.02 * np.log1p(np.exp(raw))))
        if "gaussian" in name else raw,
    )  # fmt: skip
    with (
        mock.patch.object(served, "ask", answers),
        pytest.raises(DataError, match="lines differ"),
    ):
        program.main([str(copied.path)])
    found = json.loads((copied.evaluation / "audit.json").read_text())
    assert {"files", "decode/decoded_variance", "probe: log_weight/log_weight"} <= {
        line["what"] for line in found["lines"] if line["verdict"] == "differs"
    }


def _rewritten(path, change):
    """Change the configuration of a `.keras` file: `change(config)`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def test_checksums_are_held_of_a_model_without_formulas_too(vae, tmp_path):
    version = written(vae, tmp_path / "1", "encode", files={"gone": "0"})
    _rewritten(version.path / KERAS_MODEL, lambda config: config.pop("config"))
    _, lines = run.audit(version, {})
    assert [(line.what, line.verdict) for line in lines] == [
        ("files", DIFFERS), ("the model", NOT_CHECKED)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error", [OSError("gone"), zipfile.BadZipFile("no zip"), zlib.error("cut"), KeyError("layer")]
)
def test_a_file_that_cannot_be_read_is_no_model_without_formulas(in_short, error):
    with (
        mock.patch("kvae.audit.independent.archive.read", side_effect=error),
        pytest.raises(DataError, match=r"model\.keras cannot be read: .*\w"),
    ):
        run.audit(in_short, {})


@pytest.mark.parametrize("shift", [[1.0, 2.0, 3e-9], [1.0], 1.0])
def test_what_kvae_json_says_of_small_numbers_is_held(tmp_path, shift):
    made = make_vae((3,), shift=[1.0, 2.0, 1e-9])
    version = written(made, tmp_path / "1", "encode")
    path = version.path / METADATA
    said = json.loads(path.read_text())
    for numbers, faulty in ((made.shift.tolist(), False), (shift, True)):
        said["model"]["shift"] = numbers
        path.write_text(json.dumps(said))
        assert ("kvae.json: model" in differing(audited(version, made))) == faulty


def test_a_cache_alone_names_no_data(in_short, tmp_path):
    subject = run.Subject(in_short, opened(in_short))
    with mock.patch("kvae.evaluation.evaluate.prepare", side_effect=DataError("no data")):
        assert "generates" in subject.rows({"cache_dir": str(tmp_path), "data_dir": None}).origin
        with pytest.raises(DataError):
            subject.rows({"data_dir": str(tmp_path)})


def test_a_cache_that_the_dataset_does_not_keep_is_refused(tmp_path):
    made = make_vae((3,))
    version = written(made, tmp_path / "1", "encode", config={"dataset": "gmm"})
    (version.path / "saved_model.pb").touch()
    with pytest.raises(UsageError, match="--cache-dir does not apply to dataset gmm"):
        run.Subject(version, opened(version)).rows(
            {"cache_dir": str(tmp_path), "data_dir": None, "labels_file": None}
        )


def test_lines_do_nothing_to_a_terminal():
    line = stated("en\x1b[2Jco\nde", [])
    assert "\x1b" not in table([line])
    assert table([line]).count("\n") == 1


def test_a_table_is_of_80_columns_whatever_is_in_it():
    lines = [
        Line("log_likelihood/log_likelihood_sampler", AGREES, 256, 1e-6, 2e-5),
        Line("probe: log_likelihood/log_likelihood_sampler", AGREES, 2, 1e-6, 2e-5, "in short"),
        Line(f"metrics.json: {'name_' * 12}", DIFFERS, 1_000_000, 1.23e300, 1e-300, "far " * 40),
        Line("metrics.json: elbo", NOT_CHECKED, note="why"),
    ]
    shown = table(lines).splitlines()
    assert max(map(len, shown)) == 80
    assert shown.count("metrics.json") == 1
    assert " ".join(table(lines, 300).split()).count("far " * 40) == 1
    assert any("elbo" in row and row.endswith("  why") for row in table(lines, 300).splitlines())


@pytest.mark.slow
def test_a_child_answers_as_this_process_does(version_of_images):
    x = np.full((2, 8, 8, 1), 0.5, np.float32)
    requests = {"rows": {"encode": {"x": x}}}
    own, others = (ask(version_of_images.path, requests) for ask in (served.answered, served.ask))
    np.testing.assert_array_equal(own["rows"]["encode"]["mean"], others["rows"]["encode"]["mean"])
    assert own["probe"].keys() == others["probe"].keys()
