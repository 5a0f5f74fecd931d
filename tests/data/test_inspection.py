import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kvae import data
from kvae.data import program
from kvae.errors import DataError, UsageError

ROOT = Path(__file__).parents[2]
MARGIN, CELL, GAP, COLUMNS = 28, 128, 6, 12
BROKEN = b"\xff\xd8\xff\xe0 and nothing"


def written(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(colour, width=20, height=20):
    return written(Image.new("RGB", (width, height), tuple(colour)))


def plant(root, tree):
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KVAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def look(tmp_path):
    """Inspect and give the report, what was printed and where the sheet is."""

    def run(data_dir, **options):
        sheet = tmp_path / "sheet.png"
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            report = program.inspect(
                str(data_dir), **{"sheet": sheet, "json_file": tmp_path / "report.json"} | options
            )
        assert json.loads((tmp_path / "report.json").read_text()) == report
        return report, printed.getvalue(), sheet

    return run


def cells(sheet, rows):
    """The middle pixels of a sheet, row after row."""
    with Image.open(sheet) as image:
        drawn = np.asarray(image.convert("RGB"))
    height, width = drawn.shape[:2]
    assert width == 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
    top = height - MARGIN - rows * CELL - (rows - 1) * GAP
    assert 40 < top < 100  # room for the title alone
    assert (drawn[:top] != 255).any()
    ys = top + CELL // 2 + (CELL + GAP) * np.arange(rows)
    xs = MARGIN + CELL // 2 + (CELL + GAP) * np.arange(COLUMNS)
    return drawn[ys][:, xs].reshape(-1, 3)


COLOURS = np.random.default_rng(0).integers(0, 250, (90, 3))
SHAPES = [(20, 20)] * 3 + [(31, 20), (20, 47)]
FOLDER = {
    f"{kind}/{kind} {i:02}.png": plain(COLOURS[15 * k + i], *SHAPES[i % 5])
    for k, kind in enumerate(("ant", "bee", "cat"))
    for i in range(15)
}
FAULTS = {"ant/ant 03.png": BROKEN, "cat/cat 20.jpg": b"<html>"}


@pytest.fixture(params=["folder", "zip"])
def photos(request, tmp_path):
    """Three classes of images of three sizes, two of them unreadable, one grey."""
    tree = FOLDER | FAULTS | {"bee/grey.png": written(Image.new("L", (20, 20), 99))}
    if request.param == "folder":
        return plant(tmp_path / "photos", tree)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return tmp_path / "photos.zip"


def test_a_folder_and_a_zip_are_described(photos, look):
    report, printed, _ = look(photos)
    kind = "zip" if photos.suffix else "folder"
    layout = f"images in a {kind}, split at random, classes by subfolder"
    assert (report["dataset"], report["layout"]) == ("folder", layout)
    assert report["images"] == 47
    assert report["splits"] == {"train": 39, "valid": 4, "test": 4}
    assert report["split"] == "random 80/10/10"
    assert report["sizes"] == {"20x20": 28, "20x47": 9, "31x20": 8}
    assert list(report["sizes"]) == ["20x20", "20x47", "31x20"]
    assert (report["smallest_side"], report["largest_side"]) == (20, 47)
    assert report["colours"] == {"RGB": 44, "grey": 1}
    assert report["crop"] == "center"
    assert report["labels"] == {"class": {"ant": 15, "bee": 16, "cat": 16}}
    lines = printed.splitlines()
    for line in [
        f"layout      {layout}",
        "images      47",
        "splits      39 train, 4 valid, 4 test (random 80/10/10)",
        "sizes       20x20 (28), 20x47 (9), 31x20 (8); sides of 20 to 47 pixels",
        "colours     44 RGB, 1 grey",
        "crop        center",
        "unreadable  2:",
        "labels      1:",
        "  class: 3 classes, 15 to 16 images each",
        "    ant  15",
    ]:
        assert line in lines


def test_the_faults_are_those_that_a_training_would_find(photos, look):
    report, printed, _ = look(photos)
    place = f"{photos}, " if photos.suffix else f"{photos}/"
    assert list(report["unreadable"]) == [f"{place}ant/ant 03.png", f"{place}cat/cat 20.jpg"]
    damaged, page = report["unreadable"].values()
    assert damaged.startswith("is damaged: ")
    assert page == "is a web page, not an image"
    for name, why in report["unreadable"].items():
        assert f"  {name} {why}" in printed.splitlines()
    assert "more" not in printed
    told = "kvae train lets 0 of 47 be unreadable: remove these, or give it --max-unreadable 0.0426"
    assert f"note        {told}" in printed.splitlines()
    loaded = data.load("folder", data_dir=str(photos), max_unreadable=0.0426)
    assert loaded.card["unreadable"] == 2


def test_the_sheet_shows_every_readable_image_in_the_order_of_training(photos, look, cache):
    _, _, sheet = look(photos)
    dataset = data.load("folder", data_dir=str(photos), max_unreadable=0.1)
    seen = np.concatenate([dataset.train.x, dataset.valid.x, dataset.test.x])
    found = cells(sheet, 4)
    np.testing.assert_array_equal(found[:45], seen[:, 32, 32])
    assert len(np.unique(found[:45], axis=0)) == 45
    assert (found[45:] == 255).all()


def test_nothing_is_written_but_the_sheet_and_the_report(photos, look, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    look(photos)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert after.keys() - before.keys() == {tmp_path / "sheet.png", tmp_path / "report.json"}
    assert before.items() <= after.items()


def test_of_many_images_sixty_are_drawn(tmp_path, look):
    root = plant(tmp_path / "x", {f"{i:02}.png": plain(COLOURS[i]) for i in range(90)})
    report, printed, sheet = look(root)
    assert report["labels"] == {}
    assert "labels      0" in printed.splitlines()
    assert "unreadable  0" in printed.splitlines()
    assert "sizes       20x20 (90)" in printed.splitlines()
    drawn = {tuple(cell) for cell in cells(sheet, 5).tolist()}
    known = {tuple(colour): i for i, colour in enumerate(COLOURS.tolist())}
    assert len(drawn) == 60
    assert drawn <= known.keys()
    assert max(known[colour] for colour in drawn) > 80
    again = sheet.read_bytes()
    look(root)
    assert sheet.read_bytes() == again


def test_a_misfit_of_the_crop_is_a_fault_and_not_drawn(tmp_path, look):
    tree = {f"{i:02}.png": plain(COLOURS[i], 20, 20 + (i < 11)) for i in range(12)}
    root = plant(tmp_path / "x", tree)
    report, _, sheet = look(root, crop="0,0,20,21")
    assert report["crop"] == "0,0,20,21"
    assert report["unreadable"] == {
        f"{root}/11.png": "is 20x20: the crop 0,0,20,21 reaches beyond it"
    }
    assert report["sizes"] == {"20x21": 11, "20x20": 1}
    assert (cells(sheet, 1) == 255).all(axis=1).sum() == 1


def test_a_source_without_any_readable_image_has_no_sheet(tmp_path, look):
    report, printed, sheet = look(plant(tmp_path / "x", {f"{i}.png": b"" for i in range(25)}))
    assert len(report["unreadable"]) == 25
    assert report["sizes"] == {}
    assert "sizes       none" in printed.splitlines()
    assert "colours     none" in printed.splitlines()
    assert printed.count("is empty") == 20
    assert "  and 5 more; --json writes them all" in printed.splitlines()
    assert not sheet.exists()


def test_of_many_classes_the_largest_are_printed(tmp_path, look):
    tree = {
        f"kind {k:02}/{i}.png": plain(COLOURS[k]) for k in range(14) for i in range(1 + (k > 10))
    }
    report, printed, _ = look(plant(tmp_path / "x", tree))
    assert len(report["labels"]["class"]) == 14
    lines = printed.splitlines()
    start = lines.index("  class: 14 classes, 1 to 2 images each")
    assert lines[start + 1 : start + 5] == [
        "    kind 11  2", "    kind 12  2", "    kind 13  2", "    kind 00  1",
    ]  # fmt: skip
    assert lines[start + 13] == "    and 2 more; --json writes them all"


def test_flags_and_classes_of_a_table_are_counted(tmp_path, look):
    tree = {f"{i:02}.png": plain(COLOURS[i]) for i in range(20)}
    table = "image,young,long_name,kind\n" + "".join(
        f"{name},{i < 5:d},1,{'ab'[i % 4 == 0]}\n" for i, name in enumerate(tree)
    )
    (tmp_path / "labels.csv").write_text(table)
    report, printed, _ = look(plant(tmp_path / "x", tree), labels_file=str(tmp_path / "labels.csv"))
    assert report["labels"] == {"young": 0.25, "long_name": 1.0, "kind": {"a": 15, "b": 5}}
    lines = printed.splitlines()
    assert lines[lines.index("labels      3:") + 1 :][:5] == [
        "  young       25.0%", "  long_name  100.0%", "  kind: 2 classes, 5 to 15 images each",
        "    a  15", "    b   5",
    ]  # fmt: skip


def test_own_splits_and_the_seed_of_those_that_are_drawn(tmp_path, look):
    tree = {f"train/{i:02}.png": plain(COLOURS[i]) for i in range(20)}
    tree |= {f"test/{i:02}.png": plain(COLOURS[i]) for i in range(20, 25)}
    root = plant(tmp_path / "x", tree)
    report, printed, sheet = look(root)
    assert report["splits"] == {"train": 18, "valid": 2, "test": 5}
    assert "18 train, 2 valid, 5 test (the source's own, valid a random tenth of train)" in printed
    first = cells(sheet, 3)
    assert (cells(look(root, split_seed=1)[2], 3) != first).any()


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path, look):
    root = plant(tmp_path / "x", {f"{i}.png": plain(COLOURS[i]) for i in range(20)})
    (root / "bad\udce9.png").write_bytes(b"")
    report, _, _ = look(root)
    assert list(report["unreadable"]) == [f"{root}/bad\udce9.png"]
    command = [sys.executable, "-m", "kvae.data", "--data-dir", str(root)]
    done = subprocess.run(
        [*command, "--sheet", str(tmp_path / "s.png")], capture_output=True, cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"bad\\udce9.png is empty" in done.stdout


NAMES = [f"Attribute_{i}" for i in range(38)] + ["Male", "Blond_Hair"]


@pytest.fixture
def celeba(tmp_path):
    """Twelve faces and the two official lists; one face is broken, one is not there."""
    rng = np.random.default_rng(0)
    faces = {
        f"img_align_celeba/{i:06}.jpg": written(
            Image.fromarray(rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)), "JPEG"
        )
        for i in range(1, 13)
    }
    faces["img_align_celeba/000003.jpg"] = faces["img_align_celeba/000003.jpg"][:3000]
    rows, parts = [], []
    for i in range(1, 14):
        values = ["-1"] * 38 + ["1" if i <= 3 else "-1", "1"]
        rows.append(f"{i:06}.jpg  {' '.join(values)}\n")
        parts.append(f"{i:06}.jpg {0 if i < 9 else 1 if i < 11 else 2}\n")
    lists = {
        "list_attr_celeba.txt": f"13\n{' '.join(NAMES)}\n{''.join(rows)}".encode(),
        "list_eval_partition.txt": "".join(parts).encode(),
    }
    return plant(tmp_path / "celeba", faces | lists)


def test_celeba_is_recognised(celeba, look):
    report, printed, sheet = look(celeba)
    assert (report["dataset"], report["layout"]) == ("celeba", "official (folder)")
    assert report["splits"] == {"train": 8, "valid": 2, "test": 2}
    assert (report["split"], report["missing"]) == ("own", 1)
    assert "not_listed" not in report
    assert report["sizes"] == {"178x218": 11}
    assert report["crop"] == "center148"
    assert list(report["unreadable"]) == [f"{celeba}/img_align_celeba/000003.jpg"]
    assert list(report["labels"]) == NAMES
    assert {report["labels"][name] for name in NAMES[:38]} == {0.0}
    assert (report["labels"]["Male"], report["labels"]["Blond_Hair"]) == (0.25, 1.0)
    lines = printed.splitlines()
    assert "missing     1 (listed, but not there)" in lines
    assert "splits      8 train, 2 valid, 2 test (the source's own)" in lines
    assert "  Male           25.0%" in lines
    assert "  Blond_Hair    100.0%" in lines
    assert (cells(sheet, 1) == 255).all(axis=1).sum() == 1


def test_celeba_may_be_looked_at_as_a_folder_and_with_another_crop(celeba, look):
    report, _, _ = look(celeba, dataset="folder")
    assert (report["dataset"], report["crop"]) == ("folder", "center")
    assert report["labels"] == {}
    plant(celeba, {"img_align_celeba/000001.jpg": plain((1, 2, 3), 178, 200)})
    report, _, _ = look(celeba, crop="full178")
    assert report["unreadable"][f"{celeba}/img_align_celeba/000001.jpg"] == (
        "is 178x200: the crop full178 is for aligned CelebA images of 178x218"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sheet": "x.jpg"}, r"--sheet is a \.png file in a folder that exists, received x\.jpg"),
        ({"sheet": "no/such/x.png"}, "--sheet is a .*no/such"),
        (
            {"json_file": "no/such/x.json"},
            "--json is a .json file in a folder that exists, received",
        ),
        (
            {"dataset": "gmm"},
            "--dataset takes celeba, folder, tfds:NAME, mnist or fashion-mnist, received 'gmm'",
        ),
        ({"crop": "middle"}, "--crop takes .*'middle'"),
        ({"image_size": 4}, "--image-size must be 8 to 512, received 4"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(options, message, tmp_path):
    root = plant(tmp_path / "x", {f"{i}.png": b"" for i in range(12)})
    with pytest.raises(UsageError, match=message):
        program.inspect(str(root), **{"sheet": tmp_path / "s.png"} | options)
    assert not (tmp_path / "s.png").exists()


def test_a_source_must_be_given_and_hold_images(tmp_path):
    sheet = tmp_path / "s.png"
    with pytest.raises(UsageError, match="--data-dir is needed: a folder, a zip or parquet files"):
        program.inspect(None, sheet=sheet)
    with pytest.raises(UsageError, match=f"--data-dir {tmp_path}/gone: no such file or folder;"):
        program.inspect(str(tmp_path / "gone"), sheet=sheet)
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="x holds 0 images"):
        program.inspect(str(tmp_path / "x"), sheet=sheet)
    (tmp_path / "x.zip").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"x\.zip is a web page"):
        program.inspect(str(tmp_path / "x.zip"), sheet=sheet)


COMMAND = """
import runpy, sys
try:
    runpy.run_module("kvae.data", run_name="__main__", alter_sys=True)
finally:
    print("heavy", sorted({"tensorflow", "keras", "tensorflow_datasets"} & set(sys.modules)))
"""


def test_the_command_writes_what_it_is_told_without_tensorflow(tmp_path):
    root = plant(tmp_path / "photos", FOLDER | FAULTS)
    sheet, report = tmp_path / "a sheet.PNG", tmp_path / "a report.json"
    arguments = ["--data-dir", root, "--sheet", sheet, "--json", report, "--image-size", "16"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "heavy []" in done.stdout
    assert f"sheet       {sheet}" in done.stdout
    assert f"report      {report}" in done.stdout
    assert json.loads(report.read_text())["images"] == 46
    with Image.open(sheet) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--no-such-flag"], 2, "--no-such-flag"),
        (["--image-size", "7"], 2, "8 to 512"),
        (["--data-dir", "/no/such/folder"], 2, "--data-dir /no/such/folder: no such file"),
    ],
)
def test_the_command_answers_a_mistake_with_one_line(arguments, status, words):
    done = subprocess.run(
        [sys.executable, "-m", "kvae.data", *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.parametrize("option", [{"sheet": "sheet.png"}, {"json_file": "report.json"}])
def test_nothing_is_written_among_the_data(option, tmp_path, monkeypatch):
    root = plant(tmp_path / "photos", FOLDER)
    monkeypatch.chdir(root)
    before = sorted(root.rglob("*"))
    with pytest.raises(UsageError, match="would lie in --data-dir, among the data"):
        program.inspect(".", **{"sheet": tmp_path / "s.png"} | option)
    assert sorted(root.rglob("*")) == before


def test_the_folder_of_the_images_alone_is_celeba(celeba, look):
    report, _, _ = look(celeba / "img_align_celeba")
    assert report["dataset"] == "celeba"
    assert report["split"] == "own"
