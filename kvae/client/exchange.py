"""One HTTP request within some seconds and some bytes, whatever the server does.

`requests` bounds the time between two bytes, not their sum, and reads and unpacks all that comes.
"""

import functools
import io
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
    ResponseError,
)
from urllib3.util import Retry

from kvae.client.answers import ERROR_BYTES, ServingError, words

BACKOFF = 0.2  # seconds between repetitions, doubled each time
_PIECE = 2**16
_HEADERS = 2**17  # bytes, of all repetitions


class _Budget:
    """What is left of a request's time and of the bytes of its answer."""

    def __init__(self, seconds: float, most_bytes: int):
        self._end = time.monotonic() + seconds
        self._most_bytes, self._left = most_bytes, most_bytes + _HEADERS
        self.opened: list[io.BufferedReader] = []

    def seconds(self) -> float:
        """How many are left.

        Raises:
            TimeoutError: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._end

    def take(self, count: int) -> None:
        """Count bytes that came.

        Raises:
            ServingError: they are too many.
        """
        self._left -= count
        if self._left < 0:
            raise ServingError(f"answered with more than {self._most_bytes:,} bytes")


_budget: ContextVar[_Budget] = ContextVar("budget")


class _Incoming(io.RawIOBase):
    """What comes through a socket, each piece of it within what is left."""

    def __init__(self, sock: Any):
        self._socket, self._file = sock, sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        budget = _budget.get()
        self._socket.settimeout(budget.seconds())
        count = self._file.readinto(buffer)
        budget.take(count)
        return count

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._file.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **named: Any):
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Incoming(sock))
        _budget.get().opened.append(self.fp)


class _Bounded:
    """A connection that is made, and written to, within what is left."""

    response_class = _Answer

    def connect(self) -> None:
        """See `http.client.HTTPConnection`."""
        self.timeout = _budget.get().seconds()
        super().connect()  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """See `http.client.HTTPConnection`; in pieces, as TLS bounds the time of a piece alone."""
        for start in range(0, len(data), _PIECE):
            if self.sock is not None:  # type: ignore[attr-defined]
                self.sock.settimeout(_budget.get().seconds())  # type: ignore[attr-defined]
            super().send(data[start : start + _PIECE])  # type: ignore[misc]


class _Direct(_Bounded):
    """One that looks for the address itself, and tries all of a name's within what is left."""

    def _new_conn(self) -> socket.socket:
        host = self._dns_host  # type: ignore[has-type]
        *others, last = _addresses(host, self.port)  # type: ignore[attr-defined]
        try:
            for place, address in enumerate(others):
                with suppress(ConnectTimeoutError, NewConnectionError):
                    return self._connected(address, len(others) + 1 - place)
            return self._connected(last, 1)
        finally:
            self._dns_host = host

    def _connected(self, address: str, count: int) -> socket.socket:
        """A connection, in its share of the time of so many addresses."""
        self._dns_host, self.timeout = address, _budget.get().seconds() / count
        return super()._new_conn()  # type: ignore[misc]


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [host]  # urllib3 says what is wrong
    return [
        str(place[0]) + (f"%{place[3]}" if len(place) == 4 and place[3] else "")
        for *_, place in found
    ] or [host]


@functools.cache
def _bounded(pool: Any) -> Any:
    """A pool of connections of the same kind that keep to what is left."""
    kind = pool.ConnectionCls
    # Proxies of SOCKS have a way of their own to an address.
    way = _Direct if kind._new_conn is HTTPConnection._new_conn else _Bounded
    return type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, (way, kind), {})})


def _bound(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: _bounded(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **named: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **named)
        if is_new:
            _bound(manager)
        return manager


class _Repeating(Retry):
    """Repeats what failed before an answer came, but for an answer that takes too long.

    Calls change nothing on the server, so one that broke off may be sent again.
    """

    def increment(
        self, method: Any = None, url: Any = None, response: Any = None,
        error: Exception | None = None, _pool: Any = None, _stacktrace: Any = None,
    ) -> Retry:  # fmt: skip
        """See urllib3's; there is no repetition after the time is up."""
        if isinstance(error, ReadTimeoutError):
            raise error
        following = super().increment(method, url, response, error, _pool, _stacktrace)
        budget = _budget.get()
        if budget.is_over or following.get_backoff_time() >= budget.seconds():
            raise MaxRetryError(_pool, url or "", error or ResponseError("unavailable"))
        return following


class Session(requests.Session):
    """Sends requests, and follows nobody elsewhere.

    Args:
        retries: how often a request is repeated where no answer came, or that of status 503.
    """

    def __init__(self, retries: int):
        super().__init__()
        policy = _Repeating(
            total=retries, backoff_factor=BACKOFF, status_forcelist=(503,) if retries else (),
            allowed_methods=None, raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(max_retries=policy))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a request that went elsewhere would lose its body."""

    def exchange(
        self, method: str, url: str, body: str | None, *, seconds: float, most_bytes: int
    ) -> tuple[requests.Response, bytes]:
        """Send a request and read the answer.

        Args:
            method: of HTTP.
            url: the address.
            body: JSON; None: nothing.
            seconds: for all of it, repetitions too.
            most_bytes: of the answer, unpacked; of an error's text the first are enough.

        Returns:
            The answer, and its content.

        Raises:
            ServingError: the answer is too long, or packed in an unknown way.
            TimeoutError: the time is up.
            Exception: no answer came, or what is none: the libraries have errors of every kind.
        """
        budget = _Budget(seconds, most_bytes)
        token = _budget.set(budget)
        try:
            with self.request(
                method, url, data=body, stream=True, allow_redirects=False, timeout=seconds,
                headers={"Content-Type": "application/json", "Accept-Encoding": "gzip"},
            ) as answer:  # fmt: skip
                return answer, _content(answer, most_bytes)
        except ServingError:
            raise
        except Exception as error:
            if budget.is_over:
                raise TimeoutError("timed out") from error
            raise
        finally:
            _budget.reset(token)
            for file in budget.opened:  # urllib3 leaves those open whose headers it refuses
                file.close()


def _content(answer: requests.Response, most_bytes: int) -> bytes:
    is_error = answer.status_code != 200
    most = ERROR_BYTES if is_error else most_bytes
    content = bytearray()
    for part in _unpacked(answer):
        content += part
        if len(content) > most:
            if is_error:
                break
            raise ServingError(f"answered with more than {most_bytes:,} bytes")
    return bytes(content)


def _unpacked(answer: requests.Response) -> Iterator[bytes]:
    """The content in pieces of a bounded size, however well it was packed."""
    packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("identity", "gzip"):
        raise ServingError(f"answered in the encoding {words(packed)}, which was not asked for")
    unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
    while part := answer.raw.read(_PIECE, decode_content=False):
        if unpack is None:
            yield part
            continue
        try:
            while part and not unpack.eof:
                yield unpack.decompress(part, _PIECE)
                part = unpack.unconsumed_tail
        except zlib.error as error:
            raise ServingError(f"answered with gzip that is damaged: {error}") from error
    if unpack is not None and not unpack.eof:
        raise ServingError("answered with gzip that breaks off")
