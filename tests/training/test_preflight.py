import pytest

from kvae.config import resolve
from kvae.errors import DataError, UsageError
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
        ("gmm", {"latent_dim": 65}, "--posterior full is for at most 64"),
        ("digits", {"latent_dim": 0}, "at least 1 for images"),
        ("folder", {}, "--data-dir"),
        ("folder", {"data_dir": "/no/such/folder"}, "/no/such/folder"),
        ("folder", {"data_dir": "/usr/include"}, "holds 0 images"),
        ("gmm", {"flip": True}, "--flip mirrors images"),
        ("arrays", {}, "--data-dir"),
        ("arrays", {"data_dir": "/no/such.csv"}, "/no/such.csv"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, preset, given, words):
    with pytest.raises((UsageError, DataError), match=words):
        _check(tmp_path, preset, **given)
