"""Hostile .keras and .weights.h5 files: one error each, before Keras makes room for them."""

import io
import json
import random
import threading
import zipfile
from concurrent import futures

import h5py
import keras
import numpy as np
import pytest
from kvae_testing import make_vae

import kvae
from kvae import keras_files
from kvae.errors import DataError, KvaeError
from kvae.training.init_from import read_weights

CONFIG, WEIGHTS = keras_files.CONFIG, keras_files.WEIGHTS


@pytest.fixture(scope="module")
def vae():
    return make_vae((2,))


@pytest.fixture(scope="module")
def whole(vae, tmp_path_factory):
    """The bytes of a file, and of its parts."""
    path = tmp_path_factory.mktemp("whole") / "m.keras"
    vae.save(path)
    with zipfile.ZipFile(path) as archive:
        return path.read_bytes(), {name: archive.read(name) for name in archive.namelist()}


def _archive(parts, packing=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def _arrays(file):
    found = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found


def _edited(content, change):
    """HDF5 in which the first array has made way for something else."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as opened:
        name = _arrays(opened)[0]
        del opened[name]
        change(opened, name)
    return file.getvalue()


def _never_written(file, name):
    file.create_dataset(name, shape=(40_000, 40_000), dtype="f4")


def _packed(file, name):
    file.create_dataset(name, data=np.zeros((100, 100), "f4"), compression="gzip")


def _large_chunks(file, name):
    file.create_dataset(name, shape=(1,), maxshape=(None,), chunks=(2**28,), dtype="f4")


def _virtual(file, name):
    layout = h5py.VirtualLayout(shape=(100,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", shape=(100,))
    file.create_virtual_dataset(name, layout)


def _external(file, name):
    file.create_dataset(name, shape=(100,), dtype="f4", external=[("other.bin", 0, 400)])


def _soft_link(file, name):
    file[name] = h5py.SoftLink("/vars/0")


def _external_link(file, name):
    file[name] = h5py.ExternalLink("other.h5", "/vars/0")


def _circle(file, name):
    file[name] = file["/"]


def _texts(file, name):
    file.create_dataset(name, data=["a" * 100], dtype=h5py.string_dtype())


HOSTILE = {
    _never_written: r"arrays are of 6,400,\d{3},\d{3} bytes", _packed: "is packed",
    _large_chunks: "arrays are of 1,073,", _virtual: "in another file",
    _external: "in another file", _soft_link: "a link to elsewhere",
    _external_link: "a link to elsewhere", _circle: "stands at two places",
    _texts: "no array of numbers",
}  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_arrays_that_are_not_in_the_file_are_refused(whole, vae, tmp_path, change):
    parts = {**whole[1], WEIGHTS: _edited(whole[1][WEIGHTS], change)}
    (tmp_path / "m.keras").write_bytes(_archive(parts))
    (tmp_path / "m.weights.h5").write_bytes(parts[WEIGHTS])
    with pytest.raises(DataError, match=HOSTILE[change]):
        kvae.load_model(tmp_path / "m.keras")
    with pytest.raises(DataError, match=HOSTILE[change]):
        read_weights(vae, tmp_path / "m.weights.h5")


def _larger_layers(content):
    config = json.loads(content)

    def enlarge(value):
        if isinstance(value, dict):
            if value.get("class_name") == "Dense":
                value["config"]["units"] = 60_000
            value = value.values()
        if not isinstance(value, str):
            for one in value if hasattr(value, "__iter__") else ():
                enlarge(one)

    enlarge(config)
    return json.dumps(config).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: {**parts, CONFIG: _larger_layers(parts[CONFIG])}, "more weights than the"),
        (lambda parts: {**parts, CONFIG: b"[" * 10**6}, "nested too deep"),
        (lambda parts: {**parts, CONFIG: b'{"a": 1, "a": 2}'}, "twice"),
        (lambda parts: {**parts, CONFIG: b"[]"}, "no object"),
        (lambda parts: {**parts, CONFIG: b"\xff"}, "is damaged"),
        (lambda parts: {**parts, "../a": b""}, "is called '../a'"),
        (lambda parts: {**parts, **{str(i): b"" for i in range(1001)}}, "it has 1004 parts"),
        (lambda parts: {CONFIG: parts[CONFIG]}, "it has no model.weights.h5"),
        (lambda parts: {WEIGHTS: parts[WEIGHTS]}, "it has no config.json"),
        (lambda parts: {**parts, WEIGHTS: b"rubbish"}, "is damaged"),
    ],
)
def test_archives_that_are_not_what_keras_writes_are_refused(whole, tmp_path, change, said):
    path = tmp_path / "m.keras"
    path.write_bytes(_archive(change(whole[1])))
    with pytest.raises(DataError, match=said):
        kvae.load_model(path)


def test_threads_load_beside_one_another_each_within_its_own_file(vae, whole, tmp_path):
    """Sixteen at once, every other of a file that declares more than it holds."""
    for name, content in (
        ("good", whole[0]),
        ("bad", _archive({**whole[1], CONFIG: _larger_layers(whole[1][CONFIG])})),
    ):
        (tmp_path / f"{name}.keras").write_bytes(content)
    kvae.load_model(tmp_path / "good.keras")
    make = keras.Variable.__init__
    entered, rooms = threading.Barrier(8), []

    def within(number):
        """What a thread is told of its own file while all are within theirs."""
        with keras_files.bounded_variables(tmp_path / f"{number}.keras", number):
            entered.wait(10)
            with pytest.raises(DataError, match=rf"/{number}.keras is .* {number} numbers"):
                keras.Variable("zeros", (2**21, 4))
            entered.wait(10)
        rooms.append(keras.Variable("zeros", (2**21,)).shape)

    def load(number):
        if number % 2:
            with pytest.raises(DataError, match="more weights than"):
                kvae.load_model(tmp_path / "bad.keras")
        else:
            kvae.load_model(tmp_path / "good.keras")

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(within, range(8)))
        list(pool.map(load, range(8)))
    assert rooms == [(2**21,)] * 8
    assert keras.Variable.__init__ is make


@pytest.mark.parametrize("place", ["h5py.File", "keras.saving.load_model"])
def test_too_little_memory_is_no_damage(whole, tmp_path, monkeypatch, place):
    (tmp_path / "m.keras").write_bytes(whole[0])
    monkeypatch.setattr(place, _full)
    with pytest.raises(MemoryError):
        kvae.load_model(tmp_path / "m.keras")


def _full(*_, **__):
    raise MemoryError


def test_what_unpacks_to_much_more_than_it_is_is_refused(whole, vae, tmp_path):
    path = tmp_path / "m.keras"
    spaces = {**whole[1], CONFIG: whole[1][CONFIG] + b" " * 10**7}
    path.write_bytes(_archive(spaces, zipfile.ZIP_DEFLATED))
    with pytest.raises(DataError, match="Keras packs nothing"):
        kvae.load_model(path)
    # What somebody packed anew is read.
    path.write_bytes(_archive(whole[1], zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(kvae.load_model(path).weights[0], vae.weights[0])


def _mutations(whole):
    """Cut, with other bits, and with other weights."""
    rng = random.Random(0)
    content, parts = whole
    for _ in range(4):
        yield content[: rng.randrange(len(content))]
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
        weights = bytearray(parts[WEIGHTS])
        for _ in range(20):
            weights[rng.randrange(10_000)] ^= 1 << rng.randrange(8)
        yield _archive({**parts, WEIGHTS: bytes(weights)})


def test_damaged_files_are_read_or_said(whole, tmp_path):
    path = tmp_path / "m.keras"
    refused = 0
    for content in _mutations(whole):
        path.write_bytes(content)
        try:
            kvae.load_model(path)
        except KvaeError as error:
            refused += str(path) in str(error)
    assert refused >= 8
