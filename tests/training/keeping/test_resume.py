"""A run that is cut anywhere ends where the uninterrupted one ends."""

import json
import shutil
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keeping_testing import IMAGES, VECTORS, Cut, assert_equal, config_of, state_of

import kvae
from kvae import publish, workflow
from kvae.config import resolve
from kvae.data import Dataset, Split, pipeline
from kvae.errors import UsageError
from kvae.objectives.elbo import Elbo
from kvae.probability.schedules import LinearWarmup
from kvae.publish import program as program_of_publish
from kvae.serving import versions
from kvae.training import objects, run, start
from kvae.training.keeping import checkpoints, from_checkpoint, resume

# Where a run can be cut


@pytest.mark.parametrize(
    ("given", "cuts"),
    [
        # 5 batches of 1000 make a block, one call an epoch; 4 calls of 300 rows an epoch.
        (VECTORS, [Cut(2)]),
        (IMAGES, [Cut(1, in_validation=True), Cut(5)]),  # the second one within an epoch
    ],
    ids=["vectors", "images"],
)
def test_a_run_that_is_cut_ends_where_it_would_have(tmp_path, whole, given, cuts, _often, capsys):
    config = config_of(tmp_path, given)
    for cut in cuts:
        with pytest.raises(SystemError, match="cut"):
            run.train_and_publish(config, callbacks=[cut])
    assert capsys.readouterr().out.count("goes on ") == len(cuts) - 1
    run.train(config)
    assert_equal(state_of(tmp_path, given["dataset"]), state_of(whole, given["dataset"]))


def test_the_last_few_are_kept(cut):
    folder, _ = cut
    assert [path.name for path in checkpoints.unfinished(folder)] == [
        "checkpoint-000000000010.npz", "checkpoint-000000000005.npz",
    ]  # fmt: skip
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    assert (found.epoch, found.call, found.step, len(found.rows)) == (2, 0, 10, 2)


def test_the_model_trains_on_what_each_epoch_draws_and_goes_on_with_the_same(tmp_path, _often):
    given = {
        "dataset": "digits", "binarize": "dynamic", "likelihood": "bernoulli", "network": "mlp",
        "hidden_units": "4", "latent_dim": 2, "epochs": 2, "batch_size": 400,
        "prior": "standard_normal", "posterior": "diagonal", "sampler": "none",
        "jit_compile": False,
    }  # fmt: skip

    def black(grey, rows, *_):
        return np.zeros_like(grey[rows])

    whole = run.train_alone(resolve({**given, "save": str(tmp_path)})).vae.get_weights()
    with pytest.raises(SystemError, match="cut"):  # in the second epoch
        run.train_and_publish(resolve({**given, "save": str(tmp_path)}), callbacks=[Cut(4)])
    shutil.copytree(tmp_path / "digits", tmp_path / "other" / "digits")
    gone_on, _ = run.train_and_publish(resolve({**given, "save": str(tmp_path)}))
    for one, other in zip(gone_on.vae.get_weights(), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    with mock.patch.object(pipeline, "epoch_draws", black):
        other, _ = run.train_and_publish(resolve({**given, "save": str(tmp_path / "other")}))
    assert other.vae.num_steps == gone_on.vae.num_steps == 6
    changed = [(a != b).any() for a, b in zip(other.vae.get_weights(), whole, strict=True)]
    assert sum(changed) > len(changed) // 2


# What else is there to go on with


def test_nothing_saved_starts_and_says_so(tmp_path):
    config = config_of(tmp_path, VECTORS)
    assert resume.find(config, None) == resume.Found()
    assert "nothing is saved" in resume.find(config, True).told


@pytest.mark.parametrize("going_on", [None, True])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0.01}, "--learning-rate 0.003 there, 0.01 here"),
        ({"hidden_units": (9,)}, r"--hidden-units \[8\] there, \[9\] here"),
        ({"seed": 4}, "--seed 0 there, 4 here"),
        ({"epochs": 3}, "--epochs 4 there, 3 here: fewer"),
        ({"init_from": "x.keras"}, "--init-from None there, 'x.keras' here"),
    ],
    ids=str,
)
def test_other_options_are_refused_with_the_difference(cut, changes, said, going_on):
    _, config = cut
    with pytest.raises(UsageError, match=f"{said}.*--fresh"):
        resume.find(config.replaced(**changes), going_on, whole=False)


