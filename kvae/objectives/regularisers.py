"""What may stand in the loss in place of the plain rate, for diagonal posteriors."""

import math

import keras

from kvae.probability.distributions import kl_to_standard_normal


def rate_per_dim(posterior):
    """KL(posterior, standard normal) of each latent dimension, `(batch, latent_dim)`, nats.

    Args:
        posterior: a `kvae.probability.distributions.DiagonalNormal`.
    """
    ops = keras.ops
    moments = (ops.expand_dims(each, -1) for each in (posterior.mean(), posterior.variance()))
    return kl_to_standard_normal(*moments, posterior.entropy_per_element())


def free_bits_rate(posterior, free_bits):
    """The rate in which a dimension costs `free_bits` nats at least, a scalar.

    A dimension below that is not pushed further down: it may carry so much for nothing.

    Args:
        posterior: a `kvae.probability.distributions.DiagonalNormal`, of a batch.
        free_bits: nats a dimension.

    Source: Kingma et al., "Improved variational inference with inverse autoregressive flow",
    NeurIPS 2016, equation 15 (the mean is over the batch).
    """
    return keras.ops.sum(
        keras.ops.maximum(keras.ops.mean(rate_per_dim(posterior), axis=0), free_bits)
    )


def total_correlation(posterior, z):
    """log q(z) - sum of log q(z_j) at a draw of each row, q the posteriors of the batch together.

    The number of rows in the data, which the cited estimator divides by too, would add a constant:
    no gradient.

    A row's own posterior is a part of q, so that log q(z) is at least log q(z given x) - log M in a
    batch of M rows. Where each z tells its row, as with many nats in few rows, it is just that, and
    the estimate is the sum of the I(x; z_j), each at most log M, minus log M: then it weighs what
    each dimension tells about x, not how they depend on each other. The source has batches of 2048.

    Args:
        posterior: a `kvae.probability.distributions.DiagonalNormal`, of a batch.
        z: a draw from each of its rows, `(batch, latent_dim)`.

    Returns:
        `(batch,)`, nats.

    Source: Chen et al., "Isolating sources of disentanglement in VAEs", NeurIPS 2018, appendix C.
    """
    ops = keras.ops
    mean, variance = posterior.mean(), posterior.variance()
    squared = ops.square(ops.expand_dims(z, 1) - mean) / variance
    # (row of z, row of q, dimension); the constant of the density, whose sums differ, included.
    log_prob = -0.5 * (squared + ops.log(2.0 * math.pi * variance))
    log_rows = ops.log(ops.cast(ops.shape(z)[0], "float32"))
    joint = ops.logsumexp(ops.sum(log_prob, axis=-1), axis=1) - log_rows
    marginals = ops.logsumexp(log_prob, axis=1) - log_rows
    return joint - ops.sum(marginals, axis=-1)
