"""Black and white out of grey: one threshold wherever images become x, and what is drawn."""

import io

import celeba_testing
import mnist_testing
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kvae import data
from kvae.config import resolve
from kvae.data import pipeline
from kvae.data.conditions import Conditioned
from kvae.data.images.binarization import RowWords, drawn, epoch_draws, fixed_draws
from kvae.data.images.decoding import decode
from kvae.data.images.pixels import binary
from kvae.encode.sources import Wanted
from kvae.errors import DataError, UsageError
from kvae.serving.image_bytes import images_of
from kvae.training import program, run
from kvae.training.preflight import check

SPLITS = ("train", "valid", "test")


def written(levels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures():
    """Files of 8x8 noise, one of them of all levels next to the threshold."""
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 256, (8, 8), dtype=np.uint8) for _ in range(29)]
    return [written(one) for one in [*levels, np.arange(96, 160, dtype=np.uint8).reshape(8, 8)]]


@pytest.fixture(scope="module")
def places(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    folder = root / "folder"
    folder.mkdir()
    for number, content in enumerate(pictures):
        (folder / f"{number}.png").write_bytes(content)
    levels = np.random.default_rng(1).integers(0, 256, (200, 3))
    np.save(root / "table.npy", levels)
    return {
        "folder": folder,
        "arrays": root / "table.npy",
        "mnist": mnist_testing.write_idx(root / "mnist"),
        "celeba": celeba_testing.write(root / "celeba", celeba_testing.official()),
    }


def test_the_threshold_is_one_half_of_255():
    np.testing.assert_array_equal(
        binary(np.array([0, 127, 128, 255], np.uint8)), np.array([0, 0, 255, 255], np.uint8)
    )


@pytest.mark.parametrize("name", ["folder", "celeba"])
def test_levels_are_black_or_white_and_a_cache_without_it_stays(name, places, tmp_path):
    def loaded(**options):
        return data.load(
            name, data_dir=str(places[name]), cache_dir=str(tmp_path), image_size=8, **options
        )

    grey, before = loaded(), set(tmp_path.iterdir())
    black_and_white, again = loaded(binarize=True), loaded(binarize=False)
    assert len(before) == 1
    assert len(set(tmp_path.iterdir())) == 2
    for split in SPLITS:
        x = getattr(black_and_white, split).x
        np.testing.assert_array_equal(x, binary(getattr(grey, split).x))
        np.testing.assert_array_equal(getattr(again, split).x, getattr(grey, split).x)
    assert black_and_white.card["binarize"] is True
    assert "binarize" not in grey.card  # as cards of models that older versions trained
    assert {**grey.card, "binarize": True} == black_and_white.card


def test_a_bernoulli_likelihood_takes_them_before_any_is_decoded(places, tmp_path):
    given = {
        "dataset": "folder", "data_dir": str(places["folder"]), "image_size": 8, "network": "mlp",
        "likelihood": "bernoulli", "save": str(tmp_path), "latent_dim": 2,
    }  # fmt: skip
    with pytest.raises(UsageError, match="--binarize makes them"):
        check(resolve(given))
    check(resolve({**given, "binarize": True}))


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3)])
def test_served_and_encoded_pixels_are_those_of_training(pictures, size, channels):
    graph = tf.function(lambda x: images_of(x, "center", size, channels, binarize=True))
    found = graph(tf.constant(pictures)).numpy() * 255
    wanted = np.stack([decode(one, "center", size, channels, binarize=True) for one in pictures])
    assert set(np.unique(wanted)) == {0, 255}
    # Where the libraries round a resized level otherwise a pixel may fall on the other side.
    levels = np.stack([decode(one, "center", size, channels) for one in pictures]).astype(int)
    sure = (np.abs(levels - 127.5) > 1.5) | (size == 8)
    np.testing.assert_array_equal(found[sure], wanted[sure])
    encoded = Wanted((size, size, channels), "center", binarize=True)
    np.testing.assert_array_equal([encoded.decode(one) for one in pictures], wanted)


