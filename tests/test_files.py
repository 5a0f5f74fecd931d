"""Locks between processes, and names of folders."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from kvae import files
from kvae.errors import UsageError

ROOT = Path(__file__).parents[1]
HOLD = """
import sys
from pathlib import Path
from kvae import files
with files.alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held(lock):
    """Another process has the lock."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def _free(lock):
    try:
        with files.alone(lock, "somebody is here"):
            return True
    except UsageError as error:
        assert str(error) == "somebody is here"
        return False


def test_a_path_is_looked_at_or_a_sentence_says_why_not(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    kinds = {"file": (True, False, True), "": (False, True, True), "none": (False, False, False),
             "lost": (False, False, False), "file/x": (False, False, False),
             "\0": (False, False, False)}  # fmt: skip
    for name, kind in kinds.items():
        path = str(tmp_path / name)
        assert (files.is_file(path), files.is_folder(path), files.exists(path)) == kind
    for name in ("a" * 300, "round"):
        for look in (files.is_file, files.is_folder, files.exists):
            with pytest.raises(UsageError, match=r"cannot look at .*: "):
                look(tmp_path / name)


def test_a_folder_of_nobody_is_an_error():
    assert files.user_path("~/a") == Path.home() / "a"
    with pytest.raises(UsageError, match="no such user's folder: '~nobody-here/a'"):
        files.user_path("~nobody-here/a")


def test_several_files_are_written_or_none(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"old")
    files.replace_all({one: b"new", other: b"2"})
    assert (one.read_bytes(), other.read_bytes()) == (b"new", b"2")
    with pytest.raises(OSError, match="No such file"):
        files.replace_all({one: b"newer", tmp_path / "gone" / "x": b"3"})
    assert one.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_one_process_at_a_time_has_a_lock_and_a_killed_one_has_it_no_more(tmp_path):
    lock = tmp_path / ".lock"
    with _held(lock) as process:
        assert not _free(lock)
        process.kill()
        process.wait()
        assert _free(lock)
    assert lock.is_file()


def test_who_waits_gets_the_lock_when_the_other_process_is_done(tmp_path):
    lock, entered = tmp_path / ".lock", threading.Event()

    def wait():
        with files.alone(lock):
            entered.set()

    with _held(lock) as process:
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert not entered.wait(0.3)
        process.stdin.close()
        assert entered.wait(20.0)
        thread.join()


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), files.alone(tmp_path / ".lock", "busy"):
        raise ZeroDivisionError
    assert _free(tmp_path / ".lock")


@contextmanager
def _nobody():
    """A folder as a user without rights sees it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    user = os.geteuid()
    try:
        yield folder, lambda: os.seteuid(65534) if user == 0 else None
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


def test_a_lock_that_may_not_be_written_locks_all_the_same():
    with _nobody() as (folder, become):
        lock = folder / ".lock"
        lock.touch(0o444)
        with _held(lock):
            become()
            assert not os.access(lock, os.W_OK, effective_ids=True)
            assert not _free(lock)
        assert _free(lock)


def test_where_no_lock_may_be_made_that_is_said():
    with _nobody() as (folder, become):
        folder.chmod(0o555)
        become()
        with pytest.raises(PermissionError, match="Permission denied"), files.alone(folder / "a"):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_goes_on_and_a_note_says_so(tmp_path, monkeypatch, capsys, number):
    def refuse(*_, **__):
        raise OSError(number, "no locks")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    assert _free(tmp_path / ".lock")
    assert f"note: {tmp_path} is on a file system without locks (no locks)" in (
        capsys.readouterr().err
    )


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(filelock, "lock_descriptor", fail)
    with pytest.raises(OSError, match="the disk is gone"), files.alone(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize(
    "name", ["gmm", "b c", "déjà", "console", "a.b", "-", "tfds-mnist-3.0.1", "x" * 255]
)
def test_folder_names(name):
    assert files.is_folder_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", ".a", "a.", "a ", "a/b", "a\\b", "C:", "a?", "a\nb", "con", "Nul.txt",
        "COM1", "a\x7f", "a\x9b", "\u202ea", "\u200b", "\udce9", "x" * 256, "é" * 128,
    ],
)  # fmt: skip
def test_names_that_some_system_does_not_take(name):
    assert not files.is_folder_name(name)


def test_a_file_written_anew_stays_the_link_that_it_is(tmp_path):
    target = tmp_path / "else" / "real"
    target.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    for text in ("first", "second"):  # of a target that is not there yet, and of one that is
        files.replace_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text


def test_a_file_written_anew_holds_these_bytes_and_what_the_killed_left_is_gone(tmp_path):
    path, old, young = (tmp_path / name for name in ("rows", ".rows.1", ".rows.2"))
    for left in (old, young):
        left.touch()
    os.utime(old, (0, 0))
    for content in (b"a\r\n", bytes(range(256))):
        files.replace_bytes(path, content)
        assert path.read_bytes() == content
        assert {left.name for left in tmp_path.iterdir()} == {"rows", ".rows.2"}
    files.replace_text(path, "\xe4\r\n")
    assert path.read_bytes() == b"\xc3\xa4\r\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "stands twice"),
        ("[" * 10**5 + "]" * 10**5, "nested too deep"),
        (b'"\xff"', "decode"),
        ("{", "Expecting"),
        ("NaN", "no finite number"),
        ("[-Infinity]", "no finite number"),
        ("1e400", "no finite number"),
        ("1" * 5000, "digits"),
    ],
)
def test_json_that_programs_read_in_two_ways_or_not_at_all_is_none(text, said):
    with pytest.raises(ValueError, match=said):
        files.strict_json(text, is_finite=True)


def test_json_of_numbers_that_are_not_finite_is_read_where_they_may_be():
    assert files.strict_json(b'{"a": [1, NaN, "\xc3\xa4"]}')["a"][2] == "ä"
