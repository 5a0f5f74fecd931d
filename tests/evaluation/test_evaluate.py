import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from audit_testing import by_name, differing
from kvae_testing import (
    EVALUATED,
    few_signatures,
    make_vae,
    metadata,
    small_mixtures,
    unpainted,
)
from PIL import Image

from kvae import publish
from kvae.audit.independent.archive import read
from kvae.audit.independent.model import Model
from kvae.audit.of_images import of_images
from kvae.audit.of_metrics import of_metrics
from kvae.audit.opened import opened
from kvae.config import resolve
from kvae.data import Split, digits, faces, gmm
from kvae.errors import DataError, IncompleteError, UsageError
from kvae.evaluation import drawing, evaluate, factors
from kvae.evaluation.report import card
from kvae.evaluation.report.values import value_of
from kvae.evaluation.rows import read_rows
from kvae.evaluation.table import print_table
from kvae.figures import latent, style
from kvae.samplers import mixture
from kvae.saying import quiet
from kvae.serving import versions
from kvae.training import preflight, run

FIGURES = {
    "generation.png", "reconstruction.png", "interpolation.png", "latent_tsne.png", "rates.png",
    "rate_distortion.png", "curves.png",
}  # fmt: skip
BESIDE = {"metrics.json", "rows.npz", "report.html", "captions.txt", "MODEL_CARD.md"}
OF_MIXTURES = FIGURES | {"bound.png", "density.png", "recall.png"}
OF_IMAGES = FIGURES | {
    "worst.png", "calibration.png", "traversals.png", "traversals.gif", "neighbours.png",
}  # fmt: skip


