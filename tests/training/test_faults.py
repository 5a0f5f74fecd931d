"""Training that goes on from weights, ends early, or meets numbers that are not finite."""

import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from kvae_testing import few_signatures, make_vae

import kvae
from kvae.config import resolve
from kvae.data import seen
from kvae.errors import KvaeError, UsageError
from kvae.objectives import Elbo
from kvae.training import faults, fitting, init_from, start
from kvae.training.endings import Ending
from kvae.training.keeping import best_weights, checkpoints

X = np.random.default_rng(0).normal(size=(500, 3)).astype("float32")
DATA = kvae.Dataset.from_arrays(X)  # 4 steps of 100 rows an epoch
QUICK = {"batch_size": 100, "sampler": "none", "jit_compile": False, "standardize": False}
PARTS = {
    "hidden_units": (8,), "prior": "standard_normal", "posterior": "diagonal", "variance": "shared",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("encode"):
        yield


# Where numbers stop being finite


@keras.saving.register_keras_serializable("faults_tests")
def _infinite_at_10(step):
    return keras.ops.where(keras.ops.equal(step, 10), np.inf, 1.0)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_the_step_and_the_term_are_named_and_the_best_weights_stay(tmp_path, monkeypatch, seconds):
    """Whether the state of that epoch was kept, or one of the beginning."""
    monkeypatch.setattr(fitting, "Watch", lambda skipped: faults.Watch(seconds, skipped))
    with pytest.raises(KvaeError) as error:
        kvae.train(
            DATA, output=tmp_path, objective=Elbo(_infinite_at_10), epochs=5, **QUICK, **PARTS
        )
    told = str(error.value)
    assert told.startswith("epoch 3, step 3 of 4: the loss of 100 of 100 rows is not finite")
    assert "nothing was published" in told and "--clip-norm" in told
    assert not [*tmp_path.rglob("saved_model.pb")]
    (path,) = tmp_path.rglob("*.npz")  # the next run starts anew
    assert path.name == "earlier-1.npz"
    best = checkpoints.read(path)
    assert best.record.epoch == 2
    assert all(np.isfinite(one).all() for one in best.best_weights)


class _Steep(Elbo):
    """Its loss is finite, its gradient by the decoder's first layer is not."""

    def __call__(self, model, x, noise, step, training=False):
        found = super().__call__(model, x, noise, step, training)
        weight = keras.ops.convert_to_tensor(model.decoder.trainable_variables[0])
        return found._replace(loss=found.loss + keras.ops.sqrt(keras.ops.sum(0.0 * weight)))


def _huge(vae):
    first = vae.decoder.trainable_variables[0]
    first.assign(np.full(first.shape, 3e38))


def _steep(vae):
    vae.objective = _Steep()


@pytest.mark.parametrize(
    ("change", "x", "words"),
    [
        (_huge, X, r"the distortion of \d+ of 500 rows .* first in the output of decoder/"),
        (_steep, X, "the loss is finite, the gradient of .* is not"),
        (lambda vae: vae.optimizer.learning_rate.assign(1e38), X, "the step makes .* overflow"),
        (lambda vae: None, np.where(np.arange(1500).reshape(X.shape) == 40, np.nan, X), "x.13, 1"),
    ],
    ids=["layer", "gradient", "step", "data"],
)
def test_what_is_not_finite_is_named(change, x, words):
    vae = make_vae((3,))
    vae.compile(keras.optimizers.SGD(1e-3))
    vae.optimizer.build(vae.trainable_variables)
    change(vae)
    variables = [*vae.variables, *vae.optimizer.variables]
    state = [np.array(variable) for variable in variables]
    watch = SimpleNamespace(epoch=4, since=4, state=state)
    batches = SimpleNamespace(take=lambda n: SimpleNamespace(as_numpy_iterator=lambda: [X, x][:n]))
    step = 0 if x is X else 1
    found = faults.first_fault(vae, watch, 2, False, lambda epoch: batches)
    assert (found.epoch, found.step, found.is_of_data) == (4, step, step == 1)
    assert re.search(words, found.what)


@pytest.mark.parametrize("place", ["model", "file"])
def test_weights_that_are_not_finite_are_no_start(tmp_path, place):
    vae = make_vae((3,))
    first = vae.encoder.trainable_variables[0]
    first.assign(np.full(first.shape, np.nan))
    config = resolve({"dataset": "arrays", **QUICK, "epochs": 1})
    path = tmp_path / "some.weights.h5"
    if place == "file":
        vae.save_weights(path)
        vae = make_vae((3,))
        init_from.read_weights(vae, path)
    with pytest.raises(UsageError, match=r"finite numbers; .*kernel is not"):
        start.build(config, DATA, "float32", vae)


def test_clipping_is_of_gradients_that_are_not_scaled():
    vae = make_vae((3,), dtype="mixed_float16")
    config = resolve({"dataset": "arrays", "clip_norm": 0.25})
    start.compile_for(config, vae, 1)
    assert vae.optimizer.inner_optimizer.global_clipnorm == 0.25
    vae.compile(keras.optimizers.SGD(1.0, global_clipnorm=0.25))
    before = [np.array(one) for one in vae.trainable_variables]
    vae.train_on_batch(10 * X)
    moved = [np.array(one) - old for one, old in zip(vae.trainable_variables, before, strict=True)]
    assert np.sqrt(sum(np.square(one).sum() for one in moved)) == pytest.approx(0.25, rel=1e-3)


# Early ends


def _told(config, elbos, steps=10):
    """Epochs that were made, and why no more: a run of these figures."""
    kept = best_weights.BestWeights(config, DATA)
    model = SimpleNamespace(stop_training=False, get_weights=lambda: [np.zeros(1)])
    ending = Ending(config, kept, steps, steps, lambda: 1.0)
    for one in (kept, ending):
        one.set_model(model)
        one.on_train_begin()
    for epoch, elbo in enumerate(elbos):
        ending.on_epoch_begin(epoch)
        for batch in range(steps):
            ending.on_train_batch_end(batch)
            if model.stop_training:
                return epoch, ending.reason
        for one in (kept, ending):
            one.on_epoch_end(epoch, {"val_elbo": elbo, "val_loss": -elbo})
        if model.stop_training:
            return epoch + 1, ending.reason
    return len(elbos), ending.reason


@pytest.mark.parametrize(
    ("options", "elbos", "made"),
    [
        ({"patience": 2}, [-3, -2, -2, -2.5, -1], 4),
        ({"patience": 2}, [-3, -2, -2.5, -1, -1.5, -0.5], 6),  # better in time
        ({"patience": 0}, [-3, -4, -5, -6, -7], 5),
        ({"patience": 2, "kl_warmup_epochs": 3}, [-1, -2, -2, -2, -2, -1], 5),
        ({"patience": 2, "kl_warmup_epochs": 3, "beta": 4}, [-1, -2, -2, -2, -2, -2], 6),
        ({"patience": 1, "kl_cycle_epochs": 2}, [-1, -2, -2, -2], 2),
        ({"patience": 2}, [-3, -4, -4], 3),  # the last epoch: nothing ends early
    ],
)
def test_patience_counts_epochs_at_the_full_beta(options, elbos, made):
    config = resolve({"dataset": "arrays", **options, "epochs": len(elbos)})
    epochs, reason = _told(config, elbos)
    assert epochs == made
    assert bool(reason) == (made < len(elbos))
    if reason:
        assert reason.startswith(f"after epoch {made} of {len(elbos)}") and "--patience" in reason


def test_time_is_up_at_the_end_of_a_step():
    config = resolve({"dataset": "arrays", "max_minutes": 1e-12, "epochs": 3})
    assert _told(config, [-1, -2, -3]) == (
        0, "in epoch 1 of 3, after step 1 of 10: --max-minutes 1e-12",
    )  # fmt: skip
    assert _told(config.replaced(epochs=1), [-1], steps=1) == (1, "")  # it was the last step


# Going on


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A model that has been trained, published, and its data."""
    folder = tmp_path_factory.mktemp("saved")
    options = {**QUICK, **PARTS, "max_minutes": 1e-9, "epochs": 9, "learning_rate": 0.01}
    return kvae.train(DATA, output=folder, name="parent", **options)


def test_a_run_that_ends_early_is_published_as_it_is(parent):
    assert parent.history.epoch == [0]
    assert [len(values) for values in parent.history.history.values()] == [1] * 10
    metadata = kvae.serving.versions.read_metadata(parent.trained.version)
    assert metadata["course"]["ended"].startswith("in epoch 1 of 9, after step 4 of 4")
    assert metadata["course"]["best"]["epoch"] == 1
    assert "start" not in metadata["course"]


@pytest.mark.parametrize("place", ["model", "version"])
def test_weights_that_no_epoch_betters_are_the_best(parent, place, capsys):
    before = parent.get_weights()
    options = {**QUICK, "epochs": 4, "patience": 1, "learning_rate": 9.0}
    given = {"model": kvae.load_model(parent.trained.version.path)}
    if place == "model":
        del options["standardize"]
    if place == "version":
        given = {"init_from": str(parent.trained.version.path), **PARTS}
    found = kvae.train(DATA, **options, **given)
    for ours, theirs in zip(found.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    course = found.trained.course
    assert course["best"]["epoch"] == 0
    assert course["best"]["value"] == course["start"]["elbo"]
    assert course["ended"].startswith(
        "after epoch 1 of 4: 1 epoch without a better validation elbo"
    )
    figure = parent.trained.course["best"]["value"]  # the same rows and noise as after an epoch
    assert course["start"]["elbo"] == pytest.approx(figure, rel=1e-5)
    assert "no epoch was better than the weights it started from" in capsys.readouterr().out
    assert len(found.history.history["loss"]) == 1


def test_no_test_row_was_trained_on_before_and_the_evaluation_knows(parent, tmp_path, capsys):
    more = np.concatenate([X, np.random.default_rng(1).normal(size=(60, 3)).astype("float32")])
    data = kvae.Dataset.from_arrays(more, split_seed=1)
    old = {row.tobytes() for row in DATA.train.x}
    mixed = {
        name: sum(row.tobytes() in old for row in getattr(data, name).x)
        for name in ("valid", "test")
    }
    path = parent.trained.version.path
    found = kvae.train(
        data, output=tmp_path, init_from=str(path), epochs=1, **QUICK, **PARTS, learning_rate=1e-9
    )
    assert min(mixed.values()) > 0
    assert found.trained.course["left_out"] == mixed
    said = capsys.readouterr().out
    assert f"{mixed['test']} of 56 test rows" in said
    assert f"448 train, {56 - mixed['valid']} valid, {56 - mixed['test']} test" in said
    assert len(found.trained.train_rows) == len({*old} | {row.tobytes() for row in data.train.x})
    from kvae.evaluation import evaluate

    job = evaluate.prepare(str(tmp_path), dataset=data, writes=False)
    assert not [row for row in job.dataset.test.x if row.tobytes() in old]
    assert len(job.dataset.test.x) == 56 - mixed["test"]
    # The weights of a run that is cut short know it too, and its checkpoints can be gone on from.
    path = tmp_path / "arrays" / "training" / checkpoints.FINISHED
    again = init_from.seen_before(str(path), None, data)
    np.testing.assert_array_equal(again, found.trained.train_rows)
    other = kvae.train(data, init_from=str(path), epochs=1, **QUICK, **PARTS, learning_rate=1e-9)
    assert other.trained.course["start"]["elbo"] == pytest.approx(
        found.trained.course["best"]["value"], abs=1e-4
    )


def test_a_split_of_which_nothing_is_left_is_refused():
    rows = seen.united(seen.marks(X), None)
    data = kvae.Dataset("vectors", DATA.train, DATA.valid, DATA.test._replace(x=X[:3] + 1))
    with pytest.raises(UsageError, match=r"all 50 rows of the valid split.*--split-seed"):
        init_from.without_seen(data, rows, "--init-from a")


def test_another_size_of_images_is_said_in_a_sentence(tmp_path):
    small, large = make_vae((8, 8, 1)), make_vae((16, 16, 1))
    small.save(tmp_path / "small.keras")
    with pytest.raises(UsageError, match=r"8x8 pixels and 1 channels; --image-size 8 .*16, 16, 1"):
        init_from.read_weights(large, tmp_path / "small.keras")
