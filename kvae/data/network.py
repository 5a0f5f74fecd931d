"""Whether anything of the outside can be reached, found out in a bounded time."""

import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "ftp": 21, "socks5": 1080, "socks5h": 1080}


class Address(NamedTuple):
    """Where a connection goes: a host, or the proxy that reaches it."""

    host: str
    port: int


def addresses_of(urls: Iterable[str]) -> list[Address]:
    """Where connections for these go, proxies of the environment heeded; each once."""
    proxies = urllib.request.getproxies()
    found = []
    for url in urls:
        try:
            address = _address(url)
            if address is None:
                continue
            proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
            if proxy and not urllib.request.proxy_bypass(address.host):
                address = _address(proxy if "://" in proxy else f"http://{proxy}") or address
        except ValueError:  # a URL that is none, a port that is no number
            continue
        found.append(address)
    return list(dict.fromkeys(found))


def any_reachable(addresses: Iterable[Address], seconds: float = SECONDS) -> bool:
    """Whether one of them takes a connection within some seconds, names looked up included."""
    answers: queue.Queue[bool] = queue.Queue()

    def connect(address: Address) -> None:
        try:
            with socket.create_connection(address, timeout=seconds):
                answers.put(True)
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


def _address(url: str) -> Address | None:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    return Address(parts.hostname, port) if parts.hostname and port else None
