"""Versions to audit that cost no publishing: their files, and answers of the model itself."""

import json

import keras
import numpy as np
import tensorflow as tf
from kvae_testing import metadata

from kvae.audit import run
from kvae.audit.verdicts import AGREES, DIFFERS
from kvae.serving.signatures import endpoints
from kvae.serving.versions import KERAS_MODEL, METADATA, Version


def written(vae, folder, *names, directions=None, **changes):
    """What the audit reads of a version of a model.

    Args:
        vae: the model.
        folder: a new folder.
        names: of its signatures; none: all of arrays.
        directions: of attributes.
        changes: of kvae.json.
    """
    found = _endpoints(vae, directions)
    described = {
        name: {"inputs": {spec.name: {"dtype": spec.dtype.name,
                                      "shape": ["batch", *spec.shape.as_list()[1:]]}
                          for spec in found[name].inputs}, "outputs": {}}
        for name in names or found
    }  # fmt: skip
    said = {"element_shape": list(vae.element_shape), "latent_dim": vae.latent_dim}
    if directions is not None:
        changes["directions"] = directions.to_json()
    (folder / METADATA).parent.mkdir(parents=True)
    content = metadata(model=said, signatures=described, **changes)
    (folder / METADATA).write_text(json.dumps(content), encoding="utf-8")
    vae.save(folder / KERAS_MODEL)
    return Version(folder, "m", 1)


def _endpoints(vae, directions):
    found = endpoints(vae, directions)
    return {
        name: one for name, one in found.items()
        if all(spec.dtype != tf.string for spec in one.inputs)
    }  # fmt: skip


def asks(vae, directions=None):
    """A model that answers in the place of a server."""

    def ask(folder, requests):
        known = _endpoints(vae, directions)
        return {
            name: {
                signature: {
                    key: keras.ops.convert_to_numpy(value)
                    for key, value in known[signature]
                    .function(*(tf.constant(inputs[spec.name])
                                for spec in known[signature].inputs))
                    .items()
                }
                for signature, inputs in signatures.items()
            }
            for name, signatures in requests.items()
        }  # fmt: skip

    return ask


def audited(version, vae, directions=None):
    """Line by what it is about, of a version that the model answers for."""
    _, lines = run.audit(version, {}, asks(vae, directions))
    return by_name(lines)


def by_name(lines):
    """Line by what it is about."""
    return {line.what: line for line in lines}


def agreeing(lines):
    return {what for what, line in lines.items() if line.verdict == AGREES}


def differing(lines):
    return {what for what, line in lines.items() if line.verdict == DIFFERS}


def tampered(path, change):
    """Change the numbers of a weight of a `.keras` file in place: `change(name, array)`."""
    import io
    import zipfile

    import h5py

    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = io.BytesIO(parts["model.weights.h5"])

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            item[...] = np.asarray(change(name, item[...]))

    with h5py.File(content, "r+") as file:
        file.visititems(visit)
    parts["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
