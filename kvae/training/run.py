"""A training run, from a configuration to a published version."""

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf

from kvae import backend, data, files, publish
from kvae.build import build_vae, load_model
from kvae.callbacks import MAX_ROWS, measure
from kvae.config import MODEL_PARTS, NO_SAMPLER, Config
from kvae.data import MIN_SPLIT_ROWS
from kvae.data.conditions import Conditioned, Conditions, conditioned, conditions_of
from kvae.data.pipeline import batches, shuffled_batches
from kvae.data.rows import in_parts, random_rows, some_of
from kvae.directions import Directions, fit_directions
from kvae.errors import DataError, KvaeError, UsageError
from kvae.evaluation import doctor
from kvae.inputs import as_float
from kvae.model import VAE
from kvae.probability.streams import generator
from kvae.registry import options_of
from kvae.serving import versions
from kvae.training import kept_weights
from kvae.training.command import program
from kvae.training.precision import choose_policy
from kvae.training.preflight import check_values, latent_dim, load, outline, start_rows
from kvae.training.sampler_fitting import some_rows, with_sampler

_VALID_BATCH = {"vectors": 5000, "images": 250}
_FEW_STEPS = 1000
_MANY_ROWS = 512  # log of it are the nats that an estimate of the total correlation can tell apart
_MAX_LABELLED = 20_000
_STEP = "vars/0"  # in a weights file, of a model's own step
_LEAST_ROWS, _GLANCE_WEIGHTS = 20, 150_000_000  # of the doctor's look at one split
_ROWS_AT_ONCE = 250


if keras.backend.backend() != backend.TENSORFLOW:
    tf.config.set_visible_devices([], "GPU")  # it feeds data alone: their memory is another's


class TrainingError(KvaeError):
    """Training went wrong in a way that no file or option shows beforehand."""


class Fitted(NamedTuple):
    """What training leaves behind.

    Args:
        vae: with the best weights.
        card: the data card.
        history: figure -> value of each epoch.
        directions: of attributes in latent space, where the data have such labels.
        conditions: the columns of a conditional model's condition.
        dataset: its rows as the model takes them.
        record: which figure chose the weights.
    """

    vae: VAE
    card: dict[str, Any]
    history: dict[str, list[float]]
    directions: Directions | None = None
    conditions: Conditions = Conditions()
    dataset: data.Dataset | None = None
    record: kept_weights.Record | None = None


def train(config: Config, dataset: data.Dataset | None = None) -> versions.Version:
    """Train, publish the best weights as the next version, and print what the doctor says of them.

    Args:
        config: all options; `kvae.training.preflight.check` finds most faults sooner.
        dataset: what `kvae.training.preflight.load` gave; None: it is called.

    Returns:
        The published version.

    Raises:
        UsageError: an option is wrong, or the repository cannot be written.
        DataError: the dataset cannot be read.
        TrainingError: the loss stopped being finite.
    """
    with _run_folder(config) as folder:
        fitted = fit(config, folder, dataset)
        with kept_weights.telling_of(folder, config):
            version = publish.publish(
                fitted.vae, config.save, config.name,
                config=config.to_dict(), card=fitted.card, history=fitted.history,
                directions=fitted.directions,
                condition=fitted.conditions.to_json() if fitted.conditions.dim else None,
            )  # fmt: skip
        print(f"\npublished {version.path}", flush=True)
        kept_weights.published(folder, config, fitted.record)
    _consult(config, fitted)
    print(f"next:     {' '.join(program('evaluate'))} --model {version.path}")
    return version


def fit(config: Config, folder: Path, dataset: data.Dataset | None = None) -> Fitted:
    """Train and keep the weights that were best on the valid split.

    Args:
        config: all options.
        folder: where best weights and history.csv are kept meanwhile; see
            `kvae.training.kept_weights`.
        dataset: see `train`.

    Raises:
        As `train`.
    """
    policy, reason = choose_policy(config.mixed_precision)
    dataset = load(config) if dataset is None else dataset
    conditions = conditions_of(dataset, config.condition)
    dataset = conditioned(dataset, conditions)
    _check_conditions(config.init_from, conditions)
    vae = _build(config, dataset, policy)
    _announce(config, dataset, vae, f"{policy}: {reason}")
    with kept_weights.telling_of(folder, config):
        history, record = _fit(config, dataset, vae, folder)
        vae = with_sampler(vae, config.sampler, dataset, seed=config.seed, **config.own("sampler"))
        directions = _directions(vae, dataset, config)
    return Fitted(vae, dataset.card, history, directions, conditions, dataset, record)


