"""Ways to an HTTP server: addresses, proxies, and servers that take nothing."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import urllib3
from urllib3.connection import HTTPConnection

from kvae.client import Client, ServingError
from kvae.client.exchange import Session

TIMEOUT = 0.4  # seconds
SILENT = [f"127.0.1.{number}" for number in range(6)]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.fixture(scope="module")
def port():
    with HTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join()


def _get(url, body=None):
    start = time.monotonic()
    try:
        return Session(0).exchange("GET", url, body, seconds=TIMEOUT, most_bytes=2**10)[1]
    finally:
        assert time.monotonic() - start < 2 * TIMEOUT


@pytest.fixture
def many(monkeypatch):
    """A name with addresses that a test chooses, some of which never answer."""
    addresses, look = [], socket.getaddrinfo
    connect = urllib3.connection.connection.create_connection

    def looked(host, port, *rest, **named):
        if host != "many.example":
            return look(host, port, *rest, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    def connected(address, timeout, **named):
        if address[0] in SILENT:
            time.sleep(timeout)
            raise TimeoutError
        return connect(address, timeout, **named)

    monkeypatch.setattr(socket, "getaddrinfo", looked)
    monkeypatch.setattr(urllib3.connection.connection, "create_connection", connected)
    return addresses


def test_all_addresses_of_a_name_share_the_time(many):
    many += SILENT
    with pytest.raises(TimeoutError):
        _get("http://many.example:80")


def test_an_address_that_answers_is_found_behind_one_that_does_not(many, port):
    many += [SILENT[0], "127.0.0.1"]
    assert _get(f"http://many.example:{port}") == b"{}"


def test_a_server_that_reads_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        _get(f"http://127.0.0.1:{silent.getsockname()[1]}", "x" * 2**25)


def test_a_proxy_with_connections_of_its_own_keeps_them(port, monkeypatch):
    """As that of SOCKS, which resolves names itself."""

    class Connection(HTTPConnection):
        def __init__(self, *arguments, options, **named):
            super().__init__(*arguments, **named)

        def _new_conn(self):
            assert 0 < self.timeout <= TIMEOUT
            return socket.create_connection(("127.0.0.1", port))

    class OwnPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, options="own", **named)

    class Manager(urllib3.PoolManager):
        def __init__(self, proxy, username, password, **named):
            super().__init__(**named)
            self.pool_classes_by_scheme = {"http": OwnPool}

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", Manager)
    monkeypatch.setenv("http_proxy", "socks5h://127.0.0.1:9")
    assert _get("http://models.internal:8501") == b"{}"


@pytest.mark.parametrize("error", [TypeError("x"), MemoryError(), RuntimeError("x")])
def test_whatever_the_libraries_raise_is_an_error_of_the_server(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Session, "exchange", fail)
    with pytest.raises(ServingError, match="cannot be reached"):
        Client("http://127.0.0.1:9", "m").call("encode", x=[[1, 2]])
