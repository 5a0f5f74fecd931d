"""Models whose right answers are known, and lists of what the laws are tested over."""

import itertools
import math

import keras
import numpy as np

import kvae
from kvae.likelihoods import LIKELIHOODS
from kvae.likelihoods.gaussian import Gaussian
from kvae.networks import NETWORKS
from kvae.priors import PRIORS
from kvae.priors.standard_normal import StandardNormal

COMBINATIONS = list(itertools.product(NETWORKS, LIKELIHOODS, PRIORS))


def _cover(*registries):
    """As few combinations as name every member of every registry."""
    count = max(len(registry) for registry in registries)
    return [
        tuple(list(registry)[i % len(registry)] for registry in registries) for i in range(count)
    ]


COVER = _cover(NETWORKS, LIKELIHOODS, PRIORS)


def make_vae(shape, **options):
    """A small VAE, its weights moved off their symmetric start."""
    options = {"latent_dim": 2, "prior_components": 3, "hidden_units": (8,), **options}
    keras.utils.set_random_seed(0)
    vae = kvae.build_vae(shape, **options)
    rng = np.random.default_rng(1)
    vae.set_weights([w + 0.1 * rng.normal(size=w.shape).astype(w.dtype) for w in vae.get_weights()])
    return vae


def make_x(shape, likelihood, rows=6, seed=2):
    """Rows that the likelihood accepts."""
    x = np.random.default_rng(seed).random((rows, *shape)).astype("float32")
    return (x > 0.5).astype("float32") if likelihood == "bernoulli" else x


class Ppca:
    """Probabilistic PCA, x = W z + m + noise: everything has a closed form.

    The columns of W are orthogonal, so the exact posterior is diagonal.

    Source: Tipping & Bishop, "Probabilistic principal component analysis", JRSS B 1999.
    """

    latent_dim, dim, variance = 2, 4, 0.3

    def __init__(self):
        rng = np.random.default_rng(0)
        directions = np.linalg.qr(rng.normal(size=(self.dim, self.latent_dim)))[0]
        self.loadings = directions * np.array([2.0, 0.7])
        self.mean = rng.normal(size=self.dim)

    def vae(self, posterior_scale=1.0, **options):
        """The model; its posterior's standard deviations are off by the given factor."""
        inner = np.diag(self.loadings.T @ self.loadings) + self.variance
        to_mean = self.loadings / inner
        variance = self.variance / inner * posterior_scale**2
        raw = np.log(np.expm1(variance - 1e-8))
        kernel = np.concatenate([to_mean, np.zeros_like(to_mean)], axis=1)
        bias = np.concatenate([-self.mean @ to_mean, raw])
        encoder = _linear(self.dim, kernel, bias, "encoder")
        decoder = _linear(self.latent_dim, self.loadings.T, self.mean, "decoder")
        return kvae.VAE(encoder, decoder, Gaussian(self.variance), StandardNormal(), **options)

    def sample(self, count):
        rng = np.random.default_rng(3)
        z = rng.normal(size=(count, self.latent_dim))
        noise = rng.normal(size=(count, self.dim)) * math.sqrt(self.variance)
        return (z @ self.loadings.T + self.mean + noise).astype("float32")

    def log_evidence(self, x):
        from scipy.stats import multivariate_normal

        covariance = self.loadings @ self.loadings.T + self.variance * np.eye(self.dim)
        return np.atleast_1d(multivariate_normal(self.mean, covariance).logpdf(x))


def _linear(num_inputs, kernel, bias, name):
    inputs = keras.Input((num_inputs,))
    layer = keras.layers.Dense(len(bias))
    model = keras.Model(inputs, layer(inputs), name=name)
    layer.set_weights([kernel, bias])
    return model