def _consult(config, fitted):
    """Print what looks wrong with a published model: a glance, which `evaluate.py` goes beyond."""
    rows = _rows_of_a_glance(fitted.vae, fitted.dataset)
    if rows < MIN_SPLIT_ROWS:
        print(f"doctor    NO report: {rows} validation rows are too few")
        return
    try:
        findings = _diagnosis(config, fitted, rows)
    except Exception as error:  # whatever it is, the training was not in vain
        print(f"doctor    NO report: {error}")
        return
    print(f"doctor    on {rows} validation rows (evaluate.py measures more)")
    print(f"{doctor.report(findings)}\n")


def _rows_of_a_glance(vae, dataset):
    """How many rows of each split are looked at: fewer of larger models, for some seconds' work."""
    rows = max(_LEAST_ROWS, min(MAX_ROWS, _GLANCE_WEIGHTS // vae.count_params()))
    return min(rows, len(dataset.valid.x), len(dataset.train.x))


def _diagnosis(config, fitted, rows):
    vae, dataset = fitted.vae, fitted.dataset
    metrics, of_train = (
        measure(vae, some_of(x, rows, generator(config.seed, "rows of a glance")), config.seed)
        for x in (dataset.valid.x, dataset.train.x)
    )
    # Those that say whether it is the training rows that it knows.
    names = {"elbo_nats", "elbo_nats_stderr", "reconstruction_mse"} & of_train.keys()
    metrics |= {f"train_{name}": of_train[name] for name in names}
    metrics["sampler"] = vae.sampler.kind if vae.has_sampler else NO_SAMPLER
    return doctor.diagnose(metrics, config=config.to_dict(), history=fitted.history)


def dry_run(config: Config) -> None:
    """Print the configuration, the model and the estimated time of an epoch.

    Args:
        config: all options.
    """
    policy, reason = choose_policy(config.mixed_precision)
    dataset = outline(config)
    dataset = conditioned(dataset, conditions_of(dataset, config.condition))
    vae = _build(config, dataset, policy)
    for name, value in config.to_dict().items():
        print(f"  {name:24}{value}")
    print(f"  {'precision':24}{policy}: {reason}\n")
    for network in (vae.encoder, vae.decoder):
        _print_layers(network)
    print(f"parameters: {vae.count_params():,} (prior and likelihood included)")
    seconds = _epoch_seconds(config, dataset, vae)
    steps = _steps(config, dataset)
    print(f"an epoch of {steps} steps takes about {seconds:.1f} s on this machine")
    print(f"{config.epochs} epochs: about {_duration(seconds * config.epochs)}, without validation")


def _print_layers(network: keras.Model) -> None:
    """Print each layer: name, kind, output shape, parameters; its inputs if not the layer above.

    Not Keras's summary, which at 80 columns cuts the names of a graph that is no chain.
    """
    print(f"{network.name}: {network.count_params():,} parameters")
    makers = {id(layer.output): layer.name for layer in network.layers}
    above: list[str] = []
    for layer in network.layers:
        kind, shape = type(layer).__name__, str(layer.output.shape[1:])
        print(f"  {layer.name:23} {kind:20} {shape:19} {layer.count_params():12,}")
        # What an operation in the graph makes (h + x) is no layer's.
        sources = [makers.get(id(t), t.name) for t in keras.tree.flatten(layer.input)]
        if sources not in (above, [layer.name]):
            print(f"    of {', '.join(sources)}")
        above = [layer.name]
    print()


@contextmanager
def _run_folder(config: Config) -> Iterator[Path]:
    """`saved/<name>/training`, held by this process alone."""
    folder = versions.training_folder(config.save, config.name)
    files.writable_folder(folder, "--save")
    busy = f"another training writes to {folder}: wait for it or choose another --name"
    with files.alone(folder / ".lock", busy):
        yield folder


def _directions(vae: VAE, dataset: data.Dataset, config: Config) -> Directions | None:
    """Where in latent space the attributes of labelled images lie, but for conditions."""
    seed = config.seed
    if dataset.kind != "images":
        return None
    latents, labels = [], []
    for split in (dataset.train, dataset.valid):
        rows = random_rows(len(split.x), _MAX_LABELLED, generator(seed, "attribute rows"))
        attributes = {
            name: values[rows]
            for name, values in split.labels.items()
            if values.dtype == bool and name not in config.condition
        }
        if not attributes:
            return None
        parts = in_parts(rows, _ROWS_AT_ONCE)
        means = [keras.ops.convert_to_numpy(vae.encode(split.x[part])[0]) for part in parts]
        latents.append(np.concatenate(means))
        labels.append(attributes)
    try:
        found = fit_directions(latents[0], labels[0], latents[1], labels[1], seed=seed)
    except (KvaeError, ValueError) as error:
        print(f"attributes NO directions, the version has no signature edit: {error}")
        return None
    if not found.names:
        return None
    best = zip(found.names[:5], found.accuracy[:5], strict=True)
    shown = ", ".join(f"{name} {accuracy:.0%}" for name, accuracy in best)
    print(f"attributes {len(found.names)} directions; the clearest, by held-out accuracy: {shown}")
    return found


def _build(config: Config, dataset: data.Dataset, policy: str) -> VAE:
    """The model, its prior started where the encoder puts data, older weights read."""
    keras.utils.set_random_seed(config.seed)
    rows = dataset.train.x
    x = np.asarray(rows)  # of a memory map a view, still on disk
    for split in (dataset.train, dataset.valid):
        for part in in_parts(np.asarray(split.x), 1000):
            check_values(config, part)
    shift, scale = _moments(x) if config.standardize else (0.0, 1.0)
    vae = build_vae(
        x.shape[1:], latent_dim=latent_dim(config, x), condition_dim=_condition_dim(rows),
        **{kind: getattr(config, kind) for kind in MODEL_PARTS}, posterior=config.posterior,
        shift=shift, scale=scale, dtype=policy, seed=config.seed,
        **_model_options(config, _steps(config, dataset)),
    )  # fmt: skip
    count = max(2000, start_rows(config))
    some = some_of(rows, count, generator(config.seed, "prior start rows"))
    if config.init_from:
        _init_from(vae, config.init_from)
        if hasattr(vae.objective, "first_step"):
            vae.objective.first_step = int(vae.step)
    else:
        vae.start_prior(some)
    return vae


def _model_options(config, steps):
    """What the parts of the model are told; epochs, of so many steps, as steps."""
    members = [registry[getattr(config, kind)] for kind, registry in MODEL_PARTS.items()]
    values = config.to_dict()
    return {
        option.model_name: steps * values[name] if option.steps_name else values[name]
        for name, option in options_of(members).items()
    }


def _condition_dim(rows):
    return rows.condition.shape[1] if isinstance(rows, Conditioned) else 0


def _moments(x):
    """Mean and standard deviation of each feature over the rows."""
    mean, stddev = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
    constant = np.flatnonzero(stddev == 0)
    if len(constant):
        raise DataError(
            f"--standardize: {len(constant)} features are constant over the train split, "
            f"the first is number {constant[0]}"
        )
    return mean, stddev


def _init_from(vae, source):
    """Copy the weights of a version, a `.keras` or a `.weights.h5` file of the same shapes."""
    path = Path(source)
    if path.name.endswith(".weights.h5"):
        with tempfile.TemporaryDirectory() as folder:
            ours = Path(folder) / "ours.weights.h5"
            vae.save_weights(ours)
            found, wanted = _shapes_in_file(path), _shapes_in_file(ours)
        if _STEP not in found:  # of kvae 0.1
            del wanted[_STEP]
        _refuse_misfit(source, wanted, found)
        vae.load_weights(path)
        print(f"weights of {source}; a weights file knows no units, those of these data are used")
        return
    other = load_model(path).with_sampler(None)
    _refuse_misfit(source, _kinds(vae), _kinds(other))
    _refuse_misfit(source, _shapes(vae), _shapes(other))
    # The other model may have seen data in other units: its own go with its weights.
    vae.set_weights(other.get_weights())
    vae.shift, vae.scale = other.shift, other.scale
    print(f"starts from the weights of {source}")


def _check_conditions(source: str | None, conditions: Conditions) -> None:
    """Refuse a version whose conditions have other meanings, be there as many or not."""
    if source is None or not Path(source).is_dir():
        return
    metadata = versions.read_metadata(versions.find_version(source))
    then = metadata.get("condition", {}).get("names", [])
    if then != conditions.names:
        raise UsageError(
            f"--init-from {source}: trained with the conditions {', '.join(then) or 'none'}; "
            f"here they are {', '.join(conditions.names) or 'none'}"
        )


def _shapes(vae):
    """Place and shape of each weight; names of layers differ between two models of one kind."""
    return {f"weight {place}": tuple(weight.shape) for place, weight in enumerate(vae.weights)}


def _kinds(vae):
    """What weights of equal shapes may mean differently."""
    return {
        "posterior": vae.posterior_kind,
        "condition": vae.condition_dim,
        "prior": vae.prior.kind,
        "likelihood": (vae.likelihood.kind, getattr(vae.likelihood, "variance", "")),
    }


def _shapes_in_file(path):
    """Place and shape of each weight in a `.weights.h5` file, but for an optimizer's."""
    shapes = {}

    def visit(name, item):
        if hasattr(item, "shape") and not name.startswith("optimizer"):
            shapes[name] = tuple(item.shape)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise UsageError(f"{path} is not a .weights.h5 file, or damaged: {error}") from error
    return shapes


def _refuse_misfit(source, ours, theirs):
    for place in sorted({*ours, *theirs}):
        here, there = ours.get(place, "absent"), theirs.get(place, "absent")
        if here != there:
            raise UsageError(
                f"--init-from {source}: its weights do not fit this model ({place}: {here} "
                f"here, {there} there); the same --network, --latent-dim, --condition, "
                "--posterior, --likelihood and --prior, with the same options of theirs, and shape "
                "of x are needed"
            )


def _steps(config, dataset):
    return dataset.train.steps(config.batch_size)


def _compile(config, vae, steps):
    rate = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate, max(1, config.epochs) * steps, alpha=1e-3
        )
    momentum = config.ema_momentum
    optimizer = keras.optimizers.Adam(rate, use_ema=momentum > 0, ema_momentum=momentum or 0.99)
    jit_compile = {backend.JAX: True, backend.TORCH: False}
    vae.compile(optimizer, jit_compile=jit_compile.get(keras.backend.backend(), config.jit_compile))


def _fit(config, dataset, vae, folder):
    """Train unless --epochs is 0; return history and record, the best weights in the model."""
    start = kept_weights.read(config.init_from) if config.init_from else None
    kept_weights.set_aside(folder)  # maybe that file too
    notes = kept_weights.Notes()
    kept = kept_weights.BestWeights(folder, config, dataset, notes)
    history = {}
    if config.epochs:
        history = _trained(
            config, dataset, vae,
            [kept, kept_weights.History(folder / kept_weights.HISTORY, notes)],
        )  # fmt: skip
        vae.set_weights(kept.weights)
    else:
        kept.start(vae, start)
    vae.calibrate(some_rows(dataset.train.x, generator(config.seed, "calibration rows")))
    kept.write()  # what follows may be interrupted too
    return history, kept.record


def _trained(config, dataset, vae, keeping):
    """Run Keras's fit with the callbacks that keep weights and history; return the history."""
    # A step on vectors is shorter than Keras's way in and out of it.
    block = dataset.kind == "vectors"
    _compile(config, vae, _steps(config, dataset))
    try:
        result = vae.fit(
            shuffled_batches(
                dataset.train.x, config.batch_size, config.seed, block=block, flip=config.flip
            ),
            steps_per_epoch=1 if block else _steps(config, dataset),
            validation_data=batches(dataset.valid.x, _valid_batch(config, dataset, vae.objective)),
            epochs=config.epochs,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                # Before those that keep: the weights of an epoch's end are the averages then.
                *(
                    [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
                    if config.ema_momentum
                    else []
                ),
                *keeping,
            ],
        )
        history = {name: [float(v) for v in values] for name, values in result.history.items()}
        if not all(math.isfinite(v) for values in history.values() for v in values):
            raise TrainingError(
                f"the loss is not finite after {len(history['loss'])} epochs; nothing was "
                "published. A smaller --learning-rate or --mixed-precision off may help"
            )
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            keeping[0].rescue()
        raise
    return history


def _valid_batch(config, dataset, objective):
    if objective.compares_rows:
        return config.batch_size
    return max(1, _VALID_BATCH[dataset.kind] // objective.draws)


def _announce(config, dataset, vae, precision):
    """Say what is about to happen."""
    counts = ", ".join(f"{len(getattr(dataset, n).x):,} {n}" for n in ("train", "valid", "test"))
    lines = {
        "dataset": f"{config.dataset}: {counts}; one x is {vae.element_shape}",
        **_layout(dataset.card),
        **({"given": ", ".join(config.condition)} if config.condition else {}),
        "model": f"{config.network}, {vae.latent_dim} latent dimensions, "
        f"{vae.count_params():,} parameters",
        "densities": f"likelihood {_with_own(config, 'likelihood')}; posterior {config.posterior}; "
        f"prior {_with_own(config, 'prior')}; sampler {config.sampler}",
        "objective": _objective(config),
        "training": _training(config, dataset),
        **_few_steps(config, dataset),
        "precision": precision,
        "writes": f"{Path(config.save) / config.name}/",
    }
    for name, text in lines.items():
        print(f"{name:11}{text}")
    print(end=_small_batches(config))
    print("figures are nats per example; elbo is higher the better, loss the lower\n", flush=True)


def _with_own(config, kind):
    """A part of the model and what it was told."""
    own = (f"{name.replace('_', ' ')} {value}" for name, value in config.own(kind).items())
    return ", ".join([getattr(config, kind), *own])


def _training(config, dataset):
    """How long and how fast, in words."""
    if not config.epochs:
        return "none, the weights are published as they are"
    return (
        f"{config.epochs} epochs of {_steps(config, dataset)} steps of "
        f"{min(config.batch_size, len(dataset.train.x))}, Adam {config.learning_rate:g} "
        f"{config.learning_rate_schedule}, seed {config.seed}"
    )


def _objective(config):
    """What training lowers, in words."""
    if config.objective != "elbo":
        return _with_own(config, "objective")
    parts = [f"elbo, beta {config.beta:g}"]
    if config.kl_warmup_epochs:
        parts.append(f"rising over {config.kl_warmup_epochs} epochs")
    if config.kl_cycle_epochs:
        parts.append(f"in cycles of {config.kl_cycle_epochs} epochs")
    if config.free_bits:
        parts.append(f"{config.free_bits:g} nats of each latent dimension free")
    if config.tc_weight != 1:
        parts.append(f"total correlation times {config.tc_weight:g}")
    return ", ".join(parts)


def _few_steps(config, dataset):
    """A word where the preset cannot suit so few data, or they cannot be measured."""
    notes = []
    steps = _steps(config, dataset) * config.epochs
    if dataset.kind == "images" and 0 < steps < _FEW_STEPS:
        smaller = " or a smaller --batch-size" if config.batch_size > 1 else ""
        notes.append(f"{steps:,} steps in all are few: more --epochs{smaller}")
    if len(dataset.test.x) < MIN_SPLIT_ROWS:
        rows = f"{len(dataset.test.x)} test rows"
        notes.append(f"{rows} are too few for evaluate.py, which wants {MIN_SPLIT_ROWS}")
    return {"note": f"\n{'':11}".join(notes)} if notes else {}


def _small_batches(config):
    """A line where the total correlation is estimated from too few rows; else nothing."""
    if config.get("tc_weight", 1) == 1 or config.batch_size >= _MANY_ROWS:
        return ""
    return (
        f"{'note':11}--tc-weight: batches of {config.batch_size} are too few to tell total "
        "correlation from\n"
        f"{'':11}what each dimension tells about x, which is weighed too; Chen et al. 2018 have "
        f"batches\n{'':11}of 2048 (--batch-size)\n"
    )


def _layout(card):
    """What was recognised in the user's copy, of datasets that come in several layouts."""
    source = card.get("source")
    return {"source": source["layout"]} if isinstance(source, dict) else {}


def _epoch_seconds(config, dataset, vae):
    """Time a few steps on stand-in data, after the one that compiles."""
    steps = _steps(config, dataset)
    _compile(config, vae, steps)
    block = dataset.kind == "vectors"
    trial = min(steps, 64 if block else 3)
    blocks = (1, trial) if block else (trial,)
    stand_in = tf.data.Dataset.from_tensor_slices(
        keras.tree.map_structure(
            lambda row: np.broadcast_to(
                keras.ops.convert_to_numpy(row), (*blocks, config.batch_size, *row.shape[1:])
            ),
            as_float(dataset.train.x[:1]),
        )
    )
    vae.fit(stand_in, verbose=0)
    start = time.perf_counter()
    vae.fit(stand_in, verbose=0)
    return (time.perf_counter() - start) / trial * steps


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
