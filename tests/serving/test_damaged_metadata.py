"""Damaged kvae.json: whoever reads it reads it, or says so with one DataError."""

import json
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from kvae_testing import metadata

from kvae.client import Client
from kvae.data import digits
from kvae.data.conditions import Conditions
from kvae.directions import Directions
from kvae.encode import output_shapes, wanted_of
from kvae.errors import DataError, UsageError
from kvae.evaluation import evaluate
from kvae.publish import commands, repository
from kvae.serving import versions
from kvae.training.init_from import check_conditions

DAMAGED = 500
VALUES = (
    None, True, -1, 0, 2, 2**40, 10**400, 0.5, -1e30, float("nan"), float("inf"), "", "\x1b",
    [], {}, [[]], [None], {"a": []}, [1, [2]], ["batch", -1], ["batch", 2**60], "batch",
)  # fmt: skip


@pytest.fixture(scope="module")
def original(version_of_images):
    """A real one, with what images, conditions and data add."""
    said = json.loads((version_of_images.path / versions.METADATA).read_text())
    return said | {
        "config": {"dataset": "digits", "epochs": 2, "hidden_units": [8], "likelihood": "gaussian"},
        "data_card": {"name": "digits", "crop": "center", "columns": ["a", 1], "binarize": True},
        "history": {"loss": [3.0, 2.5], "val_loss": [3.5, 3.0]},
        "condition": {"labels": ["a"], "names": ["a"], "label_of": ["a"]},
    }


def _containers(value):
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _containers(one)


def _changed(original, rng):
    """A copy with one value changed, or without it."""
    copy = json.loads(json.dumps(original))
    # Large lists would have nearly all of the changes.
    container = rng.choice([one for one in _containers(copy) if one])
    key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    if rng.random() < 0.3:
        del container[key]
    else:
        container[key] = rng.choice(VALUES)
    return json.dumps(copy).encode()


def _damaged(original, rng):
    """The bytes of a damaged kvae.json."""
    whole = json.dumps(original).encode()
    cut = rng.randrange(len(whole))
    kind = rng.randrange(8)
    if kind < 3:
        return _changed(original, rng)
    if kind == 3:
        return whole[:cut]
    if kind == 4:
        flipped = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 5:
        return whole.decode().encode(rng.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"]))
    if kind == 6:
        depth = rng.choice([10, 1000, 100_000])
        return b'{"config": ' + b"[" * depth + b"]" * depth + b"}"
    return rng.choice(
        [
            b"", b"null", b"[]", b"1e400", b"\x00" * 100, whole + whole, b'"' + whole + b'"',
            whole[:-1] + b', "sampler": "none"}', whole.replace(b"0", b"9" * 5000, 1),
            whole.replace(b"64", b"NaN"), whole[:-1] + b', "x": -Infinity}', os.urandom(100),
        ]
    )  # fmt: skip


def _readers(version):
    """All that read a kvae.json, as far as they go without TensorFlow or data."""
    said = versions.read_metadata(version)
    with suppress(UsageError):  # conditional models have no bulk work
        wanted_of(said, "encode")
    output_shapes(said, "encode") if "encode" in said["signatures"] else None
    if "directions" in said:
        Directions.from_json(said["directions"])
    for signature in Client(version.path).signatures.values():
        assert all(tensor.shape[0] is None for tensor in signature.outputs.values())
    with suppress(UsageError):
        check_conditions(str(version.path), Conditions())
    with suppress(UsageError):
        evaluate.prepare(str(version.path), writes=False)
    repository.file_faults(version, said.get("files", {}))
    commands.list_versions(str(version.path.parents[1]))


@pytest.fixture
def version(tmp_path):
    path = tmp_path / "m" / "1"
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    return versions.Version(path, "m", 1)


def test_five_hundred_damaged_files_are_read_or_said(version, original, capsys, monkeypatch):
    rng, loaded = random.Random(0), digits.load()
    monkeypatch.setattr("kvae.data.load", lambda *_, **__: loaded)
    refused = 0
    for number in range(DAMAGED):
        (version.path / versions.METADATA).write_bytes(_damaged(original, rng))
        try:
            _readers(version)
        except DataError as error:
            assert str(version.path) in str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"number {number}: {type(error).__name__}: {error}") from error
    assert 300 < refused < DAMAGED
    capsys.readouterr()


