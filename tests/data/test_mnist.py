import gzip
import io
import json
import os
import time
import zipfile

import numpy as np
import pytest
from mnist_testing import idx, stand_in, write_csv, write_idx, write_npz, write_prepared

from kvae import data
from kvae.data import inspection, mnist, program
from kvae.errors import DataError, UsageError

SPLITS = ("train", "valid", "test")
HEADER = ",".join(["label", *(f"pixel{i}" for i in range(784))])


@pytest.fixture(scope="module")
def found():
    return stand_in()


@pytest.fixture(scope="module")
def copies(found, tmp_path_factory):
    """Layout -> what --data-dir names."""
    root = tmp_path_factory.mktemp("mnist")
    places = {
        "idx": write_idx(root / "idx", found),
        "idx.gz": write_idx(root / "gz", found, zipped=True),
        "with a point": write_idx(root / "point", found, "{split}-{kind}.idx{dims}-ubyte"),
        "torchvision": write_idx(root / "tv" / "MNIST" / "raw", found).parents[1],
        "both": write_idx(write_idx(root / "both", found), found, zipped=True),
        "a file": write_idx(root / "file", found) / "t10k-labels-idx1-ubyte",
        "npz": write_npz(root / "mnist.npz", found),
        "csv": root / "csv",
    }
    nested = root / "nested"
    for path in places["idx"].iterdir():
        (nested / path.name).mkdir(parents=True)
        (nested / path.name / path.name).write_bytes(path.read_bytes())
    places["nested"] = nested
    places["zip"] = root / "archive.zip"
    with zipfile.ZipFile(places["zip"], "w") as archive:
        for path in places["with a point"].iterdir():
            archive.write(path, f"archive/{path.name}")
    places["csv"].mkdir()
    for split, header in (("train", ""), ("test", HEADER)):
        write_csv(places["csv"] / f"mnist_{split}.csv", *found[split], header=header)
    return places


