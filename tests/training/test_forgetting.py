"""Models that are gone leave nothing behind."""

import gc
import weakref

import pytest
import tensorflow as tf

from kvae.training.forgetting import forgotten


def _traced(x):
    """A weak reference to the graph of a gradient, and the function that has it."""

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.silu(x)
        return tape.gradient(y, x)

    gradient(x)
    return weakref.ref(gradient.get_concrete_function(x).graph), gradient


@pytest.mark.slow  # collecting garbage, in a process that has traced much; the next one is quick
def test_graphs_that_were_traced_within_are_freed_and_others_stay():
    x = tf.ones(3)
    before, kept = _traced(x)
    with forgotten():
        within, _ = _traced(x)
        del _
        gc.collect()
        assert within() is not None  # which is what there is to do
    assert within() is None
    assert before() is not None
    assert kept(x).shape == (3,)


def test_a_failure_frees_too():
    try:
        with forgotten():
            within, _ = _traced(tf.ones(3))
            del _
            raise RuntimeError
    except RuntimeError:
        gc.collect()
    assert within() is None
