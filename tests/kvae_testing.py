"""Models whose right answers are known, and lists of what the laws are tested over."""

import io
import itertools
import math
from contextlib import contextmanager
from unittest import mock

import keras
import numpy as np
from PIL import Image

import kvae
from kvae.config import MODEL_PARTS
from kvae.data import gmm
from kvae.likelihoods import LIKELIHOODS
from kvae.likelihoods.gaussian import Gaussian
from kvae.networks import NETWORKS, conv_large
from kvae.priors import PRIORS
from kvae.priors.standard_normal import StandardNormal
from kvae.probability.distributions import below_diagonal
from kvae.probability.posteriors import POSTERIORS
from kvae.registry import options_of
from kvae.serving import signatures


def _pairwise(*registries, left_out=lambda row: False):
    """Few combinations in which any two members of different registries meet.

    Args:
        registries: names of parts, of each kind.
        left_out: combinations that there cannot be, as a function of one.
    """
    found = []
    everything = [row for row in itertools.product(*registries) if not left_out(row)]
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in everything}
    missing = set().union(*pairs.values())
    while missing:
        row = max(everything, key=lambda row: len(pairs[row] & missing))
        found.append(row)
        missing -= pairs[row]
    return found


#: Those that are quick stand beside every other part, each of the rest once.
_QUICK = ("mlp", "conv")
COMBINATIONS = [
    *_pairwise(_QUICK, LIKELIHOODS, PRIORS, POSTERIORS),
    *zip(
        (name for name in NETWORKS if name not in _QUICK),
        itertools.cycle(LIKELIHOODS),
        itertools.cycle(PRIORS),
        itertools.cycle(POSTERIORS),
        strict=False,
    ),
]


#: Network, likelihood, prior, posterior and half precision.
HALF_PRECISION = _pairwise(
    NETWORKS, LIKELIHOODS, PRIORS, POSTERIORS, ("mixed_float16", "mixed_bfloat16"),
    # What normalises by batch cannot have pseudo-inputs.
    left_out=lambda row: (row[0], row[2]) == ("conv-large", "vamp"),
)  # fmt: skip


def _cover(*registries):
    """As few combinations as name every member of every registry."""
    count = max(len(registry) for registry in registries)
    return [
        tuple(list(registry)[i % len(registry)] for registry in registries) for i in range(count)
    ]


# From the second prior on: conv-large does not go with vamp.
COVER = _cover(NETWORKS, LIKELIHOODS, [*PRIORS][1:] + [*PRIORS][:1], POSTERIORS)


#: What evaluation asks of a version.
EVALUATED = (
    "serving_default", "encode", "sample_posterior", "decode", "generate", "generate_from_prior",
    "interpolate", "log_weight", "log_likelihood", "edit",
)  # fmt: skip


_ALL_ENDPOINTS = signatures.endpoints


@contextmanager
def all_signatures():
    """Publish every signature, within `few_signatures` too."""
    with mock.patch.object(signatures, "endpoints", _ALL_ENDPOINTS):
        yield


@contextmanager
def few_signatures(*names):
    """Publish these signatures alone: each costs half a second."""
    plain = signatures.endpoints

    def few(*given, **options):
        found = plain(*given, **options)
        return {name: found[name] for name in names if name in found}

    with mock.patch.object(signatures, "endpoints", few):
        yield


@contextmanager
def small_mixtures():
    """Draw a tenth of the points of `--dataset gmm`."""
    counts = {"NUM_TRAIN": 5_000, "NUM_VALID": 1_000, "NUM_TEST": 1_000}
    with mock.patch.multiple(gmm, **counts):
        yield


@contextmanager
def unpainted():
    """Write figures as empty frames: half of a small evaluation's time is their layout and paint.

    tests/figures and evaluation/test_drawing.py paint all of them.
    """

    def save(figure, path, *, dpi, **_):
        size = np.round(figure.get_size_inches() * dpi).astype(int)
        Image.new("L", tuple(map(int, size))).save(path, "PNG")

    with mock.patch("matplotlib.figure.Figure.savefig", save):
        yield


