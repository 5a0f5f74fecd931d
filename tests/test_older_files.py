"""Files that older versions of kvae wrote are read, answer as they did, and are trained further.

tests/fixtures/make.py says what is in them, and at which commit it makes them again. A test that
fails here is a user who can no longer use a model: mend kvae, not the files.
"""

import tarfile

import numpy as np
import pytest
from kvae_testing import small_mixtures
from older_files_testing import ARCHIVE, OPTIONS, VERSION, answers, given_to, read, served_answers

import kvae
from kvae.config import resolve
from kvae.evaluation import drawing, evaluate
from kvae.publish.verification import verify
from kvae.serving import versions
from kvae.training import run

#: Model -> beta at the step that it was saved after, and at the next one.
BETA = {
    "warmup": (0.4, 0.5),
    "image": (1.0, 1.5),
    "iwae": (1.0, 1.0),
    "tc": (1.5, 1.5),
    "sampler": (1.0, 1.0),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module", params=BETA)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def rows(files, name):
    return read(files, name)[0]


@pytest.fixture
def vae(files, name):
    return kvae.load_model(files / f"{name}.keras")


def _hold_to(found, then):
    assert found.keys() == then.keys()
    for name, value in then.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_model_answers_as_it_did_and_so_does_its_copy(files, vae, rows, name, tmp_path):
    _hold_to(answers(vae, rows), read(files, name)[1])
    vae.save(tmp_path / "copy.keras")
    _hold_to(answers(kvae.load_model(tmp_path / "copy.keras"), rows), read(files, name)[1])


def test_a_model_is_evaluated_and_trained_for_the_goal_that_it_had(vae, rows, name):
    vae.run_eagerly = True  # for one step tracing takes longer
    if name == "iwae":
        assert vae.objective.draws == 4
    found = vae.evaluate(given_to(rows), batch_size=len(rows["x"]), verbose=0, return_dict=True)
    _check_goal(name, found, BETA[name][0])
    _check_goal(name, _one_step(vae, rows), BETA[name][1])
    vae.compile("adam", run_eagerly=True)
    then = np.asarray(vae.encode(given_to(rows))[0])
    assert np.isfinite(list(_one_step(vae, rows).values())).all()
    assert np.abs(vae.encode(given_to(rows))[0] - then).max() > 1e-4


def _one_step(vae, rows):
    """Train for an epoch of one step; its figures."""
    x = given_to(rows)
    history = vae.fit(x, batch_size=len(rows["x"]), epochs=1, verbose=0).history
    return {figure: value for figure, (value,) in history.items()}


def _check_goal(name, found, beta):
    """The loss is what the model's objective makes of distortion and rate, whatever was drawn."""
    assert np.isfinite(list(found.values())).all()
    distortion, rate, loss = (found[key] for key in ("distortion", "rate", "loss"))
    assert found["elbo"] == pytest.approx(-(distortion + rate), rel=1e-4)
    if name == "iwae":
        assert loss < distortion + rate - 0.01
    elif name == "sampler":  # each of two latents carries less than the 3 nats that are free
        assert loss == pytest.approx(distortion + 6.0, rel=1e-4)
    else:
        weighed = rate + found.get("total_correlation", 0.0)
        assert loss == pytest.approx(distortion + beta * weighed, rel=1e-4)


# What train.py published


def test_a_published_version_is_whole_and_answers_as_it_did(files):
    assert verify(versions.find_version(files / VERSION)) == []
    rows, then = read(files, "saved")
    _hold_to(served_answers(files / VERSION, rows), then)


def test_its_keras_file_says_what_its_signatures_say(files):
    rows, then = read(files, "saved")
    vae = kvae.load_model(files / VERSION)
    mean, variance = vae.encode(rows["x"])
    generated = vae.generate(len(rows["x"]), row_seeds=np.arange(len(rows["x"])))
    found = {"encode/mean": mean, "encode/variance": variance, "generate/sample": generated}
    _hold_to(found, {name: then[name] for name in found})


def test_a_published_version_is_evaluated(files, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "draw", lambda *_, **__: None)
    with small_mixtures():  # a note says that the test split was larger in training
        job = evaluate.prepare(str(files / VERSION), output=str(tmp_path))
        metrics = evaluate.evaluate(job, num_draws=5)
    history = versions.read_metadata(job.version)["history"]
    assert metrics["elbo_nats_prior"] == pytest.approx(history["val_elbo"][-1], abs=0.2)
    assert metrics["elbo_nats_prior"] < metrics["log_likelihood_nats_prior"]
    assert not metrics["gap_is_a_bug_prior"]
    assert (tmp_path / evaluate.METRICS_FILE).is_file()


@pytest.mark.parametrize("source", [VERSION, "warmup.keras", "warmup.weights.h5"], ids=str)
def test_training_goes_on_from_older_weights(files, tmp_path, source):
    """At a rate of next to nothing a run ends where it began."""
    model, name = (VERSION, "saved") if source == VERSION else ("warmup.keras", "warmup")
    older = kvae.load_model(files / model)
    options = {**OPTIONS, "epochs": 1, "learning_rate": 1e-9, "sampler": "none"}
    options |= {"init_from": str(files / source), "save": str(tmp_path)}
    with small_mixtures():
        fitted = run.fit(resolve({**options, "dataset": "gmm"}), tmp_path)
    rows, _ = read(files, name)
    # A weights file knows no units: compared is what the decoder says in its own.
    then, now = (
        (np.asarray(one.decode(rows["latent"]).mean()) - one.shift) / one.scale
        for one in (older, fitted.vae)
    )
    np.testing.assert_allclose(now, then, atol=1e-5)
    assert np.isfinite(fitted.history["val_elbo"]).all()
