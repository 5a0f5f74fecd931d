"""The part of an image that is kept; those of CelebA that papers call "CelebA 64"."""

import re

CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
#: name -> (left, top, right, bottom) in pixels of a 178x218 image, as published work uses them:
#: center148 PyTorch-VAE; center140 WAE, RAE, TwoStageVAE; nvae148 NVAE, VAE-GAN; full178
#: torchvision's Resize and CenterCrop. Of a box that is not square the centred square is kept after
#: resizing.
CROPS = {
    "center148": (15, 35, 163, 183),
    "center140": (19, 39, 159, 179),
    "nvae148": (15, 40, 163, 188),
    "center128": (25, 45, 153, 173),
    "full178": (0, 0, 178, 218),
}
#: Rules for images of any size.
RULES = ("center", "none")
_BOX = re.compile(r"(\d+),(\d+),(\d+),(\d+)")
WANTED = (
    f"{', '.join(RULES)}, a box as left,top,right,bottom in pixels, or of aligned CelebA images "
    f"{', '.join(CROPS)}"
)


def is_crop(crop: str) -> bool:
    """Whether this is a crop, for images of some size."""
    if crop in CROPS or crop in RULES:
        return True
    found = _BOX.fullmatch(crop)
    if not found:
        return False
    left, top, right, bottom = map(int, found.groups())
    return left < right and top < bottom


def least_size(crop: str) -> tuple[int, int]:
    """Width and height that an image of any size must have for a crop, in pixels.

    Those of CROPS are for images of one size, and images of others are served without them.
    """
    found = _BOX.fullmatch(crop)
    return (int(found[3]), int(found[4])) if found else (1, 1)


def box_of(crop: str, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is kept of an image.

    Args:
        crop: a key of CROPS, for images of 178x218 alone; "center": the largest centred square;
            "none": everything, squeezed into a square; or a box, "left,top,right,bottom".
        width: of the image, pixels.
        height: of the image, pixels.

    Raises:
        ValueError: the image has not the size that the crop is for.
    """
    if crop in CROPS:
        if (width, height) != (CELEBA_WIDTH, CELEBA_HEIGHT):
            raise ValueError(
                f"is {width}x{height}: the crop {crop} is for aligned CelebA images of "
                f"{CELEBA_WIDTH}x{CELEBA_HEIGHT}"
            )
        return CROPS[crop]
    if crop == "none":
        return (0, 0, width, height)
    if crop == "center":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return (left, top, left + side, top + side)
    left, top, right, bottom = map(int, crop.split(","))
    if right > width or bottom > height:
        raise ValueError(f"is {width}x{height}: the crop {crop} reaches beyond it")
    return (left, top, right, bottom)
