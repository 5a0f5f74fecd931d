"""TF Serving's loader, and a server that speaks its protocols, for the tests.

The server is none of TF Serving's code: it answers TF Serving's own messages (from
tensorflow-serving-api) through the session loader that TF Serving uses.
"""

import base64
import functools
import json
import re
import threading
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kvae.probability.noise import SeededNoise
from kvae.serving import signatures

SERVING = Path(__file__).parents[1] / "serving"


def server_flags(text):
    """The flags of a server in one of the files of serving/."""
    return dict(re.findall(r"- --(\w+)=(\S+)", text))


def keras_answers(vae, signature, given):
    """What the Keras model itself says, of a model without a sampler; nothing for `score`."""
    x, latent = given.get("x"), given.get("latent")
    noise = SeededNoise(given["seed"]) if "seed" in given else None
    if signature.endswith("_bytes"):
        plain = {"encode_bytes": "encode", "reconstruct_bytes": "serving_default"}[signature]
        return keras_answers(vae, plain, {**given, "x": np.round(x * 255).astype("float32") / 255})
    if signature.startswith("generate"):
        latent = vae.prior.sample(noise)
        return {"sample": vae.show(vae.decode(latent), noise), "latent": latent}
    if signature == "decode":
        decoded = vae.decode(latent)
        return {"decoded": decoded.mean(), "decoded_variance": decoded.variance()}
    if signature == "interpolate":
        found = vae.interpolate(given["start"], given["end"], given["fraction"])
        return dict(zip(("interpolated", "latent"), found, strict=True))
    if signature == "log_likelihood":
        draws = [SeededNoise(given["seed"], draw) for draw in range(signatures.NUM_DRAWS)]
        bound = np.logaddexp.reduce([vae.log_weight(x, draw) for draw in draws], axis=0)
        return {signature: bound - np.log(signatures.NUM_DRAWS)}
    return {
        "serving_default": lambda: {"reconstruction": vae(x)},
        "encode": lambda: dict(zip(("mean", "variance"), vae.encode(x), strict=True)),
        "sample_posterior": lambda: {"latent": vae.posterior(x).sample(noise, "posterior")},
        "log_weight": lambda: {
            "log_weight": vae.log_weight(x, noise),
            **vae.weight_terms(x, noise)[0]._asdict(),
        },
        "score": dict,
    }[signature]()


class Session:
    """The loader that TF Serving has: names to names, no Python objects."""

    def __init__(self, path):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        self.signatures = tf.compat.v1.saved_model.loader.load(
            self.session, ["serve"], str(path)
        ).signature_def

    def __call__(self, name, given):
        signature = self.signatures[name]
        feed = {tensor.name: given[key] for key, tensor in signature.inputs.items()}
        return self.session.run({k: t.name for k, t in signature.outputs.items()}, feed)


