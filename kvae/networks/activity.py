"""Losses of what a network computes, which Keras keeps from its last call alone.

They are those of activity regularisers and of `add_loss` in a `call`; losses of weights are none.
"""

from contextlib import contextmanager

import keras


def losses_of_calls(network):
    """Those of the last call, scalars or tensors."""
    of_weights = sum(weight.regularizer is not None for weight in network.trainable_weights)
    found = network.losses  # those of weights stand behind the others
    return found[: len(found) - of_weights]


@contextmanager
def losses_kept(network):
    """Calls within leave no losses: those of the call before are there again."""
    kept = losses_of_calls(network)
    try:
        yield
    finally:
        network._clear_losses()  # as Keras does when the next call begins
        for loss in kept:
            keras.Layer.add_loss(network, loss)  # functional models have none of their own
