"""TF Serving's gRPC interface."""

import json
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from kvae.client.answers import (
    MOST_BYTES,
    SMALL_BYTES,
    Call,
    NotServed,
    ServingError,
    Signature,
    Tensor,
    check_names,
    check_tensor,
    described,
    named,
    tensor,
    understood,
    version_of,
    words,
)
from kvae.client.exchange import BACKOFF
from kvae.client.transports import READY, Transport

_PACKAGE = "tensorflow.serving"
_FLOAT_BYTES, _OTHER_BYTES = 4, 10  # of a number, in any of protobuf's ways


class Grpc(Transport):
    """TF Serving's gRPC interface."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float, retries: int):
        import grpc

        self._codes, self._errors, self._timeout = grpc.StatusCode, grpc.RpcError, timeout
        self._place, self._model, self._version = f"grpc://{address}", model, version
        options = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_send_message_length", -1),
            # What is larger than this is not repeated: images are.
            ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
            # Else a server that comes back is not looked for during minutes.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.service_config", json.dumps(_service_config(retries))),
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
        with understood(self._place, "a status"):
            ready = get_model_status_pb2.ModelVersionStatus.State.Value(READY)
            return [
                version_of(one.version) for one in answer.model_version_status if one.state == ready
            ]

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        from google.protobuf.message import DecodeError
        from tensorflow.core.framework.types_pb2 import DataType
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        answer = self._ask(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        with understood(self._place, "metadata"):
            try:
                answer.metadata["signature_def"].Unpack(found)
            except DecodeError as error:
                raise ValueError(str(error)) from error
            return described(
                {name: (one.inputs, one.outputs) for name, one in found.signature_def.items()},
                lambda one: tensor(
                    DataType.Name(one.dtype), [dim.size for dim in one.tensor_shape.dim]
                ),
            )

    def bytes_of_row(self, wanted: dict[str, Tensor]) -> int:
        """See `Transport`."""
        return sum(
            math.prod(one.row) * (_FLOAT_BYTES if one.dtype == "float32" else _OTHER_BYTES)
            for one in wanted.values()
        )

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(
            model_spec=self._spec(call.signature, call.version),
            inputs={name: tf.make_tensor_proto(value) for name, value in call.inputs.items()},
        )
        answer = self._ask(self._stub.Predict, request)
        check_names(call, answer.outputs)
        with understood(self._place, "outputs"):
            for name, value in answer.outputs.items():
                # Before there is an array: one number may stand for all of any shape.
                sizes = tuple(dim.size for dim in value.tensor_shape.dim)
                check_tensor(call, name, tf.dtypes.as_dtype(value.dtype).name, sizes)
                length = value.ByteSize()
                if math.prod(sizes) > length:
                    raise ServingError(
                        f"{named(call.signature)} answered {named(name)} of shape {sizes} in "
                        f"{length:,} bytes: a value for each place is wanted"
                    )
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
        seconds = timeout or self._timeout
        try:
            return method(request, timeout=seconds)
        except self._errors as error:
            raise self._told(error, seconds) from error

    def _told(self, error: Any, seconds: float) -> ServingError:
        code, said = error.code(), words(error.details())
        if code == self._codes.DEADLINE_EXCEEDED:
            return ServingError(f"{self._place}: no answer within {seconds:g} seconds")
        if code == self._codes.UNAVAILABLE:  # no connection, or too much to do
            return ServingError(f"{self._place} cannot be reached, or is overloaded: {said}")
        kind = NotServed if code == self._codes.NOT_FOUND else ServingError
        return kind(f"{self._place} answered {code.name}: {said}")


def _service_config(retries: int) -> dict[str, Any]:
    """What is repeated, and how long answers without rows may be."""
    policy = {
        "maxAttempts": retries + 1, "initialBackoff": f"{BACKOFF}s", "maxBackoff": "5s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
    }  # fmt: skip
    common = {"retryPolicy": policy} if retries else {}
    small = [
        {"service": f"{_PACKAGE}.PredictionService", "method": "GetModelMetadata"},
        {"service": f"{_PACKAGE}.ModelService"},
    ]
    return {
        "methodConfig": [
            {"name": [{}], **common},
            {"name": small, "maxResponseMessageBytes": SMALL_BYTES, **common},
        ]
    }
