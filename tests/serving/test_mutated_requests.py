"""Requests that nobody should send: an error, or the right answer, and the server lives on."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import make_x, png
from serving_testing import grpc_server, keras_answers
from tensorflow_serving.apis import predict_pb2

from kvae.serving import export

COUNT = 1000
#: With Keras; the others, slow or of bytes, with the session that the server has.
COMPARED = {
    "serving_default", "encode", "decode", "generate", "generate_from_prior", "interpolate",
    "sample_posterior", "log_weight",
}  # fmt: skip
_METHOD = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def vae(of_images):
    return of_images[0]


@pytest.fixture(scope="module")
def predict(version_of_images):
    """Bytes of a request -> bytes of the answer, past any client that would know better."""
    with grpc_server("m", version_of_images.path) as (address, services):
        channel = grpc.insecure_channel(address.removeprefix("grpc://"))
        yield channel.unary_unary(_METHOD), services.session
        channel.close()


def _inputs(rng):
    rows = int(rng.integers(1, 4))
    x = make_x((8, 8, 1), "gaussian", rows=rows, seed=int(rng.integers(100)))
    return {
        "x": x, "start": x, "end": x[::-1], "fraction": rng.random(rows).astype("float32"),
        "seed": rng.integers(-(2**63), 2**63 - 1, rows),
        "latent": rng.normal(size=(rows, 2)).astype("float32"),
        "image_bytes": np.array([png(image) for image in x], object),
        "attribute_strength": rng.normal(size=(rows, 2)).astype("float32"),
    }  # fmt: skip


def _reshaped(rng, value):
    return [
        value[0], value[None], value[:0], value.ravel(), np.concatenate([value, value]),
        value[..., :1], np.asarray(value.ravel()[0]),
    ][rng.integers(7)]  # fmt: skip


def _retyped(rng, value):
    kind = ["float64", "int32", "uint8", "bool", "complex64", "object"][rng.integers(6)]
    if kind == "object":
        return np.array([b"text"] * len(value), object)
    return np.zeros(value.shape, kind)


def _spoilt(rng, value):
    if value.dtype == object:
        changed = bytearray(value[0])
        for place in rng.integers(0, len(changed), 5):
            changed[place] ^= int(rng.integers(1, 256))
        contents = [bytes(changed), value[0][: rng.integers(len(value[0]))], b"", b"\xff\xd8\xff"]
        return np.array([contents[rng.integers(4)], *value[1:]], object)
    if value.dtype.kind == "f":
        value = value.copy()
        value.ravel()[rng.integers(value.size)] = [np.nan, np.inf, -np.inf, 3e38][rng.integers(4)]
    return value


def _mutated(rng, signatures):
    """A request's bytes, signature, inputs (None: they cannot be told), and whether it is whole."""
    names = sorted(name for name in signatures if not name.startswith("__"))
    name = names[rng.integers(len(names))]
    given = _inputs(rng)
    inputs = {key: given[key] for key in signatures[name].inputs}
    victim = sorted(inputs)[rng.integers(len(inputs))]
    way = rng.integers(9)
    if way < 3:
        inputs[victim] = (_reshaped, _retyped, _spoilt)[way](rng, inputs[victim])
    elif way == 3:
        del inputs[victim]
    elif way == 4:
        inputs["other"] = inputs[victim]
    elif way == 5:
        name = ["", "nothing", "__saved_model_init_op", "decode"][rng.integers(4)]
    request = predict_pb2.PredictRequest(
        inputs={key: tf.make_tensor_proto(value) for key, value in inputs.items()}
    )
    request.model_spec.name, request.model_spec.signature_name = "m", name
    if way == 6 and victim in request.inputs:  # a shape that its numbers do not fill
        sizes = request.inputs[victim].tensor_shape.dim
        sizes[rng.integers(len(sizes))].size = [-1, 0, 7, 2**40][rng.integers(4)]
        inputs = None
    content = bytearray(request.SerializeToString())
    if way == 7:
        for place in rng.integers(0, len(content), 3):
            content[place] ^= int(rng.integers(1, 256))
        inputs = None
    return bytes(content), name or "serving_default", inputs, way == 8


def _fits(signature, inputs):
    if set(inputs) != set(signature.inputs):
        return False
    rows = set()
    for key, tensor in signature.inputs.items():
        value = np.asarray(inputs[key])
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        kind = object if tensor.dtype == tf.string.as_datatype_enum else None
        if value.dtype != (kind or tf.as_dtype(tensor.dtype).as_numpy_dtype):
            return False
        if value.ndim != len(sizes) or list(value.shape[1:]) != sizes[1:]:
            return False
        rows.add(len(value))
    return len(rows) == 1


def _is_moderate(given):
    """Whether nothing overflows."""
    return all(np.abs(value).max() < 10 for value in given.values() if value.dtype.kind == "f")


def test_a_thousand_mutated_requests(predict, vae):
    call, session = predict
    signatures = session.signatures
    rng = np.random.default_rng(0)
    twin = export.float32_twin(vae)
    answered = refused = 0
    compared = set()
    for _ in range(COUNT):
        content, name, inputs, whole = _mutated(rng, signatures)
        try:
            answer = predict_pb2.PredictResponse.FromString(call(content, timeout=30))
        except grpc.RpcError as error:
            assert error.code() in (
                grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.INTERNAL,  # protobuf could not read it
            ), (name, error)  # fmt: skip
            assert not whole, (name, error.details())
            # Bytes of an image that were changed may be none.
            if inputs is not None and name in signatures and "bytes" not in name:
                assert not _fits(signatures[name], inputs), (name, error.details())
            refused += 1
            continue
        answered += 1
        outputs = {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}
        if inputs is None:
            continue
        assert set(outputs) == set(signatures[name].outputs)
        assert _fits(signatures[name], inputs), name
        rows = len(next(iter(inputs.values())))
        finite = np.ones(rows, bool)
        for value in inputs.values():
            if value.dtype.kind == "f":
                finite &= np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
        for value in outputs.values():
            assert len(value) == rows
            assert np.isnan(value[~finite]).all()
        given = {key: value[finite] for key, value in inputs.items()}
        if finite.any() and name in COMPARED and _is_moderate(given):
            for key, value in keras_answers(twin, name, given).items():
                np.testing.assert_allclose(outputs[key][finite], value, rtol=2e-5, atol=2e-5)
            compared.add(name)
        elif name not in COMPARED and whole:
            for key, value in session(name, inputs).items():
                np.testing.assert_allclose(outputs[key], value, rtol=1e-5, atol=1e-5)
            compared.add(name)
    assert answered + refused == COUNT
    assert min(answered, refused) > COUNT // 10
    assert compared == {name for name in signatures if not name.startswith("__")}
    content = predict_pb2.PredictRequest(inputs={"seed": tf.make_tensor_proto([5], tf.int64)})
    content.model_spec.name, content.model_spec.signature_name = "m", "generate"
    assert call(content.SerializeToString())
