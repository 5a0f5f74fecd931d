"""What a training run is made of: one frozen dataclass, and the presets.

A value comes from the command line, else from the preset, else from the default here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from kvae.data import DATASETS, TFDS, key_of
from kvae.data.crops import WANTED, is_crop
from kvae.errors import UsageError
from kvae.likelihoods import LEARNED_VARIANCES, LIKELIHOODS
from kvae.networks import NETWORKS
from kvae.posteriors import POSTERIORS
from kvae.priors import PRIORS
from kvae.registry import Member
from kvae.samplers import SAMPLERS

MIXED_PRECISION = ("auto", "off", "float16", "bfloat16")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")
OBJECTIVES = ("elbo", "iwae")
NO_SAMPLER, AUTO_SAMPLER = "none", "auto"
GMM_WEIGHTS = ("random", "steep")


MAX_SEED = 2**32 - 1  # of Keras, NumPy's old generator and scikit-learn


class _Kind(NamedTuple):
    """How an option's text becomes a value.

    Args:
        wanted: what is allowed, for the error message.
        read: returns the value; raises ValueError or TypeError for what is not allowed.
    """

    wanted: str
    read: Callable[[Any], Any]


def _checked(value: Any, allowed: bool) -> Any:
    if not allowed:
        raise ValueError
    return value


def _at_least(least: int, text: Any) -> int:
    return _checked(int(text), int(text) >= least)


def _number(text: Any, allowed: Callable[[float], bool]) -> float:
    value = float(text)
    return _checked(value, math.isfinite(value) and allowed(value))


def _is_positive(value: float) -> bool:
    return value > 0


def _read_units(text: Any) -> tuple[int, ...]:
    parts = text.split(",") if isinstance(text, str) else text
    return tuple(_at_least(1, part) for part in parts)


def _read_names(text: Any) -> tuple[str, ...]:
    parts = text.split(",") if isinstance(text, str) else text
    names = tuple(str(part).strip() for part in parts)
    return _checked(names, all(names) and len({*names}) == len(names))


_TEXT = _Kind("a text that is not empty", lambda text: _checked(str(text), bool(text)))
_ANY_TEXT = _Kind("a text", str)
_COUNT = _Kind("a whole number of at least 0", lambda text: _at_least(0, text))
_SEED = _Kind(
    f"a whole number from 0 to {MAX_SEED}",
    lambda text: _checked(int(text), 0 <= int(text) <= MAX_SEED),
)
_POSITIVE_COUNT = _Kind("a whole number of at least 1", lambda text: _at_least(1, text))
_POSITIVE = _Kind("a positive number", lambda text: _number(text, _is_positive))
_NOT_NEGATIVE = _Kind("a number of at least 0", lambda text: _number(text, lambda v: v >= 0))
_UNITS = _Kind("whole numbers of at least 1 with commas between", _read_units)
_NAMES = _Kind("names with commas between, none of them twice", _read_names)
_VARIANCE = _Kind(
    f"a positive number, {' or '.join(LEARNED_VARIANCES)}",
    lambda text: text if text in LEARNED_VARIANCES else _number(text, _is_positive),
)


def _option(
    default: Any,
    group: str,
    help_text: str,
    kind: _Kind = _TEXT,
    *,
    choices: Any = None,
    metavar: str | None = None,
) -> Any:
    """A field with what the command line needs to know about it."""
    metadata = {
        "group": group,
        "help": help_text,
        "kind": kind,
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
        None, _DATA, "your copy of the dataset: a folder or zip (celeba, folder), where TensorFlow "
        "Datasets keeps its own (tfds), or a .npy, .npz or .csv file (arrays)",
        metavar="PATH",
    )  # fmt: skip
    labels_file: str | None = _option(
        None, _DATA, "table with commas of labels for the images of a folder: a header, then an "
        "image's path or name and its labels; pandas' index is left out",
        metavar="FILE",
    )  # fmt: skip
    cache_dir: str | None = _option(
        None, _DATA, "where decoded or drawn images are kept (default: ~/.cache/kvae)",
        metavar="DIR",
    )  # fmt: skip
    cache: bool = _option(
        True, _DATA, "keep decoded or drawn images there; --no-cache: in memory instead"
    )
    max_unreadable: float = _option(
        0.001, _DATA, "largest part of the images that may be unreadable and is left out",
        _Kind("a number from 0 to 1", lambda text: _number(text, lambda v: 0 <= v <= 1)),
        metavar="X",
    )  # fmt: skip
    image_size: int = _option(
        64, _DATA, "height and width of images, pixels", _POSITIVE_COUNT, metavar="PIXELS"
    )
    channels: int = _option(
        3, _DATA, "1: grey images, 3: RGB",
        _Kind("1 or 3", lambda text: _checked(int(text), int(text) in (1, 3))), metavar="N",
    )  # fmt: skip
    crop: str = _option(
        "center", _DATA, f"part of each image that is kept: {WANTED}",
        _Kind(WANTED, lambda text: _checked(str(text), is_crop(str(text)))), metavar="CROP",
    )  # fmt: skip
    binarize: bool = _option(False, _DATA, "threshold digits at one half: pixels 0 or 1")
    gmm_seed: int = _option(0, _DATA, "which random mixture", _COUNT, metavar="N")
    gmm_components: int = _option(
        10, _DATA, "Gaussians in the mixture, 1 to 50", _POSITIVE_COUNT, metavar="N"
    )
    gmm_dim: int = _option(3, _DATA, "dimensions of a point, 1 to 32", _POSITIVE_COUNT, metavar="N")
    gmm_separation: float = _option(
        5.0, _DATA, "least distance of two means, in largest standard deviations",
        _NOT_NEGATIVE, metavar="X",
    )  # fmt: skip
    gmm_weights: str = _option(
        "random", _DATA, "of the components; 'steep': falling to 1%", choices=GMM_WEIGHTS
    )
    gmm_warp: float = _option(
        0.0, _DATA, "bend each component by this much, 0 to 5: no longer Gaussian",
        _NOT_NEGATIVE, metavar="X",
    )  # fmt: skip
    label_column: str = _option(
        "", _DATA, "column of a table that holds labels: its name (.csv) or its number from 1",
        _ANY_TEXT, metavar="NAME",
    )  # fmt: skip
    split_seed: int = _option(
        0, _DATA, "of the split into train, valid and test, where the data have none",
        _COUNT, metavar="N",
    )  # fmt: skip
    faces_seed: int = _option(0, _DATA, "which drawn faces", _COUNT, metavar="N")
    faces_count: int = _option(
        20000, _DATA, "drawn faces to train on; a tenth of it each to validate and to test",
        _POSITIVE_COUNT, metavar="N",
    )  # fmt: skip

    network: str = _option("mlp", _MODEL, "encoder and decoder", choices=NETWORKS)
    hidden_units: tuple[int, ...] = _option(
        (64,) * 4, _MODEL, "units of the hidden layers of 'mlp'", _UNITS, metavar="N,N"
    )
    linear_path: bool = _option(
        True, _MODEL, "a learned linear path beside the hidden layers of 'mlp'"
    )
    latent_dim: int = _option(
        0, _MODEL, "dimensions of the latent z; 0: as many as a vector has", _COUNT, metavar="N"
    )
    condition: tuple[str, ...] = _option(
        (), _MODEL, "labels, with commas between, that encoder and decoder are given", _NAMES,
        metavar="NAME,NAME",
    )  # fmt: skip
    likelihood: str = _option("gaussian", _MODEL, "p(x given z)", choices=LIKELIHOODS)
    width: int = _option(
        16, _MODEL, "channels of the largest map of 'resnet', a multiple of 8",
        _Kind("a multiple of 8", lambda text: _checked(_at_least(8, text), int(text) % 8 == 0)),
        metavar="N",
    )  # fmt: skip
    depth: int = _option(
        1, _MODEL, "residual blocks of 'resnet' at each size of map but the largest",
        _POSITIVE_COUNT, metavar="N",
    )  # fmt: skip
    variance: float | str = _option(
        "shared", _MODEL,
        "of the Gaussian likelihood: a number (after --standardize); the mean squared error itself:"
        " 'optimal'; learned: 'shared', 'per-channel' or 'per-feature'; from the decoder: "
        "'heteroscedastic', or 'full', with the covariance of all features (of the colours of each "
        "pixel)",
        _VARIANCE, metavar="X|NAME",
    )  # fmt: skip
    logistic_components: int = _option(
        1, _MODEL, "logistics in the mixture of each pixel, 1 to 50, of 'discretized-logistic'",
        _POSITIVE_COUNT, metavar="N",
    )  # fmt: skip
    posterior: str = _option("diagonal", _MODEL, "q(z given x)", choices=POSTERIORS)
    standardize: bool = _option(
        False, _MODEL, "shift and scale each feature by its training mean and standard deviation"
    )
    prior: str = _option("mixture", _MODEL, "p(z)", choices=PRIORS)
    prior_components: int = _option(
        30,
        _MODEL,
        "components of the priors 'mixture' and 'vamp'; best twice as many as the data have groups",
        _POSITIVE_COUNT,
        metavar="N",
    )
    objective: str = _option(
        "elbo", _MODEL, "bound to maximise; 'iwae': of several draws (Burda et al. 2016)",
        choices=OBJECTIVES,
    )  # fmt: skip
    iwae_draws: int = _option(
        8, _MODEL, "draws of the objective 'iwae'", _POSITIVE_COUNT, metavar="K"
    )
    beta: float = _option(
        1.0, _MODEL, "weight of the rate (1: the ELBO)", _NOT_NEGATIVE, metavar="X"
    )
    kl_warmup_epochs: int = _option(
        0, _MODEL, "epochs over which that weight rises from 0", _COUNT, metavar="EPOCHS"
    )

    kl_cycle_epochs: int = _option(
        0, _MODEL, "epochs of a cycle: the weight rises anew from 0 over each cycle's first half",
        _COUNT, metavar="EPOCHS",
    )  # fmt: skip
    free_bits: float = _option(
        0.0, _MODEL, "nats that each latent dimension may carry for nothing", _NOT_NEGATIVE,
        metavar="NATS",
    )  # fmt: skip
    tc_weight: float = _option(
        1.0, _MODEL, "weight of the total correlation within the rate (beta-TCVAE; 1: the ELBO's; "
        "with --prior standard_normal), as estimated within a batch: with a --batch-size under 512 "
        "it is rather one of how much each dimension tells",
        _NOT_NEGATIVE, metavar="X",
    )  # fmt: skip

    sampler: str = _option(
        NO_SAMPLER, _MODEL,
        "density that 'generate' draws from, fitted to posterior draws after training",
        choices={
            NO_SAMPLER: Member("generate draws from the prior", dict),
            AUTO_SAMPLER: Member("fit all, keep the best on held-out draws", dict),
            **SAMPLERS,
        },
    )  # fmt: skip

    epochs: int = _option(
        36, _TRAINING, "passes over the train split; 0: publish the weights of --init-from as they "
        "are",
        _COUNT, metavar="N",
    )  # fmt: skip
    batch_size: int = _option(256, _TRAINING, "examples a step", _POSITIVE_COUNT, metavar="N")
    learning_rate: float = _option(3e-3, _TRAINING, "of Adam", _POSITIVE, metavar="X")
    learning_rate_schedule: str = _option(
        "cosine", _TRAINING, "'cosine' falls to a thousandth at the end",
        choices=LEARNING_RATE_SCHEDULES,
    )  # fmt: skip
    ema_momentum: float = _option(
        0.0, _TRAINING, "keep an exponential moving average of the weights, and publish that; "
        "0.999 suits a thousand steps and more, 0: none",
        _Kind("a number from 0 to 1, below 1", lambda text: _number(text, lambda v: 0 <= v < 1)),
        metavar="X",
    )  # fmt: skip
    flip: bool = _option(
        False, _TRAINING, "mirror each training image, left to right, half of the time"
    )
    mixed_precision: str = _option(
        "auto", _TRAINING, "half precision in hidden layers; 'auto': where the hardware gains",
        choices=MIXED_PRECISION,
    )  # fmt: skip
    jit_compile: bool = _option(False, _TRAINING, "compile the step with XLA")
    init_from: str | None = _option(
        None, _TRAINING, "start from the weights of a published version, .keras or .weights.h5",
        metavar="PATH",
    )  # fmt: skip
    seed: int = _option(0, _TRAINING, "of initial weights, order and noise", _SEED, metavar="N")

    save: str = _option("saved", _OUTPUT, "folder that models are published in", metavar="DIR")
    name: str = _option("", _OUTPUT, "of the model (default: the dataset's)", metavar="NAME")

    def __post_init__(self) -> None:
        if not self.name:
            # "tfds:group/name:1.0.0" is no name of a folder.
            plain = self.dataset.replace(":", "-").replace("/", "-")
            object.__setattr__(self, "name", plain)
        for option in fields(self):
            value = getattr(self, option.name)
            value = key_of(value) if option.name == "dataset" else value
            _check_choice(option.name, value, option.metadata["choices"])
        if "/" in self.name or self.name.startswith(".") or self.name in ("", ".."):
            raise UsageError(
                f"--name is a folder name without '/' or a leading '.', received {self.name!r}"
            )
        if not self.epochs and not self.init_from:
            raise UsageError(
                "--epochs must be at least 1, but for --init-from, whose weights --epochs 0 "
                "publishes as they are; received 0"
            )
        if self.standardize and self.likelihood != "gaussian":
            raise UsageError(
                "--standardize goes with --likelihood gaussian alone, "
                f"received --likelihood {self.likelihood}"
            )
        if self.condition and self.prior == "vamp":
            raise UsageError(
                "--condition does not go with --prior vamp: its pseudo-inputs have no condition"
            )
        if self.objective == "iwae" and (
            self.beta != 1 or self.kl_warmup_epochs or self.kl_cycle_epochs
        ):
            raise UsageError(
                "--objective iwae is a bound: it goes with --beta 1, --kl-warmup-epochs 0 and "
                f"--kl-cycle-epochs 0, received {self.beta:g}, {self.kl_warmup_epochs} and "
                f"{self.kl_cycle_epochs}"
            )
        if self.kl_warmup_epochs and self.kl_cycle_epochs:
            raise UsageError(
                "--kl-warmup-epochs or --kl-cycle-epochs, not both: received "
                f"{self.kl_warmup_epochs} and {self.kl_cycle_epochs}"
            )
        # As `build_vae`, but before TensorFlow is loaded.
        if self.network == "conv-large" and (self.ema_momentum or self.prior == "vamp"):
            raise UsageError(
                "--network conv-large normalises by batch: it goes neither with --ema-momentum nor "
                f"with --prior vamp, received {self.ema_momentum:g} and {self.prior}"
            )
        if self.objective == "iwae" and (self.likelihood, self.variance) == ("gaussian", "optimal"):
            raise UsageError(
                "--variance optimal goes with --objective elbo: several draws a row have another "
                "best variance; --variance shared learns it"
            )
        check_regularisers(
            self.objective, self.posterior, self.prior, self.free_bits, self.tc_weight
        )
        check_tc_prior(self.prior, self.tc_weight)


def check_regularisers(objective, posterior, prior, free_bits, tc_weight):
    """Refuse regularisers that the chosen parts have no formula for.

    Args:
        objective: "elbo" or "iwae".
        posterior: a key of `kvae.posteriors.POSTERIORS`.
        prior: a key of `kvae.priors.PRIORS`.
        free_bits: nats a dimension, at least 0.
        tc_weight: at least 0.

    Raises:
        UsageError: they do not go together.
    """
    if not (free_bits >= 0 and tc_weight >= 0):
        raise UsageError(
            "free bits and a weight of the total correlation are at least 0, received "
            f"{free_bits} and {tc_weight}"
        )
    if free_bits and (posterior, prior, objective) != ("diagonal", "standard_normal", "elbo"):
        raise UsageError(
            "free bits are counted by dimension: they go with the posterior 'diagonal', the prior "
            f"'standard_normal' and the objective 'elbo', received {posterior!r}, {prior!r}, "
            f"{objective!r}"
        )
    if tc_weight != 1 and (posterior, objective) != ("diagonal", "elbo"):
        raise UsageError(
            "a weight of the total correlation goes with the posterior 'diagonal' and the "
            f"objective 'elbo', received {posterior!r} and {objective!r}"
        )


def check_tc_prior(prior, tc_weight):
    """Refuse to train another total correlation under a prior that has one of its own.

    Arguments and error are those of `check_regularisers`.
    """
    if tc_weight != 1 and prior != "standard_normal":
        raise UsageError(
            "the total correlation is a part of the rate under a prior whose dimensions are "
            f"independent: a weight of it goes with the prior 'standard_normal', received {prior!r}"
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
# Options that only some members of a kind of part read: option -> (kind, members).
ONLY_FOR = {
    "hidden_units": ("network", ("mlp",)),
    "linear_path": ("network", ("mlp",)),
    "width": ("network", ("resnet",)),
    "depth": ("network", ("resnet",)),
    "variance": ("likelihood", ("gaussian",)),
    "logistic_components": ("likelihood", ("discretized-logistic",)),
    "prior_components": ("prior", ("mixture", "vamp")),
    "iwae_draws": ("objective", ("iwae",)),
}
_PATHS = ("data_dir", "cache_dir", "labels_file")
_VECTORS = {
    "standardize": True, "variance": "full", "posterior": "full", "sampler": "mixture",
    "jit_compile": True,
}  # fmt: skip
_IMAGES = {"network": "conv", "learning_rate": 1e-3, "batch_size": 64}
# A calibrated variance draws the posteriors away from the prior: samples need a sampler.
_CALIBRATED = {
    **_IMAGES, "batch_size": 32, "variance": "optimal", "prior": "standard_normal",
    "sampler": "mixture",
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "gmm": {"dataset": "gmm", **_VECTORS},
    "arrays": {"dataset": "arrays", **_VECTORS, "hidden_units": (128,) * 3},
    "digits": {"dataset": "digits", **_IMAGES, "latent_dim": 16, "epochs": 100},
    "faces": {"dataset": "faces", **_CALIBRATED, "latent_dim": 32, "epochs": 20},
    "celeba": {
        "dataset": "celeba", **_CALIBRATED, "crop": "center148", "latent_dim": 64, "epochs": 50,
        "flip": True,
    },
    "folder": {"dataset": "folder", **_CALIBRATED, "latent_dim": 64, "epochs": 50},
    TFDS: {"dataset": TFDS, **_CALIBRATED, "latent_dim": 64, "epochs": 50},
    "report-gmm": {
        "dataset": "gmm", **_REPORT, "hidden_units": (64, 64), "linear_path": False,
        "latent_dim": 2, "batch_size": 128, "epochs": 20,
    },
    "report-celeba": {
        "dataset": "celeba", **_IMAGES, **_REPORT, "crop": "center148", "latent_dim": 50,
        "epochs": 200,
    },
}  # fmt: skip


def raises_elbo(options: Mapping[str, Any]) -> bool:
    """Whether training raises the ELBO itself, however beta rises to 1.

    Args:
        options: of a run, as the fields of `Config`; what is not there is at its default.
    """
    defaults = {"objective": "elbo", "beta": 1, "free_bits": 0, "tc_weight": 1}
    return all(options.get(name) in (None, value) for name, value in defaults.items())


def resolve(given: Mapping[str, Any], preset: str | None = None) -> Config:
    """Default < preset < given.

    Args:
        given: option name -> value, as text or of its type; only what the user asked for.
        preset: a key of PRESETS; None: the one with the dataset's name.

    Raises:
        UsageError: an unknown preset or option, or a value that is not allowed.
    """
    chosen = preset or key_of(given.get("dataset", Config.dataset))
    if chosen not in PRESETS:
        what = "--preset" if preset else "--dataset"
        allowed = PRESETS if preset else DATASETS
        raise UsageError(f"{what}: choose one of {', '.join(allowed)}; received {chosen!r}")
    kinds = {option.name: option.metadata["kind"] for option in fields(Config)}
    values = dict(PRESETS[chosen])
    for name, value in given.items():
        if name not in kinds:
            raise UsageError(f"unknown option {name!r}: choose one of {', '.join(kinds)}")
        values[name] = _read(name, value, kinds[name])
        if name in _PATHS and value is not None:
            # A version remembers where its data were, whichever folder it is evaluated from.
            values[name] = str(Path(values[name]).expanduser().resolve())
    return Config(**values)


def _read(name: str, value: Any, kind: _Kind) -> Any:
    if value is None or isinstance(value, bool):
        return value
    try:
        return kind.read(value)
    except (ValueError, TypeError):
        raise UsageError(
            f"--{name.replace('_', '-')} takes {kind.wanted}; received {value!r}"
        ) from None
