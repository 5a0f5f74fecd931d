import os
from pathlib import Path

import pytest

from kvae.errors import DataError, UsageError
from kvae.serving import versions


def _version(root, name, number, time=0):
    path = root / name / str(number)
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    (path / versions.METADATA).write_text("{}")
    os.utime(path, (time, time))
    return path


def test_the_three_ways_to_name_a_version(tmp_path):
    _version(tmp_path, "a", 1, time=50)
    _version(tmp_path, "a", 2, time=10)
    last = _version(tmp_path, "a", 10, time=20)
    newest = _version(tmp_path, "b", 1, time=99)
    assert versions.find_version(tmp_path).path == newest
    assert versions.find_version(tmp_path / "a").path == last
    found = versions.find_version(tmp_path / "a" / "2")
    assert (found.name, found.number) == ("a", 2)
    assert found.evaluation == tmp_path / "a" / "evaluation" / "2"


def test_folders_that_are_no_versions_are_passed_over(tmp_path):
    _version(tmp_path, "a", 3)
    for name in ("007", "-1", "evaluation", "training", ".publish-x", "9"):
        (tmp_path / "a" / name).mkdir()
    assert [version.number for version in versions.versions(tmp_path / "a")] == [3]


def test_somebody_elses_model_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "other" / "1").mkdir(parents=True)
    (tmp_path / "other" / "1" / "saved_model.pb").write_bytes(b"")
    path = _version(tmp_path, "a", 1)
    assert versions.find_version(tmp_path).path == path


def test_a_number_is_never_given_twice(tmp_path):
    assert versions.next_number(tmp_path / "a") == 1
    _version(tmp_path, "a", 1)
    (tmp_path / "a" / "evaluation" / "4").mkdir(parents=True)
    assert versions.next_number(tmp_path / "a") == 5


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        versions.find_version(tmp_path / "none")
    for number in range(4, 12):
        _version(tmp_path, "a", number)
    with pytest.raises(UsageError, match=r"versions there: 7, 8, 9, 10, 11$"):
        versions.find_version(tmp_path / "a" / "3")
    tmp_path = tmp_path / "empty"
    tmp_path.mkdir()
    with pytest.raises(UsageError, match="no published model"):
        versions.find_version(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UsageError, match="did not publish"):
        versions.find_version(tmp_path)


def test_within_a_name_the_newest_is_the_highest_number_whatever_its_date(tmp_path):
    _version(tmp_path, "a", 1, time=99)
    _version(tmp_path, "a", 2, time=1)
    _version(tmp_path, "b", 7, time=50)
    assert versions.find_version(tmp_path / "a").number == 2
    # Of other names the date of their newest version counts, not that of any.
    assert versions.find_version(tmp_path).name == "b"
    os.utime(tmp_path / "b" / "7" / versions.METADATA, (0, 0))
    assert versions.find_version(tmp_path).name == "b"


@pytest.mark.parametrize("name", ["007", "٣", "²", "1e3", "-1", "+1", "1_0", "9" * 20, "9" * 200])
def test_names_that_only_look_like_numbers_are_none(tmp_path, name):
    _version(tmp_path, "a", 3)
    _version(tmp_path, "a", name)
    assert [version.number for version in versions.versions(tmp_path / "a")] == [3]
    assert versions.next_number(tmp_path / "a") == 4


def test_a_linked_version_is_what_the_link_is_called(tmp_path):
    elsewhere = _version(tmp_path / "else", "b", 9)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2").symlink_to(elsewhere, target_is_directory=True)
    for path in (tmp_path / "a", tmp_path / "a" / "2"):
        assert versions.find_version(path) == (tmp_path / "a" / "2", "a", 2)


def test_a_version_that_may_not_be_looked_into_does_not_hide_others(tmp_path, monkeypatch):
    closed, _ = _version(tmp_path, "a", 1), _version(tmp_path, "a", 2)
    look = Path.is_file

    def refuse(path):
        if path.is_relative_to(closed):
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert versions.find_version(tmp_path / "a").number == 2
    (first, why), (_, nothing) = versions.numbered(tmp_path / "a")
    assert (first.path, why, nothing) == (closed, "cannot be read: Permission denied", "")
    with pytest.raises(DataError, match="no whole version: cannot be read"):
        versions.find_version(closed)


def test_an_older_version_is_no_answer_where_the_newest_is_damaged(tmp_path):
    _version(tmp_path, "a", 1)
    newest = _version(tmp_path, "a", 2)
    (newest / versions.METADATA).unlink()
    with pytest.raises(DataError, match=r"a/2 is no whole version: .*kvae\.json is missing"):
        versions.find_version(tmp_path / "a")
    assert versions.find_version(tmp_path / "a" / "1").number == 1
