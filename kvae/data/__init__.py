"""Datasets: one file each, listed in DATASETS.

A member is a module with a function `load(*, option=default, ...) -> Dataset`, whose keyword
arguments are the options that it understands. Where loading takes long, a function `outline` of
the same arguments gives the same counts and shapes at once, its pixels all grey.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvae.errors import UsageError
from kvae.registry import Member, find

if TYPE_CHECKING:  # the command line's --help lists the datasets, and needs no NumPy for it
    import numpy as np
    import tensorflow as tf

TFDS = "tfds:NAME"
_TFDS_PREFIX, _TFDS_OPTION = "tfds:", "tfds_name"
MIN_SPLIT_ROWS = 10  # fewer have no spread worth a standard error


class Split(NamedTuple):
    """Rows in a fixed order.

    Args:
        x: float32 vectors `(rows, features)`, or uint8 images `(rows, height, width, channels)`
            (an array or a memory map).
        labels: name -> `(rows,)`, bool for attributes, integer for classes; empty without labels.
    """

    x: np.ndarray
    labels: Mapping[str, np.ndarray] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Split(x={self.x.dtype} {self.x.shape}, labels={list(self.labels)})"

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch of `shuffled_batches`, at least 1."""
        return max(1, len(self.x) // batch_size)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Batches in order, every row once: for validation. See `pipeline.batches`."""
        from kvae.data.pipeline import batches

        return batches(self.x, batch_size)

    def shuffled_batches(
        self, batch_size: int, seed: int = 0, *, flip: bool = False
    ) -> tf.data.Dataset:
        """Batches without end in a new order each epoch. See `pipeline.shuffled_batches`."""
        from kvae.data.pipeline import shuffled_batches

        return shuffled_batches(self.x, batch_size, seed, flip=flip)


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits and what is known about them.

    Args:
        kind: "vectors" or "images".
        train: rows to train on.
        valid: rows to choose on.
        test: rows to report on.
        card: what a reader of a figure must know (source, crop, size, counts, ...); JSON values.
        color_by: the label that colours a latent map unless the user names another; "" for none.
    """

    kind: str
    train: Split
    valid: Split
    test: Split
    card: dict[str, Any] = field(default_factory=dict)
    color_by: str = ""


def _gmm() -> Any:
    from kvae.data import gmm

    return gmm


def _digits() -> Any:
    from kvae.data import digits

    return digits


def _faces() -> Any:
    from kvae.data import faces

    return faces


def _celeba() -> Any:
    from kvae.data import celeba

    return celeba


def _folder() -> Any:
    from kvae.data import folder

    return folder


def _tfds() -> Any:
    from kvae.data import tfds

    return tfds


def _arrays() -> Any:
    from kvae.data import arrays

    return arrays


DATASETS = {
    "gmm": Member("a mixture of Gaussians with an exact density, drawn from a seed", _gmm),
    "digits": Member("scikit-learn's 8x8 handwritten digits", _digits),
    "faces": Member("drawn RGB faces with known factors, made from a seed", _faces),
    "celeba": Member("CelebA from whatever local copy there is (--data-dir)", _celeba),
    "folder": Member("any folder or zip of images (--data-dir)", _folder),
    TFDS: Member("an image dataset of TensorFlow Datasets, as tfds:cifar10", _tfds),
    "arrays": Member("a table of vectors in a .npy, .npz or .csv file (--data-dir)", _arrays),
}


def key_of(name: str) -> str:
    """The key of DATASETS: of "tfds:cifar10" it is "tfds:NAME"."""
    return TFDS if name.startswith(_TFDS_PREFIX) else name


def options_of(name: str) -> list[str]:
    """The names of the options that dataset `name` understands."""
    known = inspect.signature(find(DATASETS, key_of(name), "dataset").load).parameters
    return [option for option in known if option != _TFDS_OPTION]


def load(name: str, **options: Any) -> Dataset:
    """Load a dataset.

    Args:
        name: a key of DATASETS, or "tfds:NAME".
        **options: the dataset's own options (see its module).

    Raises:
        UsageError: unknown name, or an option that this dataset does not have.
        DataError: the files are missing or not what they should be.
    """
    return _member(name, options).load(**_with_name(name, options))


def check_made(name: str, data_dir: str) -> None:
    """Refuse a folder into which `load` would write: a member that does so has a `check_made`.

    Args:
        name: of the dataset.
        data_dir: a folder that the user did not name.

    Raises:
        UsageError: the dataset is not there.
    """
    member = _member(name, {})
    if hasattr(member, "check_made"):
        member.check_made(**_with_name(name, {"data_dir": data_dir}))


def outline(name: str, **options: Any) -> Dataset:
    """Like `load`, but fast: counts and shapes are true, pixels may be all grey (128)."""
    member = _member(name, options)
    return getattr(member, "outline", member.load)(**_with_name(name, options))


def _with_name(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if key_of(name) != TFDS:
        return options
    return {**options, _TFDS_OPTION: name.removeprefix(_TFDS_PREFIX)}


def _member(name: str, options: dict[str, Any]) -> Any:
    known = options_of(name)
    for option in options:
        if option not in known:
            raise UsageError(
                f"dataset {name!r} has no option {option!r}: it understands {', '.join(known)}"
            )
    return find(DATASETS, key_of(name), "dataset")