def test_black_stays_black_white_white_and_a_level_is_white_as_often_as_it_says():
    levels = np.arange(256, dtype=np.uint8)
    for word in (0, 2**32 - 1):
        found = drawn(levels[None], np.full((1, 256), word, np.uint32))
        assert (found[0, 0], found[0, 255]) == (0, 255)
    # Of the words in order so many are white: to one of 2^32.
    edges = levels.astype(np.int64) * 2**32 // 255
    inside = (edges > 1) & (edges < 2**32 - 2)
    for shift, white in ((-1, 255), (2, 0)):
        words = (edges + shift)[inside].astype(np.uint32)
        assert set(drawn(levels[None, inside], words[None])[0]) == {white}
    shares = np.array([[0, 0.25, 0.25, 1]], np.float32)
    found = drawn(shares, np.array([[0, 2**30 - 1, 2**30, 2**32 - 1]], np.uint32))
    np.testing.assert_array_equal(found, np.array([[0, 1, 0, 1]], np.float32))
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", ["levels", "shares"])
def test_the_mean_of_the_epochs_is_the_grey_image(kind, rng):
    share, epochs = rng.random((40, 7, 5, 1)), 400
    grey = np.rint(share * 255).astype(np.uint8) if kind == "levels" else share.astype(np.float32)
    share = grey / (255.0 if kind == "levels" else 1.0)
    draws = np.stack([epoch_draws(grey, np.arange(40), 3, epoch) for epoch in range(epochs)])
    white = draws > 0
    spread = np.sqrt(share * (1 - share) / epochs)
    z = (white.mean(axis=0) - share)[spread > 0] / spread[spread > 0]
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(np.square(z).mean() - 1) < 4 * np.sqrt(2 / z.size)
    # Neither of a row's neighbours, nor of the pixels beside it, nor of the epoch before.
    noise = white - share
    for other in (np.roll(noise, 1, 0), np.roll(noise, 1, 1), np.roll(noise, 1, 2)):
        assert abs((noise * other).mean()) < 4 * (share * (1 - share)).mean() / np.sqrt(noise.size)


def test_a_row_is_a_function_of_seed_epoch_and_place_alone(rng):
    grey = rng.integers(0, 256, (23, 3, 3, 1), dtype=np.uint8)
    whole = epoch_draws(grey, np.arange(23), 5, 2)
    rows = np.array([[7, 0], [22, 7]])
    np.testing.assert_array_equal(epoch_draws(grey, rows, 5, 2), whole[rows])
    others = (
        epoch_draws(grey, np.arange(23), 6, 2), epoch_draws(grey, np.arange(23), 5, 3),
        *(np.concatenate([*fixed_draws(grey, 5, name)]) for name in SPLITS),
    )  # fmt: skip
    found = [whole, *others]
    for place, one in enumerate(found):
        assert all((one != other).any() for other in found[:place])
    # These numbers may never change: models are measured on test rows that they drew.
    known = [
        2928681529,
        2518071284,
        2124289290,
    ]  # of NumPy's Philox, key (7, 3), counter (2, 0, 0, 0)
    assert RowWords(7, "test", 3).of(np.array([2]))[0].tolist() == known


@pytest.mark.parametrize("conditioned", [True, False])
def test_batches_blocks_and_what_goes_on_hold_the_same_draws(conditioned, rng, monkeypatch):
    grey = rng.random((24, 5)).astype(np.float32)
    rows = np.arange(24, dtype=np.float32)[:, None]
    x = Conditioned(np.zeros_like(grey), rows) if conditioned else rows.repeat(5, axis=1)
    monkeypatch.setattr(pipeline, "_BLOCK_NUMBERS", 40)

    def places(batches):
        return (found[1] if conditioned else found for found in batches)

    for batch, block in ((4, False), (7, False), (5, True)):
        steps = 24 // batch
        for most in (2**24, 60) if block else (2**24,):
            monkeypatch.setattr(pipeline, "MOST_NUMBERS", most)
            calls = pipeline.num_blocks(x, batch) if block else steps
            for epoch, call in ((0, 0), (3, 0), (3, 0 if block else 2)):
                given = {"block": block, "first_epoch": epoch, "first_batch": call}
                made = pipeline.shuffled_batches(x, batch, 9, grey=grey, **given)
                plain = pipeline.shuffled_batches(x, batch, 9, **given)
                take = 2 * calls - call
                orders = places(plain.take(take).as_numpy_iterator())
                pairs = zip(made.take(take).as_numpy_iterator(), orders, strict=True)
                for number, (found, order) in enumerate(pairs, call):
                    own = epoch + number // calls
                    wanted = epoch_draws(grey, order[..., 0].astype(int), 9, own)
                    np.testing.assert_array_equal(found[0] if conditioned else found, wanted)


