"""Warm-up records: a request for each signature, which TF Serving replays while it loads a version.

The same requests, with what they answered at publication, are the probe by which a version is
verified later. Their rows are drawn from the model itself: nothing of anybody's data is in them.

Source: TensorFlow Serving, "SavedModel warmup".
"""

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from kvae.data.images.crops import least_size
from kvae.data.images.pixels import as_levels
from kvae.errors import DataError, one_line
from kvae.model import VAE
from kvae.probability.noise import SeededNoise
from kvae.serving.signatures import Endpoint
from kvae.serving.versions import PROBE, WARMUP

NUM_ROWS = 2
_TOLERANCE = 1e-4  # of max(1, |value|): other processors round otherwise


def write_records(
    folder: Path,
    name: str,
    twin: VAE,
    signatures: dict[str, Endpoint],
    crop: str,
    *,
    binary: bool = False,
) -> None:
    """Write a record for each signature of the SavedModel in `folder`.

    Args:
        folder: of the SavedModel.
        name: of the model.
        twin: the model that it was written from.
        signatures: name -> endpoint.
        crop: what they keep of an image file.
        binary: whether a row of x has no number but 0 and 1.
    """
    rows = _rows(twin, signatures, crop, binary)
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for signature, endpoint in signatures.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=signature),
                inputs={
                    spec.name: tf.make_tensor_proto(rows[spec.name]) for spec in endpoint.inputs
                },
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def write_probe(folder: Path) -> None:
    """Replay the records, and keep what they answered.

    Args:
        folder: of the SavedModel.

    Raises:
        DataError: a record fails (TF Serving would not load this version), or an answer is not
            finite.
    """
    answers: dict[str, Any] = _flat(replay(folder))
    lost = [name for name, value in answers.items() if not np.isfinite(value).all()]
    if lost:
        raise DataError(f"the model answers with numbers that are not finite: {', '.join(lost)}")
    np.savez_compressed(folder / PROBE, **answers)


def compare_probe(folder: Path) -> list[str]:
    """Replay the records and hold the answers against those of the publication.

    Args:
        folder: of the SavedModel.

    Returns:
        A line for each output that differs; none where all is well.

    Raises:
        DataError: a file cannot be read, or a record fails.
    """
    found = _flat(replay(folder))
    stored = _probe(folder / PROBE, found)
    faults = [
        f"{name}: in one of records and probe alone" for name in sorted(stored.keys() ^ found)
    ]
    for name in sorted(stored.keys() & found.keys()):
        then, now = stored[name], found[name]
        if isinstance(then, str):
            faults.append(f"{name}: {then}")
            continue
        difference = np.abs(now - then) / np.maximum(1.0, np.abs(then))
        if not np.array_equal(np.isnan(then), np.isnan(now)) or np.nanmax(difference) > _TOLERANCE:
            faults.append(f"{name}: differs by {np.nanmax(difference):.2g} of max(1, |value|)")
    return faults


