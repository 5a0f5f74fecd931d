"""What a version answers as a server has it: by the session loader, in a process of its own."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from kvae import backend, children
from kvae.errors import DataError, KvaeError, one_line

#: Signature -> name of an input or output -> array.
Arrays = dict[str, dict[str, np.ndarray]]
_REQUESTS, _ANSWERS, _ERROR = "requests.npz", "answers.npz", "error.txt"
_PROBE = "probe"  # the requests that a version has in its warm-up records


def ask(folder: Path, requests: dict[str, Arrays]) -> dict[str, Arrays]:
    """Have a child answer requests.

    Args:
        folder: of the version.
        requests: name of a set -> signature -> inputs. All of a set are answered at once.

    Returns:
        Name of a set -> signature -> outputs; under "probe" the inputs of the warm-up records.

    Raises:
        DataError: the version cannot be read, or a request fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        np.savez(work / _REQUESTS, allow_pickle=False, **_flat(requests))
        here = children.environment() | {
            backend.VARIABLE: backend.TENSORFLOW, "CUDA_VISIBLE_DEVICES": "-1",
        }  # fmt: skip
        here.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        done = subprocess.run(
            [sys.executable, "-m", "kvae.audit.served", str(work), str(folder.resolve())],
            env=here, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        if (work / _ERROR).is_file():
            raise DataError((work / _ERROR).read_text(encoding="utf-8"))
        if done.returncode or not (work / _ANSWERS).is_file():
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise DataError(
                f"the process that asks {folder} ended {children.how_ended(done.returncode)}: "
                f"{one_line(last, 300)}"
            )
        with np.load(work / _ANSWERS) as stored:
            return _nested(dict(stored))


def answered(folder: Path, requests: dict[str, Arrays]) -> dict[str, Arrays]:
    """What the child finds, see `ask`."""
    from kvae.publish import warmup
    from kvae.serving.versions import WARMUP

    sets = [[*one.items()] for one in requests.values()]
    found = dict(zip(requests, warmup.answered(folder, sets), strict=True))
    if (folder / WARMUP).is_file():
        found[_PROBE] = {
            # Files as bytes of one length, which arrays hold without pickling.
            signature: {
                name: array.astype("S") if array.dtype.kind == "O" else array
                for name, array in inputs.items()
            }
            for signature, inputs in warmup.requests(folder)
        }
    return found


def _flat(nested: dict[str, Arrays]) -> dict[str, np.ndarray]:
    return {
        "/".join((name, signature, key)): array
        for name, signatures in nested.items()
        for signature, arrays in signatures.items()
        for key, array in arrays.items()
    }


def _nested(flat: dict[str, np.ndarray]) -> dict[str, Arrays]:
    found: dict[str, Arrays] = {}
    for place, array in flat.items():
        name, signature, key = place.split("/")
        found.setdefault(name, {}).setdefault(signature, {})[key] = array
    return found


def _main(work: Path, folder: Path) -> None:
    try:
        backend.quiet_import("kvae.publish.warmup")
        with np.load(work / _REQUESTS) as stored:
            requests = _nested(dict(stored))
        found = answered(folder, requests)
    except KvaeError as error:
        (work / _ERROR).write_text(str(error), encoding="utf-8")
        return
    np.savez(work / f".{_ANSWERS}", allow_pickle=False, **_flat(found))
    (work / f".{_ANSWERS}").replace(work / _ANSWERS)


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:3]))
