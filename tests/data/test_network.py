"""Nothing here needs a network, or is broken by one."""

import socket
import threading
from contextlib import contextmanager

import pytest

from kvae.data.network import Address, addresses_of, any_reachable

A, B = Address("a.example", 443), Address("b.example", 80)


@contextmanager
def _connection():
    yield


@pytest.fixture
def answering(monkeypatch):
    """Choose what each host does: True answers, False refuses, None never says anything."""

    def choose(answers):
        never = threading.Event()

        def connect(address, timeout):
            if answers[address[0]] is None:
                never.wait(5)
            if not answers[address[0]]:
                raise OSError("refused")
            return _connection()

        monkeypatch.setattr(socket, "create_connection", connect)
        return never

    return choose


@pytest.mark.parametrize("first", [True, False, None])
@pytest.mark.parametrize("second", [True, False, None])
def test_one_that_answers_is_enough(answering, first, second):
    never = answering({"a.example": first, "b.example": second})
    assert any_reachable([A, B], seconds=0.1) is bool(first or second)
    never.set()


def test_nobody_is_not_reached():
    assert not any_reachable([])


@pytest.fixture
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch.setenv


URLS = ["https://a.example/x.gz", "https://a.example/y", "http://b.example:8080/z", "none", "x://y"]


def test_hosts_are_those_of_the_urls_each_once(environment):
    assert addresses_of(URLS) == [A, Address("b.example", 8080)]
    assert addresses_of(["ftp://c.example/f", "http://[bad", "http://d.example:port/"]) == [
        Address("c.example", 21)
    ]


@pytest.mark.parametrize(
    ("variable", "proxy", "wanted"),
    [
        ("https_proxy", "http://proxy.example:3128", ["proxy.example", "b.example"]),
        ("HTTPS_PROXY", "proxy.example:3128", ["proxy.example", "b.example"]),
        ("http_proxy", "http://user:word@proxy.example:3128", ["a.example", "proxy.example"]),
        ("all_proxy", "socks5://proxy.example", ["proxy.example"]),
    ],
)
def test_a_proxy_stands_for_what_is_behind_it(environment, variable, proxy, wanted):
    environment(variable, proxy)
    assert [address.host for address in addresses_of(URLS)] == wanted


def test_what_needs_no_proxy_is_asked_itself(environment):
    environment("https_proxy", "http://proxy.example:3128")
    environment("no_proxy", "a.example")
    assert addresses_of(URLS[:1]) == [A]


@pytest.fixture
def proxy(monkeypatch):
    """Choose what a proxy answers; what it was sent."""
    asked = []

    def choose(answer):
        def connect(address, timeout):
            ours, its = socket.socketpair()
            ours.settimeout(timeout)

            def talk():
                with its:
                    asked.append((address, its.recv(4096)))
                    its.sendall(answer)

            threading.Thread(target=talk, daemon=True).start()
            return ours

        monkeypatch.setattr(socket, "create_connection", connect)
        return asked

    return choose


@pytest.mark.parametrize(
    ("answer", "is_let"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", True),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", True),  # of the file, not of the way to it
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", False),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"", False),
    ],
)
def test_a_proxy_that_refuses_reaches_nothing(environment, proxy, answer, is_let):
    environment("https_proxy", "http://user:pass%20word@proxy.example:3128")
    environment("http_proxy", "http://proxy.example:3128")
    for url in (URLS[0], URLS[2]):
        asked = proxy(answer)
        assert any_reachable(addresses_of([url]), seconds=5) is is_let
    (_, tunnel), (address, plain) = asked
    assert address == ("proxy.example", 3128)
    assert tunnel.startswith(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in tunnel
    assert plain.startswith(b"GET http://b.example:8080/z HTTP/1.1\r\n")
    assert tunnel.endswith(b"\r\n\r\n")
    assert plain.endswith(b"\r\n\r\n")


def test_a_proxy_that_says_nothing_is_not_waited_for(environment, monkeypatch):
    environment("https_proxy", "http://proxy.example:3128")
    ours, its = socket.socketpair()
    ours.settimeout(0.1)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: ours)
    (address,) = addresses_of(URLS[:2])
    with ours, its:
        assert not any_reachable([address], seconds=5)
    assert address.name == "a.example through the proxy proxy.example"
