"""--init-from: the weights of another run, and whether they fit."""

import tempfile
from pathlib import Path

import h5py

from kvae.build import load_model
from kvae.data.conditions import Conditions
from kvae.errors import DataError, UsageError, one_line
from kvae.keras_files import check_weights
from kvae.serving import versions

_STEP = "vars/0"  # in a weights file, of a model's own step


def read_weights(vae, source):
    """Copy the weights of a version, a `.keras` or a `.weights.h5` file of the same shapes.

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
        print(f"weights of {source}; a weights file knows no units, those of these data are used")
        return
    other = load_model(path).with_sampler(None)
    _refuse_misfit(source, _kinds(vae), _kinds(other))
    _refuse_misfit(source, _shapes(vae), _shapes(other))
    # The other model may have seen data in other units: its own go with its weights.
    vae.set_weights(other.get_weights())
    vae.shift, vae.scale = other.shift, other.scale
    print(f"starts from the weights of {source}")


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