def _written_by_an_older_release(config, **values):
    """The options of a run as they were before there were ways to binarize, or to differentiate."""
    then = json.loads(json.dumps(config.to_dict())) | values
    for name in ("binarize_seed", "iwae_gradient"):
        then.pop(name, None)
    return then


def test_a_run_of_before_edge_weights_goes_on_without():
    config = resolve({"dataset": "digits"})
    then = json.loads(json.dumps(config.to_dict()))
    del then["edge_weight"]
    assert not resume._differences(config, then)
    (said,) = resume._differences(config.replaced(edge_weight=2.0), then)
    assert said == "--edge-weight 0.0 there, 2.0 here"


@pytest.mark.parametrize(("before", "way"), [(False, "none"), (True, "threshold")])
def test_a_run_of_an_older_release_goes_on(before, way):
    given = {"dataset": "digits", "objective": "iwae", "likelihood": "bernoulli"}
    config = resolve({**given, "binarize": way})
    then = _written_by_an_older_release(config, binarize=before)
    assert not resume._differences(config, then)
    for name, other in (
        ("binarize", "dynamic"), ("binarize_seed", 3), ("iwae_gradient", "dreg"), ("seed", 1),
    ):  # fmt: skip
        (said,) = resume._differences(config.replaced(**{name: other}), then)
        assert said.startswith(f"--{name.replace('_', '-')} ")
        assert said.endswith(f"{other!r} here")


def test_a_checkpoint_of_an_older_release_is_found(tmp_path):
    """The door that a user comes by: the head of a file, which has the options of before."""
    config = resolve({"dataset": "digits", "save": str(tmp_path)})
    head = {"run": "r", "epoch": 1, "config": _written_by_an_older_release(config, binarize=False)}
    with (
        mock.patch.object(checkpoints, "unfinished", lambda folder: [folder / "c.npz"]),
        mock.patch.object(checkpoints, "read_header", lambda path: head),
    ):
        assert resume.find(config, None, whole=False).is_saved
        with pytest.raises(UsageError, match="other options: --binarize 'none' there, 'static' he"):
            resume.find(config.replaced(binarize="static"), None, whole=False)


def test_another_part_is_refused_with_its_own_options(cut):
    _, config = cut
    other = resolve({**VECTORS, "save": config.save, "variance": "shared", "prior": "mixture"})
    with pytest.raises(UsageError, match="--prior 'standard_normal' there, 'mixture' here; --pr"):
        resume.find(other, None)


@pytest.mark.parametrize(
    "changes", [{"epochs": 9}, {"patience": 3}, {"max_minutes": 5.0}, {"epochs": 4}], ids=str
)
def test_what_says_where_a_run_ends_may_change(cut, changes):
    _, config = cut
    found = resume.find(config.replaced(**changes), None)
    assert found.checkpoint.epoch == 2 and "goes on" in found.told


def test_other_data_are_refused_with_the_difference(cut, monkeypatch):
    folder, config = cut
    before = [path.read_bytes() for path in checkpoints.unfinished(folder)]
    with mock.patch("kvae.data.gmm.NUM_VALID", 900), pytest.raises(UsageError) as error:
        run.train(config)
    assert "1,000 valid rows there, 900 here" in str(error.value)
    x = np.zeros((9, 2), "float32")
    same = {"train": {"rows": 9, "checksum": "a"}}
    other = {"train": {"rows": 9, "checksum": "b"}}
    with pytest.raises(UsageError, match="other numbers, or another order, in the train rows"):
        resume.check_data(same, other)
    split = Split(x)
    first = resume.fingerprint(Dataset("vectors", split, split, split), None)
    x = x + 1
    assert resume.fingerprint(Dataset("vectors", Split(x), split, split), None) != first
    assert [path.read_bytes() for path in checkpoints.unfinished(folder)] == before


