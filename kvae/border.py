"""The border of a model: what x, conditions and weights it takes, one check for every door."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from kvae import likelihoods
from kvae.data.conditions import Conditioned
from kvae.data.images.pixels import ROUNDING, UNIT
from kvae.data.rows import in_parts, rows_at_once
from kvae.data.tables.numbers import LARGEST, fits
from kvae.errors import UsageError
from kvae.inputs import is_pair
from kvae.likelihoods import LIKELIHOODS, accepts
from kvae.probability.rows import shape_of

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_OF_IMAGES = (*_FLOATS, "uint8", "bool")


class Batch(NamedTuple):
    """What Keras hands to a step, taken apart.

    Args:
        x: `(batch, ...)`, or a pair with its condition.
        weight: of each row, `(batch,)`; None: 1.
    """

    x: Any
    weight: Any


class Border(NamedTuple):
    """What a model takes.

    Args:
        element_shape: of one x.
        condition_dim: numbers in the condition of a row; 0: it takes none.
        likelihood: its kind, a name.
        value_range: what floats of images lie in, (0, 1); None: anywhere.
    """

    element_shape: tuple[int, ...]
    condition_dim: int
    likelihood: str
    value_range: tuple[float, float] | None

    def batch(self, data: Any) -> Batch:
        """What Keras hands to a step: x, (x,), (x, y), (x, y, weight); for y see `VAE.fit`.

        Raises:
            UsageError: it is something else, or lacks the condition that the model needs.
        """
        data = tuple(data) if isinstance(data, list) else data
        if not isinstance(data, tuple):
            data = (data,)
        if not 1 <= len(data) <= 3:
            raise UsageError(f"a batch is x, (x, y) or (x, y, weight): received {len(data)} parts")
        x, y, weight = (*data, None, None)[:3]
        if self.condition_dim and isinstance(x, list):
            x = tuple(x)
        if self.condition_dim and not is_pair(x):
            if y is None:
                raise UsageError("a conditional model is given conditions: fit(x, condition)")
            x = (x, y)
        _refuse_dict(x)
        return Batch(x, weight)

    def check_tensor(self, x: Any, *, blocks: bool = False) -> None:
        """Refuse a tensor by its shape and dtype, which a graph knows too.

        Args:
            x: a tensor or array, without its condition.
            blocks: whether blocks of batches, `(steps, batch, ...)`, are taken.

        Raises:
            UsageError: another shape, one that the graph does not know, or another dtype.
        """
        shape = shape_of(x)
        wanted = f"(rows, {', '.join(map(str, self.element_shape))})"
        if shape is None or (
            len(shape) > len(self.element_shape) and None in shape[-len(self.element_shape) :]
        ):
            raise UsageError(
                f"x must be of shape {wanted}, and the graph does not know its shape: "
                f"tf.ensure_shape says it; received {shape or 'unknown'}"
            )
        own = len(shape) - len(self.element_shape)
        if own not in ((1, 2) if blocks else (1,)) or shape[own:] != self.element_shape:
            raise UsageError(f"x must be of shape {wanted}, received {shape}")
        dtype = _dtype(x)
        if len(self.element_shape) == 3 and self.value_range:
            if dtype not in _OF_IMAGES:
                raise UsageError(
                    f"images are uint8, or floats in [0, 1]; received {dtype}. Give levels 0 to "
                    "255 as uint8; build_vae(value_range=None) takes other numbers as they are"
                )
        elif not dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
            raise UsageError(f"x must be numbers, received {dtype}")
        elif len(self.element_shape) == 3 and dtype == "uint8":
            raise UsageError(
                "uint8 images are levels, and this model has value_range=None: give its numbers "
                "as floats"
            )

    def check_values(self, x: np.ndarray) -> None:
        """Refuse an array by its values; one of `check_tensor`'s shape.

        Args:
            x: `(rows, ...)`, also a memory map, without its condition.

        Raises:
            UsageError: no rows, floats of images outside [0, 1], or values that the likelihood has
                no density for.
        """
        if not len(x):
            raise UsageError("x must have at least one row, received none")
        levels = len(self.element_shape) == 3 and self.value_range and x.dtype.kind == "f"
        size = rows_at_once(x)
        for number, part in enumerate(in_parts(x, size)):
            if levels:
                self._check_range(part)
            self._check_density(part, number * size)

    def _check_range(self, x):
        low, high = float(x.min()), float(x.max())
        # Of NaN the likelihood says more.
        if low < UNIT[0] - ROUNDING or high > UNIT[1] + ROUNDING:
            raise UsageError(
                f"images are uint8, or floats in [0, 1]; received floats from {low:g} to {high:g}. "
                "Levels 0 to 255 are divided by 255, or given as uint8; "
                "build_vae(value_range=None) takes other numbers as they are"
            )

    def _check_density(self, x, first_row):
        with np.errstate(over="ignore"):
            # Beyond float32 nothing is finite for a model.
            values = x if x.dtype == np.uint8 else x.astype("float32", copy=False)
        if accepts(self.likelihood, values) and (values.dtype.kind != "f" or fits(values).all()):
            return
        if values.dtype.kind == "f" and not fits(values).all():
            row, *place = np.argwhere(~fits(values))[0].tolist()
            wanted = "finite in float32"
            if np.isfinite(values[(row, *place)]):
                wanted = f"at most {LARGEST:g} in size, whose square is finite in float32"
            raise UsageError(
                f"x must be {wanted}, received {x[(row, *place)]} at "
                f"x[{', '.join(map(str, (first_row + row, *place)))}]"
            )
        kind = self.likelihood
        takes = likelihoods.facts(kind).takes if kind in LIKELIHOODS else "finite numbers"
        raise UsageError(
            f"the likelihood {kind!r} has no density for some values of x: it is for {takes}"
        )

    def check(self, x: Any) -> None:
        """Refuse x, or a pair with its condition, by all that is known of it.

        Args:
            x: tensors or arrays; the values of arrays, and of tensors that are known outside a
                graph, are looked at whole.

        Raises:
            UsageError: see `check_tensor` and `check_values`; a condition of another shape, one
                that is not finite, one too many or none.
        """
        _refuse_dict(x)
        x, condition = _apart(x)
        if (condition is not None) != (self.condition_dim > 0):
            wanted = "a pair (x, condition)" if self.condition_dim else "x without a condition"
            raise UsageError(f"{wanted} is wanted by a model of condition_dim {self.condition_dim}")
        self.check_tensor(x)
        values = known(x)
        if values is not None:
            self.check_values(values)
        if condition is not None:
            self._check_condition(x, condition)

    def _check_condition(self, x, condition):
        shape, wanted = shape_of(condition), (shape_of(x)[0], self.condition_dim)
        # A graph may know the rows of one and not of the other.
        same = shape is not None and len(shape) == len(wanted) and all(
            None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
        )  # fmt: skip
        if not same:
            raise UsageError(f"the condition must be of shape {wanted}, received {shape}")
        values = known(condition)
        if values is not None and not np.isfinite(np.asarray(values, "float64")).all():
            raise UsageError(f"the condition must be of shape {wanted} and finite, it is not")

    def rows_of_batch(self, data: Any) -> int:
        """The rows of what Keras hands to a step, of all steps of a block."""
        x = _apart(self.batch(data).x)[0]
        return math.prod(np.shape(x)[: max(1, np.ndim(x) - len(self.element_shape))])

    def check_weight(self, weight: Any, rows: int) -> None:
        """Refuse weights of rows: UsageError for another shape than `(rows,)`, NaN, below 0."""
        values = np.asarray(weight)
        if values.shape not in ((rows,), (rows, 1)):
            raise UsageError(
                f"sample_weight must be of shape ({rows},), one of each row: received "
                f"{values.shape}"
            )
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise UsageError("sample_weight must be finite and at least 0")


def as_broadcast(name: str, given: Any, element_shape: tuple[int, ...]) -> np.ndarray:
    """A number or array that broadcasts to one x, float32; UsageError for what does not."""
    try:
        array = np.asarray(given, "float32")
        fits = np.broadcast_shapes(array.shape, element_shape) == element_shape
    except (TypeError, ValueError):
        array, fits = np.zeros(0), False
    if not fits or not np.isfinite(array).all():
        found = repr(given) if np.ndim(given) == 0 else f"an array of shape {np.shape(given)}"
        raise UsageError(
            f"{name} must be finite, and broadcast to one x of shape {element_shape}: received "
            f"{found}"
        )
    return array


def known(x: Any) -> np.ndarray | None:
    """The values of a tensor or array; None of one that is known in a graph alone, or of torch's.

    Under torch a step of training sees the same tensors as its user, and would look at each batch.
    """
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, keras.KerasTensor):
        return None
    if keras.ops.is_tensor(x):
        if keras.backend.backend() == "torch":
            return None
        try:
            return np.asarray(x)
        except (NotImplementedError, TypeError):  # of a graph of TensorFlow, a trace of JAX
            return None
    return np.asarray(x) if _is_array(x) else None


def arrays_of(x: Any) -> Any:
    """What a door of Keras's was given as a NumPy array, or a pair of them; None of a stream."""
    if isinstance(x, Conditioned):
        return x.x, x.condition
    if isinstance(x, tuple):
        return tuple(map(_array, x)) if all(map(_is_array, x)) else None
    return _array(x) if _is_array(x) else None


