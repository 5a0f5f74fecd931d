"""Doing many things at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_LARGEST_TASK = 64  # items
_TASK_BYTES = 2**22
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def num_cores() -> int:
    """Cores that this process may use: a container may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(
    items: Iterable[_Item], work: Callable[[_Item], _Result], result_bytes: int
) -> Iterator[list[_Result]]:
    """Do something with each item, on threads, while whoever reads the results does other things.

    Args:
        items: any number of them; only what is being worked at is held.
        work: called in several threads, once for each item.
        result_bytes: what it returns takes about so much, which bounds how much waits.

    Yields:
        Its results, up to 64 at a time, in the order of the items.
    """
    items = iter(items)
    workers = num_cores()
    size = min(_LARGEST_TASK, max(1, _TASK_BYTES // result_bytes))
    pending: deque[Future[list[_Result]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while task := list(islice(items, size)):
            pending.append(pool.submit(lambda task: [work(item) for item in task], task))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
