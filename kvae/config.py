"""What a training run is made of: its options, those of its parts among them, and the presets.

A value comes from the command line, else from the preset, else from its declaration. Options that
belong to one part or a few are declared with them, see `kvae.registry.Member`; the rest here.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kvae import backend, likelihoods, networks, objectives, priors
from kvae.data import DATASETS, TFDS, key_of
from kvae.errors import UsageError
from kvae.files import FOLDER_NAME, is_folder_name
from kvae.likelihoods import LIKELIHOODS
from kvae.networks import NETWORKS
from kvae.objectives import OBJECTIVES
from kvae.options import (
    COUNT,
    NAMES,
    NOT_NEGATIVE,
    PLACE,
    POSITIVE_COUNT,
    SEED,
    SWITCH,
    Option,
    flag,
    number_range,
    one_of,
    text,
)
from kvae.priors import PRIORS
from kvae.probability.posteriors import POSTERIORS
from kvae.registry import Member, Registries, declared, options_of, refuse_others
from kvae.samplers import SAMPLERS

MIXED_PRECISION = ("auto", "off", "float16", "bfloat16")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")
NO_SAMPLER, AUTO_SAMPLER = "none", "auto"

#: The kinds of parts of a model that have options of their own.
MODEL_PARTS: Registries = {
    "network": NETWORKS, "likelihood": LIKELIHOODS, "prior": PRIORS, "objective": OBJECTIVES,
}  # fmt: skip
PARTS: Registries = {"dataset": DATASETS, **MODEL_PARTS, "sampler": SAMPLERS}
_SAMPLER_CHOICES = ChainMap(
    SAMPLERS,
    {
        NO_SAMPLER: Member("generate draws from the prior", dict),
        AUTO_SAMPLER: Member("fit all, keep the best on held-out draws", dict),
    },
)

#: Group of `--help` -> the options that are no part's own.
OPTIONS: dict[str, tuple[Option, ...]] = {
    "data": (
        Option("dataset", "gmm", "what to train on", choices=DATASETS, choice_of=key_of),
    ),
    "model": (
        Option("network", "mlp", "encoder and decoder", choices=NETWORKS),
        Option(
            "latent_dim", 0, "dimensions of the latent z; 0: as many as a vector has", COUNT,
            metavar="N",
        ),
        Option(
            "condition", (), "labels, with commas between, that encoder and decoder are given",
            NAMES, metavar="NAME,NAME",
        ),
        Option("likelihood", "gaussian", "p(x given z)", choices=LIKELIHOODS),
        Option("posterior", "diagonal", "q(z given x)", choices=POSTERIORS),
        Option(
            "standardize", False,
            "shift and scale each feature by its training mean and standard deviation", SWITCH,
        ),
        Option("prior", "mixture", "p(z)", choices=PRIORS),
        Option("objective", "elbo", "bound to maximise", choices=OBJECTIVES),
        Option(
            "sampler", NO_SAMPLER,
            "density that 'generate' draws from, fitted to posterior draws after training",
            choices=_SAMPLER_CHOICES,
        ),
    ),
    "training": (
        Option(
            "epochs", 36,
            "passes over the train split; 0: publish the weights of --init-from as they are",
            COUNT, metavar="N",
        ),
        Option("batch_size", 256, "examples a step", POSITIVE_COUNT, metavar="N"),
        Option("learning_rate", 3e-3, "of Adam", number_range(1e-12, 10), metavar="X"),
        Option(
            "learning_rate_schedule", "cosine", "'cosine' falls to a thousandth at the end",
            choices=LEARNING_RATE_SCHEDULES,
        ),
        Option(
            "ema_momentum", 0.0,
            "keep an exponential moving average of the weights, and publish that; 0.999 suits a "
            "thousand steps and more, 0: none",
            number_range(0, 0.999999), metavar="X",
        ),
        Option(
            "clip_norm", 0.0,
            "largest norm of the gradient of all weights together: a larger one is scaled down to "
            "it; 0: none",
            NOT_NEGATIVE, metavar="X",
        ),
        Option(
            "patience", 0,
            "end after so many epochs without a better figure of the valid split, those before "
            "beta is at its full value not counted; 0: never",
            COUNT, metavar="N",
        ),
        Option(
            "max_minutes", 0.0,
            "end after so long, at the end of the step (of vectors: of the epoch), and publish; 0: "
            "never",
            number_range(0, 1e6), metavar="X",
        ),
        Option(
            "flip", False, "mirror each training image, left to right, half of the time", SWITCH
        ),
        Option(
            "mixed_precision", "auto",
            "half precision in hidden layers; 'auto': where the hardware gains",
            choices=MIXED_PRECISION,
        ),
        Option(
            "jit_compile", False, "compile the step with XLA; JAX always does, torch never", SWITCH
        ),
        Option(
            "backend", "", f"of Keras; else that of {backend.VARIABLE}, else tensorflow",
            choices=backend.BACKENDS,
        ),
        Option(
            "devices", 1,
            "GPUs that share each batch, under TensorFlow and JAX; where none is seen logical "
            "CPUs, for a trial",
            POSITIVE_COUNT, metavar="N",
        ),
        Option(
            "init_from", None,
            "start from weights: a published version, .keras, .weights.h5 or a checkpoint (.npz)",
            metavar="PATH",
        ),
        Option("seed", 0, "of initial weights, order and noise", SEED, metavar="N"),
    ),
    "output": (
        Option("save", "saved", "folder that models are published in", PLACE, metavar="DIR"),
        Option(
            "name", "", "of the model (default: the dataset's)",
            text(FOLDER_NAME, is_folder_name),
        ),
        Option(
            "audit", False,
            "audit what is to be published (see kvae audit); what differs is not published", SWITCH,
        ),
        Option(
            "log_json", None, "file that a line of JSON of each epoch is added to, for programs",
            PLACE, metavar="FILE",
        ),
        Option(
            "tensorboard", None,
            "folder that figures of each epoch, reconstructions and samples are written to, for "
            "TensorBoard",
            PLACE, metavar="DIR",
        ),
        Option(
            "tensorboard_every", 10,
            "epochs between what TensorBoard shows of reconstructions, samples and latents",
            POSITIVE_COUNT, metavar="N",
        ),
    ),
}  # fmt: skip
#: The options that say what is written and where, and change nothing of what is trained.
OF_OUTPUT = tuple(option.name for option in OPTIONS["output"])
_BASE = {option.name: option for group in OPTIONS.values() for option in group}


@dataclass(frozen=True)
class Config:
    """All options of a training run that apply to its parts, as attributes.

    Args:
        _values: option name -> value, complete; `resolve` makes them.
        _untyped: name -> where a value comes from that the user did not give, in words.

    Raises:
        UsageError: an option lacks or is none of the chosen parts', a part is unknown, or two
            values do not go together.
        AttributeError: of an attribute: the chosen parts have no such option.
    """

    _values: Mapping[str, Any]
    _untyped: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", dict(self._values))
        self._check_names()
        with self.telling_origins():
            self._check_parts()
            self._check_objective()
            self._check_devices()

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        owners = declared(PARTS).get(name, {})
        of = " and ".join(f"{kind} {', '.join(members)}" for kind, members in owners.items())
        raise AttributeError(
            f"this configuration has no {name!r}, which is an option of {of} alone"
            if of
            else f"there is no option {name!r}"
        )

    def get(self, name: str, default: Any) -> Any:
        """The value of an option, or a default where it does not apply."""
        return self._values.get(name, default)

    def own(self, kind: str) -> dict[str, Any]:
        """The values of the options that the chosen part of a kind has, by name."""
        members = [PARTS[kind][name] for name in _chosen(self._values)[kind]]
        return {name: self._values[name] for name in options_of(members)}

    def to_dict(self) -> dict[str, Any]:
        """Option name -> value, of those that apply."""
        return dict(self._values)

    def replaced(self, **changes: Any) -> Config:
        """The same options but for some values."""
        untyped = {name: of for name, of in self._untyped.items() if name not in changes}
        return Config({**self._values, **changes}, untyped)

    @contextmanager
    def telling_origins(self) -> Iterator[None]:
        """Have an error that names a value which nobody typed say where that comes from."""
        try:
            yield
        except UsageError as error:
            text = str(error)
            told = ", ".join(
                _told(name, self._values[name], of)
                for name, of in self._untyped.items()
                if _names(text, name, self._values.get(name))
            )
            if not told or _NOT_GIVEN in text:
                raise
            raise UsageError(f"{text}{_NOT_GIVEN}{told}") from error

    def younger_than(self, then: Mapping[str, Any]) -> dict[str, Any]:
        """What was done, by name, before there were the options that a recorded run lacks."""
        return before({name: self.option(name) for name in self._values}, then)

    def option(self, name: str) -> Option:
        """The declaration of an option that applies."""
        return {**_BASE, **options_of(_members(_chosen(self._values)))}[name]

    def _check_names(self) -> None:
        wanted = set(_BASE)
        if wanted <= self._values.keys():
            for option in _BASE.values():
                if option.choices is not None:
                    option.read(self._values[option.name], flag(option.name))
            wanted |= options_of(_members(_chosen(self._values))).keys()
        lacking, unknown = wanted - self._values.keys(), self._values.keys() - wanted
        if lacking:
            raise UsageError(f"options that lack: {', '.join(sorted(lacking))}")
        if unknown:
            raise UsageError(
                f"options that the chosen parts do not have: {', '.join(sorted(unknown))}"
            )

    def _check_parts(self) -> None:
        if not self.epochs and not self.init_from:
            raise UsageError(
                "--epochs must be at least 1, but for --init-from, whose weights --epochs 0 "
                "publishes as they are; received 0"
            )
        if self.standardize and not likelihoods.facts(self.likelihood).standardizes:
            able = [name for name in LIKELIHOODS if likelihoods.facts(name).standardizes]
            raise UsageError(
                f"--standardize goes with --likelihood {' or '.join(able)} alone, received "
                f"--likelihood {self.likelihood}"
            )
        if self.likelihood == "gaussian":
            likelihoods.check_edge_weight(
                self.edge_weight, self.variance, "--edge-weight", "--variance"
            )
        pseudo_inputs = priors.facts(self.prior).pseudo_inputs
        if self.condition and pseudo_inputs:
            raise UsageError(
                f"--condition does not go with --prior {self.prior}: its pseudo-inputs have no "
                "condition"
            )
        # As `build_vae`, but before TensorFlow is loaded.
        by_batch = networks.facts(self.network).normalises_by_batch
        if by_batch and (self.ema_momentum or pseudo_inputs):
            raise UsageError(
                f"--network {self.network} normalises by batch: it goes neither with "
                "--ema-momentum nor with a prior of pseudo-inputs, received "
                f"{self.ema_momentum:g} and {self.prior}"
            )

    def _check_objective(self) -> None:
        objectives.facts(self.objective).check(
            posterior=self.posterior, prior=self.prior,
            updates_variance=self.get("variance", None) == "optimal",
            normalises_by_batch=networks.facts(self.network).normalises_by_batch,
            **self.own("objective"),
        )  # fmt: skip

    def _check_devices(self) -> None:
        if self.devices > 1 and self.backend == backend.TORCH:
            raise UsageError(
                f"--devices must be 1 with --backend {backend.TORCH}; {backend.TENSORFLOW} and "
                f"{backend.JAX} take more, received {self.devices}"
            )


_NOT_GIVEN = "; not given but taken: "


def _names(text: str, name: str, value: Any) -> bool:
    """Whether a message speaks of the value of an option, as a flag or as Python would."""
    if isinstance(value, bool):
        return value and re.search(rf"{flag(name)}(?![\w-])", text) is not None
    return any(
        re.search(rf"{re.escape(words)}(?![\w.-])", text) is not None
        for words in (f"{flag(name)} {value}", f"{name} {value!r}")
    )


def _told(name: str, value: Any, of: str) -> str:
    """A value that was not given, where it comes from and how to be rid of it."""
    if isinstance(value, bool):
        return f"{flag(name)} ({of}; {flag(f'no_{name}')} leaves it out)"
    return f"{flag(name)} {value} ({of})"


_REPORT = {
    "variance": 0.1,
    "prior": "standard_normal",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
}
_VECTORS = {
    "standardize": True, "variance": "full", "posterior": "full", "sampler": "mixture",
    "jit_compile": True,
}  # fmt: skip
_IMAGES = {"network": "conv", "learning_rate": 1e-3, "batch_size": 64}
# A calibrated variance draws the posteriors away from a fixed prior: samples need one that follows
# them, or a sampler.
_CALIBRATED = {**_IMAGES, "batch_size": 32, "variance": "optimal"}
_PHOTOS = {
    **_CALIBRATED, "edge_weight": 1.0, "prior": "flow", "latent_dim": 128, "epochs": 60,
}  # fmt: skip

_MNIST = {
    **_IMAGES, "latent_dim": 32, "likelihood": "bernoulli", "binarize": "dynamic",
    "network": "resnet", "width": 24, "prior": "flow", "epochs": 8, "kl_warmup_epochs": 1,
    "ema_momentum": 0.999,
}  # fmt: skip

# Where a run is wider than what `kvae.build.build_vae` makes unless told.
_DEFAULTS = {"hidden_units": (64,) * 4}

PRESETS: dict[str, dict[str, Any]] = {
    "gmm": {"dataset": "gmm", **_VECTORS},
    "arrays": {"dataset": "arrays", **_VECTORS, "hidden_units": (128,) * 3},
    "digits": {"dataset": "digits", **_IMAGES, "latent_dim": 16, "epochs": 100},
    "mnist": {"dataset": "mnist", **_MNIST},
    "mnist-long": {"dataset": "mnist", **_MNIST, "epochs": 36},
    "fashion-mnist": {"dataset": "fashion-mnist", **_MNIST},
    "faces": {
        "dataset": "faces", **_CALIBRATED, "prior": "standard_normal", "sampler": "mixture",
        "latent_dim": 32, "epochs": 20,
    },
    "celeba": {"dataset": "celeba", **_PHOTOS, "flip": True},
    "folder": {"dataset": "folder", **_PHOTOS},
    TFDS: {"dataset": TFDS, **_PHOTOS},
    "report-gmm": {
        "dataset": "gmm", **_REPORT, "hidden_units": (64, 64), "linear_path": False,
        "latent_dim": 2, "batch_size": 128, "epochs": 20,
    },
    "report-celeba": {
        "dataset": "celeba", **_IMAGES, **_REPORT, "latent_dim": 50, "epochs": 200,
    },
}  # fmt: skip


def default_of(option: Option) -> Any:
    """An option's value where neither preset nor user says anything."""
    return _DEFAULTS.get(option.name, option.default)


