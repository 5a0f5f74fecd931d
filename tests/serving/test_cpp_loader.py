"""The C++ function that TF Serving loads a model with, from TensorFlow's own library."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.named_tensor_pb2 import NamedTensorProto

from kvae.publish import warmup
from kvae.serving.versions import PROBE

SOURCE = Path(__file__).parent / "cpp" / "run_signatures.cc"

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("cpp") / "run_signatures"
    library = tf.sysconfig.get_lib()
    subprocess.run(
        [
            "g++", *tf.sysconfig.get_compile_flags(), "-O0", "-w", str(SOURCE), "-o", str(path),
            "-Wl,--no-as-needed", f"-L{library}", f"-Wl,-rpath,{library}",
            "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2",
        ],
        check=True,
    )  # fmt: skip
    return path


def test_every_signature_runs_in_cpp_as_in_python(program, version_of_images, tmp_path):
    version = version_of_images
    with np.load(version.path / PROBE) as probe:  # what Python answered at publication
        expected = {tuple(key.split("/")): probe[key] for key in probe}
    with tf.io.TFRecordWriter(str(tmp_path / "in")) as writer:
        for signature, inputs in warmup.requests(version.path):
            for name, value in inputs.items():
                proto = NamedTensorProto(
                    name=f"{signature}/{name}", tensor=tf.make_tensor_proto(value)
                )
                writer.write(proto.SerializeToString())
    arguments = [str(program), str(version.path), str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(arguments, check=True)
    found = {}
    for record in tf.data.TFRecordDataset(str(tmp_path / "out")).as_numpy_iterator():
        proto = NamedTensorProto.FromString(record)
        found[tuple(proto.name.split("/"))] = tf.make_ndarray(proto.tensor)
    assert len({signature for signature, _ in found}) == 13
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        scale = np.maximum(1.0, np.abs(value))
        assert np.max(np.abs(found[output] - value) / scale) < 1e-5, output


def test_a_version_that_is_not_whole_does_not_load(program, tmp_path):
    (tmp_path / "m").mkdir()
    arguments = [str(program), str(tmp_path / "m"), "none", "none"]
    assert subprocess.run(arguments, capture_output=True).returncode == 1