def test_fresh_moves_the_run_aside_and_keeps_its_best_weights(cut):
    folder, config = cut
    found = resume.find(config.replaced(seed=4), False)
    assert found.checkpoint is None and "earlier-1.npz" in found.told
    assert [path.name for path in checkpoints.earlier(folder)] == ["earlier-1.npz"]
    assert not checkpoints.unfinished(folder)
    assert checkpoints.read(folder / "earlier-1.npz").best_weights


def test_fresh_keeps_what_this_kvae_cannot_read(cut):
    folder, config = cut
    newest, before = checkpoints.unfinished(folder)
    contents = [newest.read_bytes(), before.read_bytes()]
    with mock.patch.object(checkpoints, "FORMAT", 0):
        found = resume.find(config, False)
    assert [path.read_bytes() for path in checkpoints.earlier(folder)] == contents
    assert found.told.endswith("earlier-2.npz now") and not checkpoints.unfinished(folder)


def test_other_objects_are_refused_with_the_difference():
    """No option says how they were made; names, which Keras counts up, are no difference."""

    def model(name, rate, steps):
        layers = [keras.layers.Dense(3, name=name), keras.layers.Dropout(rate)]
        encoder = keras.Sequential([keras.Input((2,)), *layers])
        parts = {
            "encoder": encoder,
            "decoder": encoder,
            "objective": Elbo(LinearWarmup(1.0, steps)),
        }
        return {"config": {
            name: keras.saving.serialize_keras_object(part) for name, part in parts.items()
        }}  # fmt: skip

    first = model("a", 0.5, 9)
    pair = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    given = {"network": (pair, pair), "objective": Elbo(LinearWarmup(1.0, 9))}
    with objects.named(given) as named:
        config = resolve({"dataset": "gmm", **named})
        resume.check_objects(config, first, model("b", 0.5, 9))
        resume.check_objects(config, None, first)
        with pytest.raises(UsageError, match=r"another encoder: .*rate 0\.5 there, 0\.4 here"):
            resume.check_objects(config, first, model("b", 0.4, 9))
        with pytest.raises(UsageError, match=r"another objective: .*warmup_steps 9 there, 8 here"):
            resume.check_objects(config, first, model("a", 0.5, 8))
    resume.check_objects(resolve(VECTORS), first, model("a", 0.5, 8))  # by name: options say it


def test_a_run_with_another_object_of_equal_options_does_not_go_on(cut):
    _, config = cut
    given = {"objective": Elbo(LinearWarmup(1.0, 3))}
    refused = pytest.raises(UsageError, match="another objective: beta")
    with objects.named(given) as named, refused:
        run.train(config_of(config.save, {**VECTORS, **named}))


@pytest.mark.slow  # two trainings of images; what is left of a run is in test_faults.py, too
def test_a_run_that_is_over_before_an_epoch_was_measured_leaves_its_last_weights(tmp_path, _often):
    extreme = {"learning_rate": 10.0, "ema_momentum": 0, "clip_norm": 0}
    config = config_of(tmp_path, {**IMAGES, **extreme})
    folder = tmp_path / "digits" / "training"
    for _ in range(2):  # it starts anew
        with pytest.raises(run.TrainingError, match="epoch 1, step 2 of 4"):
            run.train(config)
    (path,) = folder.glob("*.npz")
    found = checkpoints.read(path)
    assert path.name == "earlier-2.npz" and found.step == 1 and not found.best_weights
    vae = start.build(config.replaced(init_from=str(path)), run.load(config), "float32")
    assert vae.num_steps == 1
    for variable, array in zip(vae.variables, found.weights, strict=True):
        if "encoder" in variable.path:
            np.testing.assert_array_equal(variable, array)


# Publication


def test_a_run_killed_between_publication_and_its_mark_is_not_published_twice(
    cut, whole, monkeypatch, capsys
):
    folder, config = cut
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "finish", mock.Mock(side_effect=SystemError("cut")))
        with pytest.raises(SystemError):
            run.train(config)
    assert len(versions.versions(folder.parent)) == 1
    vae = workflow.run(config)
    assert "gmm/1 is this run" in capsys.readouterr().out
    assert vae.trained.version.number == 1 and len(vae.history.epoch) == 4
    assert len(versions.versions(folder.parent)) == 1
    assert_equal(state_of(folder.parents[1], "gmm"), state_of(whole, "gmm"))


