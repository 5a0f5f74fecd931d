import numpy as np
import pytest

from kvae import Dataset
from kvae.config import resolve
from kvae.data import arrays
from kvae.errors import DataError, UsageError
from kvae.training import preflight
from kvae.training.preflight import check


def _check(tmp_path, preset=None, **given):
    check(resolve({"save": str(tmp_path), **given}, preset))


def test_what_is_right_passes(tmp_path):
    _check(tmp_path)
    _check(tmp_path, "digits")
    _check(tmp_path, "digits", likelihood="bernoulli", binarize=True)
    _check(tmp_path, "faces", cache_dir=str(tmp_path))
    assert not list(tmp_path.glob("*.npy"))  # nothing was drawn


@pytest.mark.parametrize(
    ("preset", "given", "words"),
    [
        ("gmm", {"network": "conv"}, "'conv' takes images.*8 to 256.*\\(3,\\)"),
        ("gmm", {"likelihood": "bernoulli", "standardize": False}, "0 and 1"),
        ("gmm", {"gmm_components": 51}, "50"),
        ("digits", {"likelihood": "bernoulli"}, "--binarize"),
        ("digits", {"standardize": True}, "--standardize"),
        ("faces", {"likelihood": "bernoulli"}, "0 and 1"),
        ("faces", {"image_size": 16}, "32"),
        ("celeba", {}, "--data-dir"),
        ("celeba", {"data_dir": "/no/such/folder"}, "/no/such/folder"),
        ("gmm", {"init_from": "/no/such/file"}, "--init-from"),
        ("gmm", {"save": "/proc/kvae"}, "/proc/kvae.*--save"),
        ("gmm", {"prior_components": 50_001}, "at most 50000"),
        ("gmm", {"prior": "flow", "latent_dim": 1}, "at least 2 latent"),
        ("gmm", {"sampler": "flow", "gmm_dim": 1}, "at least 2 latent"),
        ("gmm", {"gmm_warp": 0.5, "gmm_dim": 1}, "gmm_warp"),
        ("gmm", {"gmm_warp": 6}, "from 0 to 5"),
        ("gmm", {"latent_dim": 65}, "--posterior full: for at most 64"),
        ("digits", {"latent_dim": 0}, "at least 1 for images"),
        ("folder", {}, "--data-dir"),
        ("folder", {"data_dir": "/no/such/folder"}, "/no/such/folder"),
        ("folder", {"data_dir": "/usr/include"}, "holds 0 images"),
        ("gmm", {"flip": True}, "--flip mirrors images"),
        ("gmm", {"variance": 0.1, "edge_weight": 1.0}, "--edge-weight is for images"),
        ("arrays", {}, "--data-dir"),
        ("arrays", {"data_dir": "/no/such.csv"}, "/no/such.csv"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, preset, given, words):
    with pytest.raises((UsageError, DataError), match=words):
        _check(tmp_path, preset, **given)


@pytest.mark.parametrize("column", [np.zeros(200), np.full(200, 0.1), 1e9 + np.arange(200)])
def test_a_column_without_spread_is_refused_where_it_is_standardised(column, tmp_path):
    x = np.column_stack([np.random.default_rng(0).normal(size=200), column])
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in x.tolist()))
    given = {"dataset": "arrays", "data_dir": str(path)}
    _check(tmp_path, standardize=False, **given)
    words = (
        "values near .* differ by too little for float32"
        if np.ptp(column)
        else "the same float32 value .* train row; --drop-constant .* --no-standardize keeps them"
    )
    with pytest.raises(DataError, match=rf"column 'b': {words}.*\(1 such columns of 2\)"):
        _check(tmp_path, **given)
    if not np.ptp(column):
        _check(tmp_path, drop_constant=True, **given)
    with pytest.raises(DataError, match="column 2: ") as caught:
        check(resolve({"save": str(tmp_path), "dataset": "arrays"}), Dataset.from_arrays(x))
    assert "--drop-constant" not in str(caught.value)  # an option of files alone


def test_a_table_made_binary_is_for_a_bernoulli_likelihood(tmp_path):
    path = tmp_path / "t.csv"
    levels = np.random.default_rng(0).integers(0, 256, (200, 3)).tolist()
    path.write_text("a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in levels))
    given = {"dataset": "arrays", "data_dir": str(path), "likelihood": "bernoulli"}
    with pytest.raises(UsageError, match="--no-standardize"):
        _check(tmp_path, binarize=True, **given)
    with pytest.raises(UsageError, match="--binarize makes them"):
        _check(tmp_path, standardize=False, **given)
    _check(tmp_path, standardize=False, binarize=True, **given)


def test_the_dataset_that_a_limit_is_of_is_named_by_its_flag(tmp_path):
    with pytest.raises(
        UsageError, match=r"--max-unpacked takes a number from 0\.001 to 1000; received '0'"
    ):
        resolve({"dataset": "arrays", "max_unpacked": "0"})


def test_a_table_is_read_once(tmp_path, monkeypatch):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(120, 2)))
    read, calls = arrays.load, []
    monkeypatch.setattr(arrays, "load", lambda **given: calls.append(1) or read(**given))
    config = resolve({
        "dataset": "arrays", "data_dir": str(tmp_path / "t.npy"), "save": str(tmp_path / "saved"),
    })  # fmt: skip
    dataset = preflight.load(config, preflight.check(config))
    assert len(calls) == 1
    assert dataset.card["counts"] == {"train": 96, "valid": 12, "test": 12}
    assert preflight.load(config).card == dataset.card
