"""A model as training starts from it, and what trains it."""

import itertools
import warnings

import keras
import numpy as np
import tensorflow as tf

from kvae import backend, data
from kvae.build import build_vae
from kvae.config import MODEL_PARTS, Config
from kvae.data.conditions import Conditioned
from kvae.data.rows import in_parts, rows_at_once, some_of, standardisation
from kvae.errors import KvaeError, UsageError, one_line
from kvae.model import VAE
from kvae.probability.noise import SeededNoise
from kvae.probability.streams import generator
from kvae.registry import GIVEN, Member, options_of
from kvae.saying import say
from kvae.serving.export import float32_twin
from kvae.training.faults import wrong_weight
from kvae.training.init_from import read_weights
from kvae.training.keeping.checkpoints import Checkpoint
from kvae.training.keeping.saving import assign
from kvae.training.preflight import check_values, latent_dim

_ALIKE, _NEAR = 16, 0.9  # samples of a part made again, and the share that must be the same

if keras.backend.backend() != backend.TENSORFLOW:
    tf.config.set_visible_devices([], "GPU")  # it feeds data alone: their memory is another's


def build(
    config: Config, dataset: data.Dataset, policy: str, model: VAE | None = None,
    checkpoint: Checkpoint | None = None,
) -> VAE:  # fmt: skip
    """The model, its prior started where the encoder puts data, older weights read.

    Keras's own random numbers start at the seed.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
        policy: Keras's name of the precision, see `kvae.training.precision.choose_policy`.
        model: what is there already and is trained; its prior is started if it took no step yet
            and nobody started it.
        checkpoint: that the run goes on from, whose weights and units it has; None: it starts.

    Raises:
        DataError: a feature that is to be standardised is constant.
        UsageError: options that do not suit the data, or weights of --init-from that do not fit.
    """
    keras.utils.set_random_seed(config.seed)
    rows = dataset.train.x
    for split in (dataset.train, dataset.valid):
        for part in in_parts(np.asarray(split.x), rows_at_once(split.x)):
            check_values(config, part)
    vae = _built(config, dataset, policy) if model is None else model
    if model is not None:
        check_weights(vae, "model")
    if checkpoint is not None:
        _take(checkpoint, vae)
        if config.init_from and hasattr(vae.objective, "first_step"):
            vae.objective.first_step = checkpoint.first_step
        return vae
    some = some_of(rows, vae.prior.rows_wanted, generator(config.seed, "prior start rows"))
    if config.init_from:
        read_weights(vae, config.init_from)
        check_weights(vae, f"--init-from {config.init_from}")
        if hasattr(vae.objective, "first_step"):
            vae.objective.first_step = vae.num_steps
    elif not (vae.num_steps or vae.prior_started):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            vae.start_prior(some)
        for each in told:
            say(f"note: {each.message}")
    return vae


def check_publishable(config: Config, vae: VAE, model: VAE | None = None) -> None:
    """Refuse, before training, parts of somebody's own that no version could be made of.

    Args:
        config: all options.
        vae: the model, before training.
        model: what was given in place of its parts; None: nothing was.

    Raises:
        UsageError: a part is not registered with Keras, cannot be made from its configuration, or
            gives no sample, or others than the part so made.
    """
    members = [registry[getattr(config, kind)] for kind, registry in MODEL_PARTS.items()]
    if model is None and not any(map(_is_own, members)):
        return
    twin = float32_twin(vae)
    condition = np.zeros(vae.condition_dim, "float32") if vae.condition_dim else None
    try:
        noise = SeededNoise(np.arange(_ALIKE))
        pairs = zip(
            *(
                (one.generate(_ALIKE, condition=condition), one.prior.sample(noise))
                for one in (vae, twin)
            ),
            strict=True,
        )
        is_alike = all(_are_alike(*map(keras.ops.convert_to_numpy, pair)) for pair in pairs)
    except KvaeError:
        raise
    except Exception as error:  # of a part of somebody's own it may be any
        raise UsageError(
            f"generate fails before training: {type(error).__name__}: {one_line(str(error), 500)}; "
            "the prior's sample and the likelihood's distribution make what it returns"
        ) from error
    if not is_alike:
        raise UsageError(
            "a part that is made again from its get_config() draws other samples: it must return "
            "every argument of __init__"
        )


def _is_own(member: Member) -> bool:
    """Whether a part is an object given in Python, or of a registry's entry that is not kvae's."""
    home = getattr(member.load, "__module__", None) or ""
    return member.help == GIVEN or home.partition(".")[0] != "kvae"


def _are_alike(drawn, again):
    # Half precision moves them by a hundredth, and turns a bit here and there.
    off = 0.05 * np.abs(drawn).max()
    return np.isclose(drawn, again, rtol=0.05, atol=off, equal_nan=True).mean() >= _NEAR


def _take(checkpoint, vae):
    """Give a model the weights of a checkpoint, and its units."""
    ours = [tuple(variable.shape) for variable in vae.variables]
    theirs = [array.shape for array in checkpoint.weights]
    for place, (here, there) in enumerate(itertools.zip_longest(ours, theirs)):
        if here != there:
            path = checkpoint.paths[place] if place < len(checkpoint.paths) else "one more weight"
            raise UsageError(
                f"the checkpoint is of another model: {path} has the shape {there} there, {here} "
                "here; --fresh starts anew"
            )
    assign(vae.variables, checkpoint.weights)
    vae.shift, vae.scale = checkpoint.shift, checkpoint.scale


def check_weights(vae, place):
    """Refuse to go on from weights that are not finite: UsageError."""
    wrong = wrong_weight(vae)
    if wrong:
        raise UsageError(f"{place}: weights to go on from are finite numbers; {wrong} is not")


def _built(config, dataset, policy):
    x, rows = np.asarray(dataset.train.x), dataset.train.x
    shift, scale = standardisation(x) if config.standardize else (0.0, 1.0)
    return build_vae(
        x.shape[1:], latent_dim=latent_dim(config, x), condition_dim=_condition_dim(rows),
        **{kind: getattr(config, kind) for kind in MODEL_PARTS}, posterior=config.posterior,
        shift=shift, scale=scale, value_range=dataset.value_range, dtype=policy, seed=config.seed,
        **_model_options(config, steps_of(config, dataset)),
    )  # fmt: skip


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


def steps_of(config, dataset):
    """Gradient steps of an epoch.

    Args:
        config: all options.
        dataset: its rows as the model takes them.
    """
    return dataset.train.steps(config.batch_size)


def compile_for(config, vae, steps):
    """Give a model the optimizer of a run.

    Args:
        config: all options.
        vae: the model.
        steps: of an epoch; a learning rate that falls does so over all epochs.
    """
    rate = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate, max(1, config.epochs) * steps, alpha=1e-3
        )
    momentum = config.ema_momentum
    optimizer = keras.optimizers.Adam(
        rate, use_ema=momentum > 0, ema_momentum=momentum or 0.99,
        # Of gradients that are no longer scaled: under float16 this optimizer is the inner one.
        global_clipnorm=config.clip_norm or None,
    )  # fmt: skip
    # XLA compiles for one device; under JAX Keras sees to that.
    jit_compile = {
        backend.JAX: True, backend.TORCH: False,
        backend.TENSORFLOW: config.jit_compile and replicas_of(vae) == 1,
    }  # fmt: skip
    vae.compile(optimizer, jit_compile=jit_compile[keras.backend.backend()])


def replicas_of(vae):
    """How many replicas of TensorFlow a model was made on."""
    strategy = getattr(vae, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync
