import io
import json
import zipfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kvae.data import folder, load, outline
from kvae.data.conditions import conditions_of
from kvae.data.images.decoding import Unreadable, decode
from kvae.errors import DataError, UsageError

SPLITS = ("train", "valid", "test")
KINDS = {
    ".jpg": ("JPEG", {"quality": 90}), ".jpeg": ("JPEG", {"progressive": True}),
    ".png": ("PNG", {}), ".webp": ("WEBP", {}), ".bmp": ("BMP", {}), ".gif": ("GIF", {}),
}  # fmt: skip


def pixels(seed, width=12, height=12):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def written(image, suffix=".png"):
    kind, options = KINDS[suffix.lower()]
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tree_of(*paths):
    """Path -> an image of its own."""
    return {path: written(pixels(i), Path(path).suffix) for i, path in enumerate(paths)}


def names(count, pattern="{}.png"):
    return [pattern.format(f"{i:03}") for i in range(count)]


def plant(root, tree):
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path, tree):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KVAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Something that turns a tree into a folder or a zip."""
    if request.param == "folder":
        return lambda tree: str(plant(tmp_path / "data", tree))
    return lambda tree: str(pack(tmp_path / "data.zip", tree))


def parts(dataset):
    return {name: getattr(dataset, name) for name in SPLITS}


def get(data_dir, **options):
    return load("folder", data_dir=str(data_dir), **{"image_size": 12, **options})


def counts(dataset):
    found = {name: len(split.x) for name, split in parts(dataset).items()}
    assert found == dataset.card["counts"]
    return tuple(found.values())


def paths_in(dataset, tree, **options):
    """Split -> paths of its images, in order; each image of the tree must be different."""
    options = {"crop": "center", "image_size": 12, **options}
    by_pixels = {decode(x, **options).tobytes(): path for path, x in tree.items() if x != BROKEN}
    assert len(by_pixels) == sum(x != BROKEN for x in tree.values())
    return {
        name: [by_pixels[image.tobytes()] for image in split.x]
        for name, split in parts(dataset).items()
    }


def all_paths_in(dataset, tree, **options):
    return list(chain.from_iterable(paths_in(dataset, tree, **options).values()))


BROKEN = b"\xff\xd8\xff\xe0 and nothing"


def same(one, two):
    for name in SPLITS:
        first, second = getattr(one, name), getattr(two, name)
        np.testing.assert_array_equal(first.x, second.x)
        assert list(first.labels) == list(second.labels)
        for label, values in first.labels.items():
            assert values.dtype == second.labels[label].dtype
            np.testing.assert_array_equal(values, second.labels[label])


def classes_in(dataset, label="class"):
    """Split -> names of the classes of its images, in order."""
    known = dataset.card["label_names"][label]
    return {
        name: [known[code] for code in split.labels[label]]
        for name, split in parts(dataset).items()
    }


# How images are divided


@pytest.mark.parametrize(("count", "tenth"), [(10, 1), (19, 1), (20, 2), (57, 5)])
def test_images_are_divided_eight_to_one_to_one(count, tenth, place):
    tree = tree_of(*names(count))
    dataset = get(place(tree))
    assert counts(dataset) == (count - 2 * tenth, tenth, tenth)
    found = paths_in(dataset, tree)
    assert sorted(all_paths_in(dataset, tree)) == sorted(tree)
    assert all(own == sorted(own) for own in found.values())
    assert (dataset.card["split"], dataset.card["split_seed"]) == ("random 80/10/10", 0)


def test_the_seed_decides_the_split_alone(tmp_path):
    tree = tree_of(*names(30))
    root = plant(tmp_path / "data", tree)
    first, again, other = (paths_in(get(root, split_seed=s), tree) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert first["test"] != sorted(tree)[-3:]
    assert get(root, split_seed=1).card["split_seed"] == 1


@pytest.mark.parametrize("own", ["valid", "val", "validation", "Val"])
def test_folders_of_splits_are_the_splits(own, place):
    tree = tree_of(
        *names(9, "train/{}.png"), *names(3, f"{own}/{{}}.png"), *names(2, "test/{}.png")
    )
    dataset = get(place(tree), split_seed=3)
    assert counts(dataset) == (9, 3, 2)
    found = paths_in(dataset, tree)
    assert found == {
        name: sorted(path for path in tree if path.startswith(start))
        for name, start in zip(SPLITS, ("train/", f"{own}/", "test/"), strict=True)
    }
    assert dataset.card["split"] == "own"
    assert "split_seed" not in dataset.card
    assert dataset.train.labels == {}


def test_without_valid_a_tenth_of_train_is_drawn(place):
    tree = tree_of(*names(21, "Training/{}.png"), *names(4, "testing/{}.png"))
    data_dir = place(tree)
    dataset = get(data_dir)
    assert counts(dataset) == (18, 3, 4)
    found = paths_in(dataset, tree)
    assert sorted(found["train"] + found["valid"]) == names(21, "Training/{}.png")
    assert found["test"] == names(4, "testing/{}.png")
    assert dataset.card["split"] == "own, valid a random tenth of train"
    assert paths_in(get(data_dir, split_seed=1), tree)["valid"] != found["valid"]


def test_a_tenth_of_too_few_is_none(place):
    data_dir = place(tree_of(*names(9, "train/{}.png"), *names(9, "test/{}.png")))
    with pytest.raises(
        DataError, match=r"10 images .* \(own, valid a random tenth of train\) from, found 9$"
    ):
        get(data_dir)


def test_images_outside_the_folders_of_splits_are_told_and_left_out(place, capfd):
    tree = tree_of(
        *names(10, "train/{}.png"), *names(3, "val/{}.png"), *names(3, "test/{}.png"),
        "cover.png", "extra/1.png",
    )  # fmt: skip
    dataset = get(place(tree))
    assert counts(dataset) == (10, 3, 3)
    told = "folder: 2 images outside the folders train, valid and test are left out, the first is "
    assert told + "cover.png" in capfd.readouterr().err
    kept = all_paths_in(dataset, tree)
    assert not {"cover.png", "extra/1.png"} & set(kept)


def test_the_valid_images_are_the_test_split_where_there_is_none(place):
    tree = tree_of(*names(15, "train/{}.png"), *names(4, "val/{}.png"))
    dataset = get(place(tree))
    assert counts(dataset) == (13, 2, 4)
    assert all(path.startswith("val/") for path in paths_in(dataset, tree)["test"])
    assert dataset.card["split"].startswith("own, its valid split for test, valid a random tenth")


@pytest.mark.parametrize("present", [["train"], ["val", "test"]])
def test_folders_of_some_splits_are_neither_splits_nor_classes(present, place, capfd):
    tree = tree_of(*(f"{split}/{kind}/{i}.png" for split in present for kind in "ab"
                     for i in range(8)))  # fmt: skip
    dataset = get(place(tree))
    tenth = len(tree) // 10
    assert counts(dataset) == (len(tree) - 2 * tenth, tenth, tenth)
    assert f"there is only {', '.join(sorted(present))}: all images" in capfd.readouterr().err
    assert dataset.card["label_names"] == {"class": ["a", "b"]}
    assert classes_in(dataset) == {
        name: [path.split("/")[1] for path in own] for name, own in paths_in(dataset, tree).items()
    }


def test_a_class_may_be_called_test(place, capfd):
    tree = tree_of(*names(6, "test/{}.png"), *names(6, "control/{}.png"))
    dataset = get(place(tree))
    assert dataset.card["label_names"] == {"class": ["control", "test"]}
    assert "folder:" not in capfd.readouterr().err


# Classes


def test_subfolders_are_classes(place):
    tree = tree_of(*names(9, "ant/{}.png"), *names(7, "Bee/{}.jpg"), *names(8, "cat 2/{}.gif"))
    dataset = get(place(tree))
    assert dataset.card["label_names"] == {"class": ["Bee", "ant", "cat 2"]}
    assert dataset.color_by == "class"
    assert dataset.train.labels["class"].dtype == np.int64
    assert classes_in(dataset) == {
        name: [path.split("/")[0] for path in own] for name, own in paths_in(dataset, tree).items()
    }


def test_subfolders_below_those_of_splits_are_classes_of_all(place):
    tree = tree_of(
        *(f"train/{kind}/{i}.png" for kind in "abc" for i in range(5)),
        *(f"val/{kind}/{i}.png" for kind in "ac" for i in range(2)),
        *(f"test/{kind}/{i}.png" for kind in "bc" for i in range(2)),
    )
    dataset = get(place(tree))
    assert dataset.card["label_names"] == {"class": ["a", "b", "c"]}
    assert counts(dataset) == (15, 4, 4)
    assert classes_in(dataset)["valid"] == ["a", "a", "c", "c"]
    assert classes_in(dataset)["test"] == ["b", "b", "c", "c"]


def test_nested_folders_are_classes_of_their_own(place):
    tree = tree_of(*names(5, "a/x/{}.png"), *names(5, "a/y/{}.png"), *names(5, "b/{}.png"))
    assert get(place(tree)).card["label_names"] == {"class": ["a/x", "a/y", "b"]}


@pytest.mark.parametrize(
    "paths",
    [
        names(12), names(12, "one/{}.png"), [*names(6, "a/{}.png"), *names(6, "b/{}.png"), "0.png"],
        [*names(12, "train/{}.png"), *names(2, "test/{}.png")],
        [*names(12, "train/one/{}.png"), *names(2, "test/one/{}.png")],
        [*names(12, "train/a/{}.png"), *names(2, "test/{}.png")],
    ],
)  # fmt: skip
def test_images_in_one_folder_or_at_the_top_have_no_classes(paths, place):
    dataset = get(place(tree_of(*paths)))
    assert [split.labels for split in parts(dataset).values()] == [{}, {}, {}]
    assert dataset.color_by == ""
    assert "label_names" not in dataset.card
    assert dataset.card["source"]["layout"].endswith("no labels")


def test_too_many_folders_are_no_classes(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(folder, "MAX_CLASSES", 11)
    few = plant(tmp_path / "few", tree_of(*names(11, "{}/x.png")))
    many = plant(tmp_path / "many", tree_of(*names(12, "{}/x.png")))
    assert len(get(few).card["label_names"]["class"]) == 11
    assert "too many" not in capfd.readouterr().err
    assert get(many).train.labels == {}
    assert "folder: 12 subfolders are too many for classes (11 at most)" in capfd.readouterr().err


@pytest.mark.parametrize("top", ["photos/", "a/b c/", "./"])
def test_a_folder_that_was_packed_with_itself_is_the_same(top, tmp_path):
    tree = tree_of(
        *(f"{split}/{kind}/{i}.png" for split in SPLITS for kind in "ab" for i in range(4))
    )
    plain = get(plant(tmp_path / "plain", tree))
    with_top = {top + path: content for path, content in tree.items()}
    same(plain, get(pack(tmp_path / "top.zip", with_top)))
    same(plain, get(plant(tmp_path / "top", with_top)))
    assert plain.card["split"] == "own"


# A folder and a zip


@pytest.mark.parametrize("pattern", ["{}.png", "c{}/x.png", "train/{}.png"])
def test_a_zip_gives_what_its_folder_gives(pattern, tmp_path):
    paths = names(14, pattern)
    if pattern.startswith("train"):
        paths += names(4, "valid/{}.png") + names(4, "test/{}.png")
    tree = {**tree_of(*paths), "notes.txt": b"x", ".x.png": BROKEN, "__MACOSX/._0.png": BROKEN}
    one, two = get(plant(tmp_path / "x", tree)), get(pack(tmp_path / "x.zip", tree))
    same(one, two)
    first, second = one.card.pop("source"), two.card.pop("source")
    assert one.card == two.card
    assert second["layout"] == first["layout"].replace("folder", "zip", 1)


def test_nothing_of_the_users_is_written(place, tmp_path, cache):
    tree = {**tree_of(*names(30, "c{}/a b.jpg")), "c000/bad.png": BROKEN}
    data_dir = place(tree)
    labels_file = table(tmp_path, [f"{path},1" for path in tree])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for options in ({"cache": False}, {}):
        get(data_dir, max_unreadable=0.5, labels_file=labels_file, **options)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert {path for path in after if not path.is_relative_to(cache)} == before.keys()
    assert all(after[path] == stamp for path, stamp in before.items())


# Labels of a file


TREE = tree_of(*names(8, "a/{}.png"), *(f"b/{i}.jpg" for i in range(100, 108)))


def table(tmp_path, rows, header="image,smile", end="\n", encoding="utf-8", name="labels.csv"):
    path = tmp_path / name
    path.write_bytes((end.join([header, *rows]) + end).encode(encoding))
    return str(path)


def is_odd(path):
    return int(Path(path).stem) % 2 == 1


def with_table(place, tmp_path, rows, tree=TREE, **options):
    return get(place(tree), labels_file=table(tmp_path, rows, **options))


@pytest.mark.parametrize(
    "flags", [("-1", "1"), ("0", "1"), ("false", "true"), ("False", "TRUE"), ("0", " 1 ")]
)
@pytest.mark.parametrize(
    "call",
    [
        str, lambda path: Path(path).name, lambda path: Path(path).stem,
        lambda path: str(Path(path).with_suffix("")),
    ],
)  # fmt: skip
def test_a_table_of_flags_is_read_whatever_it_calls_the_images(flags, call, place, tmp_path):
    rows = [f"{call(path)},{flags[is_odd(path)]},1" for path in reversed(sorted(TREE))]
    dataset = with_table(place, tmp_path, rows, header="file,odd,all")
    found = paths_in(dataset, TREE)
    for name, split in parts(dataset).items():
        assert list(split.labels) == ["odd", "all"]
        assert split.labels["odd"].dtype == bool
        assert split.labels["odd"].tolist() == [is_odd(path) for path in found[name]]
        assert split.labels["all"].all()
    assert dataset.color_by == "odd"
    assert "label_names" not in dataset.card
    assert dataset.card["source"]["layout"].endswith("labels of a file")


def test_minus_one_zero_and_one_are_flags_and_zero_is_false(place, tmp_path):
    rows = [f"{path},{int(Path(path).stem) % 3 - 1}" for path in TREE]
    dataset = with_table(place, tmp_path, rows)
    found = paths_in(dataset, TREE)
    for name, split in parts(dataset).items():
        wanted = [int(Path(path).stem) % 3 == 2 for path in found[name]]
        assert split.labels["smile"].tolist() == wanted


@pytest.mark.parametrize("kinds", [("odd", "even"), ("1", "2"), ("yes", "no"), ("-1", "true")])
def test_other_values_are_names_of_classes(kinds, place, tmp_path):
    rows = [f'{path},"{kinds[not is_odd(path)]}",0' for path in TREE]
    dataset = with_table(place, tmp_path, rows, header="file,kind,flag")
    assert dataset.card["label_names"] == {"kind": sorted(kinds)}
    assert classes_in(dataset, "kind") == {
        name: [kinds[not is_odd(path)] for path in own]
        for name, own in paths_in(dataset, TREE).items()
    }
    assert dataset.train.labels["kind"].dtype == np.int64
    assert not dataset.train.labels["flag"].any()


@pytest.mark.parametrize(
    ("end", "encoding"), [("\r\n", "utf-8-sig"), ("\n\n", "utf-8"), ("\n", "utf-8-sig")]
)
def test_marks_line_ends_and_blank_lines_change_nothing(end, encoding, place, tmp_path):
    rows = [f" {path} , {int(is_odd(path))}" for path in TREE]
    dataset = with_table(place, tmp_path, rows, end=end, encoding=encoding)
    for name, own in paths_in(dataset, TREE).items():
        flags = getattr(dataset, name).labels["smile"]
        assert flags.tolist() == [is_odd(path) for path in own]


def test_rows_of_other_images_and_paths_of_windows_are_no_fault(place, tmp_path):
    rows = [f"{path},0".replace("/", "\\") for path in TREE] + ["c/none.png,1"]
    dataset = with_table(place, tmp_path, rows)
    assert not any(split.labels["smile"].any() for split in parts(dataset).values())


def test_a_table_beside_the_images_and_own_splits_go_together(place, tmp_path):
    tree = tree_of(*(f"{split}/{i}.png" for split in SPLITS for i in range(4)))
    dataset = with_table(place, tmp_path, [f"{path},{path[0]}" for path in tree], tree)
    assert dataset.card["label_names"] == {"smile": ["t", "v"]}
    assert classes_in(dataset, "smile") == {
        "train": ["t"] * 4, "valid": ["v"] * 4, "test": ["t"] * 4
    }  # fmt: skip


def test_a_table_is_read_without_a_look_at_the_folders_beside_it(tmp_path, monkeypatch):
    data_dir = plant(tmp_path / "data", TREE)
    labels_file = table(tmp_path, [f"{path},1" for path in TREE])
    listed, open_files = [], folder.open_files
    monkeypatch.setattr(folder, "open_files", lambda x: listed.append(x) or open_files(x))
    get(data_dir, labels_file=labels_file)
    assert listed == [data_dir]


ROWS = [f"{path},1" for path in TREE]
BAD_TABLES = {
    "missing rows": (ROWS[:-3], {}, r"no row for 3 of 16 images, the first is b/10\d\.jpg; .*'a/0"),
    "other names": ([f"x{row}" for row in ROWS], {}, r"no row for 16 of 16 images"),
    "a row twice": ([*ROWS, ROWS[4]], {}, r"'a/004\.png' stands for two images, or has two rows"),
    "another's row twice": ([*ROWS, "c,1", "c,0"], {}, r"'c' stands for two images, or has two"),
    "a row in two spellings": ([*ROWS, "a\\004.png,0"], {}, r"'a/004\.png' stands for two"),
    "ragged": ([*ROWS[:3], "a/003.png,1,2", *ROWS[4:]], {}, "line 5: 3 cells, the header has 2"),
    "short": ([*ROWS[:3], "a/003.png", *ROWS[4:]], {}, "line 5: 1 cells, the header has 2"),
    "no header": (ROWS[1:], {"header": ROWS[0]}, r"no row for 1 of 16 images.* a/000\.png"),
    "header alone": ([], {}, "wanted a header and a row for each image.* received 1 lines"),
    "no labels": (list(TREE), {"header": "image"}, "the first with 1 columns"),
    "two delimiters": ([f"{p};x,low" for p in TREE], {"header": "i;x,y"}, "by commas or by sem"),
    "web page": (["<body>"], {"header": "<html>"}, r"labels\.csv is a web page"),
    "a label twice": ([f"{row},1" for row in ROWS], {"header": "i,x,x"}, "a name of its own"),
    "a nameless label": (ROWS, {"header": "i,"}, "every label needs a name of its own"),
    "an empty cell": ([*ROWS[:-1], "b/107.jpg, "], {}, r"b/107\.jpg has no label in .* 'smile'"),
    "an open quote": ([*ROWS, '"x,1'], {}, "line 18: unexpected end of data"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused(case, tmp_path):
    rows, options, message = BAD_TABLES[case]
    data_dir = plant(tmp_path / "data", TREE)
    with pytest.raises(DataError, match=message):
        get(data_dir, labels_file=table(tmp_path, rows, **options))


def test_a_name_that_two_images_have_is_refused(tmp_path):
    root = plant(tmp_path / "data", tree_of(*names(6, "a/{}.png"), *names(6, "b/{}.png")))
    with pytest.raises(DataError, match=r"'000\.png' stands for two images"):
        get(root, labels_file=table(tmp_path, [f"{name},1" for name in names(6)]))


COUNTED = tree_of(*(f"{i}.png" for i in range(24)))


def counted_rows(header):
    """Rows of COUNTED: row i is of image 23 - i, two share a kind, other columns hold i."""

    def cell(column, i):
        return {"file": f"{23 - i}.png", "kind": f"k{(23 - i) // 2}"}.get(column, str(i))

    return [",".join(cell(column, i) for column in header.split(",")) for i in range(24)]


@pytest.mark.parametrize(
    ("header", "labels", "note"),
    [
        (",file,kind", ["kind"], "column 1 has no name and numbers the rows"),
        ("Unnamed: 0,file,kind", ["kind"], "column 1 has no name"),
        (",Unnamed: 0,kind,file", ["kind"], "column 2 has no name"),
        ("id,kind,file", ["kind"], "the column 'file' names the images"),
        ("id,kind,file", ["kind"], "column 'id': 24 different numbers in 24 rows are no classes"),
    ],
)
def test_row_numbers_are_not_taken_for_names_of_images(header, labels, note, tmp_path, capsys):
    data_dir = plant(tmp_path / "data", COUNTED)
    dataset = get(data_dir, labels_file=table(tmp_path, counted_rows(header), header=header))
    assert list(dataset.card["label_names"]) == labels
    assert classes_in(dataset, "kind") == {
        split: [f"k{int(Path(path).stem) // 2}" for path in own]
        for split, own in paths_in(dataset, COUNTED).items()
    }
    assert note in capsys.readouterr().err


@pytest.mark.parametrize(("classes", "is_label"), [(10, True), (16, True), (21, True), (24, False)])
def test_a_label_of_which_nearly_every_image_has_its_own_is_none(
    classes, is_label, tmp_path, capsys
):
    data_dir = plant(tmp_path / "data", COUNTED)
    rows = [f"{i}.png,k{i % classes:02}" for i in range(24)]
    labels = table(tmp_path, rows, header="file,kind")
    dataset = get(data_dir, labels_file=labels)
    said = capsys.readouterr().err
    if is_label:
        assert len(dataset.card["label_names"]["kind"]) == classes
        assert "labels_left_out" not in dataset.card
        return
    assert dataset.train.labels == {}
    assert "24 different texts in 24 rows are no classes" in said
    assert "has no labels that can be used: images have none" in said
    with pytest.raises(UsageError, match="--condition kind: 24 different texts"):
        conditions_of(dataset, ["kind"])


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (",kind", counted_rows(",kind"), "no row for 24 of 24 .* numbers without a header are no"),
        (",Unnamed: 0", counted_rows(",Unnamed: 0"), "only columns without a name"),
        (",file", counted_rows(",file"), "has no labels beside the column 'file'"),
        ("file,to,kind", [f"{i}.png,{23 - i}.png,k" for i in range(24)],
         "the columns 'file' and 'to' both name every image, but in different rows"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_say_which_image_is_meant_is_refused(header, rows, message, tmp_path):
    data_dir = plant(tmp_path / "data", COUNTED)
    with pytest.raises(DataError, match=message):
        get(data_dir, labels_file=table(tmp_path, rows, header=header))


def test_names_of_files_need_no_header(tmp_path):
    data_dir = plant(tmp_path / "data", COUNTED)
    one, two = (
        get(data_dir, labels_file=table(tmp_path, counted_rows("file,kind"), header=header))
        for header in ("file,kind", ",kind")
    )
    same(one, two)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_table_may_have_another_delimiter(delimiter, tmp_path):
    root = plant(tmp_path / "data", TREE)
    rows = [f"{path},{is_odd(path):d}" for path in TREE]
    one = get(root, labels_file=table(tmp_path, rows))
    other = [row.replace(",", delimiter) for row in rows]
    header = f"image{delimiter}smile"
    same(one, get(root, labels_file=table(tmp_path, other, header=header)))


def test_a_table_of_names_alone_has_no_labels(tmp_path, capsys):
    root = plant(tmp_path / "data", TREE)
    dataset = get(root, labels_file=table(tmp_path, [f"{path},{path}" for path in TREE]))
    assert dataset.train.labels == {}
    assert "'smile': 16 different texts in 16 rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gone.csv", "data"])
def test_a_table_that_is_not_there_is_wrong_usage(name, tmp_path):
    root = plant(tmp_path / "data", TREE)
    with pytest.raises(UsageError, match=f"--labels-file {tmp_path}/{name}: no such file"):
        get(root, labels_file=str(tmp_path / name))


# Unreadable images


def broken(tree, *paths):
    return {path: BROKEN if path in paths else content for path, content in tree.items()}


@pytest.mark.parametrize("use_cache", [True, False])
def test_an_unreadable_image_of_few_is_an_error(use_cache, place, cache):
    data_dir = place(broken(tree_of(*names(30)), "007.png"))
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"007\.png is damaged: .*; of 30 images 0 may be unrea"
        ):
            get(data_dir, cache=use_cache)
    assert not list(cache.glob("*"))


LEFT_OUT = ("a/000.png", "a/003.png", "b/100.jpg", "b/101.jpg", "b/107.jpg")


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("by_table", [True, False])
def test_labels_and_splits_stay_beside_what_is_kept(use_cache, by_table, place, tmp_path, capfd):
    tree = broken(TREE, *LEFT_OUT)
    data_dir = place(tree)
    options = {"max_unreadable": 0.4, "cache": use_cache, "split_seed": 6}
    if by_table:
        options["labels_file"] = table(tmp_path, [f"{path},{is_odd(path):d}" for path in TREE])
    before = paths_in(get(place(TREE), **options), TREE)
    data_dir = place(tree)
    for _ in range(2):
        capfd.readouterr()
        dataset = get(data_dir, **options)
        found = paths_in(dataset, tree)
        assert found == {
            name: [path for path in own if path not in LEFT_OUT] for name, own in before.items()
        }
        assert dataset.card["unreadable"] == 5
        assert counts(dataset) == tuple(map(len, found.values()))
        told = capfd.readouterr().err
        assert "folder: 5 of 16 images are unreadable and left out:" in told
        assert all(path in told for path in LEFT_OUT)
        assert told.count("is damaged") == 5
        if by_table:
            for name, split in parts(dataset).items():
                assert split.labels["smile"].tolist() == [is_odd(path) for path in found[name]]
        else:
            assert classes_in(dataset) == {
                name: [path[0] for path in own] for name, own in found.items()
            }


def test_as_many_as_allowed_are_left_out_and_no_more(tmp_path):
    root = plant(tmp_path / "data", broken(tree_of(*names(20)), "001.png", "002.png"))
    with pytest.raises(DataError, match="of 20 images 1 may be unreadable, and more are: replace"):
        get(root, max_unreadable=0.09)
    assert get(root, max_unreadable=0.1).card["unreadable"] == 2
    with pytest.raises(DataError, match="of 20 images 1 may be unreadable"):
        get(root, max_unreadable=0.09)


def test_a_long_list_of_unreadable_images_is_cut(tmp_path, capfd):
    paths = names(40)
    get(plant(tmp_path / "data", broken(tree_of(*paths), *paths[:13])), max_unreadable=1)
    told = capfd.readouterr().err
    assert "13 of 40 images are unreadable" in told
    assert told.count("is damaged") == 10
    assert "and 3 more" in told


def test_a_checksum_fault_in_a_zip_is_one_unreadable_image(tmp_path):
    tree = {f"{i}.bmp": written(pixels(i), ".bmp") for i in range(20)}
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    damaged = bytearray(tree["7.bmp"])
    damaged[100] ^= 1
    path.write_bytes(path.read_bytes().replace(tree["7.bmp"], bytes(damaged)))
    with pytest.raises(DataError, match=r"7\.bmp is damaged: Bad CRC-32"):
        get(path)
    dataset = get(path, max_unreadable=0.1)
    assert dataset.card["unreadable"] == 1
    assert sorted(all_paths_in(dataset, tree)) == sorted(set(tree) - {"7.bmp"})


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_split_that_is_left_without_images_is_an_error(use_cache, tmp_path):
    tree = tree_of(*(f"{split}/{i}.png" for split in SPLITS for i in range(4)))
    data = plant(tmp_path / "data", broken(tree, *(f"valid/{i}.png" for i in range(4))))
    with pytest.raises(DataError, match="the valid split of folder is empty: 4 of its 4 images"):
        get(data, max_unreadable=1, cache=use_cache)
    data = plant(tmp_path / "all", broken(tree, *tree))
    with pytest.raises(DataError, match="the train split of folder is empty"):
        get(data, max_unreadable=1, cache=use_cache)


def test_a_crop_that_fits_some_images_leaves_the_others_out(tmp_path):
    tree = {f"{i}.png": written(pixels(i, 20 if i else 19, 20)) for i in range(20)}
    root = plant(tmp_path / "data", tree)
    with pytest.raises(DataError, match=r"0\.png is 19x20: the crop 0,0,20,20 reaches beyond it"):
        get(root, crop="0,0,20,20", image_size=20)
    dataset = get(root, crop="0,0,20,20", image_size=20, max_unreadable=0.05)
    assert dataset.card["unreadable"] == 1


# Options


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("crop", "image_size"),
    [("center", 8), ("center", 13), ("none", 9), ("none", 64), ("1,2,9,10", 11), ("none", 512)],
)
def test_every_image_is_what_decode_gives(channels, crop, image_size, tmp_path):
    suffixes = [*KINDS, ".JPG", ".Png"]
    tree = {
        f"{i}{suffix}": written(pixels(i, 10 + 3 * i, 40 - 2 * i), suffix)
        for i, suffix in enumerate(suffixes * 2)
    }
    root = plant(tmp_path / "data", tree)
    options = {"crop": crop, "image_size": image_size, "channels": channels}
    dataset = get(root, **options)
    assert counts(dataset) == (14, 1, 1)
    found = all_paths_in(dataset, tree, **options)
    assert sorted(found) == sorted(tree)
    assert dataset.train.x.shape[1:] == (image_size, image_size, channels)
    assert dataset.train.x.dtype == np.uint8
    same(dataset, get(root, cache=False, **options))
    card = {key: dataset.card[key] for key in options}
    assert card == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7}, "--image-size takes a whole number from 8 to 512; received 7"),
        ({"image_size": 513}, "--image-size takes a whole number from 8 to 512; received 513"),
        ({"channels": 2}, "--channels takes 1 or 3; received 2"),
        ({"crop": "middle"}, "--crop takes center, none, a box .*; received 'middle'"),
        ({"crop": "5,0,5,9"}, "--crop takes .*; received '5,0,5,9'"),
        ({"max_unreadable": 1.5}, r"--max-unreadable takes a number from 0 to 1; received 1\.5"),
        ({"max_unreadable": float("nan")}, "received nan"),
        ({"colour": 1}, "has no option 'colour'"),
    ],
)
def test_options_that_are_not_allowed_are_wrong_usage(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        get(tmp_path / "gone", **options)


def test_a_place_must_be_given_and_must_hold_ten_images(place, tmp_path):
    with pytest.raises(UsageError, match="--data-dir is needed for folder"):
        load("folder")
    with pytest.raises(UsageError, match=f"--data-dir {tmp_path}/gone: no such file or folder"):
        get(tmp_path / "gone")
    with pytest.raises(DataError, match=r"holds 9 images \(\.jpg, .*it holds 10 files in all$"):
        get(place({**tree_of(*names(9)), "a.txt": b""}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds 0 images .* it holds 0 files in all$"):
        get(tmp_path / "empty")


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    plant(tmp_path / "data", TREE)
    table(tmp_path, ROWS)
    dataset = get("~/data", labels_file="~/labels.csv")
    assert dataset.train.labels["smile"].all()


@pytest.mark.parametrize("pattern", ["é ü {}.png", "日本/{}.png", "a b/c  d {}.JPG", "#%&;{}.webp"])
def test_names_may_hold_anything(pattern, place, tmp_path):
    tree = tree_of(*names(12, pattern))
    rows = [f"{path},{i % 2}" for i, path in enumerate(tree)]
    dataset = with_table(place, tmp_path, rows, tree)
    assert sorted(all_paths_in(dataset, tree)) == sorted(tree)
    flags = [split.labels["smile"] for split in parts(dataset).values()]
    assert np.concatenate(flags).sum() == 6


def test_a_name_that_is_no_text_is_a_name_too(tmp_path, capfd):
    tree = tree_of(*names(12, "c{}/x.png"))
    root = plant(tmp_path / "data", tree)
    (root / "c\udce9").mkdir()
    (root / "c\udce9/bad\udce9.png").write_bytes(BROKEN)
    dataset = get(root, max_unreadable=0.1)
    assert dataset.card["label_names"]["class"][-1] == "c\udce9"
    assert json.loads(json.dumps(dataset.card)) == dataset.card
    assert "1 of 13 images" in capfd.readouterr().err


def test_the_card_is_json_and_names_no_folder_above(place, tmp_path):
    dataset = get(place(TREE))
    assert json.loads(json.dumps(dataset.card)) == dataset.card
    assert str(tmp_path) not in json.dumps(dataset.card)
    assert dataset.card["source"]["folder"].startswith("data")
    assert (dataset.kind, dataset.card["name"], dataset.card["unreadable"]) == (
        "images",
        "folder",
        0,
    )


# The outline and the cache


@pytest.mark.parametrize("channels", [1, 3])
def test_the_outline_is_the_dataset_but_for_its_pixels(channels, place, tmp_path, cache):
    data_dir = place(TREE)
    options = {"data_dir": data_dir, "image_size": 9, "channels": channels, "split_seed": 2,
               "labels_file": table(tmp_path, [f"{p},{Path(p).suffix}" for p in TREE])}  # fmt: skip
    drawn = outline("folder", **options)
    assert not cache.exists()
    whole = load("folder", **options)
    assert drawn.card == whole.card
    assert (drawn.kind, drawn.color_by) == (whole.kind, whole.color_by) == ("images", "smile")
    for name, split in parts(drawn).items():
        own = getattr(whole, name)
        assert (split.x == 128).all()
        assert (split.x.shape, split.x.dtype) == (own.x.shape, own.x.dtype)
        np.testing.assert_array_equal(split.labels["smile"], own.labels["smile"])


def test_images_are_decoded_once_and_again_when_one_changes(tmp_path, cache):
    root = plant(tmp_path / "data", TREE)
    first = get(root)
    (built,) = cache.glob("*.npy")
    assert isinstance(first.train.x, np.memmap)
    stamp = built.stat().st_mtime_ns
    same(get(root), first)
    assert built.stat().st_mtime_ns == stamp
    (root / "a/000.png").write_bytes(written(pixels(99)))
    changed = {**TREE, "a/000.png": written(pixels(99))}
    assert sorted(all_paths_in(get(root), changed)) == sorted(changed)
    assert len(list(cache.glob("*.npy"))) == 2


def test_a_cache_folder_may_be_chosen_or_left_out(tmp_path, cache):
    root = plant(tmp_path / "data", TREE)
    one, two = get(root, cache_dir=str(tmp_path / "other")), get(root, cache=False)
    same(one, two)
    assert one.card == two.card
    assert not cache.exists()
    assert len(list((tmp_path / "other").glob("*.npy"))) == 1


# Many damaged files


def originals():
    found = [
        (suffix, written(pixels(10 * i + j, 16 + 5 * j, 30 - 4 * j), suffix))
        for i, suffix in enumerate(KINDS)
        for j in range(3)
    ]
    for mode, suffix in [
        ("L", ".jpg"), ("CMYK", ".jpg"), ("L", ".png"), ("P", ".png"), ("1", ".png"),
        ("LA", ".png"), ("RGBA", ".png"), ("RGBA", ".webp"), ("P", ".bmp"), ("L", ".gif"),
    ]:  # fmt: skip
        found.append((suffix, written(pixels(7, 24, 24).convert(mode), suffix)))
    return found


def flipped(content, other, rng):
    content = bytearray(content)
    for position in rng.integers(0, len(content), rng.integers(1, 9)):
        content[position] ^= 1 << rng.integers(8)
    return bytes(content)


def shortened(content, other, rng):
    return content[: rng.integers(0, len(content))]


def swapped(content, other, rng):
    a, b, c = sorted(rng.integers(0, len(content) + 1, 3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def zeroed(content, other, rng):
    a, b = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:a] + bytes(b - a) + content[b:]


def zeroed_to_the_end(content, other, rng):
    kept = rng.integers(0, len(content))
    return content[:kept] + bytes(len(content) - kept)


def joined(content, other, rng):
    return content[: rng.integers(1, len(content) + 1)] + other


def under_another_header(content, other, rng):
    size = rng.integers(4, 40)
    return other[:size] + content[size:]


MUTATIONS = [
    flipped, shortened, swapped, zeroed, zeroed_to_the_end, joined, under_another_header,
]  # fmt: skip


def mutated(count):
    rng, whole = np.random.default_rng(0), originals()
    tree = {}
    for i in range(count):
        suffix, content = whole[i % len(whole)]
        other = whole[rng.integers(len(whole))][1]
        tree[f"mutated/{i:03}{suffix}"] = MUTATIONS[i % len(MUTATIONS)](content, other, rng)
    return tree


def test_of_damaged_files_each_is_decoded_or_left_out(place, capfd):
    good = tree_of(*names(60, "good/{}.png"))
    tree = mutated(500) | good
    dataset = get(place(tree), max_unreadable=1, image_size=8)
    wanted, refused = {}, []
    for path in sorted(tree):
        try:
            wanted[path] = decode(tree[path], "center", 8)
        except Unreadable:
            refused.append(path)
    assert 150 < len(refused) < 450
    assert dataset.card["unreadable"] == len(refused)
    assert sum(counts(dataset)) + len(refused) == len(tree)
    assert f"{len(refused)} of 560 images are unreadable" in capfd.readouterr().err
    kept = [image.tobytes() for split in parts(dataset).values() for image in split.x]
    assert sorted(kept) == sorted(image.tobytes() for image in wanted.values())
    is_good = {image.tobytes(): path.startswith("good") for path, image in wanted.items()}
    for split in parts(dataset).values():
        names_of = [dataset.card["label_names"]["class"][code] for code in split.labels["class"]]
        assert names_of == ["good" if is_good[image.tobytes()] else "mutated" for image in split.x]


# What lies beside the folders of splits


@pytest.mark.parametrize("stray", ["logo.png", "extra/1.png"])
def test_a_stray_image_does_not_undo_the_splits(stray, place, capfd):
    tree = tree_of(
        *(f"pets/{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("cat", "dog")
          for i in range(10)), stray,
    )  # fmt: skip
    dataset = get(place(tree))
    assert counts(dataset) == (18, 2, 20)
    assert dataset.card["label_names"] == {"class": ["cat", "dog"]}
    told = f"1 images outside the folders train, valid and test are left out, the first is {stray}"
    assert told in capfd.readouterr().err


def test_a_drawn_split_is_bound_to_the_set_of_files(tmp_path):
    tree = tree_of(*names(20))
    first = get(plant(tmp_path / "a", tree)).card["split_of"]
    assert get(plant(tmp_path / "b", tree)).card["split_of"] == first
    assert get(plant(tmp_path / "c", tree_of(*names(21)))).card["split_of"] != first
    renamed = dict(tree)
    renamed["x.png"] = renamed.pop(next(iter(tree)))
    assert get(plant(tmp_path / "d", renamed)).card["split_of"] != first
    own = tree_of(*(f"{split}/{i}.png" for split in SPLITS for i in range(4)))
    assert "split_of" not in get(plant(tmp_path / "e", own)).card


def test_two_names_of_one_folder_are_two_folders(tmp_path):
    root = plant(tmp_path / "data", tree_of(*names(20, "train/{}.png"), *names(5, "val/{}.png")))
    (root / "test").symlink_to(root / "val")
    assert counts(get(root)) == (20, 5, 5)


def test_links_to_nothing_count_as_unreadable(tmp_path, capfd):
    root = plant(tmp_path / "data", tree_of(*names(30)))
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"1 links lead to no image, the first is .*gone\.png"):
        get(root)
    assert sum(counts(get(root, max_unreadable=0.05))) == 30
    assert "1 links lead to no image" in capfd.readouterr().err


def test_notes_are_told_once_and_not_by_the_outline(tmp_path, capfd):
    root = plant(tmp_path / "data", tree_of(*names(12, "train/{}.png")))
    folder.outline(data_dir=str(root))
    assert capfd.readouterr().err == ""
    get(root)
    assert capfd.readouterr().err.count("divided at random") == 1


def test_a_zip_with_everything_in_one_folder_takes_the_same_labels_file(tmp_path):
    tree = tree_of(*names(12, "a/{}.png"), *names(12, "b/{}.png"))
    rows = [f"{path},{path[0] == 'a'}" for path in tree]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["image,first", *rows]))
    archive = pack(tmp_path / "x.zip", {f"pics/{path}": content for path, content in tree.items()})
    dataset = get(archive, labels_file=str(labels))
    assert sum(int(getattr(dataset, split).labels["first"].sum()) for split in SPLITS) == 12


def test_a_split_shows_its_shape_and_not_its_pixels(tmp_path):
    dataset = get(plant(tmp_path / "data", tree_of(*names(20))))
    assert repr(dataset.train).startswith("Split(x=uint8 (16, ")
    assert (dataset.train.steps(5), dataset.train.steps(500)) == (3, 1)
