"""Names of files and folders, at every door where images come in."""

import io
import json
import zipfile
from pathlib import Path

import celeba_testing
import numpy as np
import pytest
from PIL import Image

from kvae.data import arrays, celeba, folder, load, program, tfds
from kvae.data.images.decoding import OTHER_SUFFIXES, SUFFIXES, decode
from kvae.data.inspection import inspect
from kvae.encode.sources import Wanted, open_source
from kvae.errors import DataError, UsageError

KINDS = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "png": "PNG", "apng": "PNG",
    "webp": "WEBP", "bmp": "BMP", "dib": "BMP", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF",
}  # fmt: skip
NOT_READ = {"a.heic": b"x", "b/c.HEIC": b"x", "d.avif": b"x"}
NOTE = (
    "3 files with endings that are not read (.heic 2, .avif 1) are left out: convert them to PNG "
    "or JPEG"
)


def picture(seed, kind="PNG"):
    levels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Files in a folder or a zip."""

    def make(files):
        if request.param == "folder":
            return celeba_testing.write(tmp_path / "images", files)
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return tmp_path / "images.zip"

    return make


def pictures(count=10):
    return {f"{i}.png": picture(i) for i in range(count)}


def test_every_ending_is_read(place):
    assert {f".{ending}" for ending in KINDS} == set(SUFFIXES)
    files = {f"{i}.{ending}": picture(i, kind) for i, (ending, kind) in enumerate(KINDS.items())}
    files["UP.TIF"] = picture(90, "TIFF")
    dataset = load("folder", data_dir=str(place(files)), image_size=8, cache=False)
    found = np.concatenate([dataset.train.x, dataset.valid.x, dataset.test.x])
    wanted = [decode(content, "center", 8).tobytes() for content in files.values()]
    assert sorted(x.tobytes() for x in found) == sorted(wanted)


def test_a_file_is_what_it_holds_and_not_what_it_is_called(place):
    files = pictures() | {"w.jpg": picture(77, "WEBP"), "t.png": picture(78, "TIFF")}
    assert (
        folder.load(data_dir=str(place(files)), image_size=8, cache=False).card["unreadable"] == 0
    )


def test_images_that_are_not_read_are_counted_and_named(place, capsys):
    files = place(pictures() | NOT_READ)
    folder.load(data_dir=str(files), image_size=8, cache=False)
    assert NOTE in capsys.readouterr().err
    report = inspect(str(files), dataset="folder").report
    assert NOTE in report["notes"]
    assert report["not_read"] == {".heic": 2, ".avif": 1}
    open_source(files, Wanted((8, 8, 3)))
    assert f"note: {NOTE}" in capsys.readouterr().err


def test_where_there_are_too_few_the_others_are_named(place):
    files = place(NOT_READ)
    with pytest.raises(DataError, match=r"holds 0 images .*3 files with endings that are not read"):
        folder.source(data_dir=str(files))
    with pytest.raises(DataError, match=r"no images .*\(\.heic 2, \.avif 1\)"):
        open_source(files, Wanted((8, 8, 3)))
    with pytest.raises(DataError, match=r"no images of CelebA.*\(\.heic 2, \.avif 1\)"):
        load("celeba", data_dir=str(files))


def test_those_beside_a_copy_of_celeba_are_named(tmp_path, capsys):
    files = celeba_testing.official() | {f"img_align_celeba/{name}": b"" for name in NOT_READ}
    root = celeba_testing.write(tmp_path / "celeba", files)
    load("celeba", data_dir=str(root), image_size=8, cache=False)
    assert NOTE in capsys.readouterr().err


def test_nothing_is_said_where_there_are_none(place, capsys):
    files = place(pictures() | {"a.txt": b"", "labels.csv": b"", "heic": b"", "x.heic.txt": b""})
    folder.load(data_dir=str(files), image_size=8, cache=False)
    assert "not read" not in capsys.readouterr().err
    assert not set(SUFFIXES) & set(OTHER_SUFFIXES)


@pytest.mark.parametrize("dataset", ["folder", "celeba", "tfds:mnist"])
def test_a_path_that_is_not_there_is_the_users_mistake(dataset, tmp_path):
    with pytest.raises(UsageError, match=r"--data-dir .*nope: no such file or folder; wanted "):
        load(dataset, data_dir=str(tmp_path / "nope"))
    with pytest.raises(UsageError, match=r"--data-dir .*nope: no such file or folder; wanted "):
        inspect(str(tmp_path / "nope"), dataset=dataset)


@pytest.mark.parametrize("given", ["/no/such/place", "x" * 300, "~nobodyofthisname/x", "a\0b"])
def test_any_path_that_is_none_is_refused(given):
    with pytest.raises(UsageError, match="--data-dir"):
        folder.source(data_dir=given)
    with pytest.raises(UsageError, match="--data-dir"):
        inspect(given)
    with pytest.raises(UsageError, match="--input"):
        open_source(given, Wanted((8, 8, 3)))


ODD = "a\x1b[2Jb\n.png"


def test_names_that_move_the_cursor_are_shown_escaped(place, capsys):
    files = place(pictures() | {ODD: b"", "odd\u2028.heic": b""})
    folder.load(data_dir=str(files), image_size=8, cache=False, max_unreadable=0.5)
    said = capsys.readouterr().err
    assert r"a\x1b[2Jb\n.png is empty" in said
    assert "\x1b" not in said


def test_names_are_told_apart_and_reported_as_they_are(tmp_path, capsys):
    odd = {"two spaces": b"", "two  spaces": b"x", "bel\x07l": b"", "bel\\x07l": b"x"}
    files = pictures() | {f"{name}.png": content for name, content in odd.items()}
    root = celeba_testing.write(tmp_path / "images", files)
    report = program.inspect(str(root), sheet=tmp_path / "sheet.png")
    assert set(report["unreadable"]) == {f"{root}/{name}.png" for name in odd}
    shown = capsys.readouterr().out
    assert "two  spaces.png is not an image" in shown
    assert r"bel\x07l.png is empty" in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_given_as_a_text_or_as_a_path(kind, tmp_path, place):
    there, gone = kind(place(pictures())), kind(tmp_path / "gone")
    rows = folder.source(data_dir=there).count
    assert rows == inspect(there).report["images"] == open_source(there, Wanted((8, 8, 3))).count
    doors = (
        lambda: folder.load(data_dir=gone),
        lambda: inspect(gone),
        lambda: celeba.load(data_dir=gone),
        lambda: arrays.load(data_dir=gone),
        lambda: tfds.load(tfds_name="mnist", data_dir=gone),
        lambda: open_source(gone, Wanted((8, 8, 3))),
    )
    for door in doors:
        with pytest.raises(UsageError, match="gone: no such file or folder"):
            door()


def test_a_folder_that_would_be_a_label_has_no_control_characters(place, tmp_path):
    files = {f"good/{i}.png": picture(i) for i in range(9)}
    root = place(files | {f"b\x07d/{i}.png": picture(i) for i in range(20, 29)})
    with pytest.raises(DataError, match=r"folders of classes.*'b\\x07d' holds a control"):
        folder.source(data_dir=str(root))


def test_the_report_is_written_as_json(place, tmp_path):
    files = place(pictures() | NOT_READ)
    report = tmp_path / "report.json"
    program.inspect(str(files), sheet=tmp_path / "sheet.png", json_file=report)
    assert json.loads(report.read_text())["not_read"] == {".heic": 2, ".avif": 1}
