"""Numbers about a model, as functions of arrays and plain functions, never of a model.

Every key carries its unit. A value that is not finite is an error: dropping it would flatter.
"""

import numpy as np


def require_finite(name: str, values: np.ndarray) -> None:
    """Refuse values of which some are not finite.

    Args:
        name: what they are, for the message.
        values: of any shape.

    Raises:
        ValueError: some are NaN or infinite, or there are none at all.
    """
    if values.size == 0:
        raise ValueError(f"{name}: at least one value is needed, received shape {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        wrong = values.size - np.count_nonzero(finite)
        raise ValueError(f"{name} must be finite: {wrong} of {values.size} values are not")
