"""What a training needs of memory at the least, and what this process may use; imports no NumPy.

Only what is surely held at once is counted, so that nothing is refused which would work.
"""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvae import likelihoods, networks, priors
from kvae.errors import UsageError, brief
from kvae.probability import posteriors

BYTES = 4  # of a float32
_GB = 10**9
#: Where the drivers of NVIDIA, AMD and TPUs are seen.
_DEVICES = ("/dev/nvidia0", "/dev/kfd", "/dev/accel0", "/dev/dxg")


class Model(NamedTuple):
    """What is known of a model before it is built.

    Args:
        element_shape: of one x.
        latent_dim: dimensions of z.
        names: kind of part ("network", "likelihood", "prior", "posterior") -> its member.
        own: kind -> the options of that part, as it takes them.
        condition_dim: numbers in a condition.
    """

    element_shape: Sequence[int]
    latent_dim: int
    names: Mapping[str, str]
    own: Mapping[str, Mapping[str, Any]]
    condition_dim: int = 0

    @property
    def num_params(self) -> int:
        """The encoder's outputs of a row."""
        return posteriors.facts(self.names["posterior"]).num_params(self.latent_dim)

    @property
    def num_outputs(self) -> int:
        """The size of the decoder's last axis."""
        fact = likelihoods.facts(self.names["likelihood"]).num_outputs
        return fact(self.element_shape[-1], **self.own["likelihood"])

    @property
    def parameters(self) -> int:
        """Weights of the networks and of the prior."""
        network, prior = networks.facts(self.names["network"]), priors.facts(self.names["prior"])
        found = prior.parameters(self.latent_dim, self.element_shape, **self.own["prior"])
        if network.parameters is not None:
            found += network.parameters(
                self.element_shape, self.latent_dim, self.num_params, self.num_outputs,
                self.condition_dim, **self.own["network"],
            )  # fmt: skip
        return found

    @property
    def constants(self) -> int:
        """Other numbers that the prior holds."""
        prior = priors.facts(self.names["prior"])
        return prior.constants(self.latent_dim, self.element_shape, **self.own["prior"])

    def weights(self) -> int:
        """Bytes of the model alone."""
        return BYTES * (self.parameters + self.constants)

    def training(self, rows: int, *, draws: int = 1, averages: bool = False) -> dict[str, int]:
        """What training holds, in words -> bytes.

        Args:
            rows: of a batch.
            draws: from the posterior of each row.
            averages: whether averages of the weights are kept.
        """
        weights = BYTES * self.parameters
        if has_accelerator():  # which has a memory of its own; the best weights are here
            return {"the best weights": weights}
        components = self.own["prior"].get("num_components", 0)
        outputs = math.prod(self.element_shape[:-1]) * self.num_outputs
        of_batch = rows * self.num_params + rows * draws * (self.latent_dim + outputs + components)
        return {
            "weights": weights + BYTES * self.constants,
            "their gradients": weights,
            "Adam's moments": 2 * weights,
            "the best weights": weights,
            "their averages": weights * averages,
            f"a batch of {rows * draws} draws": BYTES * of_batch,
        }


class Limit(NamedTuple):
    """The memory that a process may use.

    Args:
        size: bytes.
        cause: what says so, in words.
    """

    size: int
    cause: str


def usable() -> Limit | None:
    """What machine, control group and `ulimit -v` allow, the least, with swap; None: unknown."""
    found = [limit for limit in (_of_machine(), _of_group(), _of_addresses()) if limit]
    return min(found, default=None)


def peak() -> int | None:
    """The most bytes that this process had in memory so far; None: the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def has_accelerator() -> bool:
    """Whether there may be a GPU or TPU, as far as files tell."""
    return any(map(os.path.exists, _DEVICES))


def check_weights(model: Model) -> None:
    """Refuse a model that cannot be in memory.

    Raises:
        UsageError: its weights alone are too many.
    """
    limit, needed = usable(), model.weights()
    if limit is not None and needed > limit.size and not has_accelerator():
        raise UsageError(
            f"latent_dim {model.latent_dim}, {', '.join(_told(model.own))}: the weights of such a "
            f"model of x {tuple(model.element_shape)} would take {gigabytes(needed)}; this process "
            f"may use {gigabytes(limit.size)}, {limit.cause}"
        )


def _told(own: Mapping[str, Mapping[str, Any]]) -> list[str]:
    options = {**own["network"], **own["prior"]}
    return [f"{name} {brief(value)}" for name, value in options.items()]


def gigabytes(size: int) -> str:
    """Bytes in words."""
    return f"{size / _GB:,.{0 if size >= 10 * _GB else 1}f} GB"


def _of_machine() -> Limit | None:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, or a system that does not tell
        return None
    return Limit(size + _swap(size), "the memory of this machine") if size > 0 else None


def _swap(memory: int) -> int:
    """Bytes of swap; where it grows by itself, as on macOS, as much as there is of memory."""
    if not sys.platform.startswith("linux"):
        return memory
    for line in _text(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        if name == "SwapTotal":
            return 1024 * int(value.split()[0])
    return memory


def _of_group() -> Limit | None:
    """Of Linux's control groups, of both versions: the least of this group and those above."""
    found = []
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, kinds, own = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = Path("/sys/fs/cgroup", "memory" if kinds else "")
        own_folder = root / own.lstrip("/")
        for folder in (own_folder, *own_folder.parents):
            size = _number(folder / ("memory.limit_in_bytes" if kinds else "memory.max"))
            if size is not None:
                swap = _number(folder / "memory.swap.max")
                found.append(size + (_swap(size) if swap is None else swap))
            if folder == root:
                break
    return Limit(min(found), "the control group of this process, a container's") if found else None


def _of_addresses() -> Limit | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if size == resource.RLIM_INFINITY else Limit(size, "ulimit -v")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """The number in a file; None: it says "max", or is not there."""
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None
