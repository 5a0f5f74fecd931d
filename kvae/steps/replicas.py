"""What the replicas of TensorFlow know of one another: rows, means and gradients of all of them."""

import tensorflow as tf

from kvae.inputs import rows_of


def count():
    """How many replicas make a step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def on_machines():
    """Whether they are on several machines."""
    strategy = tf.distribute.get_strategy()
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def places(x):
    """The place of each row in the global batch, `(batch,)` int32, and the rows of that batch."""
    own = tf.shape(rows_of(x))[0]
    if count() == 1:
        return tf.range(own), own
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    sizes = own * tf.one_hot(replica, count(), dtype="int32")
    sizes = context.all_reduce(tf.distribute.ReduceOp.SUM, sizes)
    first = tf.reduce_sum(tf.where(tf.range(count()) < replica, sizes, 0))
    return first + tf.range(own), tf.reduce_sum(sizes)


def summed(values):
    """The sums of tensors over the replicas; None stays."""
    known = [value for value in values if value is not None]
    context = tf.distribute.get_replica_context()
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, known) if known else ())
    return [None if value is None else next(sums) for value in values]


def global_mean(values, weight):
    """The mean of the values of all rows of all replicas, `(1,)`.

    Args:
        values: of the rows of this replica, `(batch,)` float32.
        weight: of each row, `(batch,)`; None: 1. Where all are 0 the mean is not finite.
    """
    weight = tf.ones_like(values) if weight is None else weight
    # A value that is not finite has a part in the mean at weight 0 too, as on one device.
    total, weights = summed([tf.reduce_sum(weight * values), tf.reduce_sum(weight)])
    return (total / weights)[None]


def take_sums(optimizer):
    """Have an optimizer take gradients that are summed over replicas already.

    Keras clips the gradients of each replica, and sums them then.
    """
    for own in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if own is not None:
            own._all_reduce_sum_gradients = list
