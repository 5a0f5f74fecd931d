"""How many things can be done at once."""

import os


def num_cores() -> int:
    """Cores that this process may use: a container may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
