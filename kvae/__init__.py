"""Variational autoencoders for Keras 3.

`import kvae` answers at once: Keras and its backend are imported when a name that needs them is
first used, and what they would print about the machine is not shown.

    vae = kvae.train("gmm")                                   # a dataset by name, or
    data = kvae.Dataset.from_arrays(images)                   # arrays of your own
    vae = kvae.train(data, latent_dim=32, output="saved")     # options as of train.py; published
    kvae.evaluate("saved", data)["elbo_nats_prior"]
    vae.generate(20, seed=1)
"""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from kvae import backend as _backend
from kvae import lazy as _lazy
from kvae import saved_classes as _saved_classes

if _TYPE_CHECKING:
    from kvae import (
        data,
        features,
        figures,
        likelihoods,
        metrics,
        networks,
        objectives,
        priors,
        probability,
        samplers,
    )
    from kvae.build import build_vae, load_model
    from kvae.callbacks import Doctor
    from kvae.client import Client
    from kvae.data import Dataset
    from kvae.errors import DataError, UsageError
    from kvae.model import VAE
    from kvae.workflow import evaluate, fit_sampler, publish_version, train

_HOMES = {
    "Client": "kvae.client",
    "DataError": "kvae.errors",
    "Dataset": "kvae.data",
    "Doctor": "kvae.callbacks",
    "UsageError": "kvae.errors",
    "VAE": "kvae.build",
    "build_vae": "kvae.build",
    "data": "kvae.data",
    "evaluate": "kvae.workflow",
    "features": "kvae.features",
    "figures": "kvae.figures",
    "fit_sampler": "kvae.workflow",
    "likelihoods": "kvae.likelihoods",
    "load_model": "kvae.build",
    "metrics": "kvae.metrics",
    "networks": "kvae.networks",
    "objectives": "kvae.objectives",
    "priors": "kvae.priors",
    "probability": "kvae.probability",
    "publish_version": "kvae.workflow",
    "samplers": "kvae.samplers",
    "train": "kvae.workflow",
}
_HEAVY = {"Doctor", "VAE", "build_vae", "load_model"}
__all__ = [
    "VAE",
    "Client",
    "DataError",
    "Dataset",
    "Doctor",
    "UsageError",
    "build_vae",
    "data",
    "evaluate",
    "features",
    "figures",
    "fit_sampler",
    "likelihoods",
    "load_model",
    "metrics",
    "networks",
    "objectives",
    "priors",
    "probability",
    "publish_version",
    "samplers",
    "train",
]
__getattr__, __dir__ = _lazy.names(__name__, _HOMES, light=_HOMES.keys() - _HEAVY)

_DISTRIBUTION = "keras-vae-kit"  # its name in setup.cfg
try:
    __version__ = _version(_DISTRIBUTION)
except _PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0.0.0"

_saved_classes.tell_keras()
_backend.prefer_onednn()