def metadata(**changes):
    """The least that a kvae.json must say, of a model of 8x8 grey images; None leaves a key out."""
    whole = {
        "published": "2026-01-01T00:00:00+00:00", "config": {}, "data_card": {}, "history": {},
        "model": {"element_shape": [8, 8, 1], "latent_dim": 2}, "sampler": "none", "num_draws": 64,
        "versions": {}, "signatures": {}, "fingerprint": "0",
    }  # fmt: skip
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def png(image):
    """The PNG file of floats in [0, 1], `(height, width, 1 or 3)`."""
    levels = np.round(np.asarray(image) * 255).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(file, "PNG")
    return file.getvalue()


def make_vae(shape, **options):
    """A small VAE, its weights moved off their symmetric start."""
    parts = {"network": "conv" if len(shape) == 3 else "mlp", "prior": "standard_normal"}
    parts = {kind: options.pop(kind, part) for kind, part in parts.items()}
    known = options_of(MODEL_PARTS[kind][part] for kind, part in parts.items())
    small = {"prior_components": 3, "hidden_units": (8,), "width": 8}
    small |= {"flow_layers": 2, "flow_units": 16}
    small = {name: value for name, value in small.items() if name in known}
    options = {"latent_dim": 2, **small, **parts, **options}
    keras.utils.set_random_seed(0)
    with mock.patch.object(conv_large, "_FILTERS", (4, 8, 8, 16)):  # of 26 million weights else
        vae = kvae.build_vae(shape, **options)
    rng = np.random.default_rng(1)
    flow = {id(weight) for weight in vae.prior.weights if vae.prior.kind == "flow"}
    for weight in vae.trainable_weights:
        # Many small changes of a flow's kernels add up to one as large as those of the others.
        size = 0.01 if id(weight) in flow else 0.1
        weight.assign_add(size * rng.normal(size=weight.shape).astype("float32"))
    return vae


def make_x(shape, likelihood, rows=6, seed=2):
    """Rows that the likelihood accepts."""
    x = np.random.default_rng(seed).random((rows, *shape)).astype("float32")
    if likelihood == "discretized-logistic":
        return np.round(x * np.float32(255)) / np.float32(255)
    return (x > 0.5).astype("float32") if likelihood == "bernoulli" else x


