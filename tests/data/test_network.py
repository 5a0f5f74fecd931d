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
            if answers[address.host] is None:
                never.wait(5)
            if not answers[address.host]:
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
