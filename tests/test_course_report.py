"""The settings that docs/users/course_report.md has to paste are those of the presets."""

import re
from pathlib import Path

import pytest

from kvae.config import PRESETS, resolve
from kvae.data import gmm

PAGE = Path(__file__).parents[1] / "docs" / "users" / "course_report.md"
WORDS = {
    ("posterior", "full"): "posterior and the likelihood are Gaussians with full covariance",
    ("posterior", "diagonal"): "posterior is a diagonal Gaussian",
    ("prior", "mixture"): "prior is a learned mixture of {prior_components} Gaussians",
    ("prior", "flow"): "prior a normalising flow of {flow_layers} affine couplings",
    ("network", "mlp"): "dense networks of hidden layers of {units} units",
    ("network", "conv"): "network of strided convolutions, the decoder its mirror",
    ("linear_path", True): "with a learned linear path beside them",
    ("variance", "full"): "posterior and the likelihood are Gaussians with full covariance",
    ("variance", "optimal"): "a Gaussian whose variance is the mean squared error",
    ("sampler", "mixture"): "a mixture of Gaussians was fitted to posterior draws for sampling",
    ("learning_rate_schedule", "cosine"): "learning rate {learning_rate:g}, cosine decay",
    ("flip", True): "mirrored training images at random",
    ("objective", "elbo"): "We maximised the ELBO by Adam",
    ("likelihood", "gaussian"): "Gaussian",
    ("channels", 3): "images",
}
NUMBERS = {
    "epochs": "for {epochs} epochs", "batch_size": "in batches of {batch_size}",
    "gmm_components": "a mixture of {gmm_components} Gaussians",
    "gmm_dim": "in {gmm_dim} dimensions", "image_size": "to {image_size}x{image_size} pixels",
    "crop": "cropped ({crop})", "edge_weight": "with an edge weight of {edge_weight:g}",
    "learning_rate": "learning rate {learning_rate:g}", "hidden_units": "layers of {units} units",
    "prior_components": "mixture of {prior_components} Gaussians",
    "flow_layers": "flow of {flow_layers} affine couplings",
}  # fmt: skip
#: What a reader of a report need not know, or what the page says by saying nothing of it.
UNTOLD = {
    "name", "save", "seed", "backend", "jit_compile", "mixed_precision", "devices", "data_dir",
    "dataset", "tensorboard_every", "split_seed", "binarize_seed", "gmm_seed", "gmm_separation",
    "gmm_weights", "cache", "max_unreadable", "flow_units", "flow_blocks", "standardize",
}  # fmt: skip
#: As long as they are what they are without a preset, nothing need be said of them.
PLAIN = {
    "kl_warmup_epochs": 0, "kl_cycle_epochs": 0, "free_bits": 0.0, "clip_norm": 0.0, "patience": 0,
    "ema_momentum": 0.0, "max_minutes": 0.0, "gmm_warp": 0.0, "edge_weight": 0.0, "beta": 1.0,
    "tc_weight": 1.0, "binarize": "none", "sampler": "none", "flip": False, "condition": (),
}  # fmt: skip


def _pasted():
    text = PAGE.read_text(encoding="utf-8").partition("## Settings to paste")[2]
    blocks = re.findall(r"(?:^> .*\n)+", text, re.MULTILINE)
    return [" ".join(block.replace("\n> ", " ").removeprefix("> ").split()) for block in blocks]


_AS_MANY = "as many dimensions as the data"
CASES = [("gmm", {"dataset": "gmm"}), ("celeba", {"dataset": "celeba", "data_dir": "."})]


@pytest.mark.parametrize(("place", "preset", "given"), [(i, *case) for i, case in enumerate(CASES)])
def test_what_is_pasted_is_what_the_preset_does(place, preset, given):
    text = _pasted()[place]
    values = resolve(given).to_dict()
    *most, last = map(str, values.get("hidden_units", "?"))
    filled = {**values, "units": f"{', '.join(most)} and {last}"}
    for name, value in values.items():
        if name in PLAIN and value == PLAIN[name]:
            continue
        template = WORDS.get((name, value), NUMBERS.get(name))
        if name == "latent_dim":
            template = "{latent_dim} latent dimensions" if value else _AS_MANY
        if template is None:
            assert name in UNTOLD or value in (None, False), name
            continue
        assert template.format(**filled) in text, name
    assert PRESETS[preset].keys() <= values.keys()
    assert "kept the weights of the best validation ELBO" in text


def test_the_rows_of_the_mixture_are_those_that_are_drawn():
    assert f"{gmm.NUM_TRAIN:,} training points" in _pasted()[0]


def test_the_plain_model_is_the_one_that_the_page_describes():
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    plain = "a plain VAE: a standard normal prior, a diagonal posterior, a fixed variance of 0.1"
    assert plain in page
    for preset in ("report-gmm", "report-celeba"):
        given = {"data_dir": "."} if preset.endswith("celeba") else {}
        config = resolve(given, preset)
        assert (config.prior, config.posterior) == ("standard_normal", "diagonal")
        assert float(config.variance) == 0.1
