"""--tensorboard: what it writes, and that training is none the wiser."""

from unittest import mock

import keras
import numpy as np
import pytest
from kvae_testing import make_vae

import kvae
from kvae.config import resolve
from kvae.data import Dataset, Split
from kvae.errors import UsageError

QUICK = {
    "epochs": 3, "hidden_units": (4,), "sampler": "none", "jit_compile": False, "verbose": 0,
    "prior": "standard_normal", "posterior": "diagonal", "tensorboard_every": 2,
}  # fmt: skip
DATA = kvae.Dataset.from_arrays(np.random.default_rng(0).normal(size=(120, 2)).astype("float32"))


def _shown(folder):
    """Tag -> epochs, and tag -> the last value of those that are figures."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    events = {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}
    steps = {tag: [event.step for event in own] for tag, own in events.items()}
    last = {tag: make_ndarray(own[-1].tensor_proto) for tag, own in events.items()}
    return steps, last


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with TensorBoard, its folder, and the same run without."""
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("runs")
    with_it = kvae.train(DATA, name="m", tensorboard=folder, **QUICK)
    return with_it, folder, kvae.train(DATA, name="m", **QUICK)


def test_it_changes_nothing_of_training(runs):
    with_it, _, without = runs
    for ours, theirs in zip(with_it.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert with_it.history.history == without.history.history


def test_train_and_valid_figures_have_the_same_names(runs):
    vae, folder, _ = runs
    steps, last = zip(*(_shown(folder / "m-1" / part) for part in ("train", "valid")), strict=True)
    figures = {name for name in vae.history.history if not name.startswith("val_")}
    assert steps[0] == {name: [1, 2, 3] for name in figures}
    assert steps[0].items() <= steps[1].items()
    history = vae.history.history
    assert last[0]["elbo"] == pytest.approx(history["elbo"][-1])
    assert last[1]["elbo"] == pytest.approx(history["val_elbo"][-1])


def test_what_the_model_makes_is_shown_first_last_and_between(runs):
    vae, folder, _ = runs
    steps, last = _shown(folder / "m-1" / "valid")
    looks = ["reconstructions", "samples", *(f"rate_of_dimension_nats/0{i}" for i in (1, 2))]
    assert [steps[name] for name in looks] == [[1, 2, 3]] * 4
    assert last["samples"][2].startswith(b"\x89PNG")
    rate = vae.prior.rate(vae.posterior(np.asarray(DATA.valid.x)), None)
    found = sum(last[f"rate_of_dimension_nats/0{i}"] for i in (1, 2))
    assert found == pytest.approx(float(np.mean(rate)), rel=0.2)  # of the best epoch, not the last


def _callback(folder, dataset, **given):
    from kvae.training.watching.tensorboard import TensorBoard

    config = resolve({"dataset": "gmm", "name": "m", "tensorboard": str(folder), **given})
    return TensorBoard(config, dataset)


def test_images_a_run_that_goes_on_and_one_that_somebody_ends(of_images, tmp_path):
    pytest.importorskip("tensorboard")
    vae, _ = of_images
    split = Split(np.random.default_rng(0).random((30, 8, 8, 1), "float32"))
    dataset = Dataset("images", split, split, split)
    (tmp_path / "m-old").mkdir()
    for first, made in ((0, 2), (2, 4)):
        callback = _callback(tmp_path, dataset, epochs=9, tensorboard_every=9)
        callback.set_model(vae)
        vae.stop_training = False
        for epoch in range(first, made):
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"elbo": 1.0, "val_elbo": 2.0})
        vae.stop_training = True
        callback.on_train_end()
        callback.on_train_end()
    steps, last = _shown(tmp_path / "m-1" / "valid")
    assert steps["elbo"] == [1, 2, 3, 4]
    assert steps["samples"] == steps["reconstructions"] == [1, 2, 4]
    assert "rate_of_dimension_nats/01" in last
    again = _callback(tmp_path, dataset)
    again.set_model(vae)
    again.on_epoch_begin(0)
    assert (tmp_path / "m-2").is_dir()


def test_a_look_makes_no_variable_that_other_machines_would_wait_for(tmp_path):
    pytest.importorskip("tensorboard")
    split = Split(np.random.default_rng(0).normal(size=(20, 2)).astype("float32"))
    callback = _callback(tmp_path, Dataset("vectors", split, split, split))
    vae = make_vae((2,), prior="mixture")
    callback.set_model(vae)
    vae.stop_training = False
    callback.on_epoch_begin(0)
    made = []
    with mock.patch.object(keras.Variable, "_initialize", lambda *_: made.append(1)):
        callback.on_epoch_end(0, {})
    assert not made
    assert _shown(tmp_path / "m-1" / "valid")[0]["samples"] == [1]


@pytest.mark.parametrize("parts", [{"prior": "mixture"}, {"posterior": "full"}])
def test_of_a_rate_that_is_no_sum_over_dimensions_no_part_is_shown(parts, tmp_path):
    pytest.importorskip("tensorboard")
    split = Split(np.random.default_rng(0).normal(size=(20, 2)).astype("float32"))
    callback = _callback(tmp_path, Dataset("vectors", split, split, split))
    vae = make_vae((2,), **parts)
    callback.set_model(vae)
    vae.stop_training = False
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {})
    steps, _ = _shown(tmp_path / "m-1" / "valid")
    assert not [name for name in steps if name.startswith("rate_of")]
    assert steps["active_fraction_of_dimension/02"] == steps["samples"] == [1]


def test_what_cannot_be_written_costs_no_training(tmp_path, capsys, small_vae):
    split = Split(np.zeros((9, 2), "float32"))
    (tmp_path / "file").write_text("")
    callback = _callback(tmp_path / "file", Dataset("vectors", split, split, split))
    callback.set_model(small_vae)
    small_vae.stop_training = False
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"elbo": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: --tensorboard ") and line.endswith("goes on without it")


def test_without_tensorboard_it_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("kvae.training.preflight.find_spec", {}.get)
    with pytest.raises(UsageError, match=r"which is not installed: pip install -e \"\.\[tensorb"):
        kvae.train("gmm", tensorboard=tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("kvae.training.preflight.find_spec", lambda name: name)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--tensorboard names another folder"):
        kvae.train("gmm", tensorboard=tmp_path / "file")
