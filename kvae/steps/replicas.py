"""Where a row stands among those of all replicas of TensorFlow."""

import tensorflow as tf

from kvae.inputs import rows_of


def places(x):
    """The place of each row in the global batch, `(batch,)` int32, and the rows of that batch."""
    own = tf.shape(rows_of(x))[0]
    count = tf.distribute.get_strategy().num_replicas_in_sync
    if count == 1:
        return tf.range(own), own
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    sizes = own * tf.one_hot(replica, count, dtype="int32")
    sizes = context.all_reduce(tf.distribute.ReduceOp.SUM, sizes)
    first = tf.reduce_sum(tf.where(tf.range(count) < replica, sizes, 0))
    return first + tf.range(own), tf.reduce_sum(sizes)
