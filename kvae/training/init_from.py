"""--init-from: the weights of another run, and whether they fit."""

import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kvae.build import load_model
from kvae.data import Dataset, seen
from kvae.data.conditions import Conditions
from kvae.errors import DataError, UsageError, one_line
from kvae.keras_files import check_weights
from kvae.saying import say
from kvae.serving import versions
from kvae.training.keeping import checkpoints
from kvae.training.keeping.checkpoints import Record

_STEP = "vars/0"  # in a weights file, of a model's own step


def read_weights(vae, source):
    """Copy the weights of a version or a file of the same shapes: of a checkpoint the best ones.

    But for a `.weights.h5` file, which knows none, the units of x go with them.

    Args:
        vae: whose weights and units are replaced.
        source: path of a version's folder or of a file.

    Raises:
        UsageError: the weights do not fit the model, or the file is none of weights.
        DataError: it is damaged, or declares more than it holds.
    """
    path = Path(source)
    if path.name.endswith(".weights.h5"):
        with tempfile.TemporaryDirectory() as folder:
            ours = Path(folder) / "ours.weights.h5"
            vae.save_weights(ours)
            found, wanted = _shapes_in_file(path), _shapes_in_file(ours)
        if _STEP not in found:  # of kvae 0.1
            del wanted[_STEP]
        _refuse_misfit(source, wanted, found)
        try:
            vae.load_weights(path)
        except MemoryError:
            raise
        except Exception as error:  # what is damaged makes Keras fail in any way
            raise DataError(f"{path} cannot be read: {one_line(str(error), 300)}") from error
        say(f"weights of {source}; a weights file knows no units, those of these data are used")
        return
    if path.name.endswith(checkpoints.SUFFIX):
        _read_checkpoint(vae, source, checkpoints.read(path))
        say(f"starts from the best weights of {source}")
        return
    other = load_model(path).with_sampler(None)
    _check_element(source, vae.element_shape, other.element_shape)
    _refuse_misfit(source, _kinds(vae), _kinds(other))
    _refuse_misfit(source, _shapes(vae), _shapes(other))
    # The other model may have seen data in other units: its own go with its weights.
    vae.set_weights(other.get_weights())
    vae.shift, vae.scale = other.shift, other.scale
    say(f"starts from the weights of {source}")


def _read_checkpoint(vae, source, checkpoint):
    then = checkpoint.config
    if not checkpoint.best_weights:
        raise UsageError(f"--init-from {source}: no epoch of that run was at its end")
    if (size := then.get("image_size")) is not None and len(vae.element_shape) == 3:
        channels = then.get("channels", vae.element_shape[-1])
        _check_element(source, vae.element_shape, (size, size, channels))
    conditions = (checkpoint.condition or {}).get("names", [])
    theirs = {
        "posterior": then["posterior"], "condition": len(conditions), "prior": then["prior"],
        "likelihood": (then["likelihood"], then.get("variance", "")),
    }  # fmt: skip
    _refuse_misfit(source, _kinds(vae), theirs)
    shapes = {f"weight {at}": array.shape for at, array in enumerate(checkpoint.best_weights)}
    _refuse_misfit(source, _shapes(vae), shapes)
    vae.set_weights(checkpoint.best_weights)
    vae.shift, vae.scale = checkpoint.shift, checkpoint.scale


def record_of(source: str | None) -> Record | None:
    """What is known of how good weights are that a run starts from."""
    if source is None or not source.endswith(checkpoints.SUFFIX):
        return None
    record: Record | None = checkpoints.read_header(Path(source))["record"]
    return record


def check_conditions(source: str | None, conditions: Conditions) -> None:
    """Refuse a version whose conditions have other meanings, be there as many or not.

    Args:
        source: of --init-from; a file says nothing of conditions and is not refused here.
        conditions: of this run.

    Raises:
        UsageError: the version was trained with other conditions.
    """
    if source is None or not Path(source).is_dir():
        return
    metadata = versions.read_metadata(versions.find_version(source))
    then = metadata.get("condition", {}).get("names", [])
    if then != conditions.names:
        raise UsageError(
            f"--init-from {source}: trained with the conditions {', '.join(then) or 'none'}; "
            f"here they are {', '.join(conditions.names) or 'none'}"
        )


