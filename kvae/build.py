"""Names to models: the one place where parts of all kinds meet."""

import inspect
import zipfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from kvae import files, likelihoods, networks, priors
from kvae.config import MODEL_PARTS
from kvae.data.images.pixels import UNIT
from kvae.data.rows import standardisation
from kvae.errors import DataError, UsageError
from kvae.keras_files import bounded_variables, check_model, reason, unknown_part
from kvae.likelihoods import LIKELIHOODS, LikelihoodName
from kvae.memory import Model, check_weights
from kvae.model import CONDITION_DIM, VAE
from kvae.networks import NETWORKS, NetworkName
from kvae.objectives import OBJECTIVES, ObjectiveName
from kvae.options import POSITIVE_COUNT, Option, arguments
from kvae.priors import PRIORS, PriorName, check_density
from kvae.probability.posteriors import POSTERIORS, PosteriorName
from kvae.registry import find, member_of, options_of, refuse_others
from kvae.samplers import SAMPLERS
from kvae.serving.versions import KERAS_MODEL, find_version

_LATENT_DIM = Option("latent_dim", 50, "dimensions of z", POSITIVE_COUNT)


def build_vae(
    element_shape: Sequence[int],
    *,
    latent_dim: int = 50,
    condition_dim: int = 0,
    network: NetworkName | str | None = None,
    likelihood: LikelihoodName | str = "gaussian",
    prior: PriorName | str = "standard_normal",
    posterior: PosteriorName | str = "diagonal",
    objective: ObjectiveName | str = "elbo",
    shift=0.0,
    scale=1.0,
    value_range=UNIT,
    standardize=None,
    dtype="float32",
    seed: int = 0,
    **options,
) -> VAE:
    """Make a VAE from the names of its parts, and from their own options.

    Args:
        element_shape: the shape of one x: `(features,)` or `(height, width, channels)`.
        latent_dim: dimensions of z.
        condition_dim: numbers in the condition of a row, see `VAE`; 0: not conditional.
        network: a key of `kvae.networks.NETWORKS`; None: "conv" for images, "mlp" for vectors.
        likelihood: a key of `kvae.likelihoods.LIKELIHOODS`.
        prior: a key of `kvae.priors.PRIORS`.
        posterior: a key of `kvae.probability.posteriors.POSTERIORS`.
        objective: a key of `kvae.objectives.OBJECTIVES`.
        shift: see `VAE`.
        scale: see `VAE`.
        value_range: see `VAE`.
        standardize: the train rows, vectors `(rows, features)`, whose mean and standard deviation
            become `shift` and `scale`; None: those are taken as they are.
        dtype: the Keras dtype policy of the hidden layers.
        seed: of the noise and of the prior's start; initial weights of the networks follow
            `keras.utils.set_random_seed`, as everywhere in Keras.
        **options: what the chosen parts declare. They hold defaults and limits.

            - network "mlp": `hidden_units`, of each hidden layer; `linear_path`, whether a learned
              linear path lies beside them. "resnet": `width`, channels of the largest map;
              `depth`, residual blocks at each size of map but the largest.
            - likelihood "gaussian": `variance`, in units of x squared after `shift` and `scale`: a
              positive number; "shared", "per-channel" or "per-feature" to learn it; "optimal", the
              mean squared error itself; "heteroscedastic" or "full" for the decoder to say it of
              each x; `edge_weight` (see `kvae.likelihoods.gaussian`). "discretized-logistic":
              `logistic_components`.
            - prior "mixture", "vamp": `prior_components`. "flow": `flow_layers`, `flow_units`,
              `flow_blocks`, see `kvae.priors.flow.Flow`.
            - objective "elbo": `beta`, weight of the rate; `kl_warmup_steps`, training steps over
              which that weight rises from 0, or `kl_cycle_steps`, of a cycle, over whose first half
              it rises anew, 0 for none; `free_bits` and `tc_weight`, see
              `kvae.objectives.elbo.Elbo`. "iwae":
              `iwae_draws`, draws a row, and `iwae_gradient`, "plain" or "dreg": see
              `kvae.objectives.iwae.Iwae`.

    Returns:
        `kvae.VAE`, ready to compile.

    Raises:
        UsageError: an unknown name, an option that the chosen parts do not have, a value that is
            not allowed, or a shape that the network does not take.
    """
    element_shape = _shape(element_shape)
    latent_dim = _LATENT_DIM.read(latent_dim, "latent_dim")
    condition_dim = CONDITION_DIM.read(condition_dim, "condition_dim")
    names = {
        "network": network or ("conv" if len(element_shape) == 3 else "mlp"),
        "likelihood": likelihood,
        "prior": prior,
        "objective": objective,
    }
    members = {kind: member_of(MODEL_PARTS[kind], name, kind) for kind, name in names.items()}
    values = _read(names, members, options)
    if networks.facts(names["network"]).normalises_by_batch and priors.facts(prior).pseudo_inputs:
        raise UsageError(
            f"the network {names['network']!r} normalises by batch: it does not go with the prior "
            f"{prior!r}, whose pseudo-inputs are no batch of the data"
        )
    networks.check_shape(names["network"], element_shape)
    check_density(PRIORS, prior, latent_dim)
    if standardize is not None:
        shift, scale = _units(standardize, element_shape, names["likelihood"], shift, scale)
    own = {kind: arguments(member.options, values) for kind, member in members.items()}
    member_of(POSTERIORS, posterior, "posterior")
    names["posterior"] = posterior
    check_weights(Model(element_shape, latent_dim, names, own, condition_dim))
    nets = find(NETWORKS, names["network"], "network")
    likelihood = find(LIKELIHOODS, likelihood, "likelihood").make(
        element_shape, **own["likelihood"]
    )
    family = find(POSTERIORS, posterior, "posterior")
    *places, channels = element_shape
    layers = {**own["network"], "dtype": dtype}
    with _channels_last():
        encoder = nets.encoder(
            (*places, channels + condition_dim), latent_dim, family.num_params(latent_dim), **layers
        )
        decoder = nets.decoder(
            latent_dim + condition_dim, element_shape, likelihood.num_outputs(channels), **layers
        )
    return VAE(
        encoder, decoder, likelihood, find(PRIORS, prior, "prior").make(seed=seed, **own["prior"]),
        posterior=posterior, condition_dim=condition_dim, shift=shift, scale=scale,
        value_range=value_range, seed=seed, dtype=dtype,
        objective=find(OBJECTIVES, objective, "objective").make(**own["objective"]),
    )  # fmt: skip