def _evaluate(path, *, num_draws=5, seed=0, features=None, **where):
    job = evaluate.prepare(str(path), **where)
    quick = "pca" if job.dataset.kind == "images" else "auto"
    few = 200 if job.dataset.kind == "images" else None
    return evaluate.evaluate(
        job, num_draws=num_draws, seed=seed, features=features or quick, num_samples=few
    )


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """All that evaluation asks for, of fewer points."""
    fewer = mock.patch.object(latent, "MAX_POINTS", 300)
    smaller = mock.patch.object(style, "DPI", 75)
    with few_signatures(*EVALUATED), small_mixtures(), fewer, smaller, unpainted():
        yield


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """The options that make every dataset small."""
    return {
        "faces_count": 200,
        "image_size": 32,
        "cache_dir": str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture(scope="module")
def mixture_model(tmp_path_factory):
    save = tmp_path_factory.mktemp("saved")
    options = {"epochs": 3, "batch_size": 1000, "jit_compile": False, "hidden_units": "8,8"}
    with mock.patch.object(mixture, "_COUNTS", (1, 2)):
        return run.train(resolve({"save": str(save), "prior_components": 5, **options}))


@pytest.fixture(scope="module")
def mixture_metrics(mixture_model):
    return _evaluate(mixture_model.path, num_draws=20)


def _png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_a_mixture_gets_its_figures_and_metrics(mixture_model, mixture_metrics):
    folder = mixture_model.evaluation
    assert {path.name for path in folder.iterdir()} == OF_MIXTURES | BESIDE
    assert all(min(_png_size(folder / name)) > 300 for name in OF_MIXTURES)
    assert json.loads((folder / "metrics.json").read_text()) == mixture_metrics


def test_rows_are_what_the_numbers_are_means_of(mixture_model, mixture_metrics):
    path = mixture_model.evaluation / "rows.npz"
    found = read_rows(path, mixture_metrics)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(
        ("rows", "elbo_nats_prior", "log_likelihood_nats_prior", "log_likelihood_nats_sampler"),
        1000,
    )
    gap = gmm.mixture_of(gmm.load().card).log_prob(gmm.load().test.x[found["rows"]])
    gap -= found["log_likelihood_nats_prior"]
    assert gap.mean() == pytest.approx(mixture_metrics["gap_nats_prior"])
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    assert error == pytest.approx(mixture_metrics["gap_nats_prior_stderr"])


def test_the_report_shows_all_figures_and_numbers(mixture_model, mixture_metrics):
    text = (mixture_model.evaluation / "report.html").read_text()
    assert text.count('src="data:image/png;base64,') == len(OF_MIXTURES)
    shown = {key for _, _, rows in card.shown(mixture_metrics) for one in rows
             for key in one.keys.values()}  # fmt: skip
    for key, value in mixture_metrics.items():
        if key in shown and not isinstance(value, list | dict):
            assert value_of(mixture_metrics, key).text in text
        elif not key.endswith(("_stderr", "_interval", "_range")):
            assert key in text or key in ("origin", "findings", "looked_for", "protocol")


def test_a_report_that_fails_costs_nothing_else(
    mixture_model, mixture_metrics, tmp_path, monkeypatch, capsys
):
    for name in ("draw", "draw_map"):
        monkeypatch.setattr(drawing, name, lambda *_, **__: None)
    monkeypatch.setattr(
        "kvae.evaluation.measurements.measure", lambda *_, **__: ({**mixture_metrics}, {"seed": 3})
    )
    for name in ("report.html", "rows.npz"):
        (tmp_path / name).write_text("of an earlier evaluation")
    beside, move = [], Path.replace

    def watched(path, target):
        beside.extend(one.name for one in tmp_path.glob("r*"))
        return move(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    monkeypatch.setattr("kvae.evaluation.report.page", mock.Mock(side_effect=ValueError("no ink")))
    with pytest.raises(IncompleteError, match=r"is written without report\.html$") as raised:
        _evaluate(mixture_model.path, output=str(tmp_path))
    assert raised.value.made["protocol"] == {"seed": 3}
    assert "note: report.html could not be written, all else is: ValueError: no ink" in (
        capsys.readouterr().err
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json",
        "captions.txt",
        "MODEL_CARD.md",
    }
    assert not beside  # an old report never stands beside new numbers


def test_the_metrics_hang_together(mixture_metrics):
    m = mixture_metrics
    assert m["elbo_nats_prior"] == pytest.approx(
        -(m["distortion_nats_posterior"] + m["rate_nats_prior"]), abs=1e-4
    )
    assert m["gap_nats_prior"] > 0
    assert isinstance(m["findings"], list)
    assert not {"psnr_db_reconstruction", "mig_posterior", "frechet_pca_prior"} & m.keys()
    assert (m["num_draws"], m["num_modes"], m["latent_dim"]) == (20, 10, 3)
    assert 0 < m["active_units_posterior"] <= 3
    assert sum(m["mode_shares_prior"]) == pytest.approx(1.0)
    assert m["protocol"]["split"] == "test"
    assert m["protocol"]["rows"] == {"test": 1000, "log_likelihood": 1000, "generated": 10000}


def test_the_truth_itself_scores_as_the_truth(mixture_model, tmp_path, monkeypatch):
    """A signature server that knows the mixture must get a gap of zero and all modes."""
    job = evaluate.prepare(str(mixture_model.path), output=str(tmp_path))
    truth = gmm.mixture_of(job.dataset.card)

    class Truth:
        def __init__(self, *_):
            self.version, self.metadata = job.version, versions.read_metadata(job.version)

        def call(self, signature, **inputs):
            count = len(next(iter(inputs.values())))
            if signature in ("generate", "generate_from_prior"):
                return {"sample": truth.sample(count, np.random.default_rng(8))[0]}
            x = next(inputs[name] for name in ("x", "start", "latent") if name in inputs)
            log_prob = truth.log_prob(x)
            return {
                "log_weight": log_prob, "log_likelihood": log_prob, "distortion": -log_prob,
                "rate": 0 * log_prob, "mean": x, "variance": 0 * x + 1e-6, "reconstruction": x,
                "interpolated": x, "latent": x, "decoded": x, "decoded_variance": 0 * x + 1e-6,
            }  # fmt: skip

    monkeypatch.setattr("kvae.serving.served.ServedModel", Truth)
    for name in ("draw", "draw_map"):
        monkeypatch.setattr(drawing, name, lambda *_, **__: None)
    metrics = evaluate.evaluate(job, num_draws=3)
    assert metrics["gap_nats_prior"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["modes_captured_prior"] == 10
    assert metrics["mse_reconstruction"] == 0.0
    assert metrics["outlier_fraction_prior"] < 0.003
    assert metrics["weights_kl_nats_prior"] < 0.003


def test_a_bound_above_the_truth_is_called_a_bug(capsys):
    base = {"active_units_posterior": 1, "latent_dim": 1}
    print_table({**base, "gap_is_a_bug_prior": True})
    text = " ".join(capsys.readouterr().out.split())
    assert "BUG" in text
    assert "by over 3 standard errors, more than chance explains" in text
    print_table({**base, "gap_is_a_bug_prior": False, "gap_is_a_bug_sampler": True})
    assert "BUG" in capsys.readouterr().out
    print_table({**base, "gap_is_a_bug_prior": False})
    assert "BUG" not in capsys.readouterr().out


def test_samples_that_are_not_finite_are_said(capsys):
    print_table({"active_units_posterior": 1, "latent_dim": 1, "not_finite_samples_prior": 3})
    assert "3 samples of the prior are not finite" in capsys.readouterr().out
    print_table({"active_units_posterior": 1, "latent_dim": 1, "not_finite_samples_prior": 0})
    assert "not finite" not in capsys.readouterr().out


@pytest.mark.parametrize("option", [{"features": "pca"}, {"num_samples": 200}])
def test_what_images_are_compared_by_is_refused_for_vectors(mixture_model, option):
    job = evaluate.prepare(str(mixture_model.path))
    with pytest.raises(UsageError, match="are for images"):
        evaluate.evaluate(job, **option)


def test_prior_and_sampler_stand_side_by_side(capsys):
    point = {"num_draws": 500, "rows": 1000, "gap_nats": 0.03, "gap_nats_stderr": 0.004}
    print_table(
        {
            "active_units_posterior": 1, "latent_dim": 3, "gap_nats_prior": 0.5,
            "gap_nats_prior_stderr": 0.01,
            "log_likelihood_nats_sampler": -3.5, "gap_nats_sampler": 0.25,
            "gap_nats_sampler_stderr": 0.02, "num_modes": 10,
            "modes_captured_prior": 4, "modes_captured_sampler": 9, "bound_curve_prior": [point],
            "bound_curve_sampler": [{**point, "gap_nats": 0.01}],
            "knn_accuracy_latent": 0.8, "knn_accuracy_x": 0.9, "accuracy_bayes": 0.95,
            "effective_sample_fraction_prior": 0.5, "effective_sample_draws": 64,
        }
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 100
    words = [" ".join(line.split()) for line in lines]
    for line in (
        "prior sampler",
        "gap, true minus bound 0.5000 ± 0.0100 0.2500 ± 0.0200",
        "K = 500 on 1,000 rows 0.0300 ± 0.0040 0.0100 ± 0.0040",
        "modes captured 4 of 10 9 of 10",
        "active units 1 of 3",
        "effective share of 64 draws 0.500",
        "labels apart latent data true posterior",
        "k-NN accuracy 0.8000 0.9000 0.9500",
    ):
        assert line in words


def test_a_sampler_without_a_density_has_its_column(capsys):
    point = {"num_draws": 1, "rows": 50, "bound_nats": -3.0, "bound_nats_stderr": 0.1}
    print_table(
        {
            "active_units_posterior": 1, "latent_dim": 1, "log_likelihood_nats_prior": -3.5,
            "bound_curve_prior": [point],
            "sliced_wasserstein_prior": 0.5, "sliced_wasserstein_sampler": 0.25,
        }
    )  # fmt: skip
    words = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "prior sampler",
        "sliced Wasserstein distance 0.5000 0.2500",
        "log-likelihood, bound -3.5000",
        "K = 1 on 50 rows -3.0000 ± 0.1000",
    ):
        assert line in words


def test_without_a_sampler_and_a_truth_the_table_has_one_column_and_bounds(capsys):
    point = {"num_draws": 1, "rows": 50, "bound_nats": -3.0, "bound_nats_stderr": 0.1}
    print_table({"active_units_posterior": 1, "latent_dim": 1, "bound_curve_prior": [point]})
    words = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "bound with K draws, nats" in words
    assert "K = 1 on 50 rows -3.0000 ± 0.1000" in words
    assert not [line for line in words if "sampler" in line or "gap" in line or "modes" in line]


def test_digits_that_an_error_leaves_unknown_are_not_printed(capsys):
    words = _words(capsys, {
        "elbo_nats_prior": 15735.1661, "elbo_nats_prior_stderr": 95.4647,
        "rate_nats_prior": 129.4269, "rate_nats_prior_stderr": 1.6772,
        "distortion_nats_posterior": 0.43162, "distortion_nats_posterior_stderr": 0.0068,
        "mse_reconstruction": 161403.021049,
    })  # fmt: skip
    assert {"ELBO 15735 ± 95", "rate 129.4 ± 1.7", "distortion 0.4316 ± 0.0068"} <= {*words}
    assert "reconstruction MSE 161,403" in words


def _words(capsys, metrics):
    print_table({"active_units_posterior": 1, "latent_dim": 1, **metrics})
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("effective", "shown"), [(1.1, "-1235 ± 2"), (3.0, "-1234.6 ± 1.5")])
def test_a_bound_that_rests_on_one_draw_has_no_decimals(capsys, effective, shown):
    point = {"num_draws": 500, "rows": 10, "bound_nats": -1234.567, "bound_nats_stderr": 1.5}
    metrics = {
        "effective_sample_draws": 64, "effective_sample_fraction_prior": effective / 64,
        "log_likelihood_nats_prior": -1234.567, "log_likelihood_nats_prior_stderr": 1.5,
        "bits_per_dim_bound_prior": 2.27219, "elbo_nats_prior": -1240.25,
        "bound_curve_prior": [point],
    }  # fmt: skip
    words = _words(capsys, metrics)
    assert f"log-likelihood, bound {shown}" in words
    assert f"K = 500 on 10 rows {shown}" in words
    assert "ELBO -1240.2500" in words
    # 784 dimensions: a nat is 0.002 bits of one.
    bits = {True: "2.27", False: "2.2722"}[effective < 1.5]
    assert f"bits per dimension, bound {bits}" in words


def test_an_error_that_rests_on_one_row_says_so(capsys):
    metrics = {"aggregate_gap_nats_prior": 1.0, "aggregate_gap_nats_prior_stderr": 0.1}
    told = "one row has much of the gap's variance: its error is larger than it seems"
    assert told not in _words(capsys, metrics)
    assert told in _words(capsys, metrics | {"aggregate_gap_is_heavy_tailed_prior": True})


@pytest.mark.parametrize(("recall", "precision", "is_said"),
                         [(0.01, 0.9, True), (0.1, 0.9, False), (0.01, 0.1, False)])  # fmt: skip
def test_precision_beside_no_recall_has_a_sentence(capsys, recall, precision, is_said):
    metrics = {"coverage_prior": 0.1, "recall_prior": recall, "precision_prior": precision,
               "density_prior": precision}  # fmt: skip
    said = [line for line in _words(capsys, metrics) if "say little" in line]
    wanted = "precision and density of prior say little beside a recall of 0.010:"
    assert said == ([wanted] if is_said else [])


def test_one_seed_gives_the_same_metrics_and_another_others(
    mixture_model, mixture_metrics, tmp_path, monkeypatch
):
    for name in ("draw", "draw_map"):
        monkeypatch.setattr(drawing, name, lambda *_, **__: None)
    again = _evaluate(mixture_model.path, num_draws=20, output=str(tmp_path / "a"))
    assert again == mixture_metrics
    other = _evaluate(mixture_model.path, num_draws=20, output=str(tmp_path / "b"), seed=1)
    assert other["log_likelihood_nats_prior"] != mixture_metrics["log_likelihood_nats_prior"]
    assert other["log_likelihood_nats_prior"] == pytest.approx(
        mixture_metrics["log_likelihood_nats_prior"], abs=0.05
    )


@pytest.mark.slow  # CelebA's is quick
@pytest.mark.parametrize("preset", ["digits", "faces"])
def test_train_publish_evaluate_end_to_end(preset, small_data, tmp_path, monkeypatch):
    from kvae.data import options_of

    monkeypatch.setattr(factors, "_TRAIN_VOTES", 20)
    monkeypatch.setattr(factors, "_TEST_VOTES", 10)
    monkeypatch.setattr(factors, "_TRAIN_ROWS", 300)
    monkeypatch.setattr(factors, "_TEST_ROWS", 200)

    dataset = resolve({}, preset).dataset
    given = {name: value for name, value in small_data.items() if name in options_of(dataset)}
    config = resolve({**given, "save": str(tmp_path), "epochs": 1, "batch_size": 64}, preset)
    version = run.train(config)
    # The digits' labels are learned by what judges; elsewhere that would take long.
    features = {"features": "attributes"} if preset == "digits" else {}
    metrics = _evaluate(version.path, **features)
    figures = OF_IMAGES | ({"attributes.png"} if preset == "faces" else set())
    assert {path.name for path in version.evaluation.iterdir()} == figures | BESIDE
    assert np.isfinite(metrics["log_likelihood_nats_prior"])
    assert "psnr_db_reconstruction" in metrics
    judged = {"digits": "frechet_attributes_prior", "faces": "frechet_pca_prior"}
    assert [name in metrics for name in judged.values()] == [preset == name for name in judged]
    assert ("mig_posterior" in metrics) == (preset == "faces")
    assert isinstance(metrics["findings"], list)
    assert "gap_nats_prior" not in metrics
    if preset == "faces":
        assert metrics["protocol"]["data_card"]["image_size"] == 32


def test_celeba_from_training_to_figures(tmp_path):
    """Drawn faces stand in for photographs, in CelebA's official layout; grey levels have bits."""
    _write_celeba(tmp_path / "celeba")
    options = {"data_dir": str(tmp_path / "celeba"), "cache_dir": str(tmp_path / "cache")}
    config = resolve(
        {**options, "save": str(tmp_path / "saved"), "epochs": 1, "batch_size": 16,
         "image_size": 32, "crop": "center140", "likelihood": "discretized-logistic",
         "logistic_components": 2},
        "celeba",
    )  # fmt: skip
    version = run.train(config)
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "celeba", moved)
    with pytest.raises(UsageError):
        evaluate.prepare(str(version.path))
    metrics = _evaluate(version.path, data_dir=str(moved), color_by="Smiling")
    card = metrics["protocol"]["data_card"]
    assert (card["crop"], card["image_size"]) == ("center140", 32)
    bits = metrics["bits_per_dim_bound_prior"]
    assert bits == pytest.approx(-metrics["log_likelihood_nats_prior"] / (32 * 32 * 3 * np.log(2)))
    assert bits > 0
    assert "256 levels" in metrics["protocol"]["bits_per_dim_bound_prior"]
    assert (version.evaluation / "latent_tsne.png").is_file()
    _audited(version, evaluate.prepare(str(version.path), data_dir=str(moved)).dataset, metrics)


def _audited(version, dataset, metrics):
    """The audit finds the same numbers of the images, and each that is changed."""
    config, weights = read(version.path / versions.KERAS_MODEL)
    models = [Model(config, weights, dtype=dtype) for dtype in (np.float64, np.float32)]
    assert not differing(by_name(of_metrics(dataset, opened(version), *models)))
    keys = {key for key in metrics if key.startswith("frechet_pca_") and key[-5:] != "range"}
    assert len(keys) >= 3
    changed = {**metrics, **{key: 1.01 * metrics[key] for key in keys}}
    lines = by_name(of_images(dataset, changed, *models, None))
    assert differing(lines) == {f"metrics.json: {key}" for key in keys}


@pytest.mark.slow  # CelebA's is quick
def test_a_folder_of_images_from_training_to_figures(tmp_path, monkeypatch, capsys):
    """Classes by subfolder; the seeded split is the same again in evaluation."""
    rng = np.random.default_rng(0)
    for number in range(120):
        place = tmp_path / "images" / ("dark" if number % 2 else "light") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        level = 40 if number % 2 else 200
        image = np.clip(level + rng.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(place)
    config = resolve(
        {"data_dir": str(tmp_path / "images"), "cache_dir": str(tmp_path / "cache"),
         "save": str(tmp_path / "saved"), "epochs": 1, "batch_size": 16, "image_size": 16,
         "latent_dim": 4, "split_seed": 3, "flip": True},
        "folder",
    )  # fmt: skip
    names = {}

    def spy(*_, class_names, **__):
        names["classes"] = class_names

    monkeypatch.setattr("kvae.evaluation.drawing.latent_figures.draw_tsne", spy)
    version = run.train(config, preflight.load(config))
    assert "images in a folder, split at random, classes by subfolder" in capsys.readouterr().out
    metrics = _evaluate(version.path, color_by="class")
    card = metrics["protocol"]["data_card"]
    assert card["counts"] == {"train": 96, "valid": 12, "test": 12}
    assert card["split_seed"] == 3
    assert names["classes"] == ["dark", "light"]


def _write_celeba(folder, count=64):
    import tensorflow as tf

    (folder / "img_align_celeba").mkdir(parents=True)
    factors = faces.sample_factors(count, np.random.default_rng(0))
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    for name, image in zip(names, faces.draw(factors, 218), strict=True):
        jpeg = tf.io.encode_jpeg(image[:, 20:198]).numpy()
        (folder / "img_align_celeba" / name).write_bytes(jpeg)
    attributes = [f"A{i}" for i in range(38)] + ["Blond_Hair", "Smiling"]
    rng = np.random.default_rng(1)
    rows = [f"{name} {' '.join(str(v) for v in rng.choice([-1, 1], 40))}" for name in names]
    text = "\r\n".join([str(count), " ".join(attributes) + " ", *rows, ""])
    (folder / "list_attr_celeba.txt").write_text(text, newline="")
    part = ["0" if i < 40 else "1" if i < 52 else "2" for i in range(count)]
    lines = [f"{name} {p}" for name, p in zip(names, part, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\r\n".join([*lines, ""]), newline="")


def test_a_label_that_is_not_there_is_refused(mixture_model):
    with pytest.raises(UsageError, match="choose one of component; received 'Blond_Hair'"):
        evaluate.prepare(str(mixture_model.path), color_by="Blond_Hair")


def test_an_output_that_cannot_be_written_is_refused(mixture_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--output"):
        evaluate.prepare(str(mixture_model.path), output=str(tmp_path / "file"))


def test_a_data_dir_for_data_without_files_is_refused(mixture_model):
    with pytest.raises(UsageError, match="--data-dir does not apply"):
        evaluate.prepare(str(mixture_model.path), data_dir="/tmp")


def test_data_of_another_shape_are_refused(tmp_path):
    config, card = {"dataset": "digits", "binarize": False}, digits.load().card
    with few_signatures("encode"):
        version = publish.publish(
            make_vae((9, 9, 1)), tmp_path, "m", config=config, card=card, history={}
        )
    with pytest.raises(UsageError, match=r"\(9, 9, 1\).*\(8, 8, 1\)"):
        evaluate.prepare(str(version.path))


def _of_somebody_else(tmp_path, card=None, **config):
    """A version whose kvae.json names a folder that nobody here has chosen."""
    path = tmp_path / "m" / "1"
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    said = metadata(config=config, data_card=card or {"name": "theirs"})
    (path / versions.METADATA).write_text(json.dumps(said))
    return str(path)


def test_nothing_is_written_where_a_version_says_its_cache_is(tmp_path):
    theirs = tmp_path / "theirs"
    options = {"faces_count": 20, "image_size": 32, "cache_dir": str(theirs)}
    path = _of_somebody_else(tmp_path, dataset="faces", **options)
    with pytest.raises(UsageError, match="not the data that the model was trained on"):
        evaluate.prepare(path)
    assert not theirs.exists()
    with pytest.raises(UsageError, match="not the data that the model was trained on"):
        evaluate.prepare(path, cache_dir=str(tmp_path / "ours"))
    assert list((tmp_path / "ours").glob("*.npy"))
    assert not theirs.exists()


def test_networks_that_judge_are_not_kept_where_a_version_says(tmp_path):
    theirs = tmp_path / "theirs"
    card = digits.load().card
    path = _of_somebody_else(tmp_path, card, dataset="digits", cache_dir=str(theirs))
    assert evaluate.prepare(path).cache_dir is None


def test_nothing_is_downloaded_to_where_a_version_says_its_data_are(tmp_path):
    theirs = tmp_path / "theirs"
    path = _of_somebody_else(tmp_path, dataset="tfds:mnist", data_dir=str(theirs))
    with pytest.raises(UsageError, match=f"tfds:mnist is not in {theirs}.*--data-dir"):
        evaluate.prepare(path)
    assert not theirs.exists()


def test_other_data_than_those_of_training_are_refused(mixture_model, monkeypatch):
    path = str(mixture_model.path)
    assert evaluate.prepare(path).dataset.kind == "vectors"
    other = gmm.load(gmm_seed=1)
    monkeypatch.setattr("kvae.data.load", lambda *_, **__: other)
    with pytest.raises(UsageError, match="not the data that the model was trained on: 'mixture'"):
        evaluate.prepare(path)


def test_a_test_split_too_small_to_measure_is_refused(mixture_model, monkeypatch):
    small = gmm.load()
    small = replace(
        small, test=Split(small.test.x[:9], {"component": small.test.labels["component"][:9]})
    )
    monkeypatch.setattr("kvae.data.load", lambda *_, **__: small)
    with pytest.raises(DataError, match="10 test rows"):
        evaluate.prepare(str(mixture_model.path))


def _prepare_with_cards(tmp_path, monkeypatch, then, now):
    path = _of_somebody_else(tmp_path, then, dataset="digits")
    dataset = replace(digits.load(), card=now)
    monkeypatch.setattr("kvae.data.load", lambda *_, **__: dataset)
    return evaluate.prepare(path)


def test_a_copy_with_other_counts_is_noted(tmp_path, monkeypatch, capsys):
    then, now = {"crop": "none", "counts": {"test": 5}}, {"crop": "none", "counts": {}}
    _prepare_with_cards(tmp_path / "a", monkeypatch, then, now)
    assert "note: counts" in capsys.readouterr().out
    with pytest.raises(UsageError, match="'crop'"):
        _prepare_with_cards(tmp_path / "b", monkeypatch, {"crop": "none"}, {"crop": "center"})


def test_a_damaged_version_is_one_clear_error(mixture_model, tmp_path):
    copy = tmp_path / "gmm" / "1"
    shutil.copytree(mixture_model.path, copy)
    (copy / "saved_model.pb").write_bytes(b"garbage")
    job = evaluate.prepare(str(copy))
    with pytest.raises(DataError, match="cannot be loaded"):
        evaluate.evaluate(job)
    (copy / versions.METADATA).write_text("{")
    with pytest.raises(DataError, match=r"kvae\.json"):
        evaluate.prepare(str(copy))


def test_the_reconstruction_error_is_that_of_the_served_reconstruction(
    mixture_model, mixture_metrics
):
    from kvae.serving.served import ServedModel

    x = gmm.load().test.x
    found = ServedModel(mixture_model).call("serving_default", x=x)["reconstruction"]
    assert mixture_metrics["mse_reconstruction"] == pytest.approx(
        np.mean((found - x) ** 2), rel=1e-4
    )


def test_served_images_may_be_bytes_or_floats(version_of_images):
    from kvae.serving.served import ServedModel

    images = digits.load().test.x[:5]
    served = ServedModel(version_of_images, batch_size=2)
    first = served.call("encode", x=images)["mean"]
    second = served.call("encode", x=images.astype("float32") / 255)["mean"]
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_batches_on_threads_answer_as_one_after_another(mixture_model, monkeypatch):
    import tensorflow as tf

    from kvae.serving.served import ServedModel

    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    answers = []
    for cores in (1, 3):
        monkeypatch.setattr("kvae.serving.served.num_cores", lambda cores=cores: cores)
        served = ServedModel(mixture_model, batch_size=8)
        answers.append(served.call("log_likelihood", x=x, seed=np.arange(50)))
    for name, values in answers[0].items():
        np.testing.assert_array_equal(values, answers[1][name])
    with pytest.raises(tf.errors.InvalidArgumentError, match="need as many rows"):
        served.call("log_likelihood", x=x, seed=np.arange(49))  # an error of a thread


def test_a_process_of_figures_that_dies_does_not_cost_the_numbers(
    mixture_model, mixture_metrics, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluate, "num_processes", lambda: 1)
    monkeypatch.setattr(drawing, "draw_map", lambda *_, paint, **__: paint(os._exit, 9))
    monkeypatch.setattr(drawing, "draw", lambda *_, **__: None)
    monkeypatch.setattr(
        "kvae.evaluation.measurements.measure", lambda *_, **__: ({**mixture_metrics}, {"seed": 3})
    )
    with pytest.raises(IncompleteError, match=r"is written without _exit$"):
        _evaluate(mixture_model.path, output=str(tmp_path))
    told = "_exit: the process that drew it ended with status 9"
    assert told in capsys.readouterr().err and told in (tmp_path / "report.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json", "report.html", "captions.txt", "MODEL_CARD.md"
    }  # fmt: skip


def test_a_figure_that_fails_does_not_cost_the_numbers(
    mixture_model, mixture_metrics, tmp_path, monkeypatch, capsys
):
    def fail(workshop, *_, **__):
        (workshop / "rates.png").write_bytes(b"half")
        raise ValueError("cannot draw")

    monkeypatch.setattr(drawing, "draw_map", lambda *_, **__: None)
    monkeypatch.setattr(
        drawing, "draw",
        lambda folder, *_, paint, **__: paint(fail, folder, path=folder / "rates.png"),
    )  # fmt: skip
    monkeypatch.setattr(
        "kvae.evaluation.measurements.measure", lambda *_, **__: ({**mixture_metrics}, {"seed": 3})
    )
    for ending in ("png", "svg"):
        (tmp_path / f"rates.{ending}").write_bytes(b"of an earlier evaluation")
    with pytest.raises(IncompleteError, match=r"is written without rates\.png$") as raised:
        _evaluate(mixture_model.path, output=str(tmp_path))
    assert raised.value.exit_status == 3
    assert raised.value.made["protocol"] == {"seed": 3}
    assert (
        "rates.png could not be drawn: ValueError: cannot draw"
        in (tmp_path / "report.html").read_text()
    )
    assert not [*tmp_path.glob("rates.*")]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {**mixture_metrics, "protocol": {"seed": 3}}
    printed = capsys.readouterr().out
    assert printed.index("gap, true minus bound") < printed.index("wrote")


def test_what_fails_before_a_figure_is_drawn_costs_no_other(
    mixture_model, mixture_metrics, tmp_path, monkeypatch, capsys
):
    """Of each figure: the first ones, one in the middle, and one that asks the model."""
    fails = {"generation.png", "rates.png", "density.png"}

    def fail(*_):
        raise ValueError("cannot be prepared")

    for name in ("_generation", "_rates", "_density"):
        monkeypatch.setattr(drawing, name, fail)
    monkeypatch.setattr(
        "kvae.evaluation.measurements.measure", lambda *_, **__: ({**mixture_metrics}, {"seed": 3})
    )
    with quiet():
        job = evaluate.prepare(str(mixture_model.path), output=str(tmp_path))
    (tmp_path / "curves.svg").write_bytes(b"of an earlier evaluation")
    with quiet(), pytest.raises(IncompleteError) as raised:
        evaluate.evaluate(job, num_draws=5, figure_format="pdf")
    assert all(name in str(raised.value) for name in fails)
    results, told = capsys.readouterr()
    assert "gap, true minus bound" in results and f"to    {tmp_path}" in results
    assert "measuring" not in results and str(mixture_model.path) not in results
    assert all(f"note: {name} could not be drawn" in told for name in fails)
    found = {path.name for path in tmp_path.iterdir()}
    drawn = OF_MIXTURES - fails
    printed = {name.replace(".png", ".pdf") for name in drawn}
    assert found == drawn | printed | (BESIDE - {"rows.npz"})
    captions = (tmp_path / "captions.txt").read_text()
    assert "recall.png, recall.pdf\n" in captions
    page = (tmp_path / "report.html").read_text()
    assert "density.png could not be drawn: ValueError: cannot be prepared" in page
    assert page.count("data:image/png") == len(drawn)
    assert "recall.pdf" in page


def test_a_random_split_of_other_files_is_refused(tmp_path, monkeypatch, capsys):
    """The same seed would deal them anew, and test would hold rows that were trained on."""
    then = {"split": "random 80/10/10", "split_of": "a", "counts": {"test": 5}}
    _prepare_with_cards(tmp_path / "a", monkeypatch, then, then)
    assert "note" not in capsys.readouterr().out
    now = {**then, "split_of": "b", "counts": {"test": 6}}
    with pytest.raises(UsageError, match="the set of files has changed since training"):
        _prepare_with_cards(tmp_path / "b", monkeypatch, then, now)


def test_numbers_of_a_card_may_be_rounded_otherwise(tmp_path, monkeypatch):
    """Another processor draws the same mixture to other last bits."""
    then = {"mixture": {"weights": [0.25, 0.75], "names": ["a", "b"]}}
    near = {"mixture": {"weights": [0.25 + 1e-16, 0.75 - 2e-16], "names": ["a", "b"]}}
    _prepare_with_cards(tmp_path / "a", monkeypatch, then, near)
    far = {"mixture": {"weights": [0.2501, 0.7499], "names": ["a", "b"]}}
    with pytest.raises(UsageError, match="'mixture' of the data card"):
        _prepare_with_cards(tmp_path / "b", monkeypatch, then, far)
