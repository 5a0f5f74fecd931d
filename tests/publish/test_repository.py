import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from google.protobuf import text_format
from kvae_testing import metadata
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kvae import files
from kvae.errors import DataError, UsageError
from kvae.publish import repository
from kvae.publish.repository import prune, roll_back, update_models_config
from kvae.serving import versions


def _version(save, name, number):
    path = save / name / str(number)
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").write_text(f"{name} {number}")
    (path / versions.METADATA).write_text(json.dumps(metadata(published=f"{name} {number}")))
    return versions.Version(path, name, number)


def _config(save):
    text = (save / "models.config").read_text()
    return text_format.Parse(text, ModelServerConfig()).model_config_list.config


def _write(save, text):
    (save / "models.config").write_text(f"model_config_list {{ {text} }}")


def test_models_config_names_what_is_published(tmp_path):
    _version(tmp_path, "b", 1)
    _version(tmp_path, "a", 4)
    (tmp_path / "begun" / "training").mkdir(parents=True)
    update_models_config(tmp_path)
    assert [(one.name, one.base_path, one.model_platform) for one in _config(tmp_path)] == [
        ("a", "/models/a", "tensorflow"), ("b", "/models/b", "tensorflow"),
    ]  # fmt: skip


def test_models_config_keeps_what_the_user_wrote(tmp_path):
    _version(tmp_path, "a", 1)
    _write(
        tmp_path,
        'config { name: "a" base_path: "/srv/a/" model_version_policy { specific { versions: 1 } } '
        'version_labels { key: "stable" value: 1 } } '
        'config { name: "other" base_path: "/elsewhere/other" } '
        'config { name: "gone" base_path: "/srv/gone" }',
    )
    _version(tmp_path, "b", 1)
    update_models_config(tmp_path)
    first, second, third = _config(tmp_path)
    assert (first.base_path, second.base_path, third.name) == ("/srv/a/", "/srv/b", "other")
    assert list(first.model_version_policy.specific.versions) == [1]
    assert dict(first.version_labels) == {"stable": 1}
    update_models_config(tmp_path, "gs://bucket/models/")
    assert [one.base_path for one in _config(tmp_path)] == [
        "gs://bucket/models/a", "gs://bucket/models/b", "/elsewhere/other",
    ]  # fmt: skip


def test_models_config_is_left_alone_where_it_is_right(tmp_path):
    _version(tmp_path, "a", 1)
    path = update_models_config(tmp_path)
    before = path.stat()
    update_models_config(tmp_path)
    assert path.stat().st_ino == before.st_ino


def test_a_models_config_that_is_none_is_said_and_kept(tmp_path):
    _version(tmp_path, "a", 1)
    (tmp_path / "models.config").write_text("model_config_list: [")
    with pytest.raises(DataError, match="no configuration of TF Serving"):
        update_models_config(tmp_path)
    assert (tmp_path / "models.config").read_text() == "model_config_list: ["
    with pytest.raises(UsageError, match="absolute"):
        update_models_config(tmp_path, "models")


def test_models_config_is_never_half_written(tmp_path):
    """Many publishers of models of their own, and a server that polls."""
    names = [f"m{i}" for i in range(8)]
    (tmp_path / "models.config").write_text("")
    stop, faults = threading.Event(), []

    def poll():
        while not stop.is_set():
            try:
                _config(tmp_path)
            except Exception as error:
                faults.append(error)

    def publisher(name):
        for number in range(1, 6):
            _version(tmp_path, name, number)
            update_models_config(tmp_path)

    poller = threading.Thread(target=poll)
    publishers = [threading.Thread(target=publisher, args=(name,)) for name in names]
    for thread in (poller, *publishers):
        thread.start()
    for thread in publishers:
        thread.join()
    stop.set()
    poller.join()
    assert faults == []
    assert [one.name for one in _config(tmp_path)] == names