def test_what_is_whole_is_read(version, original):
    (version.path / versions.METADATA).write_text(json.dumps(original))
    assert versions.read_metadata(version) == original


def test_a_folder_in_its_place_and_one_that_may_not_be_read(version, monkeypatch):
    path = version.path / versions.METADATA
    path.mkdir()
    with pytest.raises(DataError, match="no whole version"):
        Client(version.path)
    with pytest.raises(DataError, match="cannot be read"):
        versions.read_metadata(version)
    path.rmdir()
    path.write_text(json.dumps(metadata()))
    look = Path.open

    def refuse(opened, *mode, **named):
        if opened == path:
            raise PermissionError(13, "Permission denied")
        return look(opened, *mode, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        Client(version.path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signatures": None}, "it lacks signatures"),
        ({"signatures": {"encode": {"inputs": {}}}}, "lacks signatures.encode.outputs"),
        ({"config": {"epochs": "2"}}, "config.epochs must be a whole number"),
        ({"config": {"epochs": 2.5}}, "config.epochs must be a whole number"),
        ({"config": {"seed": None}}, "config.seed must be a whole number"),
        ({"config": {"variance": [1]}}, "config.variance must be a positive number"),
        ({"config": {"hidden_units": 8}}, "config.hidden_units must be whole numbers"),
        ({"config": {"hidden_units": ["8"]}}, "config.hidden_units must be whole numbers"),
        ({"config": {"binarize": 1}}, "config.binarize must be none, threshold, static or dynamic"),
        ({"config": {"learning_rate": 10**400}}, "config.learning_rate must be"),
        ({"data_card": {"columns": None}}, "data_card.columns must be a list"),
        ({"data_card": {"columns": [None]}}, "data_card.columns[0] must be a text"),
        ({"data_card": {"binarize": "no"}}, "data_card.binarize must be true or false"),
        ({"config": {"data_dir": 5}}, "config.data_dir must be"),
        ({"model": {"element_shape": [8, 8], "latent_dim": 2}}, "1 or 3 sizes"),
        ({"model": {"element_shape": [3], "latent_dim": True}}, "latent_dim must be"),
        ({"model": {"element_shape": [3], "latent_dim": 1, "shift": [1, 2]}}, "of shape"),
        ({"model": {"element_shape": [1], "latent_dim": 1, "scale": [0.0]}}, "must be positive"),
        ({"condition": {"labels": [], "names": ["a"], "label_of": []}}, "as many of each"),
        ({"data_card": {"crop": "round"}}, "data_card.crop must be"),
        ({"history": {"loss": [None]}}, "history.loss[0] must be a number"),
    ],
)
def test_what_is_wrong_is_named(version, changes, said):
    (version.path / versions.METADATA).write_text(json.dumps(metadata(**changes)))
    with pytest.raises(DataError) as error:
        versions.read_metadata(version)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        {"learning_rate": 1e-13, "variance": 1e38}, {"variance": 1e-20}, {"epochs": 2**31},
        {"hidden_units": [2_000_000]}, {"data_dir": "a\tb"}, {"name": "faces\u200b"}, {"seed": -1},
    ],
)  # fmt: skip
def test_what_another_version_allowed_is_no_damage(version, config):
    (version.path / versions.METADATA).write_text(json.dumps(metadata(config=config)))
    assert versions.read_metadata(version)["config"] == config


def test_data_that_this_version_does_not_allow_are_wrong_usage(version):
    said = metadata(config={"dataset": "faces", "faces_count": -5})
    (version.path / versions.METADATA).write_text(json.dumps(said))
    with pytest.raises(UsageError, match="faces_count of dataset faces takes a whole number"):
        evaluate.prepare(str(version.path), writes=False)


def test_parts_that_are_not_here_may_say_anything(version):
    own = {"config": {"likelihood": "mine", "my_option": {"any": [1, "thing"]}}, "later": [None]}
    (version.path / versions.METADATA).write_text(json.dumps(metadata(**own)))
    assert versions.read_metadata(version) == metadata(**own)
