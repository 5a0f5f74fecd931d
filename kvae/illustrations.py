"""The figures of a published version, from its signatures and the test split."""

from pathlib import Path
from typing import Any

import numpy as np

from kvae.data import Dataset, Split
from kvae.data.gmm import mixture_of
from kvae.data.pixels import as_unit_interval
from kvae.figures import images as image_figures
from kvae.figures import latent as latent_figures
from kvae.figures import vectors as vector_figures

_PAIRS, _STEPS = 6, 10


def draw(folder: Path, served: Any, dataset: Dataset, *, label: str, seed: int) -> None:
    """Write generation.png, reconstruction.png, interpolation.png and latent_tsne.png.

    Args:
        folder: where to write.
        served: a `kvae.served.ServedModel`.
        dataset: the data.
        label: what colours the latent map; "" for nothing.
        seed: of all draws.
    """
    test = dataset.test
    rng = np.random.default_rng([seed, 1])
    if dataset.kind == "images":
        _image_figures(folder, served, test, rng)
    else:
        _vector_figures(folder, served, dataset, rng)
    latents = served.call("encode", x=test.x)["mean"]
    labels = test.labels[label] if label else np.zeros(len(latents), int)
    latent_figures.save_tsne(folder / "latent_tsne.png", latents, labels, label or "nothing", seed)


def _interpolations(served, x, rng):
    """Random pairs of rows `(pairs, 2, ...)`, and what lies between: `(pairs, steps, ...)`."""
    pairs = rng.permutation(len(x))[: 2 * min(_PAIRS, len(x) // 2)].reshape(-1, 2)
    start, end = (np.repeat(x[pairs[:, side]], _STEPS, axis=0) for side in (0, 1))
    fraction = np.tile(np.linspace(0, 1, _STEPS, dtype=np.float32), len(pairs))
    found = served.call("interpolate", start=start, end=end, fraction=fraction)["interpolated"]
    return x[pairs], found.reshape(len(pairs), _STEPS, *x.shape[1:])


def _image_figures(folder, served, test: Split, rng):
    name = served.version.name
    image_figures.save_generation(
        folder / "generation.png",
        _generate(served, 20, int(rng.integers(2**31))),
        f"{name}: generated",
    )
    rows = np.sort(rng.permutation(len(test.x))[:20])
    originals = as_unit_interval(test.x[rows])
    reconstructions = served.call("serving_default", x=originals)["reconstruction"]
    image_figures.save_reconstruction(
        folder / "reconstruction.png", originals, reconstructions, f"{name}: test images"
    )
    ends, between = _interpolations(served, test.x, rng)
    image_figures.save_interpolation(
        folder / "interpolation.png",
        between,
        f"{name}: between test images, a straight line in latent space",
        as_unit_interval(ends),
    )


def _vector_figures(folder, served, dataset, rng):
    name, test, mixture = served.version.name, dataset.test, mixture_of(dataset.card)
    alone = np.zeros(len(test.x), int)
    component = test.labels[dataset.color_by] if mixture else alone
    generated = _generate(served, min(5000, len(test.x)), int(rng.integers(2**31)))
    generated_component = (
        mixture.responsibilities(generated).argmax(axis=1) if mixture else alone[: len(generated)]
    )
    vector_figures.save_generation(
        folder / "generation.png", test.x, component, generated, generated_component,
        f"{name}: true points, and generated ones in the colour of the likeliest component",
    )  # fmt: skip
    reconstruction = served.call("serving_default", x=test.x)["reconstruction"]
    vector_figures.save_reconstruction(
        folder / "reconstruction.png", test.x, reconstruction, component, f"{name}: test points"
    )
    _, between = _interpolations(served, test.x, rng)
    vector_figures.save_interpolation(
        folder / "interpolation.png", between, test.x, component,
        f"{name}: between test points, a straight line in latent space",
    )  # fmt: skip


def _generate(served, count, seed):
    seeds = np.random.default_rng(seed).integers(2**63, size=count)
    return served.call("generate", seed=seeds)["sample"]
