"""Whether a version is what was published: its files, its signatures, its numbers."""

from typing import Any

from kvae import backend
from kvae.errors import DataError, one_line
from kvae.publish.repository import file_faults
from kvae.serving import versions


def verify(version: versions.Version) -> list[str]:
    """Hold a version against what its kvae.json says.

    Args:
        version: from `kvae.serving.versions.find_version`.

    Returns:
        What is wrong, a line each; empty where all is well.

    Raises:
        DataError: kvae.json is missing or damaged, or holds no checksums.
    """
    metadata = versions.read_metadata(version)
    if "files" not in metadata:
        raise DataError(
            f"{version.path / versions.METADATA} holds no checksums: it is damaged, or was "
            "published before kvae kept them"
        )
    faults = file_faults(version, metadata["files"])
    if faults:  # what is not whole cannot be loaded
        return faults
    backend.quiet_import("tensorflow")
    from kvae.publish import fingerprint
    from kvae.publish.warmup import compare_probe

    try:
        found = fingerprint(version.path)
        if found != metadata["fingerprint"]:
            faults.append(f"fingerprint {found} instead of {metadata['fingerprint']}")
        faults += _signature_faults(version, metadata["signatures"])
        faults += compare_probe(version.path)
    except MemoryError:
        raise
    except Exception as error:  # files that are damaged, and have their checksums all the same
        faults.append(one_line(str(error), 500) or type(error).__name__)
    return faults


def _signature_faults(version: versions.Version, then: dict[str, Any]) -> list[str]:
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = (version.path / "saved_model.pb").read_bytes()
    graph = SavedModel.FromString(content).meta_graphs[0]
    now = {
        name: tuple(
            {
                key: (
                    tf.dtypes.as_dtype(one.dtype).name,
                    [dim.size for dim in one.tensor_shape.dim][1:],
                )
                for key, one in tensors.items()
            }
            for tensors in (definition.inputs, definition.outputs)
        )
        for name, definition in graph.signature_def.items()
        if not name.startswith("__")
    }
    said = {
        name: tuple(
            {key: (tensor["dtype"], tensor["shape"][1:]) for key, tensor in one[way].items()}
            for way in ("inputs", "outputs")
        )
        for name, one in then.items()
    }
    return [
        f"signature {name} is not that of kvae.json"
        for name in sorted(now.keys() | said.keys())
        if now.get(name) != said.get(name)
    ]
