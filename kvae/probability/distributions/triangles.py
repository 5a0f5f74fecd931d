"""Triangular matrices, the roots of covariances and of their inverses."""

import keras


def lower_triangular(entries, size):
    """Matrices that are zero above the diagonal, filled from a vector.

    Args:
        entries: `(..., size * (size + 1) / 2)`; each lands in one place, in no special order.
        size: rows and columns.

    Returns:
        `(..., size, size)`.
    """
    # Two copies of the vector, the second backwards, less the first row's worth: folded into rows,
    # the part below the diagonal holds every entry once.
    ops = keras.ops
    both = ops.concatenate([entries[..., size:], ops.flip(entries, axis=-1)], axis=-1)
    return ops.tril(ops.reshape(both, (*ops.shape(entries)[:-1], size, size)))


def below_diagonal(entries, size):
    """As `lower_triangular`, with zeros on the diagonal too: `size * (size - 1) / 2` entries."""
    inner = lower_triangular(entries, size - 1)
    padding = [(0, 0)] * (len(entries.shape) - 1) + [(1, 0), (0, 1)]
    return keras.ops.pad(inner, padding)


def inverse_of_triangular(root):
    """Of lower-triangular matrices `(..., dim, dim)`; NaN where they are not finite.

    The general inverse would stop the whole batch for one row that is not finite.
    """
    eye = keras.ops.broadcast_to(
        keras.ops.eye(root.shape[-1], dtype="float32"), keras.ops.shape(root)
    )
    return keras.ops.solve_triangular(root, eye, lower=True)
