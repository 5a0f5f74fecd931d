"""A mixture of Gaussians fitted by expectation maximisation."""

import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from kvae.errors import KvaeError
from kvae.priors.base import mean_log_prob
from kvae.priors.mixture import Mixture
from kvae.saying import progress, say

_COUNTS = (1, 2, 5, 10, 20, 40, 80)
_ROWS_TO_CHOOSE = 10_000
_PATIENCE = 2
_WEIGHT_ROUNDS = 50
_LEAST_WEIGHT = 1e-6


def fit(train, valid, *, prior, seed):
    """Fit mixtures of several sizes and keep the one that finds held-out draws likeliest.

    Numbers of components rise until two in a row are no better; that choice is made on part of the
    draws, and the winner goes on to all of them. Where the prior is a mixture itself, it is a
    candidate too, its weights fitted anew.

    Args:
        train: posterior draws of the train split, `(rows, latent_dim)`.
        valid: posterior draws of the valid split.
        prior: the training prior.
        seed: of the starts.

    Returns:
        `kvae.priors.mixture.Mixture`.
    """
    from sklearn.exceptions import ConvergenceWarning  # not before a mixture is fitted: it is slow

    # Threads would wait for each other at every small product.
    with threadpool_limits(1), warnings.catch_warnings():
        # A start that has not converged after the last round is still a density, and is compared.
        warnings.simplefilter("ignore", ConvergenceWarning)
        chosen, tried = _best_of_sizes(train[:_ROWS_TO_CHOOSE], valid, seed)
        start = {
            "weights_init": chosen.weights_,
            "means_init": chosen.means_,
            "precisions_init": chosen.precisions_,
        }
        final = _mixture(chosen.n_components, train, seed, **start).fit(train)
    candidates = [as_prior(final.weights_, final.means_, np.linalg.cholesky(final.precisions_))]
    if isinstance(prior, Mixture):
        candidates.append(as_prior(*reweighted(*parameters(prior), train)))
    scores = [mean_log_prob(candidate, valid) for candidate in candidates]
    if not np.isfinite(scores).any():
        raise KvaeError(f"--sampler mixture: held-out log densities are {scores}")
    best = int(np.nanargmax(scores))
    origin = "components of the prior, weights fitted anew" if best else "from k-means"
    shown = ", ".join(f"{name}: {value:.4f}" for name, value in tried.items())
    say(
        f"sampler    mixture of {candidates[best].num_components}, {origin}; nats held out "
        f"{scores[best]:.4f} (by number of components, on part of the draws, {shown})"
    )
    return candidates[best]


def _best_of_sizes(part, valid, seed):
    tried, best, worse = {}, None, 0
    counts = [count for count in _COUNTS if count <= len(part) // 2]
    with progress("mixture", sum(counts), "components") as advance:
        for count in counts:
            found = _mixture(count, part, seed).fit(part)
            score = tried[count] = float(found.score(valid))
            advance(count)
            if best is None or score > best[0]:
                best, worse = (score, found), 0
            else:
                worse += 1
            if worse == _PATIENCE:
                break
    return best[1], tried


def _mixture(count, rows, seed, **options):
    from sklearn.mixture import GaussianMixture

    # scikit-learn adds its least variance as a number, whatever the scale of the data.
    least = 1e-6 * float(rows.var(axis=0).mean())
    return GaussianMixture(
        count, max_iter=50, tol=1e-4, reg_covar=least, random_state=seed, **options
    )


def reweighted(weights, means, roots, rows):
    """Expectation maximisation of the weights alone.

    Args:
        weights: `(K,)`.
        means: `(K, D)`.
        roots: `(K, D, D)`, the lower-triangular roots of the precisions.
        rows: `(n, D)`.

    Returns:
        Weights, means and roots without the components that got no weight.
    """
    log_density = np.stack(
        [
            np.log(np.diagonal(root)).sum()
            - 0.5 * np.square((rows - mean) @ root, dtype=np.float64).sum(axis=1)
            for mean, root in zip(means, roots, strict=True)
        ],
        axis=1,
    )
    # A row's factor of its own changes no responsibility, and keeps the exponentials in range.
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    for _ in range(_WEIGHT_ROUNDS):
        weights = weights * (density / (density @ weights)[:, None]).mean(axis=0)
    kept = weights > _LEAST_WEIGHT
    return weights[kept] / weights[kept].sum(), means[kept], roots[kept]


def parameters(prior):
    """Weights `(K,)`, means `(K, D)`, roots of precisions `(K, D, D)` of a mixture prior."""
    logits, means, log_diagonal, off_diagonal = (
        np.asarray(weight, np.float64) for weight in prior.get_weights()
    )
    weights = np.exp(logits - logits.max())
    roots = np.tril(off_diagonal, -1) + np.eye(means.shape[1]) * np.exp(log_diagonal)[:, None, :]
    return weights / weights.sum(), means, roots


def as_prior(weights, means, roots):
    """The inverse of `parameters`: a built `Mixture`."""
    prior = Mixture(len(weights), name="sampler")
    prior.build((None, means.shape[1]))
    diagonal = np.diagonal(roots, axis1=1, axis2=2)
    prior.set_weights([np.log(weights), means, np.log(diagonal), np.tril(roots, -1)])
    return prior
