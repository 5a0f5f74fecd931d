"""Calling a published model: over REST, over gRPC, or in a folder without any server.

    from kvae.client import Client

    client = Client("http://localhost:8501", "faces")      # REST
    client = Client("grpc://localhost:8500", "faces")      # gRPC
    client = Client("saved/faces")                         # a folder: no server

    client.call("encode", x=images)["mean"]
    client.call("generate", seed=range(16))["sample"]
    client.call("encode_bytes", image_bytes=[path.read_bytes() for path in photos])

The three take the same calls and give the same arrays. TensorFlow is imported for gRPC and for
folders alone.

Source: TensorFlow Serving, "RESTful API" and `tensorflow_serving/apis/*.proto`.
"""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from kvae.client.answers import (
    MOST_BYTES,
    SMALL_BYTES,
    Call,
    NotServed,
    ServingError,
    Signature,
    listed,
)
from kvae.client.grpc import Grpc
from kvae.client.inputs import Misfit, checked, damaged_files, requests
from kvae.client.rest import Rest
from kvae.client.transports import Folder, Transport
from kvae.data.images.pixels import UNIT, read_range
from kvae.data.rows import joined
from kvae.errors import UsageError, brief
from kvae.options import (
    NOT_NEGATIVE,
    POSITIVE_COUNT,
    Kind,
    number,
    whole_range,
)
from kvae.serving.versions import MAX_NUMBER

__all__ = ["Client", "ServingError"]

_WAIT = 0.2  # seconds between two looks at a server that is not ready
_MOST_SECONDS = 1e6
_MOST_RETRIES = 4  # gRPC allows no more
_LONGEST_NAME = 255
_SECONDS = number(
    f"a number of seconds above 0, at most {_MOST_SECONDS:g}",
    lambda value: 0 < value <= _MOST_SECONDS,
)
_RETRIES = whole_range(0, _MOST_RETRIES)
_VERSION = whole_range(0, MAX_NUMBER)


