"""Training, publication and evaluation from Python: what train.py and evaluate.py do, as functions.

They take datasets and parts of your own, and answer with objects.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kvae import backend, data
from kvae.config import AUTO_SAMPLER, Config, resolve
from kvae.errors import IncompleteError, KvaeError, UsageError, brief
from kvae.figures import FORMATS
from kvae.files import FOLDER_NAME, is_folder_name
from kvae.likelihoods import LIKELIHOODS
from kvae.options import NAMES, Option, one_of, read, read_seed, whole_range
from kvae.saying import silence
from kvae.serving import versions
from kvae.serving.versions import Version
from kvae.training import callbacks as own_callbacks
from kvae.training.machines import cluster
from kvae.training.provenance import Trained, known_of

if TYPE_CHECKING:
    import keras

    from kvae.likelihoods import Likelihood, LikelihoodName
    from kvae.model import VAE
    from kvae.networks import NetworkName
    from kvae.objectives import Objective, ObjectiveName
    from kvae.priors import Prior, PriorName
    from kvae.probability.posteriors import PosteriorName
    from kvae.samplers import SamplerName

_IMAGE_PRESET = "folder"  # of images of one's own
_NUM_DRAWS = Option("num_draws", 500, "importance draws", whole_range(1, 10**6))
_NUM_SAMPLES = Option("num_samples", None, "images in a set of samples", whole_range(1, 10**6))


def train(
    dataset: data.Dataset | str,
    *,
    output: str | Path | None = None,
    name: str | None = None,
    preset: str | None = None,
    model: VAE | None = None,
    network: NetworkName | str | tuple[Any, Any] | None = None,
    likelihood: LikelihoodName | str | Likelihood | None = None,
    prior: PriorName | str | Prior | None = None,
    posterior: PosteriorName | None = None,
    objective: ObjectiveName | str | Objective | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Literal[0, 1] = 1,
    resume: bool | None = None,
    **options: Any,
) -> VAE:
    """Train a VAE, as train.py does, with the weights that were best on the valid split.

    Args:
        dataset: a `kvae.Dataset`, or the name of one as for train.py.
        output: folder to publish in, such as "saved"; None: nothing is published, and of a run
            that is interrupted nothing is kept.
        name: of the published model; None: the dataset's.
        preset: a key of `kvae.config.PRESETS`; None: the one with the dataset's name; "folder" for
            images of your own arrays.
        model: a VAE, which is trained as it is: no option of its parts is taken then.
        network: a name, or a pair (encoder, decoder) of Keras models, see `kvae.VAE`.
        likelihood: a name, or an object, see `kvae.likelihoods`.
        prior: a name, or an object, see `kvae.priors`.
        posterior: a name.
        objective: a name, or an object, see `kvae.objectives`.
        callbacks: Keras callbacks of your own, behind those of the run. One that sets
            `model.stop_training` ends it as `patience` does; an error of one ends it, and
            its last checkpoint stays. What they hold themselves is in no checkpoint.
        verbose: 0: nothing is printed, but for notes of what goes wrong, on standard error; 1: what
            train.py prints.
        resume: of a run that is published in `output`: None: one that was interrupted goes on, with
            the same arguments and data, and one that was published starts anew. True: that one
            goes on too, where there are more `epochs` now. False: it starts anew.
        **options: those of train.py, with underscores: `epochs`, `batch_size`, `learning_rate`,
            `latent_dim`, `standardize`, `sampler`, `condition`, `seed`, ..., those of the chosen
            parts and, of a dataset that is a name, its own. Their defaults are the preset's.

    Returns:
        The model, with its sampler if one was asked for. `vae.history.history` holds the figures
        of each epoch; `vae.trained.version` the published version. A sampler or directions that
        could not be made are missing; a warning says so. Of several machines (TF_CONFIG) the
        chief's has them and is published; elsewhere there is None where the run was published
        before.

    Raises:
        UsageError: an option is unknown or does not go with the data or the other parts, a
            callback is none of Keras's, or `output` cannot be written.
        DataError: the dataset cannot be read.
        KvaeError: the loss stopped being finite.
    """
    from kvae.training import objects

    callbacks = own_callbacks.checked(callbacks)
    if resume not in (None, True, False):
        raise UsageError(f"resume: None, True or False is wanted, received {brief(resume)}")
    if not isinstance(verbose, int) or verbose not in (0, 1):
        raise UsageError(
            "verbose: 0 (nothing is printed) or 1 (what train.py prints) is wanted, received "
            f"{brief(verbose)}"
        )
    if "save" in options:
        raise UsageError("the folder to publish in is output, received save")
    parts = {"network": network, "likelihood": likelihood, "prior": prior, "objective": objective}
    given = {**options, **_of_data(dataset, options)}
    given |= {} if posterior is None else {"posterior": posterior}
    given |= {} if output is None else {"save": str(output)}
    given |= {} if name is None else {"name": name}
    if model is not None:
        _check_vae(model)
        parts = _parts_of(model, {**parts, **given})
        given |= {"posterior": model.posterior_kind, "standardize": False}
    elif getattr(likelihood, "kind", likelihood) not in (None, *LIKELIHOODS):
        given.setdefault("standardize", False)  # the preset says it of its own likelihood
    if isinstance(dataset, data.Dataset) and dataset.kind == "images" and preset is None:
        preset = _IMAGE_PRESET if given["dataset"] == "arrays" else None
    with silence(not verbose), objects.named(parts) as named:
        if model is None and (said := sorted({*options} & {*named})):
            raise UsageError(
                f"{', '.join(said)}: the object that was given for its part says it; give the name "
                "of the part, or no option of it"
            )
        given |= named
        own: Any = network if model is None else (model.encoder, model.decoder)
        if model is None and not isinstance(network, str | None):
            _check_own_networks(given)
        if not isinstance(own, str | None):
            condition_dim = _condition_dim(dataset, given)
            _check_encoder(own[0], dataset, condition_dim)
            dim = own[1].input_shape[-1] - condition_dim
            if given.setdefault("latent_dim", dim) != dim:
                raise UsageError(
                    f"latent_dim: the decoder takes {dim}, received {given['latent_dim']}"
                )
        config = resolve(given, preset)
        if config.audit and output is None:
            raise UsageError("audit is of what is published: give output too, received None")
        found = None if isinstance(dataset, str) else dataset
        vae = run(
            config, found, model=model, publishes=output is not None, callbacks=callbacks,
            resume=resume,
        )  # fmt: skip
    for part in () if vae is None else vae.trained.missing:
        warnings.warn(f"the model is without {part}", stacklevel=2)
    return vae


def run(
    config: Config,
    dataset: data.Dataset | None = None,
    *,
    model: VAE | None = None,
    publishes: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: bool | None = None,
) -> VAE:
    """Check a configuration, then train what it says: what train.py and `train` have in common.

    Args:
        config: all options.
        dataset: the data; None: they are loaded.
        model: what is trained; None: it is made.
        publishes: whether a version is written.
        callbacks: see `train`; those of `kvae.training.callbacks.CALLBACKS` stand before them.
        resume: see `train`.

    Returns:
        See `train`.

    Raises:
        As `train`.
    """
    callbacks = own_callbacks.checked(callbacks)
    backend.use(config.backend)
    machines = cluster.read()
    speaks = machines is None or machines.is_chief  # one machine of several
    if not speaks:
        config = config.replaced(log_json=None, tensorboard=None)
    with silence(not speaks):
        return _run(config, dataset, model, publishes, callbacks, resume)


def _run(config, dataset, model, publishes, callbacks, resume):
    from kvae.training import preflight

    found = preflight.check(config, dataset, dry_run=not publishes, going_on=resume)
    # Images are decoded here, so that a damaged one is named before TensorFlow is imported.
    dataset = preflight.load(config, found) if dataset is None else dataset
    training = backend.quiet_import("kvae.training.run")
    callbacks = [*own_callbacks.of_files(config), *callbacks]
    version: Any = None
    with training.log_json.outcome(config) as told:
        if publishes:
            fitted, version = training.train_and_publish(
                config, dataset, model, callbacks, going_on=resume
            )
            told["published"] = None if version is None else str(version.path)
        else:
            fitted = training.train_alone(config, dataset, model, callbacks)
        if fitted is not None:
            told |= {"missing": fitted.missing, **(fitted.course or {})}
    if fitted is None:
        return None if version is None else _published(version, config, dataset)
    vae = fitted.vae
    vae.history = fitted.callback
    vae.trained = Trained(
        fitted.config.to_dict(), fitted.card, fitted.history, fitted.directions,
        fitted.conditions if fitted.conditions.dim else None, vae.num_steps, version,
        fitted.missing, fitted.course or {}, fitted.train_rows,
    )  # fmt: skip
    return vae


def _published(version: Version, config: Config, dataset: data.Dataset) -> VAE:
    """A model that was published before, as `train` gives it."""
    import keras

    from kvae.build import load_model
    from kvae.data import seen
    from kvae.data.conditions import conditions_of
    from kvae.directions import Directions

    conditions = conditions_of(dataset, config.condition)
    metadata = versions.read_metadata(version)
    vae = load_model(version.path)
    vae.history = keras.callbacks.History()
    vae.history.history = metadata["history"]
    vae.history.epoch = [*range(len(metadata["history"].get("loss", ())))]
    directions = metadata.get("directions")
    vae.trained = Trained(
        metadata["config"], metadata["data_card"], metadata["history"],
        Directions.from_json(directions) if directions else None,
        conditions if conditions.dim else None, vae.num_steps, version, (),
        metadata.get("course", {}), seen.read(version.path / versions.TRAIN_ROWS),
    )  # fmt: skip
    return vae


def evaluate(
    model: VAE | Version | str | Path,
    dataset: data.Dataset | None = None,
    output: str | Path | None = None,
    *,
    num_draws: int = 500,
    features: Literal["auto", "inception", "attributes", "pca"] = "auto",
    inception_weights: str | None = None,
    num_samples: int | None = None,
    color_by: str | None = None,
    condition: Sequence[str] = (),
    seed: int = 0,
    figure_format: Literal["png", "pdf", "svg"] = "png",
) -> dict[str, Any]:
    """Measure a model on the test split, as evaluate.py does: through its served signatures.

    Args:
        model: a published version, its folder (`saved`, `saved/name`, `saved/name/number`), or a
            VAE, which is published to a temporary folder.
        dataset: the data that it was trained on; None: those that the version names.
        output: folder for metrics.json and figures; None: nothing is written.
        num_draws: importance draws of the log-likelihood, at least 1.
        features: what judges samples of images.
        inception_weights: file of the weights of InceptionV3 without its top.
        num_samples: images in a set of samples; None: 10,000, or as many as there are test images.
        color_by: label that colours the latent map; None: the dataset's own.
        condition: of a conditional VAE that `train` did not make, the labels that it is given;
            not of a version, which says so itself.
        seed: of all draws.
        figure_format: what each figure is written as beside its PNG, for print.

    Images of any numbers (`value_range=None`) have no SSIM, no PSNR and nothing that judges their
    samples; figures show them from the least to the greatest test value.

    Returns:
        What metrics.json holds: quantity, unit, subject, statistic -> number, beside `protocol`
        and the doctor's `findings`. A figure that could not be drawn is missing; a warning says so.

    Raises:
        UsageError: no such model, format or label, data of another shape or other than those of
            training, or a VAE without data.
        DataError: the dataset cannot be read, or has too few test rows.
    """
    num_draws = _NUM_DRAWS.read(num_draws, "num_draws")
    num_samples = _NUM_SAMPLES.read(num_samples, "num_samples")
    seed = read_seed(seed)
    if figure_format not in FORMATS:
        raise UsageError(f"figure_format: {one_of(FORMATS, figure_format)}")
    asked: dict[str, Any] = {
        "num_draws": num_draws, "features": features, "inception_weights": inception_weights,
        "num_samples": num_samples, "seed": seed, "figure_format": figure_format,
    }  # fmt: skip
    if dataset is not None:
        _check_dataset(dataset)
    if isinstance(model, str | Path | Version):
        if condition:
            raise UsageError(
                "condition is for a VAE; a published version says itself which labels it is given: "
                f"received {condition!r}"
            )
        return _evaluated(
            model.path if isinstance(model, Version) else model, dataset, output, color_by, **asked
        )
    _check_vae(model)
    if dataset is None:
        raise UsageError("a dataset is needed to evaluate a VAE: kvae.evaluate(vae, dataset)")
    with tempfile.TemporaryDirectory(prefix="kvae-") as folder:
        version = publish_version(model, folder, "vae", dataset=dataset, condition=condition)
        return _evaluated(version.path, dataset, output, color_by, **asked)


def publish_version(
    vae: VAE,
    output: str | Path,
    name: str,
    *,
    dataset: data.Dataset | None = None,
    condition: Sequence[str] = (),
) -> Version:
    """Publish a model as the next version of `output/name`, for TF Serving and `kvae.evaluate`.

    What `kvae.train` knows of the model goes with it.

    Args:
        vae: a trained model.
        output: the folder of all models, such as "saved".
        name: of the model.
        dataset: the data that it was trained on, for what the version says of itself: its data
            card, directions of attributes of images; None: as `kvae.train` knows them, if it made
            the model.
        condition: of a conditional model that `kvae.train` did not make: the labels that stand
            behind its condition, see `kvae.data.conditions.conditions_of`.

    Returns:
        The version: `path`, `name` and `number`.

    Raises:
        UsageError: no name of a folder, a folder that cannot be written, or labels that do not
            make the model's condition.
        DataError: the SavedModel does not answer its own warm-up requests.
    """
    if not (isinstance(name, str) and is_folder_name(name)):
        raise UsageError(f"name must be {FOLDER_NAME}; received {brief(name)}")
    _check_vae(vae)
    if dataset is not None:
        _check_dataset(dataset)
        if dataset.train.x.shape[1:] != vae.element_shape:
            raise UsageError(
                f"dataset: the model takes x of {vae.element_shape}, the data have "
                f"{dataset.train.x.shape[1:]}"
            )
    record = known_of(vae, dataset, _labels(condition))
    from kvae.publish import publish

    return publish(
        vae, output, name, config=dict(record.config), card=dict(record.card),
        history={key: list(values) for key, values in record.history.items()},
        directions=record.directions, course=dict(record.course), train_rows=record.train_rows,
        condition=record.conditions.to_json() if record.conditions else None,
    )  # fmt: skip


def fit_sampler(
    vae: VAE,
    x: Any,
    sampler: SamplerName | Literal["auto"] | str = "mixture",
    *,
    valid: Any = None,
    seed: int = 0,
    **options: Any,
) -> VAE:
    """Fit a density to posterior draws of a trained model, for `generate` to draw from.

    Args:
        vae: a trained model; it stays as it is.
        x: train rows, as `fit` takes them; of a conditional model a pair (x, condition).
        sampler: a key of `kvae.samplers.SAMPLERS`, or "auto" for the best of them and the prior.
        valid: rows that choose among fits; None: a tenth of `x`, which is left out of the fit.
        seed: of draws and starts.
        **options: the sampler's own.

    Returns:
        The model, its weights shared, with the sampler: `generate` and a publication of it draw
        from that. With "auto" there may be none, where the prior is as good.

    Raises:
        UsageError: no such sampler, an option that it does not have, too few latent dimensions or
            rows, or rows that `fit` would refuse.
        KvaeError: the fit failed.
    """
    from kvae.priors import check_density
    from kvae.samplers import SAMPLERS

    _check_vae(vae)
    seed = read_seed(seed)
    if sampler not in (*SAMPLERS, AUTO_SAMPLER):
        raise UsageError(f"sampler: {one_of((*SAMPLERS, AUTO_SAMPLER), sampler)}")
    if sampler in SAMPLERS:
        check_density(SAMPLERS, sampler, vae.latent_dim)
    from kvae.training import sampler_fitting

    own = sampler_fitting.checked_options(sampler, options)
    rows = sampler_fitting.split_of(vae, x, valid, seed)
    try:
        found = sampler_fitting.with_sampler(
            vae.with_sampler(None), sampler, rows, seed=seed, **own
        )
    except UsageError:
        raise
    except Exception as error:  # of somebody's own sampler it may be any
        told = str(error) if isinstance(error, KvaeError) else f"{type(error).__name__}: {error}"
        raise KvaeError(f"the sampler {sampler!r} could not be fitted: {told}") from error
    for kept in ("history", "trained"):
        if hasattr(vae, kept):
            setattr(found, kept, getattr(vae, kept))
    return found


def _of_data(dataset: data.Dataset | str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration says of the data."""
    if isinstance(dataset, str):
        return {"dataset": dataset}
    _check_dataset(dataset)
    origin = {"dataset": "arrays", **dataset.origin}
    for option in data.options_of(origin["dataset"]):
        if option in options:
            raise UsageError(f"{option} is an option of data that are loaded by name")
    return origin