class Ppca:
    """Probabilistic PCA, x = W z + m + noise: everything has a closed form.

    Args:
        full: whether the columns of W are slanted, so that the exact posterior has a full
            covariance, and the noise has one too (factor analysis, then); else W's columns are
            orthogonal and the exact posterior is diagonal.
        condition_dim: numbers in a condition c, which moves the mean: x = W z + m + A c + noise.

    Source: Tipping & Bishop, "Probabilistic principal component analysis", JRSS B 1999.
    """

    latent_dim, dim, variance = 2, 4, 0.3

    def __init__(self, full=False, condition_dim=0):
        rng = np.random.default_rng(0)
        directions = np.linalg.qr(rng.normal(size=(self.dim, self.latent_dim)))[0]
        self.full = full
        self.loadings = directions * np.array([2.0, 0.7])
        self.mean = rng.normal(size=self.dim)
        self.noise = self.variance * np.eye(self.dim)
        if full:
            self.loadings = self.loadings @ np.array([[1.0, 0.6], [-0.4, 1.3]])
            root = 0.5 * np.eye(self.dim) + 0.2 * np.tril(rng.normal(size=(self.dim, self.dim)))
            self.noise = root @ root.T
        self.condition_dim = condition_dim
        self.effects = 2.0 * rng.normal(size=(condition_dim, self.dim))

    def vae(self, posterior_scale=1.0, **options):
        """The model; its posterior's standard deviations are off by the given factor."""
        if self.full:
            return self._full_vae(posterior_scale, **options)
        inner = np.diag(self.loadings.T @ self.loadings) + self.variance
        to_mean = self.loadings / inner
        variance = self.variance / inner * posterior_scale**2
        raw = np.log(np.expm1(variance - 1e-8))
        kernel = np.concatenate([to_mean, np.zeros_like(to_mean)], axis=1)
        bias = np.concatenate([-self.mean @ to_mean, raw])
        encoder = self._encoder(kernel, bias)
        decoder = self._decoder(self.loadings.T, self.mean)
        return self._vae(encoder, decoder, Gaussian(self.variance), **options)

    def _full_vae(self, posterior_scale, **options):
        precision = np.linalg.inv(self.noise)
        covariance = np.linalg.inv(
            np.eye(self.latent_dim) + self.loadings.T @ precision @ self.loadings
        )
        to_mean = precision @ self.loadings @ covariance
        spread = _raw_root(np.linalg.cholesky(covariance) * posterior_scale)
        kernel = np.concatenate([to_mean, np.zeros((self.dim, len(spread)))], axis=1)
        encoder = self._encoder(kernel, np.append(-self.mean @ to_mean, spread))
        likelihood = Gaussian("full", initial_variance=1.0, variance_floor=1e-12)
        spread = _raw_precision(np.linalg.cholesky(precision))
        kernel = np.concatenate([self.loadings.T, np.zeros((self.latent_dim, len(spread)))], axis=1)
        decoder = self._decoder(kernel, np.append(self.mean, spread))
        return self._vae(encoder, decoder, likelihood, posterior="full", **options)

    def _vae(self, encoder, decoder, likelihood, **options):
        options = {"condition_dim": self.condition_dim, **options}
        return kvae.VAE(encoder, decoder, likelihood, StandardNormal(), **options)

    def _encoder(self, kernel, bias):
        kernel = np.concatenate([kernel, -self.effects @ kernel])
        return _linear(len(kernel), kernel, bias, "encoder")

    def _decoder(self, kernel, bias):
        effects = np.zeros((self.condition_dim, kernel.shape[1]))
        effects[:, : self.dim] = self.effects
        return _linear(len(kernel) + self.condition_dim, np.concatenate([kernel, effects]), bias,
                       "decoder")  # fmt: skip

    def conditions(self, count):
        return np.random.default_rng(4).normal(size=(count, self.condition_dim)).astype("float32")

    def sample(self, count, condition=None):
        rng = np.random.default_rng(3)
        z = rng.normal(size=(count, self.latent_dim))
        noise = rng.normal(size=(count, self.dim)) @ np.linalg.cholesky(self.noise).T
        moved = 0.0 if condition is None else condition @ self.effects
        return (z @ self.loadings.T + self.mean + moved + noise).astype("float32")

    def log_evidence(self, x, condition=None):
        """log p(x), or log p(x given condition)."""
        from scipy.stats import multivariate_normal

        x = x if condition is None else x - condition @ self.effects
        covariance = self.loadings @ self.loadings.T + self.noise
        return np.atleast_1d(multivariate_normal(self.mean, covariance).logpdf(x))


def _raw_root(root):
    """What a full posterior's head must say for a covariance root @ root.T."""
    stddev = np.diag(root)
    return np.append(np.log(np.expm1(stddev - 1e-4)), _entries(root / stddev))


def _raw_precision(root):
    """What a full likelihood's head must say for a precision root @ root.T."""
    scale = np.diag(root)
    cap = 6.0 * math.log(10.0)
    return np.append(cap - np.log(np.expm1(cap - np.log(scale))), _entries(root / scale))


def _entries(unit):
    """The vector that `below_diagonal` lays out as the part of `unit` below its diagonal."""
    dim = len(unit)
    places = np.arange(dim * (dim - 1) // 2, dtype="float32") + 1.0
    laid_out = np.asarray(below_diagonal(places, dim))
    return np.array([unit[laid_out == place][0] for place in places])


def _linear(num_inputs, kernel, bias, name):
    inputs = keras.Input((num_inputs,))
    layer = keras.layers.Dense(len(bias))
    model = keras.Model(inputs, layer(inputs), name=name)
    layer.set_weights([kernel, bias])
    return model
