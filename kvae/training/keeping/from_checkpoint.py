"""python -m kvae.publish from-checkpoint: what an interrupted run has, as a version."""

from pathlib import Path
from typing import Any

from kvae import backend, files
from kvae.config import NO_SAMPLER
from kvae.errors import DataError, UsageError, brief, one_line
from kvae.files import FOLDER_NAME, is_folder_name
from kvae.training.keeping import checkpoints
from kvae.training.keeping.checkpoints import Checkpoint
from kvae.training.objects import scheduled


def from_checkpoint(checkpoint: str) -> None:
    """Publish the best weights so far; the run can go on all the same.

    No data are read: there is no sampler, there are no directions, and the variance "optimal" is
    the moving average of training.

    Args:
        checkpoint: a file, or `saved/<name>`, whose newest one is taken.

    Raises:
        UsageError: there is none, or it has no weights that were measured.
        DataError: it is damaged, or its model cannot be made again.
    """
    path, found = _read(Path(checkpoint))
    if not found.best_weights or found.record is None:
        raise UsageError(f"{path}: no epoch of the run was at its end: there is nothing to publish")
    folder = path.absolute().parent
    save, name = folder.parent.parent, folder.parent.name
    if folder.name != "training" or not is_folder_name(name):
        raise UsageError(
            f"{path} is not in saved/NAME/training, where NAME is the model's and {FOLDER_NAME}"
        )
    if found.config.get("name") != name:
        print(f"note: {path} is of a run with the name {brief(found.config.get('name'))}")
    vae = _model(path, found)
    from kvae.publish import publish
    from kvae.training.watching.history import figures_of

    ended = f"published from a checkpoint {found.place}"
    course = {**found.course, "best": found.record.to_json(), "ended": ended}
    if found.left_out:
        course["left_out"] = found.left_out
    steps = max(1, found.data["train"]["rows"] // found.config["batch_size"])
    schedule = scheduled(
        found.config, vae.objective, found.first_step, steps, found.config["epochs"]
    )
    config = {**found.config, **schedule, "sampler": NO_SAMPLER}
    version = publish(
        vae, save, name, config=config, card=found.card,
        history=figures_of(found.rows), course=course, condition=found.condition,
        train_rows=found.train_rows,
    )  # fmt: skip
    print(f"published {version.path}: {found.record}, without a sampler")


def _read(path: Path) -> tuple[Path, Checkpoint]:
    if files.is_file(path):
        return path, checkpoints.read(path)
    folder = path if path.name == "training" else path / "training"
    if not files.is_folder(folder):
        raise UsageError(
            f"saved/NAME, of a model that was trained, or a checkpoint in saved/NAME/training is "
            f"wanted; received {path}"
        )
    found, newest, faults = checkpoints.newest(checkpoints.unfinished(folder))
    for fault in faults:
        print(f"note: {fault}")
    if found is None or newest is None:
        earlier = ", ".join(map(str, checkpoints.earlier(folder)))
        told = f"; there are earlier ones: {earlier}" if earlier else ""
        if (folder / checkpoints.FINISHED).exists():
            told += "; the last run was published"
        raise UsageError(f"{folder} holds no sound checkpoint of a run that is not published{told}")
    return newest, found


def _model(path: Path, found: Checkpoint) -> Any:
    if found.model is None:
        raise UsageError(
            f"{path}: a part of its model has no get_config, so that it cannot be made again here; "
            "kvae.train with the same arguments goes on"
        )
    keras = backend.quiet_import("keras")
    from kvae.build import import_parts
    from kvae.keras_files import bounded_variables

    import_parts()
    stored = sum(array.size for array in found.weights)
    try:
        with bounded_variables(path, stored):
            vae = keras.saving.deserialize_keras_object(found.model, safe_mode=True)
        vae.set_weights(found.best_weights)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever somebody's own part raises
        raise DataError(f"{path}: its model cannot be made: {one_line(str(error), 300)}") from error
    return vae
