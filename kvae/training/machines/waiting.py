"""Waiting for other machines, before TensorFlow does: it holds Python, and takes SIGTERM."""

import socket
from collections.abc import Iterable
from contextlib import suppress

_SECONDS = 0.5  # between two looks


def wait_for(port: int, others: Iterable[str]) -> None:
    """Wait until all others listen, and listen meanwhile; signals end that as they end a program.

    Args:
        port: of this machine.
        others: their addresses, host:port.
    """
    missing = [*others]
    with socket.create_server(("", port)) as server:
        server.settimeout(_SECONDS)
        while missing:
            missing = [address for address in missing if not _listens(address)]
            with suppress(OSError):
                server.accept()[0].close()


def _listens(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
        return True
    except OSError:  # not yet, or its name is not known yet
        return False
