"""Three ways to a signature: REST, gRPC, and a folder."""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from kvae.errors import KvaeError

_BACKOFF = 0.2  # seconds between repetitions, doubled each time
_READY = "AVAILABLE"
_NUMPY_OF = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_INT64": "int64", "DT_INT32": "int32",
    "DT_STRING": "string", "DT_BOOL": "bool", "DT_UINT8": "uint8",
}  # fmt: skip


class ServingError(KvaeError):
    """The server cannot be reached, or answered with an error."""


class NotServed(ServingError):
    """The server has no such model or version, or no more."""


class Tensor(NamedTuple):
    """An input or output of a signature.

    Args:
        dtype: of NumPy, or "string" of bytes.
        shape: the first dimension is the batch; None where any number will do.
    """

    dtype: str
    shape: tuple[int | None, ...]


class Signature(NamedTuple):
    """What a signature takes and gives, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Call(NamedTuple):
    """A signature's name, arrays for it, what it should give, and the version that is to answer.

    Of version None the one that the client was told.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    wanted: dict[str, Tensor]
    version: int | None


class Transport(ABC):
    """A way to a model, of its own: how to ask, and `_told`, the words for what was raised."""

    _timeout = 0.0  # seconds that an answer is waited for; of no meaning without a server
    _errors: Any  # what its library raises

    @abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """What the model answers."""

    @abstractmethod
    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """Numbers of the versions that can be called now.

        Args:
            timeout: seconds for the answer.
            repeat: whether to ask again while the server is unavailable.
        """

    def close(self) -> None:  # noqa: B027 (a folder has none)
        """Give up connections."""

    def call(self, call: Call) -> dict[str, np.ndarray]:
        """Run a signature on one batch: arrays by the names of what is wanted.

        Raises:
            ServingError: the model cannot be reached, or answers with an error or something else.
        """
        found = self._answer(call)
        if found.keys() != call.wanted.keys():
            raise ServingError(
                f"{call.signature} answered {', '.join(found) or 'without names'} instead of "
                f"{', '.join(call.wanted)}: another version is served now, call again"
            )
        return found

    @abstractmethod
    def _answer(self, call: Call) -> dict[str, np.ndarray]: ...

    def _asked(self, place: str, ask: Callable[[float], Any], timeout: float | None = None) -> Any:
        """What `ask` gives within some seconds."""
        timeout = timeout or self._timeout
        try:
            return ask(timeout)
        except self._errors as error:
            raise self._told(place, error, f"no answer within {timeout:g} seconds") from error

    @abstractmethod
    def _told(self, place: str, error: Any, late: str) -> ServingError: ...


class Folder(Transport):
    """A version in a folder, through its signatures."""

    def __init__(self, path: str, batch_size: int):
        from kvae.serving.versions import find_version, read_metadata

        self._version = find_version(path)
        self._described: dict[str, Any] = read_metadata(self._version)["signatures"]
        self._batch_size = batch_size

    @cached_property
    def _served(self) -> Any:
        from kvae.serving.served import ServedModel

        return ServedModel(self._version, self._batch_size)

    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """See `Transport`."""
        return [self._version.number]

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        return _described(
            {name: (one["inputs"], one["outputs"]) for name, one in self._described.items()},
            lambda one: Tensor(one["dtype"], (None, *one["shape"][1:])),
        )

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        import tensorflow as tf

        self._errors = tf.errors.OpError
        ask = self._served.call
        return self._asked(call.signature, lambda _: ask(call.signature, **call.inputs))

    def _told(self, place: str, error: Any, late: str) -> ServingError:
        return ServingError(f"{place}: {_line(error.message)}")


class _Repeating(Retry):
    """Repeats what failed before an answer came, but for an answer that takes too long.

    Calls change nothing on the server, so one that broke off may be sent again.
    """

    def increment(self, *arguments: Any, error: Exception | None = None, **named: Any) -> Retry:
        """See urllib3's."""
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(*arguments, error=error, **named)


