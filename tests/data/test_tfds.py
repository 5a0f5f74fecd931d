import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from kvae import data
from kvae.data import inspection, program
from kvae.data.images.decoding import decode
from kvae.data.images.pixels import binary
from kvae.errors import DataError, UsageError

EXAMPLES = 40


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """The hosts that were asked for an answer, and none gave one."""
    hosts = []
    monkeypatch.setattr(
        "kvae.data.network.any_reachable",
        lambda addresses: hosts.extend(address.host for address in addresses),
    )
    return hosts


@pytest.fixture
def mocked(tmp_path):
    """TFDS answers random examples, for splits that the test chooses; nothing is downloaded."""

    def with_splits(name, version, *splits):
        folder = tmp_path / "metadata" / name / version
        folder.mkdir(parents=True)
        info = {
            "name": name,
            "version": version,
            "fileFormat": "tfrecord",
            "splits": [
                {"name": split, "numBytes": "1", "shardLengths": [str(EXAMPLES)]}
                for split in splits
            ],
        }
        (folder / "dataset_info.json").write_text(json.dumps(info))
        return tfds.testing.mock_data(num_examples=EXAMPLES, data_dir=str(tmp_path / "metadata"))

    return with_splits


def _load(tmp_path, name, **options):
    return data.load(name, cache_dir=str(tmp_path / "cache"), image_size=16, **options)


def _read(name, split, feature):
    """One feature of all examples: what is random in them depends on what is asked for."""
    skip = {"image": tfds.decode.SkipDecoding()} if feature == "image" else None
    decoders = tfds.decode.PartialDecoding({feature: True}, skip)
    dataset = tfds.builder(name).as_dataset(split=split, decoders=decoders)
    return [example[feature] for example in dataset.as_numpy_iterator()]


def test_a_test_split_is_kept_and_a_tenth_of_train_becomes_valid(tmp_path, mocked):
    with mocked("cifar10", "3.0.2", "train", "test"):
        dataset = _load(tmp_path, "tfds:cifar10")
        images, labels = (_read("cifar10", "test", name) for name in ("image", "label"))
        train_labels = _read("cifar10", "train", "label")
    assert {name: len(getattr(dataset, name).x) for name in ("train", "valid", "test")} == {
        "train": 36, "valid": 4, "test": 40,
    }  # fmt: skip
    for x, image in zip(dataset.test.x, images, strict=True):
        np.testing.assert_array_equal(x, decode(image, "center", 16))
    np.testing.assert_array_equal(dataset.test.labels["label"], labels)
    both = [*dataset.train.labels["label"], *dataset.valid.labels["label"]]
    assert sorted(both) == sorted(train_labels)
    assert dataset.card["split"] == "own, valid a random tenth of train"
    assert dataset.card["source"]["layout"] == "TensorFlow Datasets, cifar10/3.0.2"
    assert len(dataset.card["label_names"]["label"]) == 10
    assert dataset.color_by == "label"
    json.dumps(dataset.card)


def test_grey_images_stay_grey_and_the_cache_is_used(tmp_path, mocked, monkeypatch):
    with mocked("mnist", "3.0.1", "train", "test"):
        dataset = _load(tmp_path, "tfds:mnist", channels=1)
        monkeypatch.setattr("kvae.data.images.sets.decoded", None)
        again = _load(tmp_path, "tfds:mnist", channels=1)
    assert dataset.train.x.shape == (36, 16, 16, 1)
    assert isinstance(again.train.x, np.memmap)
    np.testing.assert_array_equal(dataset.train.x, again.train.x)


def test_the_split_seed_chooses_the_valid_rows(tmp_path, mocked):
    with mocked("cifar10", "3.0.2", "train", "test"):
        first, same, other = (
            _load(tmp_path, "tfds:cifar10", split_seed=seed).valid.x for seed in (0, 0, 1)
        )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("splits", "counts", "rule"),
    [
        (("train",), (32, 4, 4), "random 80/10/10"),
        (
            ("train", "validation"),
            (36, 4, 40),
            "own, its valid split for test, valid a random tenth of train",
        ),
        (("train", "validation", "test"), (40, 40, 40), "own"),
        (("train", "test", "extra"), (36, 4, 40), "own, valid a random tenth"),
    ],
)
def test_what_splits_there_are_decides(tmp_path, mocked, capsys, splits, counts, rule):
    with mocked("cifar10", "3.0.2", *splits):
        dataset = _load(tmp_path, "tfds:cifar10")
    assert tuple(dataset.card["counts"].values()) == counts
    assert dataset.card["split"].startswith(rule)
    assert ("not used: the splits extra" in capsys.readouterr().err) == ("extra" in splits)


def test_no_train_split_is_an_error(tmp_path, mocked):
    with mocked("cifar10", "3.0.2", "a", "b"), pytest.raises(DataError, match="no split train"):
        _load(tmp_path, "tfds:cifar10")


