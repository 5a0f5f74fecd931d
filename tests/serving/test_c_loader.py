"""A program in C: TensorFlow's C API calls the C++ function that TF Serving loads a model with."""

import io
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kvae.publish import warmup
from kvae.serving.versions import PROBE

SOURCE = Path(__file__).parent / "c" / "run_signatures.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    # Linked with a library of the names alone: reading TensorFlow's own takes ten seconds.
    names = sorted(set(re.findall(r"\bTF_[A-Z]\w+(?=\()", SOURCE.read_text())))
    (folder / "names.c").write_text("".join(f"void {name}(void) {{}}\n" for name in names))
    library = "libtensorflow_cc.so.2"
    _gcc("-shared", f"-Wl,-soname,{library}", folder / "names.c", "-o", folder / library)
    _gcc(
        f"-I{tf.sysconfig.get_include()}", "-Wall", "-Werror", SOURCE, folder / library,
        f"-Wl,-rpath,{tf.sysconfig.get_lib()}", "-o", folder / "run_signatures",
    )  # fmt: skip
    return folder / "run_signatures"


def _gcc(*arguments):
    subprocess.run(["gcc", *arguments], check=True)


def _name(tensor):
    operation, index = tensor.name.split(":")
    return f"{operation} {index}\n".encode()


def _bytes(array):
    """A tensor as the program reads it."""
    array = np.asarray(array)
    head = [tf.as_dtype(array.dtype).as_datatype_enum, array.ndim, *array.shape]
    if array.dtype == object:
        body = b"".join(len(one).to_bytes(8, "little") + one for one in array.ravel())
    else:
        body = array.tobytes()
    return " ".join(map(str, head)).encode() + b"\n" + body


def _array(answers):
    """The next tensor of those that the program wrote."""
    kind, _, *shape = (int(word) for word in answers.readline().split())
    dtype = tf.as_dtype(kind).as_numpy_dtype
    data = answers.read(math.prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(data, dtype).reshape(shape)


def test_every_signature_runs_in_c_as_in_python(program, version_of_images):
    version = version_of_images
    with np.load(version.path / PROBE) as probe:  # what Python answered at publication
        expected = {tuple(key.split("/")): probe[key] for key in probe}
    saved = SavedModel.FromString((version.path / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    requests, asked = [], []
    for signature, inputs in warmup.requests(version.path):
        definition = definitions[signature]
        requests.append(f"{len(inputs)} {len(definition.outputs)}\n".encode())
        requests += [_name(definition.inputs[key]) + _bytes(inputs[key]) for key in inputs]
        requests += [_name(tensor) for tensor in definition.outputs.values()]
        asked += [(signature, key) for key in definition.outputs]
    done = subprocess.run(
        [program, version.path], input=b"".join(requests), stdout=subprocess.PIPE,
        check=True,
    )  # fmt: skip
    answers = io.BytesIO(done.stdout)
    found = {output: _array(answers) for output in asked}
    assert not answers.read()
    assert len({signature for signature, _ in found}) == 13
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        scale = np.maximum(1.0, np.abs(value))
        assert np.max(np.abs(found[output] - value) / scale) < 1e-5, output


def test_a_version_that_is_not_whole_does_not_load(program, tmp_path):
    (tmp_path / "m").mkdir()
    done = subprocess.run([program, tmp_path / "m"], input=b"", capture_output=True)
    assert done.returncode == 1
    assert b"SavedModel" in done.stderr
