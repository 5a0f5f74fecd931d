"""The parts of a 178x218 CelebA image that papers call "CelebA 64"."""

#: name -> (left, top, right, bottom) in pixels, as published work uses them: center148 PyTorch-VAE;
#: center140 WAE, RAE, TwoStageVAE; nvae148 NVAE, VAE-GAN; full178 torchvision's Resize and
#: CenterCrop. Of a box that is not square the centred square is kept after resizing.
CROPS = {
    "center148": (15, 35, 163, 183),
    "center140": (19, 39, 159, 179),
    "nvae148": (15, 40, 163, 188),
    "center128": (25, 45, 153, 173),
    "full178": (0, 0, 178, 218),
}
