"""Whether anything of the outside can be reached, found out in a bounded time."""

import base64
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "ftp": 21, "socks5": 1080, "socks5h": 1080}
_STATUS_BYTES = len(b"HTTP/1.1 200")
_REFUSED = (403, 407)


class Address(NamedTuple):
    """Where a connection goes: a host, or the proxy that reaches it.

    Args:
        host: that is connected to.
        port: of it.
        behind: the host that a proxy is asked for; "" without one.
        request: what an HTTP proxy is sent, whose answer says whether it lets us through; empty
            where the connection is all that is asked for.
    """

    host: str
    port: int
    behind: str = ""
    request: bytes = b""

    @property
    def name(self) -> str:
        """For a message."""
        return f"{self.behind} through the proxy {self.host}" if self.behind else self.host


def addresses_of(urls: Iterable[str]) -> list[Address]:
    """Where connections for these go, proxies of the environment heeded; each once."""
    proxies = urllib.request.getproxies()
    found: dict[tuple[str | int | bytes, ...], Address] = {}
    for url in urls:
        try:
            address = _address(url)
            if address is None:
                continue
            proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
            if proxy and not urllib.request.proxy_bypass(address.host):
                proxy = proxy if "://" in proxy else f"http://{proxy}"
                address = _through(proxy, url, address) or address
        except ValueError:  # a URL that is none, a port that is no number
            continue
        found.setdefault(address[: 3 if address.request else 2], address)
    return list(found.values())


def any_reachable(addresses: Iterable[Address], seconds: float = SECONDS) -> bool:
    """Whether one of them takes a connection within some seconds, names looked up included.

    A proxy that refuses to connect us, or to get the file, reaches nothing.
    """
    answers: queue.Queue[bool] = queue.Queue()

    def connect(address: Address) -> None:
        try:
            with socket.create_connection(address[:2], timeout=seconds) as connection:
                answers.put(not address.request or _is_let(connection, address.request))
        except (OSError, ValueError):
            answers.put(False)

    # A look-up of a name knows no timeout: its thread is left behind.
    threads = [threading.Thread(target=connect, args=(one,), daemon=True) for one in addresses]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for _ in threads:
        try:
            if answers.get(timeout=max(0.0, end - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _is_let(connection: socket.socket, request: bytes) -> bool:
    """Whether a proxy does what it is asked for."""
    connection.sendall(request)
    start = b""
    while len(start) < _STATUS_BYTES:
        more = connection.recv(_STATUS_BYTES - len(start))
        if not more:
            return False
        start += more
    status = int(start[-3:])
    return status not in _REFUSED and status < 500


def _through(proxy: str, url: str, target: Address) -> Address | None:
    """A proxy that is asked for a URL as clients do: a tunnel for https, else the file."""
    address, parts = _address(proxy), urlsplit(proxy)
    if address is None:
        return None
    if parts.scheme != "http":
        return address._replace(behind=target.host)
    host = f"[{target.host}]" if ":" in target.host else target.host
    place = f"{host}:{target.port}"
    asked = f"CONNECT {place}" if urlsplit(url).scheme == "https" else f"GET {url}"
    lines = [f"{asked} HTTP/1.1", f"Host: {place}", "Connection: close"]
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(secret.encode()).decode()}")
    request = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    return address._replace(behind=target.host, request=request)


def _address(url: str) -> Address | None:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    return Address(parts.hostname, port) if parts.hostname and port else None
