import errno
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from kvae.data.images import files as image_files
from kvae.data.images.files import open_files, text_at, text_of
from kvae.errors import DataError

TREE = {"a/1.png": b"one", "a/b/2.JPG": b"two two", "3.png": b"", "list.txt": b"a table"}


def plant(folder, tree=TREE):
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def pack(path, tree=TREE, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in tree.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return path


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Something that turns a tree into a folder or a zip."""
    if request.param == "folder":
        return lambda tree: plant(tmp_path / "x", tree)
    return lambda tree: pack(tmp_path / "x.zip", tree)


def contents(files):
    return {path: files.read(path) for path in files.stamps}


def everything_below(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def test_all_files_are_listed_in_order_and_read(place):
    files = open_files(place(TREE))
    assert list(files.stamps) == sorted(TREE)
    assert contents(files) == TREE
    assert {path: stamp[0] for path, stamp in files.stamps.items()} == {
        path: len(content) for path, content in TREE.items()
    }


def test_files_are_found_by_name_and_by_suffix_of_either_case(place):
    files = open_files(place(TREE))
    assert files.named("list.txt", "2.JPG") == ["a/b/2.JPG", "list.txt"]
    assert files.named("a") == []
    assert sorted(files.with_suffix(".png", ".jpg")) == ["3.png", "a/1.png", "a/b/2.JPG"]


HIDDEN = {".hidden.png": b"1", ".git/2.png": b"2", "a/.cache/b/3.png": b"3", "a/.DS_Store": b"4"}
OF_MACOS = {"__MACOSX/a/._1.png": b"5", "__MACOSX/6.png": b"6", "a/__MACOSX/7.png": b"7"}


@pytest.mark.parametrize("tree", [HIDDEN, OF_MACOS])
def test_hidden_files_and_those_of_macos_are_skipped(tree, place):
    assert list(open_files(place({**TREE, **tree})).stamps) == sorted(TREE)


def test_an_empty_place_holds_nothing(place):
    files = open_files(place({".x": b""}))
    assert files.stamps == {}


def test_a_file_is_named_so_that_it_can_be_found(tmp_path):
    assert open_files(plant(tmp_path / "x")).place("a/1.png") == f"{tmp_path}/x/a/1.png"
    assert open_files(pack(tmp_path / "x.zip")).place("a/1.png") == f"{tmp_path}/x.zip, a/1.png"


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_is_read_and_nothing_is_written(kind, tmp_path):
    pack(tmp_path / "x.zip", kind=kind)
    before = everything_below(tmp_path)
    assert contents(open_files(tmp_path / "x.zip")) == TREE
    assert everything_below(tmp_path) == before


def test_a_stamp_changes_with_the_content(tmp_path):
    plant(tmp_path / "x")
    first = open_files(tmp_path / "x").stamps
    os.utime(tmp_path / "x/a/1.png", ns=(5, 5))
    second = open_files(tmp_path / "x").stamps
    assert {path for path in TREE if first[path] != second[path]} == {"a/1.png"}
    zipped = open_files(pack(tmp_path / "x.zip")).stamps
    changed = open_files(pack(tmp_path / "y.zip", {**TREE, "a/1.png": b"eno"})).stamps
    assert {path for path in TREE if zipped[path] != changed[path]} == {"a/1.png"}


def test_a_link_is_followed_and_one_to_a_folder_above_ends(tmp_path):
    plant(tmp_path / "far", {"5.png": b"five", "deep/6.png": b"six"})
    root = plant(tmp_path / "x")
    (root / "linked").symlink_to(tmp_path / "far")
    (root / "4.png").symlink_to(tmp_path / "far/5.png")
    (root / "a/b/up").symlink_to(root)
    (root / "a/b/here").symlink_to(root / "a/b")
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    found = contents(open_files(root))
    added = {"4.png": b"five", "linked/5.png": b"five", "linked/deep/6.png": b"six"}
    # "here" is a link to a folder above too; a second name for a folder is a second folder.
    assert found == TREE | added
    assert open_files(root).dangling == ["gone.png"]


def test_what_is_no_file_is_skipped(tmp_path):
    root = plant(tmp_path / "x")
    os.mkfifo(root / "pipe.png")
    (root / "folder.png").mkdir()
    assert list(open_files(root).stamps) == sorted(TREE)


@pytest.mark.parametrize(
    "name", ["../1.png", "a/../../1.png", "a/..", "/etc/1.png", "\\\\host\\1.png", "a/../b.png"]
)
def test_a_zip_that_leads_out_of_itself_is_refused(name, tmp_path):
    pack(tmp_path / "x.zip", {**TREE, name: b"x"})
    with pytest.raises(DataError, match=r"x\.zip holds .*, a path that leads out of it"):
        open_files(tmp_path / "x.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zip"]


def patched(path, name, *changes):
    """Write numbers into the headers, local and central, of a member of a zip."""
    content = bytearray(path.read_bytes())
    local = content.index(b"PK\x03\x04")
    while not content[local + 30 :].startswith(name):
        local = content.index(b"PK\x03\x04", local + 1)
    central = content.index(b"PK\x01\x02")
    while not content[central + 46 :].startswith(name):
        central = content.index(b"PK\x01\x02", central + 1)
    for layout, offset, value in changes:
        struct.pack_into(layout, content, local + offset, value)
        struct.pack_into(layout, content, central + offset + 2, value)
    path.write_bytes(content)
    return path


FLAGS, METHOD, SIZE = 6, 8, 22


def test_an_encrypted_zip_is_refused(tmp_path):
    path = patched(pack(tmp_path / "x.zip"), b"a/1.png", ("<H", FLAGS, 1))
    with pytest.raises(DataError, match=r"x\.zip is encrypted: unpack it and give the folder$"):
        open_files(path)


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_a_truncated_zip_is_refused(part, tmp_path):
    path = pack(tmp_path / "x.zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match=r"x\.zip is not a zip, or is cut short: download it again"):
        open_files(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [("x.zip", "not a zip"), ("x.png", "neither a folder nor a zip"), ("x", "neither a folder")],
)
def test_a_file_that_is_no_zip_is_refused(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"\x89PNG and more" * 50)
    with pytest.raises(DataError, match=f"{name} is {said}"):
        open_files(tmp_path / name)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\n  <html><body>quota exceeded"])
def test_a_web_page_in_place_of_a_zip_is_called_one(page, tmp_path):
    (tmp_path / "x.zip").write_bytes(page)
    with pytest.raises(DataError, match=r"x\.zip is a web page: Google Drive .* quota"):
        open_files(tmp_path / "x.zip")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"^no such file or folder: {tmp_path}/gone$"):
        open_files(tmp_path / "gone")
    with pytest.raises(DataError, match=f"^cannot read {tmp_path}/x+: File name too long$"):
        open_files(tmp_path / ("x" * 300))


def test_a_file_that_went_away_cannot_be_read(tmp_path):
    files = open_files(plant(tmp_path / "x"))
    (tmp_path / "x/3.png").unlink()
    with pytest.raises(DataError, match=f"^cannot read {tmp_path}/x/3.png: No such file"):
        files.read("3.png")


def test_a_file_that_is_too_large_is_not_read_whole(place, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 1000)
    files = open_files(place({"right.png": bytes(1000), "large.png": bytes(1001)}))
    assert len(files.read("right.png")) == 1000
    with pytest.raises(DataError, match=r"large\.png is larger than 1,000 bytes.* smaller"):
        files.read("large.png")


def watched(monkeypatch):
    """The numbers of bytes that members of zips were asked for."""
    asked, read = [], zipfile.ZipExtFile.read

    def counted(self, size=-1):
        asked.append(size)
        return read(self, size)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    return asked


def test_a_bomb_in_a_zip_is_never_inflated_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 1000)
    path = pack(tmp_path / "x.zip", {"bomb.png": bytes(10**7)})
    assert path.stat().st_size < 20_000
    asked = watched(monkeypatch)
    with pytest.raises(DataError, match=r"x\.zip, bomb\.png is larger than 1,000 bytes"):
        open_files(path).read("bomb.png")
    assert asked == [1001]


@pytest.mark.parametrize("claimed", [1, 500, 999])
def test_a_bomb_that_hides_its_size_is_damaged(claimed, tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 1000)
    path = pack(tmp_path / "x.zip", {"bomb.png": bytes(10**7)})
    files = open_files(patched(path, b"bomb.png", ("<I", SIZE, claimed)))
    assert files.stamps["bomb.png"][0] == claimed
    asked = watched(monkeypatch)
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        files.read("bomb.png")
    assert asked == [1001]


def test_a_member_that_claims_too_large_a_size_is_read_as_it_is(tmp_path):
    path = patched(pack(tmp_path / "x.zip"), b"a/b/2.JPG", ("<I", SIZE, 2**31))
    assert open_files(path).read("a/b/2.JPG") == TREE["a/b/2.JPG"]


def test_a_checksum_that_is_wrong_is_damage_to_one_file(tmp_path):
    path = pack(tmp_path / "x.zip", kind=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"two two", b"two tvo"))
    files = open_files(path)
    with pytest.raises(zipfile.BadZipFile, match=r"Bad CRC-32 .*2\.JPG"):
        files.read("a/b/2.JPG")
    assert files.read("a/1.png") == b"one"


NOISE = np.random.default_rng(0).bytes(300)
KINDS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_in_a_zip_is_told_in_two_ways_only(kind, tmp_path):
    whole = pack(tmp_path / "x.zip", {"a/1.png": NOISE, "a/2.png": NOISE * 3}, kind).read_bytes()
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        (tmp_path / "x.zip").write_bytes(broken)
        try:
            files = open_files(tmp_path / "x.zip")
        except DataError:
            outcomes.append("zip")
            continue
        for path in files.stamps:
            try:
                files.read(path)
                outcomes.append("read")
            except zipfile.BadZipFile as error:
                assert str(error)
                outcomes.append("file")
    assert set(outcomes) == {"zip", "read", "file"}
    assert outcomes.count("file") > 60


def test_a_kind_of_compression_that_is_not_known_is_damage(tmp_path):
    path = patched(pack(tmp_path / "x.zip"), b"a/1.png", ("<H", METHOD, 9))
    with pytest.raises(zipfile.BadZipFile, match="not supported"):
        open_files(path).read("a/1.png")


def test_a_disk_that_fails_is_no_damage_to_the_zip(tmp_path, monkeypatch):
    files = open_files(pack(tmp_path / "x.zip"))

    def failing(self, size=-1):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(zipfile.ZipExtFile, "read", failing)
    with pytest.raises(DataError, match=r"^cannot read .*x\.zip: Input/output error$"):
        files.read("a/1.png")


def test_a_folder_that_fails_while_it_is_listed_is_named(tmp_path, monkeypatch):
    root, scandir = plant(tmp_path / "x"), os.scandir

    def failing(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(DataError, match=f"^cannot read {root}/a/b: Permission denied$"):
        open_files(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["a/b", "a/b/2.JPG", ""])
def test_what_must_not_be_read_is_named(name, tmp_path):
    root = plant(tmp_path / "x")
    closed = root / name
    closed.chmod(0)
    try:
        with pytest.raises(DataError, match=f"^cannot read {closed}: Permission denied$"):
            open_files(root).read("a/b/2.JPG")
    finally:
        closed.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_zip_that_must_not_be_read_is_named(tmp_path):
    path = pack(tmp_path / "x.zip")
    path.chmod(0)
    with pytest.raises(DataError, match=f"^cannot read {path}: Permission denied$"):
        open_files(path)


def test_a_text_is_utf_8_with_or_without_a_mark_and_nothing_else(tmp_path):
    texts = {"plain": "é\n".encode(), "marked": "é\n".encode("utf-8-sig")}
    files = open_files(plant(tmp_path / "x", texts | {"old": b"e\n\xe9\n"}))
    assert {name: text_of(files, name) for name in texts} == {"plain": "é\n", "marked": "é\n"}
    assert {text_at(tmp_path / "x" / name) for name in texts} == {"é\n"}
    with pytest.raises(DataError, match="old, line 2: not UTF-8 text"):
        text_of(files, "old")


def test_a_text_that_is_a_web_page_or_damaged_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {"l.txt": b" <html>", "m.txt": b"rows"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"rows", b"row5"))
    with pytest.raises(DataError, match=r"x\.zip, l\.txt is a web page"):
        text_of(open_files(path), "l.txt")
    with pytest.raises(DataError, match=r"x\.zip, m\.txt is damaged: Bad CRC-32"):
        text_of(open_files(path), "m.txt")
    with pytest.raises(DataError, match=f"^cannot read {tmp_path}/gone: No such file"):
        text_at(tmp_path / "gone")


def test_the_checksum_of_a_zip_is_that_of_its_files(tmp_path):
    stamps = open_files(pack(tmp_path / "x.zip")).stamps
    assert stamps == {path: (len(x), zlib.crc32(x)) for path, x in sorted(TREE.items())}


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\x1f\x8b\x08", "a .gz file"), (b"7z\xbc\xaf\x27\x1c", "a .7z file"), (b"Rar!", "a .rar")],
)
def test_other_archives_are_named(start, kind, tmp_path):
    (tmp_path / "x").write_bytes(start + bytes(200))
    with pytest.raises(DataError, match=f"x is {re.escape(kind)}.*: unpack it"):
        open_files(tmp_path / "x")


def test_a_zip_with_the_other_slash_holds_the_same_paths(tmp_path):
    path = pack(tmp_path / "x.zip", {"train\\cat\\1.png": b"one", "train\\2.png": b"two"})
    files = open_files(path)
    assert contents(files) == {"train/cat/1.png": b"one", "train/2.png": b"two"}
    pack(tmp_path / "y.zip", {"a\\..\\..\\1.png": b"one"})
    with pytest.raises(DataError, match="a path that leads out of it"):
        open_files(tmp_path / "y.zip")
