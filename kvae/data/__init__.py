"""Datasets: one file each, listed in DATASETS.

A member is a module with a function `load(*, option=default, ...) -> Dataset`, whose keyword
arguments are its declared options. Where loading takes long, a function `outline` of the same
arguments gives the same counts and shapes at once, its pixels all grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvae.data.images.crops import CROPS, RULES, WANTED, is_crop
from kvae.errors import UsageError, did_you_mean
from kvae.files import user_path
from kvae.options import (
    ANY_TEXT,
    SEED,
    SWITCH,
    TEXT,
    Kind,
    Option,
    arguments,
    flag,
    is_text,
    number_range,
    text,
    whole_number,
    whole_range,
)
from kvae.registry import Member, member_of

if TYPE_CHECKING:  # the command line's --help lists the datasets, and needs no NumPy for it
    import numpy as np
    import tensorflow as tf

TFDS = "tfds:NAME"
_TFDS_PREFIX, _TFDS_OPTION = "tfds:", "tfds_name"
GIVEN_ARRAYS = "arrays given in Python"  # the source of `Dataset.from_arrays`
MIN_SPLIT_ROWS = 10  # fewer have no spread worth a standard error


class Split(NamedTuple):
    """Rows in a fixed order.

    Args:
        x: float32 vectors `(rows, features)`, or uint8 images `(rows, height, width, channels)`
            (an array or a memory map).
        labels: name -> `(rows,)`, bool for attributes, integer for classes; empty without labels.
        grey: the levels, or shares, that each epoch of training draws x anew from
            (`--binarize dynamic`), `(rows, ...)`; None: x itself is trained on.
    """

    x: np.ndarray
    labels: Mapping[str, np.ndarray] = MappingProxyType({})
    grey: np.ndarray | None = None

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

        return shuffled_batches(self.x, batch_size, seed, flip=flip, grey=self.grey)


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
        origin: the options that `load` had, "dataset" among them; empty where something else made
            it.
    """

    kind: str
    train: Split
    valid: Split
    test: Split
    card: dict[str, Any] = field(default_factory=dict)
    color_by: str = ""
    origin: Any = field(default_factory=dict)

    @classmethod
    def from_arrays(
        cls,
        train: np.typing.ArrayLike,
        valid: np.typing.ArrayLike | None = None,
        test: np.typing.ArrayLike | None = None,
        labels: Any = None,
        names: Sequence[str] | None = None,
        *,
        split_seed: int = 0,
        value_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> Dataset:
        """A dataset of arrays of your own.

        Of `train` alone 10% each become valid and test split, at random. Without `valid` a tenth of
        the train rows becomes it; without `test` the valid rows become test rows, and a tenth of
        the train rows valid. Every split needs 10 rows at least.

        Args:
            train: vectors `(rows, features)`, any finite numbers, or images `(rows, height, width,
                channels)`, uint8 or floats in [0, 1].
            valid: likewise, rows to choose on.
            test: likewise, rows to report on.
            labels: name -> values, or values alone, whose name is then "label": `(rows,)` of yes
                and no, numbers or text, in the order of `train`; where several splits are given a
                tuple of such, one for each of them. Yes and no are attributes, others classes.
            names: of the features of vectors.
            split_seed: of what is divided at random.
            value_range: what floats of images lie in, (0, 1); None: anywhere, such as spectrograms,
                for which `kvae.train` builds a model with `value_range=None`.

        Returns:
            float32 vectors, or images of the type that they had; what `train.py --dataset arrays`
            makes of a file of the same vectors. float32 and uint8 splits of your own are not
            copied: do not change them meanwhile.

        Raises:
            UsageError: an argument has another shape or type than it should have.
            DataError: a number is not finite, too large or outside [0, 1], labels are no classes,
                or there are too few rows; the message names the first.
        """
        from kvae.data.given import dataset_of

        return dataset_of(
            train, valid, test, labels, names, split_seed=split_seed, value_range=value_range
        )  # fmt: skip

    @property
    def value_range(self) -> tuple[float, float] | None:
        """What floats of images lie in; None, from `card["value_range"]`: anywhere."""
        return None if self.card.get("value_range", ()) is None else (0.0, 1.0)


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


def _mnist() -> Any:
    from kvae.data import mnist

    return mnist.MNIST


def _fashion_mnist() -> Any:
    from kvae.data import mnist

    return mnist.FASHION_MNIST


def _arrays() -> Any:
    from kvae.data import arrays

    return arrays


GMM_WEIGHTS = ("random", "steep")

#: Where images are kept unless told otherwise, for `--help`.
CACHE_FOLDERS = (
    "~/.cache/kvae; on macOS ~/Library/Caches/kvae, on Windows %LOCALAPPDATA%\\kvae\\Cache"
)

# A version remembers where its data were, whichever folder it is evaluated from.
_PATH = Kind("a path", lambda given: str(user_path(TEXT.read(given)).resolve()), is_like=is_text)
_DATA_DIR = Option(
    "data_dir", None, "your copy of the dataset: a folder or zip (celeba, folder, mnist, "
    "fashion-mnist), where TensorFlow Datasets keeps its own (tfds), or a file with a table "
    "(arrays)", _PATH,
    metavar="PATH",
)  # fmt: skip
_LABELS_FILE = Option(
    "labels_file", None, "table of labels for the images: a header, then an image's path or name "
    "and its labels", _PATH, metavar="FILE",
)  # fmt: skip
_CACHE_DIR = Option(
    "cache_dir", None, f"where decoded or drawn images are kept, else in {CACHE_FOLDERS}", _PATH,
    metavar="DIR",
)  # fmt: skip
_CACHE = Option(
    "cache", True, "keep decoded or drawn images there; --no-cache: in memory instead", SWITCH
)
MAX_UNREADABLE = Option(
    "max_unreadable", 0.001, "largest part of the images that may be unreadable and is left out",
    number_range(0, 1), metavar="X",
)  # fmt: skip
_IMAGE_SIZE = Option(
    "image_size", 64, "height and width of images, pixels", whole_range(8, 512),
    metavar="PIXELS",
)  # fmt: skip
_CHANNELS = Option(
    "channels", 3, "1: grey images, 3: RGB", whole_number("1 or 3", lambda value: value in (1, 3)),
    metavar="N",
)  # fmt: skip
CROP = Option(
    "crop", "center", f"part of each image that is kept: {WANTED}",
    text(WANTED, is_crop, (*RULES, *CROPS)), metavar="CROP",
)  # fmt: skip
_SPLIT_SEED = Option(
    "split_seed", 0, "of the split into train, valid and test, where the data have none", SEED,
    metavar="N",
)  # fmt: skip
NO_BINARIZE, THRESHOLD, STATIC, DYNAMIC = "none", "threshold", "static", "dynamic"
#: The ways to make binary data that draw random numbers.
DRAWN = (STATIC, DYNAMIC)
_BINARIZE_WAYS = (NO_BINARIZE, THRESHOLD, *DRAWN)
# Before there were several ways it was yes or no, which published versions still say.
_OF_SWITCH = {True: THRESHOLD, False: NO_BINARIZE}
BINARIZE = Option(
    "binarize", NO_BINARIZE,
    "make all levels 0 or 1: 'threshold' at one half (--binarize alone too); 'static' draws each "
    "once, 1 as often as it is bright, 'dynamic' the train rows anew each epoch",
    Kind(
        "none, threshold, static or dynamic",
        lambda given: _OF_SWITCH[given] if isinstance(given, bool) else TEXT.read(given),
        is_like=lambda value: isinstance(value, bool | str),
    ),
    choices=_BINARIZE_WAYS, metavar="HOW", bare=THRESHOLD,
)  # fmt: skip
BINARIZE_SEED = Option(
    "binarize_seed", 0, "of what --binarize static or dynamic draws once and for all: valid and "
    "test rows, with static train rows too", SEED, metavar="N", before=0,
)  # fmt: skip
_BINARY = (BINARIZE, BINARIZE_SEED)
_DECODED = (_IMAGE_SIZE, _CHANNELS, *_BINARY, _CACHE_DIR, _CACHE, MAX_UNREADABLE, _SPLIT_SEED)

#: Datasets whose images are of one size and kind: none of the options of pictures is theirs.
OF_ONE_SIZE = ("mnist", "fashion-mnist")

DATASETS: dict[str, Member] = {
    "gmm": Member(
        "a mixture of Gaussians with an exact density, drawn from a seed", _gmm,
        (
            Option("gmm_seed", 0, "which random mixture", SEED, metavar="N"),
            Option(
                "gmm_components", 10, "Gaussians in the mixture, 1 to 50", whole_range(1, 50),
                metavar="N",
            ),
            Option("gmm_dim", 3, "dimensions of a point, 1 to 32", whole_range(1, 32), metavar="N"),
            Option(
                "gmm_separation", 5.0,
                "least distance of two means, in largest standard deviations",
                number_range(0, 1000), metavar="X",
            ),
            Option(
                "gmm_weights", "random", "of the components; 'steep': falling to 1%",
                choices=GMM_WEIGHTS,
            ),
            Option(
                "gmm_warp", 0.0, "bend each component by this much, 0 to 5: no longer Gaussian",
                number_range(0, 5), metavar="X",
            ),
        ),
    ),
    "digits": Member(
        "scikit-learn's 8x8 handwritten digits", _digits, _BINARY,
    ),
    "mnist": Member(
        "MNIST, 28x28 handwritten digits, from whatever local copy there is (--data-dir)", _mnist,
        (_DATA_DIR, *_BINARY),
    ),
    "fashion-mnist": Member(
        "Fashion-MNIST, 28x28 pictures of garments (--data-dir)", _fashion_mnist,
        (_DATA_DIR, *_BINARY),
    ),
    "faces": Member(
        "drawn RGB faces with known factors, made from a seed", _faces,
        (
            _IMAGE_SIZE, _CACHE_DIR, _CACHE,
            Option("faces_seed", 0, "which drawn faces", SEED, metavar="N"),
            Option(
                "faces_count", 20000,
                "drawn faces to train on; a tenth of it each to validate and to test",
                whole_range(1, 10**6), metavar="N",
            ),
        ),
    ),
    "celeba": Member(
        "CelebA from whatever local copy there is (--data-dir)", _celeba,
        (_DATA_DIR, replace(CROP, default="center148"), *_DECODED),
    ),
    "folder": Member(
        "any folder or zip of images (--data-dir)", _folder,
        (_DATA_DIR, _LABELS_FILE, CROP, *_DECODED),
    ),
    TFDS: Member(
        "an image dataset of TensorFlow Datasets, as tfds:cifar10", _tfds,
        (_DATA_DIR, CROP, *_DECODED),
    ),
    "arrays": Member(
        "a table of vectors in a .csv, .tsv, .txt, .parquet, .npy or .npz file (--data-dir)",
        _arrays,
        (
            _DATA_DIR,
            Option(
                "label_column", "", "column of a table that holds labels: its name or its number "
                "from 1", ANY_TEXT,
            ),
            *_BINARY,
            Option(
                "drop_constant", False,
                "leave out the columns of a table that have one value in all train rows", SWITCH,
            ),
            Option(
                "max_unpacked", None, "GB that a table may take in memory; without it the larger "
                "of 1 and 20 times the file's size", number_range(0.001, 1000), metavar="GB",
            ),
            _SPLIT_SEED,
        ),
    ),
}  # fmt: skip


def key_of(name: str) -> str:
    """The key of DATASETS: of "tfds:cifar10" it is "tfds:NAME"."""
    return TFDS if name.startswith(_TFDS_PREFIX) else name


def options_of(name: str) -> list[str]:
    """The names of the options that dataset `name` understands."""
    return [option.name for option in _member(name).options]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse values that options of dataset `name` may not have: a `UsageError`."""
    for option in _member(name).options:
        if option.name in options:
            option.read(options[option.name], f"{option.name} of dataset {name}")


def load(name: str, **options: Any) -> Dataset:
    """Load a dataset.

    Args:
        name: a key of DATASETS, or "tfds:NAME".
        **options: the dataset's own options (see its module).

    Raises:
        UsageError: unknown name, or an option that this dataset does not have.
        DataError: the files are missing or not what they should be.
    """
    found = _member(name).load().load(**_arguments(name, options))
    return replace(found, origin={"dataset": name, **options})


def check_made(name: str, data_dir: str) -> None:
    """Refuse a folder into which `load` would write: a member that does so has a `check_made`.

    Args:
        name: of the dataset.
        data_dir: a folder that the user did not name.

    Raises:
        UsageError: the dataset is not there.
    """
    module = _member(name).load()
    if hasattr(module, "check_made"):
        module.check_made(**_arguments(name, {"data_dir": data_dir}))


def outline(name: str, **options: Any) -> Dataset:
    """As `load`, but fast, with grey pixels (128); without an outline `load` itself."""
    module = _member(name).load()
    if not hasattr(module, "outline"):
        return load(name, **options)
    return module.outline(**_arguments(name, options))


def _member(name: str) -> Member:
    return member_of(DATASETS, key_of(name), "dataset")


def _arguments(name: str, options: dict[str, Any]) -> dict[str, Any]:
    known = options_of(name)
    for option in options:
        if option not in known:
            raise UsageError(
                f"dataset {name!r} has no option {option!r}: it understands {', '.join(known)}"
                f"{did_you_mean(option, known)}"
            )
    options = {
        option.name: option.read(options[option.name], flag(option.name))
        for option in _member(name).options
        if option.name in options
    }
    own = arguments(_member(name).options, options)
    if key_of(name) == TFDS:
        own[_TFDS_OPTION] = name.removeprefix(_TFDS_PREFIX)
    return own
