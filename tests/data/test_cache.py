import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kvae.data.cache import cached_array, default_cache_dir
from kvae.errors import DataError

SHAPE = (10, 4, 3)
ONE = [".npy"]
CONTENT = np.arange(120, dtype=np.uint8).reshape(SHAPE)

KILLED_WHILE_BUILDING = """
import os, signal, sys
import numpy as np
from kvae.data.cache import cached_array

def batches(left_out):
    yield np.zeros((6, 4, 3), np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)

cached_array(sys.argv[1], {"name": "ten"}, (10, 4, 3), batches, describe="ten")
"""

BUILDING = """
import sys
import numpy as np
from kvae.data.cache import cached_array

def batches(left_out):
    for start in range(0, 3000, 100):
        rows = np.arange(start, start + 100) % 251
        yield np.repeat(rows, 1000).astype(np.uint8).reshape(100, 1000)

print("ready", flush=True)
cached_array(sys.argv[1], {"name": "ten"}, (3000, 1000), batches, describe="ten")
"""


def _batches(content=CONTENT, size=4):
    return [content[start : start + size] for start in range(0, len(content), size)]


def _cached(folder, batches=_batches, key=None, shape=SHAPE):
    """The array, of batches that leave nothing out."""
    found = _found(folder, lambda left_out: batches(), key, shape)
    assert found.left_out == {}
    return found.array


def _found(folder, batches, key=None, shape=SHAPE, **options):
    return cached_array(
        str(folder), key or {"name": "ten"}, shape, batches, describe="ten", **options
    )


def _files(folder):
    return sorted("".join(path.suffixes) for path in folder.iterdir())


def _forbidden():
    raise AssertionError("built twice")


def test_an_array_is_built_once_and_is_read_only(tmp_path):
    first = _cached(tmp_path)
    second = _cached(tmp_path, _forbidden)
    assert isinstance(second, np.memmap)
    np.testing.assert_array_equal(first, CONTENT)
    np.testing.assert_array_equal(second, CONTENT)
    with pytest.raises(ValueError, match="read-only"):
        second[0] = 1
    assert _files(tmp_path) == ONE


def test_another_key_or_shape_is_another_file(tmp_path):
    _cached(tmp_path)
    other = _cached(tmp_path, lambda: _batches(CONTENT + 1), key={"name": "ten", "crop": "b"})
    np.testing.assert_array_equal(other, CONTENT + 1)
    _cached(tmp_path, lambda: _batches(CONTENT[:7]), shape=(7, 4, 3))
    assert _files(tmp_path) == 3 * ONE
    np.testing.assert_array_equal(_cached(tmp_path, _forbidden), CONTENT)


def test_the_order_of_the_key_does_not_matter(tmp_path):
    _cached(tmp_path, key={"name": "ten", "a": 1, "b": 2})
    _cached(tmp_path, _forbidden, key={"b": 2, "a": 1, "name": "ten"})


@pytest.mark.parametrize("damage", ["truncated", "longer", "empty", "header", "shape", "type"])
def test_a_damaged_file_is_noticed_and_rebuilt(tmp_path, damage):
    _cached(tmp_path)
    (path,) = tmp_path.glob("*.npy")
    good = path.read_bytes()
    if damage == "shape":
        np.save(path, CONTENT.reshape(10, 3, 4))
    elif damage == "type":
        np.save(path, CONTENT.astype(np.int8))
    else:
        path.write_bytes(
            {
                "truncated": good[:-1],
                "longer": good + b"x",
                "empty": b"",
                "header": b"x" + good[1:],
            }[damage]
        )
    np.testing.assert_array_equal(_cached(tmp_path), CONTENT)
    assert path.read_bytes() == good


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_while_building_leaves_nothing(tmp_path, error):
    def broken():
        yield CONTENT[:4]
        raise error

    with pytest.raises(error):
        _cached(tmp_path, broken)
    assert list(tmp_path.iterdir()) == []


def _all_but(*missing):
    def batches(left_out):
        for start in (0, 4, 8):
            rows = [row for row in range(start, min(start + 4, 10)) if row not in missing]
            left_out.update({row: f"why {row}" for row in missing if start <= row < start + 4})
            yield CONTENT[rows]

    return batches


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("missing", [(), (3,), (0, 9), (4, 5, 6, 7)])
def test_rows_that_are_left_out_are_known_with_their_reasons(tmp_path, missing, use_cache):
    for batches in (_all_but(*missing), None if use_cache else _all_but(*missing)):
        found = _found(tmp_path, batches, use_cache=use_cache)
        np.testing.assert_array_equal(found.array, np.delete(CONTENT, missing, axis=0))
        assert found.left_out == {row: f"why {row}" for row in missing}
    assert _files(tmp_path) == (ONE if use_cache else [])


