"""Keras callbacks of the user's own in a run."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from kvae_testing import few_signatures

import kvae
from kvae import own_files
from kvae.errors import UsageError
from kvae.serving import versions
from kvae.training import callbacks
from kvae.training.endings import Ending
from kvae.training.program import main as train_py

DATA = kvae.Dataset.from_arrays(np.random.default_rng(0).normal(size=(120, 2)).astype("float32"))
QUICK = {
    "hidden_units": (4,), "sampler": "none", "jit_compile": False, "prior": "standard_normal",
    "posterior": "diagonal", "variance": "shared", "batch_size": 32,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode", "generate"):
        yield


def _train(*own, **given):
    return kvae.train(DATA, callbacks=[*own], **{"epochs": 3, **QUICK, **given})


def _stopping(on, when=0):
    """A callback that ends training in epoch `when`, at the end of a step or of the epoch."""

    class Stopping(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def _stop(self, *_, **__):
            self.model.stop_training |= self.epoch >= when

    setattr(Stopping, on, Stopping._stop)
    return Stopping()


def test_a_callback_that_ends_training_is_an_end_that_is_told():
    vae = _train(_stopping("on_epoch_end", when=1))
    said = "after epoch 2 of 3: stop_training was set by a callback (Stopping)"
    assert vae.trained.course["ended"] == said
    assert len(vae.history.history["val_elbo"]) == 2


def test_of_what_callbacks_log_numbers_alone_are_in_the_history():
    class Logging(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(rate_of_mine=0.5, lost=float("nan"))

    history = _train(Logging(), epochs=1).history.history
    assert history["rate_of_mine"] == [0.5]
    assert "lost" not in history


@pytest.mark.parametrize(
    ("on", "when", "said"),
    [
        ("on_train_batch_end", 0, "in epoch 1 of 2, after step 1 of 2: "),
        ("on_epoch_end", 0, "after epoch 1 of 2: "),
        ("on_epoch_end", 1, ""),
    ],
)
def test_an_end_is_named_by_its_place_but_for_the_last(on, when, said):
    config = SimpleNamespace(epochs=2, max_minutes=0, patience=0)
    stopping = _stopping(on, when)
    ending = Ending(config, SimpleNamespace(waited=0), 2, 2, lambda: 0.0, [stopping])
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.zeros((4, 1), "float32")
    model.fit(x, x, batch_size=2, epochs=2, verbose=0, callbacks=[ending, stopping])
    assert ending.reason.startswith(said)
    assert bool(ending.reason) == bool(said)


def test_an_error_of_a_callback_ends_the_run_and_its_best_weights_stay(tmp_path, capsys):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        _train(Failing(), output=tmp_path, name="m")
    assert "best weights of this run" in capsys.readouterr().err
    assert (versions.training_folder(tmp_path, "m") / "earlier-1.npz").exists()
    assert not versions.versions(tmp_path / "m")


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (keras.callbacks.History, "the class History"),
        (keras.callbacks.History(), "<keras.*History"),
        ("early", "'early'"),
        ([keras.callbacks.History], "the class History"),
        ([print], "<built-in function print>"),
        ([None], "None"),
    ],
)
def test_what_is_no_list_of_callbacks_is_refused(given, received):
    with pytest.raises(UsageError, match=rf"callbacks: .*keras.callbacks.Callback.*{received}"):
        kvae.train("gmm", callbacks=given)


FILE = """
from kvae.training.callbacks import CALLBACKS

@CALLBACKS.append
def lines(config):
    import keras

    return keras.callbacks.CSVLogger(f"{config.save}/of_mine.csv")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "_run", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(callbacks, "CALLBACKS", [])
    path = tmp_path / "callbacks_of_mine.py"
    path.write_text(FILE)
    yield path
    sys.modules.pop("callbacks_of_mine", None)


def test_a_file_adds_callbacks_to_the_runs_of_the_command_line(file, tmp_path):
    given = {**QUICK, "epochs": 2, "batch_size": 5000, "hidden_units": "4", "save": tmp_path}
    given.pop("jit_compile")
    words = [str(w) for n, v in given.items() for w in (f"--{n.replace('_', '-')}", v)]
    train_py(["--dataset", "gmm", *words, "--no-jit-compile", "--import", str(file)])
    lines = (tmp_path / "of_mine.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "val_elbo" in lines[0]


@pytest.mark.parametrize("made", [lambda config: None, "x", lambda config: keras.callbacks.History])
def test_what_makes_no_callback_is_refused(made, monkeypatch):
    monkeypatch.setattr(callbacks, "CALLBACKS", [made])
    with pytest.raises(UsageError, match=r"CALLBACKS: each is a function of .* received"):
        _train()