LAYOUTS = (
    "idx", "idx.gz", "with a point", "torchvision", "both", "a file", "npz", "csv", "nested", "zip",
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_images_in_the_official_split(layout, copies, found, capsys):
    dataset = data.load("mnist", data_dir=str(copies[layout]))
    assert dataset.card["counts"] == {"train": 200, "valid": 40, "test": 50}
    x = np.concatenate([dataset.train.x, dataset.valid.x])
    y = np.concatenate([dataset.train.labels["digit"], dataset.valid.labels["digit"]])
    for own, labels, split in (
        (x, y, "train"),
        (dataset.test.x, dataset.test.labels["digit"], "test"),
    ):
        assert own.dtype == np.uint8
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(own[..., 0], found[split][0])
        np.testing.assert_array_equal(labels, found[split][1])
    assert dataset.card["label_names"] == {"digit": [str(digit) for digit in range(10)]}
    assert dataset.card["sha256"] == data.load("mnist", data_dir=str(copies["idx"])).card["sha256"]
    assert "not the official images" in capsys.readouterr().err
    json.dumps(dataset.card)


def test_of_the_official_files_the_last_10_000_are_valid():
    rows = mnist.Labelled(np.arange(60_000), np.arange(60_000))
    train, valid = mnist._cut(rows, 6)
    assert (len(train.x), valid.x[0], len(valid.y)) == (50_000, 50_000, 10_000)


def test_what_tfds_prepared_is_read_in_its_own_order(tmp_path, found):
    folder = write_prepared(tmp_path, "fashion_mnist", found)
    for place in (tmp_path, folder):
        dataset = data.load("fashion-mnist", data_dir=str(place))
        assert dataset.card["counts"] == {"train": 200, "valid": 40, "test": 50}
        np.testing.assert_array_equal(dataset.test.x[..., 0], found["test"][0][::-1])
        np.testing.assert_array_equal(dataset.test.labels["garment"], found["test"][1][::-1])
        np.testing.assert_array_equal(dataset.train.x[0, ..., 0], found["train"][0][-1])
    assert dataset.card["label_names"]["garment"][9] == "Ankle boot"
    with pytest.raises(DataError, match="holds no copy of mnist"):
        data.load("mnist", data_dir=str(tmp_path))
    (folder / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match=r"fashion_mnist/3\.0\.1"):
        data.load("fashion-mnist", data_dir=str(tmp_path))


def test_kaggles_table_alone_is_divided_in_its_order_and_says_so(tmp_path, found, capsys):
    x, y = found["train"]
    write_csv(tmp_path / "train.csv", x, y, HEADER)
    # Of another width: no labels.
    (tmp_path / "test.csv").write_text("\n".join(",".join(["0"] * 784) for _ in range(5)))
    dataset = data.load("mnist", data_dir=str(tmp_path))
    assert dataset.card["counts"] == {"train": 172, "valid": 34, "test": 34}
    np.testing.assert_array_equal(
        np.concatenate([getattr(dataset, name).x for name in SPLITS])[..., 0], x
    )
    assert "no official test split: its last 34 images are test" in capsys.readouterr().err
    assert dataset.card["split"] == "in its order: 5 sevenths train, 1 valid, 1 test"


def test_the_images_of_another_family_are_refused_by_their_checksum(copies, monkeypatch, capsys):
    families = {family.name: family for family in mnist.FAMILIES}
    for own, other in (("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")):
        monkeypatch.setattr(mnist, "_content_of", lambda _, own=own: families[own].content)
        card = data.load(own, data_dir=str(copies["idx"])).card
        assert card["source"]["official"] is True
        assert card["sha256"] == families[own].content
        words = f"holds the images of {own}, not of {other}: --dataset {own} takes them"
        with pytest.raises(UsageError, match=words):
            data.load(other, data_dir=str(copies["idx"]))
    assert "not the official" not in capsys.readouterr().err


def _images(found):
    return idx(found["train"][0])


DAMAGE = [
    (lambda c: b"\x00\x00\x08\x01" + c[4:], "must start with the magic number 2051 .00000803."),
    (lambda c: b"<html>" + c, "magic number 2051.*received a web page"),
    (lambda c: b"", "magic number 2051"),
    (lambda c: c[:9], "ends within its header"),
    (lambda c: c[:-1], "cut short: its header says 240 x 28 x 28, 188,160 bytes; received 188,159"),
    (lambda c: c + b"\x00", "is damaged: .*received more"),
    (lambda c: c[:4] + (241).to_bytes(4, "big") + c[8:], "received 188,160"),
    (lambda c: c[:4] + (2**31).to_bytes(4, "big") + c[8:], "1 to 300,000 images.*2,147,483,648"),
    (lambda c: c[:4] + bytes(4) + c[8:], "1 to 300,000 images.*says 0"),
    (lambda c: c[:8] + (32).to_bytes(4, "big") + c[12:], "28 x 28 pixels; its header says 32 x 28"),
    (lambda c: gzip.compress(c)[:-5], "damaged, or cut short"),
    (lambda c: gzip.compress(c)[:-8] + bytes(8), "damaged, or cut short: CRC"),
    (lambda c: gzip.compress(c + b"\x00" * 10), "received more"),
    (lambda c: c[:4] + (230).to_bytes(4, "big") + c[8 : 16 + 230 * 784], "230 images.*240 labels"),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_damaged_idx_file_is_refused(number, found, tmp_path):
    damage, words = DAMAGE[number]
    write_idx(tmp_path, found)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(damage(_images(found)))
    with pytest.raises(DataError, match=words):
        data.load("mnist", data_dir=str(tmp_path))


def test_no_more_of_a_gz_is_unpacked_than_its_header_asks_for(found, tmp_path, monkeypatch):
    """A bomb: 200 MB behind the 188,160 bytes that the header tells of."""
    write_idx(tmp_path, found)
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb", compresslevel=1) as file:
        file.write(_images(found))
        for _ in range(200):
            file.write(bytes(10**6))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(whole.getvalue())
    asked, read = [], gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or read(self, size)
    )
    start = time.process_time()
    with pytest.raises(DataError, match="received more"):
        data.load("mnist", data_dir=str(tmp_path))
    assert max(asked) == 240 * 784 + 1
    assert min(asked) > 0
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": np.zeros((240, 28, 28), np.float32)}, "x_train: wanted uint8"),
        ({"x_train": np.zeros((240, 784), np.uint8)}, r"x_train: wanted uint8 \(images, 28, 28\)"),
        ({"y_train": np.full(240, 300)}, "y_train: labels are 0 to 9; received 300 to 300"),
        ({"y_train": np.zeros(239, np.uint8)}, "240 images, .*239 labels"),
        ({"y_test": np.full(50, 10, np.uint8)}, "labels are 0 to 9; that of image 1 of test is 10"),
        ({"x_test": np.empty(50, object)}, "x_test: wanted uint8"),
    ],
)
def test_an_archive_of_other_arrays_is_refused(change, words, found, tmp_path):
    write_npz(tmp_path / "m.npz", found)
    with np.load(tmp_path / "m.npz") as arrays:
        np.savez(tmp_path / "m.npz", **{**arrays, **change})
    with pytest.raises(DataError, match=words):
        data.load("mnist", data_dir=str(tmp_path))