def without_lists(given: Any, is_pair: bool = False) -> Any:
    """Lists as arrays, those within a pair too; anything else as it is.

    Args:
        given: by a user.
        is_pair: whether a list of two is a pair.

    Raises:
        UsageError: lists that are no array, or a sparse matrix.
    """
    if hasattr(given, "toarray"):
        raise UsageError("x must be a dense array: give x.toarray()")
    if isinstance(given, str | bytes):
        raise UsageError(f"an array is wanted, received {given!r}")
    if is_pair and isinstance(given, list) and len(given) == 2:
        given = tuple(given)
    if isinstance(given, tuple):
        return tuple(map(without_lists, given))
    if not isinstance(given, list):
        return given
    try:
        return np.asarray(given)
    except ValueError as error:
        raise UsageError(f"an array is wanted, received a list that is none: {error}") from None


def batches_of(
    stream: Any, rows_of_batch: Callable[[Any], int], rows: float = math.inf
) -> Iterator[Any]:
    """Batches of a stream as NumPy arrays, until they have so many rows or there are no more.

    Args:
        stream: `tf.data`, an iterator, a `keras.utils.PyDataset` or a torch `DataLoader`.
        rows_of_batch: how many rows a batch has.
        rows: see above.
    """
    batches = stream
    if isinstance(stream, keras.utils.PyDataset):
        count = stream.num_batches
        batches = map(stream.__getitem__, itertools.count() if count is None else range(count))
    seen = 0
    for batch in batches:
        batch = keras.tree.map_structure(_array, batch)
        yield batch
        seen += rows_of_batch(batch)
        if seen >= rows:
            return