@pytest.mark.parametrize(
    "listed", [b"", b"[]", b"{", b'{"3": "why", "4": "why"}', b'{"x": "why"}', b"{}", b"{}{}"]
)
def test_a_list_that_does_not_fit_its_array_is_noticed(tmp_path, listed):
    _found(tmp_path, _all_but(3))
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    assert good.endswith(b'{"3": "why 3"}')
    path.write_bytes(good.removesuffix(b'{"3": "why 3"}') + listed)
    assert _found(tmp_path, _all_but(3)).left_out == {3: "why 3"}
    assert path.read_bytes() == good


def test_any_byte_of_the_header_may_be_damaged(tmp_path):
    _cached(tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(128, 60, replace=False):
        damaged = bytearray(good)
        damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        np.testing.assert_array_equal(_cached(tmp_path), CONTENT)


def test_a_killed_build_leaves_no_wrong_cache(tmp_path):
    command = [sys.executable, "-c", KILLED_WHILE_BUILDING, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    np.testing.assert_array_equal(_cached(tmp_path), CONTENT)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_no_wrong_cache(tmp_path):
    rng = np.random.default_rng(0)
    wanted = np.repeat(np.arange(3000) % 251, 1000).astype(np.uint8).reshape(3000, 1000)
    found = 0
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", BUILDING, str(tmp_path)], stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.03))
            child.kill()
        for file in tmp_path.glob("ten-*.npy"):
            np.testing.assert_array_equal(np.load(file), wanted)
            found += 1
            file.unlink()
    # Whether a kill comes before or after the end is chance; what a reader finds is not.
    result = cached_array(
        str(tmp_path), {"name": "ten"}, wanted.shape, lambda _: [wanted], describe="ten"
    )
    np.testing.assert_array_equal(result.array, wanted)


def test_what_killed_builds_left_is_removed_a_day_later(tmp_path):
    old, young = (tmp_path / f".ten-1.npy.{letter * 32}.tmp" for letter in "ab")
    other = tmp_path / ".of-somebody-else.npy.1.tmp"
    for file in (old, young, other):
        file.write_bytes(b"")
    for file in (old, other):
        os.utime(file, (0, 0))
    _cached(tmp_path)
    assert not old.exists()
    assert young.exists()
    assert other.exists()


def _build_beside_another(folder, barrier, answers):
    def batches():
        barrier.wait(timeout=60)  # both are inside their builds
        yield from _batches()

    answers.put(np.array_equal(_cached(folder, batches), CONTENT))


def test_two_processes_at_once_are_both_right(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_build_beside_another, args=(tmp_path, barrier, answers))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [True, True]
    for worker in workers:
        worker.join()
    assert _files(tmp_path) == ONE


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: _batches(CONTENT[:9]), "10 rows wanted, got 9"),
        (lambda: [*_batches(), CONTENT[:1]], "10 rows wanted, got 11"),
        (list, "10 rows wanted, got 0"),
        (lambda: _batches(CONTENT.astype(np.float32)), "got float32"),
        (lambda: _batches(CONTENT.reshape(10, 3, 4)), r"got uint8 \(3, 4\)"),
    ],
)
def test_wrong_rows_are_refused_and_leave_nothing(tmp_path, batches, message):
    with pytest.raises(DataError, match=message):
        _cached(tmp_path, batches)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(DataError, match=rf"{file}/sub.*--cache-dir"):
        _cached(file / "sub")


def test_a_full_disk_is_a_data_error_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # the 128-byte header fits, not all rows
    try:
        with pytest.raises(DataError, match=rf"{tmp_path}: File too large.*--cache-dir"):
            _cached(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_is_not_blamed_on_the_cache(tmp_path):
    def unreadable():
        raise OSError("the source is unreadable")

    with pytest.raises(OSError, match="the source is unreadable"):
        _cached(tmp_path, unreadable)


def test_a_file_that_another_process_built_and_maps_is_taken(tmp_path, monkeypatch):
    """Windows replaces no file that is mapped."""

    def refuse(partial, path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(DataError, match=r"cannot write the cache folder .*Permission denied"):
            _cached(tmp_path)
    assert _files(tmp_path) == []
    found = _cached(tmp_path)

    def sooner(partial, path):
        shutil.copyfile(partial, path)
        refuse(partial, path)

    monkeypatch.setattr(Path, "replace", sooner)
    other = tmp_path / "other"
    np.testing.assert_array_equal(_cached(other), found)
    assert _files(other) == ONE


def test_the_default_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KVAE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_dir() == tmp_path / ".cache" / "kvae"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "kvae"
    monkeypatch.setenv("KVAE_CACHE_DIR", str(tmp_path / "chosen"))
    cached_array(None, {"name": "ten"}, SHAPE, lambda _: _batches(), describe="ten")
    assert _files(tmp_path / "chosen") == ONE
