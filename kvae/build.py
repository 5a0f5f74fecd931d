"""Names to models: the one place where parts of all kinds meet."""

import zipfile
from importlib import import_module
from pathlib import Path

import keras

from kvae.config import check_tc_prior
from kvae.errors import UsageError
from kvae.likelihoods import LIKELIHOODS
from kvae.model import VAE
from kvae.networks import NETWORKS, NetworkOptions
from kvae.objectives.elbo import Elbo
from kvae.objectives.iwae import Iwae
from kvae.posteriors import POSTERIORS
from kvae.priors import PRIORS, check_density
from kvae.registry import find
from kvae.runs import KERAS_MODEL, find_version

# A pixel has 256 levels; one level is the least error that a variance should claim to know.
_PIXEL_VARIANCE_FLOOR = (1.0 / 255.0) ** 2
_LEARNED_START = {"images": 0.02, "vectors": 0.1}


def build_vae(
    element_shape,
    *,
    latent_dim=50,
    condition_dim=0,
    network=None,
    hidden_units=(64, 64),
    linear_path=True,
    width=16,
    depth=1,
    likelihood="gaussian",
    variance="shared",
    prior="standard_normal",
    prior_components=30,
    posterior="diagonal",
    objective="elbo",
    iwae_draws=8,
    logistic_components=1,
    beta=1.0,
    kl_warmup_steps=0,
    kl_cycle_steps=0,
    free_bits=0.0,
    tc_weight=1.0,
    shift=0.0,
    scale=1.0,
    dtype="float32",
    seed=0,
):
    """Make a VAE from the names of its parts.

    Args:
        element_shape: the shape of one x: `(features,)` or `(height, width, channels)`.
        latent_dim: dimensions of z.
        condition_dim: numbers in the condition of a row, see `VAE`; 0: not conditional.
        network: a key of `kvae.networks.NETWORKS`; None: "conv" for images, "mlp" for vectors.
        hidden_units: units of each hidden layer of "mlp".
        linear_path: whether a learned linear path lies beside the layers of "mlp".
        width: channels of the largest map of "resnet", a multiple of 8.
        depth: residual blocks of "resnet" at each size of map but the largest.
        likelihood: a key of `kvae.likelihoods.LIKELIHOODS`.
        variance: of the Gaussian likelihood, in units of x squared after `shift` and `scale`: a
            positive number; "shared", "per-channel" or "per-feature" to learn it; "optimal", the
            mean squared error itself; "heteroscedastic" or "full" for the decoder to say it of
            each x (see `kvae.likelihoods.gaussian`).
        prior: a key of `kvae.priors.PRIORS`.
        prior_components: of the priors "mixture" and "vamp".
        posterior: a key of `kvae.posteriors.POSTERIORS`.
        objective: "elbo" or "iwae".
        iwae_draws: draws a row of the objective "iwae".
        logistic_components: of the likelihood "discretized-logistic".
        beta: weight of the rate.
        kl_warmup_steps: training steps over which that weight rises from 0; 0 for none.
        kl_cycle_steps: steps of a cycle, over whose first half it rises anew; 0 for none.
        free_bits: see `VAE`.
        tc_weight: see `VAE`.
        shift: see `VAE`.
        scale: see `VAE`.
        dtype: the Keras dtype policy of the hidden layers.
        seed: of the noise and of the prior's start; initial weights of the networks follow
            `keras.utils.set_random_seed`, as everywhere in Keras.

    Returns:
        `kvae.VAE`, ready to compile.

    Raises:
        UsageError: an unknown name, or a shape that the network does not take.
    """
    element_shape = _shape(element_shape)
    if latent_dim != int(latent_dim) or latent_dim < 1:
        raise UsageError(f"latent_dim must be a whole number of at least 1, received {latent_dim}")
    images = len(element_shape) == 3
    if network == "conv-large" and prior == "vamp":
        raise UsageError(
            "the network 'conv-large' normalises by batch: it does not go with the prior 'vamp', "
            "whose pseudo-inputs are no batch of the data"
        )
    check_tc_prior(prior, tc_weight)
    nets = find(NETWORKS, network or ("conv" if images else "mlp"), "network")
    options = NetworkOptions(hidden_units, linear_path, width, depth, dtype)
    likelihood = _likelihood(likelihood, variance, logistic_components, images)
    family = find(POSTERIORS, posterior, "posterior")
    *places, channels = element_shape
    seen = (*places, channels + condition_dim)
    encoder = nets.encoder(seen, latent_dim, family.num_params(latent_dim), options)
    decoder = nets.decoder(
        latent_dim + condition_dim, element_shape, likelihood.num_outputs(channels), options
    )
    return VAE(
        encoder, decoder, likelihood, _prior(prior, latent_dim, prior_components, seed),
        posterior=posterior, condition_dim=condition_dim, shift=shift, scale=scale, seed=seed,
        objective=_objective(
            objective, iwae_draws, beta=beta, kl_warmup_steps=kl_warmup_steps,
            kl_cycle_steps=kl_cycle_steps, free_bits=free_bits, tc_weight=tc_weight,
        ),
        dtype=dtype,
    )  # fmt: skip


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


def _objective(name, iwae_draws, **of_elbo):
    if name == "iwae":
        return Iwae.make(iwae_draws)
    if name != "elbo":
        raise UsageError(f"unknown objective {name!r}: choose one of elbo, iwae")
    return Elbo.make(**of_elbo)


def _prior(name, latent_dim, num_components, seed):
    member = find(PRIORS, name, "prior")
    check_density(name, latent_dim)
    options = {"seed": seed} if name != "standard_normal" else {}
    if name in ("mixture", "vamp"):
        options["num_components"] = num_components
    return member(**options)


def _likelihood(name, variance, logistic_components, images):
    member = find(LIKELIHOODS, name, "likelihood")
    if name == "discretized-logistic":
        return member(logistic_components)
    if name != "gaussian":
        return member()
    return member(
        variance,
        initial_variance=_LEARNED_START["images" if images else "vectors"],
        **({"variance_floor": _PIXEL_VARIANCE_FLOOR} if images else {}),
    )


def load_model(path):
    """Read a `.keras` file that holds a VAE; needs no custom objects, keeps Keras's safe mode.

    Args:
        path: the file, or the folder of a published version.

    Returns:
        `kvae.VAE`.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    for registry in (LIKELIHOODS, PRIORS):
        for member in registry.values():
            member.load()
    import_module("kvae.priors.second_stage")  # no choice for --prior, so in no registry
    if Path(path).is_dir():
        path = find_version(path).path / KERAS_MODEL
    if not Path(path).is_file():
        raise UsageError(f"no such model file: {path}")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is not a .keras file, or damaged: it is no zip archive")
    try:
        model = keras.saving.load_model(path)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise UsageError(f"{path} cannot be read as a VAE: {str(error)[:200]}") from error
    if not isinstance(model, VAE):
        raise UsageError(f"{path} holds a {type(model).__name__}, not a VAE")
    if model.optimizer is not None and not int(model.step):
        # Of kvae 0.1, which counted steps in the optimizer alone.
        model.step.assign(model.optimizer.iterations)
    return model