class Client:
    """A published model, wherever it runs.

    Args:
        target: "http://HOST:PORT" or "https://..." (REST), "grpc://HOST:PORT", or a folder:
            `saved/NAME` or `saved/NAME/NUMBER`.
        model: its name on the server; none for a folder.
        version: its number; None: the server's choice, usually the newest.
        timeout: seconds until a request is given up, from its first byte to the last one of its
            answer, repetitions in between too; of no meaning for a folder.
        batch_size: rows of a request at most; larger inputs are sent in several. Of large outputs a
            request has fewer by itself, so that its answer is of at most 256 MiB, and of large
            image files, so that they have no more pixels than a request may have.
        retries: how often a request is repeated, 0 to 4, after a short wait, where the server
            cannot be reached, breaks off before it answers, or says that it is unavailable.
        value_range: what floats of images lie in, (0, 1); None, of a model that was made with
            `value_range=None`: anywhere.

    What a server answers is bounded: where it says more than the signature of so many rows can
    take, the request is given up. Redirections are not followed.

    Connections are given up by `close()`, or at the end of `with Client(...) as client:`.

    Raises:
        UsageError: an argument is not allowed, or there is no version in the folder.
    """

    def __init__(
        self, target: str | Path, model: str | None = None, *, version: int | None = None,
        timeout: float = 30.0, batch_size: int = 64, retries: int = 3,
        value_range: tuple[float, float] | None = UNIT,
    ):  # fmt: skip
        if not isinstance(target, str | Path):
            raise UsageError(f"target is an address or a folder; received {brief(target)}")
        self.target, self.model = str(target), model
        self._value_range = read_range(value_range)
        self._batch_size = _read("batch_size", POSITIVE_COUNT, batch_size)
        self._timeout = _read("timeout", _SECONDS, timeout)
        retries = _read("retries", _RETRIES, retries)
        version = None if version is None else _read("version", _VERSION, version)
        self._signatures: dict[str, Signature] = {}
        self._is_closed = False
        scheme, separator, address = self.target.partition("://")
        if not separator:
            if model is not None or version is not None:
                raise UsageError(
                    "model and version belong to a server, http://HOST:PORT or grpc://HOST:PORT; a "
                    f"folder is saved/NAME or saved/NAME/NUMBER: received {brief(self.target)}, "
                    f"{brief(model)}, {version}"
                )
            self._transport: Transport = Folder(self.target, self._batch_size)
            return
        if scheme not in ("http", "https", "grpc"):
            raise UsageError(
                f"http://, https://, grpc:// or a folder is wanted, received {brief(self.target)}"
            )
        _check_address(self.target)
        if not model:
            raise UsageError(f"{target} needs the name of a model")
        _check_name(model)
        if scheme == "grpc":
            self._transport = Grpc(address.rstrip("/"), model, version, self._timeout, retries)
        else:
            self._transport = Rest(self.target, model, version, self._timeout, retries)

    def close(self) -> None:
        """Give up the connections to the server."""
        self._transport.close()
        self._is_closed = True

    @property
    def _way(self) -> Transport:
        if self._is_closed:
            raise UsageError(f"the client of {self.target} is closed")
        return self._transport

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def signatures(self) -> dict[str, Signature]:
        """What the model answers: name -> inputs and outputs.

        Asked for once, and again when a call does not fit: another version may be served by then.

        Raises:
            ServingError: the server cannot be reached, or has no such model.
        """
        if not self._signatures:
            self._signatures = self._way.signatures()
        return self._signatures

    def is_ready(self) -> bool:
        """Whether the model can be called now; `wait_until_ready` says why not."""
        try:
            return bool(self._way.available(self._timeout, repeat=False))
        except ServingError:
            return False

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the model can be called.

        Raises:
            ServingError: it cannot after `timeout` seconds.
            UsageError: `timeout` is no number of seconds.
        """
        timeout = _read("timeout", NOT_NEGATIVE, timeout)
        end = time.monotonic() + timeout
        while True:
            left = max(_WAIT, min(self._timeout, end - time.monotonic()))
            try:
                if self._way.available(left, repeat=False):
                    return
                why = "the model is not available yet"
            except ServingError as error:
                why = str(error)
            if time.monotonic() >= end:
                raise ServingError(f"{self.target} is not ready after {timeout:g} seconds: {why}")
            time.sleep(min(_WAIT, timeout))

    def call(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            signature: its name, a key of `signatures`.
            **inputs: rows by the input's name: arrays or lists. Images may be PIL images, uint8
                (divided by 255) or floats in [0, 1]; `image_bytes` bytes of JPEG or PNG files, or
                PIL images; `seed` whole numbers.

        Returns:
            Arrays by the output's name, `(rows, ...)`.

        Raises:
            UsageError: the model has no such signature, or an input is missing, unknown, empty,
                not finite, or of the wrong shape or kind. No row has been sent.
            ServingError: the server cannot be reached, or answered with an error, or with something
                other than the signature's outputs of these rows.
        """
        rows = self._checked(signature, inputs)
        try:
            return self._in_batches(signature, rows)
        except NotServed:
            # The server's choice may have gone for a newer version between two batches.
            self._signatures = {}
            return self._in_batches(signature, self._checked(signature, inputs))
        except ServingError:
            self._signatures = {}  # it may be another model by now
            raise

    def _checked(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """The inputs as the server wants them now."""
        known = self.signatures
        try:
            return self._fitting(signature, inputs)
        except Misfit:
            with suppress(ServingError):
                self._signatures = self._way.signatures()
            if self._signatures == known:
                raise
        return self._fitting(signature, inputs)

    def _fitting(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise Misfit(
                f"{self.target} has no signature {brief(signature)}: it has "
                f"{listed(sorted(self.signatures))}"
            )
        return checked(signature, self.signatures[signature].inputs, inputs, self._value_range)

    def _in_batches(self, signature: str, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        wanted = self.signatures[signature].outputs
        most = (MOST_BYTES - SMALL_BYTES) // self._way.bytes_of_row(wanted)
        slices = list(requests(rows, max(1, min(self._batch_size, most))))
        # A version that is published meanwhile must not answer the rest.
        version = self._newest() if len(slices) > 1 else None
        parts = []
        for part in slices:
            batch = {name: values[part] for name, values in rows.items()}
            try:
                parts.append(self._way.call(Call(signature, batch, wanted, version)))
            except ServingError as error:
                if not (why := damaged_files(batch, part.start)):
                    raise
                raise type(error)(f"{why}: {error}") from error
        return joined(parts)

    def _newest(self) -> int:
        available = self._way.available(self._timeout)
        if not available:
            raise ServingError(f"{self.target} has no version that is available")
        return max(available)


def _read(name: str, kind: Kind, given: Any) -> Any:
    """An argument that is a number: a text is none here."""
    try:
        if isinstance(given, str):
            raise TypeError
        return kind.read(given)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{name} must be {kind.wanted}; received {brief(given)}") from None


def _check_address(target: str) -> None:
    """Refuse what is no SCHEME://HOST:PORT, perhaps with a path where a proxy has the server."""
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{brief(target)} is no address: {error}") from None
    is_grpc = parts.scheme == "grpc"
    is_printable = target.isprintable() and " " not in target
    is_plain = not (parts.query or parts.fragment or "?" in target or "#" in target)
    has_place = bool(parts.hostname) and port != 0 and (port is not None or not is_grpc)
    has_path = is_grpc and parts.path not in ("", "/")
    if not (is_printable and is_plain and has_place) or has_path:
        form = "grpc://HOST:PORT" if is_grpc else f"{parts.scheme}://HOST:PORT"
        raise UsageError(f"{form} is wanted, without a query; received {brief(target)}")


def _check_name(model: str) -> None:
    """Refuse what is no model's name on any server: it would be a part of another address."""
    if (
        not isinstance(model, str)
        or not model.isprintable()
        or re.search(r"[/\\:]", model)
        or model in (".", "..")
        or len(model) > _LONGEST_NAME
    ):
        raise UsageError(
            f"a model's name has 1 to {_LONGEST_NAME} printable characters, none of / \\ : and is "
            f"not . or ..; received {brief(model)}"
        )
