"""Several machines: what TF_CONFIG says, before TensorFlow is imported."""

import json
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from kvae import backend
from kvae.config import Config
from kvae.errors import UsageError, brief

VARIABLE = "TF_CONFIG"
_WANTED = (
    '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, the '
    "cluster equal on all machines"
)
_CHIEF, _WORKER = "chief", "worker"


class Cluster(NamedTuple):
    """The machines that train one model together, each by a process of its own.

    Args:
        addresses: `host:port` of each, the chief's first.
        rank: the place of this process among them.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def others(self) -> list[str]:
        """The addresses of the other processes."""
        return [one for place, one in enumerate(self.addresses) if place != self.rank]


def read() -> Cluster | None:
    """What TF_CONFIG says; None: it is not set, or speaks of one machine.

    Raises:
        UsageError: it is not what TensorFlow takes, or has other tasks than chief and workers.
    """
    said = os.environ.get(VARIABLE)
    if not said:
        return None
    try:
        found = json.loads(said)
    except ValueError:
        raise _wrong(f"not JSON, received {brief(said)}") from None
    cluster = found.get("cluster") if isinstance(found, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        raise _wrong(f"there is no cluster in it, received {brief(said)}")
    if others := sorted({*cluster} - {_CHIEF, _WORKER}):
        raise _wrong(f"a cluster has workers, and may have one chief; received {brief(others)}")
    addresses = [_addresses(cluster, kind) for kind in (_CHIEF, _WORKER)]
    if len(addresses[0]) > 1:
        raise _wrong(f"there is one chief at most, received {len(addresses[0])}")
    everyone = (*addresses[0], *addresses[1])
    if len({*everyone}) < len(everyone):
        raise _wrong(f"each task has an address of its own, received {brief(list(everyone))}")
    rank = _rank(found.get("task"), *map(len, addresses))
    return Cluster(everyone, rank) if len(everyone) > 1 else None


def check(config: Config, *, dry_run: bool = False) -> Cluster | None:
    """See whether a run can be one of several machines, if TF_CONFIG asks for it.

    Args:
        config: all options.
        dry_run: whether nothing will be trained.

    Returns:
        As `read`.

    Raises:
        UsageError: it cannot, or another program has the port.
    """
    found = read()
    if found is None:
        return None
    if config.backend != backend.TENSORFLOW:
        raise UsageError(
            f"{VARIABLE}: several machines are for --backend {backend.TENSORFLOW}, received "
            f"{config.backend}; without {VARIABLE} this machine trains alone"
        )
    if config.devices > 1:
        raise UsageError(
            f"--devices must be 1 with {VARIABLE}, whose tasks have a device each: a task more "
            "for each further GPU, which CUDA_VISIBLE_DEVICES gives it; received "
            f"{config.devices}"
        )
    if config.max_minutes:
        raise UsageError(
            f"--max-minutes does not go with {VARIABLE}: clocks of several machines differ; "
            f"received {config.max_minutes:g}"
        )
    if not dry_run:
        _check_port(found.addresses[found.rank])
    return found


def _wrong(what: str) -> UsageError:
    return UsageError(f"{VARIABLE}: {_WANTED} is wanted; {what}")


def _addresses(cluster: Mapping[str, Any], kind: str) -> list[str]:
    found = cluster.get(kind, [])
    if not isinstance(found, list):
        raise _wrong(f"{kind} is a list of addresses, received {brief(found)}")
    for address in found:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            raise _wrong(f"an address is host:port, received {brief(address)}")
    return found


def _rank(task: Any, chiefs: int, workers: int) -> int:
    """The place of a task among all, the chief first."""
    kind = task.get("type") if isinstance(task, dict) else None
    index = task.get("index") if isinstance(task, dict) else None
    counts = {_CHIEF: chiefs, _WORKER: workers}
    named = {name: count for name, count in counts.items() if count}
    if not named:
        raise _wrong("the cluster has no address")
    if kind not in named:
        raise _wrong(f"the task's type is {' or '.join(named)}, received {brief(task)}")
    if type(index) is not int or not 0 <= index < counts[kind]:
        raise _wrong(
            f"the index of a {kind} is from 0 to {counts[kind] - 1} here, received {brief(task)}"
        )
    return index if kind == _CHIEF else chiefs + index


def _check_port(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a run that was killed linger: they are no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UsageError(
                f"{VARIABLE}: port {port} of {address} must be free on this machine: "
                f"{error.strerror}"
            ) from None
