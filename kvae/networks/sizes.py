"""Image sizes that no power of two divides: maps are halved rounding up, and cut at the end."""

_SMALLEST = 4  # height and width at which halving stops


def num_halvings(element_shape):
    """How often an image `(height, width, ...)` is halved until its longer side is at most 4."""
    longest, count = max(element_shape[:2]), 0
    while longest > _SMALLEST:
        longest, count = -(-longest // 2), count + 1
    return count


def small_size(element_shape, count):
    """Height and width after `count` halvings."""
    return tuple(-(-size // 2**count) for size in element_shape[:2])


def cropped(x, element_shape):
    """Cut what doubling made too large, evenly from all sides; float32."""
    import keras  # the sizes alone are known without

    excess = [have - want for have, want in zip(x.shape[1:3], element_shape[:2], strict=True)]
    if not any(excess):
        return x
    margins = tuple((extra // 2, extra - extra // 2) for extra in excess)
    return keras.layers.Cropping2D(margins, dtype="float32")(x)