@pytest.mark.parametrize("name", ["digits", "mnist", "folder", "celeba", "arrays"])
def test_valid_and_test_are_drawn_once_and_train_is_kept_grey_beside_its_draws(
    name, places, tmp_path
):
    given = {} if name == "digits" else {"data_dir": str(places[name])}
    if name in ("folder", "celeba"):
        given |= {"image_size": 8, "cache_dir": str(tmp_path)}

    def loaded(how, seed=0, **options):
        return data.load(name, **given, **options, binarize=how, binarize_seed=seed)

    grey, static, dynamic, other = (
        loaded("none"),
        loaded("static"),
        loaded("dynamic"),
        loaded("static", 1),
    )
    if "cache_dir" in given:  # two arrays of grey and draws, and those of another seed
        assert len([*tmp_path.iterdir()]) == 3
        again = loaded("dynamic", cache=False)
        np.testing.assert_array_equal(again.test.x, dynamic.test.x)
    top = 1 if name == "arrays" else 255
    for split in SPLITS:
        x, levels = getattr(static, split).x, getattr(grey, split).x
        shares = levels / np.float32(255) if name == "arrays" else levels
        np.testing.assert_array_equal(x, getattr(dynamic, split).x)
        assert (x != getattr(other, split).x).any()
        assert set(np.unique(x)) == {0, top}
        np.testing.assert_array_equal(x, np.concatenate([*fixed_draws(shares, 0, split)]))
        assert getattr(static, split).grey is None
        if split == "train":
            np.testing.assert_array_equal(dynamic.train.grey, shares)
            assert dynamic.train.grey.dtype == x.dtype
        else:
            assert getattr(dynamic, split).grey is None
    for how, dataset in (("static", static), ("dynamic", dynamic)):
        assert (dataset.card["binarize"], dataset.card["binarize_seed"]) == (how, 0)
    assert other.card["binarize_seed"] == 1
    assert not grey.card.get("binarize")


def test_a_run_draws_anew_each_epoch_by_its_seed_and_measures_what_never_changes(
    monkeypatch, tmp_path
):
    config = resolve({
        "dataset": "digits", "binarize": "dynamic", "likelihood": "bernoulli", "network": "mlp",
        "hidden_units": (4,), "latent_dim": 2, "epochs": 2, "batch_size": 400, "seed": 11,
        "prior": "standard_normal", "save": str(tmp_path),
    })  # fmt: skip
    seen, real = [], pipeline.epoch_draws

    def spied(grey, rows, seed, epoch):
        seen.append((seed, int(epoch), real(grey, rows, seed, epoch)))
        return seen[-1][2]

    monkeypatch.setattr(pipeline, "epoch_draws", spied)
    fitted = run.train_alone(config)
    assert {(seed, epoch) for seed, epoch, _ in seen} >= {(11, 0), (11, 1)}
    assert fitted.vae.num_steps == 6
    assert fitted.card["binarize"] == "dynamic"


def test_a_threshold_is_what_yes_meant_and_a_seed_needs_draws():
    given = {"dataset": "digits", "likelihood": "bernoulli"}
    for words in (["--binarize"], ["--binarize", "threshold"], ["--binarize", "--latent-dim", "4"]):
        config, *_ = program.arguments(["--dataset", "digits", *words])
        assert config.binarize == "threshold"
    assert resolve({**given, "binarize": True}).binarize == "threshold"
    assert resolve({**given, "binarize": False}).binarize == "none"
    with pytest.raises(UsageError, match="--binarize: choose one of none, threshold, static, dyn"):
        resolve({**given, "binarize": "sttic"})
    with pytest.raises(UsageError, match="--binarize-seed 3 beside --binarize threshold"):
        check(resolve({**given, "binarize": "threshold", "binarize_seed": 3}))


def test_columns_that_are_drawn_are_not_constant(tmp_path):
    x = np.column_stack([np.full(100, 0.5), np.ones(100), np.zeros(100), np.linspace(0, 1, 100)])
    np.save(tmp_path / "t.npy", x)
    given = {"data_dir": str(tmp_path / "t.npy"), "drop_constant": True}
    assert data.load("arrays", **given, binarize="dynamic").card["dropped_columns"] == [2, 3]
    assert data.load("arrays", **given, binarize="threshold").card["dropped_columns"] == [1, 2, 3]


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_columns_whose_draws_are_constant_are_left_out_too(how, tmp_path, capsys):
    """So that none is refused for what --drop-constant, as the message says, leaves out."""
    rng = np.random.default_rng(0)
    rare = rng.uniform(0, 0.01, (200, 60))  # of 160 train rows some columns have no 1, some have
    np.save(tmp_path / "t.npy", np.column_stack([rare, 1 - rare, rng.uniform(0, 1, (200, 2))]))
    given = {
        "dataset": "arrays", "data_dir": str(tmp_path / "t.npy"), "binarize": how,
        "standardize": True, "likelihood": "gaussian",
    }  # fmt: skip
    with pytest.raises(DataError, match="--drop-constant leaves such columns out"):
        check(resolve(given), dry_run=True)
    dataset = check(resolve({**given, "drop_constant": True}), dry_run=True)
    assert (np.ptp(dataset.train.x, axis=0) == 1).all()
    dropped = len(dataset.card["dropped_columns"])
    assert 10 < dropped < 110
    assert dropped + dataset.train.x.shape[1] == 122
    assert f"{dropped} columns of 122 have one float32 value in all train rows, or in what is" in (
        capsys.readouterr().err
    )