def seen_before(source: str | None, model: Any, dataset: Dataset) -> np.ndarray | None:
    """What the rows are known by that the weights were trained on which training starts from.

    Args:
        source: of --init-from.
        model: that is trained, if it is there already.
        dataset: of this run; a note says where its rows cannot be told from those.

    Returns:
        See `kvae.data.seen`; None: not known, or there are none.

    Raises:
        DataError: the file that says so is damaged.
    """
    if source is None:
        return getattr(getattr(model, "trained", None), "train_rows", None)
    path, card = Path(source), None
    if path.is_dir():
        version = versions.find_version(path)
        found = seen.read(version.path / versions.TRAIN_ROWS)
        card = versions.read_metadata(version)["data_card"]
    elif path.name.endswith(checkpoints.SUFFIX):
        checkpoint = checkpoints.read(path)
        found, card = checkpoint.train_rows, checkpoint.card
    else:
        found = seen.read(path.with_name(versions.TRAIN_ROWS.name))
    if found is None and card != json.loads(json.dumps(dataset.card)):
        say(
            f"note: {source} does not say which rows it was trained on: some of the valid and "
            "test rows of this run may be among them"
        )
    return found


def without_seen(
    dataset: Dataset, before: np.ndarray | None, place: str
) -> tuple[Dataset, dict[str, int]]:
    """The dataset without valid and test rows that the weights were trained on before.

    Args:
        dataset: of this run.
        before: from `seen_before`.
        place: where the weights come from.

    Returns:
        The dataset, and how many rows were left out of which split.

    Raises:
        UsageError: nothing is left of a split.
    """
    kept, counts = seen.without(dataset, before)
    if counts:
        told = " and ".join(f"{count:,} of {len(getattr(dataset, name).x):,} {name} rows"
                            for name, count in counts.items())  # fmt: skip
        say(f"left out   {told}: {place} was trained on them")
    for name in counts:
        if not len(getattr(kept, name).x):
            raise UsageError(
                f"{place}: it was trained on all {counts[name]:,} rows of the {name} split; rows "
                "that it has not seen are wanted there: the split (--split-seed) that it was "
                "trained with, or other data"
            )
    return kept, counts


def _check_element(source, here, there):
    """Refuse x of another shape, which no option of the model changes."""
    if tuple(here) == tuple(there):
        return
    what, remedy = f"x of shape {tuple(there)}", "data of that shape are needed"
    if len(here) == len(there) == 3:
        what = f"images of {there[0]}x{there[1]} pixels and {there[2]} channels"
        remedy = f"--image-size {there[0]} and --channels {there[2]}, or data of that shape"
        remedy += ", are needed"
    raise UsageError(
        f"--init-from {source}: it was trained on {what}; {remedy}; this run has x of shape "
        f"{tuple(here)}"
    )


def _shapes(vae):
    """Place and shape of each weight; names of layers differ between two models of one kind."""
    return {f"weight {place}": tuple(weight.shape) for place, weight in enumerate(vae.weights)}


def _kinds(vae):
    """What weights of equal shapes may mean differently."""
    return {
        "posterior": vae.posterior_kind,
        "condition": vae.condition_dim,
        "prior": vae.prior.kind,
        "likelihood": (vae.likelihood.kind, getattr(vae.likelihood, "variance", "")),
    }


def _shapes_in_file(path):
    """Place and shape of each weight in a `.weights.h5` file, but for an optimizer's."""
    if not path.is_file() or not h5py.is_hdf5(path):
        raise UsageError(f"{path} is not a .weights.h5 file, or damaged: it is no HDF5")
    check_weights(path)
    shapes = {}

    def visit(name, item):
        if hasattr(item, "shape") and not name.startswith("optimizer"):
            shapes[name] = tuple(item.shape)

    with h5py.File(path) as file:
        file.visititems(visit)
    return shapes


def _refuse_misfit(source, ours, theirs):
    for place in sorted({*ours, *theirs}):
        here, there = ours.get(place, "absent"), theirs.get(place, "absent")
        if here != there:
            raise UsageError(
                f"--init-from {source}: its weights do not fit this model ({place}: {here} "
                f"here, {there} there); the same --network, --latent-dim, --condition, "
                "--posterior, --likelihood and --prior, with the same options of theirs, and shape "
                "of x are needed"
            )