def test_an_archive_whose_first_axis_is_the_fastest_holds_the_same_images(found, tmp_path):
    path = write_npz(tmp_path / "m.npz", found)
    wanted = data.load("mnist", data_dir=str(path))
    with np.load(path) as arrays:
        np.savez(path, **{name: np.asfortranarray(array) for name, array in arrays.items()})
    assert b"'fortran_order': True" in path.read_bytes()
    again = data.load("mnist", data_dir=str(path))
    assert again.card == wanted.card
    np.testing.assert_array_equal(again.test.x, wanted.test.x)


def test_an_archive_that_claims_too_many_images_is_refused(found, tmp_path):
    path = write_npz(tmp_path / "m.npz", found)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(240, 28, 28)", b"(9e9, 28, 28)"))
    with pytest.raises(DataError, match="damaged"):
        data.load("mnist", data_dir=str(path))
    path.write_bytes(content.replace(b"(240, 28, 28), }   ", b"(900000, 28, 28), }"))
    with pytest.raises(DataError, match=r"1 to 300,000 images .* says 900,000"):
        data.load("mnist", data_dir=str(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("\n3,", "\nthree,", 1), "a label and 784 whole.*'three'"),
        (lambda text: text.replace(",255,", ",256,", 1), "'256'"),
        (lambda text: text.replace(",0,", ",-1,", 1), "'-1'"),
        (lambda text: text.replace(",0,", ",,", 1), "from 0 to 255 in each line"),
        (lambda text: text.replace(",0\n", "\n", 1), "785 columns|first line has 784 cells"),
        (lambda text: HEADER + "\n", "has no rows"),
        (lambda text: "a,b\n1,2\n", "first line has 2 cells"),
        (lambda text: "<html>", "is a web page"),
    ],
)
def test_a_table_of_other_cells_is_refused(change, words, found, tmp_path):
    path = write_csv(tmp_path / "train.csv", *(part[:70] for part in found["train"]))
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=words):
        data.load("mnist", data_dir=str(tmp_path))


def _counts(place, name="mnist"):
    return [*data.load(name, data_dir=str(place)).card["counts"].values()]


@pytest.fixture(scope="module")
def families(found, tmp_path_factory):
    """A folder with the tables of both families, told apart by their numbers of rows."""
    root = tmp_path_factory.mktemp("families")
    for family, train, test in (("mnist", 120, 30), ("fashion-mnist", 72, 20)):
        for split, count in (("train", train), ("test", test)):
            x, y = found[split]
            write_csv(root / f"{family}_{split}.csv", x[:count], y[:count], HEADER)
    return root


