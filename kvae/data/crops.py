"""The parts of a 178x218 CelebA image that papers call "CelebA 64"."""

#: name -> (left, top, right, bottom) in pixels; None: the largest centred square.
CROPS: dict[str, tuple[int, int, int, int] | None] = {
    "center148": (15, 35, 163, 183),
    "center140": (19, 39, 159, 179),
    "nvae148": (15, 40, 163, 188),
    "center128": (25, 45, 153, 173),
    "full178": None,
}