def _probe(path: Path, found: dict[str, np.ndarray]) -> dict[str, np.ndarray | str]:
    """The stored answers by their names; of one of another shape or kind than found what it is.

    No array is read before its header is known to be that of the answer found.
    """
    stored: dict[str, np.ndarray | str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                now = found.get(name)
                if now is None:
                    stored[name] = ""
                    continue
                with archive.open(member) as file:
                    np.lib.format.read_magic(file)
                    # Version 1, whose headers have 64 KB at most.
                    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                if (shape, dtype) != (now.shape, now.dtype):
                    stored[name] = f"{now.dtype} of shape {now.shape} instead of {dtype} {shape}"
                    continue
                with archive.open(member) as file:
                    stored[name] = np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError:
        raise
    # zlib.error among what damage makes it fail of.
    except Exception as error:
        why = one_line(str(error), 200)
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {why}") from error
    return stored


def replay(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Answer the warm-up records as TF Serving does, through the session loader.

    Args:
        folder: of the SavedModel.

    Returns:
        Signature -> output name -> array.

    Raises:
        DataError: the SavedModel or the records cannot be read, or a request fails.
    """
    try:
        records = requests(folder)
        if not records:
            raise ValueError(f"{WARMUP} holds no records")
    except MemoryError:
        raise
    except Exception as error:  # damaged files make it fail in any way
        raise _not_served(folder, error) from error
    (found,) = answered(folder, [records])
    return found


def answered(
    folder: Path, sets: list[list[tuple[str, dict[str, np.ndarray]]]]
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Answer requests as TF Serving does, through the session loader.

    Args:
        folder: of the SavedModel.
        sets: of requests, signature and inputs of each, in a set one of a signature.

    Returns:
        Of each set: signature -> output name -> array.

    Raises:
        DataError: the SavedModel cannot be read, or a request fails.
    """
    try:
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            with _without_advice():
                loader = tf.compat.v1.saved_model.loader
                definitions = loader.load(session, ["serve"], str(folder)).signature_def
            # All at once: every run is optimised by itself, which takes longer than the run.
            return [session.run(*_fetches_and_feed(definitions, records)) for records in sets]
    except MemoryError:
        raise
    except Exception as error:
        raise _not_served(folder, error) from error


def _fetches_and_feed(
    definitions: Any, records: list[tuple[str, dict[str, np.ndarray]]]
) -> tuple[dict[str, dict[str, str]], dict[str, np.ndarray]]:
    feed: dict[str, np.ndarray] = {}
    fetches: dict[str, dict[str, str]] = {}
    for signature, inputs in records:
        definition = definitions[signature]
        feed |= {tensor.name: inputs[key] for key, tensor in definition.inputs.items()}
        fetches[signature] = {key: one.name for key, one in definition.outputs.items()}
    return fetches, feed


def _not_served(folder: Path, error: Exception) -> DataError:
    return DataError(f"{folder} cannot be served: {one_line(str(error), 500)}")


@contextmanager
def _without_advice() -> Iterator[None]:
    """TensorFlow calls its session loader deprecated; TF Serving has no other."""
    log = tf.get_logger()
    level = log.level
    log.setLevel("ERROR")
    try:
        yield
    finally:
        log.setLevel(level)


def _flat(answers: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        f"{signature}/{name}": value
        for signature, outputs in answers.items()
        for name, value in outputs.items()
    }


def requests(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The warm-up records of a SavedModel: signature and inputs of each."""
    found = []
    for record in tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for name, proto in request.inputs.items():
            # One number may stand for all of any shape.
            count = math.prod(dim.size for dim in proto.tensor_shape.dim)
            if not 0 <= count <= len(record):
                raise ValueError(f"{WARMUP}: {name} is of {count:,} values in {len(record)} bytes")
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        found.append((request.model_spec.signature_name, inputs))
    return found


def _rows(
    twin: VAE, signatures: dict[str, Endpoint], crop: str, binary: bool
) -> dict[str, np.ndarray]:
    """Rows for every input that a signature has."""
    seed = np.arange(NUM_ROWS, dtype=np.int64)
    noise, dim = SeededNoise(seed), twin.condition_dim
    condition = np.zeros((NUM_ROWS, dim), np.float32) if dim else None
    given_latent = twin.decode(twin.sampler.sample(noise), condition)
    # Not its mean, which is no x that a Bernoulli likelihood has a probability for.
    x = np.asarray(given_latent.sample(noise, "observation"), np.float32)
    if binary:
        x = (x >= 0.5).astype(np.float32)
    rows: dict[str, np.ndarray] = {
        "seed": seed,
        "latent": np.asarray(twin.prior.sample(noise), np.float32),
        "fraction": np.full(NUM_ROWS, 0.5, np.float32),
    }
    if len(twin.element_shape) == 3:
        x = np.clip(x, 0.0, 1.0)
        rows["image_bytes"] = np.array([_png(image, crop) for image in x], object)
    rows |= {"x": x, "start": x, "end": x[::-1]}
    for endpoint in signatures.values():
        for spec in endpoint.inputs:
            # Conditions and strengths: zeros are right for any model.
            rows.setdefault(spec.name, np.zeros((NUM_ROWS, *spec.shape[1:]), np.float32))
    return rows


def _png(image: np.ndarray, crop: str) -> bytes:
    """A file of the image, enlarged to what a crop needs."""
    levels = as_levels(image)
    drawn = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    width, height = least_size(crop)
    file = io.BytesIO()
    drawn.resize((max(drawn.width, width), max(drawn.height, height))).save(file, "PNG")
    return file.getvalue()