def test_tables_are_of_the_family_that_their_names_say(families, tmp_path):
    for place in (families, *families.glob("mnist_*.csv")):
        assert _counts(place) == [100, 20, 30]
    assert _counts(families, "fashion-mnist") == [60, 12, 20]
    for split in ("train", "test"):
        own = f"fashion-mnist_{split}.csv"
        (tmp_path / own).write_bytes((families / own).read_bytes())
    for place in (tmp_path, tmp_path / "fashion-mnist_train.csv"):
        with pytest.raises(DataError, match=r"no copy of mnist: .*it holds fashion-mnist_t"):
            data.load("mnist", data_dir=str(place))


def test_train_and_test_tables_are_of_one_folder(families, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    copies = (("mnist_train.csv", "."), ("mnist_test.csv", "other"), ("mnist_train.csv", "other"))
    for name, folder in copies:
        (tmp_path / folder / name).write_bytes((families / name).read_bytes())
    assert sum(_counts(tmp_path)) == 120
    assert "no official test split" in capsys.readouterr().err
    assert _counts(tmp_path / "other") == [100, 20, 30]
    # Unpacked each as a folder of its own name they are of one folder.
    for name in ("mnist_train.csv", "mnist_test.csv"):
        (tmp_path / "apart" / name).mkdir(parents=True)
        (tmp_path / "apart" / name / name).write_bytes((families / name).read_bytes())
    assert _counts(tmp_path / "apart") == [100, 20, 30]
    (tmp_path / "train.csv").write_bytes((families / "fashion-mnist_train.csv").read_bytes())
    with pytest.raises(UsageError, match=r"a train split, mnist_train.csv and train.csv: give the"):
        data.load("mnist", data_dir=str(tmp_path))
    assert sum(_counts(tmp_path / "train.csv")) == 72  # as the message says


@pytest.mark.parametrize("first", ["-1", "5.0", "five", '"-1"'])
def test_a_first_line_with_a_number_is_no_header(first, found, tmp_path):
    path = write_csv(tmp_path / "train.csv", *(part[:70] for part in found["train"]))
    path.write_text(first + path.read_text()[1:])
    with pytest.raises(DataError, match="a label and 784 whole numbers"):
        data.load("mnist", data_dir=str(path))


@pytest.mark.parametrize("start", [0, 1])
def test_columns_that_are_counted_make_a_header(start, found, tmp_path):
    rows = [part[:70] for part in found["train"]]
    counted = ",".join(["label", *map(str, range(start, start + 784))])
    write_csv(tmp_path / "train.csv", *rows, header=counted)
    assert sum(_counts(tmp_path / "train.csv")) == 70


def test_what_lies_beside_a_copy_and_is_none_is_left_out(found, families, tmp_path, capsys):
    write_npz(tmp_path / "mnist.npz", found)
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "huge.npz").touch()
    os.truncate(tmp_path / "huge.npz", 2**28 + 1)
    few = {split: (x[:60], y[:60]) for split, (x, y) in found.items()}
    write_npz(tmp_path / "fashion_mnist.npz", few)
    assert _counts(tmp_path) == [200, 40, 50]
    assert _counts(tmp_path, "fashion-mnist") == [50, 10, 50]
    for path in tmp_path.glob("*mnist.npz"):
        path.unlink()
    with pytest.raises(DataError, match=r"broken.npz is damaged"):
        data.load("mnist", data_dir=str(tmp_path))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
    for split in ("train", "test"):
        name = f"mnist_{split}.csv"
        (tmp_path / name).write_bytes((families / name).read_bytes())
    capsys.readouterr()
    assert _counts(tmp_path) == [100, 20, 30]
    told = capsys.readouterr().err
    assert "mnist: left out: " in told
    assert "of the four idx files of mnist" in told
    assert "broken.npz is damaged" in told