def resolve(
    given: Mapping[str, Any], preset: str | None = None, *,
    shown: Callable[[str], str] = flag, origins: Mapping[str, str] | None = None,
) -> Config:  # fmt: skip
    """Default < preset < given.

    What a preset says of parts that were not chosen is left out.

    Args:
        given: option name -> value, as text or of its type; only what the user asked for.
        preset: a key of PRESETS; None: the one with the dataset's name, if there is one.
        shown: the name of an option as the user wrote it, for messages.
        origins: option -> where its value comes from, in words, of those that nobody typed.

    Raises:
        UsageError: an unknown preset or option, one that the chosen parts do not have, or a value
            that is not allowed.
    """
    preset = _preset(given, preset)
    wanted = PRESETS.get(preset, {})
    values = _values(_BASE, wanted, given, shown)
    values["name"] = values["name"] or values["dataset"].replace(":", "-").replace("/", "-")
    values["backend"] = values["backend"] or _BASE["backend"].read(
        backend.wanted(), backend.VARIABLE
    )
    chosen = _chosen(values)
    refuse_others(
        given, PARTS, chosen, others=_BASE, name_of=lambda option: option.name,
        shown=lambda name: flag(name) if name in PARTS else shown(name), typed=given,
    )  # fmt: skip
    own = options_of(_members(chosen))
    values |= _values(own, wanted, given, shown)
    is_presets = "edge_weight" in own and "edge_weight" not in given
    if is_presets and not likelihoods.takes_edge_weight(values["variance"]):
        values["edge_weight"] = 0.0
    untyped = {
        name: f"of the preset {preset}" if name in wanted else "the default"
        for name in values
        if name not in given
    }
    return Config(values, {**untyped, **(origins or {})})