def test_an_unknown_name_is_refused_with_names_like_it(tmp_path):
    with pytest.raises(UsageError, match=r"no 'cifar1'; like it are .*cifar10"):
        _load(tmp_path, "tfds:cifar1")
    with pytest.raises(UsageError, match=r"no 'mnsit'; like it are mnist"):
        _load(tmp_path, "tfds:mnsit")
    with pytest.raises(UsageError, match="no 'huggingface:mnist'"):
        _load(tmp_path, "tfds:huggingface:mnist")
    with pytest.raises(UsageError, match="needs a name"):
        _load(tmp_path, "tfds:")


def test_a_dataset_without_images_is_refused(tmp_path, mocked):
    with mocked("iris", "2.1.0", "train"), pytest.raises(DataError, match="no feature of images"):
        _load(tmp_path, "tfds:iris")


def test_a_download_that_fails_is_a_data_error(tmp_path, mocked, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    with mocked("cifar10", "3.0.2", "train"):
        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
        with pytest.raises(DataError, match=r"tfds:cifar10 could not be prepared: no route"):
            _load(tmp_path, "tfds:cifar10")


@pytest.fixture
def downloaded(monkeypatch):
    """What was downloaded: nothing is, and it cannot be."""
    begun = []

    def fail(builder):
        begun.append(builder.name)
        raise OSError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    return begun


def test_without_a_network_no_download_begins(tmp_path, asked, downloaded):
    for make in (data.load, data.outline):
        with pytest.raises(DataError, match=r"tfds:mnist is not prepared .*googleapis.*--data-dir"):
            make("tfds:mnist", data_dir=str(tmp_path))
    assert set(asked) == {"storage.googleapis.com"}
    assert not downloaded


def test_with_a_network_the_download_begins(tmp_path, downloaded, monkeypatch):
    monkeypatch.setattr("kvae.data.network.any_reachable", lambda addresses: True)
    with pytest.raises(DataError, match="could not be prepared: no route to host"):
        data.load("tfds:mnist", data_dir=str(tmp_path))
    assert downloaded == ["mnist"]


def test_what_was_downloaded_before_needs_no_network(tmp_path, asked, downloaded):
    folder = tmp_path / "downloads" / "mnist"
    folder.mkdir(parents=True)
    for url, info in tfds.builder("mnist").url_infos.items():
        name = tfds.core.download.resource.get_dl_fname(url, info.checksum)
        (folder / name).touch()
    with pytest.raises(DataError, match="could not be prepared"):
        data.load("tfds:mnist", data_dir=str(tmp_path))
    assert not asked
    assert downloaded == ["mnist"]


def test_what_is_made_of_files_put_there_by_hand_needs_no_network(tmp_path, asked, downloaded):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        (manual / name).touch()
    with pytest.raises(DataError, match="could not be prepared"):
        data.load("tfds:imagenet2012", data_dir=str(tmp_path))
    assert not asked
    assert downloaded == ["imagenet2012"]


def test_levels_are_black_or_white_where_it_is_asked_for(tmp_path, mocked):
    with mocked("mnist", "3.0.1", "train", "test"):
        grey = _load(tmp_path, "tfds:mnist", channels=1)
        dataset = _load(tmp_path, "tfds:mnist", channels=1, binarize=True)
        given = program.arguments(
            ["--dataset", "tfds:mnist", "--image-size", "16", "--channels", "1", "--binarize"]
        )
        del given["sheet"], given["json_file"]
        found = inspection.inspect(**given)
    for split in ("train", "valid", "test"):
        x = getattr(dataset, split).x
        np.testing.assert_array_equal(x, binary(getattr(grey, split).x))
        assert set(np.unique(x)) == {0, 255}
    assert dataset.card["binarize"] is True
    assert set(np.unique(found.images)) == {0, 255}


def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path, downloaded):
    with pytest.raises(UsageError, match=r"--data-dir .*nope: no such file or folder"):
        data.load("tfds:mnist", data_dir=str(tmp_path / "nope"))
    assert not downloaded
    assert not list(tmp_path.iterdir())


def test_options_are_those_of_images(tmp_path):
    assert "tfds_name" not in data.options_of("tfds:cifar10")
    with pytest.raises(UsageError, match="--crop takes"):
        _load(tmp_path, "tfds:cifar10", crop="middle")


def test_a_damaged_shard_is_named(tmp_path, mocked, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.DataLossError(None, None, "corrupted record at 12")

    with mocked("cifar10", "3.0.2", "train", "test"):
        monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", fail)
        with pytest.raises(DataError, match=r"split train is damaged .*corrupted record at 12"):
            _load(tmp_path, "tfds:cifar10")


def test_the_outline_has_counts_and_shapes_and_reads_nothing(tmp_path, mocked, monkeypatch):
    with mocked("cifar10", "3.0.2", "train", "test"):
        dataset = _load(tmp_path, "tfds:cifar10")
        monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", None)
        outline = data.outline("tfds:cifar10", image_size=16)
    assert outline.card["counts"] == dataset.card["counts"]
    assert outline.train.x.shape == dataset.train.x.shape


def test_of_two_valid_splits_one_is_used(tmp_path, mocked, capsys):
    with mocked("cifar10", "3.0.2", "train", "val", "validation", "test"):
        dataset = _load(tmp_path, "tfds:cifar10")
    assert tuple(dataset.card["counts"].values()) == (40, 40, 40)
    assert "not used: the splits validation" in capsys.readouterr().err
