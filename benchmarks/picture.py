"""The picture of the README: drawn faces and a mixture, by versions that were trained before.

kvae train --dataset faces --epochs 8
kvae train --dataset gmm
python benchmarks/picture.py --faces saved/faces --gmm saved/gmm --output docs/picture.png
"""

import argparse
from pathlib import Path

import numpy as np
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import kvae

COLUMNS = 10
INK, TRUTH, MODEL = "#1f2933", "#7b8794", "#3f51b5"


def main():
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", default="saved/faces")
    parser.add_argument("--gmm", default="saved/gmm")
    parser.add_argument("--output", type=Path, default=Path("docs/picture.png"))
    given = parser.parse_args()
    rows = faces_of(given.faces)
    figure = Figure(figsize=(9, 6), dpi=100)
    FigureCanvasAgg(figure)
    parts = figure.add_gridspec(2, 1, height_ratios=(1.6, 1), hspace=0.12, left=0.01, right=0.99,
                                top=0.95, bottom=0.02)  # fmt: skip
    upper = parts[0].subgridspec(len(rows), 1, hspace=0.28)
    for place, (name, images) in zip(upper, rows.items(), strict=True):
        axes = figure.add_subplot(place)
        axes.imshow(np.concatenate(list(np.clip(images, 0, 1)), axis=1))
        axes.set_title(name, fontsize=9, color=INK, loc="left", pad=2)
        axes.axis("off")
    lower = parts[1].subgridspec(1, 2, wspace=0.04)
    for place, (name, (points, colour)) in zip(lower, mixture_of(given.gmm).items(), strict=True):
        axes = figure.add_subplot(place)
        axes.scatter(*points[:, :2].T, s=1.5, color=colour, linewidths=0)
        axes.set_title(name, fontsize=9, color=INK, loc="left", pad=2)
        axes.set(xticks=[], yticks=[], xlim=LIMITS[0], ylim=LIMITS[1])
    figure.savefig(given.output)
    with PIL.Image.open(given.output) as image:
        small = image.convert("RGB").quantize(256)  # a third of the bytes
    small.save(given.output, optimize=True)


def faces_of(version):
    """Title -> images: of the test split, reconstructed, generated."""
    client = kvae.Client(version)
    x = np.float32(kvae.data.load("faces").test.x[:COLUMNS]) / 255
    return {
        "drawn faces of the test split": x,
        "their reconstructions": client.call("serving_default", x=x)["reconstruction"],
        "generated": client.call("generate", seed=range(COLUMNS))["sample"],
    }


LIMITS = [None, None]


def mixture_of(version):
    """Title -> points and their colour: of the test split, generated."""
    x = kvae.data.load("gmm").test.x[:5_000]
    margin = 0.08 * np.ptp(x[:, :2], axis=0)
    LIMITS[:] = zip(x[:, :2].min(axis=0) - margin, x[:, :2].max(axis=0) + margin, strict=True)
    sample = kvae.Client(version).call("generate", seed=range(5_000))["sample"]
    return {
        "a mixture of 10 Gaussians: 5,000 test points": (x, TRUTH),
        "5,000 points that the model generated": (sample, MODEL),
    }


if __name__ == "__main__":
    main()
