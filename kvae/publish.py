"""Publishing: a version appears at once and whole, under a number nobody else takes."""

import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf

from kvae import __version__, export, runs
from kvae.config import NO_SAMPLER
from kvae.directions import Directions
from kvae.errors import UsageError
from kvae.model import VAE

FORMAT = 2


def publish(
    vae: VAE,
    save: str | Path,
    name: str,
    *,
    config: dict[str, Any],
    card: dict[str, Any],
    history: dict[str, list[float]],
    directions: Directions | None = None,
    condition: dict[str, Any] | None = None,
) -> runs.Version:
    """Export a model and give it the next version number.

    Everything is written in a hidden folder beside the versions and then moved by one rename, so
    a server that polls sees either nothing or all of it.

    Args:
        vae: the trained model.
        save: the repository, `saved`.
        name: the model's name.
        config: what it was trained with, JSON values.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes, for the signature `edit`.
        condition: of a conditional model: labels and columns, JSON values.

    Raises:
        UsageError: the folder cannot be written.
    """
    model = Path(save) / name
    try:
        model.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=".publish-", dir=model))
    except OSError as error:
        raise UsageError(f"cannot write to {model}: {error.strerror}") from error
    try:
        twin = export.float32_twin(vae)
        # A child of the workshop has the usual permissions; the workshop itself is private.
        built = workshop / "m"
        outputs = export.write_saved_model(twin, built, directions)
        (built / runs.KERAS_MODEL.parent).mkdir()
        twin.save(built / runs.KERAS_MODEL)
        metadata = _metadata(twin, built, config, card, history)
        metadata["signatures"] = _signatures(twin, outputs, directions)
        if directions is not None:
            metadata["directions"] = {
                "names": list(directions.names),
                "accuracy": [float(value) for value in directions.accuracy],
                "held": [list(names) for names in directions.held],
                "left_out": list(directions.left_out),
                "vectors": directions.vectors.tolist(),
            }
        if condition is not None:
            metadata["condition"] = condition
        (built / runs.METADATA).write_text(json.dumps(metadata, indent=1, allow_nan=False))
        return _claim(built, model)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _claim(built: Path, model: Path) -> runs.Version:
    """Rename to the next free number; somebody else may take one between look and rename."""
    number = runs.next_number(model)
    while True:
        target = model / str(number)
        try:
            # Never replaces a version: a rename onto a folder that is not empty fails.
            built.rename(target)
            return runs.Version(target, model.name, number)
        except OSError:
            if not target.exists():
                raise
            number += 1


def _metadata(
    twin: VAE,
    built: Path,
    config: dict[str, Any],
    card: dict[str, Any],
    history: dict[str, list[float]],
) -> dict[str, Any]:
    images = len(twin.element_shape) == 3
    return {
        "format": FORMAT,
        "config": config,
        "data_card": card,
        "history": history,
        "model": {
            "element_shape": list(twin.element_shape),
            "latent_dim": twin.latent_dim,
            "num_params": twin.count_params(),
        },
        "sampler": twin.sampler.kind if twin.has_sampler else NO_SAMPLER,
        "sample_is": (
            "the decoder's mean at a drawn latent"
            if images
            else "a draw from p(x given z) at a drawn latent, noise included"
        ),
        "num_draws": export.NUM_DRAWS,
        "fingerprint": str(
            tf.saved_model.experimental.read_fingerprint(str(built)).saved_model_checksum
        ),
        "versions": {
            "kvae": __version__,
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            **{name: version(name) for name in ("keras", "tensorflow", "numpy")},
        },
    }


def _signatures(
    twin: VAE,
    outputs: dict[str, dict[str, tf.TensorSpec]],
    directions: Directions | None,
) -> dict[str, Any]:
    return {
        name: {
            "help": endpoint.help,
            "inputs": {spec.name: _spec(spec) for spec in endpoint.inputs},
            "outputs": {key: _spec(spec) for key, spec in sorted(outputs[name].items())},
        }
        for name, endpoint in export.endpoints(twin, directions).items()
    }


def _spec(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": ["batch", *spec.shape.as_list()[1:]]}
