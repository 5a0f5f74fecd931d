import os

import pytest

from kvae.errors import UsageError
from kvae.serving import versions


def _version(root, name, number, time=0):
    path = root / name / str(number)
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    (path / versions.METADATA).write_text("{}")
    os.utime(path / versions.METADATA, (time, time))
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
    with pytest.raises(UsageError, match="no published model"):
        versions.find_version(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UsageError, match="did not publish"):
        versions.find_version(tmp_path)