def test_of_a_file_its_own_folder_alone_is_listed(found, tmp_path, monkeypatch):
    """A folder beside it may be unreadable, or a whole home."""
    path = write_npz(tmp_path / "mnist.npz", found)
    write_idx(tmp_path, found)
    (tmp_path / "beside").mkdir()
    scandir, listed = os.scandir, []

    def scan(folder):
        listed.append(str(folder))
        if str(folder).endswith("beside"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    for given in (path, tmp_path / "train-images-idx3-ubyte"):
        assert _counts(given) == [200, 40, 50]
    assert {*listed} == {str(tmp_path)}
    with pytest.raises(DataError, match="beside: Permission denied"):
        data.load("mnist", data_dir=str(tmp_path))


def test_what_is_no_copy_or_not_one_alone_is_refused(found, tmp_path):
    with pytest.raises(UsageError, match=r"--data-dir is needed for mnist: .*mnist\.npz.*Kaggle"):
        data.load("mnist")
    with pytest.raises(UsageError, match="no such file or folder; wanted the four idx files"):
        data.load("fashion-mnist", data_dir=str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"holds no copy of mnist: .* it holds nothing"):
        data.load("mnist", data_dir=str(tmp_path))
    folder = write_idx(tmp_path / "MNIST" / "raw", found)
    write_idx(tmp_path / "FashionMNIST" / "raw", found)
    with pytest.raises(UsageError, match=r"several copies .*FashionMNIST/raw and MNIST/raw"):
        data.load("mnist", data_dir=str(tmp_path))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="of the four idx files of mnist t10k-labels are missing"):
        data.load("mnist", data_dir=str(folder))
    few = {split: (x[:40], y[:40]) for split, (x, y) in found.items()}
    write_idx(folder, few)
    with pytest.raises(DataError, match=r"10 images a split at least .*'valid' .* has 6"):
        data.load("mnist", data_dir=str(folder))


def test_levels_are_black_or_white_by_a_threshold(copies):
    grey, binary = (
        data.load("mnist", data_dir=str(copies["idx"]), binarize=mode) for mode in (False, True)
    )
    for name in SPLITS:
        own, levels = getattr(binary, name).x, getattr(grey, name).x
        np.testing.assert_array_equal(own, np.where(levels >= 128, 255, 0))
    assert {**grey.card, "binarize": True} == binary.card


def test_kvae_data_shows_what_a_copy_holds(copies):
    report, images, title = inspection.inspect(str(copies["npz"]), dataset="mnist")
    assert (report["images"], report["sizes"]) == (290, {"28x28": 290})
    assert report["splits"] == {"train": 200, "valid": 40, "test": 50}
    assert sum(report["labels"]["digit"].values()) == 290
    assert images.shape == (60, 28, 28, 1)
    assert "60 of 290 images" in title
    json.dumps(report)
    given = {"crop": "none", "channels": 3, "image_size": 64, "split_seed": 0}  # defaults too
    words = "--crop, --image-size, --channels, --split-seed: mnist has images of one size"
    with pytest.raises(UsageError, match=words):
        inspection.inspect(str(copies["npz"]), dataset="mnist", **given)
    said = ["--data-dir", str(copies["npz"]), "--dataset", "mnist", "--channels", "3"]
    assert program.arguments(said)["channels"] == 3
    assert not {"crop", "channels", "image_size", "split_seed"} & {*program.arguments(said[:4])}


@pytest.mark.parametrize("layout", ["idx", "a file", "npz", "csv", "zip"])
def test_kvae_data_names_the_dataset_that_reads_a_copy(layout, copies):
    with pytest.raises(DataError, match="--dataset mnist or fashion-mnist looks at those"):
        inspection.inspect(str(copies[layout]))
