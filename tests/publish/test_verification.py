import json
import re
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import few_signatures, make_vae, metadata
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from kvae import publish
from kvae.client import Client
from kvae.errors import DataError
from kvae.publish import repository
from kvae.publish.verification import verify
from kvae.publish.warmup import replay
from kvae.serving import versions


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("serving_default", "encode", "encode_bytes", "decode"):
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    vae = make_vae((8, 8, 1), condition_dim=2)
    save = tmp_path_factory.mktemp("saved")
    condition = {"labels": ["kind"], "names": ["kind 1", "kind 2"], "label_of": ["kind"] * 2}
    return publish.publish(vae, save, "m", config={}, card={}, history={}, condition=condition)


@pytest.fixture
def version(original, tmp_path):
    path = tmp_path / "m" / "1"
    shutil.copytree(original.path, path)
    return original._replace(path=path)


def test_a_version_is_what_was_published(original):
    assert verify(original) == []


@pytest.mark.parametrize(
    "place",
    ["kvae.publish.fingerprint", "kvae.publish.warmup.replay", "numpy.lib.format.read_array"],
)
def test_too_little_memory_is_no_fault_of_a_version(original, monkeypatch, place):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(place, full)
    with pytest.raises(MemoryError):
        verify(original)


def test_a_replay_without_memory_says_so(original, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(tf.compat.v1, "Session", full)
    with pytest.raises(MemoryError):
        replay(original.path)


def test_every_signature_has_a_record_and_an_answer(original):
    metadata = versions.read_metadata(original)

    answers = replay(original.path)
    assert set(answers) == set(metadata["signatures"])
    for name, outputs in answers.items():
        assert set(outputs) == set(metadata["signatures"][name]["outputs"])
    for signature in metadata["signatures"].values():
        for tensor in (*signature["inputs"].values(), *signature["outputs"].values()):
            assert set(tensor) == {"dtype", "shape", "meaning", "unit", "range"}
            assert tensor["shape"][0] == "batch"
            assert tensor["meaning"]


def test_image_files_and_conditions_are_described(original):
    described = versions.read_metadata(original)["signatures"]["encode_bytes"]["inputs"]
    assert described["image_bytes"]["dtype"] == "string"
    assert described["condition"]["range"] == [0.0, 1.0]


def test_image_files_are_encoded_under_their_condition(original):
    client, levels = Client(original.path), np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
    condition = np.float32([[1, 0], [0, 1]])
    files = [Image.fromarray(image[..., 0]) for image in levels]
    by_file = client.call("encode_bytes", image_bytes=files, condition=condition)
    by_pixels = client.call("encode", x=levels, condition=condition)
    other = client.call("encode", x=levels, condition=1 - condition)
    for name, value in by_pixels.items():
        np.testing.assert_allclose(by_file[name], value, rtol=1e-5, atol=1e-5)
        assert np.abs(other[name] - value).max() > 1e-4


def _weights(version):
    return next(version.path.glob("variables/variables.data-*"))


def _spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda version: _spoil(_weights(version)), "was changed"),
        (lambda version: _weights(version).unlink(), "is missing"),
        (lambda version: (version.path / "variables" / "new").write_text(""), "was added"),
        (lambda version: (version.path / versions.WARMUP).unlink(), "is missing"),
    ],
)
def test_files_that_are_not_those_of_the_publication_are_named(version, change, said):
    change(version)
    (fault,) = verify(version)
    assert said in fault


def _accept_files(version, **changes):
    """As somebody does who writes the checksums anew."""
    metadata = versions.read_metadata(version)
    metadata |= {"files": repository.checksums(version.path), **changes}
    (version.path / versions.METADATA).write_text(json.dumps(metadata))


def test_other_numbers_are_noticed_though_all_files_are_whole(version):
    other = make_vae((8, 8, 1), condition_dim=2)
    other.decoder.trainable_weights[-1].assign_add([0.5])
    built = publish.publish(
        other, version.path.parents[1], "other", config={}, card={}, history={}
    ).path
    for part in ("variables", "saved_model.pb", "fingerprint.pb"):
        target = version.path / part
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        (shutil.copytree if (built / part).is_dir() else shutil.copy)(built / part, target)
    _accept_files(version, fingerprint=publish.fingerprint(version.path))
    faults = verify(version)
    assert any(fault.startswith("serving_default/reconstruction: differs by") for fault in faults)
    assert not any(fault.startswith("encode/mean") for fault in faults)
    _accept_files(version, fingerprint="1")
    assert any(fault.startswith("fingerprint ") for fault in verify(version))


def test_signatures_that_are_not_those_of_kvae_json_are_named(version):
    signatures = versions.read_metadata(version)["signatures"]
    del signatures["decode"]
    _accept_files(version, signatures=signatures)
    assert verify(version) == ["signature decode is not that of kvae.json"]
    signatures = versions.read_metadata(version)["signatures"]
    signatures["encode"]["inputs"]["x"]["shape"] = ["batch", 9, 9, 1]
    _accept_files(version, signatures=signatures)
    assert "signature encode is not that of kvae.json" in verify(version)


def test_records_that_fail_are_said(version):
    (version.path / versions.WARMUP).write_bytes(b"no records")
    _accept_files(version)
    (fault,) = verify(version)
    assert "cannot be served" in fault


def test_a_damaged_probe_is_said(version):
    (version.path / versions.PROBE).write_bytes(b"PK\x03\x04 no zip")
    _accept_files(version)
    (fault,) = verify(version)
    assert "probe.npz cannot be read" in fault


def _large_probe(path):
    """A few bytes that say they are an array of 4 TB."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("decode/decoded.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)


def _large_request(path):
    """A record in which one number stands for 4 TB."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = "decode"
    request.inputs["latent"].CopyFrom(tf.make_tensor_proto(np.float32(1)))
    for size in (10**6, 10**6):
        request.inputs["latent"].tensor_shape.dim.add(size=size)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


@pytest.mark.parametrize(
    ("file", "write", "said"),
    [
        (versions.PROBE, _large_probe, r"instead of float32 \(1000000, 1000000\)"),
        (versions.WARMUP, _large_request, "is of 1,000,000,000,000 values"),
        (versions.WARMUP, lambda path: path.write_bytes(bytes(100)), "cannot be served"),
        ("saved_model.pb", lambda path: path.write_bytes(b"\xff" * 100), "pars|decode"),
        ("fingerprint.pb", lambda path: path.write_bytes(b"\xff" * 100), "fingerprint"),
    ],
)
def test_files_that_have_their_checksums_may_still_say_anything(version, file, write, said):
    write(version.path / file)
    _accept_files(version)
    assert any(re.search(said, fault) for fault in verify(version))


def test_a_version_without_its_card_is_said(version):
    (version.path / versions.METADATA).write_text("{")
    with pytest.raises(DataError, match=r"kvae\.json is damaged"):
        verify(version)
    (version.path / versions.METADATA).write_text(json.dumps(metadata(fingerprint=None)))
    with pytest.raises(DataError, match="lacks fingerprint"):
        verify(version)
    (version.path / versions.METADATA).write_text(json.dumps(metadata()))
    with pytest.raises(DataError, match="holds no checksums"):
        verify(version)
