"""A VAE as a SavedModel that TF Serving loads. A row with a non-finite value answers NaN there.

So does one of another number than 0 and 1, where the model was trained on a table made of these.
"""

import math
from pathlib import Path

import keras
import tensorflow as tf

from kvae.errors import UsageError
from kvae.keras_files import reason, unknown_part
from kvae.model import VAE
from kvae.serving.signatures import ROWS, Endpoint, endpoints


def float32_twin(vae: VAE) -> VAE:
    """A copy with the same weights that computes in float32 throughout.

    Raises:
        UsageError: a part of somebody's own cannot be made from its configuration.
    """
    try:
        twin = VAE.from_config(vae.get_config())
    except Exception as error:  # of a part of somebody's own it may be any
        unknown = unknown_part(error)
        why = (
            f"Keras does not know {unknown}: write @keras.saving.register_keras_serializable() "
            "above it"
            if unknown
            else f"{reason(error)}; get_config() of a part returns the arguments of its __init__"
        )
        raise UsageError(f"the model cannot be made from its configuration: {why}") from error
    twin.set_weights(vae.get_weights())
    for layer in (twin, *twin._flatten_layers()):
        layer.dtype_policy = "float32"
    return twin


def write_saved_model(
    twin: VAE,
    directory: Path,
    signatures: dict[str, Endpoint] | None = None,
    *,
    binary: bool = False,
) -> dict[str, dict[str, tf.TensorSpec]]:
    """Write the SavedModel of a float32 VAE.

    Args:
        twin: from `float32_twin`.
        directory: a new or an empty folder.
        signatures: name -> endpoint; None: `endpoints(twin)`.
        binary: whether a row of x has no number but 0 and 1.

    Returns:
        What each signature answers: name -> output name -> `tf.TensorSpec`.
    """
    archive = keras.export.ExportArchive()
    outputs = _add(archive, signatures or endpoints(twin), binary)
    archive.write_out(str(directory), verbose=False)
    return outputs


def export(vae: VAE, directory: Path) -> None:
    """Write a model as `VAE.export` does: its signatures, and behind them `serve`.

    Args:
        vae: the model, in any precision.
        directory: a new or an empty folder.
    """
    twin = float32_twin(vae)
    archive = keras.export.ExportArchive()
    found = endpoints(twin)
    _add(archive, found, binary=False)
    inputs = list(found["serving_default"].inputs)
    archive.add_endpoint("serve", lambda *x: twin(x if len(x) > 1 else x[0]), inputs)
    archive.write_out(str(directory), verbose=False)


def _add(archive, signatures, binary):
    """Put signatures into an archive; what each of them answers."""
    outputs = {}
    for name, endpoint in signatures.items():
        traced = tf.function(
            _guarded(endpoint.function, endpoint.inputs, binary), autograph=False
        ).get_concrete_function(*endpoint.inputs)
        # Saving traces every function a second time; this way that is one call.
        archive.add_endpoint(name, _calling(traced), list(endpoint.inputs))
        outputs[name] = traced.structured_outputs
    return outputs


def _calling(traced):
    return lambda *tensors: traced(*tensors)


def _guarded(function, inputs, binary):
    """Refuse unequal numbers of rows; answer NaN in rows of numbers that the model is not for."""

    def fits(tensor, spec):
        if binary and spec.name in ROWS:
            return (tensor == 0) | (tensor == 1)
        return tf.math.is_finite(tensor)

    def guarded(*tensors):
        tensors = _of_equal_rows(tensors)
        fitting = [
            tf.reduce_all(fits(tensor, spec), axis=list(range(1, len(spec.shape))))
            for tensor, spec in zip(tensors, inputs, strict=True)
            if spec.dtype.is_floating
        ]
        outputs = function(*tensors)
        if not fitting:
            return outputs
        # A product: a choice between values of one number for a row takes six times as long.
        factor = tf.where(tf.reduce_all(tf.stack(fitting), axis=0), 1.0, math.nan)
        return {
            name: value * tf.reshape(factor, (-1,) + (1,) * (len(value.shape) - 1))
            for name, value in outputs.items()
        }

    return guarded


def _of_equal_rows(tensors):
    """The tensors; one row beside many would else be repeated for all of them."""
    rows = tf.stack([tf.shape(tensor)[0] for tensor in tensors])
    equal = tf.debugging.Assert(
        tf.reduce_all(rows == rows[0]), ["all inputs of a request need as many rows; given:", rows]
    )
    with tf.control_dependencies([equal]):
        return [tf.identity(tensor) for tensor in tensors]
