"""A way to a model; the one without a server: a folder."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np

from kvae.client.answers import (
    Call,
    ServingError,
    Signature,
    Tensor,
    check_names,
    check_tensor,
    named,
    words,
)

READY = "AVAILABLE"


class Transport(ABC):
    """A way to a model, of its own: how to ask."""

    @abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """What the model answers."""

    @abstractmethod
    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """Numbers of the versions that can be called now.

        Args:
            timeout: seconds for the answer.
            repeat: whether to ask again while the server is unavailable.
        """

    def close(self) -> None:  # noqa: B027 (a folder has none)
        """Give up connections."""

    @abstractmethod
    def bytes_of_row(self, wanted: dict[str, Tensor]) -> int:
        """How long an answer of one row may be, 1 or more."""

    def call(self, call: Call) -> dict[str, np.ndarray]:
        """Run a signature on one batch: arrays by the names of what is wanted.

        Raises:
            ServingError: the model cannot be reached, or answers with an error or something else.
        """
        found = self._answer(call)
        check_names(call, found)
        for name, value in found.items():
            check_tensor(call, name, value.dtype.name, value.shape)
        return found

    @abstractmethod
    def _answer(self, call: Call) -> dict[str, np.ndarray]: ...


class Folder(Transport):
    """A version in a folder, through its signatures."""

    def __init__(self, path: str, batch_size: int):
        from kvae.serving.versions import find_version, read_metadata

        self._version = find_version(path)
        self._described: dict[str, Any] = read_metadata(self._version)["signatures"]
        self._batch_size = batch_size

    @cached_property
    def _served(self) -> Any:
        from kvae.serving.served import ServedModel

        return ServedModel(self._version, self._batch_size)

    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """See `Transport`."""
        return [self._version.number]

    def bytes_of_row(self, wanted: dict[str, Tensor]) -> int:
        """See `Transport`: nothing is sent, so nothing bounds it."""
        return 1

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        return {
            name: Signature(*(_tensors(one[way]) for way in ("inputs", "outputs")))
            for name, one in self._described.items()
        }

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        import tensorflow as tf

        try:
            return self._served.call(call.signature, **call.inputs)
        except tf.errors.OpError as error:
            raise ServingError(f"{named(call.signature)}: {words(error.message)}") from error


def _tensors(found: dict[str, Any]) -> dict[str, Tensor]:
    return {name: Tensor(one["dtype"], (None, *one["shape"][1:])) for name, one in found.items()}