def test_pruning_keeps_the_newest_and_what_is_pinned(tmp_path):
    for number in range(1, 8):
        _version(tmp_path, "a", number)
    _write(
        tmp_path,
        'config { name: "a" base_path: "/models/a" '
        "model_version_policy { specific { versions: 2 } } "
        'version_labels { key: "canary" value: 4 } }',
    )
    removed = prune(tmp_path / "a", keep=2)
    assert [version.number for version in removed] == [1, 3, 5]
    assert [version.number for version in versions.versions(tmp_path / "a")] == [2, 4, 6, 7]
    assert not list((tmp_path / "a").glob(".*"))
    assert versions.next_number(tmp_path / "a") == 8


def test_pruning_by_halves_is_ended_later(tmp_path, monkeypatch):
    for number in (1, 2):
        _version(tmp_path, "a", number)
    with monkeypatch.context() as patch:
        patch.setattr(repository.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(UsageError, match="cannot be removed"):
            prune(tmp_path / "a", keep=1)
    assert [version.number for version in versions.versions(tmp_path / "a")] == [2]
    assert list((tmp_path / "a").glob(".pruned-*"))
    prune(tmp_path / "a", keep=1)
    assert not list((tmp_path / "a").glob(".pruned-*"))


def test_pruning_keeps_what_is_served_under_another_name(tmp_path):
    for number in (1, 2, 3):
        _version(tmp_path, "a", number)
    _write(
        tmp_path,
        'config { name: "a-stable" base_path: "/models/a/" '
        "model_version_policy { specific { versions: 1 } } }",
    )
    assert [version.number for version in prune(tmp_path / "a", keep=1)] == [2]


def test_a_folder_that_may_not_be_looked_into_does_not_matter(tmp_path, monkeypatch):
    _version(tmp_path, "a", 1)
    (tmp_path / "lost+found").mkdir()
    look = Path.iterdir

    def refuse(path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    update_models_config(tmp_path)
    assert [one.name for one in _config(tmp_path)] == ["a"]
    assert versions.find_version(tmp_path).name == "a"
    with pytest.raises(UsageError, match=r"cannot read .*lost\+found"):
        versions.versions(tmp_path / "lost+found")
    # What is served from there is not taken away.
    entry = 'config { name: "lost+found" base_path: "/models/lost+found" }'
    _write(tmp_path, f'config {{ name: "a" base_path: "/models/a" }} {entry}')
    update_models_config(tmp_path)
    assert [one.name for one in _config(tmp_path)] == ["a", "lost+found"]


def test_a_publication_that_cannot_be_numbered_is_none(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    with repository.workshop(tmp_path / "a") as folder, monkeypatch.context() as patch:
        (folder / "m").mkdir()
        patch.setattr(files, "replace_text", full)
        with pytest.raises(UsageError, match=r"cannot publish in .*No space left"):
            repository.claim(folder / "m", tmp_path / "a")
    assert versions.next_number(tmp_path / "a") == 1


def test_a_number_is_not_given_again_when_its_version_is_gone(tmp_path):
    def claimed():
        with repository.workshop(tmp_path / "a") as folder:
            (folder / "m" / "assets.extra").mkdir(parents=True)
            (folder / "m" / "saved_model.pb").write_text("")
            (folder / "m" / versions.METADATA).write_text("{}")
            return repository.claim(folder / "m", tmp_path / "a").number

    assert [claimed(), claimed()] == [1, 2]
    shutil.rmtree(tmp_path / "a" / "2")
    assert claimed() == 3
    # A file that says nothing is no reason to lose a model.
    (tmp_path / "a" / ".last_number").write_text("")
    assert claimed() == 4


def test_a_version_that_is_in_use_stays_and_is_named(tmp_path, monkeypatch):
    """Windows renames no folder that a server reads."""
    _version(tmp_path, "a", 1)
    _version(tmp_path, "a", 2)

    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match=r"cannot remove .*a/1: Permission denied"):
        prune(tmp_path / "a", keep=1)
    assert [version.number for version in versions.versions(tmp_path / "a")] == [1, 2]


def test_nothing_to_prune_is_said(tmp_path):
    with pytest.raises(UsageError, match="no published model"):
        prune(tmp_path / "a", keep=1)
    _version(tmp_path, "a", 1)
    with pytest.raises(UsageError, match="--keep"):
        prune(tmp_path / "a", keep=0)
    assert prune(tmp_path / "a", keep=1) == []


def test_rolling_back_publishes_the_old_version_as_the_newest(tmp_path):
    old, newest = _version(tmp_path, "a", 1), _version(tmp_path, "a", 2)
    back = roll_back(old)
    assert back.number == 3
    assert (back.path / "saved_model.pb").read_text() == "a 1"
    then = metadata(published="a 1")
    assert versions.read_metadata(back) == {**then, "rolled_back_to": 1}
    assert versions.read_metadata(old) == then
    assert versions.find_version(tmp_path / "a") == back
    assert versions.find_version(newest.path) == newest
    with pytest.raises(UsageError, match="newest version of a already"):
        roll_back(back)


def test_what_a_killed_publisher_left_goes_after_a_day(tmp_path, monkeypatch):
    left = tmp_path / "a" / ".publish-old"
    left.mkdir(parents=True)
    with repository.workshop(tmp_path / "a"):
        assert left.is_dir()
    monkeypatch.setattr(files, "LEFT_SECONDS", -1.0)
    with repository.workshop(tmp_path / "a"):
        assert not left.exists()


def test_pruning_a_linked_version_leaves_what_it_leads_to(tmp_path):
    elsewhere = _version(tmp_path / "else", "b", 9)
    _version(tmp_path, "a", 2)
    link = tmp_path / "a" / "1"
    link.symlink_to(elsewhere.path, target_is_directory=True)
    assert [version.path for version in prune(tmp_path / "a", keep=1)] == [link]
    assert not link.is_symlink()
    assert not list((tmp_path / "a").glob(".*"))
    assert (elsewhere.path / "saved_model.pb").read_text() == "b 9"


def _links(folder, **targets):
    folder.mkdir(exist_ok=True)
    for name, target in targets.items():
        (folder / name.strip("_")).symlink_to(target, target_is_directory=True)


@pytest.mark.parametrize(
    ("links", "removed"),
    [
        ({"a": {"_4": "1"}}, [2, 3]),  # the version that is kept
        ({"a": {"_4": "../a/1"}}, [2, 3]),
        ({"a": {"_4": "../b/7"}, "b": {"_7": "../a/2"}}, [1, 3]),  # over another model
        ({"other": {"_1": "../a/3"}}, [1, 2]),  # another model's
        ({"other": {"_1": "../alias/2"}, "": {"alias": "a"}}, [1, 3]),
        ({"a": {"latest": "2"}}, [1, 3]),  # a name of the user's
        ({"": {"alias": "a"}}, [1, 2, 3]),  # the same model once more
        ({"other": {"_1": "1", "_2": "gone", "_3": "../a/4"}}, [1, 2, 3]),  # a loop, and nothing
    ],
)
def test_pruning_leaves_what_links_lead_to_that_stay(tmp_path, links, removed):
    for number in (1, 2, 3) if "_4" in links.get("a", {}) else (1, 2, 3, 4):
        _version(tmp_path, "a", number)
    for name, targets in links.items():
        _links(tmp_path / name, **targets)
    assert [version.number for version in prune(tmp_path / "a", keep=1)] == removed
    left = versions.versions(tmp_path / "a")
    assert {version.number for version in left} == {1, 2, 3, 4} - set(removed)


def test_a_link_that_goes_keeps_nothing(tmp_path):
    for number in (1, 3):
        _version(tmp_path, "a", number)
    _links(tmp_path / "a", _2="1")
    assert [version.number for version in prune(tmp_path / "a", keep=1)] == [1, 2]


def test_a_link_over_an_old_link_keeps_both(tmp_path):
    for number in (1, 2):
        _version(tmp_path, "a", number)
    _links(tmp_path / "a", _3="1", _4="3")
    assert [version.number for version in prune(tmp_path / "a", keep=1)] == [2]


def test_versions_that_are_links_to_nothing_are_damaged(tmp_path):
    _version(tmp_path, "a", 1)
    _links(tmp_path / "a", _2="gone", _3="3")
    found = [(one.number, fault) for one, fault in versions.numbered(tmp_path / "a")]
    assert found == [(1, ""), (2, "its link leads to nothing"), (3, "its link leads to nothing")]
    assert [version.number for version in versions.versions(tmp_path / "a")] == [1]


def test_a_linked_models_config_stays_a_link(tmp_path):
    _version(tmp_path, "a", 1)
    real = tmp_path / "etc" / "served.config"
    real.parent.mkdir()
    real.write_text("")
    (tmp_path / "models.config").symlink_to(real)
    update_models_config(tmp_path)
    assert (tmp_path / "models.config").is_symlink()
    assert '"/models/a"' in real.read_text()
    assert [path.name for path in real.parent.iterdir()] == ["served.config"]


def _a_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_a_folder, "cannot be read: Is a directory"),
        (lambda path: path.symlink_to(path.parent / "gone"), "cannot be read: No such file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
        (lambda path: path.write_bytes(bytes(range(256))), "no configuration of TF Serving"),
        (lambda path: path.write_text("max_batch_size { value: 3 }"), "no configuration"),
    ],
)
def test_a_models_config_that_cannot_be_read_keeps_versions_from_going(tmp_path, make, said):
    """Something may be pinned there."""
    _version(tmp_path, "a", 1)
    _version(tmp_path, "a", 2)
    make(tmp_path / "models.config")
    for work in (lambda: prune(tmp_path / "a", keep=1), lambda: update_models_config(tmp_path)):
        with pytest.raises(DataError, match=said):
            work()
    assert len(versions.versions(tmp_path / "a")) == 2


