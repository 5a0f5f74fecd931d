"""What a server says, held against what it should say: a server is anybody's."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from kvae.errors import KvaeError, brief, one_line
from kvae.serving.versions import MAX_NUMBER

#: Bytes of an answer at most, whatever its signature says; of one without rows; of an error's text.
MOST_BYTES, SMALL_BYTES, ERROR_BYTES = 2**28, 2**20, 2**16
# Characters of a server's words, and of a name that it chose, that an error shows.
_LONGEST_TEXT, _LONGEST_NAME = 300, 60
_MOST_SIZES = 8  # of a shape; kvae's models have four at most
_LARGEST = 2**31  # no size of an array, and no row of one, is larger
_NUMPY_OF = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_INT64": "int64", "DT_INT32": "int32",
    "DT_STRING": "string", "DT_BOOL": "bool", "DT_UINT8": "uint8",
}  # fmt: skip
_WHOLE = re.compile(r"-?[0-9]{1,19}")


class ServingError(KvaeError):
    """The server cannot be reached, or answered with an error or with what it should not."""


class NotServed(ServingError):
    """The server has no such model or version, or no more."""


class Tensor(NamedTuple):
    """An input or output of a signature.

    Args:
        dtype: of NumPy, or "string" of bytes.
        shape: the first dimension is the batch; None where any number will do.
    """

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(size or 1 for size in self.shape[1:])


class Signature(NamedTuple):
    """What a signature takes and gives, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Call(NamedTuple):
    """A signature's name, arrays for it, what it should give, and the version that is to answer.

    Of version None the one that the client was told.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    wanted: dict[str, Tensor]
    version: int | None

    @property
    def rows(self) -> int:
        """How many were sent: as many are to come back."""
        return len(next(iter(self.inputs.values())))

    def shape(self, name: str) -> tuple[int | None, ...]:
        """What an output should have, None where any size will do."""
        return (self.rows, *self.wanted[name].shape[1:])


def words(said: object) -> str:
    """What a server said, for a message."""
    return one_line(str(said), _LONGEST_TEXT)


def named(name: str) -> str:
    """A name that a server chose, for a message."""
    return one_line(name, _LONGEST_NAME)


def listed(names: Iterable[str]) -> str:
    """Names that a server chose, for a message."""
    return words(", ".join(names))


@contextmanager
def understood(place: str, what: str) -> Iterator[None]:
    """Raise a `ServingError` for what cannot be read of an answer.

    Args:
        place: who answered.
        what: was asked for.
    """
    try:
        yield
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise ServingError(
            f"{place} answered with {what} that cannot be read: {type(error).__name__}: "
            f"{words(error)}"
        ) from error


def whole(value: Any) -> int:
    """A whole number, as JSON gives those of 64 bits: a text, or a number.

    Raises:
        ValueError: it is neither.
    """
    if type(value) is int or (isinstance(value, str) and _WHOLE.fullmatch(value)):
        return int(value)
    raise ValueError(f"a whole number is wanted, received {brief(value)}")


def version_of(number: Any) -> int:
    """The number of a version.

    Raises:
        ValueError: it is none.
    """
    found = whole(number)
    if not 0 <= found <= MAX_NUMBER:
        raise ValueError(f"no number of a version: {brief(number)}")
    return found


def tensor(dtype: str, sizes: list[int]) -> Tensor:
    """An input or output as a server describes it.

    Args:
        dtype: as TF Serving calls it.
        sizes: of the dimensions, -1 where any will do: of the batch alone.

    Raises:
        ValueError: kvae's models have no such tensor.
    """
    if dtype not in _NUMPY_OF:
        raise ValueError(f"dtype is one of {', '.join(_NUMPY_OF)}: received {brief(dtype)}")
    known = sizes[1:] if sizes and sizes[0] == -1 else sizes
    if not 1 <= len(sizes) <= _MOST_SIZES or any(not 1 <= size <= _LARGEST for size in known):
        raise ValueError(
            f"a shape has a batch, which may be -1, and up to {_MOST_SIZES - 1} sizes from 1 to "
            f"{_LARGEST}: received {brief(sizes)}"
        )
    if math.prod(sizes[1:]) > _LARGEST:
        raise ValueError(f"a row of more than {_LARGEST} numbers: {brief(sizes)}")
    return Tensor(_NUMPY_OF[dtype], tuple(None if size == -1 else size for size in sizes))


def described(found: Mapping[str, tuple[Any, Any]], tensor_of: Any) -> dict[str, Signature]:
    """Signatures from what a way calls their inputs and outputs; not TensorFlow's own.

    Raises:
        ValueError: there are none, or one takes or gives nothing.
    """
    signatures = {
        name: Signature(
            *({key: tensor_of(one) for key, one in tensors.items()} for tensors in both)
        )
        for name, both in found.items()
        if not name.startswith("__")
    }
    empty = [name for name, one in signatures.items() if not (one.inputs and one.outputs)]
    if empty or not signatures:
        raise ValueError(
            f"{brief(empty[0])} has no inputs or outputs" if empty else "there are no signatures"
        )
    return signatures


def check_names(call: Call, found: Mapping[str, Any]) -> None:
    """Refuse an answer of other outputs.

    Raises:
        ServingError: it has.
    """
    if found.keys() != call.wanted.keys():
        raise ServingError(
            f"{named(call.signature)} answered {listed(found) or 'without names'} instead of "
            f"{listed(call.wanted)}: another version is served now, call again"
        )


def check_tensor(call: Call, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Refuse an output of another kind or shape than the signature's, or of other rows.

    Raises:
        ServingError: it is one.
    """
    wanted = call.shape(name)
    fits = len(shape) == len(wanted) and all(
        size in (None, own) for size, own in zip(wanted, shape, strict=True)
    )
    if not fits or dtype != call.wanted[name].dtype:
        sizes = ", ".join("any" if size is None else str(size) for size in wanted)
        raise ServingError(
            f"{named(call.signature)} answered {named(name)} of {dtype} and shape {brief(shape)}: "
            f"{call.wanted[name].dtype} of shape ({sizes}) is wanted, a row for each that was sent"
        )