def test_a_published_run_goes_on_with_more_epochs_and_starts_anew_without_a_word(
    whole, tmp_path, capsys
):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    config = config_of(tmp_path, VECTORS)
    assert resume.find(config, None) == resume.Found()
    assert resume.find(config, True).published.number == 1
    with pytest.raises(UsageError, match="--seed 0 there, 1 here"):
        resume.find(config.replaced(seed=1), True)
    fitted, version = run.train_and_publish(config.replaced(epochs=6), going_on=True)
    assert version.number == 2 and len(fitted.history["elbo"]) == 6
    first = versions.read_metadata(versions.find_version(tmp_path / "gmm" / "1"))["history"]
    assert fitted.history["elbo"][:4] == first["elbo"]
    assert fitted.vae.num_steps % 5 == 0


def test_what_was_best_before_stays_the_best(cut):
    folder, config = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    checkpoints.write(folder, replace(found, record=found.record._replace(value=1e9)))
    version = run.train(config)
    assert versions.read_metadata(version)["course"]["best"]["value"] == 1e9


def test_weights_that_do_not_compute_are_told_and_the_next_run_starts_anew(
    cut, monkeypatch, capsys
):
    folder, config = cut

    def fail(*_, **__):
        raise tf.errors.InvalidArgumentError(None, None, "Input is not invertible")

    with monkeypatch.context() as patch, pytest.raises(run.TrainingError) as error:
        patch.setattr(publish, "publish", fail)
        run.train(config)
    assert "Input is not invertible" in str(error.value)
    assert "--learning-rate" in str(error.value)
    assert not checkpoints.unfinished(folder)
    assert resume.find(config.replaced(learning_rate=1e-4), None) == resume.Found()


def test_an_interrupted_run_is_published_as_it_is_and_goes_on(cut, capsys):
    folder, config = cut
    program_of_publish.main(["from-checkpoint", str(folder.parent)])
    (version,) = versions.versions(folder.parent)
    metadata = versions.read_metadata(version)
    saved = checkpoints.read(checkpoints.unfinished(folder)[0])
    assert metadata["course"]["best"]["epoch"] == saved.record.epoch
    assert "in epoch 3 of 4" in metadata["course"]["ended"]
    assert len(metadata["history"]["val_elbo"]) == 2
    ours = kvae.load_model(version.path).get_weights()
    for one, other in zip(ours, saved.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (version.path / versions.TRAIN_ROWS).exists()
    assert resume.find(config, None).checkpoint.step == 10
    with pytest.raises(UsageError, match="no sound checkpoint of a run that is not published"):
        checkpoints.set_aside(folder)
        program_of_publish.main(["from-checkpoint", str(folder.parent)])


def test_a_schedule_that_is_part_of_an_object_is_published_from_a_checkpoint_too(tmp_path, _often):
    given = {"objective": Elbo(LinearWarmup(1.0, 10))}  # 5 steps an epoch
    with objects.named(given) as named, pytest.raises(SystemError):
        run.train_and_publish(config_of(tmp_path, {**VECTORS, **named}), callbacks=[Cut(2)])
    program_of_publish.main(["from-checkpoint", str(tmp_path / "gmm")])
    version = versions.find_version(tmp_path / "gmm")
    assert versions.read_metadata(version)["config"]["kl_warmup_epochs"] == 2


def test_a_checkpoint_that_lies_elsewhere_is_refused_where_it_lies(cut, monkeypatch):
    folder, _ = cut
    found = checkpoints.read(checkpoints.unfinished(folder)[0])
    monkeypatch.setattr(from_checkpoint, "_read", lambda path: (path, found))
    with pytest.raises(UsageError, match="is not in saved/NAME/training"):
        from_checkpoint.from_checkpoint("/x.npz")
