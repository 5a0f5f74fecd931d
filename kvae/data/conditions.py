"""Labels as conditions: the numbers that a conditional model is given beside x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from kvae.data import Dataset
from kvae.data.classes import LEFT_OUT
from kvae.errors import UsageError, did_you_mean
from kvae.saying import say

MAX_CLASSES = 100


class Column(NamedTuple):
    """One number of a condition: 1 in the rows whose label has the value, 0 in all others.

    Args:
        label: its name.
        value: a class; of a label of yes and no True.
        name: of the column: "Smiling", "digit=3".
    """

    label: str
    value: int | bool
    name: str


class Conditions(NamedTuple):
    """Labels and the columns that stand for them: one for yes and no, else one a class (one-hot).

    Args:
        labels: names.
        columns: in the order of the labels, and of each label's classes.
    """

    labels: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    @property
    def dim(self) -> int:
        """Numbers in the condition of a row; 0: there are no conditions."""
        return len(self.columns)

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]

    def of(self, labels: Mapping[str, np.ndarray]) -> np.ndarray:
        """The condition of each row.

        Args:
            labels: of a split, name -> `(rows,)`.

        Returns:
            `(rows, dim)` float32; 0 in all columns of a label whose class the train split lacks.
        """
        columns = [labels[column.label] == column.value for column in self.columns]
        return np.stack(columns, axis=1).astype(np.float32)

    def to_json(self) -> dict[str, list[str]]:
        """Labels, names of the columns, and of which label each column is."""
        owners = [column.label for column in self.columns]
        return {"labels": list(self.labels), "names": self.names, "label_of": owners}


class Conditioned:
    """Rows of x beside the condition of each, sliced together; as an array they are x alone.

    Args:
        x: `(rows, ...)`, an array or a memory map.
        condition: `(rows, dim)` float32.
    """

    def __init__(self, x: np.ndarray, condition: np.ndarray):
        if condition.shape[:-1] != x.shape[: condition.ndim - 1]:
            raise ValueError(
                f"each row has a condition: received x {x.shape}, condition {condition.shape}"
            )
        self.x, self.condition = x, condition

    shape = property(lambda self: self.x.shape)
    ndim = property(lambda self: self.x.ndim)
    dtype = property(lambda self: self.x.dtype)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Conditioned:
        return Conditioned(self.x[rows], self.condition[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.x, dtype) if copy else np.asarray(self.x, dtype)


def conditions_of(dataset: Dataset, labels: Sequence[str]) -> Conditions:
    """The columns that some labels become; their classes are those of the train split.

    Args:
        dataset: whose train split has the labels.
        labels: names; none: no conditions.

    Raises:
        UsageError: no such label, or neither yes and no nor 2 to 100 classes.
    """
    columns: list[Column] = []
    for label in labels:
        found = dataset.train.labels.get(label)
        values = None if found is None else _values(found)
        if values is None:
            _refuse(label, dataset)
        if values == (True,):
            columns.append(Column(label, True, label))
            continue
        names = dataset.card.get("label_names", {}).get(label)
        columns += [
            Column(label, value, f"{label}={names[value] if names else value}") for value in values
        ]
    return Conditions(tuple(labels), tuple(columns))


def conditioned(dataset: Dataset, conditions: Conditions) -> Dataset:
    """The dataset with the conditions of its rows beside every x, if there are any."""
    if not conditions.dim:
        return dataset
    for name in ("valid", "test"):
        _note_unseen(name, getattr(dataset, name).labels, conditions)
    splits = {
        name: split._replace(x=Conditioned(split.x, conditions.of(split.labels)))
        for name in ("train", "valid", "test")
        if (split := getattr(dataset, name))
    }
    return replace(dataset, **splits)


def _note_unseen(name: str, labels: Mapping[str, np.ndarray], conditions: Conditions) -> None:
    """Say how many rows have a class that no column stands for."""
    for label in conditions.labels:
        known = [column.value for column in conditions.columns if column.label == label]
        unseen = 0 if known == [True] else int((~np.isin(labels[label], known)).sum())
        if unseen:
            say(f"note: {unseen} {name} rows have a {label} that no train row has: no condition")


def condition_beside(x: Any) -> dict[str, np.ndarray]:
    """The condition of rows as the input `condition`; nothing of rows without."""
    return {"condition": x.condition} if isinstance(x, Conditioned) else {}


def companion(name: str) -> str:
    """The input of a signature that holds the condition of its input `name`, an x."""
    return "condition" if name in ("x", "image_bytes") else f"{name}_condition"


def _values(label: np.ndarray) -> tuple[int | bool, ...] | None:
    """The values that have a column; None of what is no condition."""
    if label.dtype.kind not in "biu":
        return None
    values = np.unique(label)
    # TFDS says -1 where there is no label.
    if not 2 <= len(values) <= MAX_CLASSES or (label.dtype != bool and values[0] < 0):
        return None
    return (True,) if label.dtype == bool else tuple(int(value) for value in values)


def _refuse(label: str, dataset: Dataset) -> NoReturn:
    labels = dataset.train.labels
    usable = ", ".join(name for name, values in labels.items() if _values(values) is not None)
    choose = f"choose among {usable}" if usable else "there is none in these data"
    if label not in labels:
        if fault := dataset.card.get(LEFT_OUT, {}).get(label):
            raise UsageError(f"--condition {label}: {fault}; {choose}")
        nearest = did_you_mean(label, labels)
        raise UsageError(f"--condition: no label {label!r}; {choose}{nearest}")
    count = len(np.unique(labels[label]))
    raise UsageError(
        f"--condition {label}: a condition is yes or no, or one of 2 to {MAX_CLASSES} classes, and "
        f"this label has {count:,} values of {labels[label].dtype} in the train split; {choose}"
    )
