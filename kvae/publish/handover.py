"""Publishing of a model that another backend trained: by a child process, under TensorFlow.

SavedModels are TensorFlow's. The model goes as a `.keras` file, what belongs to it as JSON.
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae import backend, children, own_files, publish
from kvae.data import seen
from kvae.errors import DataError, KvaeError, UsageError
from kvae.serving import versions

if TYPE_CHECKING:
    import numpy as np

    from kvae.directions import Directions
    from kvae.model import VAE

_MODEL, _REST, _ANSWER = "model.keras", "rest.json", "answer.json"
_ROWS = "train_rows.npy"


def publish_in_child(
    vae: "VAE", save: Path, name: str, *, directions: "Directions | None",
    train_rows: "np.ndarray | None" = None, **rest: Any,
) -> versions.Version:  # fmt: skip
    """As `kvae.publish.publish`, from any backend.

    Args:
        vae: the trained model.
        save: the repository, `saved`.
        name: the model's name.
        directions: of attributes.
        train_rows: what the rows that it was trained on are known by.
        **rest: as `publish` takes it, JSON values.

    Raises:
        UsageError: as `publish`.
        DataError: as `publish`, and for whatever else the child fails of.
    """
    rest["directions"] = None if directions is None else directions.to_json()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vae.save(folder / _MODEL)
        if train_rows is not None:
            seen.write(folder / _ROWS, train_rows)
        rest = {
            "save": str(save.resolve()), "name": name, "own_files": own_files.files(), **rest
        }  # fmt: skip
        (folder / _REST).write_text(json.dumps(rest), encoding="utf-8")
        status = _run_child(folder)
        answer = folder / _ANSWER
        if not answer.is_file():
            raise DataError(f"publishing under TensorFlow ended with status {status}")
        try:
            found = json.loads(answer.read_text(encoding="utf-8"))
        except ValueError as error:  # it was killed while it wrote
            raise DataError(f"publishing under TensorFlow ended with status {status}") from error
    if "number" not in found:
        raise (UsageError if found["is_usage"] else DataError)(found["error"])
    return versions.Version(save / name / str(found["number"]), name, found["number"])


def _run_child(folder: Path) -> int:
    """Run this module; an interruption ends the child first, which then cleans up."""
    here = children.environment() | {
        backend.VARIABLE: backend.TENSORFLOW,
        # The other backend has the memory of the GPUs. What is written runs on any device.
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    child = subprocess.Popen([sys.executable, "-m", "kvae.publish.handover", str(folder)], env=here)
    try:
        return child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise


def _publish(folder: Path) -> dict[str, Any]:
    """What the child does, and says of it."""
    try:
        backend.quiet_import("tensorflow")
        from kvae.build import load_model
        from kvae.directions import Directions

        rest = json.loads((folder / _REST).read_text(encoding="utf-8"))
        directions = rest.pop("directions")
        for file in rest.pop("own_files"):
            own_files.run(file)
        version = publish.publish(
            load_model(folder / _MODEL),
            train_rows=seen.read(folder / _ROWS),
            directions=None if directions is None else Directions.from_json(directions),
            **rest,
        )
        return {"number": version.number}
    except KvaeError as error:
        return {"is_usage": isinstance(error, UsageError), "error": str(error)}
    except Exception as error:
        return {"is_usage": False, "error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent has it too, and ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    target = Path(sys.argv[1])
    (target / _ANSWER).write_text(json.dumps(_publish(target)), encoding="utf-8")
