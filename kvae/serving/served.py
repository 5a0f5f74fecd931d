"""A published model as its users meet it: through its signatures alone."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from kvae.data.conditions import Conditioned, companion
from kvae.data.cores import num_cores
from kvae.data.images.pixels import as_unit_interval
from kvae.data.rows import joined, slices
from kvae.errors import DataError, one_line
from kvae.serving.versions import Version, read_metadata

# Of vectors, whose small kernels keep one core busy; a batch of images has all, and much memory.
_MOST_AT_ONCE = 4
_VERIFY = "python -m kvae.publish verify"


class ServedModel:
    """A SavedModel whose signatures take and return NumPy arrays of any number of rows.

    Args:
        version: from `kvae.serving.versions.find_version`.
        batch_size: rows handed to the graph at a time.
        conditions: of a conditional model, `(rows, condition_dim)`: what it generates under where
            no condition is given, each row that of number `seed` modulo their count.

    Raises:
        DataError: files are missing or damaged.
    """

    def __init__(self, version: Version, batch_size: int = 250, conditions: Any = None):
        self.version = version
        self.batch_size = batch_size
        self._conditions = conditions
        self.metadata = read_metadata(version)
        is_vector = len(self.metadata.get("model", {}).get("element_shape", ())) == 1
        self._at_once = min(num_cores(), _MOST_AT_ONCE) if is_vector else 1
        try:
            self._model = tf.saved_model.load(str(version.path))
        # Damaged files make it fail in any way, IndexError among them.
        except (OSError, ValueError, LookupError, RuntimeError, tf.errors.OpError) as error:
            raise DataError(
                f"{version.path} cannot be loaded ({_VERIFY} names files that are damaged): "
                f"{one_line(str(error), 200)}"
            ) from error
        for name, described in self.metadata["signatures"].items():
            self._check(name, described)

    def _check(self, name: str, described: dict[str, Any]) -> None:
        """Refuse a graph whose signature is not the one that kvae.json describes."""
        function = self._model.signatures.get(name)
        if function is not None:
            _, inputs = function.structured_input_signature
            if all(
                _in_graph(specs) == _in_metadata(described[way])
                for way, specs in (("inputs", inputs), ("outputs", function.structured_outputs))
            ):
                return
        raise DataError(
            f"{self.version.path} is damaged: its signature {name} is not that of kvae.json "
            f"({_VERIFY} says more)"
        )

    def call(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Run a signature; of vectors several batches at once, each with the same numbers as alone.

        Args:
            signature: its name.
            **inputs: arrays `(rows, ...)` by input name; uint8 images are divided by 255.
                Of `Conditioned` rows the condition is handed over beside them.

        Returns:
            Arrays `(rows, ...)` by output name.
        """
        inputs = self._expanded(signature, inputs)
        function = self._model.signatures[signature]
        num_rows = len(next(iter(inputs.values())))

        def answered(rows: slice) -> dict[str, np.ndarray]:
            given = {
                name: tf.constant(_as_input(name, values[rows])) for name, values in inputs.items()
            }
            return {name: value.numpy() for name, value in function(**given).items()}

        parts = [*slices(num_rows, self.batch_size)]
        if len(parts) == 1 or self._at_once == 1:
            return joined([answered(rows) for rows in parts])
        pool = ThreadPoolExecutor(self._at_once)
        try:
            return joined([*pool.map(answered, parts)])
        finally:
            pool.shutdown(cancel_futures=True)

    def _expanded(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """The inputs with every condition under its own name."""
        given = {}
        for name, values in inputs.items():
            if isinstance(values, Conditioned):
                given[companion(name)] = values.condition
                values = values.x
            given[name] = values
        if (
            self._conditions is not None
            and signature.startswith("generate")
            and "condition" not in given
        ):
            given["condition"] = self._conditions[np.asarray(given["seed"]) % len(self._conditions)]
        return given


def _in_graph(specs):
    return {key: (spec.dtype.name, spec.shape.as_list()[1:]) for key, spec in specs.items()}


def _in_metadata(described):
    return {key: (one["dtype"], one["shape"][1:]) for key, one in described.items()}


def _as_input(name, values):
    """Images as floats in [0, 1], conditions as the numbers that they are."""
    if name.endswith("condition"):
        return np.asarray(values, np.float32)
    return as_unit_interval(values)
