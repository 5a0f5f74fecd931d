"""A server that answers anything: each answer is a ServingError, in time and in little memory."""

import gzip
import json
import socket
import socketserver
import struct
import threading
import time
import tracemalloc
import zlib
from concurrent import futures
from contextlib import suppress
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from kvae.client import Client, ServingError
from kvae.client.answers import NotServed, Signature, Tensor
from kvae.errors import KvaeError

TIMEOUT = 0.4  # seconds
X = np.zeros((4, 2), "float32")
ANSWERED = {"mean": [[0.5, 1]] * 2, "variance": [[1.0, 1.0]] * 2}


def _tensor(*sizes, dtype="DT_FLOAT"):
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": size} for size in sizes]}}


def _metadata(**changes):
    encode = {
        "inputs": {"x": _tensor("-1", "2")},
        "outputs": {"mean": _tensor("-1", "2"), "variance": _tensor("-1", "2")},
        **changes,
    }
    return {"metadata": {"signature_def": {"signature_def": {"encode": encode}}}}


def _with_output(tensor):
    return _metadata(outputs={"mean": tensor})


def _status(*found):
    return {"model_version_status": list(found)}


def _http(body, head="200 OK", *headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {head}", "Connection: close", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


GOOD = {
    "metadata": _http(_metadata()),
    "status": _http(_status({"version": "1", "state": "AVAILABLE"})),
    "predict": _http({"outputs": ANSWERED}),
}
_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
_BLOCK = b"1," * 2**15


def _endless(start, block=_BLOCK):
    """Bytes without an end, or until the client has gone."""

    def answer(connection):
        connection.sendall(start)
        while True:
            connection.sendall(block)

    return answer


def _dripping(content):
    def answer(connection):
        for place in range(len(content)):
            connection.sendall(content[place : place + 1])
            time.sleep(TIMEOUT / 4)

    return answer


def _reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sendall(_HEAD + b"Content-Length: 1000\r\n\r\n{")


def _bomb():
    """Gzip that unpacks to 200 MB of spaces."""
    pack = zlib.compressobj(wbits=31)
    return b"".join(pack.compress(b" " * 2**20) for _ in range(200)) + pack.flush()


def _outputs(mean, **others):
    return _http({"outputs": {**ANSWERED, "mean": mean, **others}})


def _text(mean):
    """Outputs as JSON that Python would not write."""
    rest = json.dumps(ANSWERED["variance"])
    return _http(f'{{"outputs": {{"mean": {mean}, "variance": {rest}}}}}'.encode())


_DEEP = b"[" * 100_000 + b"]" * 100_000
_ANYWHERE = {
    "nothing": b"",
    "rubbish": b"hello\r\n\r\n",
    "zeros": bytes(100),
    "tls": b"\x15\x03\x01\x00\x02\x02\x28",
    "status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of five digits": b"HTTP/1.1 99999 OK\r\n\r\n",
    "http 0.9": b"{}",
    "length that is too long": _HEAD + b"Content-Length: 1000\r\n\r\n{}",
    "length that is no number": _HEAD + b"Content-Length: abc\r\n\r\nx",
    "length below zero": _HEAD + b"Content-Length: -5\r\n\r\nx",
    "two lengths": _HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "many headers": _HEAD + b"A: b\r\n" * 100_000 + b"\r\n{}",
    "a long header": _HEAD + b"A: " + b"b" * 1_000_000 + b"\r\n\r\n{}",
    "an unending header": _endless(_HEAD + b"A: "),
    "a long status": b"HTTP/1.1 200 " + b"b" * 1_000_000 + b"\r\n\r\n{}",
    "chunks of rubbish": _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "a chunk that breaks off": _HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nabc",
    "a chunk without an end": _endless(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
    "a huge chunk": _endless(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n"),
    "an endless body": _endless(_HEAD + b"\r\n["),
    "an endless error": _endless(b"HTTP/1.1 500 X\r\nConnection: close\r\n\r\n"),
    "continue without an end": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "dripping headers": _dripping(_HEAD * 100),
    "a dripping body": _dripping(_HEAD + b"\r\n" + b"[" * 100),
    "reset": _reset,
    "silence": lambda connection: time.sleep(2 * TIMEOUT),
    "no content": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "a redirection to itself": _http({}, "302 Found", "Location: /v1/models/m"),
    "a redirection to rubbish": _http({}, "301 Moved", "Location: http://[::1"),
    "a redirection and a gzip bomb": _http(
        _bomb(), "302 Found", "Location: /v1/models/m", "Content-Encoding: gzip"
    ),
    "an encoding not asked for": _http(b"x", "200 OK", "Content-Encoding: br"),
    "no gzip": _http(b"x" * 100, "200 OK", "Content-Encoding: gzip"),
    "half a gzip": _http(gzip.compress(b"{}" * 99)[:-9], "200 OK", "Content-Encoding: gzip"),
    "a gzip bomb": _http(_bomb(), "200 OK", "Content-Encoding: gzip"),
    "a gzip bomb as an error": _http(_bomb(), "500 X", "Content-Encoding: gzip"),
    "no utf-8": _http(b'{"a": "\xff"}', "200 OK", "Content-Type: text/html; charset=nonsense"),
    "utf-16": _http('{"a": 1}'.encode("utf-16")),
    "null": _http(None),
    "a list": _http([1]),
    "a number": _http(5),
    "an empty object": _http({}),
    "nested too deep": _http(b'{"outputs": ' + _DEEP + b"}"),
    "too many digits": _http(b'{"outputs": ' + b"1" * 5000 + b"}"),
    "an error that is no text": _http({"error": {"a": [None]}}, "400 Bad Request"),
    "an error without words": _http(b"", "500 X"),
    "a long error": _http({"error": "x" * 10**6}, "400 Bad Request"),
    "unavailable": _http({"error": "not yet"}, "503 X"),
}  # fmt: skip
_METADATA = {
    "none": {"metadata": None},
    "a list": {"metadata": {"signature_def": {"signature_def": [1]}}},
    "no signatures": {"metadata": {"signature_def": {"signature_def": {}}}},
    "inputs that are null": _metadata(inputs=None),
    "no outputs": _metadata(outputs={}),
    "a tensor that is a text": _with_output("abc"),
    "an unknown dtype": _with_output(_tensor("-1", dtype="DT_VARIANT")),
    "a dtype that is a list": _with_output(_tensor("-1", dtype=["DT_FLOAT"])),
    "no shape": _with_output({"dtype": "DT_FLOAT"}),
    "no batch": _with_output(_tensor()),
    "a shape that is a text": _with_output({"dtype": "DT_FLOAT", "tensor_shape": {"dim": "ab"}}),
    "a size that is a word": _with_output(_tensor("-1", "abc")),
    "a size below -1": _with_output(_tensor("-1", "-5")),
    "a size of nothing": _with_output(_tensor("-1", "0")),
    "a size that is a fraction": _with_output(_tensor("-1", 2.5)),
    "a size that is a switch": _with_output(_tensor("-1", True)),
    "a huge size": _with_output(_tensor("-1", "9" * 18)),
    "a huge row": _with_output(_tensor("-1", *["1000000"] * 4)),
    "a row of any size": _with_output(_tensor("-1", "-1")),
    "many sizes": _with_output(_tensor("-1", *["1"] * 10_000)),
}
_STATUS = {
    "a text": _http({"model_version_status": "abc"}),
    "texts": _http(_status("abc")),
    "no state": _http(_status({"version": "1"})),
    "an unknown state": _http(_status({"version": "1", "state": "FINE"})),
    "a state that is a list": _http(_status({"version": "1", "state": []})),
    "a word": _http(_status({"version": "abc", "state": "AVAILABLE"})),
    "below zero": _http(_status({"version": "-1", "state": "AVAILABLE"})),
    "a huge number": _http(_status({"version": "9" * 4000, "state": "AVAILABLE"})),
    "1e400": _http(b'{"model_version_status": [{"version": 1e400, "state": "AVAILABLE"}]}'),
    "none that is available": _http(_status({"version": "1", "state": "END"})),
    "the same name twice": _http(b'{"model_version_status": [], "model_version_status": []}'),
}
_PREDICT = {
    "more rows": _outputs([[0.5, 1]] * 3),
    "no rows": _outputs([]),
    "another width": _outputs([[0.5]] * 2),
    "another rank": _outputs([0.5, 1]),
    "a number": _outputs(1.0),
    "ragged": _outputs([[0.5, 1], [0.5]]),
    "nulls": _outputs([[0.5, None]] * 2),
    "null": _outputs(None),
    "numbers as texts": _outputs([["0.5", "1"]] * 2),
    "a long text": _outputs([["x" * 100_000, 1], [1, 1]]),
    "switches": _outputs([[True, 0.5]] * 2),
    "base64": _outputs([{"b64": "AAAA"}] * 2),
    "nested": _text("[" * 200 + "1" + "]" * 200),
    "beyond float32": _text("[[1e39, 1], [1, 1]]"),
    "beyond float64": _text("[[1e400, 1], [1, 1]]"),
    "a huge whole number": _text(f"[[1{'0' * 400}, 1], [1, 1]]"),
    "an output less": _http({"outputs": {"mean": ANSWERED["mean"]}}),
    "an output more": _outputs(ANSWERED["mean"], more=[[1, 1]] * 2),
    "outputs that are a list": _http({"outputs": [[0.5, 1]] * 2}),
    "many lists": _text("[" + "[]," * 300_000 + "[]]"),
    "many objects": _text("[" + "{}," * 300_000 + "{}]"),
    "many numbers": _text("[" + "0," * 500_000 + "0]"),
    "many names": _http({"outputs": {str(number): 1 for number in range(10_000)}}),
    "the same output twice": _text('[[1, 1], [1, 1]], "mean": [[1, 1], [1, 1]]'),
}
CASES = {
    **{f"predict, {name}": ("predict", answer) for name, answer in _ANYWHERE.items()},
    **{f"metadata, {name}": ("metadata", _http(found)) for name, found in _METADATA.items()},
    **{f"status, {name}": ("status", answer) for name, answer in _STATUS.items()},
    **{f"outputs, {name}": ("predict", answer) for name, answer in _PREDICT.items()},
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        words = self.rfile.readline().decode().split()
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.server.paths = [words[1]]
        name = words[1].removeprefix("/v1/models/")
        stage = next((each for each in ("metadata", "predict") if name.endswith(each)), "status")
        answer = self.server.answers.get(stage, GOOD[stage])
        with suppress(OSError):
            answer(self.request) if callable(answer) else self.request.sendall(answer)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture(scope="module")
def server():
    with _Server(("127.0.0.1", 0), _Handler) as running:
        running.answers = {}
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _client(server, **options):
    address = f"http://127.0.0.1:{server.server_address[1]}"
    return Client(address, "m", **{"timeout": TIMEOUT, "retries": 0, "batch_size": 2, **options})


def test_the_server_can_be_called(server):
    server.answers = {}
    found = _client(server, timeout=5).call("encode", x=X)
    np.testing.assert_array_equal(found["mean"], np.float32(ANSWERED["mean"] * 2))


@pytest.mark.parametrize("case", CASES)
def test_every_hostile_answer_is_an_error_in_time_and_in_little_memory(server, case):
    stage, answer = CASES[case]
    server.answers = {stage: answer}
    # The status is asked for where there are several batches.
    rows = X if stage == "status" else X[:2]
    tracemalloc.start()
    start = time.monotonic()
    try:
        with _client(server) as client, pytest.raises(ServingError) as error:
            client.signatures if stage == "metadata" else client.call("encode", x=rows)
        assert time.monotonic() - start < TIMEOUT + 1
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 900
    assert str(error.value).isprintable()


@pytest.mark.parametrize("part", [b"[],", b"{},", b"[0],", b"0,"])
def test_what_is_many_more_objects_than_were_asked_for_is_not_read(server, part):
    count = 2**18 if part != b"0," else 2**20  # two rows, of which a fourth would be right
    found = _metadata(outputs={"mean": _tensor("-1", str(count // 8))})
    content = b'{"outputs": [' + part * count + b"0]}"
    server.answers = {"metadata": _http(found), "predict": _http(content)}
    tracemalloc.start()
    try:
        with pytest.raises(ServingError, match=r"at most [0-9,]+ times"):
            _client(server, timeout=10).call("encode", x=X[:2])
        assert tracemalloc.get_traced_memory()[1] < 5 * len(content)
    finally:
        tracemalloc.stop()


def test_what_memory_does_not_hold_is_an_error_of_the_server(server, monkeypatch):
    def full(content):
        raise MemoryError

    server.answers = {}
    client = _client(server, timeout=5)
    assert client.signatures
    monkeypatch.setattr("kvae.client.rest.strict_json", full)
    with pytest.raises(ServingError, match="more than there is memory for"):
        client.call("encode", x=X)


def test_there_are_many_of_them():
    assert len(CASES) >= 43


def test_what_a_server_says_is_cut_and_harmless(server):
    said = "\x1b]0;owned\x07\u202e" + "x" * 10**4
    server.answers = {"predict": _http({"error": said}, "400 Bad Request")}
    with pytest.raises(ServingError, match=r"answered 400: \\x1b\]0;owned\\x07\\u202exxx") as error:
        _client(server).call("encode", x=X)
    assert len(str(error.value)) < 500
    server.answers = {"predict": _http({"error": "gone"}, "404 Not Found")}
    with pytest.raises(NotServed, match="gone"):
        _client(server).call("encode", x=X)


def test_repetitions_end_with_the_time_and_say_why(server):
    server.answers = {"metadata": _http({"error": "not yet"}, "503 X")}
    start = time.monotonic()
    with pytest.raises(ServingError, match="503: not yet"):
        _client(server, retries=4).call("encode", x=X)
    assert time.monotonic() - start < TIMEOUT + 1


def test_an_address_that_has_moved_is_said(server):
    server.answers = {"metadata": _http({}, "301 Moved", "Location: https://other/")}
    with pytest.raises(ServingError, match="301: it is at https://other/ now"):
        _client(server).call("encode", x=X)


def test_what_a_server_may_say_is_read(server):
    plain = json.dumps({"outputs": ANSWERED}).encode()
    chunked = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(plain)
    for answer in (_http(gzip.compress(plain), "200 OK", "Content-Encoding: gzip"), chunked):
        server.answers = {"predict": answer}
        assert _client(server, timeout=5).call("encode", x=X[:2])["mean"].shape == (2, 2)
    server.answers = {"predict": _text("[[NaN, Infinity], [-Infinity, 1]]")}
    found = _client(server, timeout=5).call("encode", x=X[:2])["mean"]
    np.testing.assert_array_equal(found, [[np.nan, np.inf], [-np.inf, 1]])


def _images_of(shape):
    """Metadata, and an answer of 64 such images as TF Serving lays it out."""
    found = _metadata(outputs={"sample": _tensor("-1", *map(str, shape))})
    images = np.random.default_rng(0).random((64, *shape), "float32")
    content = json.dumps({"outputs": images.astype(float).tolist()}, indent=4).encode()
    return {"metadata": _http(found), "predict": _http(content)}, images


@pytest.mark.parametrize("shape", [(28, 28, 1), (784,), (32, 12, 3)])
def test_images_come_in_the_layout_that_a_server_writes(server, shape):
    server.answers, images = _images_of(shape)
    with _client(server, timeout=10, batch_size=64) as client:
        found = client.call("encode", x=np.zeros((64, 2)))
    np.testing.assert_array_equal(found["sample"], images)


@pytest.mark.parametrize(
    ("way", "rows"),
    # 32 and the indentation for a number, 4 and it for each of two brackets; four bytes.
    [
        ("rest", 255 * 2**20 // (196608 * 56 + (65536 + 256 + 1) * 56)),
        ("grpc", 255 * 2**20 // 786432),
    ],
)
def test_batches_are_as_small_as_their_answers_need(way, rows):
    large = {"sample": Tensor("float32", (None, 256, 256, 3))}
    client = Client(f"{'http' if way == 'rest' else 'grpc'}://127.0.0.1:9", "m", batch_size=1000)
    sent = []

    def call(call):
        sent.append(call.rows)
        return {"sample": np.zeros((call.rows, 1))}

    way = client._transport
    way.signatures = lambda: {"generate": Signature({"seed": Tensor("int64", (None,))}, large)}
    way.available, way.call = lambda timeout: [1], call
    client.call("generate", seed=range(2 * rows + 1))
    assert sent == [rows, rows, 1]


def test_names_that_a_server_chose_are_cut_and_harmless(server):
    bad = "\x1b[2J" + "x" * 5000
    tensors = {bad: _tensor("-1", "2")}
    for signature, inputs, outputs, given in (
        (bad, tensors, tensors, {"x": X}), (bad, tensors, tensors, {bad: X[:, :1]}),
        (bad, tensors, tensors, {bad: X[:2]}), (bad, {"x": _tensor("-1", "2")}, tensors, {"x": X}),
    ):  # fmt: skip
        one = {"inputs": inputs, "outputs": outputs}
        found = {"metadata": {"signature_def": {"signature_def": {signature: one}}}}
        for answer in ({"y": 1, bad + "y": 1}, [["a"]], [[1]]):
            server.answers = {"metadata": _http(found), "predict": _http({"outputs": answer})}
            for called in (signature, "nope"):
                with pytest.raises(KvaeError) as error:
                    _client(server).call(called, **given)
                assert str(error.value).isprintable()
                assert len(str(error.value)) < 900


def test_a_models_name_stands_in_the_path_as_it_is(server):
    server.paths = []
    for name, path in (("a+v2@(b),c=d&e;f!~$'*", None), ("a b", "a%20b"), ("100%", "100%25")):
        server.answers = {}
        assert Client(f"http://127.0.0.1:{server.server_address[1]}", name, retries=0).signatures
        assert server.paths.pop() == f"/v1/models/{path or name}/metadata"


def _chunks(content):
    parts = [content[place : place + 7] for place in range(0, len(content), 7)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def _grpc_metadata(dtype=1, sizes=(-1, 2), key="signature_def", value=None, x=None):
    found = get_model_metadata_pb2.SignatureDefMap()
    encode = found.signature_def["encode"]
    for tensors, name in ((encode.inputs, "x"), (encode.outputs, "mean")):
        tensors[name].dtype = dtype
        for size in (-1, x) if x and name == "x" else sizes:
            tensors[name].tensor_shape.dim.add(size=size)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata[key].Pack(found)
    if value is not None:
        response.metadata[key].value = value
    return response.SerializeToString()


def _grpc_outputs(**outputs):
    return predict_pb2.PredictResponse(outputs=outputs).SerializeToString()


def _one_for_all(*sizes):
    """A tensor of a large shape that one number fills."""
    tensor = tf.make_tensor_proto(np.float32(1))
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


_MEAN = tf.make_tensor_proto(np.zeros((2, 2), "float32"))
GRPC_CASES = {
    "rubbish": {"GetModelMetadata": b"\xff" * 10},
    "other metadata": {"GetModelMetadata": _grpc_metadata(key="other")},
    "metadata that are rubbish": {"GetModelMetadata": _grpc_metadata(value=b"\xff" * 9)},
    "large metadata": {"GetModelMetadata": _grpc_metadata(value=bytes(2**21))},
    "an unknown dtype": {"GetModelMetadata": _grpc_metadata(dtype=99)},
    "a size below -1": {"GetModelMetadata": _grpc_metadata(sizes=(-1, -5))},
    "a huge size": {"GetModelMetadata": _grpc_metadata(sizes=(-1, 2**60))},
    "another output": {"Predict": _grpc_outputs(other=_MEAN)},
    "more rows": {"Predict": _grpc_outputs(mean=tf.make_tensor_proto(np.zeros((3, 2), "float32")))},
    "another dtype": {"Predict": _grpc_outputs(mean=tf.make_tensor_proto(np.zeros((2, 2))))},
    "a row of any size": {"GetModelMetadata": _grpc_metadata(sizes=(-1, -1))},
    "one number for a huge row": {
        "GetModelMetadata": _grpc_metadata(sizes=(-1, 2**28), x=2),
        "Predict": _grpc_outputs(mean=_one_for_all(2, 2**28)),
    },
    "one number for all": {"Predict": _grpc_outputs(mean=_one_for_all(2**40))},
    "too few numbers": {"Predict": _grpc_outputs(mean=_one_for_all(2, 2, 2))},
    "an error of escapes": {"Predict": None},
}


@pytest.fixture(scope="module")
def grpc_server():
    state = SimpleNamespace(answers={}, address="")
    good = {"GetModelMetadata": _grpc_metadata(), "Predict": _grpc_outputs(mean=_MEAN)}

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            name = details.method.rpartition("/")[2]

            def answer(request, context):
                found = state.answers.get(name, good[name])
                if found is None:
                    context.abort(grpc.StatusCode.INTERNAL, "\x1b[2J" + "x" * 5000)
                return found

            return grpc.unary_unary_rpc_method_handler(answer)

    running = grpc.server(futures.ThreadPoolExecutor(2))
    running.add_generic_rpc_handlers((Handler(),))
    state.address = f"grpc://127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield state
    running.stop(None).wait()


@pytest.mark.parametrize("case", [None, *GRPC_CASES])
def test_every_hostile_answer_over_grpc_is_an_error(grpc_server, case):
    grpc_server.answers = GRPC_CASES.get(case, {})
    with Client(grpc_server.address, "m", timeout=5, retries=0) as client:
        if case is None:
            assert client.call("encode", x=X[:2])["mean"].shape == (2, 2)
            return
        with pytest.raises(ServingError) as error:
            client.call("encode", x=X[:2])
    assert len(str(error.value)) < 900
    assert str(error.value).isprintable()
