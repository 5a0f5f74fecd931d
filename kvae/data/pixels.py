"""Grey levels and numbers."""

import numpy as np


def as_unit_interval(x: np.ndarray) -> np.ndarray:
    """Images as signatures take them: uint8 as float32 in [0, 1]; anything else as it is.

    Args:
        x: `(rows, ...)`.
    """
    x = np.asarray(x)
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