def first_batches(
    stream: Any, rows_of_batch: Callable[[Any], int], rows: int
) -> tuple[list[Any], Any]:
    """Batches from the beginning of a stream, and the stream to go on with: none of it is lost.

    Args:
        stream: see `batches_of`.
        rows_of_batch: see `batches_of`.
        rows: see `batches_of`; one batch is taken at least.

    Returns:
        Batches of NumPy arrays, and the stream; of an iterator another one.

    Raises:
        UsageError: there are no batches.
    """
    found = list(batches_of(stream, rows_of_batch, rows))
    if not found:
        raise UsageError("the data hold no batches")
    if not isinstance(stream, Iterator):
        return found, stream
    whole = itertools.chain(found, stream)
    # Keras takes generators of tuples alone.
    return found, (batch if isinstance(batch, tuple) else (batch,) for batch in whole)


def _refuse_dict(x):
    if isinstance(x, dict):
        names = ", ".join(map(repr, x))
        raise UsageError(
            f"x must be a tensor, received a dict with the keys {names}: give the one that holds "
            "x, of a tf.data by dataset.map(lambda row: row[key])"
        )


def _apart(x):
    """x and its condition, None for none."""
    if isinstance(x, Conditioned):
        return x.x, x.condition
    return x if is_pair(x) else (x, None)


def _is_array(x):
    return hasattr(x, "__array__") or keras.ops.is_tensor(x) or isinstance(x, list | int | float)


def _array(x):
    if x is None or isinstance(x, np.ndarray):
        return x
    return keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) else np.asarray(x)


def _dtype(x):
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        dtype = np.asarray(x).dtype
    if isinstance(dtype, np.dtype):
        return dtype.name
    return keras.backend.standardize_dtype(dtype)
