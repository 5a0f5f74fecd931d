"""Publishing: a version appears at once and whole, under a number nobody else takes.

python -m kvae.publish looks after what was published. What is here imports TensorFlow only when a
model is published.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae import __version__, backend
from kvae.config import NO_SAMPLER
from kvae.files import or_note
from kvae.publish.repository import checksums, claim, tell_server, workshop
from kvae.saying import progress
from kvae.serving import versions
from kvae.serving.metadata import check_given

if TYPE_CHECKING:
    import numpy as np

    from kvae.directions import Directions
    from kvae.model import VAE

FORMAT = 3
_STEPS = 4


def publish(
    vae: "VAE",
    save: str | Path,
    name: str,
    *,
    config: dict[str, Any],
    card: dict[str, Any],
    history: dict[str, list[float]],
    directions: "Directions | None" = None,
    condition: dict[str, Any] | None = None,
    course: dict[str, Any] | None = None,
    train_rows: "np.ndarray | None" = None,
    run: str | None = None,
    check: Callable[[versions.Version], None] | None = None,
) -> versions.Version:
    """Export a model and give it the next version number.

    Everything is written in a hidden folder beside the versions, tried as a server would, and then
    moved by one rename, so a server that polls sees either nothing or all of it. Under another
    backend than TensorFlow a child process does it.

    Args:
        vae: the trained model.
        save: the repository, `saved`.
        name: the model's name.
        config: what it was trained with, JSON values.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes, for the signature `edit`.
        condition: of a conditional model: labels and columns, JSON values.
        course: how training went beside its epochs, JSON values: `start`, the figures of the valid
            split of weights that it went on from; `run`, a token that its checkpoints have too;
            `best`, which epoch was published (0: that start) and by which figure; `in_float32`,
            figures of its weights as they are served, of a run in half precision; `ended`, why
            there are fewer epochs than asked for;
            `left_out`, rows of valid and test split that the weights had been trained on before.
        train_rows: what the rows that it was trained on are known by, see `kvae.data.seen`.
        run: the text of run.yaml, see `kvae.run_file`; None: no options make this model again.
        check: is given the version when it is whole and has no number yet; what it raises keeps it
            from being published. None: nothing is asked.

    Raises:
        UsageError: kvae.json cannot say what was given, before anything is written; or the folder
            cannot be written.
        DataError: the SavedModel does not answer its own warm-up requests.
        Exception: what `check` raises.
    """
    import keras

    save = Path(save)
    given: dict[str, Any] = {
        "config": config,
        "data_card": card,
        "history": history,
        "model": {
            "element_shape": list(vae.element_shape),
            "latent_dim": vae.latent_dim,
            # What x is moved and divided by before the networks see it.
            "shift": vae.shift.tolist(),
            "scale": vae.scale.tolist(),
            "num_params": vae.count_params(),
        },
    }
    if directions is not None:
        given["directions"] = directions.to_json()
    if condition is not None:
        given["condition"] = condition
    if course:
        given["course"] = course
    check_given(given)
    if keras.backend.backend() != backend.TENSORFLOW:
        from kvae.publish.handover import publish_in_child

        def in_child(place: Path) -> versions.Version:
            return publish_in_child(
                vae, place, name, config=config, card=card, history=history,
                directions=directions, condition=condition, course=course,
                train_rows=train_rows, run=run,
            )  # fmt: skip

        if check is None:
            return in_child(save)
        with workshop(save / name) as folder:
            handed = in_child(folder)
            check(handed._replace(number=0))
            published = claim(handed.path, save / name)
        tell_server(published)
        return published
    from kvae.data import seen
    from kvae.evaluation.report import model_card
    from kvae.publish import warmup
    from kvae.serving import export
    from kvae.serving.signatures import NUM_DRAWS, endpoints

    with workshop(save / name) as folder, progress("publishing", _STEPS, "steps") as advance:
        twin = export.float32_twin(vae)
        crop = card.get("crop", "center")
        signatures = endpoints(twin, directions, crop, binarize=bool(card.get("binarize")))
        # A child of the workshop has the usual permissions; the workshop itself is private.
        built = folder / "m"
        binary = _is_binary(twin, card)
        advance(1)
        outputs = export.write_saved_model(twin, built, signatures, binary=binary)
        advance(1)
        (built / versions.KERAS_MODEL.parent).mkdir()
        twin.save(built / versions.KERAS_MODEL)
        warmup.write_records(built, name, twin, signatures, crop, binary=binary)
        advance(1)
        warmup.write_probe(built)
        advance(1)
        if train_rows is not None:
            seen.write(built / versions.TRAIN_ROWS, train_rows)
        if run is not None:
            (built / versions.RUN_FILE).write_text(run, encoding="utf-8", newline="\n")
        metadata = {
            "format": FORMAT,
            "published": datetime.now(UTC).isoformat(timespec="seconds"),
            **given,
            "sampler": twin.sampler.kind if twin.has_sampler else NO_SAMPLER,
            "num_draws": NUM_DRAWS,
            "versions": {
                "kvae": __version__,
                "python": ".".join(str(part) for part in sys.version_info[:3]),
                **{library: version(library) for library in ("keras", "tensorflow", "numpy")},
            },
            "signatures": _signatures(twin, signatures, outputs, binary=binary),
            "fingerprint": fingerprint(built),
        }
        with or_note(versions.MODEL_CARD.name):
            model_card.write(
                built / versions.MODEL_CARD, versions.Version(built, name, 0), metadata
            )
        metadata["files"] = checksums(built)
        text = json.dumps(metadata, indent=1, allow_nan=False)
        (built / versions.METADATA).write_text(text, encoding="utf-8")
        if check is not None:
            check(versions.Version(built, name, 0))
        published = claim(built, save / name)
    tell_server(published)
    return published


def fingerprint(folder: Path) -> str:
    """TensorFlow's checksum of the SavedModel in a folder, as its `fingerprint.pb` holds it."""
    import tensorflow as tf

    found = tf.saved_model.experimental.read_fingerprint(str(folder))
    return str(found.saved_model_checksum)


def _is_binary(twin, card):
    """Whether rows are vectors that --binarize made of 0 and 1: images may have levels between."""
    return bool(card.get("binarize")) and len(twin.element_shape) == 1


def _signatures(twin, signatures, outputs, *, binary):
    from kvae.serving.signatures import meanings

    known = meanings(twin, binary=binary)

    def described(name, spec):
        meaning = known[name]
        return {
            "dtype": spec.dtype.name,
            "shape": ["batch", *spec.shape.as_list()[1:]],
            "meaning": meaning.text,
            "unit": meaning.unit,
            "range": meaning.range and list(meaning.range),
        }

    return {
        signature: {
            "help": endpoint.help,
            "inputs": {spec.name: described(spec.name, spec) for spec in endpoint.inputs},
            "outputs": {
                name: described(name, spec) for name, spec in sorted(outputs[signature].items())
            },
        }
        for signature, endpoint in signatures.items()
    }