class Refused(Exception):
    """A request that TF Serving would not answer."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


@functools.cache
def _session(path):
    """One for all servers of a version."""
    return Session(path)


def answer(session, name, given):
    """Run a signature of a request, or raise Refused."""
    signature = session.signatures.get(name or "serving_default")
    if signature is None or name.startswith("__"):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"no signature {name!r}")
    if set(given) != set(signature.inputs):
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"inputs {sorted(given)} instead of {sorted(signature.inputs)}",
        )
    # Python's session would cast; the one that a server has does not.
    for key, tensor in signature.inputs.items():
        kind = tf.as_dtype(given[key].dtype if given[key].dtype != object else tf.string)
        if kind != tf.as_dtype(tensor.dtype):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{key} is {kind.name}")
    try:
        return session(name or "serving_default", given)
    except tf.errors.OpError as error:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        raise Refused(codes[error.error_code], str(error.message)[:500]) from error
    except (ValueError, TypeError) as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:500]) from error


class _Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, name, session, fail_first):
        self.name, self.session, self.left_to_fail = name, session, fail_first
        self.requests, self.versions, self.newest, self.left_to_replace = [], [], 1, 0

    def _check(self, spec, context):
        if self.left_to_fail:
            self.left_to_fail -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        gone = spec.HasField("version") and spec.version.value != self.newest
        if spec.name != self.name or gone:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {spec.name}")

    def Predict(self, request, context):
        self._check(request.model_spec, context)
        try:
            given = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:500])
        spec = request.model_spec
        self.versions.append(spec.version.value if spec.HasField("version") else None)
        self.requests.append({name: len(value) for name, value in given.items() if value.ndim})
        _replace(self)
        try:
            outputs = answer(self.session, request.model_spec.signature_name, given)
        except Refused as error:
            context.abort(error.code, str(error))
        return predict_pb2.PredictResponse(
            outputs={name: tf.make_tensor_proto(value) for name, value in outputs.items()}
        )

    def GetModelMetadata(self, request, context):
        self._check(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signature_map(self.session))
        return response

    def GetModelStatus(self, request, context):
        self._check(request.model_spec, context)
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[{"version": self.newest, "state": "AVAILABLE"}]
        )


def _replace(server):
    """Serve the next version, and this one no more, after as many calls as were said."""
    if server.left_to_replace:
        server.left_to_replace -= 1
        server.newest += not server.left_to_replace


def signature_map(session):
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in session.signatures.items():
        found.signature_def[name].CopyFrom(definition)
    return found


@contextmanager
def grpc_server(name, path, fail_first=0, port=0):
    """A gRPC server of one model, on a port or, with 0, on any.

    Yields:
        Its address, and the services: `requests` holds the rows of each.
    """
    services = _Services(name, _session(path), fail_first)
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", services
    finally:
        server.stop(None).wait()


def _from_json(value):
    """Columns of a REST request as arrays."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([base64.b64decode(one["b64"]) for one in value], object)
    return np.asarray(value)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _send(self, status, value):
        content = json.dumps(value, indent=4).encode()  # as rapidjson's PrettyWriter does
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refused_as_unavailable(self):
        if self.server.left_to_fail:
            self.server.left_to_fail -= 1
            self._send(503, {"error": "not yet"})
            return True
        return False

    def do_GET(self):
        root = f"/v1/models/{self.server.model}"
        if self._refused_as_unavailable():
            return
        newest = self.server.newest
        if self.path.removesuffix(f"/versions/{newest}") == root:
            status = {"version": str(newest), "state": "AVAILABLE", "status": {"error_code": "OK"}}
            self._send(200, {"model_version_status": [status]})
        elif self.path in (f"{root}/metadata", f"{root}/versions/{newest}/metadata"):
            found = json_format.MessageToDict(
                signature_map(self.server.session), preserving_proto_field_name=True
            )
            spec = {"name": self.server.model, "signature_name": "", "version": str(newest)}
            self._send(200, {"model_spec": spec, "metadata": {"signature_def": found}})
        else:
            self._send(404, {"error": "Could not find any versions of model"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused_as_unavailable():
            return
        if self.server.left_to_break_off:
            self.server.left_to_break_off -= 1
            self.close_connection = True
            return
        root, newest = f"/v1/models/{self.server.model}", self.server.newest
        if self.path not in (f"{root}:predict", f"{root}/versions/{newest}:predict"):
            self._send(404, {"error": "Servable not found"})
            return
        self.server.versions.append(newest if "/versions/" in self.path else None)
        _replace(self.server)
        session, name = self.server.session, body.get("signature_name", "serving_default")
        types = session.signatures[name].inputs if name in session.signatures else {}
        try:
            given = {key: _from_json(value) for key, value in body["inputs"].items()}
            for key, tensor in types.items():
                if key in given and tensor.dtype != tf.string.as_datatype_enum:
                    # JSON has numbers of one kind.
                    given[key] = given[key].astype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
            outputs = answer(session, name, given)
        except Refused as error:
            self._send(400, {"error": str(error)})
            return
        found = {key: value.tolist() for key, value in outputs.items()}
        self._send(200, {"outputs": found if len(found) > 1 else next(iter(found.values()))})


@contextmanager
def rest_server(name, path, fail_first=0):
    """A REST server of one model; yields its address and the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.model, server.session, server.left_to_fail = name, _session(path), fail_first
    server.versions, server.newest, server.left_to_replace = [], 1, 0
    server.left_to_break_off = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