def _claim(model):
    with repository.workshop(model) as folder:
        (folder / "m" / "assets.extra").mkdir(parents=True)
        (folder / "m" / "saved_model.pb").write_text("")
        (folder / "m" / versions.METADATA).write_text("{}")
        return repository.claim(folder / "m", model).number


@pytest.mark.parametrize(
    "content", [b"abc", b"-7", "²".encode(), b"9" * 30, b"9" * 5000, b"\xff\xfe", b"007", b"1e3"]
)
def test_a_strange_last_number_costs_no_model(tmp_path, content, capsys):
    _version(tmp_path, "a", 5)
    (tmp_path / "a" / ".last_number").write_bytes(content)
    assert _claim(tmp_path / "a") == 6
    assert "no version's number" in capsys.readouterr().err
    assert (tmp_path / "a" / ".last_number").read_text() == "6"


def test_a_last_number_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "a" / ".last_number").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cannot publish in .*\(\.last_number\)"):
        _claim(tmp_path / "a")


def test_there_is_no_number_after_the_last_one_that_servers_read(tmp_path):
    (tmp_path / "a" / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(UsageError, match="highest number that a server reads"):
        _claim(tmp_path / "a")


def test_what_killed_writers_left_beside_a_file_goes_after_a_day(tmp_path, monkeypatch):
    left = [tmp_path / "a" / "..last_number.4711", tmp_path / ".models.config.4711"]
    (tmp_path / "a").mkdir()
    kept = tmp_path / ".models.config.lock"
    for path in (*left, kept):
        path.write_text("")
    _claim(tmp_path / "a")
    update_models_config(tmp_path)
    assert all(path.exists() for path in left)
    monkeypatch.setattr(files, "LEFT_SECONDS", -1.0)
    _claim(tmp_path / "a")
    (tmp_path / "models.config").unlink()
    update_models_config(tmp_path)
    assert [path.exists() for path in (*left, kept)] == [False, False, True]


def test_a_rollback_is_what_was_published_last(tmp_path):
    for name, time in (("a", 10), ("b", 20)):
        os.utime(_version(tmp_path, name, 1).path, (time, time))
    os.utime(_version(tmp_path, "a", 2).path, (15, 15))
    assert versions.find_version(tmp_path).name == "b"
    assert roll_back(versions.find_version(tmp_path / "a" / "1")).number == 3
    assert versions.find_version(tmp_path) == (tmp_path / "a" / "3", "a", 3)
