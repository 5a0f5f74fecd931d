import functools
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kvae import data
from kvae.data import celeba
from kvae.data.celeba_images import DECODING_VERSION, decode
from kvae.data.crops import CROPS
from kvae.errors import DataError, UsageError

ATTRIBUTES = ["Blond_Hair", "Smiling", *(f"Attribute_{i}" for i in range(38))]
# Split numbers by image, out of order on purpose; image 4 is in neither list.
PARTITION = {1: 2, 2: 0, 3: 1, 5: 0, 6: 0, 7: 1, 8: 2}
ROWS = {"train": [2, 5, 6], "valid": [3, 7], "test": [1, 8]}


def _picture(number, width=178, height=218):
    """Smooth waves and a little noise, different for each number."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width, :1][:2]
    waves = np.sin(x / rng.uniform(5, 20, 3) + rng.uniform(0, 6, 3)) * np.cos(y / 9 + number)
    return np.clip(128 + 90 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


@functools.cache
def _jpeg_bytes(number):
    buffer = io.BytesIO()
    Image.fromarray(_picture(number)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _values(number):
    return np.random.default_rng(100 + number).integers(0, 2, 40).astype(bool)


def _attribute_text(values=("-1", "1"), newline="\r\n", count=7):
    lines = [str(count), " ".join(ATTRIBUTES) + " "]
    for number in PARTITION:
        words = [values[int(v)] for v in _values(number)]
        lines.append(f"{number:06d}.jpg " + " ".join(f"{word:>2}" for word in words))
    return newline.join(lines) + newline


def _partition_text(newline="\r\n"):
    return "".join(f"{number:06d}.jpg {part}{newline}" for number, part in PARTITION.items())


def _write_lists(attributes_dir, partition_dir, attributes=None, partition=None):
    for folder, name, text in (
        (attributes_dir, "list_attr_celeba.txt", attributes or _attribute_text()),
        (partition_dir, "list_eval_partition.txt", partition or _partition_text()),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode())


@pytest.fixture
def copy(tmp_path):
    """A copy of seven images in the official layout."""
    folder = tmp_path / "copy"
    (folder / "img_align_celeba").mkdir(parents=True)
    for number in range(1, 9):
        _jpeg(folder, number).write_bytes(_jpeg_bytes(number))
    _write_lists(folder, folder)
    return folder


def _load(folder, **options):
    return celeba.load(data_dir=str(folder), cache_dir=str(folder.parent / "cache"), **options)


def _jpeg(folder, number):
    return folder / "img_align_celeba" / f"{number:06d}.jpg"


def _pil(path, crop, size=None):
    image = Image.open(path).convert("RGB").crop(CROPS[crop])
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR) if size else image)


def _check_rows(dataset, folder, crop="center148", size=64):
    for name, numbers in ROWS.items():
        split = getattr(dataset, name)
        wanted = np.stack([_pil(_jpeg(folder, number), crop, size) for number in numbers])
        assert split.x.dtype == np.uint8
        assert np.abs(split.x.astype(int) - wanted).max() <= 1
        for i, attribute in enumerate(ATTRIBUTES):
            assert split.labels[attribute].dtype == bool
            assert list(split.labels[attribute]) == [_values(number)[i] for number in numbers]


def test_splits_images_and_labels_belong_together(copy):
    dataset = data.load("celeba", data_dir=str(copy), cache_dir=str(copy.parent / "cache"))
    _check_rows(dataset, copy)
    assert dataset.kind == "images"
    assert list(dataset.train.labels) == ATTRIBUTES
    assert dataset.color_by in dataset.train.labels
    assert dataset.card == {
        "name": "celeba",
        "source": {"folder": "copy", "layout": "official"},
        "crop": "center148",
        "image_size": 64,
        "resize": "bilinear, antialias",
        "counts": {"train": 3, "valid": 2, "test": 2},
        "missing": 0,
    }
    json.dumps(dataset.card)


def test_splits_are_parts_of_one_memory_map(copy):
    dataset = _load(copy, image_size=16)
    (cached,) = (copy.parent / "cache").iterdir()
    for split in (dataset.train, dataset.valid, dataset.test):
        assert isinstance(split.x, np.memmap)
        assert Path(split.x.filename) == cached


def test_images_and_lists_may_be_in_subfolders(copy):
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (copy / name).unlink()
    _write_lists(copy / "Anno", copy / "Eval")
    (copy / "Img").mkdir()
    (copy / "img_align_celeba").rename(copy / "Img" / "img_align_celeba")
    _check_rows(_load(copy), copy / "Img")


@pytest.mark.parametrize(
    "text",
    [
        _attribute_text(newline="\n"),
        _attribute_text(values=("0", "1")),
        _attribute_text(count=202599),
        "\ufeff" + _attribute_text() + "\r\n\r\n",
        _attribute_text().replace("  1", " 1"),
        _attribute_text().removeprefix("7\r\n"),
    ],
    ids=["LF", "0 and 1", "count lies", "mark and blank lines", "one blank", "no count"],
)
def test_harmless_variants_of_the_lists_are_read(copy, text):
    _write_lists(copy, copy, attributes=text, partition=_partition_text(newline="\n") + "\n")
    _check_rows(_load(copy), copy)


@pytest.mark.parametrize("crop", [crop for crop in CROPS if crop != "full178"])
def test_a_crop_equals_pil_bit_for_bit(copy, crop):
    left, _, right, _ = CROPS[crop]
    (images,) = decode([str(_jpeg(copy, 1)), str(_jpeg(copy, 2))], crop, right - left)
    for image, number in zip(images, (1, 2), strict=True):
        np.testing.assert_array_equal(image, _pil(_jpeg(copy, number), crop))


@pytest.mark.parametrize("crop", [crop for crop in CROPS if crop != "full178"])
@pytest.mark.parametrize("size", [8, 32, 64, 256])
def test_resizing_is_within_one_grey_level_of_pil(copy, crop, size):
    (images,) = decode([str(_jpeg(copy, 1))], crop, size)
    assert np.abs(images[0].astype(int) - _pil(_jpeg(copy, 1), crop, size)).max() <= 1


@pytest.mark.parametrize("crop", ["center148", "center128"])
@pytest.mark.parametrize("size", [32, 64, 256])
def test_resizing_is_the_unrounded_resize_rounded_once(copy, crop, size):
    (images,) = decode([str(_jpeg(copy, 1))], crop, size)
    # PIL rounds 8-bit images after each of its two passes, but not images of floats.
    channels = [
        Image.fromarray(c) for c in np.float32(_pil(_jpeg(copy, 1), crop)).transpose(2, 0, 1)
    ]
    exact = [np.asarray(c.resize((size, size), Image.Resampling.BILINEAR)) for c in channels]
    assert np.abs(images[0] - np.stack(exact, axis=-1)).max() <= 0.501


@pytest.mark.parametrize(("size", "height", "top"), [(64, 78, 7), (32, 39, 4), (128, 156, 14)])
def test_full178_is_torchvisions_resize_and_center_crop(copy, size, height, top):
    (images,) = decode([str(_jpeg(copy, 1))], "full178", size)
    whole = Image.open(_jpeg(copy, 1)).resize((size, height), Image.Resampling.BILINEAR)
    wanted = np.asarray(whole)[top : top + size]
    assert np.abs(images[0].astype(int) - wanted).max() <= 1


def test_order_is_kept_over_several_batches(copy):
    numbers = np.random.default_rng(0).integers(1, 9, 600)
    images = np.concatenate(
        list(decode([str(_jpeg(copy, number)) for number in numbers], "center128", 8))
    )
    first = {number: images[np.argmax(numbers == number)] for number in range(1, 9)}
    assert len({image.tobytes() for image in first.values()}) == 8
    np.testing.assert_array_equal(images, np.stack([first[number] for number in numbers]))


def test_decoding_happens_once_for_the_same_images_crop_and_size(copy, monkeypatch):
    built = []

    def counted(paths, crop, image_size):
        built.append((crop, image_size))
        return decode(paths, crop, image_size)

    monkeypatch.setattr(celeba, "decode", counted)
    _load(copy, image_size=16)
    _load(copy, image_size=16)
    assert built == [("center148", 16)]
    _load(copy, image_size=8)
    _load(copy, image_size=16, crop="center140")
    assert built[1:] == [("center148", 8), ("center140", 16)]
    Image.fromarray(_picture(99)).save(_jpeg(copy, 2))
    np.testing.assert_allclose(
        _load(copy, image_size=16).train.x[0], _pil(_jpeg(copy, 2), "center148", 16), atol=1
    )
    _write_lists(copy, copy, partition=_partition_text().replace("2.jpg 0", "2.jpg 1"))
    assert _load(copy, image_size=16).card["counts"] == {"train": 2, "valid": 3, "test": 2}
    assert len(built) == 5
    monkeypatch.setattr(celeba, "DECODING_VERSION", DECODING_VERSION + 1)
    _load(copy, image_size=16)
    assert len(built) == 6


def test_missing_images_are_left_out_and_counted(copy, capsys):
    _jpeg(copy, 5).unlink()
    _jpeg(copy, 7).unlink()
    dataset = _load(copy, image_size=16)
    assert dataset.card["counts"] == {"train": 2, "valid": 1, "test": 2}
    assert dataset.card["missing"] == 2
    assert list(dataset.train.labels["Smiling"]) == [_values(2)[1], _values(6)[1]]
    np.testing.assert_allclose(dataset.train.x[1], _pil(_jpeg(copy, 6), "center148", 16), atol=1)
    assert "celeba: 2 of 7 listed images are not in" in capsys.readouterr().err


def _cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def _filled_with_zeros(path):
    content = path.read_bytes()
    path.write_bytes(content[: int(0.9 * len(content))].ljust(len(content), b"\0"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_short, "damaged or not a JPEG"),
        (_filled_with_zeros, "damaged or not a JPEG"),
        (lambda path: path.write_bytes(b""), "damaged or not a JPEG"),
        (lambda path: path.write_bytes(b"<html>"), "damaged or not a JPEG"),
        (lambda path: Image.fromarray(_picture(1, 178, 217)).save(path), "is 178x217: .*178x218"),
        (lambda path: Image.fromarray(_picture(1, 64, 64)).save(path), "is 64x64: .*178x218"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read"),
    ],
    ids=["cut short", "zeros", "empty", "html", "one row less", "64x64", "folder"],
)
def test_a_damaged_image_is_named_and_nothing_is_cached(copy, damage, message):
    damage(_jpeg(copy, 7))
    with pytest.raises(DataError, match=message) as error:
        _load(copy)
    assert str(_jpeg(copy, 7)) in str(error.value)
    assert list((copy.parent / "cache").iterdir()) == []


def test_a_damaged_image_is_named_after_many_good_ones(copy):
    _cut_short(_jpeg(copy, 8))
    paths = [str(_jpeg(copy, 1))] * 700
    paths[601] = str(_jpeg(copy, 8))
    with pytest.raises(DataError, match=r"000008\.jpg is damaged"):
        list(decode(paths, "center148", 8))


QUOTA_PAGE = "<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"attributes": QUOTA_PAGE}, "list_attr_celeba.txt is a web page.*download it again"),
        ({"partition": QUOTA_PAGE}, "list_eval_partition.txt is a web page.*download it again"),
        (
            {"partition": _partition_text() + "000009.jpg 3\r\n"},
            "list_eval_partition.txt, line 8: .*got '000009.jpg 3'",
        ),
        ({"partition": "000001.jpg\n"}, "list_eval_partition.txt, line 1: .*got '000001.jpg'"),
        ({"partition": "000099.jpg 0\n"}, "none of the 1 images in list_eval_partition.txt"),
        ({"partition": "\n"}, "none of the 0 images in list_eval_partition.txt"),
        (
            {"partition": _partition_text().replace("jpg 1", "jpg 2")},
            "the valid split is empty: .*the number 1",
        ),
        (
            {"partition": _partition_text() + "000004.jpg 0\n"},
            "1 images of the partition list are not in the attribute list.*000004.jpg",
        ),
        (
            {"attributes": _attribute_text().replace(" Smiling", "")},
            "line 2: wanted 40 different attribute names, got 39",
        ),
        ({"attributes": "\n"}, "wanted 40 different attribute names, got 0"),
        (
            {"attributes": _attribute_text(values=("-1", "2"))},
            "list_attr_celeba.txt, line 3: wanted an image's name and 40 values",
        ),
        (
            {"attributes": _attribute_text() + "000009.jpg 1 1\r\n"},
            "list_attr_celeba.txt, line 10: wanted an image's name and 40 values",
        ),
    ],
)
def test_a_damaged_list_is_a_data_error(copy, lists, message):
    _write_lists(copy, copy, **lists)
    with pytest.raises(DataError, match=message):
        _load(copy)


def test_without_images_none_of_the_listed_is_there(copy):
    for path in (copy / "img_align_celeba").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="none of the 7 images"):
        _load(copy)


def test_a_folder_without_the_layout_is_a_usage_error(copy, tmp_path):
    wanted = "img_align_celeba/, list_attr_celeba.txt, list_eval_partition.txt"
    with pytest.raises(
        UsageError, match=f"--data-dir is needed for celeba: a folder with {wanted}"
    ):
        celeba.load()
    with pytest.raises(UsageError, match=f"absent is not a folder: wanted one with {wanted}"):
        _load(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"Img/img_align.*Anno/list_attr.*Eval/list_eval"):
        _load(tmp_path / "empty")
    (copy / "list_attr_celeba.txt").unlink()
    with pytest.raises(UsageError, match=r"copy has no list_attr_celeba.txt \(looked for [^)]*\)$"):
        _load(copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "center150"}, "unknown crop 'center150': choose one of center148, .*full178"),
        ({"image_size": 7}, "8 to 256, got 7"),
        ({"image_size": 257}, "8 to 256, got 257"),
    ],
)
def test_options_are_checked_before_anything_is_read(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        _load(tmp_path / "absent", **options)


@pytest.mark.skipif("KVAE_CELEBA_DIR" not in os.environ, reason="KVAE_CELEBA_DIR names no copy")
def test_a_real_copy(tmp_path):
    folder = Path(os.environ["KVAE_CELEBA_DIR"])
    dataset = celeba.load(data_dir=str(folder), cache_dir=str(tmp_path), image_size=32)
    listed = {
        line.split()[0]: line.split()[1]
        for line in (folder / "list_eval_partition.txt").read_text().splitlines()
    }
    for number, name in enumerate(("train", "valid", "test")):
        files = sorted(file for file, part in listed.items() if part == str(number))
        split = getattr(dataset, name)
        assert len(split.x) == len(files) == dataset.card["counts"][name]
        for row in range(0, len(files), len(files) // 20):
            wanted = _pil(folder / "img_align_celeba" / files[row], "center148", 32)
            assert np.abs(split.x[row].astype(int) - wanted).max() <= 1
    assert len(dataset.train.labels) == 40
    bald_and_blond = dataset.train.labels["Bald"] & dataset.train.labels["Blond_Hair"]
    assert bald_and_blond.mean() < 0.01 < dataset.train.labels["Blond_Hair"].mean() < 0.5


def test_the_outline_has_the_counts_shapes_and_labels_of_the_data(copy, tmp_path):
    loaded = celeba.load(data_dir=str(copy), image_size=16, cache_dir=str(tmp_path / "cache"))
    outline = celeba.outline(data_dir=str(copy), image_size=16)
    assert outline.card == loaded.card
    for name in celeba.SPLITS:
        expected, found = getattr(loaded, name), getattr(outline, name)
        assert found.x.shape == expected.x.shape
        assert found.x.dtype == expected.x.dtype
        np.testing.assert_array_equal(found.labels["Smiling"], expected.labels["Smiling"])
