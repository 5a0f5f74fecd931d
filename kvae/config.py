"""What a training run is made of: one frozen dataclass, and the presets.

A value comes from the command line, else from the preset, else from the default here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kvae.data import DATASETS
from kvae.data.crops import CROPS
from kvae.errors import UsageError
from kvae.likelihoods import LEARNED_VARIANCES, LIKELIHOODS
from kvae.networks import NETWORKS
from kvae.priors import PRIORS

MIXED_PRECISION = ("auto", "off", "float16", "bfloat16")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")


def _positive_int(text: Any) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("a whole number of at least 1")
    return value


def _count(text: Any) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("a whole number of at least 0")
    return value


def _positive(text: Any) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError("a positive number")
    return value


def _not_negative(text: Any) -> float:
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError("a number of at least 0")
    return value


def _variance(text: Any) -> float | str:
    return text if text in LEARNED_VARIANCES else _positive(text)


def _units(text: Any) -> tuple[int, ...]:
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(_positive_int(part) for part in parts)


def _text(text: Any) -> str:
    if not str(text):
        raise ValueError("a text that is not empty")
    return str(text)


def _option(
    default: Any,
    group: str,
    help_text: str,
    parse: Callable[[Any], Any] = _text,
    *,
    choices: Any = None,
    metavar: str | None = None,
) -> Any:
    """A field with what the command line needs to know about it."""
    metadata = {
        "group": group,
        "help": help_text,
        "parse": parse,
        "choices": choices,
        "metavar": metavar,
    }
    return field(default=default, metadata=metadata)


_DATA, _MODEL, _TRAINING, _OUTPUT = "data", "model", "training", "output"


@dataclass(frozen=True)
class Config:
    """All options of a training run; the metadata of each field is its line of `--help`.

    Raises:
        UsageError: a value is not allowed, or two do not go together.
    """

    dataset: str = _option("gmm", _DATA, "what to train on", choices=DATASETS)
    data_dir: str | None = _option(
        None, _DATA, "folder of your copy of the dataset (celeba)", metavar="DIR"
    )
    cache_dir: str | None = _option(
        None, _DATA, "where decoded or drawn images are kept (default: ~/.cache/kvae)",
        metavar="DIR",
    )  # fmt: skip
    image_size: int = _option(
        64, _DATA, "height and width of images, pixels", _positive_int, metavar="PIXELS"
    )
    crop: str = _option("center148", _DATA, "part of a CelebA image", choices=CROPS)
    binarize: bool = _option(False, _DATA, "threshold digits at one half: pixels 0 or 1")
    gmm_seed: int = _option(0, _DATA, "which random mixture", _count, metavar="N")
    gmm_components: int = _option(
        10, _DATA, "Gaussians in the mixture, 1 to 50", _positive_int, metavar="N"
    )
    gmm_dim: int = _option(3, _DATA, "dimensions of a point, 1 to 32", _positive_int, metavar="N")
    gmm_separation: float = _option(
        5.0, _DATA, "least distance of two means, in largest standard deviations",
        _not_negative, metavar="X",
    )  # fmt: skip
    faces_seed: int = _option(0, _DATA, "which drawn faces", _count, metavar="N")
    faces_count: int = _option(
        20000, _DATA, "drawn faces to train on; a tenth of it each to validate and to test",
        _positive_int, metavar="N",
    )  # fmt: skip

    network: str = _option("mlp", _MODEL, "encoder and decoder", choices=NETWORKS)
    hidden_units: tuple[int, ...] = _option(
        (64, 64), _MODEL, "units of the hidden layers of 'mlp'", _units, metavar="N,N"
    )
    latent_dim: int = _option(3, _MODEL, "dimensions of the latent z", _positive_int, metavar="N")
    likelihood: str = _option("gaussian", _MODEL, "p(x given z)", choices=LIKELIHOODS)
    variance: float | str = _option(
        "shared", _MODEL,
        "of the Gaussian likelihood: a number (after --standardize), or learned: "
        "'shared' or 'per-feature'",
        _variance, metavar="X|shared|per-feature",
    )  # fmt: skip
    standardize: bool = _option(
        False, _MODEL, "shift and scale each feature by its training mean and standard deviation"
    )
    prior: str = _option("mixture", _MODEL, "p(z)", choices=PRIORS)
    prior_components: int = _option(
        30, _MODEL, "components of the prior 'mixture'", _positive_int, metavar="N"
    )
    beta: float = _option(
        1.0, _MODEL, "weight of the rate (1: the ELBO)", _not_negative, metavar="X"
    )
    kl_warmup_epochs: int = _option(
        0, _MODEL, "epochs over which that weight rises from 0", _count, metavar="EPOCHS"
    )

    epochs: int = _option(60, _TRAINING, "passes over the train split", _positive_int, metavar="N")
    batch_size: int = _option(512, _TRAINING, "examples a step", _positive_int, metavar="N")
    learning_rate: float = _option(3e-3, _TRAINING, "of Adam", _positive, metavar="X")
    learning_rate_schedule: str = _option(
        "cosine", _TRAINING, "'cosine' falls to a thousandth at the end",
        choices=LEARNING_RATE_SCHEDULES,
    )  # fmt: skip
    mixed_precision: str = _option(
        "auto", _TRAINING, "half precision in hidden layers; 'auto': where the hardware gains",
        choices=MIXED_PRECISION,
    )  # fmt: skip
    jit_compile: bool = _option(False, _TRAINING, "compile the step with XLA")
    init_from: str | None = _option(
        None, _TRAINING, "start from the weights of a published version, .keras or .weights.h5",
        metavar="PATH",
    )  # fmt: skip
    seed: int = _option(0, _TRAINING, "of initial weights, order and noise", _count, metavar="N")

    save: str = _option("saved", _OUTPUT, "folder that models are published in", metavar="DIR")
    name: str = _option("", _OUTPUT, "of the model (default: the dataset's)", metavar="NAME")

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.dataset)
        for option in fields(self):
            value = getattr(self, option.name)
            _check_choice(option.name, value, option.metadata["choices"])
        if "/" in self.name or self.name.startswith(".") or self.name in ("", ".."):
            raise UsageError(
                f"--name is a folder name without '/' or a leading '.', received {self.name!r}"
            )
        if self.standardize and self.likelihood != "gaussian":
            raise UsageError(
                "--standardize goes with --likelihood gaussian alone, "
                f"received --likelihood {self.likelihood}"
            )


def _check_choice(name: str, value: Any, choices: Any) -> None:
    if choices is not None and value not in choices:
        raise UsageError(
            f"--{name.replace('_', '-')}: choose one of {', '.join(choices)}; received {value!r}"
        )


_REPORT = {
    "variance": 0.1,
    "prior": "standard_normal",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
}
_IMAGES = {"network": "conv", "learning_rate": 1e-3, "batch_size": 128}

PRESETS: dict[str, dict[str, Any]] = {
    "gmm": {"dataset": "gmm", "standardize": True, "jit_compile": True},
    "digits": {"dataset": "digits", **_IMAGES, "latent_dim": 16, "epochs": 100},
    "faces": {"dataset": "faces", **_IMAGES, "latent_dim": 32, "epochs": 20},
    "celeba": {"dataset": "celeba", **_IMAGES, "latent_dim": 64, "epochs": 50},
    "report-gmm": {"dataset": "gmm", **_REPORT, "latent_dim": 2, "batch_size": 128, "epochs": 20},
    "report-celeba": {
        "dataset": "celeba", **_IMAGES, **_REPORT, "latent_dim": 50, "epochs": 200,
    },
}  # fmt: skip


def resolve(given: Mapping[str, Any], preset: str | None = None) -> Config:
    """Default < preset < given.

    Args:
        given: option name -> value, as text or of its type; only what the user asked for.
        preset: a key of PRESETS; None: the one with the dataset's name.

    Raises:
        UsageError: an unknown preset or option, or a value that is not allowed.
    """
    chosen = preset or given.get("dataset", Config.dataset)
    if chosen not in PRESETS:
        what = "--preset" if preset else "--dataset"
        allowed = PRESETS if preset else DATASETS
        raise UsageError(f"{what}: choose one of {', '.join(allowed)}; received {chosen!r}")
    parsers = {option.name: option.metadata["parse"] for option in fields(Config)}
    values = dict(PRESETS[chosen])
    for name, value in given.items():
        if name not in parsers:
            raise UsageError(f"unknown option {name!r}: choose one of {', '.join(parsers)}")
        values[name] = _parse(name, value, parsers[name])
    return Config(**values)


def _parse(name: str, value: Any, parse: Callable[[Any], Any]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    try:
        return parse(value)
    except (ValueError, TypeError) as error:
        wanted = str(error)
        if not wanted.startswith("a "):  # the message of int() or float()
            wanted = "a number"
        raise UsageError(f"--{name.replace('_', '-')} takes {wanted}, received {value!r}") from None