#: What `build_vae` is told beside its parts' own options.
_ARGUMENTS = tuple(
    name
    for name, argument in inspect.signature(build_vae).parameters.items()
    if argument.kind is argument.KEYWORD_ONLY
)


def _read(names, members, options):
    """The values of all options of the chosen members, by name."""
    refuse_others(
        options, MODEL_PARTS, {kind: (name,) for kind, name in names.items()}, others=_ARGUMENTS,
        name_of=lambda option: option.model_name, shown=str,
    )  # fmt: skip
    return {
        name: option.read(options.get(option.model_name, option.default), option.model_name)
        for name, option in options_of(members.values()).items()
    }


@contextmanager
def _channels_last():
    """Layers made within take images as (height, width, channels), whatever Keras is told."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def _units(rows, element_shape, likelihood, shift, scale):
    """Mean and standard deviation of the rows that `standardize` is."""
    if isinstance(rows, bool):
        raise UsageError(
            "standardize takes the train rows, whose mean and standard deviation the model "
            f"carries; received {rows}"
        )
    rows = np.asarray(rows)
    if len(element_shape) != 1 or rows.shape[1:] != element_shape or not len(rows):
        raise UsageError(
            f"standardize takes vectors (rows, {element_shape[-1]}) and is for vectors alone; "
            f"received {rows.shape} for x of shape {element_shape}"
        )
    if not likelihoods.facts(likelihood).standardizes:
        raise UsageError(f"standardize does not go with the likelihood {likelihood!r}")
    if np.any(shift) or np.any(np.asarray(scale) != 1):
        raise UsageError("standardize, or shift and scale, not both")
    return standardisation(rows)


def _shape(element_shape):
    try:
        sizes = tuple(int(size) for size in element_shape)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) not in (1, 3) or min(sizes) < 1:
        raise UsageError(
            f"element_shape is (features,) or (height, width, channels), received {element_shape!r}"
        )
    return sizes


def load_model(path: str | Path, custom_objects=None, safe_mode: bool = True) -> VAE:
    """Read a `.keras` file that holds a VAE; kvae's own parts need no custom objects.

    Args:
        path: the file, or the folder of a published version.
        custom_objects: name -> class or function, of parts of your own; as in Keras.
        safe_mode: whether a file with code of its own, a Lambda layer, is refused; as in Keras.

    Returns:
        `kvae.VAE`.

    Raises:
        UsageError: there is no such file, it holds something else, or weights that are not finite.
        DataError: it is damaged, or declares more than it holds.
    """
    import_parts()
    if files.is_folder(path):
        path = find_version(path).path / KERAS_MODEL
    if not files.is_file(path):
        raise UsageError(f"no such model file: {path}")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is not a .keras file, or damaged: it is no zip archive")
    path = Path(path)
    stored = check_model(path)
    try:
        with bounded_variables(path, stored):
            model = keras.saving.load_model(
                path, custom_objects=custom_objects, safe_mode=safe_mode
            )
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged configuration makes Keras fail in any way
        if unknown := unknown_part(error):
            raise UsageError(
                f"{path}: {unknown} is not known: give it in custom_objects, or "
                "import the module that registers it, on the command line with --import FILE"
            ) from error
        raise UsageError(f"{path} cannot be read as a VAE: {reason(error)}") from error
    if not isinstance(model, VAE):
        raise UsageError(f"{path} holds a {type(model).__name__}, not a VAE")
    _check_finite(path, model)
    if getattr(model, "optimizer", None) is not None and not model.num_steps:
        # Of kvae 0.1, which counted steps in the optimizer alone.
        model.step.assign(int(model.optimizer.iterations))
    return model


def import_parts() -> None:
    """Have Keras know every class that can stand in a model's configuration: members load them."""
    for registry in (NETWORKS, LIKELIHOODS, PRIORS, SAMPLERS, OBJECTIVES):
        for member in registry.values():
            member.load()


def _check_finite(path, model):
    """Refuse a model that would answer NaN to everything; the weights are named."""
    wrong = [
        variable.path
        for variable in model.variables
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all()
    ]
    if wrong:
        raise UsageError(
            f"{path}: {len(wrong)} of {len(model.variables)} weights are not finite: "
            f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}"
        )


def _export(vae, folder):
    """See `VAE.export`."""
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "export writes for TensorFlow: under another backend save the model, and "
            "`kvae publish from-keras` makes a version of it"
        )
    if files.exists(folder) and (not files.is_folder(folder) or any(Path(folder).iterdir())):
        raise UsageError(f"{folder} holds something: a SavedModel is written to a new folder")
    from kvae.serving.export import export

    export(vae, Path(folder))


VAE.exporter = _export
