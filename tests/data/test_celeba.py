import io
import json
import os
import re
from pathlib import Path

import celeba_testing
import numpy as np
import pytest
from celeba_testing import (
    ACCEPTED,
    ALIGNED,
    ATTRIBUTES,
    BOXES,
    PARTITION,
    REFUSED,
    ROWS,
    attribute_text,
    checksum,
    encoded,
    images,
    jpeg,
    label_table,
    labels_of,
    lists,
    official,
    parquet_files,
    parquet_table,
    partition_text,
    picture,
    pixels_of,
    png,
    write,
    write_prepared,
    zipped,
)
from PIL import Image

from kvae import data
from kvae.data import celeba
from kvae.data.celeba.lists import read_partition
from kvae.data.images import sets
from kvae.data.splits import SPLITS
from kvae.errors import DataError, UsageError

SEVEN = {1: 2, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0, 7: 1}
# As root no permission is denied.
NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


def _cases(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def _some(*names):
    """Those accepted cases, one after the other."""
    return _cases([next(case for case in ACCEPTED if case.name == name) for name in names])


ONE_OF_EACH = (
    "official folder",
    "official zip beside the lists",
    "Kaggle archive.zip",
    "TensorFlow Datasets, above celeb_a",
    "parquet files",
    "images without lists",
)


@pytest.fixture
def copy(tmp_path):
    """The official folder."""
    return write(tmp_path / "copy", official())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The same, which no test changes."""
    return write(tmp_path_factory.mktemp("shared"), official())


@pytest.fixture
def load(tmp_path):
    return lambda data_dir, **options: celeba.load(
        data_dir=str(data_dir), cache_dir=str(tmp_path / "cache"), **options
    )


@pytest.fixture
def decodings(monkeypatch):
    """The options of each call that decodes."""
    calls = []

    def counted(contents, left_out, options, *rest):
        calls.append(options)
        return decoded(contents, left_out, options, *rest)

    decoded = sets.decoded
    monkeypatch.setattr(sets, "decoded", counted)
    return calls


def _jpeg(folder, number):
    return folder / ALIGNED / f"{number:06d}.jpg"


def _check_rows(dataset, rows=ROWS, size=16, crop="center148"):
    """These images, with their labels, in this order."""
    for name, numbers in rows.items():
        split = getattr(dataset, name)
        assert split.x.dtype == np.uint8
        assert split.x.shape == (len(numbers), size, size, 3)
        wanted = np.stack([pixels_of(number, size, crop) for number in numbers])
        assert np.abs(split.x.astype(int) - wanted).max() <= 1
        table = np.stack([labels_of(number) for number in numbers])
        np.testing.assert_array_equal(label_table(split), table)
        assert all(y.dtype == bool and y.shape == (len(numbers),) for y in split.labels.values())


# ---- every kind of copy ----------------------------------------------------------------------


def _checksum_of_numbers(numbers):
    labels = np.stack([labels_of(number) for number in numbers])
    return checksum(np.stack([pixels_of(number) for number in numbers]), labels)


@_cases([case for case in ACCEPTED if "without lists" not in case.expected])
def test_every_copy_with_lists_gives_the_same_splits_and_labels(tmp_path, load, case):
    # At its native size a crop is not resized, so that all bits can be compared.
    dataset = load(case.build(tmp_path), image_size=148, **case.options)
    assert dataset.card["source"]["layout"] == case.expected
    assert dataset.card["counts"] == {name: len(numbers) for name, numbers in ROWS.items()}
    assert dataset.card["split"] == "own"
    assert dataset.card["unreadable"] == 0
    assert dataset.color_by == "Blond_Hair"
    for name, numbers in ROWS.items():
        split = getattr(dataset, name)
        assert set(split.labels) == set(ATTRIBUTES)
        assert checksum(split.x, label_table(split)) == _checksum_of_numbers(numbers)


@_cases([case for case in ACCEPTED if "without lists" in case.expected])
def test_every_copy_without_lists_gives_the_same_images(tmp_path, load, case):
    dataset = load(case.build(tmp_path), image_size=148, **case.options)
    assert dataset.card["source"]["layout"] == case.expected
    assert dataset.card["counts"] == {"train": 10, "valid": 1, "test": 1}
    assert dataset.card["split"] == "random 80/10/10"
    assert dataset.card["split_seed"] == 0
    assert dataset.color_by == ""
    splits = [getattr(dataset, name) for name in SPLITS]
    assert all(split.labels == {} for split in splits)
    found = {x.tobytes() for split in splits for x in split.x}
    assert found == {pixels_of(number).tobytes() for number in PARTITION}


@_cases(REFUSED)
def test_what_is_refused_is_named(tmp_path, load, case):
    wanted = UsageError if case.expected.startswith("--") else DataError
    with pytest.raises(wanted, match=case.expected):
        load(case.build(tmp_path), **case.options)
    # Neither the array nor a part of it, nor the list of what was left out.
    assert list(tmp_path.glob("cache/*")) == list(tmp_path.glob("cache/.*")) == []


def test_options_are_checked_before_anything_is_read(tmp_path, load):
    with pytest.raises(UsageError, match="--crop takes"):
        load(tmp_path / "absent", crop="center150")
    with pytest.raises(UsageError, match="--data-dir is needed for celeba: the official folder"):
        celeba.load()


def test_the_table_can_be_printed(monkeypatch, capsys):
    monkeypatch.setattr(celeba_testing, "ACCEPTED", ACCEPTED[:1])
    monkeypatch.setattr(celeba_testing, "REFUSED", [*REFUSED[:1], ACCEPTED[0]])
    celeba_testing.main()
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.split() == ["official", "folder", "accepted", "official", "(folder)"]
    assert "refused   --data-dir .../absent: no such file or folder; wanted the" in second
    assert third.endswith("official (folder)  (a surprise)")


# ---- rows, labels and the card ---------------------------------------------------------------


def test_images_and_labels_are_in_the_order_of_their_numbers(shared, tmp_path):
    dataset = data.load("celeba", data_dir=str(shared), cache_dir=str(tmp_path / "cache"))
    _check_rows(dataset, size=64)
    assert dataset.kind == "images"
    assert list(dataset.train.labels) == ATTRIBUTES
    assert dataset.card == {
        "name": "celeba",
        "crop": "center148",
        "image_size": 64,
        "channels": 3,
        "resize": "bilinear, antialias",
        "counts": {"train": 6, "valid": 3, "test": 3},
        "unreadable": 0,
        "source": {"layout": "official (folder)", "folder": shared.name},
        "split": "own",
        "missing": 0,
        "not_listed": 0,
    }
    json.dumps(dataset.card)


def test_splits_are_parts_of_one_memory_map(shared, load, tmp_path):
    dataset = load(shared, image_size=16)
    (cached,) = (tmp_path / "cache").glob("*.npy")
    for name in SPLITS:
        split = getattr(dataset, name)
        assert isinstance(split.x, np.memmap)
        assert Path(split.x.filename) == cached


def test_order_is_kept_over_several_batches_with_unreadable_images(tmp_path, load, capsys):
    """300 files of 12 pictures, so that cores work on different parts at once."""
    kind = {number: number % 12 + 1 for number in range(1, 301)}
    names = {number: f"{number:06d}.jpg" for number in kind}
    folder = write(tmp_path, {f"{ALIGNED}{names[n]}": jpeg(kind[n]) for n in kind})
    lines = attribute_text().decode().splitlines()
    rows = {int(line[:6]): line[10:] for line in lines[2:]}
    attributes = [*lines[:2], *(names[n] + rows[kind[n]] for n in reversed(kind))]
    partition = {number: number % 3 for number in kind}
    write(folder, lists("\n".join(attributes).encode(), partition_text(partition)))
    unreadable = (1, 64, 65, 200, 300)
    for number in unreadable:
        _jpeg(folder, number).write_bytes(b"broken")
    dataset = load(folder, image_size=16, max_unreadable=0.02)
    wanted = {
        split: [kind[n] for n in kind if partition[n] == place and n not in unreadable]
        for place, split in enumerate(SPLITS)
    }
    _check_rows(dataset, wanted)
    assert dataset.card["unreadable"] == 5
    assert capsys.readouterr().err.count("000064.jpg is not an image") == 1


def test_the_seed_chooses_the_splits_of_a_copy_without_lists(tmp_path, load):
    folder = write(tmp_path / "copy", images(""))
    first, same, other = (load(folder, image_size=16, split_seed=seed) for seed in (0, 0, 1))
    assert other.card["split_seed"] == 1
    np.testing.assert_array_equal(first.train.x, same.train.x)
    assert not np.array_equal(first.train.x, other.train.x)
    assert not np.array_equal(first.test.x, first.valid.x)


@_some(*ONE_OF_EACH)
def test_the_outline_and_what_is_not_cached_are_the_same(tmp_path, load, case, decodings):
    data_dir = case.build(tmp_path)
    outline = celeba.outline(data_dir=str(data_dir), image_size=16, channels=1)
    assert decodings == []
    unkept = load(data_dir, image_size=16, channels=1, cache=False)
    assert not (tmp_path / "cache").exists()
    kept = load(data_dir, image_size=16, channels=1)
    # Labels of TensorFlow Datasets take a pass over all files.
    labelled = (unkept,) if "TensorFlow" in case.name else (outline, unkept)
    for other in (outline, unkept):
        assert (other.kind, other.card) == (kept.kind, kept.card)
    for other in labelled:
        assert other.color_by == kept.color_by
    for name in SPLITS:
        expected = getattr(kept, name)
        np.testing.assert_array_equal(getattr(unkept, name).x, expected.x)
        assert getattr(outline, name).x.shape == expected.x.shape
        assert getattr(outline, name).x.dtype == expected.x.dtype
        for other in labelled:
            found = getattr(other, name).labels
            assert list(found) == list(expected.labels)
            for label, values in expected.labels.items():
                assert found[label].dtype == values.dtype
                np.testing.assert_array_equal(found[label], values)


# ---- pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", BOXES)
def test_a_crop_equals_pillow_bit_for_bit(shared, load, crop):
    left, _, right, _ = BOXES[crop]
    dataset = load(shared, crop=crop, image_size=right - left)
    for x, number in zip(dataset.train.x, ROWS["train"], strict=True):
        np.testing.assert_array_equal(x, pixels_of(number, crop=crop))


@pytest.mark.parametrize("crop", BOXES)
def test_a_crop_equals_tensorflow_bit_for_bit(shared, load, crop):
    import tensorflow as tf

    left, top, right, bottom = BOXES[crop]
    dataset = load(shared, crop=crop, image_size=right - left)
    for x, number in zip(dataset.train.x, ROWS["train"], strict=True):
        whole = tf.io.decode_jpeg(jpeg(number), dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(x, whole[top:bottom, left:right])


@pytest.mark.parametrize("crop", BOXES)
@pytest.mark.parametrize("size", [8, 32, 64, 256])
def test_resizing_is_within_one_grey_level_of_pillow(shared, load, crop, size):
    _check_rows(load(shared, crop=crop, image_size=size), size=size, crop=crop)


@pytest.mark.parametrize(("size", "height", "top"), [(64, 78, 7), (32, 39, 4), (128, 156, 14)])
def test_full178_is_torchvisions_resize_and_center_crop(shared, load, size, height, top):
    dataset = load(shared, crop="full178", image_size=size)
    for x, number in zip(dataset.train.x, ROWS["train"], strict=True):
        whole = Image.open(_jpeg(shared, number)).resize((size, height), Image.Resampling.BILINEAR)
        wanted = np.asarray(whole)[top : top + size]
        assert np.abs(x.astype(int) - wanted).max() <= 1


def test_one_channel_is_pillows_grey(shared, load):
    dataset = load(shared, image_size=148, channels=1)
    assert dataset.card["channels"] == 1
    for name, numbers in ROWS.items():
        x = getattr(dataset, name).x
        assert x.shape == (len(numbers), 148, 148, 1)
        for image, number in zip(x, numbers, strict=True):
            grey = Image.fromarray(pixels_of(number)).convert("L")
            assert np.abs(image[:, :, 0].astype(int) - np.asarray(grey)).max() <= 1
    assert load(shared, image_size=16, channels=1).test.x.shape == (3, 16, 16, 1)


# ---- images that are missing, not listed or unreadable ---------------------------------------


@pytest.mark.parametrize("in_zip", [False, True], ids=["folder", "zip"])
def test_missing_and_not_listed_images_are_left_out_and_counted(tmp_path, load, capsys, in_zip):
    numbers = [number for number in (*PARTITION, 13, 14, 15) if number not in (4, 7)]
    tree = images(numbers=numbers) | lists()
    if in_zip:
        data_dir = tmp_path / "celeba.zip"
        data_dir.write_bytes(zipped(tree))
    else:
        data_dir = write(tmp_path / "celeba", tree)
    dataset = load(data_dir, image_size=16)
    _check_rows(
        dataset, {name: [n for n in rows if n not in (4, 7)] for name, rows in ROWS.items()}
    )
    assert dataset.card["missing"] == 2
    assert dataset.card["not_listed"] == 3
    said = capsys.readouterr().err
    assert f"celeba: 2 of 12 listed images are not in {data_dir} and are left out" in said
    assert "celeba: 3 of 13 images are not in list_eval_partition.txt and are left out" in said


def test_nothing_is_said_about_a_whole_copy(shared, load, capsys):
    load(shared, image_size=16)
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_only_has_the_name_of_an_image_is_missing(copy, load, kind):
    _jpeg(copy, 7).unlink()
    if kind == "folder":
        _jpeg(copy, 7).mkdir()
    else:
        _jpeg(copy, 7).symlink_to(copy / "absent.jpg")
    dataset = load(copy, image_size=16)
    assert dataset.card["missing"] == 1
    _check_rows(dataset, ROWS | {"valid": [n for n in ROWS["valid"] if n != 7]})


def test_an_image_that_goes_away_is_an_error_however_many_may_be_unreadable(copy, tmp_path):
    source = celeba.source(data_dir=str(copy), cache_dir=str(tmp_path / "cache"), max_unreadable=1)
    _jpeg(copy, 7).unlink()
    with pytest.raises(DataError, match=r"cannot read .*000007\.jpg: No such file"):
        source.dataset()


@NOT_ROOT
def test_an_image_without_read_permission_is_an_error(copy, load):
    _jpeg(copy, 7).chmod(0)
    with pytest.raises(DataError, match=r"cannot read .*000007\.jpg: Permission denied"):
        load(copy, max_unreadable=1)


@pytest.fixture
def seven(tmp_path):
    """Seven images."""
    tree = images(numbers=SEVEN) | lists(attribute_text(SEVEN), partition_text(SEVEN))
    return write(tmp_path / "copy", tree)


@pytest.mark.parametrize("damaged", [(4,), (2, 7), (4, 5, 6), (3,)])
def test_unreadable_images_may_be_left_out(seven, load, capsys, decodings, damaged):
    for number in damaged:
        _jpeg(seven, number).write_bytes(jpeg(number)[:-200])
    first = min(damaged, key=lambda number: (SEVEN[number], number))
    refused = rf"{re.escape(str(_jpeg(seven, first)))} is damaged.*of 7 images 0 may be unreadable"
    with pytest.raises(DataError, match=refused):
        load(seven, image_size=16)
    rows = {
        split: [n for n in SEVEN if SEVEN[n] == place and n not in damaged]
        for place, split in enumerate(SPLITS)
    }
    decodings.clear()
    for options in ({}, {}, {"cache": False}):
        capsys.readouterr()
        dataset = load(seven, image_size=16, max_unreadable=0.5, **options)
        _check_rows(dataset, rows)
        assert dataset.card["unreadable"] == len(damaged)
        assert dataset.card["counts"] == {name: len(own) for name, own in rows.items()}
        assert dataset.card["missing"] == 0
        said = capsys.readouterr().err
        assert f"celeba: {len(damaged)} of 7 images are unreadable and left out:" in said
        assert all(f"{_jpeg(seven, number)} is damaged" in said for number in damaged)
    assert len(decodings) == 2  # the second time it came from the cache
    decodings.clear()
    with pytest.raises(DataError, match=refused):
        load(seven, image_size=16, max_unreadable=0)
    assert decodings == []


def test_more_unreadable_images_than_allowed_are_an_error(seven, load):
    for number in (2, 4, 5, 7):
        _jpeg(seven, number).write_bytes(b"")
    with pytest.raises(DataError, match=r"000002\.jpg is empty; of 7 images 3 may be unreadable"):
        load(seven, max_unreadable=0.5)
    dataset = load(seven, image_size=16, max_unreadable=4 / 7)
    _check_rows(dataset, {"train": [6], "valid": [3], "test": [1]})


def test_a_split_of_unreadable_images_is_an_error(seven, load):
    _jpeg(seven, 1).write_bytes(b"")
    for _ in range(2):  # decoded, and from the cache
        with pytest.raises(DataError, match="the test split of celeba is empty: 1 of its 1 images"):
            load(seven, image_size=16, max_unreadable=0.5)


@_some(*ONE_OF_EACH[:-1])
def test_in_every_layout_labels_belong_to_the_images_that_are_left(
    tmp_path, load, case, monkeypatch
):
    with monkeypatch.context() as patched:
        broken = {2: b"<html>", 10: b"GIF89a", 12: jpeg(12)[:500]}
        patched.setattr(celeba_testing, "jpeg", lambda number: broken.get(number) or jpeg(number))
        data_dir = case.build(tmp_path)
    rows = {name: [n for n in own if n not in broken] for name, own in ROWS.items()}
    for _ in range(2):
        dataset = load(data_dir, image_size=148, max_unreadable=0.3)
        assert dataset.card["unreadable"] == 3
        for name, numbers in rows.items():
            split = getattr(dataset, name)
            assert checksum(split.x, label_table(split)) == _checksum_of_numbers(numbers)


# ---- the copy and the cache ------------------------------------------------------------------


def _state(folder):
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


@_some(*ONE_OF_EACH)
def test_nothing_of_the_copy_is_written(tmp_path, load, case):
    place = write(tmp_path / "place", {})
    data_dir = case.build(place)
    paths = [place, *place.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        before = _state(place)
        assert len(before) >= 2
        load(data_dir, image_size=16)
        assert _state(place) == before
    finally:
        for path in paths:
            path.chmod(0o755)


def test_the_cache_is_built_anew_only_when_pixels_change(copy, load, decodings, monkeypatch):
    def built(**options):
        decodings.clear()
        dataset = load(copy, **{"image_size": 16} | options)
        assert len(decodings) <= 1
        return dataset if decodings else None

    assert built()
    assert not built()
    assert built(image_size=8)
    assert built(crop="center140")
    assert built(channels=1)
    assert not built(max_unreadable=0.5)
    assert not built(split_seed=1)  # there are lists
    write(copy, lists(attribute_text(values=("0", "1"))))
    write(copy, {"README.txt": b"faces"})
    for options in ({}, {"image_size": 8}, {"crop": "center140"}, {"channels": 1}):
        assert not built(**options)

    _jpeg(copy, 2).write_bytes(encoded(picture(99)))
    changed = built()
    assert changed
    assert not built()
    wanted = Image.open(_jpeg(copy, 2)).crop(BOXES["center148"])
    wanted = np.asarray(wanted.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(changed.train.x[0].astype(int) - wanted).max() <= 1

    write(copy, lists(partition=partition_text(PARTITION | {2: 1})))
    assert built().card["counts"] == {"train": 5, "valid": 4, "test": 3}
    assert not built()

    monkeypatch.setattr(sets, "DECODING_VERSION", sets.DECODING_VERSION + 1)
    assert built()
    assert not built()


def test_a_change_of_the_same_size_is_noticed_by_its_time(copy, load, decodings):
    load(copy, image_size=16)
    status = _jpeg(copy, 2).stat()
    os.utime(_jpeg(copy, 2), ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    load(copy, image_size=16)
    assert len(decodings) == 2


def test_a_change_in_a_zip_is_noticed_by_its_checksum(tmp_path, load, decodings):
    archive, black = tmp_path / "celeba.zip", np.zeros((218, 178, 3), np.uint8)
    stat = None
    for level in (0, 255):
        content = encoded(black + np.uint8(level), "BMP")
        archive.write_bytes(zipped(official() | {f"{ALIGNED}000002.jpg": content}))
        if stat:
            assert archive.stat().st_size == stat.st_size
            os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        stat = archive.stat()
        assert (load(archive, image_size=16).train.x[0] == level).all()
    assert len(decodings) == 2
    load(archive, image_size=16)
    assert len(decodings) == 2


@pytest.mark.parametrize("kind", ["parquet", "prepared"])
def test_tables_and_prepared_folders_come_from_the_cache(tmp_path, load, decodings, kind):
    if kind == "parquet":
        folder = write(tmp_path / "copy", parquet_files())
    else:
        folder = write_prepared(tmp_path / "copy")
    load(folder, image_size=16)
    load(folder, image_size=16)
    assert len(decodings) == 1
    changed = next(iter(sorted(folder.rglob("*train*"))))
    status = changed.stat()
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    load(folder, image_size=16)
    assert len(decodings) == 2


# ---- the real one ----------------------------------------------------------------------------


@pytest.mark.skipif("KVAE_CELEBA_DIR" not in os.environ, reason="KVAE_CELEBA_DIR names no copy")
def test_a_real_copy(tmp_path):
    folder = Path(os.environ["KVAE_CELEBA_DIR"])
    dataset = celeba.load(data_dir=str(folder), cache_dir=str(tmp_path), image_size=32)
    listed = {
        line.split()[0]: line.split()[1]
        for line in (folder / "list_eval_partition.txt").read_text().splitlines()
    }
    for number, name in enumerate(SPLITS):
        files = sorted(file for file, part in listed.items() if part == str(number))
        split = getattr(dataset, name)
        assert len(split.x) == len(files) == dataset.card["counts"][name]
        for row in range(0, len(files), len(files) // 20):
            image = Image.open(folder / ALIGNED / files[row]).crop(BOXES["center148"])
            wanted = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
            assert np.abs(split.x[row].astype(int) - wanted).max() <= 1
    assert len(dataset.train.labels) == 40
    bald_and_blond = dataset.train.labels["Bald"] & dataset.train.labels["Blond_Hair"]
    assert bald_and_blond.mean() < 0.01 < dataset.train.labels["Blond_Hair"].mean() < 0.5


# ---- what was given instead of the copy ------------------------------------------------------


@pytest.mark.parametrize("given", ["img_align_celeba", "img_align_celeba.zip", "Img"])
def test_the_lists_beside_the_images_are_found(tmp_path, load, shared, given):
    tree = lists(anno="Anno/", evaluation="Eval/") if given == "Img" else lists()
    if given.endswith(".zip"):
        tree |= {given: zipped(images())}
    else:
        tree |= images("Img/img_align_celeba/" if given == "Img" else ALIGNED)
    root = write(tmp_path / "celeba", tree)
    dataset, wanted = load(root / given, image_size=16), load(shared, image_size=16)
    np.testing.assert_array_equal(dataset.test.x, wanted.test.x)
    np.testing.assert_array_equal(dataset.test.labels["Smiling"], wanted.test.labels["Smiling"])


def test_lists_beside_something_else_are_not_taken(tmp_path, load):
    root = write(tmp_path / "celeba", lists() | images("mine/"))
    assert load(root / "mine", image_size=16).card["split"] == "random 80/10/10"


def test_folders_of_different_numbers_are_one_copy(tmp_path, load, capsys):
    tree = images("0/", [1, 2, 3, 4, 5, 6]) | images("1/", [7, 8, 9, 10, 11, 12])
    twice = images("2/", [1, 2]) | {"0/000001.png": png(1)}
    dataset = load(write(tmp_path / "celeba", tree | twice), image_size=16)
    assert sum(dataset.card["counts"].values()) == 12
    assert (
        "3 images have a number that another one has, and are left out" in capsys.readouterr().err
    )


def test_folders_of_splits_without_lists_are_refused(tmp_path, load):
    tree = images("train/", [1, 2, 3]) | images("test/", [4, 5])
    with pytest.raises(DataError, match="--dataset folder reads such splits"):
        load(write(tmp_path / "celeba", tree), image_size=16)


def test_parquet_files_in_folders_of_splits(tmp_path, load, shared):
    by_split = {"train": "default/train/", "valid": "default/validation/", "test": "default/test/"}
    tree = {f"{by_split[split]}0000.parquet": parquet_table(ROWS[split]) for split in SPLITS}
    dataset = load(write(tmp_path / "retrieval-interval", tree), image_size=16)
    assert dataset.card["split"] == "own"
    assert dataset.card["counts"] == load(shared, image_size=16).card["counts"]


def _table(**columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    contents = [{"bytes": jpeg(number), "path": None} for number in range(1, 13)]
    pq.write_table(pa.table({"image": contents, **columns}), buffer)
    return buffer.getvalue()


def test_whole_numbers_are_attributes_if_they_are_minus_one_zero_and_one(tmp_path, load, capsys):
    values = [1, -1, -1, 1] * 3
    table = _table(Smiling=values, celeb_id=list(range(12)), path=["a"] * 12)
    dataset = load(write(tmp_path / "copy", {"all.parquet": table}), image_size=16)
    assert list(dataset.train.labels) == ["Smiling"]
    assert sum(int(split.labels["Smiling"].sum())
               for split in (dataset.train, dataset.valid, dataset.test)) == 6  # fmt: skip
    assert "columns that are not used: celeb_id, path" in capsys.readouterr().err


def test_an_index_of_pandas_is_no_attribute(tmp_path, load, capsys):
    table = _table(Smiling=[True, False] * 6, __index_level_0__=[0, 1] * 6)
    dataset = load(write(tmp_path / "copy", {"all.parquet": table}), image_size=16)
    assert list(dataset.train.labels) == ["Smiling"]
    assert "columns that are not used: __index_level_0__" in capsys.readouterr().err


def test_an_empty_cell_of_an_attribute_is_named(tmp_path, load):
    table = _table(Smiling=[True, None, False] * 4)
    with pytest.raises(DataError, match=r"all\.parquet, column 'Smiling': 4 empty cells"):
        load(write(tmp_path / "copy", {"all.parquet": table}), image_size=16)


def test_attributes_that_disagree_are_refused(tmp_path, load):
    line = attribute_text().splitlines()[2]
    other = attribute_text() + line.replace(b"-1", b" 1") + b"\r\n"
    root = write(tmp_path / "copy", images() | lists(attributes=other))
    with pytest.raises(DataError, match="has other attributes further up"):
        load(root, image_size=16)


def test_a_partition_of_names_without_ending_is_refused_at_its_line(tmp_path, load):
    text = partition_text().replace(b".jpg", b"")
    root = write(tmp_path / "copy", images() | lists(partition=text))
    with pytest.raises(DataError, match=r"list_eval_partition.txt, line 3: .*received '0000"):
        load(root, image_size=16)


def test_want_of_memory_is_no_damage(shared, load, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(MemoryError):
        load(shared, image_size=24, max_unreadable=1)


@pytest.mark.parametrize("by", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_lists_may_have_any_delimiter(by, quote):
    if by == " " and quote:
        return
    rows = [["image_id", "partition"], *([f"{i:06d}.jpg", str(i % 3)] for i in range(1, 9))]
    text = "\n".join(by.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    found = read_partition(text, "the list")
    assert found == {f"{i:06d}": i % 3 for i in range(1, 9)}
    with pytest.raises(DataError, match="the list, line 10: wanted an image's name and 0, 1 or 2"):
        read_partition(f"{text}\n000009.jpg{by}3", "the list")