def _check_dataset(dataset: Any) -> None:
    if not isinstance(dataset, data.Dataset):
        raise UsageError(
            "dataset: a kvae.Dataset (kvae.Dataset.from_arrays makes one of arrays) or, to train, "
            f"a name is wanted, received {type(dataset).__name__}"
        )


def _check_vae(model: Any) -> None:
    if not hasattr(model, "with_sampler"):  # without importing Keras
        raise UsageError(f"a kvae.VAE is wanted, received {type(model).__name__}")


def _parts_of(model: VAE, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a model that is trained as it is."""
    for name in ("network", "likelihood", "prior", "objective", "posterior", "latent_dim",
                 "standardize", "mixed_precision"):  # fmt: skip
        if given.get(name) is not None:
            raise UsageError(f"{name} is the model's own: model and {name} do not go together")
    return {
        "network": (model.encoder, model.decoder), "likelihood": model.likelihood,
        "prior": model.prior, "objective": model.objective,
    }  # fmt: skip


def _check_own_networks(given: dict[str, Any]) -> None:
    """Own networks compute in the precision that they were made in."""
    if given.setdefault("mixed_precision", "off") != "off":
        raise UsageError(
            "mixed_precision is for kvae's networks; those of your own have a dtype policy of "
            f"theirs; received {given['mixed_precision']!r}"
        )


def _check_encoder(encoder: Any, dataset: data.Dataset | str, condition_dim: int) -> None:
    """Refuse an encoder of other rows than those of the data."""
    if isinstance(dataset, str):
        return
    *places, channels = dataset.train.x.shape[1:]
    wanted, found = (*places, channels + condition_dim), tuple(encoder.input_shape[1:])
    if found != wanted:
        beside = f", with {condition_dim} numbers of condition" if condition_dim else ""
        raise UsageError(
            f"network: a pair (encoder, decoder) is wanted whose encoder takes {wanted}, the shape "
            f"of a row{beside}; its first takes {found}"
        )


def _condition_dim(dataset: data.Dataset | str, given: Mapping[str, Any]) -> int:
    labels = given.get("condition", ())
    labels = labels.split(",") if isinstance(labels, str) else labels
    if not labels:
        return 0
    if isinstance(dataset, str):
        raise UsageError("networks of your own and condition need latent_dim, or a kvae.Dataset")
    from kvae.data.conditions import conditions_of

    return conditions_of(dataset, labels).dim


def _evaluated(
    model: str | Path,
    dataset: data.Dataset | None,
    output: str | Path | None,
    color_by: str | None,
    **draws: Any,
) -> dict[str, Any]:
    from kvae.evaluation import evaluate as evaluation

    job = evaluation.prepare(
        str(model), output=None if output is None else str(output), color_by=color_by,
        dataset=dataset, writes=output is not None,
    )  # fmt: skip
    backend.quiet_import("kvae.serving.served")
    try:
        return evaluation.evaluate(job, **draws)
    except IncompleteError as error:
        warnings.warn(str(error), stacklevel=3)
        return error.made


def _labels(condition: Sequence[str] | str) -> tuple[str, ...]:
    """The labels of a condition, one text with commas between or several, as `train` takes them."""
    return read(NAMES, condition, "condition") if condition else ()