def before(options: Mapping[str, Option], then: Collection[str]) -> dict[str, Any]:
    """What a run of a release without some options did, by the name of each.

    Args:
        options: by name, those that apply.
        then: names of those that the release had.
    """
    younger = (option for name, option in options.items() if name not in then)
    return {option.name: option.before for option in younger if option.before is not None}


def chosen_parts(
    given: Mapping[str, Any], preset: str | None, shown: Callable[[str], str]
) -> dict[str, Collection[str]]:
    """The parts that `resolve` would choose: kind -> names. Arguments and errors as there."""
    wanted = PRESETS.get(_preset(given, preset), {})
    return _chosen(_values(_BASE, wanted, given, shown))


def options_of_parts(chosen: Mapping[str, Collection[str]]) -> dict[str, Option]:
    """The options of chosen parts, by name."""
    return options_of(_members(chosen))


def _preset(given: Mapping[str, Any], preset: str | None) -> str:
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"--preset: {one_of(PRESETS, preset)}")
    return key_of(given.get("dataset", _BASE["dataset"].default)) if preset is None else preset


def _values(
    options: Mapping[str, Option], preset: Mapping[str, Any], given: Mapping[str, Any],
    shown: Callable[[str], str],
) -> dict[str, Any]:  # fmt: skip
    return {
        name: option.read(given[name], shown(name))
        if name in given
        else preset.get(name, default_of(option))
        for name, option in options.items()
    }


def _members(chosen: Mapping[str, Collection[str]]) -> list[Member]:
    return [PARTS[kind][name] for kind, names in chosen.items() for name in names]


def _chosen(values: Mapping[str, Any]) -> dict[str, Collection[str]]:
    """The members of each kind whose options apply."""
    chosen: dict[str, Collection[str]] = {kind: (values[kind],) for kind in PARTS}
    chosen["dataset"] = (key_of(values["dataset"]),)
    chosen["sampler"] = samplers_of(values["sampler"])
    return chosen


def samplers_of(name: str) -> Collection[str]:
    """The keys of SAMPLERS that a value of the option `sampler` may fit."""
    several: dict[str, Collection[str]] = {NO_SAMPLER: (), AUTO_SAMPLER: tuple(SAMPLERS)}
    return several.get(name, (name,))