class Rest(Transport):
    """TF Serving's REST interface."""

    _errors = requests.RequestException

    def __init__(self, target: str, model: str, version: int | None, timeout: float, retries: int):
        self._timeout = timeout
        self._model_url = f"{target.rstrip('/')}/v1/models/{model}"
        self._version = version
        # Which of the two sessions repeats: waiting looks again by itself.
        self._sessions = {True: requests.Session(), False: requests.Session()}
        policy = _Repeating(
            total=retries, backoff_factor=_BACKOFF, status_forcelist=(503,), allowed_methods=None,
            raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._sessions[True].mount(scheme, HTTPAdapter(max_retries=policy))

    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """See `Transport`."""
        answer = self._ask("GET", self._url_of(), timeout=timeout, repeat=repeat)
        found = answer["model_version_status"]
        return [int(one["version"]) for one in found if one["state"] == _READY]

    def close(self) -> None:
        """See `Transport`."""
        for session in self._sessions.values():
            session.close()

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        metadata = self._ask("GET", f"{self._url_of()}/metadata")["metadata"]
        found = metadata["signature_def"]["signature_def"]

        return _described(
            {name: (one.get("inputs", {}), one.get("outputs", {})) for name, one in found.items()},
            lambda one: Tensor(
                _NUMPY_OF.get(one["dtype"], one["dtype"]),
                _known(int(dim["size"]) for dim in one["tensor_shape"].get("dim", ())),
            ),
        )

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        body = {
            "signature_name": call.signature,
            "inputs": {name: _json_of(value) for name, value in call.inputs.items()},
        }
        url, wanted = self._url_of(call.version), call.wanted
        outputs = self._ask("POST", f"{url}:predict", body)["outputs"]
        if not isinstance(outputs, dict):  # of one output the server leaves the name out
            outputs = dict.fromkeys(wanted, outputs) if len(wanted) == 1 else {}
        return {
            name: np.asarray(value, wanted[name].dtype if name in wanted else None)
            for name, value in outputs.items()
        }

    def _url_of(self, version: int | None = None) -> str:
        version = self._version if version is None else version
        return self._model_url + (f"/versions/{version}" if version is not None else "")

    def _ask(
        self, method: str, url: str, body: Any = None, timeout: float | None = None,
        repeat: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        sent = {
            "data": None if body is None else json.dumps(body),
            "headers": {"Content-Type": "application/json"},
        }
        request = self._sessions[repeat].request
        answer = self._asked(
            url, lambda seconds: request(method, url, timeout=seconds, **sent), timeout
        )
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code != 200:
            said = found.get("error") if isinstance(found, dict) else answer.text[:200]
            raise _refusal(url, answer.status_code, said, is_gone=answer.status_code == 404)
        if not isinstance(found, dict):
            raise ServingError(f"{url} is no server of TensorFlow models: it answered no JSON")
        return found

    def _told(self, place: str, error: Any, late: str) -> ServingError:
        if isinstance(error, requests.Timeout):
            return ServingError(f"{place}: {late}")
        return ServingError(f"{place} cannot be reached: {_reason(error)}")


class Grpc(Transport):
    """TF Serving's gRPC interface."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float, retries: int):
        import grpc

        self._codes, self._errors, self._timeout = grpc.StatusCode, grpc.RpcError, timeout
        self._place, self._model, self._version = f"grpc://{address}", model, version
        policy = {
            "maxAttempts": retries + 1, "initialBackoff": f"{_BACKOFF}s", "maxBackoff": "5s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
        }  # fmt: skip
        config = {"methodConfig": [{"name": [{}], **({"retryPolicy": policy} if retries else {})}]}
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # What is larger than this is not repeated: images are.
            ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
            # Else a server that comes back is not looked for during minutes.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.service_config", json.dumps(config)),
        ]
        self._channel = grpc.insecure_channel(address, options)

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()

    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """See `Transport`; the timeout is that of all repetitions."""
        from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
        stub = model_service_pb2_grpc.ModelServiceStub(self._channel)
        answer = self._ask(stub.GetModelStatus, request, timeout)
        ready = get_model_status_pb2.ModelVersionStatus.State.Value(_READY)
        return [one.version for one in answer.model_version_status if one.state == ready]

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        answer = self._ask(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)

        import tensorflow as tf

        return _described(
            {name: (one.inputs, one.outputs) for name, one in found.signature_def.items()},
            lambda one: Tensor(
                tf.dtypes.as_dtype(one.dtype).name, _known(dim.size for dim in one.tensor_shape.dim)
            ),
        )

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(
            model_spec=self._spec(call.signature, call.version),
            inputs={name: tf.make_tensor_proto(value) for name, value in call.inputs.items()},
        )
        answer = self._ask(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    @cached_property
    def _stub(self) -> Any:
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        return prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def _spec(self, signature: str = "", version: int | None = None) -> Any:
        from tensorflow_serving.apis import model_pb2

        spec = model_pb2.ModelSpec(name=self._model, signature_name=signature)
        version = self._version if version is None else version
        if version is not None:
            spec.version.value = version
        return spec

    def _ask(self, method: Callable[..., Any], request: Any, timeout: float | None = None) -> Any:
        return self._asked(self._place, lambda seconds: method(request, timeout=seconds), timeout)

    def _told(self, place: str, error: Any, late: str) -> ServingError:
        code, said = error.code(), error.details()
        if code == self._codes.DEADLINE_EXCEEDED:
            return ServingError(f"{place} {late}")
        if code == self._codes.UNAVAILABLE:  # no connection, or too much to do
            return ServingError(f"{place} cannot be reached, or is overloaded: {_line(said)}")
        return _refusal(place, code.name, said, is_gone=code == self._codes.NOT_FOUND)


def _refusal(place: str, code: object, said: object, *, is_gone: bool) -> ServingError:
    kind = NotServed if is_gone else ServingError
    return kind(f"{place} answered {code}: {_line(said)}")


def _line(said: object) -> str:
    return " ".join(str(said).split())


def _described(
    found: dict[str, tuple[Any, Any]], tensor_of: Callable[[Any], Tensor]
) -> dict[str, Signature]:
    """Signatures from what a way calls their inputs and outputs; not TensorFlow's own."""
    return {
        name: Signature(
            *({key: tensor_of(one) for key, one in tensors.items()} for tensors in described)
        )
        for name, described in found.items()
        if not name.startswith("__")
    }


def _known(sizes: Iterable[int]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else size for size in sizes)


def _json_of(value: np.ndarray) -> Any:
    if value.dtype == object:
        return [{"b64": base64.b64encode(content).decode()} for content in value]
    return value.tolist()


def _reason(error: BaseException) -> str:
    """The innermost words of an error that others were wrapped around."""
    inner: Any = error
    while True:
        following = getattr(inner, "reason", None) or next(
            (one for one in inner.args if isinstance(one, BaseException)), None
        )
        if not isinstance(following, BaseException):
            return str(inner).rpartition(": ")[2] or type(inner).__name__
        inner = following
